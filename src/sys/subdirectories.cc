#include "sys/subdirectories.h"

#include <dirent.h>
#include <fcntl.h>

#include <memory>
#include <string_view>

#include "base/unique_fd.h"
#include "sys/raw.h"

namespace davit::sys {

Result<std::vector<std::string>> list_subdirectories(int dir) {
  // A descriptor of its own: the caller's may be O_PATH, and its position stays as it is.
  long const copy = raw::openat(dir, ".", O_RDONLY | O_DIRECTORY);
  if (copy < 0) return Error::from_errno(static_cast<int>(-copy), "open directory");
  std::unique_ptr<DIR, int (*)(DIR*)> const stream(::fdopendir(static_cast<int>(copy)), ::closedir);
  if (!stream) return Error::from_errno(errno, "fdopendir");
  std::vector<std::string> names;
  for (;;) {
    errno = 0;
    dirent const* const entry = ::readdir(stream.get());
    if (entry == nullptr) break;
    std::string_view const name = entry->d_name;
    if (name == "." || name == "..") continue;
    if (entry->d_type == DT_UNKNOWN) {
      struct stat info {};
      if (::fstatat(static_cast<int>(copy), entry->d_name, &info, AT_SYMLINK_NOFOLLOW) < 0) continue;
      if (S_ISDIR(info.st_mode)) names.emplace_back(name);
    } else if (entry->d_type == DT_DIR) {
      names.emplace_back(name);
    }
  }
  if (errno != 0) return Error::from_errno(errno, "readdir");
  return names;
}

}  // namespace davit::sys
