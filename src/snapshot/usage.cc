#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

#include <string>
#include <unordered_set>

#include "snapshot/apply.h"
#include "sys/file.h"
#include "sys/raw_tree.h"
#include "sys/tree.h"

namespace davit::snapshot {

namespace {

struct Count {
  Usage usage;
  std::unordered_set<ino_t> seen;  // of files with several names

  void add(struct stat const& info) {
    if (!S_ISDIR(info.st_mode) && info.st_nlink > 1 && !seen.insert(info.st_ino).second) return;
    usage.disk_bytes += static_cast<std::uint64_t>(info.st_blocks) * 512;
    ++usage.inodes;
  }

  Result<void> walk(int directory) {
    auto const entries = TRY(sys::read_directory(directory));
    for (sys::DirectoryEntry const& entry : entries) {
      struct stat info {};
      long const found = sys::raw::fstatat(directory, entry.name.c_str(), &info, AT_SYMLINK_NOFOLLOW);
      if (found == -ENOENT) continue;  // a container's directory changes meanwhile
      if (found < 0) return Error::from_errno(static_cast<int>(-found), "stat '" + entry.name + "'");
      add(info);
      if (!S_ISDIR(info.st_mode)) continue;
      auto child = sys::openat(directory, entry.name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
      if (!child.ok() && child.error().error_number() == ENOENT) continue;
      UniqueFd const inner = TRY(std::move(child));
      TRY(walk(inner.get()));
    }
    return {};
  }
};

}  // namespace

Result<Usage> disk_usage(int directory) {
  Count count;
  struct stat const info = TRY(sys::fstat(directory));
  count.add(info);
  UniqueFd const readable = TRY(sys::openat(directory, ".", O_RDONLY | O_DIRECTORY));
  TRY(count.walk(readable.get()));
  return count.usage;
}

}  // namespace davit::snapshot
