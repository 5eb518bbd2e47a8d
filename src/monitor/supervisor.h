// Supervisor: the life of one container inside its monitor, from creation to the exit record, and what control requests
// ask of it. One thread.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "loop/loop.h"
#include "monitor/control_server.h"
#include "monitor/exec_sessions.h"
#include "monitor/exit_record.h"
#include "monitor/helper.h"
#include "monitor/io_scratch.h"
#include "monitor/log/writer.h"
#include "monitor/monitor.h"
#include "monitor/oom_watch.h"
#include "monitor/stdio.h"
#include "sys/pipe.h"
#include "sys/process.h"

namespace davit::monitor {

class Supervisor {
 public:
  Supervisor(loop::Loop& loop, MonitorOptions options);

  // Opens the log, listens, and begins to create the container. After an error nothing was created.
  Result<void> begin();
  // An error: the container could not be created. Once the loop has stopped.
  Result<void> outcome();

 private:
  enum class Phase { kCreating, kCreated, kRunning, kStopped, kFinished };

  // supervisor.cc: the life
  Result<void> watch_signals();
  Result<std::string> create_in_helper();
  void on_created(Result<std::string> result);
  Result<void> note_state(std::string_view text);
  void tell_ready(Result<pid_t> const& result);
  void on_signal();
  void reap();
  void assign(sys::Exited const& exited);
  void assign_early_exits();
  void on_exit(sys::Exited const& exited);
  void save_record();
  void check_finished();
  void finish();
  void leave();
  void compress_log();
  void on_idle();

  // requests.cc: what clients ask
  void on_request(ReplyTo const& to, ControlMessage const& message, std::vector<UniqueFd> fds);
  Result<void> handle(ReplyTo const& to, ControlMessage const& message, std::vector<UniqueFd>& fds);
  Result<void> handle_exec_family(ReplyTo const& to, ControlMessage const& message, std::vector<UniqueFd>& fds);
  void start(ReplyTo const& to);
  Result<void> signal(ReplyTo const& to, ControlMessage const& message);
  Result<void> freeze(ReplyTo const& to, bool frozen);
  Result<void> resize(ReplyTo const& to, ControlMessage const& message);
  Result<void> attach(ReplyTo const& to, ControlMessage const& message, std::vector<UniqueFd>& fds);
  Result<void> exec(ReplyTo const& to, ControlMessage const& message, std::vector<UniqueFd>& fds);
  void wait(ReplyTo const& to);
  Result<void> collect(ReplyTo const& to);
  // Runs work in a helper and replies with what it returns.
  void reply_from_helper(ReplyTo const& to, Helpers::Work const& work);
  std::string describe() const;
  // As the cgroup says: a command line may have paused it, too.
  bool paused() const;
  // A reply that a helper was asked for has gone out.
  void reply_given();
  Result<void> check_alive() const;

  loop::Loop& loop_;
  MonitorOptions options_;
  Phase phase_ = Phase::kCreating;
  std::optional<Error> failure_;

  std::unique_ptr<log::LogWriter> log_;
  IoScratch scratch_;
  Helpers helpers_;
  ControlServer control_;
  ExecSessions execs_;
  std::unique_ptr<Stdio> stdio_;
  OomWatch oom_;

  int owed_replies_ = 0;  // of helpers that still work on them; nobody is left without an answer at the end
  sys::Pipe interrupt_;   // a byte in it makes the creator give up
  UniqueFd signals_;
  loop::Watch signal_watch_;
  std::vector<sys::Exited> early_exits_;  // of processes whose creation has not been reported yet
  std::map<std::string, std::string> cgroup_paths_;
  ExitRecord record_;
  bool record_saved_ = false;
  int save_attempts_ = 0;
  std::vector<ReplyTo> waiters_;
  loop::Timer save_retry_, exec_limit_, linger_;
  bool exec_limit_over_ = false, leaving_ = false;
};

}  // namespace davit::monitor
