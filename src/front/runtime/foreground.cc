#include "front/runtime/foreground.h"

#include <poll.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <termios.h>

#include <array>
#include <csignal>
#include <cstddef>

#include "sys/file.h"
#include "sys/process.h"
#include "sys/raw.h"
#include "sys/unix_socket.h"

namespace davit::front {

namespace {

// Everything that can be caught and means something to a program; faults of our own stay ours.
sigset_t passed_on() {
  sigset_t set;
  sigfillset(&set);
  for (int const own : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP, SIGSYS, SIGPROF, SIGURG})
    sigdelset(&set, own);
  return set;
}

// Our terminal in raw mode while the container's is relayed: keys go through as they are.
class RawMode {
 public:
  RawMode() : active_(::tcgetattr(0, &saved_) == 0) {
    if (!active_) return;
    termios raw = saved_;
    ::cfmakeraw(&raw);
    raw.c_oflag |= OPOST;
    ::tcsetattr(0, TCSANOW, &raw);
  }
  ~RawMode() {
    if (active_) ::tcsetattr(0, TCSANOW, &saved_);
  }
  RawMode(RawMode const&) = delete;
  RawMode& operator=(RawMode const&) = delete;

 private:
  termios saved_{};
  bool active_;
};

void copy_size(int master) {
  winsize size{};
  if (::ioctl(0, TIOCGWINSZ, &size) == 0) ::ioctl(master, TIOCSWINSZ, &size);
}

// False: the source has ended.
bool copy_some(int from, int to) {
  std::array<char, 16384> buffer;
  auto const count = sys::read(from, buffer);
  if (!count || *count == 0) return false;
  return sys::write_all(to, {buffer.data(), *count}).ok();
}

class Relay {
 public:
  Relay(pid_t pid, int signals, UniqueFd master) : pid_(pid), signals_(signals), master_(std::move(master)) {}

  Result<int> run() {
    if (master_.valid()) copy_size(master_.get());
    for (;;) {
      std::array<pollfd, 3> events{{{signals_, POLLIN, 0}, {master_.get(), POLLIN, 0}, {input_, POLLIN, 0}}};
      if (::poll(events.data(), events.size(), -1) < 0) continue;
      if (events[1].revents != 0 && !copy_some(master_.get(), 1)) master_.reset();
      if (events[2].revents != 0 && !forward_input()) input_ = -1;
      if (events[0].revents == 0) continue;
      if (auto status = TRY(handle_signal())) {
        while (master_.valid() && copy_some(master_.get(), 1)) {
        }
        return *status;
      }
    }
  }

  void relay_input() { input_ = 0; }

 private:
  bool forward_input() { return master_.valid() && copy_some(0, master_.get()); }

  Result<std::optional<int>> handle_signal() {
    signalfd_siginfo info{};
    if (sys::raw::read(signals_, &info, sizeof info) != sizeof info) return std::optional<int>();
    auto const number = static_cast<int>(info.ssi_signo);
    if (number == SIGCHLD) {
      // Orphans of a container without a pid namespace are ours too (PR_SET_CHILD_SUBREAPER).
      for (;;) {
        auto const exited = sys::try_wait(-1);
        if (!exited || !*exited) return std::optional<int>();
        if ((*exited)->pid == pid_) return std::optional<int>((*exited)->status());
      }
    }
    if (number == SIGWINCH && master_.valid()) {
      copy_size(master_.get());
    } else {
      (void)sys::kill(pid_, number);
    }
    return std::optional<int>();
  }

  pid_t pid_;
  int signals_;
  UniqueFd master_;
  int input_ = -1;
};

}  // namespace

ForegroundSignals::ForegroundSignals() {
  sigset_t const set = passed_on();
  ::sigprocmask(SIG_BLOCK, &set, nullptr);
  sigset_t ending;
  sigemptyset(&ending);
  for (int const signal : {SIGHUP, SIGINT, SIGQUIT, SIGTERM}) sigaddset(&ending, signal);
  interrupt_ = UniqueFd(::signalfd(-1, &ending, SFD_CLOEXEC));
}

std::optional<oci::ConsoleSize> own_terminal_size() {
  winsize size{};
  if (::ioctl(0, TIOCGWINSZ, &size) < 0) return std::nullopt;
  return oci::ConsoleSize{size.ws_row, size.ws_col};
}

Result<ConsolePair> make_console_pair() {
  sys::SocketPair pair = TRY(sys::socket_pair(SOCK_STREAM));
  return ConsolePair{std::move(pair.first), std::move(pair.second)};
}

Result<UniqueFd> receive_master(ConsolePair& pair) {
  pair.theirs.reset();
  std::array<char, 64> name;
  sys::Received received = TRY(sys::recv_fds(pair.ours.get(), name));
  if (received.fds.empty()) return UniqueFd();
  return std::move(received.fds.front());
}

Result<int> wait_in_foreground(pid_t pid, UniqueFd master) {
  sigset_t const set = passed_on();
  UniqueFd const signals(::signalfd(-1, &set, SFD_CLOEXEC));
  if (!signals.valid()) return Error::from_errno(errno, "signalfd");
  // It may have ended before SIGCHLD was looked at.
  if (auto const exited = TRY(sys::try_wait(pid))) {
    while (master.valid() && copy_some(master.get(), 1)) {
    }
    return exited->status();
  }
  if (!master.valid()) return Relay(pid, signals.get(), {}).run();
  RawMode const raw_mode;
  Relay relay(pid, signals.get(), std::move(master));
  relay.relay_input();
  return relay.run();
}

}  // namespace davit::front
