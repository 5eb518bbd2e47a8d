#include "sys/pipe.h"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <unistd.h>

namespace davit::sys {

Result<Pipe> pipe() {
  int fds[2];
  if (::pipe2(fds, O_CLOEXEC) < 0) return Error::from_errno(errno, "pipe2");
  Pipe ends;
  ends.read_end = UniqueFd(fds[0]);
  ends.write_end = UniqueFd(fds[1]);
  return ends;
}

Result<void> set_nonblocking(int fd) {
  int const flags = ::fcntl(fd, F_GETFL);
  if (flags < 0 || ::fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0) return Error::from_errno(errno, "fcntl O_NONBLOCK");
  return {};
}

Result<void> set_pipe_size(int fd, std::size_t size) {
  if (::fcntl(fd, F_SETPIPE_SZ, static_cast<int>(size)) < 0) return Error::from_errno(errno, "fcntl F_SETPIPE_SZ");
  return {};
}

Result<UniqueFd> duplicate(int fd) {
  UniqueFd copy(::fcntl(fd, F_DUPFD_CLOEXEC, 3));
  if (!copy) return Error::from_errno(errno, "fcntl F_DUPFD_CLOEXEC");
  return copy;
}

Result<Transfer> read_now(int fd, std::span<char> out) {
  ssize_t count;
  do count = ::read(fd, out.data(), out.size());
  while (count < 0 && errno == EINTR);
  if (count > 0) return Transfer{Transfer::State::kDone, static_cast<std::size_t>(count)};
  if (count == 0 || errno == EIO) return Transfer{Transfer::State::kEnd, 0};
  if (errno == EAGAIN) return Transfer{Transfer::State::kWouldBlock, 0};
  return Error::from_errno(errno, "read");
}

Result<Transfer> write_now(int fd, std::string_view data) {
  ssize_t count;
  do count = ::write(fd, data.data(), data.size());
  while (count < 0 && errno == EINTR);
  if (count >= 0) return Transfer{Transfer::State::kDone, static_cast<std::size_t>(count)};
  if (errno == EAGAIN) return Transfer{Transfer::State::kWouldBlock, 0};
  if (errno == EPIPE || errno == EIO) return Transfer{Transfer::State::kEnd, 0};
  return Error::from_errno(errno, "write");
}

Result<void> set_terminal_size(int terminal, TerminalSize size) {
  winsize const value{size.height, size.width, 0, 0};
  if (::ioctl(terminal, TIOCSWINSZ, &value) < 0) return Error::from_errno(errno, "ioctl TIOCSWINSZ");
  return {};
}

}  // namespace davit::sys
