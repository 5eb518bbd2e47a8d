// Pipes, terminals' sizes and non-blocking reads and writes: pipe(7), ioctl_tty(2). Close-on-exec always. Any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "base/result.h"
#include "base/unique_fd.h"

namespace davit::sys {

struct Pipe {
  UniqueFd read_end, write_end;
};
Result<Pipe> pipe();

Result<void> set_nonblocking(int fd);
// F_SETPIPE_SZ. kPermissionDenied past /proc/sys/fs/pipe-max-size or the user's total without CAP_SYS_RESOURCE.
Result<void> set_pipe_size(int fd, std::size_t size);

Result<UniqueFd> duplicate(int fd);

// What a non-blocking read or write did.
struct Transfer {
  enum class State { kDone, kWouldBlock, kEnd } state = State::kDone;
  std::size_t size = 0;
};
// kEnd: end of file, or EIO of a pty master whose other side nobody holds.
Result<Transfer> read_now(int fd, std::span<char> out);
// kEnd: nobody reads any more (EPIPE; SIGPIPE must be ignored or blocked) or the terminal is gone.
Result<Transfer> write_now(int fd, std::string_view data);

struct TerminalSize {
  std::uint16_t width = 0, height = 0;
};
Result<void> set_terminal_size(int terminal, TerminalSize size);

}  // namespace davit::sys
