#include "image/save.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>

#include "codec/hash.h"
#include "codec/json_writer.h"
#include "codec/tar.h"
#include "image/find.h"
#include "image/layer_content.h"
#include "image/reporter.h"
#include "image/sink_pipe.h"
#include "image/travel.h"
#include "snapshot/apply.h"
#include "sys/file.h"

namespace davit::image {
namespace {

struct Chosen {
  oci::Digest id;
  std::vector<std::string> tags;  // full names
};

void add_tag(std::vector<Chosen>& chosen, oci::Digest const& id, std::string const& tag) {
  auto found = std::find_if(chosen.begin(), chosen.end(), [&](Chosen const& each) { return each.id == id; });
  if (found == chosen.end()) found = chosen.insert(chosen.end(), Chosen{.id = id, .tags = {}});
  if (!tag.empty() && std::find(found->tags.begin(), found->tags.end(), tag) == found->tags.end())
    found->tags.push_back(tag);
}

// A repository's name alone means all of its tags.
Result<bool> add_repository(store::Store& store, std::string const& word, std::vector<Chosen>& chosen) {
  Result<oci::ImageRef> const ref = oci::ImageRef::parse(word);
  if (!ref || !ref->tag().empty() || ref->digest()) return false;
  std::vector<store::ImageEntry> const images = TRY(store.list_images());
  bool any = false;
  for (store::ImageEntry const& entry : images) {
    for (std::string const& tag : entry.tags) {
      if (!tag.starts_with(ref->name() + ":") || tag.find('/', ref->name().size()) != std::string::npos) continue;
      add_tag(chosen, entry.image.id, tag);
      any = true;
    }
  }
  return any;
}

Result<std::vector<Chosen>> choose(store::Store& store, std::vector<std::string> const& words) {
  std::vector<Chosen> chosen;
  for (std::string const& word : words) {
    bool const repository = TRY(add_repository(store, word, chosen));
    if (repository) continue;
    Found const found = TRY(find(store, word));
    add_tag(chosen, found.entry.image.id, found.tag);
  }
  return chosen;
}

std::string blob_path(oci::Digest const& digest) {
  return fmt::format("blobs/{}/{}", digest.algorithm(), digest.hex());
}

// Writes the archive's entries; each path once.
class Archive {
 public:
  Archive(codec::Sink& out, std::stop_token stop) : tar_(out), stop_(std::move(stop)) {}

  Result<void> directory(std::string const& name) {
    if (!written_.insert(name).second) return {};
    return tar_.entry(entry(codec::TarType::kDirectory, name, 0755, 0));
  }
  Result<void> file(std::string const& name, std::string_view bytes) {
    if (!written_.insert(name).second) return {};
    TRY(tar_.entry(entry(codec::TarType::kFile, name, 0644, bytes.size())));
    return tar_.data(bytes);
  }
  bool has(std::string const& name) const { return written_.contains(name); }
  template <typename Report>
  Result<void> stream(std::string const& name, codec::Source& source, std::uint64_t size, Report const& report) {
    written_.insert(name);
    TRY(tar_.entry(entry(codec::TarType::kFile, name, 0644, size)));
    std::uint64_t done = 0;
    for (;;) {
      if (stop_.stop_requested()) return Error(Errc::kCancelled, "cancelled");
      std::string_view const bytes = TRY(source.next());
      if (bytes.empty()) break;
      done += bytes.size();
      if (done > size) break;
      TRY(tar_.data(bytes));
      report(done);
    }
    if (done != size)
      return Error(Errc::kInternal,
                   fmt::format("{} has {} bytes, not {}: the store was changed or damaged", name, done, size));
    return {};
  }
  Result<void> finish() { return tar_.finish(); }

 private:
  static codec::TarEntry entry(codec::TarType type, std::string name, std::uint32_t mode, std::uint64_t size) {
    codec::TarEntry made;
    made.type = type;
    made.name = std::move(name);
    made.mode = mode;
    made.size = size;
    return made;
  }

