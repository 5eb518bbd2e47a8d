// Staying with a process until it ends: signals are passed on to it, its terminal is relayed.
#pragma once

#include <sys/types.h>

#include <optional>

#include "base/result.h"
#include "base/unique_fd.h"
#include "oci/runtime_spec.h"

namespace davit::front {

// Blocks, for good, the signals that wait_in_foreground() passes on, so that none is lost between start and wait. First thing,
// before the process is made; what it makes inherits the mask unless it is undone there (runtime::init does).
class ForegroundSignals {
 public:
  ForegroundSignals();
  ForegroundSignals(ForegroundSignals const&) = delete;
  ForegroundSignals& operator=(ForegroundSignals const&) = delete;

  // Readable when somebody asks the program to end (HUP, INT, QUIT, TERM), while it has not handed signals on yet.
  int interrupt_fd() const { return interrupt_.get(); }

 private:
  UniqueFd interrupt_;
};

// The size of our own terminal, if standard input is one.
std::optional<oci::ConsoleSize> own_terminal_size();

// One end takes the pty master from the runtime, the other is given to it as console_socket_fd.
struct ConsolePair {
  UniqueFd ours, theirs;
};
Result<ConsolePair> make_console_pair();
// Call when the process runs: its end is closed then. Invalid: it has no terminal.
Result<UniqueFd> receive_master(ConsolePair& pair);

// Waits for child pid; its exit status as a shell gives it. master: relayed to our own terminal (in raw mode) when
// valid.
Result<int> wait_in_foreground(pid_t pid, UniqueFd master);

}  // namespace davit::front
