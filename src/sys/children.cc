#include "sys/children.h"

#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sys/file.h"

namespace davit::sys {

Result<pid_t> fork() {
  pid_t const pid = ::fork();
  if (pid < 0) return Error::from_errno(errno, "fork");
  return pid;
}

std::optional<Exited> reap_any() {
  siginfo_t info{};
  int result;
  do result = ::waitid(P_ALL, 0, &info, WEXITED | WNOHANG);
  while (result < 0 && errno == EINTR);
  if (result < 0 || info.si_pid == 0) return std::nullopt;
  return Exited{.pid = info.si_pid, .signalled = info.si_code != CLD_EXITED, .code = info.si_status};
}

Result<void> become_subreaper() {
  if (::prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0) return {};
  return Error::from_errno(errno, "prctl PR_SET_CHILD_SUBREAPER");
}

Result<void> new_session() {
  if (::setsid() >= 0) return {};
  return Error::from_errno(errno, "setsid");
}

Result<void> redirect_standard_streams(std::string const& path) {
  UniqueFd const fd = TRY(open(path, O_RDWR));
  for (int number = 0; number < 3; ++number) {
    if (::dup2(fd.get(), number) < 0) return Error::from_errno(errno, "dup2 of '" + path + "'");
  }
  return {};
}

void ignore_signal(int signal) { ::signal(signal, SIG_IGN); }

void restore_signals() {
  for (int signal = 1; signal < NSIG; ++signal) {
    // SIGKILL, SIGSTOP and those that libc keeps for itself refuse; they were not ignored either.
    struct sigaction current {};
    if (::sigaction(signal, nullptr, &current) == 0 && current.sa_handler == SIG_IGN) ::signal(signal, SIG_DFL);
  }
  sigset_t none;
  sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
}

void lower_priority(int nice) { ::setpriority(PRIO_PROCESS, 0, nice); }

uid_t effective_uid() { return ::geteuid(); }

void exit_now(int code) { ::_exit(code); }

}  // namespace davit::sys