  codec::TarWriter tar_;
  std::stop_token stop_;
  std::set<std::string> written_;
};

class Saver {
 public:
  Saver(Context const& context, codec::Sink& out, SaveOptions const& options)
      : context_(context), options_(options), reporter_(options.progress), archive_(out, options.stop) {}

  Result<void> run(std::vector<Chosen> const& chosen);

 private:
  struct Saved {
    TravelImage image;
    std::vector<std::string> tags;
    std::vector<oci::Descriptor> layers;
    oci::Digest manifest;
    std::uint64_t manifest_size = 0;
    std::string manifest_type;
  };
  Result<Saved> save_image(Chosen const& chosen);
  Result<oci::Descriptor> save_layer(TravelLayer const& layer);
  Result<void> save_manifest(Saved& saved);
  std::string index_json(std::vector<Saved> const& all) const;
  static std::string manifest_json(std::vector<Saved> const& all);
  static std::string repositories_json(std::vector<Saved> const& all);

  Context const& context_;
  SaveOptions const& options_;
  Reporter reporter_;
  Archive archive_;
};

Result<oci::Descriptor> Saver::save_layer(TravelLayer const& layer) {
  std::string const id(layer.record.diff_id.short_hex());
  oci::Descriptor descriptor = layer.kept
                                   ? make_descriptor(layer.kept->media_type, layer.kept->blob, layer.kept->size)
                                   : make_descriptor(oci::kOciLayer, layer.record.diff_id, layer.record.tar_bytes);
  std::string const path = blob_path(descriptor.digest);
  if (archive_.has(path)) return descriptor;
  std::unique_ptr<codec::Source> source;
  if (layer.kept) {
    source = TRY(blob_source(context_.store, layer.kept->blob));
  } else {
    source = TRY(layer_tar(context_.store, layer.record));
  }
  TRY(archive_.stream(path, *source, descriptor.size,
                      [&](std::uint64_t done) { reporter_.bytes(Phase::kSaving, id, done, descriptor.size); }));
  return descriptor;
}

Result<void> Saver::save_manifest(Saved& saved) {
  // The manifest it came with, where it names what is in this archive.
  bool same = saved.image.manifest.has_value();
  for (std::size_t i = 0; same && i < saved.layers.size(); ++i)
    same = saved.image.manifest->layers[i].digest == saved.layers[i].digest;
  std::string const bytes =
      same ? *saved.image.manifest_bytes : oci::to_json(make_manifest(saved.image, saved.layers, oci::kOciManifest));
  saved.manifest_type = same ? saved.image.manifest->media_type : std::string(oci::kOciManifest);
  saved.manifest = oci::Digest::sha256(codec::sha256_hex(bytes));
  saved.manifest_size = bytes.size();
  return archive_.file(blob_path(saved.manifest), bytes);
}

Result<Saver::Saved> Saver::save_image(Chosen const& chosen) {
  TravelImage image = TRY(open_travel(context_.store, chosen.id));
  Saved saved{.image = std::move(image),
              .tags = chosen.tags,
              .layers = {},
              .manifest = chosen.id,
              .manifest_size = 0,
              .manifest_type = {}};
  for (TravelLayer const& layer : saved.image.layers) {
    oci::Descriptor descriptor = TRY(save_layer(layer));
    saved.layers.push_back(std::move(descriptor));
  }
  TRY(archive_.file(blob_path(chosen.id), saved.image.config_bytes));
  TRY(save_manifest(saved));
  return saved;
}

std::string Saver::index_json(std::vector<Saved> const& all) const {
  json::Writer writer;
  writer.begin_object().field("schemaVersion", 2).field("mediaType", oci::kOciIndex);
  writer.key("manifests").begin_array();
  auto const entry = [&](Saved const& saved, std::string const& tag) {
    writer.begin_object()
        .field("mediaType", saved.manifest_type)
        .field("digest", saved.manifest.text())
        .field("size", saved.manifest_size);
    if (!tag.empty()) {
      Result<oci::ImageRef> const ref = oci::ImageRef::parse(tag);
      writer.key("annotations").begin_object().field("io.containerd.image.name", tag);
      if (ref) writer.field("org.opencontainers.image.ref.name", ref->tag());
      writer.end_object();
    }
    writer.end_object();
  };
  for (Saved const& saved : all) {
    for (std::string const& tag : saved.tags) entry(saved, tag);
    if (saved.tags.empty()) entry(saved, "");
  }
  writer.end_array().end_object();
  return writer.take();
}

std::string familiar(std::string const& tag) {
  Result<oci::ImageRef> const ref = oci::ImageRef::parse(tag);
  return ref ? ref->familiar() : tag;
}

std::string Saver::manifest_json(std::vector<Saved> const& all) {
  json::Writer writer;
  writer.begin_array();
  for (Saved const& saved : all) {
    writer.begin_object().field("Config", blob_path(saved.image.entry.image.id));
    if (saved.tags.empty()) {
      writer.key("RepoTags").null();
    } else {
      std::vector<std::string> tags;
      for (std::string const& tag : saved.tags) tags.push_back(familiar(tag));
      writer.field("RepoTags", tags);
    }
    std::vector<std::string> paths;
    for (oci::Descriptor const& layer : saved.layers) paths.push_back(blob_path(layer.digest));
    writer.field("Layers", paths).end_object();
  }
  writer.end_array();
  return writer.take();
}

// The format before manifest.json: repository to tag to an id. Nobody needs the id's layers any more, but old tools
// look for the file.
std::string Saver::repositories_json(std::vector<Saved> const& all) {
  std::map<std::string, std::map<std::string, std::string>> repositories;
  for (Saved const& saved : all) {
    for (std::string const& tag : saved.tags) {
      Result<oci::ImageRef> const ref = oci::ImageRef::parse(tag);
      if (ref && !saved.layers.empty())
        repositories[ref->familiar_name()][ref->tag()] = saved.layers.back().digest.hex();
    }
  }
  json::Writer writer;
  writer.begin_object();
  for (auto const& [name, tags] : repositories) {
    writer.key(name).begin_object();
    for (auto const& [tag, id] : tags) writer.field(tag, id);
    writer.end_object();
  }
  writer.end_object();
  return writer.take();
}

Result<void> Saver::run(std::vector<Chosen> const& chosen) {
  TRY(archive_.directory("blobs"));
  TRY(archive_.directory("blobs/sha256"));
  std::vector<Saved> all;
  for (Chosen const& each : chosen) {
    Saved saved = TRY_CTX(save_image(each), fmt::format("image {}", each.id.short_hex()));
    all.push_back(std::move(saved));
  }
  TRY(archive_.file("index.json", index_json(all)));
  if (options_.format == ArchiveFormat::kDocker) {
    TRY(archive_.file("manifest.json", manifest_json(all)));
    TRY(archive_.file("repositories", repositories_json(all)));
  }
  TRY(archive_.file("oci-layout", R"({"imageLayoutVersion":"1.0.0"})"));
  return archive_.finish();
}

}  // namespace

Result<void> save(Context const& context, std::vector<std::string> const& words, codec::Sink& out,
                  SaveOptions const& options) {
  if (words.empty()) return Error(Errc::kInvalidArgument, "save: no image was named");
  std::vector<Chosen> const chosen = TRY_CTX(choose(context.store, words), "save");
  Saver saver(context, out, options);
  TRY_CTX(saver.run(chosen), "save");
  return {};
}

Result<void> save_layout(Context const& context, std::vector<std::string> const& words, int directory,
                         SaveOptions const& options) {
  std::vector<std::string> const present = TRY(sys::list_directory(directory));
  if (!present.empty())
    return Error(Errc::kAlreadyExists, fmt::format("save: the folder is not empty: it has '{}'", present.front()));
  SinkPipe archive([&](codec::Sink& sink) { return save(context, words, sink, options); });
  snapshot::ApplyOptions const apply_options{.whiteouts = snapshot::Whiteouts::kRefuse, .stop = options.stop};
  TRY(snapshot::apply(archive, directory, apply_options));
  return {};
}

}  // namespace davit::image
