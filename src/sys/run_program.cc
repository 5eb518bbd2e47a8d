#include "sys/run_program.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <unistd.h>

#include <algorithm>
#include <array>

#include "sys/pipe.h"

namespace davit::sys {

namespace {

using Clock = std::chrono::steady_clock;

// What the child begins with: its three streams, no blocked or ignored signals.
class SpawnSettings {
 public:
  SpawnSettings() {
    ::posix_spawn_file_actions_init(&actions_);
    ::posix_spawnattr_init(&attributes_);
    sigset_t none, all;
    ::sigemptyset(&none);
    ::sigfillset(&all);
    ::posix_spawnattr_setsigmask(&attributes_, &none);
    ::posix_spawnattr_setsigdefault(&attributes_, &all);
    ::posix_spawnattr_setpgroup(&attributes_, 0);  // so that what it starts can be ended with it
    ::posix_spawnattr_setflags(&attributes_, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
  }
  SpawnSettings(SpawnSettings const&) = delete;
  SpawnSettings& operator=(SpawnSettings const&) = delete;
  ~SpawnSettings() {
    ::posix_spawn_file_actions_destroy(&actions_);
    ::posix_spawnattr_destroy(&attributes_);
  }

  void set_stream(int fd, int as) { ::posix_spawn_file_actions_adddup2(&actions_, fd, as); }

  Result<pid_t> spawn(std::vector<std::string> const& arguments) {
    std::vector<char*> argv;
    argv.reserve(arguments.size() + 1);
    for (std::string const& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
    argv.push_back(nullptr);
    pid_t pid = 0;
    int const error = ::posix_spawnp(&pid, argv[0], &actions_, &attributes_, argv.data(), environ);
    if (error != 0) return Error::from_errno(error, "run '" + arguments[0] + "'");
    return pid;
  }

 private:
  posix_spawn_file_actions_t actions_{};
  posix_spawnattr_t attributes_{};
};

int milliseconds_until(Clock::time_point when) {
  auto const left = std::chrono::duration_cast<std::chrono::milliseconds>(when - Clock::now()).count();
  return static_cast<int>(std::clamp<long>(left, 0, 60000));
}

// Takes what is there; false at the end of the stream.
Result<bool> take(int fd, std::string& out, std::size_t max_size) {
  std::array<char, 4096> buffer;
  Transfer const got = TRY(read_now(fd, buffer));
  if (got.state == Transfer::State::kEnd) return false;
  out.append(buffer.data(), got.size);
  if (out.size() > max_size) return Error(Errc::kResourceExhausted, "it prints too much");
  return true;
}

Result<void> collect(int output, int errors, RunOptions const& options, RunResult& result) {
  auto const deadline = Clock::now() + options.deadline;
  std::array<pollfd, 2> fds{{{output, POLLIN, 0}, {errors, POLLIN, 0}}};
  while (fds[0].fd >= 0 || fds[1].fd >= 0) {
    int const timeout = milliseconds_until(deadline);
    if (timeout == 0) return Error(Errc::kDeadlineExceeded, "it did not answer in time");
    int const count = ::poll(fds.data(), fds.size(), timeout);
    if (count < 0 && errno != EINTR) return Error::from_errno(errno, "poll");
    if (count <= 0) continue;
    if (fds[0].revents != 0 && !TRY(take(fds[0].fd, result.output, options.max_output))) fds[0].fd = -1;
    if (fds[1].revents != 0 && !TRY(take(fds[1].fd, result.errors, options.max_output))) fds[1].fd = -1;
  }
  return {};
}

// It has closed its streams, but may still run.
Result<void> await_end(int pidfd, std::chrono::milliseconds limit) {
  if (!process_exited(pidfd, static_cast<int>(limit.count()))) {
    return Error(Errc::kDeadlineExceeded, "it did not end in time");
  }
  return {};
}

}  // namespace

Result<RunResult> run_program(RunOptions const& options) {
  if (options.input.size() > 65536) return Error(Errc::kInvalidArgument, "input of a program is longer than 64 KiB");
  std::string const& name = options.arguments.at(0);
  Pipe input = TRY(pipe()), output = TRY(pipe()), errors = TRY(pipe());
  // A pipe takes 64 KiB without a reader, so this does not block; and no SIGPIPE, as both ends are ours.
  std::size_t written = 0;
  while (written < options.input.size()) {
    ssize_t const count =
        ::write(input.write_end.get(), options.input.data() + written, options.input.size() - written);
    if (count < 0 && errno != EINTR) return Error::from_errno(errno, "write to '" + name + "'");
    if (count > 0) written += static_cast<std::size_t>(count);
  }
  SpawnSettings settings;
  settings.set_stream(input.read_end.get(), 0);
  settings.set_stream(output.write_end.get(), 1);
  settings.set_stream(errors.write_end.get(), 2);
  pid_t const pid = TRY(settings.spawn(options.arguments));
  input = Pipe{};
  output.write_end.reset();
  errors.write_end.reset();

  RunResult result;
  auto const follow = [&]() -> Result<void> {
    UniqueFd const pidfd = TRY(pidfd_open(pid));
    TRY(collect(output.read_end.get(), errors.read_end.get(), options, result));
    return await_end(pidfd.get(), options.deadline);
  };
  auto done = follow();
  if (!done.ok()) ::kill(-pid, SIGKILL);
  auto exited = wait_for(pid);
  if (!done.ok()) return std::move(done).take_error().with_context("run '" + name + "'");
  result.exited = TRY(std::move(exited));
  return result;
}

}  // namespace davit::sys
