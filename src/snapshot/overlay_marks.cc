#include "snapshot/overlay_marks.h"

#include <fcntl.h>

#include "sys/raw_tree.h"
#include "sys/tree.h"

namespace davit::snapshot {

namespace raw = sys::raw;

bool is_whiteout(int directory, char const* name) {
  struct stat info {};
  return raw::fstatat(directory, name, &info, AT_SYMLINK_NOFOLLOW) == 0 && is_whiteout(info);
}

bool is_whiteout(struct stat const& info) { return S_ISCHR(info.st_mode) && info.st_rdev == 0; }

Result<void> make_opaque(int directory, std::string_view name) {
  std::string const path = sys::proc_path(directory, name);
  // Of the directory itself the magic link has to be followed.
  long const result = name.empty() ? raw::setxattr(path.c_str(), kOpaqueXattr, "y", 1)
                                   : raw::lsetxattr(path.c_str(), kOpaqueXattr, "y", 1);
  if (result < 0) return Error::from_errno(static_cast<int>(-result), std::string("setxattr ") + kOpaqueXattr);
  return {};
}

bool is_opaque(int directory, std::string_view name) {
  // "/." follows the magic link of the directory itself.
  std::string const path = sys::proc_path(directory, name.empty() ? "." : name);
  char value = 0;
  return raw::lgetxattr(path.c_str(), kOpaqueXattr, &value, 1) == 1 && value == 'y';
}

}  // namespace davit::snapshot
