// import: the tar of a root file system becomes an image of one layer. commit: a container's upper directory becomes a
// layer on an image.
#pragma once

#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "base/result.h"
#include "codec/stream.h"
#include "image/context.h"
#include "oci/image_ref.h"
#include "oci/image_spec.h"

namespace davit::image {

struct ImportOptions {
  std::optional<oci::ImageRef> name;  // untagged when empty
  std::vector<std::string> changes;   // Dockerfile instructions: "CMD [\"sh\"]"
  std::string message;
  std::optional<oci::Platform> platform;
  Progress progress;
  std::stop_token stop;
};

// `in`: the tar, plain or compressed, read to its end. Returns the image's id. kInvalidArgument: damaged or hostile
// archive, bad change.
Result<oci::Digest> import_tar(Context const& context, codec::Source& in, ImportOptions const& options);

struct CommitOptions {
  std::optional<oci::ImageRef> name;
  std::vector<std::string> changes;
  std::string message, author;
  std::string container;                       // its id, for the config
  std::optional<std::string> created_by;       // of the new history line
  std::optional<oci::ContainerConfig> config;  // of the container; the base image's when empty
  std::stop_token stop;
};

// upper: the overlay upper directory of a container that was made from image `base`. Returns the new image's id.
Result<oci::Digest> commit(Context const& context, oci::Digest const& base, int upper, CommitOptions const& options);

}  // namespace davit::image
