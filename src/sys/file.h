// Files and directories: one thin wrapper per call. Close-on-exec always; errors name the call and the path. Any thread.
#pragma once

#include <fcntl.h>
#include <sys/stat.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"
#include "sys/abi/mount.h"

namespace davit::sys {

Result<UniqueFd> open(std::string const& path, int flags, mode_t mode = 0);
Result<UniqueFd> openat(int dir, std::string const& path, int flags, mode_t mode = 0);
// resolve: abi::kResolve*; see openat2(2)
Result<UniqueFd> openat2(int dir, std::string const& path, std::uint64_t flags, std::uint64_t resolve, mode_t mode = 0);
Result<std::size_t> read(int fd, std::span<char> out);
// Writes all of it.
Result<void> write_all(int fd, std::string_view data);
// The whole file; kResourceExhausted past max_size bytes.
Result<std::string> read_all(int fd, std::size_t max_size);
Result<std::string> read_file(std::string const& path, std::size_t max_size = 16 << 20);
Result<std::string> read_file_at(int dir, std::string const& path, std::size_t max_size = 16 << 20);
// One write(2) to an existing file (cgroup and proc knobs).
Result<void> write_knob(int dir, std::string const& path, std::string_view value);
// Writes beside, fsyncs when durable, renames over: readers see the old or the new content, never a part.
enum class Durability { kNone, kSync };
Result<void> replace_file_at(int dir, std::string const& name, std::string_view data, mode_t mode, Durability durability);
Result<void> mkdir(std::string const& path, mode_t mode);
// Parents too; an existing directory is fine.
Result<void> mkdir_all(std::string const& path, mode_t mode);
Result<void> unlink_at(int dir, std::string const& path, int flags = 0);
Result<void> rmdir(std::string const& path);
// Removes a tree by descriptors without following links; a missing one is fine.
Result<void> remove_tree(std::string const& path);
Result<struct stat> fstat(int fd);
Result<std::string> readlink(std::string const& path);
Result<long> fs_magic(int fd);  // statfs(2) f_type
Result<std::vector<std::string>> list_directory(int dir);  // without "." and ".."
bool exists(std::string const& path);
// Absolute without "." and ".." and without looking at the disk.
std::string clean_path(std::string_view path);
Result<std::string> current_directory();

}  // namespace davit::sys
