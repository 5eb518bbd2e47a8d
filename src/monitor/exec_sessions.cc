#include "monitor/exec_sessions.h"

#include <algorithm>

#include "base/text.h"
#include "codec/json_writer.h"
#include "sys/file.h"

namespace davit::monitor {

namespace {
constexpr std::size_t kMaxProcessJson = 1 << 20;
constexpr std::size_t kMaxListSize = 48 * 1024;

bool valid_id(std::string const& id) {
  return !id.empty() && id.size() <= ExecSessions::kMaxIdSize && std::all_of(id.begin(), id.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_' ||
           c == '.';
  });
}

Error not_found(std::string const& id) { return Error(Errc::kNotFound, "exec session '" + id + "' does not exist"); }

// Runs in a helper: parses what the monitor must not spend memory on.
Result<std::string> exec_in_helper(ExecRequest const& request, runtime::ExecOptions options,
                                   std::function<Result<pid_t>(runtime::ExecOptions const&)> const& exec_process) {
  std::string const json = request.process_fd ? TRY(sys::read_all(request.process_fd.get(), kMaxProcessJson))
                                              : TRY(sys::read_file(request.process_path, kMaxProcessJson));
  options.process = TRY_CTX(oci::parse_process(json), "exec process");
  if (options.process.terminal != request.terminal) {
    return Error(Errc::kInvalidArgument, "exec process: terminal: is not what the request says");
  }
  return std::to_string(TRY(exec_process(options)));
}
}  // namespace

Result<void> ExecSessions::prepare(Session& session, ExecRequest& request) {
  StdioOptions stdio;
  stdio.terminal = request.terminal;
  stdio.stdin_mode = request.client && request.attach.want_stdin ? StdinMode::kOnce : StdinMode::kNull;
  stdio.drained = [this, id = session.id] { drained(id); };
  stdio.detached = [this, id = session.id] { options_.detached(id); };
  session.stdio = TRY(Stdio::create(loop_, scratch_, std::move(stdio)));
  if (request.terminal && request.size.width != 0) TRY(session.stdio->resize(request.size));
  if (request.client) TRY(session.stdio->attach(std::move(request.client), std::move(request.attach)));
  return {};
}

void ExecSessions::start(ExecRequest request, Started const& started) {
  if (request.id.empty()) request.id = "exec-" + std::to_string(next_id_++);
  if (!valid_id(request.id)) {
    return started(Error(Errc::kInvalidArgument, "exec id '" + request.id.substr(0, kMaxIdSize) + "' is not valid"));
  }
  if (!request.process_fd && request.process_path.empty()) {
    return started(Error(Errc::kInvalidArgument, "exec: neither a path nor a descriptor of the process"));
  }
  if (sessions_.contains(request.id)) {
    return started(Error(Errc::kAlreadyExists, "exec session '" + request.id + "' exists"));
  }
  if (sessions_.size() - finished_.size() >= kMaxRunning) {
    return started(Error(Errc::kResourceExhausted, "too many exec sessions at once"));
  }
  Session& session = sessions_[request.id];
  session.id = request.id;
  if (Result<void> const prepared = prepare(session, request); !prepared) {
    sessions_.erase(request.id);
    return started(Error(prepared.error().code(), prepared.error().to_string()));
  }
  runtime::ExecOptions options;
  options.root = options_.root;
  options.id = options_.container_id;
  options.parent = runtime::Parent::kCallerParent;
  options.ignore_paused = request.ignore_paused;
  options.stdio = session.stdio->child_fds();
  options.console_socket_fd = session.stdio->console_socket();
  std::string const id = request.id;
  Result<void> helper =
      helpers_.start([&] { return exec_in_helper(request, std::move(options), options_.exec_process); },
                     [this, id, started](Result<std::string> result) { created(id, std::move(result), started); });
  if (helper) {
    ++creating_;
    helper = session.stdio->start();
  }
  if (!helper) {
    sessions_.erase(id);
    started(Error(helper.error().code(), helper.error().to_string()));
  }
}

