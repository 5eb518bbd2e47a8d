// The runtime's own file must not be writable through /proc/PID/exe by what runs in a container (CVE-2019-5736).
#pragma once

#include "base/result.h"

namespace davit::runtime {

// Returns at once when this process runs from a read-only mount or a sealed memory file; else executes itself again
// with the same arguments from a read-only copy of its mount (no bytes are copied), or from a sealed memfd where that
// is not allowed. Call first thing, before anything is set up.
Result<void> protect_binary(char** argv);

}  // namespace davit::runtime
