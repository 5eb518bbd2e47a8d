// pull: an image from a registry into the store.
#pragma once

#include <optional>
#include <stop_token>
#include <string>

#include "base/result.h"
#include "image/context.h"
#include "oci/image_ref.h"
#include "oci/platform.h"
#include "registry/client.h"

namespace davit::image {

struct PullOptions {
  std::optional<oci::Platform> platform;  // the host's when empty
  Progress progress;
  std::stop_token stop;
};

struct Pulled {
  oci::Digest id;      // of the image (its config)
  oci::Digest digest;  // of what the reference named: an index or a manifest
  bool up_to_date = false;
};

// The image `ref` names ("latest" without a tag) is there, named by its tag and its repository's digest. Layers that
// are here already are not fetched; several are fetched at once; what a pull that failed had finished is kept for a
// day, so that the next one goes on. Errors: those of registry::Client; kInvalidArgument for what is not an image
// (artifact, schema 1, damaged, hostile); kNotFound when there is no image for the platform (the text lists the
// platforms that there are); kResourceExhausted (disk full: nothing of it remains).
Result<Pulled> pull(Context const& context, registry::Client& client, oci::ImageRef const& ref,
                    PullOptions const& options);

}  // namespace davit::image
