// Stdio: the standard streams of a container or an exec session, seen from outside: pipes, or a pseudo terminal whose
// master arrives on a console socket. Output goes to the log first and then to every attached client; a client that is
// too slow makes the container wait, for a bounded time. One thread.
#pragma once

#include <array>
#include <functional>
#include <list>
#include <memory>
#include <string_view>

#include "base/result.h"
#include "base/unique_fd.h"
#include "loop/loop.h"
#include "monitor/attach_client.h"
#include "monitor/buffer.h"
#include "monitor/io_scratch.h"
#include "monitor/log/writer.h"
#include "sys/pipe.h"

namespace davit::monitor {

enum class StdinMode {
  kNull,  // reads nothing
  kOpen,  // stays open whoever comes and goes
  kOnce   // ends with the input of the first client that had it
};

struct StdioOptions {
  bool terminal = false;
  StdinMode stdin_mode = StdinMode::kNull;
  log::LogWriter* log = nullptr;   // null: none; outlives the Stdio
  std::function<void()> drained;   // every output has ended and every client has got its part
  std::function<void()> detached;  // a client used its detach keys
};

class Stdio {
 public:
  static Result<std::unique_ptr<Stdio>> create(loop::Loop& loop, IoScratch& scratch, StdioOptions options);

  // The child's ends, for the creator: descriptors 0, 1, 2 (without a terminal), or the socket that wants the pty
  // master.
  std::array<int, 3> child_fds() const { return {child_[0].get(), child_[1].get(), child_[2].get()}; }
  int console_socket() const { return console_child_.get(); }
  // After the creator was forked.
  Result<void> start();

  // kConflict when the streams have ended.
  Result<void> attach(UniqueFd client, AttachOptions options);
  // kConflict without a terminal. Kept for the terminal that is yet to come.
  Result<void> resize(sys::TerminalSize size);
  void close_stdin();
  // The process has ended: its streams end too, at the latest after a grace for what its descendants hold open.
  void process_ended();
  bool drained() const { return drained_; }
  bool terminal() const { return options_.terminal; }
  std::size_t clients() const { return clients_.size(); }

 private:
  struct Output {
    log::Stream stream;
    UniqueFd fd;
    bool ended = false, enlarged = false;
    loop::Watch watch;
  };

  Stdio(loop::Loop& loop, IoScratch& scratch, StdioOptions options)
      : loop_(loop), scratch_(scratch), options_(std::move(options)) {}
  Result<void> make_pipes();
  void on_console();
  Result<void> take_terminal(UniqueFd master);
  Result<void> watch_output(Output& output);
  void on_output(Output& output);
  void distribute(Output& output, std::string_view data);
  void end_output(Output& output);
  void end_all_outputs();
  void update_flow();
  std::size_t write_input(std::string_view data);
  void on_input_room();
  void drop_gone_clients();
  void check_drained();

  loop::Loop& loop_;
  IoScratch& scratch_;
  StdioOptions options_;
  std::array<UniqueFd, 3> child_;
  UniqueFd console_child_, console_;
  loop::Watch console_watch_;
  std::array<Output, 2> outputs_{Output{log::Stream::kStdout, {}, false, false, {}},
                                 Output{log::Stream::kStderr, {}, false, false, {}}};
  UniqueFd input_;
  loop::Watch input_watch_;
  sys::TerminalSize size_;
  std::list<std::unique_ptr<AttachClient>> clients_;
  bool process_ended_ = false, drained_ = false;
  loop::Timer cleanup_, drain_limit_, terminal_retry_;
};

}  // namespace davit::monitor
