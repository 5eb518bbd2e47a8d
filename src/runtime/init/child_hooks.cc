#include <poll.h>
#include <sys/wait.h>

#include <csignal>

#include "runtime/init/child.h"
#include "sys/raw.h"

namespace davit::runtime {

namespace raw = sys::raw;
namespace abi = sys::abi;

namespace {

// A memory file that reads as state from its start: unlike a pipe it takes any size without a second process.
long state_file(std::string const& state) {
  long const fd = raw::call(SYS_memfd_create, "state", 1U /* MFD_CLOEXEC */);
  if (fd < 0) return fd;
  for (std::size_t done = 0; done < state.size();) {
    long const written = raw::write(static_cast<int>(fd), state.data() + done, state.size() - done);
    if (written < 0) return written;
    done += static_cast<std::size_t>(written);
  }
  raw::call(SYS_lseek, fd, 0, SEEK_SET);
  return fd;
}

[[noreturn]] void hook_program(HookPlan const& hook, int state, int error_pipe) {
  long result = raw::dup3(state, 0, 0);
  if (result >= 0) result = raw::close_range(3, ~0U, 1U << 2 /* CLOSE_RANGE_CLOEXEC */);
  if (result >= 0) result = raw::execve(hook.path.c_str(), hook.args.data(), hook.env.data());
  int const error = static_cast<int>(-result);
  (void)raw::write(error_pipe, &error, sizeof error);
  raw::exit_now(127);
}

// The status of the process behind pidfd, killed when it takes longer than timeout_ms.
HookOutcome await(int pidfd, int timeout_ms, int interrupt_fd) {
  HookOutcome outcome;
  pollfd events[2] = {{pidfd, POLLIN, 0}, {interrupt_fd, POLLIN, 0}};
  int ready;
  do ready = ::poll(events, 2, timeout_ms);
  while (ready < 0 && errno == EINTR);
  if (ready == 0) outcome.error = ETIMEDOUT;
  if (ready > 0 && events[0].revents == 0) outcome.error = ECANCELED;
  if (outcome.error != 0) (void)raw::pidfd_send_signal(pidfd, SIGKILL);
  siginfo_t info{};
  long waited;
  do waited = raw::call(SYS_waitid, abi::kPPidfd, pidfd, &info, WEXITED | __WALL, nullptr);
  while (waited == -EINTR);
  if (waited < 0 && outcome.error == 0) outcome.error = static_cast<int>(-waited);
  outcome.status = info.si_code == CLD_EXITED ? info.si_status : 128 + info.si_status;
  return outcome;
}

}  // namespace

HookOutcome run_hook(HookPlan const& hook, std::string const& state, int interrupt_fd) {
  HookOutcome outcome;
  long const input = state_file(state);
  int pipe_ends[2] = {-1, -1};
  if (input < 0 || raw::call(SYS_pipe2, pipe_ends, O_CLOEXEC) < 0) {
    outcome.error = input < 0 ? static_cast<int>(-input) : errno;
    return outcome;
  }
  int pidfd = -1;
  abi::CloneArgs args{};
  args.flags = abi::kClonePidfd;
  args.pidfd = reinterpret_cast<std::uint64_t>(&pidfd);
  args.exit_signal = SIGCHLD;
  long const pid = raw::clone3(args);
  if (pid == 0) hook_program(hook, static_cast<int>(input), pipe_ends[1]);
  raw::close(static_cast<int>(input));
  raw::close(pipe_ends[1]);
  if (pid < 0) {
    outcome.error = static_cast<int>(-pid);
  } else {
    int exec_error = 0;
    bool const not_run = raw::read(pipe_ends[0], &exec_error, sizeof exec_error) == sizeof exec_error;
    outcome = await(pidfd, hook.timeout_ms, interrupt_fd);
    if (not_run) outcome.error = exec_error;
    raw::close(pidfd);
  }
  raw::close(pipe_ends[0]);
  return outcome;
}

void run_child_hooks(std::vector<HookPlan> const& hooks, std::string const& state, Stage stage,
                     Reporter const& reporter) {
  int index = 0;
  for (HookPlan const& hook : hooks) {
    HookOutcome const outcome = run_hook(hook, state);
    if (outcome.error != 0) reporter.fail(stage, outcome.error, index);
    if (outcome.status != 0) reporter.fail(stage, kHookStatusBase + outcome.status, index);
    ++index;
  }
}

}  // namespace davit::runtime