void ExecSessions::created(std::string const& id, Result<std::string> result, Started const& started) {
  --creating_;
  auto const found = sessions_.find(id);
  if (found == sessions_.end()) return;
  Session& session = found->second;
  if (!result) {
    sessions_.erase(found);
    started(std::move(result));
  } else {
    session.pid = static_cast<pid_t>(parse_i64(*result).value_or(0));
    started(describe(session));
  }
  options_.started();
}

bool ExecSessions::process_ended(sys::Exited const& exited) {
  auto const found = std::find_if(sessions_.begin(), sessions_.end(), [&](auto const& entry) {
    return entry.second.pid == exited.pid && !entry.second.exited;
  });
  if (found == sessions_.end()) return false;
  Session& session = found->second;
  session.exited = true;
  session.exit_code = exited.status();
  session.signal = exited.signalled ? exited.code : 0;
  session.stdio->process_ended();
  return true;
}

void ExecSessions::drained(std::string const& id) {
  auto const found = sessions_.find(id);
  if (found == sessions_.end()) return;
  Session& session = found->second;
  session.done = true;
  retired_.push_back(std::move(session.stdio));
  retire_ = loop_.after(std::chrono::nanoseconds(0), [this] { retired_.clear(); });
  int const exit_code = session.exit_code;
  std::vector<Ended> const waiters = std::move(session.waiters);
  std::string const text = describe(session);
  finished_.push_back(id);
  if (finished_.size() > kMaxFinished) {
    sessions_.erase(finished_.front());
    finished_.pop_front();
  }
  for (Ended const& waiter : waiters) waiter(text);
  options_.ended(id, exit_code);
}

void ExecSessions::wait(std::string const& id, Ended ended) {
  auto const found = sessions_.find(id);
  if (found == sessions_.end()) return ended(not_found(id));
  if (found->second.done) return ended(describe(found->second));
  found->second.waiters.push_back(std::move(ended));
}

Result<ExecSessions::Session*> ExecSessions::running(std::string const& id) {
  auto const found = sessions_.find(id);
  if (found == sessions_.end()) return not_found(id);
  if (found->second.exited) return Error(Errc::kConflict, "exec session '" + id + "' has ended");
  return &found->second;
}

Result<void> ExecSessions::resize(std::string const& id, sys::TerminalSize size) {
  Session* const session = TRY(running(id));
  return session->stdio->resize(size);
}

Result<void> ExecSessions::signal(std::string const& id, int signal) {
  Session* const session = TRY(running(id));
  if (session->pid == 0) return Error(Errc::kConflict, "exec session '" + id + "' is still being created");
  return sys::kill(session->pid, signal);  // our child and not reaped: the number cannot be somebody else's
}

Result<void> ExecSessions::close_stdin(std::string const& id) {
  Session* const session = TRY(running(id));
  session->stdio->close_stdin();
  return {};
}

std::string ExecSessions::describe(Session const& session) {
  json::Object json;
  json.add("exec_id", session.id).add("pid", session.pid).add("running", !session.exited);
  if (session.exited) json.add("exit_code", session.exit_code).add("signal", session.signal);
  return json.text();
}

Result<std::string> ExecSessions::inspect(std::string const& id) const {
  auto const found = sessions_.find(id);
  if (found == sessions_.end()) return not_found(id);
  return describe(found->second);
}

std::string ExecSessions::list(std::size_t offset) const {
  std::string array = "[";
  std::size_t index = 0, next = 0;
  for (auto const& [id, session] : sessions_) {
    if (index++ < offset) continue;
    std::string const text = describe(session);
    if (array.size() + text.size() > kMaxListSize) {
      next = index - 1;
      break;
    }
    if (array.size() > 1) array += ',';
    array += text;
  }
  return json::Object().add_raw("sessions", array + "]").add("next", std::uint64_t{next}).text();
}

bool ExecSessions::any_running() const {
  return std::any_of(sessions_.begin(), sessions_.end(), [](auto const& entry) { return !entry.second.done; });
}

}  // namespace davit::monitor
