#include "image/load.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "codec/hash.h"
#include "codec/json.h"
#include "image/archive_parts.h"
#include "image/early_sync.h"
#include "image/layer_set.h"
#include "image/record.h"
#include "image/reporter.h"
#include "image/sink_pipe.h"
#include "image/unpack.h"
#include "loop/fd_stream.h"
#include "oci/image_ref.h"
#include "oci/image_spec.h"
#include "snapshot/diff.h"
#include "snapshot/recipe.h"
#include "sys/file.h"

namespace davit::image {
namespace {

// One image as the archive describes it.
struct Plan {
  std::string config_path;
  std::vector<std::string> layer_paths;  // bottom first
  std::vector<std::string> tags;         // full names
  std::string manifest_bytes;            // "" when the archive has none
};

Error not_an_archive(ArchiveParts const& parts) {
  std::vector<std::string> const& paths = parts.first_paths();
  return Error(
      Errc::kInvalidArgument,
      fmt::format("the archive has neither manifest.json nor index.json ({}): `load` reads what `save` wrote; a "
                  "root file system is read by `import`",
                  paths.empty() ? "it is empty" : fmt::format("it begins with {}", fmt::join(paths, ", "))));
}

Result<std::string> full_tag(std::string const& text) {
  oci::ImageRef const parsed = TRY(oci::ImageRef::parse(text));
  if (parsed.digest()) return Error(Errc::kInvalidArgument, fmt::format("'{}' is no tag, as it has a digest", text));
  oci::ImageRef const ref = parsed.with_default_tag();
  return fmt::format("{}:{}", ref.name(), ref.tag());
}

// manifest.json: [{"Config": path, "RepoTags": [...], "Layers": [paths]}]
Result<std::vector<Plan>> plans_of_manifest_json(std::string const& bytes) {
  std::vector<Plan> plans;
  json::Document const document = TRY_CTX(json::Document::parse(bytes), "manifest.json");
  json::Field const root = document.root("manifest.json");
  std::size_t const count = TRY(root.array_size());
  for (std::size_t i = 0; i < count; ++i) {
    Plan plan;
    std::vector<std::string> tags;
    json::Field const item = root.element(i);
    TRY(json::read(item["Config"], plan.config_path));
    TRY(json::read(item["Layers"], plan.layer_paths));
    TRY(json::read(item["RepoTags"], tags));
    for (std::string const& text : tags) {
      std::string name = TRY(full_tag(text));
      plan.tags.push_back(std::move(name));
    }
    if (plan.config_path.empty()) return item.error("Config is missing");
    plans.push_back(std::move(plan));
  }
  return plans;
}

std::string blob_path(oci::Digest const& digest) {
  return fmt::format("blobs/{}/{}", digest.algorithm(), digest.hex());
}

// What an index entry is called: containerd's annotation holds the full name, the specification's a tag or, by skopeo,
// a name.
Result<std::vector<std::string>> tags_of(oci::Descriptor const& entry) {
  for (char const* const key : {"io.containerd.image.name", "org.opencontainers.image.ref.name"}) {
    auto const found = entry.annotations.find(key);
    if (found == entry.annotations.end()) continue;
    // A bare tag names nothing.
    bool const bare_tag = std::string_view(key).starts_with("org.") && oci::is_valid_tag(found->second);
    if (bare_tag) continue;
    std::string name = TRY(full_tag(found->second));
    return std::vector<std::string>{std::move(name)};
  }
  return std::vector<std::string>();
}

class Layout {
 public:
  Layout(ArchiveParts& parts, oci::Platform wanted) : parts_(parts), wanted_(std::move(wanted)) {}

  Result<std::vector<Plan>> plans(std::string const& index_json) {
    oci::ParsedManifest const parsed = TRY_CTX(oci::parse_manifest(index_json, oci::kOciIndex), "index.json");
    for (oci::Descriptor const& entry : std::get<oci::Index>(parsed.content).manifests) {
      if (oci::is_attestation(entry)) continue;
      std::vector<std::string> const tags = TRY_CTX(tags_of(entry), "index.json");
      TRY(add(entry, tags, 0));
    }
    return std::move(plans_);
  }

