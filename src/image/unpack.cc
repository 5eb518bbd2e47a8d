#include "image/unpack.h"

#include <fmt/format.h>

#include "codec/compression.h"
#include "codec/hash.h"
#include "image/early_sync.h"
#include "loop/fd_stream.h"
#include "snapshot/apply.h"
#include "sys/file.h"

namespace davit::image {
namespace {

// The bytes of `in` as a tar, hashed. Two threads share the work: inflating takes about as long as hashing and writing
// files; of what needs no inflating, the hash goes to the reading thread.
class TarStream {
 public:
  static Result<std::unique_ptr<TarStream>> open(codec::Source& in, Limits const& limits,
                                                 std::optional<codec::Compression> known) {
    auto stream = std::make_unique<TarStream>();
    if (known) {
      stream->compression_ = *known;
      stream->decompressed_ = codec::decompress(in, *known, limits.decompress);
    } else {
      codec::Detected detected = TRY(codec::decompress_any(in, limits.decompress));
      stream->compression_ = detected.compression;
      stream->decompressed_ = std::move(detected.source);
    }
    if (stream->compression_ == codec::Compression::kNone) {
      stream->hashed_ = std::make_unique<codec::HashingSource>(*stream->decompressed_);
      stream->threaded_ = std::make_unique<codec::ThreadedSource>(*stream->hashed_);
      stream->source_ = stream->threaded_.get();
    } else {
      stream->threaded_ = std::make_unique<codec::ThreadedSource>(*stream->decompressed_);
      stream->hashed_ = std::make_unique<codec::HashingSource>(*stream->threaded_);
      stream->source_ = stream->hashed_.get();
    }
    return stream;
  }
  ~TarStream() { threaded_.reset(); }  // first: it may be reading from the hash

  codec::Source& source() { return *source_; }
  codec::Compression compression() const { return compression_; }
  // At the end of the stream.
  std::uint64_t size() const { return hashed_->size(); }
  oci::Digest digest() { return oci::Digest::sha256(hashed_->finish_hex()); }

 private:
  codec::Compression compression_ = codec::Compression::kNone;
  std::unique_ptr<codec::Source> decompressed_, threaded_;
  std::unique_ptr<codec::HashingSource> hashed_;
  codec::Source* source_ = nullptr;
};

Result<void> check_diff_id(std::optional<oci::Digest> const& expected, oci::Digest const& found) {
  if (!expected || *expected == found) return {};
  return Error(Errc::kInvalidArgument,
               fmt::format("the layer's content is {}, its image says {}: it was damaged or exchanged", found.text(),
                           expected->text()));
}

}  // namespace

Result<UnpackedLayer> unpack(Context const& context, codec::Source& in, UnpackOptions const& options) {
  std::shared_ptr<store::StagedLayer> staged = TRY(context.store.stage_layer());
  UniqueFd const recipe_file = TRY(sys::openat(staged->directory(), "recipe", O_WRONLY | O_CREAT | O_EXCL, 0600));
  loop::FdSink recipe(recipe_file.get());
  std::unique_ptr<TarStream> const tar = TRY(TarStream::open(in, context.limits, options.compression));
  snapshot::ApplyOptions apply_options{
      .whiteouts = options.base ? snapshot::Whiteouts::kRefuse : snapshot::Whiteouts::kOverlay,
      .limits = context.limits.tar,
      .max_bytes = context.limits.max_layer_bytes,
      .recipe = &recipe,
      .stop = options.stop,
  };
  WrittenSource counted(tar->source(), context.store);
  snapshot::Applied applied = TRY(snapshot::apply(counted, staged->fs(), apply_options));
  oci::Digest const diff_id = tar->digest();
  TRY(check_diff_id(options.diff_id, diff_id));
  snapshot::Usage const usage = TRY(snapshot::disk_usage(staged->directory()));
  staged->record = store::LayerRecord{.id = store::layer_id(diff_id),
                                      .diff_id = diff_id,
                                      .tar_bytes = tar->size(),
                                      .file_bytes = applied.file_bytes,
                                      .disk_bytes = usage.disk_bytes,
                                      .has_recipe = applied.recipe_complete};
  return UnpackedLayer{.made = {.layer = std::move(staged),
                                .implied_directories = std::move(applied.implied_directories),
                                .blob = std::nullopt,
                                .form = std::nullopt},
                       .compression = tar->compression()};
}

}  // namespace davit::image
