#include "image/unpack.h"

#include <fmt/format.h>

#include "codec/compression.h"
#include "codec/hash.h"
#include "loop/fd_stream.h"
#include "snapshot/apply.h"
#include "sys/file.h"

namespace davit::image {
namespace {

// The bytes of `in` as a tar; inflating is on a thread of its own, since it takes about as long as hashing and writing.
struct TarStream {
  codec::Compression compression = codec::Compression::kNone;
  std::unique_ptr<codec::Source> decompressed, threaded;
  codec::Source& source() { return threaded ? *threaded : *decompressed; }
};

Result<TarStream> open_tar(codec::Source& in, Limits const& limits, std::optional<codec::Compression> known) {
  TarStream stream;
  if (known) {
    stream.compression = *known;
    stream.decompressed = codec::decompress(in, *known, limits.decompress);
  } else {
    codec::Detected detected = TRY(codec::decompress_any(in, limits.decompress));
    stream.compression = detected.compression;
    stream.decompressed = std::move(detected.source);
  }
  stream.threaded = std::make_unique<codec::ThreadedSource>(*stream.decompressed);
  return stream;
}

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
  TarStream tar = TRY(open_tar(in, context.limits, options.compression));
  codec::HashingSource hashed(tar.source());
  snapshot::ApplyOptions apply_options{
      .whiteouts = options.base ? snapshot::Whiteouts::kRefuse : snapshot::Whiteouts::kOverlay,
      .limits = context.limits.tar,
      .max_bytes = context.limits.max_layer_bytes,
      .recipe = &recipe,
      .stop = options.stop,
  };
  snapshot::Applied applied = TRY(snapshot::apply(hashed, staged->fs(), apply_options));
  oci::Digest const diff_id = oci::Digest::sha256(hashed.finish_hex());
  TRY(check_diff_id(options.diff_id, diff_id));
  snapshot::Usage const usage = TRY(snapshot::disk_usage(staged->directory()));
  staged->record = store::LayerRecord{.id = store::layer_id(diff_id),
                                      .diff_id = diff_id,
                                      .tar_bytes = hashed.size(),
                                      .file_bytes = applied.file_bytes,
                                      .disk_bytes = usage.disk_bytes,
                                      .has_recipe = true};
  return UnpackedLayer{.made = {.layer = std::move(staged),
                                .implied_directories = std::move(applied.implied_directories),
                                .blob = std::nullopt,
                                .form = std::nullopt},
                       .compression = tar.compression};
}

}  // namespace davit::image
