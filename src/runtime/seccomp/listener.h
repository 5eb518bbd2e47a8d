// Handing a seccomp listener (SCMP_ACT_NOTIFY) to the program that answers its calls.
#pragma once

#include <sys/types.h>

#include "base/result.h"
#include "oci/runtime_spec.h"
#include "runtime/container.h"

namespace davit::runtime {

// Takes descriptor `number` out of the process behind pidfd, which is about to get or has got it, and sends it with the
// container process state (OCI runtime-spec config-linux.md, "Container Process State") to profile.listener_path.
// Bounded: kDeadlineExceeded after some seconds.
Result<void> deliver_listener(oci::Seccomp const& profile, State const& state, pid_t pid, int pidfd, int number);

}  // namespace davit::runtime
