#include "sys/filesystem.h"

#include <sys/stat.h>
#include <sys/vfs.h>

#include <cerrno>

namespace davit::sys {

Result<PathFilesystem> filesystem_of(std::string const& path) {
  struct statfs filesystem {};
  struct stat info {};
  if (::statfs(path.c_str(), &filesystem) < 0) return Error::from_errno(errno, "statfs '" + path + "'");
  if (::stat(path.c_str(), &info) < 0) return Error::from_errno(errno, "stat '" + path + "'");
  return PathFilesystem{static_cast<long>(filesystem.f_type), info.st_ino};
}

}  // namespace davit::sys
