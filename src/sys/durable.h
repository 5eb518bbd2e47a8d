// What a store needs of the file system: syncing all of it, renames between directories, whole-file locks, free space.
// Any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/result.h"
#include "base/unique_fd.h"

namespace davit::sys {

// syncfs(2) of the file system that fd lies on; reports write-back errors since fd was opened.
Result<void> sync_filesystem(int fd);
// fsync(2)
Result<void> sync_file(int fd);
// renameat2(2) within descriptors; kReplace as rename(2), kKeep is kAlreadyExists when the target is there.
enum class Existing { kReplace, kKeep };
Result<void> rename_at(int from_dir, std::string const& from, int to_dir, std::string const& to, Existing existing);
// An exclusive lock of the open file, without waiting: kConflict when another one holds it. Ends with the descriptor.
Result<void> lock_file(int fd);
// fstatat(2) without following the last link; nullopt when there is none of that name.
struct EntryInfo {
  std::uint32_t mode = 0;  // st_mode
  std::uint64_t size = 0;
  std::uint64_t disk_bytes = 0;  // blocks * 512
  std::int64_t modified_ns = 0;
};
Result<std::optional<EntryInfo>> entry_info(int dir, std::string const& name);

struct Space {
  std::uint64_t total_bytes = 0, free_bytes = 0, available_bytes = 0;  // available: to unprivileged users
};
Result<Space> filesystem_space(int fd);
// The random id of this boot of the kernel.
Result<std::string> boot_id();

}  // namespace davit::sys
