// What a path lies on, without opening it. Any thread.
#pragma once

#include <cstdint>
#include <string>

#include "base/result.h"

namespace davit::sys {

struct PathFilesystem {
  long magic = 0;           // statfs(2) f_type
  std::uint64_t inode = 0;  // of the path itself
};
Result<PathFilesystem> filesystem_of(std::string const& path);

}  // namespace davit::sys
