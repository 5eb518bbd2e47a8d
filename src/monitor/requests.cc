// What control requests ask of the supervisor: docs/wire/monitor-control.md, in that order.
#include <algorithm>
#include <utility>

#include "codec/json_writer.h"
#include "monitor/stats_json.h"
#include "monitor/supervisor.h"
#include "sys/polling.h"

namespace davit::monitor {

namespace {
constexpr std::uint32_t kStreamStdin = 1, kStreamStdout = 2, kStreamStderr = 4;

Error conflict(std::string_view text) { return Error(Errc::kConflict, std::string(text)); }

Result<UniqueFd> take_fd(std::vector<UniqueFd>& fds, std::string_view what) {
  if (fds.empty()) return Error(Errc::kInvalidArgument, std::string(what) + ": no descriptor came with the request");
  UniqueFd fd = std::move(fds.front());
  fds.erase(fds.begin());
  return fd;
}

Result<AttachOptions> attach_options(ControlMessage const& message) {
  std::uint32_t const streams = TRY(message.number(Tag::kStreams, kStreamStdout | kStreamStderr));
  std::uint32_t const flags = TRY(message.number(Tag::kFlags, 0));
  AttachOptions options;
  options.want_stdin = (streams & kStreamStdin) != 0;
  options.want_stdout = (streams & kStreamStdout) != 0;
  options.want_stderr = (streams & kStreamStderr) != 0;
  options.framed = (flags & kFlagRaw) == 0;
  options.detach_keys = message.text(Tag::kDetachKeys).value_or("");
  options.leftover = message.text(Tag::kLeftover).value_or("");
  if (options.detach_keys.size() > DetachKeys::kMaxSize) {
    return Error(Errc::kInvalidArgument, "detach keys: more than 16 bytes");
  }
  return options;
}

Result<sys::TerminalSize> terminal_size(ControlMessage const& message) {
  std::uint32_t const width = TRY(message.number(Tag::kWidth, 0));
  std::uint32_t const height = TRY(message.number(Tag::kHeight, 0));
  if (width > 0xffff || height > 0xffff) return Error(Errc::kInvalidArgument, "terminal size: larger than 65535");
  return sys::TerminalSize{static_cast<std::uint16_t>(width), static_cast<std::uint16_t>(height)};
}

std::string exec_id(ControlMessage const& message) { return std::string(message.text(Tag::kExecId).value_or("")); }
}  // namespace

void Supervisor::on_request(ReplyTo const& to, ControlMessage const& message, std::vector<UniqueFd> fds) {
  Result<void> const handled = handle(to, message, fds);
  if (!handled) control_.reply_error(to, handled.error());
}

// A handler either returns an error or sees to it that there is a reply.
Result<void> Supervisor::handle(ReplyTo const& to, ControlMessage const& message, std::vector<UniqueFd>& fds) {
  switch (static_cast<Request>(message.type)) {
    case Request::kState:
      return control_.reply(to, describe()), Result<void>();
    case Request::kStart:
      return start(to), Result<void>();
    case Request::kSignal:
      return signal(to, message);
    case Request::kPause:
      return freeze(to, true);
    case Request::kResume:
      return freeze(to, false);
    case Request::kResize:
      return resize(to, message);
    case Request::kStats:
      TRY(check_alive());
      reply_from_helper(to, [this] { return stats_json(runtime::Cgroup::from_paths(cgroup_paths_)); });
      return {};
    case Request::kWait:
      return wait(to), Result<void>();
    case Request::kAttach:
      return attach(to, message, fds);
    case Request::kCollect:
      return collect(to);
    case Request::kSubscribe:
      control_.subscribe(to);
      control_.reply(to);
      return {};
    case Request::kReopenLog:
      TRY(log_->reopen());
      control_.reply(to);
      return {};
    default:
      return handle_exec_family(to, message, fds);
  }
}

Result<void> Supervisor::handle_exec_family(ReplyTo const& to, ControlMessage const& message,
                                            std::vector<UniqueFd>& fds) {
  switch (static_cast<Request>(message.type)) {
    case Request::kExec:
      return exec(to, message, fds);
    case Request::kExecWait:
      execs_.wait(exec_id(message), [this, to](Result<std::string> const& result) {
        if (!result) return control_.reply_error(to, result.error());
        control_.reply(to, *result);
      });
      return {};
    case Request::kExecList:
      control_.reply(to, execs_.list(TRY(message.number(Tag::kOffset, 0))));
      return {};
    case Request::kExecInspect: {
      std::string const json = TRY(execs_.inspect(exec_id(message)));
      control_.reply(to, json);
      return {};
    }
    case Request::kCloseStdin:
      if (message.has(Tag::kExecId)) {
        TRY(execs_.close_stdin(exec_id(message)));
      } else {
        stdio_->close_stdin();
      }
      control_.reply(to);
      return {};
    default:
      return Error(Errc::kUnimplemented, "control request " + std::to_string(message.type) + " is not known");
  }
}

Result<void> Supervisor::check_alive() const {
  if (phase_ == Phase::kCreating) return conflict("the container is still being created");
  if (phase_ != Phase::kCreated && phase_ != Phase::kRunning) return conflict("container not running");
  return {};
}

bool Supervisor::paused() const {
  if (phase_ != Phase::kCreated && phase_ != Phase::kRunning) return false;
  return runtime::Cgroup::from_paths(cgroup_paths_).frozen().value_or(false);
}

std::string Supervisor::describe() const {
  constexpr std::string_view kNames[] = {"creating", "created", "running", "stopped", "stopped"};
  json::Object json;
  json.add("id", record_.id)
      .add("status", paused() ? "paused" : kNames[static_cast<int>(phase_)])
      .add("pid", record_.pid);
  json.add("terminal", options_.terminal).add("attached", std::uint64_t{stdio_->clients()});
  json.add("lost_log_bytes", log_->lost_bytes());
  if (phase_ == Phase::kFinished) json.add_raw("exit", record_.to_json());
  return json.text();
}

void Supervisor::reply_from_helper(ReplyTo const& to, Helpers::Work const& work) {
  ++owed_replies_;
  Result<void> const started = helpers_.start(work, [this, to](Result<std::string> const& result) {
    if (result) {
      control_.reply(to, *result);
    } else {
      control_.reply_error(to, result.error());
    }
    reply_given();
  });
  if (started) return;
  control_.reply_error(to, started.error());
  reply_given();
}

void Supervisor::start(ReplyTo const& to) {
  if (phase_ != Phase::kCreated) return control_.reply_error(to, conflict("the container is not in the created state"));
  // Before the process runs: its exit may be seen before the helper's answer.
  record_.started_at = sys::realtime_nanos();
  ++owed_replies_;
  Result<void> const helper = helpers_.start(
      [this]() -> Result<std::string> {
        TRY(options_.start_container(options_.container.root, options_.container.id));
        return std::string();
      },
      [this, to](Result<std::string> const& result) {
        if (!result && phase_ == Phase::kCreated) record_.started_at = 0;
        if (result && phase_ == Phase::kCreated) phase_ = Phase::kRunning;
        if (result) {
          control_.reply(to);
        } else {
          control_.reply_error(to, result.error());
        }
        reply_given();
      });
  if (helper) return;
  control_.reply_error(to, helper.error());
  reply_given();
}

void Supervisor::reply_given() {
  if (--owed_replies_ == 0 && phase_ == Phase::kFinished && options_.linger.count() == 0) leave();
}

Result<void> Supervisor::signal(ReplyTo const& to, ControlMessage const& message) {
  std::uint32_t const number = TRY(message.number(Tag::kSignal, 0));
  std::uint32_t const flags = TRY(message.number(Tag::kFlags, 0));
  if (number < 1 || number > 64) {
    return Error(Errc::kInvalidArgument, "signal " + std::to_string(number) + " does not exist");
  }
  int const signal = static_cast<int>(number);
  if (message.has(Tag::kExecId)) {
    TRY(execs_.signal(exec_id(message), signal));
  } else {
    TRY(check_alive());
    if ((flags & kFlagAll) != 0) {
      reply_from_helper(to, [this, signal]() -> Result<std::string> {
        TRY(runtime::Cgroup::from_paths(cgroup_paths_).signal_all(signal));
        return std::string();
      });
      return {};
    }
    // Our own child, not reaped yet: the number cannot be somebody else's.
    TRY(sys::kill(record_.pid, signal));
  }
  control_.reply(to);
  return {};
}

Result<void> Supervisor::freeze(ReplyTo const& to, bool frozen) {
  TRY(check_alive());
  if (paused() == frozen) return conflict(frozen ? "the container is paused already" : "the container is not paused");
  reply_from_helper(to, [this, frozen]() -> Result<std::string> {
    runtime::Cgroup cgroup = runtime::Cgroup::from_paths(cgroup_paths_);
    TRY(frozen ? cgroup.freeze() : cgroup.thaw());
    return std::string();
  });
  return {};
}

Result<void> Supervisor::resize(ReplyTo const& to, ControlMessage const& message) {
  sys::TerminalSize const size = TRY(terminal_size(message));
  if (message.has(Tag::kExecId)) {
    TRY(execs_.resize(exec_id(message), size));
  } else {
    TRY(stdio_->resize(size));
  }
  control_.reply(to);
  return {};
}

Result<void> Supervisor::attach(ReplyTo const& to, ControlMessage const& message, std::vector<UniqueFd>& fds) {
  AttachOptions options = TRY(attach_options(message));
  UniqueFd client = TRY(take_fd(fds, "attach"));
  TRY(stdio_->attach(std::move(client), std::move(options)));
  control_.reply(to);
  return {};
}

Result<void> Supervisor::exec(ReplyTo const& to, ControlMessage const& message, std::vector<UniqueFd>& fds) {
  TRY(check_alive());
  std::uint32_t const flags = TRY(message.number(Tag::kFlags, 0));
  ExecRequest request;
  request.id = exec_id(message);
  request.process_path = message.text(Tag::kPath).value_or("");
  request.terminal = (flags & kFlagTerminal) != 0;
  request.ignore_paused = (flags & kFlagIgnorePaused) != 0;
  request.size = TRY(terminal_size(message));
  request.attach = TRY(attach_options(message));
  if ((flags & kFlagProcessFd) != 0) request.process_fd = TRY(take_fd(fds, "exec: process"));
  if ((flags & kFlagClient) != 0) request.client = TRY(take_fd(fds, "exec: client"));
  execs_.start(std::move(request), [this, to](Result<std::string> const& result) {
    if (!result) return control_.reply_error(to, result.error());
    control_.reply(to, *result);
  });
  return {};
}

void Supervisor::wait(ReplyTo const& to) {
  if (phase_ == Phase::kFinished) return control_.reply(to, record_.to_json());
  waiters_.push_back(to);
}

Result<void> Supervisor::collect(ReplyTo const& to) {
  if (phase_ != Phase::kFinished) return conflict("the container has not ended");
  control_.reply(to, record_.to_json());
  leave();
  return {};
}

}  // namespace davit::monitor
