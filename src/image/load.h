// load: images out of an archive: what `docker save`, podman, skopeo (docker-archive, oci-archive) and Davit write,
// plain or compressed.
#pragma once

#include <stop_token>
#include <string>
#include <vector>

#include "base/result.h"
#include "codec/stream.h"
#include "image/context.h"

namespace davit::image {

struct LoadOptions {
  std::optional<oci::Platform> platform;  // of an archive with several; the host's when empty
  Progress progress;
  std::stop_token stop;
};

struct LoadedImage {
  oci::Digest id;
  std::vector<std::string> tags;  // familiar: "nginx:latest"
};

// Reads the archive once, front to back, so `in` may be a pipe: layers are unpacked as they come, before it is known
// whether an image has them; what no image has is thrown away. All images become visible at once. kInvalidArgument:
// damaged or hostile; not an image archive.
Result<std::vector<LoadedImage>> load(Context const& context, codec::Source& in, LoadOptions const& options);

// The same of a layout that lies unpacked in a directory (skopeo's oci:DIR, umoci's images).
Result<std::vector<LoadedImage>> load_layout(Context const& context, int directory, LoadOptions const& options);

}  // namespace davit::image
