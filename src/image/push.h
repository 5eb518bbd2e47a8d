// push: an image of the store to a registry.
#pragma once

#include <stop_token>

#include "base/result.h"
#include "image/context.h"
#include "oci/image_ref.h"
#include "registry/client.h"

namespace davit::image {

struct PushOptions {
  Progress progress;
  std::stop_token stop;
  int gzip_level = 1;             // of layers that must be compressed
  unsigned compress_threads = 0;  // of one layer; 0: two
};

struct Pushed {
  oci::Digest digest;      // of the manifest at the registry
  std::uint64_t size = 0;  // of the manifest
};

// Pushes the image that `ref`'s tag ("latest" when there is none) names here. Layers that the registry has, or takes
// from another of its repositories, are not sent; those whose blob is here go as they are; the others are compressed on
// the way, the same bytes each time. An image that came with a manifest goes with the same one when all of it can be
// sent. Errors: those of registry::Client, kNotFound, kConflict (removed meanwhile).
Result<Pushed> push(Context const& context, registry::Client& client, oci::ImageRef const& ref,
                    PushOptions const& options);

}  // namespace davit::image
