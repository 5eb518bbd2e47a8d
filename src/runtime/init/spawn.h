// Making the processes that run InitPlan and ExecPlan, and listening to what they report.
#pragma once

#include <sys/types.h>

#include <optional>

#include "base/result.h"
#include "base/unique_fd.h"
#include "runtime/container.h"
#include "runtime/init/plan.h"

namespace davit::runtime {

struct Spawned {
  pid_t pid = 0;
  UniqueFd pidfd;
  UniqueFd sync;  // the parent's end
};

// Clones the container's first process. Single-threaded callers only.
Result<Spawned> spawn_init(InitPlan& plan, Parent parent, std::map<std::string, oci::TimeOffset> const& time_offsets);
// Clones a process into the container of pidfd; pid_namespace: that one is its own.
enum class PidNamespace { kOurs, kContainers };
Result<Spawned> spawn_exec(ExecPlan& plan, Parent parent, PidNamespace pid_namespace);

// In a user namespace the container must not be able to undo the host's mount flags or to uncover what the host has
// covered. The kernel sees to that for mounts that were copied into a mount namespace of that user namespace, so every
// tree is made again in the child's (mount_namespaces(7), "locked") and sent to it. The child takes them in init_main.
Result<void> send_trees(InitPlan const& plan, int pidfd, int sync);

// The next report; nullopt: the other end is closed, that is the program runs (or the process is gone).
Result<std::optional<Report>> next_report(int sync);

}  // namespace davit::runtime
