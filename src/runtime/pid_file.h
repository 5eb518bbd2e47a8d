// Small pieces that create, start and exec share.
#pragma once

#include <sys/types.h>

#include <string>

#include "base/result.h"
#include "runtime/container.h"

namespace davit::runtime {

// Writes the pid (no newline, as runc's callers read it), replacing what is there at once; "" writes nothing.
Result<void> write_pid_file(std::string const& path, pid_t pid);

// Their failures change nothing: the container runs, or is gone, already (runtime.md, "Lifecycle").
void run_poststart_hooks(State const& state);
void run_poststop_hooks(State const& state);

}  // namespace davit::runtime
