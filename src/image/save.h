// save: images as one archive that `docker load`, podman, skopeo and Davit read: an OCI image layout with Docker's
// manifest.json beside it.
#pragma once

#include <stop_token>
#include <string>
#include <vector>

#include "base/result.h"
#include "codec/stream.h"
#include "image/context.h"

namespace davit::image {

enum class ArchiveFormat : std::uint8_t {
  kDocker,  // OCI layout, manifest.json and repositories
  kOci,     // OCI layout only
};

struct SaveOptions {
  ArchiveFormat format = ArchiveFormat::kDocker;
  Progress progress;
  std::stop_token stop;
};

// words: names or ids; a name without a tag means all tags of the repository, as with Docker. Written front to back:
// `out` may be a pipe. The same images give the same bytes. Layers whose blob is kept go as they came, the others as
// plain tar.
Result<void> save(Context const& context, std::vector<std::string> const& words, codec::Sink& out,
                  SaveOptions const& options);

// The same as files in a directory, which must be empty: an OCI image layout as skopeo's oci:DIR.
Result<void> save_layout(Context const& context, std::vector<std::string> const& words, int directory,
                         SaveOptions const& options);

}  // namespace davit::image
