#include "sys/durable.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/text.h"
#include "sys/file.h"

namespace davit::sys {

Result<void> sync_filesystem(int fd) {
  if (::syncfs(fd) < 0) return Error::from_errno(errno, "syncfs");
  return {};
}

Result<void> sync_file(int fd) {
  if (::fsync(fd) < 0) return Error::from_errno(errno, "fsync");
  return {};
}

Result<void> rename_at(int from_dir, std::string const& from, int to_dir, std::string const& to, Existing existing) {
  unsigned const flags = existing == Existing::kKeep ? RENAME_NOREPLACE : 0;
  if (::renameat2(from_dir, from.c_str(), to_dir, to.c_str(), flags) < 0) {
    return Error::from_errno(errno, fmt::format("rename '{}' to '{}'", from, to));
  }
  return {};
}

Result<void> lock_file(int fd) {
  // An open-file-description lock (fcntl(2)): held by the open file, not by the process, as flock(2)'s, whose header
  // this folder's own file.h hides.
  struct flock whole = {};
  whole.l_type = F_WRLCK;
  if (::fcntl(fd, F_OFD_SETLK, &whole) < 0) {
    if (errno == EAGAIN || errno == EACCES) return Error(Errc::kConflict, "another process holds the lock", errno);
    return Error::from_errno(errno, "lock");
  }
  return {};
}

Result<std::optional<EntryInfo>> entry_info(int dir, std::string const& name) {
  struct stat info;
  if (::fstatat(dir, name.c_str(), &info, AT_SYMLINK_NOFOLLOW) < 0) {
    if (errno == ENOENT) return std::optional<EntryInfo>();
    return Error::from_errno(errno, fmt::format("stat '{}'", name));
  }
  return std::optional(EntryInfo{.mode = info.st_mode,
                                 .size = static_cast<std::uint64_t>(info.st_size),
                                 .disk_bytes = static_cast<std::uint64_t>(info.st_blocks) * 512,
                                 .modified_ns = info.st_mtim.tv_sec * 1'000'000'000 + info.st_mtim.tv_nsec});
}

Result<Space> filesystem_space(int fd) {
  struct statfs info;
  if (::fstatfs(fd, &info) < 0) return Error::from_errno(errno, "statfs");
  auto const block = static_cast<std::uint64_t>(info.f_frsize);
  return Space{.total_bytes = info.f_blocks * block,
               .free_bytes = info.f_bfree * block,
               .available_bytes = info.f_bavail * block};
}

Result<std::string> boot_id() {
  std::string const text = TRY(read_file("/proc/sys/kernel/random/boot_id"));
  return std::string(trim(text));
}

}  // namespace davit::sys