 private:
  Result<void> add(oci::Descriptor const& entry, std::vector<std::string> const& tags, int depth) {
    std::string const path = blob_path(entry.digest);
    std::string const* const bytes = parts_.document(path);
    if (bytes == nullptr)
      return Error(Errc::kInvalidArgument, fmt::format("index.json names {}, which the archive has not", path));
    if (codec::sha256_hex(*bytes) != entry.digest.hex())
      return Error(Errc::kInvalidArgument, fmt::format("{} has another digest: the archive is damaged", path));
    oci::ParsedManifest const parsed = TRY_CTX(oci::parse_manifest(*bytes, entry.media_type), path);
    if (auto const* index = std::get_if<oci::Index>(&parsed.content)) return add_index(*index, tags, depth);
    auto const& manifest = std::get<oci::Manifest>(parsed.content);
    if (manifest.config.media_type != oci::kOciConfig && manifest.config.media_type != oci::kDockerConfig) {
      return Error(Errc::kInvalidArgument, fmt::format("{} is an artifact of type '{}', not a container image", path,
                                                       manifest.config.media_type));
    }
    merge({.config_path = blob_path(manifest.config.digest),
           .layer_paths = paths(manifest),
           .tags = tags,
           .manifest_bytes = *bytes});
    return {};
  }
  Result<void> add_index(oci::Index const& index, std::vector<std::string> const& tags, int depth) {
    if (depth > 2) return Error(Errc::kInvalidArgument, "indexes are nested too deep");
    // Of several platforms the archive may hold only some.
    oci::Index present = index;
    std::erase_if(present.manifests,
                  [&](oci::Descriptor const& each) { return parts_.document(blob_path(each.digest)) == nullptr; });
    oci::Descriptor const* const chosen = oci::select_platform(present, wanted_);
    if (chosen == nullptr)
      return Error(Errc::kNotFound, fmt::format("the archive has no image for {}", oci::to_string(wanted_)));
    return add(*chosen, tags, depth + 1);
  }
  static std::vector<std::string> paths(oci::Manifest const& manifest) {
    std::vector<std::string> all;
    for (oci::Descriptor const& layer : manifest.layers) all.push_back(blob_path(layer.digest));
    return all;
  }
  // The same image under several names has several entries.
  void merge(Plan plan) {
    for (Plan& known : plans_) {
      if (known.config_path != plan.config_path) continue;
      known.tags.insert(known.tags.end(), plan.tags.begin(), plan.tags.end());
      return;
    }
    plans_.push_back(std::move(plan));
  }

  ArchiveParts& parts_;
  oci::Platform wanted_;
  std::vector<Plan> plans_;
};

class Load {
 public:
  Load(Context const& context, LoadOptions const& options)
      : context_(context), options_(options), reporter_(options.progress), parts_(context, reporter_, options.stop) {}

  Result<std::vector<LoadedImage>> run(codec::Source& in);

 private:
  Result<std::vector<Plan>> make_plans();
  Result<LoadedImage> add_image(Plan const& plan);
  Result<void> check_platform(oci::ImageConfig const& config) const;
  Result<void> fill(LayerSet& layers, Plan const& plan, std::vector<oci::Digest>& blobs);
  // A layer that takes directories from those below belongs to one image; another image of the archive gets a copy.
  Result<std::shared_ptr<MadeLayer>> claim(std::shared_ptr<MadeLayer> const& made);
  Result<void> add_manifest(Plan const& plan, store::ImageRecord& record);
  Result<std::vector<std::string>> names_taken();

