// What Davit keeps beside CRIU's images: the parts of a container that come from outside of it, which CRIU does not
// write down and which a restore has to hand to it. The file is described in docs/checkpoint.md. Any thread.
#pragma once

#include <sys/types.h>

#include <array>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"
#include "oci/runtime_spec.h"
#include "runtime/container.h"
#include "runtime/criu_message.h"

namespace davit::runtime {

struct ExternalDescriptor {
  int number = 0;    // 0, 1 or 2
  std::string key;   // CRIU's name for it: "pipe:[12345]", "file[1b:9c0f]"
  std::string name;  // for messages: what it was
};

struct ExternalMount {
  std::string mount_point;  // in the container
  std::string destination;  // config.json's name of the mount that it belongs to; empty: source says all
  std::string below;        // of that mount's source, for what rbind brought along: "/sub"
  std::string source;       // on the host: where there is no destination ("/dev/null" over a masked file)
};

struct ExternalNamespace {
  std::string type;  // config.json's: "network"
  std::string inode;
};

struct ExternalParts {
  std::vector<ExternalDescriptor> descriptors;
  std::vector<ExternalMount> mounts;
  std::vector<ExternalNamespace> namespaces;
};

// Looks at a running container. kUnimplemented for what can be dumped but not brought back.
Result<ExternalParts> find_external_parts(State const& state, oci::Spec const& spec);
// criu_opts that tell a dump not to follow them.
void name_external_parts(ExternalParts const& parts, CriuMessage& options);

// Descriptors that CRIU has to inherit for a restore.
struct Inherited {
  std::vector<UniqueFd> descriptors;
  std::vector<int> numbers() const;
};
// criu_opts that connect what was outside to what is outside now: this bundle's mounts, these streams.
Result<Inherited> supply_external_parts(ExternalParts const& parts, oci::Spec const& spec, std::string const& bundle,
                                        std::array<int, 3> const& stdio, CriuMessage& options);

Result<void> save_external_parts(std::string const& image_path, ExternalParts const& parts);
// kNotFound when image_path holds no complete checkpoint of ours.
Result<ExternalParts> load_external_parts(std::string const& image_path);

}  // namespace davit::runtime
