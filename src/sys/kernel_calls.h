// Which of the newer system calls that Davit cannot do without are missing: an old kernel, or a seccomp filter around
// us that answers ENOSYS. For error messages: the call that failed with ENOSYS is far from where it can be explained.
#pragma once

#include <string>

#include "base/result.h"

namespace davit::sys {

// "mount_setattr (Linux 5.12), clone3 (Linux 5.3)"; empty when all are there. Asks the kernel, with arguments that
// change nothing. Any thread.
std::string missing_kernel_calls();

// An error that stems from ENOSYS gets a context that names what is missing; others stay as they are.
Error explain_missing_call(Error error);

}  // namespace davit::sys
