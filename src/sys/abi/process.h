// Process kernel constants that glibc 2.36's headers lack. include/uapi/linux/sched.h. First kernel in brackets.
#pragma once

#include <cstdint>

namespace davit::sys::abi {

// clone3(2), struct clone_args [5.3; cgroup 5.7]
struct CloneArgs {
  std::uint64_t flags;
  std::uint64_t pidfd;        // int*
  std::uint64_t child_tid;    // pid_t*
  std::uint64_t parent_tid;   // pid_t*
  std::uint64_t exit_signal;
  std::uint64_t stack;
  std::uint64_t stack_size;
  std::uint64_t tls;
  std::uint64_t set_tid;      // pid_t*
  std::uint64_t set_tid_size;
  std::uint64_t cgroup;       // descriptor of a cgroup v2 directory, with kCloneIntoCgroup
};
inline constexpr std::uint64_t kClonePidfd = 0x1000;
inline constexpr std::uint64_t kCloneIntoCgroup = 0x200000000ULL;

// clone flags of namespaces; time_namespaces(7) [5.6] is missing from glibc 2.36's <sched.h>
inline constexpr std::uint64_t kNewTime = 0x00000080;
inline constexpr std::uint64_t kNewNs = 0x00020000;
inline constexpr std::uint64_t kNewCgroup = 0x02000000;
inline constexpr std::uint64_t kNewUts = 0x04000000;
inline constexpr std::uint64_t kNewIpc = 0x08000000;
inline constexpr std::uint64_t kNewUser = 0x10000000;
inline constexpr std::uint64_t kNewPid = 0x20000000;
inline constexpr std::uint64_t kNewNet = 0x40000000;

// waitid(2) [5.4]
inline constexpr int kPPidfd = 3;

}  // namespace davit::sys::abi
