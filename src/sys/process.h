// Processes: clone3, pidfds, waiting. Any thread, except where clone is named: single-threaded callers only.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>

#include "base/result.h"
#include "base/unique_fd.h"
#include "sys/abi/process.h"

namespace davit::sys {

struct Exited {
  pid_t pid = 0;
  bool signalled = false;
  int code = 0;  // exit status, or the signal
  // As a shell reports it: the status, or 128 + signal.
  int status() const { return signalled ? 128 + code : code; }
};

struct Cloned {
  pid_t pid = 0;  // 0 in the child
  UniqueFd pidfd;
};

// clone3(2) in the manner of fork: the child goes on with a copy of the memory. args.pidfd is filled in here.
Result<Cloned> clone3(abi::CloneArgs args);
Result<UniqueFd> pidfd_open(pid_t pid);
// A duplicate of another process's descriptor (pidfd_getfd(2), Linux 5.6).
Result<UniqueFd> pidfd_getfd(int pidfd, int target);
Result<void> pidfd_send_signal(int pidfd, int signal);
Result<void> kill(pid_t pid, int signal);
// Waits for a child of the caller.
Result<Exited> wait_for(pid_t pid);
// nullopt: still running.
Result<std::optional<Exited>> try_wait(pid_t pid);
// True when the process of pidfd has ended, waiting up to timeout_ms for it; it need not be a child.
bool process_exited(int pidfd, int timeout_ms);
Result<void> setns(int fd, std::uint64_t flags);
// Field 22 (start time in clock ticks since boot) and 3 (state letter) of /proc/PID/stat; proc(5). kNotFound: no such
// process.
struct ProcessStat {
  char state = 0;
  std::uint64_t start_time = 0;
};
Result<ProcessStat> process_stat(pid_t pid);

}  // namespace davit::sys
