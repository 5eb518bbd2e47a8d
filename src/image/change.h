// change: the Dockerfile instructions that `import --change` and `commit --change` take.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "oci/image_spec.h"

namespace davit::image {

// CMD, ENTRYPOINT, ENV, EXPOSE, HEALTHCHECK, LABEL, ONBUILD, STOPSIGNAL, USER, VOLUME, WORKDIR, with the variables of
// the config's own environment replaced, as the builder does. On an error the config may be changed. kInvalidArgument
// names what is wrong.
Result<void> apply_change(oci::ContainerConfig& config, std::string_view instruction);

}  // namespace davit::image
