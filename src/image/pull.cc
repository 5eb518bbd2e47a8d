#include "image/pull.h"

#include <fmt/format.h>

#include <algorithm>

#include "image/early_sync.h"
#include "image/fetch_layer.h"
#include "image/layer_set.h"
#include "image/parallel.h"
#include "image/record.h"
#include "image/reporter.h"
#include "image/resolve.h"

namespace davit::image {
namespace {

// How long layers of a pull that failed are kept for the next one.
constexpr std::chrono::hours kSalvageTime{24};

class Pull {
 public:
  Pull(Context const& context, registry::Client& client, oci::ImageRef const& ref, PullOptions const& options)
      : context_(context),
        client_(client),
        ref_(ref),
        repository_(ref),
        options_(options),
        reporter_(options.progress) {}

  Result<Pulled> run();

 private:
  // The layers and their image's row; what came so far is kept for the next attempt, but not on a full disk.
  Result<void> fetch_and_publish();
  void salvage(LayerSet const& layers) const;
  void discard_partial() const;
  Result<void> fetch_missing(LayerSet& layers);
  Result<void> fetch_one(LayerSet& layers, std::size_t index, std::stop_token stop);
  // Names the image that is here already; false when something of it is missing.
  Result<bool> use_existing();
  Result<void> publish_image(LayerSet& layers);
  void add_names(store::Batch& batch) const;
  Result<void> add_documents(store::Batch& batch, std::vector<oci::Digest>& blobs) const;
  std::string place() const { return ref_.name(); }

