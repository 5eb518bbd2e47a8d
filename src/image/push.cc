#include "image/push.h"

#include <fmt/format.h>

#include <algorithm>
#include <mutex>

#include "codec/compression.h"
#include "codec/hash.h"
#include "image/find.h"
#include "image/layer_content.h"
#include "image/parallel.h"
#include "image/reporter.h"
#include "image/sink_pipe.h"
#include "image/travel.h"

namespace davit::image {
namespace {

// For each of the layers that go at once. More would take more than the memory that a push may use: about 6 MB for each
// thread.
constexpr unsigned kCompressThreads = 2;

class ReportingSource : public codec::Source {
 public:
  ReportingSource(codec::Source& inner, Reporter& reporter, std::string id, std::uint64_t total)
      : inner_(inner), reporter_(reporter), id_(std::move(id)), total_(total) {}
  Result<std::string_view> next() override {
    std::string_view const bytes = TRY(inner_.next());
    done_ += bytes.size();
    reporter_.bytes(Phase::kPushing, id_, done_, total_);
    return bytes;
  }

 private:
  codec::Source& inner_;
  Reporter& reporter_;
  std::string id_;
  std::uint64_t total_, done_ = 0;
};

// The same over a source of its own.
class OwnedReportingSource : public codec::Source {
 public:
  OwnedReportingSource(std::unique_ptr<codec::Source> inner, Reporter& reporter, std::string id, std::uint64_t total)
      : inner_(std::move(inner)), reporting_(*inner_, reporter, std::move(id), total) {}
  Result<std::string_view> next() override { return reporting_.next(); }

 private:
  std::unique_ptr<codec::Source> inner_;
  ReportingSource reporting_;
};

class Push {
 public:
  Push(Context const& context, registry::Client& client, oci::ImageRef const& ref, PushOptions const& options)
      : context_(context),
        client_(client),
        ref_(ref),
        repository_(ref),
        options_(options),
        reporter_(options.progress) {}

  Result<Pushed> run();

 private:
  Result<oci::Descriptor> push_layer(TravelLayer const& layer, std::stop_token stop);
  // A form whose blob the registry has or takes from a neighbour.
  Result<bool> registry_has(store::LayerForm const& form, std::string const& id, std::stop_token stop);
  Result<void> upload_kept(store::LayerForm const& form, std::string const& id, std::stop_token stop);
  Result<oci::Descriptor> compress_and_upload(TravelLayer const& layer, std::string const& id, std::stop_token stop);
  Result<void> push_config(TravelImage const& image);
  Result<Pushed> push_manifest(TravelImage const& image, std::vector<oci::Descriptor> layers);
  Result<void> remember(TravelImage const& image, oci::Digest const& manifest, std::string_view bytes,
                        std::vector<oci::Descriptor> const& layers);

  Context const& context_;
  registry::Client& client_;
  oci::ImageRef const& ref_;
  registry::Repository repository_;
  PushOptions const& options_;
  Reporter reporter_;
};

Result<bool> Push::registry_has(store::LayerForm const& form, std::string const& id, std::stop_token stop) {
  bool const there = TRY(client_.has_blob(repository_, form.blob, stop));
  if (there) {
    reporter_.phase(Phase::kLayerExists, id);
    return true;
  }
  std::vector<std::string> const places = TRY(context_.store.blob_sources(form.blob));
  for (std::string const& place : places) {
    if (!place.starts_with(ref_.domain() + "/")) continue;
    std::string const path = place.substr(ref_.domain().size() + 1);
    if (path == ref_.path()) continue;
    // A neighbour that may not be read is no reason to fail: the layer is uploaded.
    Result<bool> const mounted = client_.mount_blob(repository_, form.blob, path, stop);
    if (!mounted || !*mounted) continue;
    reporter_.phase(Phase::kMounted, id, fmt::format("Mounted from {}", path));
    return true;
  }
  return false;
}

Result<void> Push::upload_kept(store::LayerForm const& form, std::string const& id, std::stop_token stop) {
  auto const open = [&](std::uint64_t offset) -> Result<std::unique_ptr<codec::Source>> {
    std::unique_ptr<codec::Source> source = TRY(blob_source(context_.store, form.blob, offset));
    return std::unique_ptr<codec::Source>(
        std::make_unique<OwnedReportingSource>(std::move(source), reporter_, id, form.size));
  };
  return client_.upload_blob(repository_, form.blob, form.size, open, stop);
}

// Compresses what `tar` gives, hashing the result; from a thread that the upload reads.
class CompressedLayer : public codec::Source {
 public:
  CompressedLayer(codec::Source& tar, codec::GzipOptions options)
      : pipe_([&tar, options](codec::Sink& out) -> Result<void> {
          codec::GzipSink gzip(out, options);
          TRY(codec::copy(tar, gzip));
          return gzip.finish();
        }),
        hashed_(pipe_) {}
  Result<std::string_view> next() override { return hashed_.next(); }
  std::uint64_t size() const { return hashed_.size(); }
  std::string finish_hex() { return hashed_.finish_hex(); }

