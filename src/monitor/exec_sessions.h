// ExecSessions: further processes in the container, each with its own streams and exit code. One thread.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"
#include "loop/loop.h"
#include "monitor/helper.h"
#include "monitor/io_scratch.h"
#include "monitor/stdio.h"
#include "runtime/container.h"
#include "sys/process.h"

namespace davit::monitor {

struct ExecRequest {
  std::string id;            // empty: one is made up
  std::string process_path;  // a file with the process as JSON ...
  UniqueFd process_fd;       // ... or a descriptor of one
  bool terminal = false;
  bool ignore_paused = false;
  sys::TerminalSize size;
  UniqueFd client;  // invalid: nobody listens
  AttachOptions attach;
};

class ExecSessions {
 public:
  struct Options {
    std::string root, container_id;
    std::function<Result<pid_t>(runtime::ExecOptions const&)> exec_process;
    std::function<void(std::string const& exec_id, int exit_code)> ended;  // and its output is through
    std::function<void(std::string const& exec_id)> detached;
    std::function<void()> started;  // a pid became known: an exit that came too early can be assigned now
  };
  using Started = std::function<void(Result<std::string>)>;  // JSON of the session
  using Ended = std::function<void(Result<std::string>)>;

  ExecSessions(loop::Loop& loop, Helpers& helpers, IoScratch& scratch, Options options)
      : loop_(loop), helpers_(helpers), scratch_(scratch), options_(std::move(options)) {}

  // kAlreadyExists, kResourceExhausted (kMaxRunning), kInvalidArgument; what the runtime says.
  void start(ExecRequest request, Started const& started);
  // True: it was the process of a session.
  bool process_ended(sys::Exited const& exited);
  // Answers when the session has ended and its output is through; at once for one that has. kNotFound.
  void wait(std::string const& id, Ended ended);
  // kNotFound; kConflict when it has ended.
  Result<void> resize(std::string const& id, sys::TerminalSize size);
  Result<void> signal(std::string const& id, int signal);
  Result<void> close_stdin(std::string const& id);
  Result<std::string> inspect(std::string const& id) const;
  // JSON array of sessions from number `offset` on, as many as fit; {"sessions":[...],"next":N} with N 0 at the end.
  std::string list(std::size_t offset) const;

  std::size_t creating() const { return creating_; }
  bool any_running() const;

  static constexpr std::size_t kMaxRunning = 1024;
  static constexpr std::size_t kMaxFinished = 256;  // those that ended longest ago are forgotten
  static constexpr std::size_t kMaxIdSize = 128;

 private:
  struct Session {
    std::string id;
    pid_t pid = 0;
    bool exited = false, done = false;
    int exit_code = 0, signal = 0;
    std::unique_ptr<Stdio> stdio;
    std::vector<Ended> waiters;
  };
  Result<void> prepare(Session& session, ExecRequest& request);
  void created(std::string const& id, Result<std::string> result, Started const& started);
  void drained(std::string const& id);
  Result<Session*> running(std::string const& id);
  static std::string describe(Session const& session);

  loop::Loop& loop_;
  Helpers& helpers_;
  IoScratch& scratch_;
  Options options_;
  std::map<std::string, Session> sessions_;
  std::deque<std::string> finished_;
  std::uint64_t next_id_ = 1;
  std::size_t creating_ = 0;
  std::vector<std::unique_ptr<Stdio>> retired_;  // destroyed outside of their own callbacks
  loop::Timer retire_;
};

}  // namespace davit::monitor
