#include "image/import.h"

#include <fmt/format.h>

#include "base/text.h"
#include "codec/hash.h"
#include "image/change.h"
#include "image/early_sync.h"
#include "image/find.h"
#include "image/record.h"
#include "image/reporter.h"
#include "image/sink_pipe.h"
#include "image/unpack.h"
#include "snapshot/diff.h"

namespace davit::image {
namespace {

// The SHA-256 of a tar without entries: two blocks of zeros.
constexpr std::string_view kEmptyTar = "5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef";

// Counts what flows through, for the progress.
class CountingSource : public codec::Source {
 public:
  CountingSource(codec::Source& inner, Reporter& reporter) : inner_(inner), reporter_(reporter) {}
  Result<std::string_view> next() override {
    std::string_view const bytes = TRY(inner_.next());
    count_ += bytes.size();
    reporter_.bytes(Phase::kLoading, "", count_, 0);
    return bytes;
  }

 private:
  codec::Source& inner_;
  Reporter& reporter_;
  std::uint64_t count_ = 0;
};

struct NewImage {
  oci::ImageConfig config;
  std::vector<store::LayerRecord> layers;
  std::optional<oci::ImageRef> name;
};

// The config as a blob, the row, the name; what the layer adds is in the batch already.
Result<oci::Digest> publish_image(Context const& context, store::Batch batch, NewImage const& image) {
  auto config_blob = TRY(context.store.ingest_bytes(oci::to_json(image.config)));
  oci::Digest id = config_blob.first;
  batch.blobs.push_back(std::move(config_blob));
  batch.images.push_back(make_record(id, image.config, image.layers, {id}, context.now_ns()));
  if (image.name) {
    oci::ImageRef const name = image.name->with_default_tag();
    batch.tags.emplace_back(fmt::format("{}:{}", name.name(), name.tag()), id);
  }
  TRY(context.store.publish(batch));
  return id;
}

Result<void> check_name(std::optional<oci::ImageRef> const& name) {
  if (name && name->digest()) return Error(Errc::kInvalidArgument, "the new image's name cannot have a digest");
  return {};
}

Result<void> apply_changes(oci::ContainerConfig& config, std::vector<std::string> const& changes) {
  for (std::string const& change : changes) TRY_CTX(apply_change(config, change), fmt::format("change '{}'", change));
  return {};
}

// The layers of `base`, pinned, and the new one on top.
struct Base {
  StoredConfig stored;
  std::vector<store::LayerRecord> layers;
  std::vector<store::Pin> pins;
};

Result<Base> open_base(store::Store& store, oci::Digest const& id) {
  std::optional<store::ImageEntry> const entry = TRY(store.find_image(id));
  if (!entry) return Error(Errc::kNotFound, fmt::format("No such image: {}", id.text()));
  StoredConfig stored = TRY(read_config(store, id));
  Base base{.stored = std::move(stored), .layers = {}, .pins = {}};
  for (std::string const& layer : entry->image.layers) {
    auto found = TRY(store.pin_layer(layer));
    if (!found) return Error(Errc::kConflict, fmt::format("image {} was removed meanwhile", id.text()));
    base.layers.push_back(std::move(found->first));
    base.pins.push_back(std::move(found->second));
  }
  return base;
}

Result<MadeLayer> layer_of_upper(Context const& context, int upper, std::stop_token stop) {
  // diff writes the tar, unpack reads it: the new layer is a copy that the container cannot change any more.
  SinkPipe pipe([&](codec::Sink& sink) {
    return snapshot::diff_upper(upper, sink, {.clamp_mtime = std::nullopt, .parents = true, .stop = stop});
  });
  UnpackedLayer unpacked =
      TRY(unpack(context, pipe, {.diff_id = std::nullopt, .compression = codec::Compression::kNone, .stop = stop}));
  return std::move(unpacked.made);
}

}  // namespace

Result<oci::Digest> import_tar(Context const& context, codec::Source& in, ImportOptions const& options) {
  TRY(check_name(options.name));
  oci::ImageConfig config;
  config.platform = options.platform.value_or(context.host);
  config.comment = options.message;
  config.created = rfc3339_nanos(context.now_ns());
  TRY(apply_changes(config.config, options.changes));
  Reporter reporter(options.progress);
  CountingSource counted(in, reporter);
  EarlySync const early(context.store);
  UnpackedLayer unpacked =
      TRY_CTX(unpack(context, counted,
                     {.diff_id = std::nullopt, .compression = std::nullopt, .base = true, .stop = options.stop}),
              "import");
  if (!unpacked.made.layer->record.has_recipe) {
    // The tar had a file twice, and the first one's data are gone. Nobody knows the image's digest yet, so the tree may
    // be written anew.
    SinkPipe pipe([fs = unpacked.made.layer->fs(), stop = options.stop](codec::Sink& sink) {
      return snapshot::export_tree(fs, sink, {.clamp_mtime = std::nullopt, .parents = true, .stop = stop});
    });
    UnpackedLayer again = TRY_CTX(
        unpack(context, pipe,
               {.diff_id = std::nullopt, .compression = codec::Compression::kNone, .base = true, .stop = options.stop}),
        "import");
    unpacked = std::move(again);
  }
  // Nothing is below: directories without an entry keep what unpacking gave them. In another image they would not, so
  // such a layer is of this chain only.
  if (!unpacked.made.implied_directories.empty()) {
    unpacked.made.layer->record.id = store::chained_layer_id(unpacked.made.layer->record.diff_id);
  }
  store::LayerRecord record = unpacked.made.layer->record;
  std::optional<std::pair<store::LayerRecord, store::Pin>> known = TRY(context.store.pin_layer(record.id));
  store::Batch batch;
  if (!known) batch.layers.push_back(unpacked.made.layer);
  config.diff_ids = {record.diff_id};
  config.history = {
      {.created = config.created, .created_by = "", .author = "", .comment = options.message, .empty_layer = false}};
  return publish_image(context, std::move(batch),
                       {.config = std::move(config), .layers = {std::move(record)}, .name = options.name});
}

Result<oci::Digest> commit(Context const& context, oci::Digest const& base_id, int upper,
                           CommitOptions const& options) {
  TRY(check_name(options.name));
  Base base = TRY(open_base(context.store, base_id));
  oci::ImageConfig config = std::move(base.stored.config);
  if (options.config) config.config = *options.config;
  TRY(apply_changes(config.config, options.changes));
  config.created = rfc3339_nanos(context.now_ns());
  config.author = options.author;
  config.comment = options.message;
  config.container = options.container;
  MadeLayer made = TRY_CTX(layer_of_upper(context, upper, options.stop), "commit");
  store::LayerRecord record = made.layer->record;
  // Nothing was changed: as with Docker the image then has a new config and history, and no layer more.
  bool const empty = record.diff_id.hex() == kEmptyTar;
  std::optional<std::pair<store::LayerRecord, store::Pin>> const known = TRY(context.store.pin_layer(record.id));
  store::Batch batch;
  if (!empty) {
    if (!known) batch.layers.push_back(made.layer);
    config.diff_ids.push_back(record.diff_id);
    base.layers.push_back(std::move(record));
  }
  config.history.push_back({.created = config.created,
                            .created_by = options.created_by.value_or(""),
                            .author = options.author,
                            .comment = options.message,
                            .empty_layer = empty});
  return publish_image(context, std::move(batch),
                       {.config = std::move(config), .layers = std::move(base.layers), .name = options.name});
}

}  // namespace davit::image
