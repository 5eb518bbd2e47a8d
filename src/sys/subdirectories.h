// The directories in a directory, told apart by getdents64(2)'s type without a stat each. Any thread.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"

namespace davit::sys {

// Names without "." and "..", links not followed.
Result<std::vector<std::string>> list_subdirectories(int dir);

}  // namespace davit::sys