  Context const& context_;
  LoadOptions const& options_;
  Reporter reporter_;
  ArchiveParts parts_;
  store::Batch batch_;
  std::set<MadeLayer const*> claimed_;
  std::vector<LayerSet> sets_;  // keeps the pins until all is published
};

Result<std::vector<Plan>> Load::make_plans() {
  std::string const* const index = parts_.document("index.json");
  oci::Platform const wanted = options_.platform.value_or(context_.host);
  if (std::string const* const manifest = parts_.document("manifest.json")) {
    std::vector<Plan> plans = TRY(plans_of_manifest_json(*manifest));
    // The manifests of the layout beside it keep the images' digests; where they cannot be read, the images load
    // without.
    if (index == nullptr) return plans;
    Result<std::vector<Plan>> const layout = Layout(parts_, wanted).plans(*index);
    if (!layout) return plans;
    for (Plan& plan : plans) {
      for (Plan const& other : *layout) {
        if (other.config_path == plan.config_path && other.layer_paths == plan.layer_paths)
          plan.manifest_bytes = other.manifest_bytes;
      }
    }
    return plans;
  }
  if (index == nullptr) return not_an_archive(parts_);
  return Layout(parts_, wanted).plans(*index);
}

Result<std::shared_ptr<MadeLayer>> Load::claim(std::shared_ptr<MadeLayer> const& made) {
  if (made->implied_directories.empty() || claimed_.insert(made.get()).second) return made;
  if (!made->layer->record.has_recipe) {
    return Error(Errc::kUnimplemented,
                 fmt::format("layer {} is of two images, leaves out directories and has a file twice: load an archive "
                             "with only one of the images",
                             made->layer->record.diff_id.text()));
  }
  UniqueFd const recipe = TRY(sys::openat(made->layer->directory(), "recipe", O_RDONLY));
  loop::FdSource recipe_source(recipe.get());
  std::unique_ptr<codec::Source> const tar = snapshot::rebuild_tar(made->layer->fs(), recipe_source);
  UnpackedLayer copy = TRY(unpack(
      context_, *tar,
      {.diff_id = made->layer->record.diff_id, .compression = codec::Compression::kNone, .stop = options_.stop}));
  return std::make_shared<MadeLayer>(std::move(copy.made));
}

Result<void> Load::fill(LayerSet& layers, Plan const& plan, std::vector<oci::Digest>& blobs) {
  for (std::size_t i = 0; i < layers.size(); ++i) {
    std::string const& path = plan.layer_paths[i];
    ArchiveLayer* const layer = parts_.layer(path);
    if (layer == nullptr) {
      if (PartFailure const* const failure = parts_.failure(path))
        return Error(Errc::kInvalidArgument, fmt::format("layer '{}': {}", path, failure->reason));
      if (layers.has(i)) continue;  // an archive may leave out what the reader has
      return Error(Errc::kInvalidArgument, fmt::format("layer '{}' is missing in the archive", path));
    }
    if (layer->diff_id != layers.diff_id(i)) {
      return Error(Errc::kInvalidArgument,
                   fmt::format("layer '{}' is {}, the image's config says {}: the archive is damaged", path,
                               layer->diff_id.text(), layers.diff_id(i).text()));
    }
    if (!layers.has(i)) {
      if (layer->made == nullptr) return Error(Errc::kConflict, fmt::format("layer '{}' was removed meanwhile", path));
      std::shared_ptr<MadeLayer> made = TRY(claim(layer->made));
      layers.set(i, std::move(made));
    } else if (layer->made && layer->made->blob) {
      // The layer is here, but not in this form: keep the blob, so that the image's manifest stays whole.
      batch_.blobs.push_back(*layer->made->blob);
    }
    // One that was here already may be here without its blob.
    bool const has_blob = layer->made ? layer->made->blob.has_value() : layer->pins.size() > 1;
    if (layer->form && has_blob) blobs.push_back(layer->form->blob);
    if (layer->form) batch_.forms.push_back(*layer->form);
  }
  return {};
}

Result<void> Load::add_manifest(Plan const& plan, store::ImageRecord& record) {
  if (plan.manifest_bytes.empty()) return {};
  auto blob = TRY(context_.store.ingest_bytes(plan.manifest_bytes));
  record.manifest = blob.first;
  record.blobs.push_back(blob.first);
  batch_.blobs.push_back(std::move(blob));
  return {};
}

Result<void> Load::check_platform(oci::ImageConfig const& config) const {
  // Its layers are not files as we know them. Of other systems (wasi) there are images that run here.
  if (config.platform.os == "windows") {
    return Error(Errc::kInvalidArgument, fmt::format("cannot load windows image on {}", context_.host.os));
  }
  // One that does not say where it runs runs here.
  if (!options_.platform || config.platform.architecture.empty()) return {};
  if (oci::match_score(*options_.platform, config.platform) > 0) return {};
  return Error(Errc::kNotFound, fmt::format("the image is for {}, not for {} as was asked",
                                            oci::to_string(config.platform), oci::to_string(*options_.platform)));
}

Result<LoadedImage> Load::add_image(Plan const& plan) {
  std::string const* const config_bytes = parts_.document(plan.config_path);
  if (config_bytes == nullptr)
    return Error(Errc::kInvalidArgument,
                 fmt::format("the image's config '{}' is missing in the archive", plan.config_path));
  oci::ImageConfig const config = TRY_CTX(oci::parse_image_config(*config_bytes), plan.config_path);
  TRY(check_platform(config));
  if (config.diff_ids.size() != plan.layer_paths.size()) {
    return Error(Errc::kInvalidArgument, fmt::format("the archive lists {} layers for an image whose config has {}",
                                                     plan.layer_paths.size(), config.diff_ids.size()));
  }
  auto config_blob = TRY(context_.store.ingest_bytes(*config_bytes));
  oci::Digest const id = config_blob.first;
  if (plan.config_path.starts_with("blobs/") && plan.config_path != blob_path(id)) {
    return Error(Errc::kInvalidArgument,
                 fmt::format("the content of '{}' is {}: the archive is damaged", plan.config_path, id.text()));
  }
  batch_.blobs.push_back(std::move(config_blob));
  LayerSet layers = TRY(LayerSet::open(context_, config.diff_ids));
  std::vector<oci::Digest> blobs = {id};
  TRY(fill(layers, plan, blobs));
  std::vector<store::LayerRecord> const records = TRY(layers.finish(batch_));
  std::sort(blobs.begin(), blobs.end());
  blobs.erase(std::unique(blobs.begin(), blobs.end()), blobs.end());
  store::ImageRecord record = make_record(id, config, records, std::move(blobs), context_.now_ns());
  TRY(add_manifest(plan, record));
  batch_.images.push_back(std::move(record));
  LoadedImage loaded{.id = id, .tags = {}};
  for (std::string const& tag : plan.tags) {
    batch_.tags.emplace_back(tag, id);
    if (Result<oci::ImageRef> const ref = oci::ImageRef::parse(tag)) loaded.tags.push_back(ref->familiar());
  }
  sets_.push_back(std::move(layers));
  return loaded;
}

// Told as Docker does: an archive gives its images whatever names it likes, those of other images too.
Result<std::vector<std::string>> Load::names_taken() {
  std::vector<std::string> texts;
  for (auto const& [name, id] : batch_.tags) {
    std::optional<oci::Digest> const before = TRY(context_.store.image_by_tag(name));
    if (!before || *before == id) continue;
    oci::ImageRef const ref = TRY(oci::ImageRef::parse(name));
    texts.push_back(fmt::format("The image {} already exists, renaming the old one with ID {} to empty string",
                                ref.familiar(), before->text()));
  }
  return texts;
}

Result<std::vector<LoadedImage>> Load::run(codec::Source& in) {
  TRY(parts_.read(in));
  std::vector<Plan> const plans = TRY(make_plans());
  if (plans.empty()) return Error(Errc::kInvalidArgument, "the archive names no image");
  std::vector<LoadedImage> loaded;
  for (Plan const& plan : plans) {
    LoadedImage image = TRY_CTX(add_image(plan), plan.tags.empty() ? plan.config_path : plan.tags.front());
    loaded.push_back(std::move(image));
  }
  std::vector<std::string> const taken = TRY(names_taken());
  TRY(context_.store.publish(batch_));
  for (std::string const& text : taken) reporter_.message("", text);
  for (LoadedImage const& image : loaded) {
    for (std::string const& tag : image.tags) reporter_.message("", fmt::format("Loaded image: {}", tag));
    if (image.tags.empty()) reporter_.message("", fmt::format("Loaded image ID: {}", image.id.text()));
  }
  return loaded;
}

}  // namespace

Result<std::vector<LoadedImage>> load(Context const& context, codec::Source& in, LoadOptions const& options) {
  EarlySync const early(context.store);
  Result<std::vector<LoadedImage>> loaded = Load(context, options).run(in);
  if (!loaded) return std::move(loaded).take_error().with_context("load");
  return loaded;
}

Result<std::vector<LoadedImage>> load_layout(Context const& context, int directory, LoadOptions const& options) {
  SinkPipe archive([&](codec::Sink& sink) {
    return snapshot::export_tree(directory, sink, {.clamp_mtime = std::nullopt, .parents = true, .stop = options.stop});
  });
  return load(context, archive, options);
}

}  // namespace davit::image
