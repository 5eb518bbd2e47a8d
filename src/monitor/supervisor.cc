#include "monitor/supervisor.h"

#include <algorithm>

#include "base/text.h"
#include "codec/json_writer.h"
#include "monitor/log/gzip_file.h"
#include "sys/children.h"
#include "sys/memory.h"
#include "sys/polling.h"

namespace davit::monitor {

namespace {
using namespace std::chrono_literals;
// Exec sessions that outlive the container's PID 1 (no pid namespace of its own) are waited for this long.
constexpr auto kExecGrace = 2s;
// A record that cannot be written (full disk) is tried again this often before waiters are told without it.
constexpr int kSaveAttempts = 100;
constexpr auto kSavePause = 200ms;
constexpr auto kReplyGrace = 2s;
// How long a finished monitor stays for a helper that owes somebody an answer (a `start` whose poststart hooks run).
constexpr auto kOwedGrace = 10s;
constexpr std::size_t kMaxEarlyExits = 4096;

// The creator's answer: pid, then "controller=path" lines.
std::string encode_state(runtime::State const& state) {
  std::string text = std::to_string(state.pid) + "\n";
  for (auto const& [controller, path] : state.cgroup_paths) text += controller + "=" + path + "\n";
  return text;
}

Error copy_of(Error const& error) { return Error(error.code(), error.to_string(), error.error_number()); }
}  // namespace

Supervisor::Supervisor(loop::Loop& loop, MonitorOptions options)
    : loop_(loop),
      options_(std::move(options)),
      scratch_(loop, [this] { on_idle(); }),
      helpers_(loop),
      control_(loop, [this](ReplyTo const& to, ControlMessage const& message,
                            std::vector<UniqueFd> fds) { on_request(to, message, std::move(fds)); }),
      execs_(loop, helpers_, scratch_,
             {.root = options_.container.root,
              .container_id = options_.container.id,
              .exec_process = options_.exec_process,
              .ended =
                  [this](std::string const& id, int exit_code) {
                    control_.publish(
                        json::Object().add("event", "exec_exit").add("exec_id", id).add("exit_code", exit_code).text());
                    check_finished();
                  },
              .detached =
                  [this](std::string const& id) {
                    control_.publish(json::Object().add("event", "detach").add("exec_id", id).text());
                  },
              .started = [this] { assign_early_exits(); }}),
      oom_(loop, [this] { control_.publish(json::Object().add("event", "oom").text()); }) {
  record_.id = options_.container.id;
}

Result<void> Supervisor::begin() {
  TRY(watch_signals());
  log_ = TRY(log::LogWriter::open(options_.log));
  log_->on_rotated([this] { compress_log(); });
  if (!options_.control_path.empty()) TRY(control_.listen(options_.control_path));
  StdioOptions stdio;
  stdio.terminal = options_.terminal;
  stdio.stdin_mode = options_.stdin_mode;
  stdio.log = log_.get();
  stdio.drained = [this] { check_finished(); };
  stdio.detached = [this] { control_.publish(json::Object().add("event", "detach").text()); };
  stdio_ = TRY(Stdio::create(loop_, scratch_, std::move(stdio)));
  interrupt_ = TRY(sys::pipe());
  TRY(helpers_.start([this] { return create_in_helper(); },
                     [this](Result<std::string> result) { on_created(std::move(result)); }));
  return stdio_->start();
}

Result<void> Supervisor::outcome() {
  if (failure_) return std::move(*failure_);
  return {};
}

Result<void> Supervisor::watch_signals() {
  sigset_t signals;
  sigemptyset(&signals);
  for (int const signal : {SIGCHLD, SIGTERM, SIGINT, SIGQUIT}) sigaddset(&signals, signal);
  signals_ = TRY(sys::signal_fd(signals));
  signal_watch_ = TRY(loop_.watch(signals_.get(), EPOLLIN, [this](std::uint32_t) { on_signal(); }));
  return {};
}

Result<std::string> Supervisor::create_in_helper() {
  runtime::CreateOptions create = options_.container;
  create.parent = runtime::Parent::kCallerParent;
  create.start_at_once = options_.start;
  create.stdio = stdio_->child_fds();
  create.console_socket_fd = stdio_->console_socket();
  create.interrupt_fd = interrupt_.read_end.get();
  runtime::State const state = TRY(options_.create_container(create));
  return encode_state(state);
}

Result<void> Supervisor::note_state(std::string_view text) {
  std::vector<std::string_view> const lines = split(text, '\n');
  std::optional<std::int64_t> const pid = parse_i64(lines[0]);
  if (!pid || *pid <= 0) return Error(Errc::kInternal, "the creator answered without a pid");
  record_.pid = static_cast<pid_t>(*pid);
  for (std::string_view const line : std::vector(lines.begin() + 1, lines.end())) {
    std::size_t const equals = line.find('=');
    if (equals == std::string_view::npos) continue;
    cgroup_paths_.emplace(line.substr(0, equals), line.substr(equals + 1));
  }
  return {};
}

void Supervisor::on_created(Result<std::string> result) {
  interrupt_ = {};
  Result<void> noted = result ? note_state(*result) : Result<void>(std::move(result).take_error());
  if (!noted) {
    tell_ready(copy_of(noted.error()));
    failure_ = std::move(noted).take_error();
    return loop_.stop();
  }
  phase_ = options_.start ? Phase::kRunning : Phase::kCreated;
  if (options_.start) record_.started_at = sys::realtime_nanos();
  if (!cgroup_paths_.empty()) oom_.start(cgroup_paths_);
  tell_ready(record_.pid);
  on_idle();
  assign_early_exits();
}

void Supervisor::tell_ready(Result<pid_t> const& result) {
  if (auto const ready = std::exchange(options_.ready, nullptr)) ready(result);
}

void Supervisor::on_signal() {
  for (;;) {
    Result<int> const signal = sys::read_signal(signals_.get());
    if (!signal || *signal == 0) return;
    if (*signal == SIGCHLD) {
      reap();
    } else if (phase_ == Phase::kCreated || phase_ == Phase::kRunning) {
      // The monitor does not end before its container: who wants it gone wants the container to end.
      (void)sys::kill(record_.pid, *signal);
    } else if (interrupt_.write_end.valid()) {
      // A hook may hang: the creator gives up, undoes what it did, and we report that.
      (void)sys::write_now(interrupt_.write_end.get(), "!");
    }
  }
}

void Supervisor::reap() {
  while (std::optional<sys::Exited> const exited = sys::reap_any()) assign(*exited);
}

void Supervisor::assign(sys::Exited const& exited) {
  if (exited.pid == record_.pid && phase_ != Phase::kStopped && phase_ != Phase::kFinished) return on_exit(exited);
  if (execs_.process_ended(exited)) return;
  // A helper, somebody's orphan, or a process whose creator has not reported yet.
  bool const creating = phase_ == Phase::kCreating || execs_.creating() > 0;
  if (creating && early_exits_.size() < kMaxEarlyExits) early_exits_.push_back(exited);
}

void Supervisor::assign_early_exits() {
  std::vector<sys::Exited> const exits = std::exchange(early_exits_, {});
  for (sys::Exited const& exited : exits) assign(exited);
}

void Supervisor::on_exit(sys::Exited const& exited) {
  phase_ = Phase::kStopped;
  record_.finished_at = sys::realtime_nanos();
  record_.exit_code = exited.status();
  record_.signal = exited.signalled ? exited.code : 0;
  record_.oom_killed = !cgroup_paths_.empty() && oom_.killed();
  oom_.stop();
  save_record();
  stdio_->process_ended();
  exec_limit_ = loop_.after(kExecGrace, [this] {
    exec_limit_over_ = true;
    check_finished();
  });
  check_finished();
}

void Supervisor::save_record() {
  if (!options_.exit_record_path.empty()) {
    Result<void> const saved = record_.save(options_.exit_record_path);
    if (!saved && ++save_attempts_ < kSaveAttempts) {
      save_retry_ = loop_.after(kSavePause, [this] {
        save_record();
        check_finished();
      });
      return;
    }
  }
  record_saved_ = true;
}

void Supervisor::check_finished() {
  if (phase_ != Phase::kStopped || !record_saved_ || !stdio_->drained()) return;
  if ((execs_.any_running() || execs_.creating() > 0) && !exec_limit_over_) return;
  finish();
}

// Everything is on disk: tell.
void Supervisor::finish() {
  phase_ = Phase::kFinished;
  log_->idle();
  for (ReplyTo const& waiter : std::exchange(waiters_, {})) control_.reply(waiter, record_.to_json());
  control_.publish(json::Object().add("event", "exit").add_raw("record", record_.to_json()).text());
  if (options_.linger.count() == 0 && owed_replies_ == 0) return leave();
  if (options_.linger.count() == 0) {
    linger_ = loop_.after(kOwedGrace, [this] { leave(); });
    return;
  }
  linger_ = loop_.after(options_.linger, [this] { leave(); });
}

void Supervisor::leave() {
  if (leaving_) return;
  leaving_ = true;
  control_.finish(kReplyGrace, [this] { loop_.stop(); });
}

// In a process of its own: the monitor stays small and the container's output goes on meanwhile.
void Supervisor::compress_log() {
  auto next = log_->file()->start_compression();
  if (!next) return;
  auto const work = std::make_shared<log::RotatingFile::Compression>(std::move(*next));
  Result<void> const started = helpers_.start(
      [work]() -> Result<std::string> {
        sys::lower_priority(19);
        TRY(log::gzip_file(work->from.get(), work->to));
        return std::string();
      },
      [this](Result<std::string> const& result) {
        log_->file()->finish_compression(result.ok());
        compress_log();
      });
  if (!started) log_->file()->finish_compression(false);
}

void Supervisor::on_idle() {
  if (log_) log_->idle();
  sys::release_free_memory();
}

}  // namespace davit::monitor
