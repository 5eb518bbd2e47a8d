#include "sys/process.h"

#include <poll.h>
#include <sys/wait.h>

#include "base/text.h"
#include "sys/file.h"
#include "sys/raw.h"

namespace davit::sys {

Result<Cloned> clone3(abi::CloneArgs args) {
  int pidfd = -1;
  args.flags |= abi::kClonePidfd;
  args.pidfd = reinterpret_cast<std::uint64_t>(&pidfd);
  long const pid = raw::clone3(args);
  if (pid < 0) return Error::from_errno(static_cast<int>(-pid), "clone3");
  return Cloned{static_cast<pid_t>(pid), UniqueFd(pidfd)};
}

Result<UniqueFd> pidfd_open(pid_t pid) {
  long const fd = raw::pidfd_open(pid);
  if (fd < 0) return Error::from_errno(static_cast<int>(-fd), "pidfd_open " + std::to_string(pid));
  return UniqueFd(static_cast<int>(fd));
}

Result<UniqueFd> pidfd_getfd(int pidfd, int target) {
  long const fd = raw::call(SYS_pidfd_getfd, pidfd, target, 0);
  if (fd < 0) return Error::from_errno(static_cast<int>(-fd), "pidfd_getfd");
  return UniqueFd(static_cast<int>(fd));
}

Result<void> pidfd_send_signal(int pidfd, int signal) {
  long const result = raw::pidfd_send_signal(pidfd, signal);
  if (result < 0) return Error::from_errno(static_cast<int>(-result), "pidfd_send_signal");
  return {};
}

Result<void> kill(pid_t pid, int signal) {
  long const result = raw::kill(pid, signal);
  if (result < 0) return Error::from_errno(static_cast<int>(-result), "kill " + std::to_string(pid));
  return {};
}

namespace {
Exited decode(pid_t pid, int status) {
  if (WIFSIGNALED(status)) return {pid, true, WTERMSIG(status)};
  return {pid, false, WEXITSTATUS(status)};
}
}  // namespace

Result<Exited> wait_for(pid_t pid) {
  int status = 0;
  pid_t result;
  do result = ::waitpid(pid, &status, 0);
  while (result < 0 && errno == EINTR);
  if (result < 0) return Error::from_errno(errno, "waitpid " + std::to_string(pid));
  return decode(result, status);
}

Result<std::optional<Exited>> try_wait(pid_t pid) {
  int status = 0;
  pid_t const result = ::waitpid(pid, &status, WNOHANG);
  if (result < 0) return Error::from_errno(errno, "waitpid " + std::to_string(pid));
  if (result == 0) return std::optional<Exited>();
  return std::optional<Exited>(decode(result, status));
}

bool process_exited(int pidfd, int timeout_ms) {
  pollfd event{pidfd, POLLIN, 0};  // readable when it has ended: pidfd_open(2)
  return ::poll(&event, 1, timeout_ms) > 0;
}

Result<void> setns(int fd, std::uint64_t flags) {
  long const result = raw::setns(fd, static_cast<int>(flags));
  if (result < 0) return Error::from_errno(static_cast<int>(-result), "setns");
  return {};
}

Result<ProcessStat> process_stat(pid_t pid) {
  auto text = read_file("/proc/" + std::to_string(pid) + "/stat", 4096);
  if (!text) return Error(Errc::kNotFound, "no process " + std::to_string(pid), ESRCH);
  // The command in field 2 may hold spaces and brackets: count fields from the last ')'.
  std::size_t const end = text->rfind(") ");
  if (end == std::string::npos) return Error(Errc::kInternal, "malformed /proc/PID/stat");
  auto const fields = split(std::string_view(*text).substr(end + 2), ' ');
  constexpr std::size_t kStartTime = 22 - 3;
  if (fields.size() <= kStartTime || fields[0].empty()) return Error(Errc::kInternal, "malformed /proc/PID/stat");
  return ProcessStat{fields[0][0], parse_u64(fields[kStartTime]).value_or(0)};
}

}  // namespace davit::sys
