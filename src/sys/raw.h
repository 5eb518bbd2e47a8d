// System calls as they are: the result, or minus the errno. No allocation, no errno variable, so they may be used
// between clone and exec (STYLE R15). Elsewhere prefer the Result wrappers beside this file. Any thread.
#pragma once

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>

#include "sys/abi/mount.h"
#include "sys/abi/process.h"

namespace davit::sys::raw {

template <typename... Args>
inline long call(long number, Args... args) {
  long const result = ::syscall(number, args...);
  return result < 0 ? -errno : result;
}

// open
inline long openat(int dir, char const* path, int flags, mode_t mode = 0) {
  return call(SYS_openat, dir, path, flags | O_CLOEXEC, mode);
}
inline long openat2(int dir, char const* path, std::uint64_t flags, std::uint64_t resolve, std::uint64_t mode = 0) {
  abi::OpenHow const how{flags | O_CLOEXEC, mode, resolve};
  return call(SYS_openat2, dir, path, &how, sizeof how);
}
inline long close(int fd) { return call(SYS_close, fd); }
inline long close_range(unsigned first, unsigned last, unsigned flags) {
  return call(SYS_close_range, first, last, flags);
}
inline long read(int fd, void* data, std::size_t size) {
  long result;
  do result = call(SYS_read, fd, data, size);
  while (result == -EINTR);
  return result;
}
inline long write(int fd, void const* data, std::size_t size) {
  long result;
  do result = call(SYS_write, fd, data, size);
  while (result == -EINTR);
  return result;
}
inline long dup3(int from, int to, int flags) { return from == to ? 0 : call(SYS_dup3, from, to, flags); }
inline long fcntl(int fd, int command, long arg) { return call(SYS_fcntl, fd, command, arg); }
inline long ioctl(int fd, unsigned long request, void const* arg) { return call(SYS_ioctl, fd, request, arg); }
inline long fstat(int fd, struct stat* out) { return ::fstat(fd, out) < 0 ? -errno : 0; }

// file tree
inline long mkdirat(int dir, char const* path, mode_t mode) { return call(SYS_mkdirat, dir, path, mode); }
inline long mknodat(int dir, char const* path, mode_t mode, unsigned device) {
  return call(SYS_mknodat, dir, path, mode, device);
}
inline long symlinkat(char const* target, int dir, char const* path) { return call(SYS_symlinkat, target, dir, path); }
inline long unlinkat(int dir, char const* path, int flags) { return call(SYS_unlinkat, dir, path, flags); }
inline long fchown(int fd, uid_t uid, gid_t gid) { return call(SYS_fchown, fd, uid, gid); }
inline long fchownat(int dir, char const* path, uid_t uid, gid_t gid, int flags) {
  return call(SYS_fchownat, dir, path, uid, gid, flags);
}
inline long fchmodat(int dir, char const* path, mode_t mode) { return call(SYS_fchmodat, dir, path, mode); }
inline long chdir(char const* path) { return call(SYS_chdir, path); }
inline long fchdir(int fd) { return call(SYS_fchdir, fd); }
inline long chroot(char const* path) { return call(SYS_chroot, path); }
inline long readlinkat(int dir, char const* path, char* out, std::size_t size) {
  return call(SYS_readlinkat, dir, path, out, size);
}

// mounts (mount_setattr(2), fsopen(2), open_tree(2), move_mount(2))
inline long mount(char const* source, char const* target, char const* type, unsigned long flags, char const* data) {
  return call(SYS_mount, source, target, type, flags, data);
}
inline long umount2(char const* target, int flags) { return call(SYS_umount2, target, flags); }
inline long pivot_root(char const* new_root, char const* put_old) { return call(SYS_pivot_root, new_root, put_old); }
inline long fsopen(char const* type) { return call(SYS_fsopen, type, abi::kFsopenCloexec); }
inline long fsconfig(int fs, unsigned command, char const* key, void const* value, int aux) {
  return call(SYS_fsconfig, fs, command, key, value, aux);
}
inline long fsmount(int fs, unsigned attributes) { return call(SYS_fsmount, fs, abi::kFsmountCloexec, attributes); }
inline long open_tree(int dir, char const* path, unsigned flags) {
  return call(SYS_open_tree, dir, path, flags | abi::kOpenTreeCloexec);
}
inline long move_mount(int from_dir, char const* from, int to_dir, char const* to, unsigned flags) {
  return call(SYS_move_mount, from_dir, from, to_dir, to, flags);
}
inline long mount_setattr(int dir, char const* path, unsigned flags, abi::MountAttr const& attributes) {
  return call(SYS_mount_setattr, dir, path, flags, &attributes, sizeof attributes);
}

// processes
inline long clone3(abi::CloneArgs const& args) { return call(SYS_clone3, &args, sizeof args); }
inline long setns(int fd, int flags) { return call(SYS_setns, fd, flags); }
inline long unshare(unsigned long flags) { return call(SYS_unshare, flags); }
inline long pidfd_open(pid_t pid) { return call(SYS_pidfd_open, pid, 0); }
inline long pidfd_send_signal(int pidfd, int signal) { return call(SYS_pidfd_send_signal, pidfd, signal, nullptr, 0); }
inline long kill(pid_t pid, int signal) { return call(SYS_kill, pid, signal); }
inline long getpid() { return call(SYS_getpid); }
inline long setsid() { return call(SYS_setsid); }
template <typename... Args>
inline long prctl(int option, Args... args) {
  return call(SYS_prctl, option, static_cast<unsigned long>(args)...);
}
// Of the calling thread only (the libc functions signal every thread, which a child of clone must not do).
inline long setresuid(uid_t uid) { return call(SYS_setresuid, uid, uid, uid); }
inline long setresgid(gid_t gid) { return call(SYS_setresgid, gid, gid, gid); }
inline long setgroups(std::size_t count, gid_t const* groups) { return call(SYS_setgroups, count, groups); }
inline long execve(char const* path, char const* const* args, char const* const* env) {
  return call(SYS_execve, path, args, env);
}
inline long execveat(int dir, char const* path, char const* const* args, char const* const* env, int flags) {
  return call(SYS_execveat, dir, path, args, env, flags);
}
[[noreturn]] inline void exit_now(int code) {
  for (;;) ::syscall(SYS_exit_group, code);
}

}  // namespace davit::sys::raw
