#include <fcntl.h>
#include <sys/stat.h>

#include <optional>

#include "base/text.h"
#include "snapshot/apply.h"
#include "snapshot/metadata.h"
#include "snapshot/overlay_marks.h"
#include "sys/file.h"
#include "sys/raw_tree.h"
#include "sys/tree.h"

namespace davit::snapshot {

namespace raw = sys::raw;

namespace {

enum class Next : std::uint8_t { kLookBelow, kHidden };

// The directory `path` of one layer; else whether the layers below may have it.
struct Found {
  UniqueFd directory;
  Next next = Next::kLookBelow;
};

Result<Found> find_in(int layer, std::string const& path) {
  Found found;
  UniqueFd here;
  bool opaque = false;
  for (std::string_view const part : split(path, '/')) {
    int const parent = here.valid() ? here.get() : layer;
    std::string const name(part);
    long const fd = raw::openat(parent, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
    if (fd == -ENOENT) {
      if (opaque) found.next = Next::kHidden;
      return found;
    }
    if (fd == -ENOTDIR || fd == -ELOOP) {  // a file, a link or a whiteout
      found.next = Next::kHidden;
      return found;
    }
    if (fd < 0) return Error::from_errno(static_cast<int>(-fd), "open '" + path + "' of a layer below");
    here = UniqueFd(static_cast<int>(fd));
    opaque = opaque || is_opaque(here.get(), "");
  }
  found.directory = std::move(here);
  return found;
}

Result<void> copy(int from, int to) {
  struct stat const info = TRY(sys::fstat(from));
  sys::Xattrs const xattrs = TRY(sys::read_xattrs(from));
  long result = raw::fchown(to, info.st_uid, info.st_gid);
  if (result < 0) return Error::from_errno(static_cast<int>(-result), "chown");
  result = raw::fchmod(to, info.st_mode & 07777);
  if (result < 0) return Error::from_errno(static_cast<int>(-result), "chmod");
  for (auto const& [name, value] : xattrs) {
    if (!is_overlay_xattr(name)) TRY(set_xattr(-1, {}, to, name, value));
  }
  timespec const times[2] = {info.st_mtim, info.st_mtim};
  result = raw::utimensat(to, nullptr, times, 0);
  if (result < 0) return Error::from_errno(static_cast<int>(-result), "utimensat");
  return {};
}

}  // namespace

Result<bool> copy_directory_metadata(int layer, std::string const& path, std::vector<int> const& below) {
  for (int const lower : below) {
    Found const found = TRY(find_in(lower, path));
    if (!found.directory.valid()) {
      if (found.next == Next::kHidden) return false;
      continue;
    }
    UniqueFd const target =
        TRY(sys::openat2(layer, path, O_RDONLY | O_DIRECTORY,
                         sys::abi::kResolveBeneath | sys::abi::kResolveNoSymlinks | sys::abi::kResolveNoMagiclinks));
    TRY_CTX(copy(found.directory.get(), target.get()), "metadata of '" + path + "'");
    return true;
  }
  return false;
}

}  // namespace davit::snapshot
