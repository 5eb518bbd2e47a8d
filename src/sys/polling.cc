#include "sys/polling.h"

#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

namespace davit::sys {

Result<UniqueFd> epoll_create() {
  UniqueFd fd(::epoll_create1(EPOLL_CLOEXEC));
  if (!fd) return Error::from_errno(errno, "epoll_create1");
  return fd;
}

Result<void> epoll_control(int epoll, int operation, int fd, std::uint32_t events, std::uint64_t data) {
  epoll_event event{};
  event.events = events;
  event.data.u64 = data;
  if (::epoll_ctl(epoll, operation, fd, &event) < 0) {
    int const error_number = errno;
    return Error::from_errno(error_number, "epoll_ctl of descriptor " + std::to_string(fd));
  }
  return {};
}

Result<std::size_t> epoll_wait(int epoll, std::span<epoll_event> out, int timeout_ms) {
  int const count = ::epoll_wait(epoll, out.data(), static_cast<int>(out.size()), timeout_ms);
  if (count >= 0) return static_cast<std::size_t>(count);
  if (errno == EINTR) return std::size_t{0};
  return Error::from_errno(errno, "epoll_wait");
}

Result<UniqueFd> signal_fd(sigset_t const& signals) {
  // pthread_sigmask(3) and sigprocmask(2) are one system call for the calling thread.
  if (::sigprocmask(SIG_BLOCK, &signals, nullptr) < 0) return Error::from_errno(errno, "sigprocmask");
  UniqueFd fd(::signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!fd) return Error::from_errno(errno, "signalfd");
  return fd;
}

Result<int> read_signal(int signal_fd) {
  signalfd_siginfo info{};
  ssize_t count;
  do count = ::read(signal_fd, &info, sizeof info);
  while (count < 0 && errno == EINTR);
  if (count < 0 && errno == EAGAIN) return 0;
  if (count < 0) return Error::from_errno(errno, "read of a signalfd");
  return static_cast<int>(info.ssi_signo);
}

Result<UniqueFd> event_fd() {
  UniqueFd fd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!fd) return Error::from_errno(errno, "eventfd");
  return fd;
}

Result<UniqueFd> watch_file(std::string const& path) {
  UniqueFd fd(::inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
  if (!fd) return Error::from_errno(errno, "inotify_init1");
  if (::inotify_add_watch(fd.get(), path.c_str(), IN_MODIFY) < 0) {
    int const error_number = errno;
    return Error::from_errno(error_number, "inotify_add_watch '" + path + "'");
  }
  return fd;
}

namespace {
std::int64_t clock_nanos(clockid_t clock) {
  timespec now{};
  ::clock_gettime(clock, &now);
  return std::int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}
}  // namespace

std::int64_t realtime_nanos() { return clock_nanos(CLOCK_REALTIME); }
std::int64_t monotonic_nanos() { return clock_nanos(CLOCK_MONOTONIC); }

}  // namespace davit::sys
