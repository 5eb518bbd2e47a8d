// Anonymous files in memory: memfd_create(2). Any thread.
#pragma once

#include <string>

#include "base/result.h"
#include "base/unique_fd.h"

namespace davit::sys {

// An empty one, close-on-exec. name is seen in /proc/PID/fd only.
Result<UniqueFd> memfd(std::string const& name);
// All of it, wherever the offset is.
Result<std::string> memfd_content(int fd);

}  // namespace davit::sys
