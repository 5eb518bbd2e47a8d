// unpack: one stream of a layer, compressed or not, becomes a staged layer in one pass: inflate on one thread, hash and
// files on another.
#pragma once

#include <functional>
#include <optional>
#include <stop_token>

#include "base/result.h"
#include "codec/stream.h"
#include "image/context.h"

namespace davit::image {

struct UnpackOptions {
  std::optional<oci::Digest> diff_id;             // what the uncompressed tar must hash to
  std::optional<codec::Compression> compression;  // as a manifest says; detected when empty
  bool base = false;                              // nothing is below: whiteouts are refused
  std::stop_token stop;
};

struct UnpackedLayer {
  MadeLayer made;  // record filled (id from the diff-id); blob and form are the caller's
  codec::Compression compression = codec::Compression::kNone;
};

// Reads `in` to its end. kInvalidArgument: damaged, hostile, or another diff-id than expected.
Result<UnpackedLayer> unpack(Context const& context, codec::Source& in, UnpackOptions const& options);

}  // namespace davit::image
