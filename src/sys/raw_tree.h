// System calls for building and reading file trees, as raw.h: the result, or minus the errno, no allocation. Any
// thread.
#pragma once

#include <sys/stat.h>
#include <sys/xattr.h>

#include <cstddef>
#include <cstdint>

#include "sys/raw.h"

namespace davit::sys::raw {

inline long linkat(int from_dir, char const* from, int to_dir, char const* to, int flags) {
  return call(SYS_linkat, from_dir, from, to_dir, to, flags);
}
// times: atime, mtime. path nullptr: the file of dir itself (futimens).
inline long utimensat(int dir, char const* path, struct timespec const* times, int flags) {
  return call(SYS_utimensat, dir, path, times, flags);
}
inline long fchmod(int fd, mode_t mode) { return call(SYS_fchmod, fd, mode); }
inline long ftruncate(int fd, std::uint64_t size) { return call(SYS_ftruncate, fd, size); }
inline long lseek(int fd, std::int64_t offset, int whence) { return call(SYS_lseek, fd, offset, whence); }
inline long pwrite(int fd, void const* data, std::size_t size, std::uint64_t offset) {
  long result;
  do result = call(SYS_pwrite64, fd, data, size, offset);
  while (result == -EINTR);
  return result;
}
inline long pread(int fd, void* data, std::size_t size, std::uint64_t offset) {
  long result;
  do result = call(SYS_pread64, fd, data, size, offset);
  while (result == -EINTR);
  return result;
}
inline long fstatat(int dir, char const* path, struct stat* out, int flags) {
  return ::fstatat(dir, path, out, flags) < 0 ? -errno : 0;
}
inline long getdents64(int dir, void* out, std::size_t size) { return call(SYS_getdents64, dir, out, size); }
inline long sync_file_range(int fd, std::uint64_t offset, std::uint64_t size, unsigned flags) {
  return call(SYS_sync_file_range, fd, offset, size, flags);
}
inline long syncfs(int fd) { return call(SYS_syncfs, fd); }
inline long umask(mode_t mask) { return call(SYS_umask, mask); }

// xattr(7). The l forms do not follow a link as last component.
inline long setxattr(char const* path, char const* name, void const* value, std::size_t size) {
  return call(SYS_setxattr, path, name, value, size, 0);
}
inline long lsetxattr(char const* path, char const* name, void const* value, std::size_t size) {
  return call(SYS_lsetxattr, path, name, value, size, 0);
}
inline long fsetxattr(int fd, char const* name, void const* value, std::size_t size) {
  return call(SYS_fsetxattr, fd, name, value, size, 0);
}
inline long lgetxattr(char const* path, char const* name, void* value, std::size_t size) {
  return call(SYS_lgetxattr, path, name, value, size);
}
inline long llistxattr(char const* path, char* names, std::size_t size) {
  return call(SYS_llistxattr, path, names, size);
}
inline long flistxattr(int fd, char* names, std::size_t size) { return call(SYS_flistxattr, fd, names, size); }
inline long fgetxattr(int fd, char const* name, void* value, std::size_t size) {
  return call(SYS_fgetxattr, fd, name, value, size);
}
inline long lremovexattr(char const* path, char const* name) { return call(SYS_lremovexattr, path, name); }

}  // namespace davit::sys::raw