  Context const& context_;
  registry::Client& client_;
  oci::ImageRef const& ref_;
  registry::Repository repository_;
  PullOptions const& options_;
  Reporter reporter_;
  std::optional<ResolvedImage> image_;
};

void Pull::add_names(store::Batch& batch) const {
  oci::Digest const& id = image_->manifest.config.digest;
  if (!ref_.tag().empty() && !ref_.digest()) batch.tags.emplace_back(fmt::format("{}:{}", ref_.name(), ref_.tag()), id);
  batch.repo_digests.emplace_back(fmt::format("{}@{}", ref_.name(), image_->top().text()), id);
}

Result<bool> Pull::use_existing() {
  // Pinned before the row is looked at, so that a removal and collection beside this cannot leave a name without
  // content.
  LayerSet const layers = TRY(LayerSet::open(context_, image_->config.diff_ids));
  for (std::size_t i = 0; i < layers.size(); ++i) {
    if (!layers.has(i)) return false;
  }
  std::vector<store::Pin> pins;
  for (oci::Digest const& digest : {image_->manifest.config.digest, image_->manifest_document.digest}) {
    std::optional<store::Pin> pin = TRY(context_.store.pin_blob(digest));
    if (!pin) return false;
    pins.push_back(std::move(*pin));
  }
  std::optional<store::ImageEntry> const known = TRY(context_.store.find_image(image_->manifest.config.digest));
  if (!known) return false;
  // One that came by `load` has no manifest yet: it then gets it, without its layers being fetched again.
  bool const complete = known->image.manifest == image_->manifest_document.digest;
  if (!complete) return false;
  std::string const digest_name = fmt::format("{}@{}", ref_.name(), image_->top().text());
  bool const has_digest =
      std::find(known->repo_digests.begin(), known->repo_digests.end(), digest_name) != known->repo_digests.end();
  std::string const tag_name = fmt::format("{}:{}", ref_.name(), ref_.tag());
  bool const has_tag =
      ref_.digest() || std::find(known->tags.begin(), known->tags.end(), tag_name) != known->tags.end();
  if (has_digest && has_tag) return true;
  store::Batch batch;
  std::vector<oci::Digest> blobs = known->image.blobs;
  if (image_->index) {
    auto document = TRY(context_.store.ingest_bytes(image_->index->bytes));
    blobs.push_back(document.first);
    batch.blobs.push_back(std::move(document));
  }
  std::sort(blobs.begin(), blobs.end());
  blobs.erase(std::unique(blobs.begin(), blobs.end()), blobs.end());
  store::ImageRecord record = known->image;
  record.blobs = std::move(blobs);
  batch.images.push_back(std::move(record));
  add_names(batch);
  TRY(context_.store.publish(batch));
  return true;
}

Result<void> Pull::fetch_one(LayerSet& layers, std::size_t index, std::stop_token stop) {
  LayerToFetch const layer{.descriptor = image_->manifest.layers[index], .diff_id = layers.diff_id(index)};
  std::shared_ptr<MadeLayer> made = TRY(context_.works.get(std::string(layer.diff_id.hex()), stop, [&] {
    return fetch_layer(context_, client_, repository_, layer, reporter_, stop);
  }));
  layers.set(index, std::move(made));
  return {};
}

Result<void> Pull::fetch_missing(LayerSet& layers) {
  std::vector<std::size_t> missing;
  for (std::size_t i = 0; i < layers.size(); ++i) {
    std::string const id(image_->manifest.layers[i].digest.short_hex());
    if (layers.has(i)) {
      reporter_.phase(Phase::kAlreadyExists, id);
    } else {
      reporter_.phase(Phase::kWaiting, id);
      missing.push_back(i);
    }
  }
  // The largest first: it decides when the pull ends.
  std::stable_sort(missing.begin(), missing.end(), [&](std::size_t a, std::size_t b) {
    return image_->manifest.layers[a].size > image_->manifest.layers[b].size;
  });
  return parallel_each(missing.size(), context_.parallel_layers, options_.stop,
                       [&](std::size_t i, std::stop_token stop) { return fetch_one(layers, missing[i], stop); });
}

Result<void> Pull::add_documents(store::Batch& batch, std::vector<oci::Digest>& blobs) const {
  std::vector<std::string_view> documents = {image_->config_bytes, image_->manifest_document.bytes};
  if (image_->index) documents.push_back(image_->index->bytes);
  for (std::string_view const bytes : documents) {
    auto blob = TRY(context_.store.ingest_bytes(bytes));
    blobs.push_back(blob.first);
    batch.blobs.push_back(std::move(blob));
  }
  return {};
}

Result<void> Pull::publish_image(LayerSet& layers) {
  store::Batch batch;
  std::vector<oci::Digest> blobs;
  std::vector<store::LayerRecord> const records = TRY(layers.finish(batch));
  TRY(add_documents(batch, blobs));
  std::vector<store::Pin> pins;
  for (std::size_t i = 0; i < layers.size(); ++i) {
    oci::Descriptor const& layer = image_->manifest.layers[i];
    batch.sources.emplace_back(layer.digest, place());
    bool const made_now = std::any_of(batch.blobs.begin(), batch.blobs.end(),
                                      [&](auto const& blob) { return blob.first == layer.digest; });
    if (!made_now) {
      // A layer that was here may have its blob here too, or not: it then is made again from the layer when it is
      // needed. A manifest is believed only what this store has seen: that the blob unpacks to this layer.
      std::optional<store::LayerForm> const form = TRY(context_.store.form_of_blob(layer.digest));
      if (!form || form->diff_id != layers.diff_id(i)) continue;
      std::optional<store::Pin> pin = TRY(context_.store.pin_blob(layer.digest));
      if (!pin) continue;
      pins.push_back(std::move(*pin));
    }
    blobs.push_back(layer.digest);
  }
  std::sort(blobs.begin(), blobs.end());
  blobs.erase(std::unique(blobs.begin(), blobs.end()), blobs.end());
  store::ImageRecord record =
      make_record(image_->manifest.config.digest, image_->config, records, std::move(blobs), context_.now_ns());
  record.manifest = image_->manifest_document.digest;
  batch.images.push_back(std::move(record));
  add_names(batch);
  return context_.store.publish(batch);
}

void Pull::salvage(LayerSet const& layers) const {
  store::Batch batch{.layers = {},
                     .blobs = {},
                     .forms = {},
                     .images = {},
                     .tags = {},
                     .repo_digests = {},
                     .sources = {},
                     .keep_unused = kSalvageTime};
  layers.salvage(batch);
  // The pull's own error is the one to tell; without this the next pull only fetches more.
  if (!batch.layers.empty()) (void)context_.store.publish(batch).ok();
}

// Blobs that layers beside the one that failed have left. One that another pull writes is its own.
void Pull::discard_partial() const {
  for (oci::Descriptor const& layer : image_->manifest.layers) {
    Result<std::shared_ptr<store::Ingest>> const file = context_.store.ingest(layer.digest);
    if (file) (*file)->discard();
  }
}

Result<void> Pull::fetch_and_publish() {
  LayerSet layers = TRY(LayerSet::open(context_, image_->config.diff_ids));
  Result<void> fetched = fetch_missing(layers);
  if (fetched) fetched = publish_image(layers);
  if (!fetched && fetched.error().code() != Errc::kResourceExhausted) salvage(layers);
  return fetched;
}

Result<Pulled> Pull::run() {
  std::string const shown = ref_.digest() ? ref_.digest()->text() : ref_.tag();
  reporter_.message(shown, fmt::format("Pulling from {}", ref_.familiar_name()));
  oci::Platform const wanted = options_.platform.value_or(context_.host);
  image_ = TRY(resolve(context_, client_, ref_, wanted, options_.stop));
  Pulled pulled{.id = image_->manifest.config.digest, .digest = image_->top()};
  pulled.up_to_date = TRY(use_existing());
  if (!pulled.up_to_date) {
    Result<void> fetched = fetch_and_publish();
    if (!fetched) {
      if (fetched.error().code() == Errc::kResourceExhausted) discard_partial();
      return std::move(fetched).take_error();
    }
  }
  reporter_.message("", fmt::format("Digest: {}", pulled.digest.text()));
  reporter_.message(
      "", fmt::format("Status: {} for {}", pulled.up_to_date ? "Image is up to date" : "Downloaded newer image",
                      ref_.familiar()));
  return pulled;
}

}  // namespace

Result<Pulled> pull(Context const& context, registry::Client& client, oci::ImageRef const& ref,
                    PullOptions const& options) {
  oci::ImageRef const named = ref.with_default_tag();
  EarlySync const early(context.store);
  Result<Pulled> pulled = Pull(context, client, named, options).run();
  if (!pulled) return std::move(pulled).take_error().with_context(fmt::format("pull {}", named.familiar()));
  return pulled;
}

}  // namespace davit::image
