// From a specification to the InitPlan of a container's first process: all that is decided and opened on the host.
#pragma once

#include <string>

#include "base/result.h"
#include "runtime/cgroup/cgroup.h"
#include "runtime/container.h"
#include "runtime/init/plan.h"

namespace davit::runtime {

struct InitPlanInput {
  oci::Spec const& spec;
  CreateOptions const& options;
  std::string const& bundle;  // absolute
  std::string const& rootfs;  // absolute
  CgroupHost const& cgroups;
  Cgroup const& cgroup;
};
// kInvalidArgument names the field. Opens namespaces, bind sources and devices; makes id-mapping namespaces.
Result<InitPlan> plan_init(InitPlanInput const& input);

// The clone flags of all namespaces that the specification lists.
std::uint64_t container_namespaces(oci::Spec const& spec);

// Whether it asks for a new pid namespace.
bool owns_pid_namespace(oci::Spec const& spec);

HookPlan plan_hook(oci::Hook const& hook);

// Where compiled filters are kept: a name that is no container id.
std::string seccomp_cache(std::string const& root);

}  // namespace davit::runtime