 private:
  SinkPipe pipe_;
  codec::HashingSource hashed_;
};

Result<oci::Descriptor> Push::compress_and_upload(TravelLayer const& layer, std::string const& id,
                                                  std::stop_token stop) {
  std::unique_ptr<codec::Source> const tar = TRY(layer_tar(context_.store, layer.record));
  ReportingSource reporting(*tar, reporter_, id, layer.record.tar_bytes);
  unsigned const threads = options_.compress_threads == 0 ? kCompressThreads : options_.compress_threads;
  CompressedLayer compressed(reporting, {.level = options_.gzip_level, .threads = threads});
  std::unique_ptr<registry::Client::Upload> const upload = TRY(client_.stream_blob(repository_, compressed, stop));
  oci::Digest digest = oci::Digest::sha256(compressed.finish_hex());
  TRY(upload->commit(digest));
  return make_descriptor(oci::kDockerLayerGzip, std::move(digest), compressed.size());
}

Result<oci::Descriptor> Push::push_layer(TravelLayer const& layer, std::stop_token stop) {
  std::string const id(layer.record.diff_id.short_hex());
  reporter_.phase(Phase::kPreparing, id);
  if (layer.kept && oci::is_foreign_layer(layer.kept->media_type)) {
    reporter_.phase(Phase::kLayerExists, id, "Skipped foreign layer");
    return make_descriptor(layer.kept->media_type, layer.kept->blob, layer.kept->size);
  }
  for (auto const* form : {&layer.kept, &layer.known}) {
    if (!*form) continue;
    bool const there = TRY(registry_has(**form, id, stop));
    if (there) return make_descriptor((*form)->media_type, (*form)->blob, (*form)->size);
  }
  oci::Descriptor descriptor = make_descriptor("", layer.record.diff_id, 0);
  if (layer.kept) {
    TRY(upload_kept(*layer.kept, id, stop));
    descriptor = make_descriptor(layer.kept->media_type, layer.kept->blob, layer.kept->size);
  } else {
    descriptor = TRY(compress_and_upload(layer, id, stop));
  }
  reporter_.phase(Phase::kPushed, id);
  return descriptor;
}

Result<void> Push::push_config(TravelImage const& image) {
  oci::Digest const& id = image.entry.image.id;
  bool const there = TRY(client_.has_blob(repository_, id, options_.stop));
  if (there) return {};
  auto const open = [&](std::uint64_t offset) { return blob_source(context_.store, id, offset); };
  return client_.upload_blob(repository_, id, image.config_bytes.size(), open, options_.stop);
}

Result<void> Push::remember(TravelImage const& image, oci::Digest const& manifest, std::string_view bytes,
                            std::vector<oci::Descriptor> const& layers) {
  // As it is now: what others changed while this was sent must stay, and one that was removed must not come back.
  std::optional<store::ImageEntry> const now = TRY(context_.store.find_image(image.entry.image.id));
  if (!now) return {};
  store::Batch batch;
  for (std::size_t i = 0; i < layers.size(); ++i) {
    batch.forms.push_back({.diff_id = image.layers[i].record.diff_id,
                           .blob = layers[i].digest,
                           .size = layers[i].size,
                           .media_type = layers[i].media_type});
    batch.sources.emplace_back(layers[i].digest, ref_.name());
  }
  batch.repo_digests.emplace_back(fmt::format("{}@{}", ref_.name(), manifest.text()), image.entry.image.id);
  if (now->image.manifest != manifest) {
    auto blob = TRY(context_.store.ingest_bytes(bytes));
    store::ImageRecord record = now->image;
    record.manifest = manifest;
    if (std::find(record.blobs.begin(), record.blobs.end(), blob.first) == record.blobs.end())
      record.blobs.push_back(blob.first);
    batch.blobs.push_back(std::move(blob));
    batch.images.push_back(std::move(record));
  }
  return context_.store.publish(batch);
}

Result<Pushed> Push::push_manifest(TravelImage const& image, std::vector<oci::Descriptor> layers) {
  bool same = image.manifest.has_value();
  for (std::size_t i = 0; same && i < layers.size(); ++i) same = image.manifest->layers[i].digest == layers[i].digest;
  bool docker_only = true;
  for (oci::Descriptor const& layer : layers) docker_only = docker_only && layer.media_type == oci::kDockerLayerGzip;
  std::string_view const type = docker_only ? oci::kDockerManifest : oci::kOciManifest;
  if (!same && !docker_only) {
    for (oci::Descriptor& layer : layers) {
      if (layer.media_type == oci::kDockerLayerGzip) layer.media_type = oci::kOciLayerGzip;
    }
  }
  std::string const bytes = same ? *image.manifest_bytes : oci::to_json(make_manifest(image, layers, type));
  std::string_view const media_type = same ? std::string_view(image.manifest->media_type) : type;
  oci::Digest const digest = TRY(client_.put_manifest(repository_, ref_.tag(), bytes, media_type, options_.stop));
  TRY(remember(image, digest, bytes, layers));
  reporter_.message("", fmt::format("{}: digest: {} size: {}", ref_.tag(), digest.text(), bytes.size()));
  return Pushed{.digest = digest, .size = bytes.size()};
}

Result<Pushed> Push::run() {
  Found const found = TRY(find(context_.store, ref_.to_string()));
  TravelImage const image = TRY(open_travel(context_.store, found.entry.image.id));
  reporter_.message("", fmt::format("The push refers to repository [{}]", ref_.name()));
  std::vector<std::optional<oci::Descriptor>> pushed(image.layers.size());
  // The same layer twice in one image: the second finds it at the registry, or compresses it to the same bytes.
  auto const push_one = [&](std::size_t i, std::stop_token stop) -> Result<void> {
    oci::Descriptor descriptor =
        TRY_CTX(push_layer(image.layers[i], stop), fmt::format("layer {}", image.layers[i].record.diff_id.short_hex()));
    pushed[i].emplace(std::move(descriptor));
    return {};
  };
  TRY(parallel_each(image.layers.size(), context_.parallel_layers, options_.stop, push_one));
  std::vector<oci::Descriptor> layers;
  for (std::optional<oci::Descriptor>& each : pushed) layers.push_back(std::move(*each));
  TRY_CTX(push_config(image), "config");
  return push_manifest(image, std::move(layers));
}

}  // namespace

Result<Pushed> push(Context const& context, registry::Client& client, oci::ImageRef const& ref,
                    PushOptions const& options) {
  if (ref.digest()) return Error(Errc::kInvalidArgument, "push: a name with a digest cannot be pushed; give a tag");
  oci::ImageRef const named = ref.with_default_tag();
  Result<Pushed> pushed = Push(context, client, named, options).run();
  if (!pushed) return std::move(pushed).take_error().with_context(fmt::format("push {}", named.familiar()));
  return pushed;
}

}  // namespace davit::image
