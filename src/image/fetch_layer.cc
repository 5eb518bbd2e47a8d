#include "image/fetch_layer.h"

#include <fmt/format.h>

#include <unistd.h>

#include "codec/hash.h"
#include "image/unpack.h"
#include "loop/fd_stream.h"
#include "sys/file.h"

namespace davit::image {
namespace {

// The bytes that an earlier attempt left in the partial file, then the registry's from there on, which are added to the
// file.
class ResumedDownload : public codec::Source {
 public:
  ResumedDownload(store::Ingest& file, UniqueFd reading, std::unique_ptr<codec::Source> network,
                  std::function<void(std::uint64_t)> progress)
      : file_(file),
        left_(file.size()),
        reading_(std::move(reading)),
        disk_(reading_.get(), left_),
        network_(std::move(network)),
        progress_(std::move(progress)) {}

  Result<std::string_view> next() override {
    if (left_ > 0) {
      std::string_view const bytes = TRY(disk_.next());
      if (bytes.empty()) return Error(Errc::kInternal, "a partial download became shorter while it was read");
      left_ -= bytes.size();
      return bytes;
    }
    std::string_view const bytes = TRY(network_->next());
    if (!bytes.empty()) TRY(file_.write(bytes));
    progress_(file_.size());
    return bytes;
  }

 private:
  store::Ingest& file_;
  std::uint64_t left_;
  UniqueFd reading_;
  loop::FdSource disk_;
  std::unique_ptr<codec::Source> network_;
  std::function<void(std::uint64_t)> progress_;
};

struct Attempt {
  Context const& context;
  registry::Client& client;
  registry::Repository const& repository;
  LayerToFetch const& layer;
  Reporter& reporter;
  std::stop_token stop;

  Result<MadeLayer> run(std::shared_ptr<store::Ingest> const& file) const;
};

Result<MadeLayer> Attempt::run(std::shared_ptr<store::Ingest> const& file) const {
  oci::Descriptor const& descriptor = layer.descriptor;
  TRY(oci::layer_compression(descriptor.media_type));  // refuses what is no layer
  std::unique_ptr<codec::Source> network;
  if (file->size() < descriptor.size || descriptor.size == 0) {
    network = TRY(client.blob(repository, descriptor, file->size(), stop));
  } else {
    network = std::make_unique<codec::MemorySource>("");
  }
  UniqueFd reading = TRY(sys::open(fmt::format("/proc/self/fd/{}", file->fd()), O_RDONLY));
  ResumedDownload download(*file, std::move(reading), std::move(network), [this, &descriptor](std::uint64_t current) {
    reporter.bytes(Phase::kDownloading, layer.shown_id(), current, descriptor.size);
  });
  codec::HashingSource hashed(download);
  // The bytes decide how they are compressed, as with Docker: types that say something else are met in practice, and
  // the diff-id proves what comes out.
  UnpackedLayer unpacked =
      TRY(unpack(context, hashed, {.diff_id = layer.diff_id, .compression = std::nullopt, .stop = stop}));
  // What follows the compressed stream's end belongs to the blob and its digest.
  for (;;) {
    std::string_view const rest = TRY(hashed.next());
    if (rest.empty()) break;
  }
  if (hashed.finish_hex() != descriptor.digest.hex()) {
    return Error(
        Errc::kInvalidArgument,
        fmt::format(
            "layer {}: the bytes that came have another digest: they were damaged on the way or the registry is wrong",
            descriptor.digest.text()));
  }
  unpacked.made.form = store::LayerForm{.diff_id = layer.diff_id,
                                        .blob = descriptor.digest,
                                        .size = descriptor.size,
                                        .media_type = descriptor.media_type};
  return std::move(unpacked.made);
}

}  // namespace

Result<MadeLayer> fetch_layer(Context const& context, registry::Client& client, registry::Repository const& repository,
                              LayerToFetch const& layer, Reporter& reporter, std::stop_token stop) {
  Result<std::shared_ptr<store::Ingest>> opened = context.store.ingest(layer.descriptor.digest);
  // Another image, or this one at another place, has the layer for itself (LayerWorks): it comes a second time, then.
  if (!opened && opened.error().code() == Errc::kConflict) opened = context.store.ingest_unnamed();
  std::shared_ptr<store::Ingest> file = TRY(std::move(opened));
  bool const resumed = file->size() > 0;
  if (file->size() > layer.descriptor.size) TRY(file->restart());
  Attempt const attempt{context, client, repository, layer, reporter, stop};
  Result<MadeLayer> made = attempt.run(file);
  if (!made && made.error().code() == Errc::kInvalidArgument && resumed) {
    // The part that was here may be what a power cut left of it: once more from nothing.
    TRY(file->restart());
    made = attempt.run(file);
  }
  if (!made) {
    Errc const code = made.error().code();
    if (code == Errc::kInvalidArgument || code == Errc::kResourceExhausted) file->discard();
    return std::move(made).take_error().with_context(fmt::format("layer {}", layer.shown_id()));
  }
  // A layer that cannot be written again from its files needs its blob in any case.
  if (context.keep_blobs == KeepBlobs::kYes || !made->layer->record.has_recipe) {
    made->blob.emplace(layer.descriptor.digest, std::move(file));
  } else {
    file->discard();
  }
  reporter.phase(Phase::kPullComplete, layer.shown_id());
  return made;
}

}  // namespace davit::image
