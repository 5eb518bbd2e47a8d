#include <fmt/format.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <ctime>

#include "base/rollback.h"
#include "base/text.h"
#include "runtime/container.h"
#include "runtime/init/child.h"
#include "runtime/init/init_plan.h"
#include "runtime/init/spawn.h"
#include "runtime/notify.h"
#include "runtime/pid_file.h"
#include "runtime/seccomp/listener.h"
#include "runtime/state.h"
#include "runtime/userns.h"
#include "sys/file.h"
#include "sys/process.h"
#include "sys/raw.h"
#include "sys/unix_socket.h"

namespace davit::runtime {

namespace {

std::string now_text() {
  timespec now{};
  ::clock_gettime(CLOCK_REALTIME, &now);
  return rfc3339_nanos(now.tv_sec * 1'000'000'000LL + now.tv_nsec);
}

std::string absolute(std::string const& base, std::string const& path) {
  return sys::clean_path(path.starts_with('/') ? path : base + "/" + path);
}

constexpr std::size_t kMaxConfigBytes = 16 << 20;

Result<void> check_spec(oci::Spec const& spec) {
  if (!spec.linux) return Error(Errc::kInvalidArgument, "linux: missing");
  if (!spec.root || spec.root->path.empty()) return Error(Errc::kInvalidArgument, "root.path: missing");
  if (!spec.process) return Error(Errc::kInvalidArgument, "process: missing");
  return {};
}

// One create, step by step; rollback_ undoes what was done when a step fails.
class Creator {
 public:
  Creator(CreateOptions const& options, StateDirectory& directory, Rollback& rollback)
      : options_(options), directory_(directory), rollback_(rollback) {}

  Result<State> run() {
    TRY(read_config());
    TRY(add_from_caller());
    TRY(make_cgroup());
    TRY(check_terminal());
    plan_ = TRY(plan_init({spec_, options_, bundle_, rootfs_, cgroups_, cgroup_}));
    if (options_.console_socket_fd >= 0) {
      plan_.console_socket = options_.console_socket_fd;
    } else {
      plan_.console_socket = console_.get();
    }
    UniqueFd start_socket;
    if (!options_.start_at_once) {
      start_socket = TRY_CTX(directory_.listen_start(), "start socket");
      plan_.start_socket = start_socket.get();
    }
    TRY(spawn());
    start_socket.reset();
    TRY(follow());
    if (!options_.start_at_once) {
      TRY(directory_.save(state_));
      // Only now may it wait for `start`: should we die before, nobody would know of it, and it ends.
      TRY(go());
    }
    TRY(write_pid_file(options_.pid_file, state_.pid));
    if (options_.start_at_once) run_poststart_hooks(state_);
    if (notify_.valid()) TRY(forward_in_background());
    return std::move(state_);
  }

 private:
  Result<void> read_config() {
    bundle_ = absolute(TRY(sys::current_directory()), options_.bundle);
    std::string const file = bundle_ + "/config.json";
    // Not blocking: a pipe by that name would hold us for ever.
    UniqueFd const fd = TRY(sys::open(file, O_RDONLY | O_NONBLOCK));
    struct stat const config_info = TRY(sys::fstat(fd.get()));
    if (!S_ISREG(config_info.st_mode)) return Error(Errc::kInvalidArgument, file + ": is not a regular file");
    config_ = TRY_CTX(sys::read_all(fd.get(), kMaxConfigBytes), file);
    spec_ = TRY_CTX(oci::parse_spec(config_), file);
    TRY_CTX(check_spec(spec_), file);
    rootfs_ = absolute(bundle_, spec_.root->path);
    struct stat info {};
    if (::stat(rootfs_.c_str(), &info) < 0) return Error::from_errno(errno, "root.path: " + rootfs_);
    if (!S_ISDIR(info.st_mode))
      return Error(Errc::kInvalidArgument, "root.path: " + rootfs_ + " is not a directory", ENOTDIR);
    return {};
  }

  // What the specification leaves to the caller's environment.
  Result<void> add_from_caller() {
    for (unsigned fd = 3; fd < 3 + options_.preserve_fds; ++fd) {
      if (sys::raw::fcntl(static_cast<int>(fd), F_GETFD, 0) < 0) {
        return Error(Errc::kInvalidArgument, fmt::format("--preserve-fds: descriptor {} is not open", fd), EBADF);
      }
    }
    if (!spec_.process->console_size) spec_.process->console_size = options_.console_size;
    if (options_.listen_fds > 0) {
      spec_.process->env.push_back(fmt::format("LISTEN_FDS={}", options_.listen_fds));
      spec_.process->env.push_back("LISTEN_PID=1");
    }
    if (options_.notify_socket.empty()) return {};
    TRY_CTX(add_notify_mount(directory_.path(), spec_), "NOTIFY_SOCKET");
    if (options_.start_at_once) notify_ = TRY_CTX(bind_notify_socket(directory_.path()), "NOTIFY_SOCKET");
    return {};
  }

  Result<void> check_terminal() {
    bool const socket = options_.console_socket_fd >= 0 || !options_.console_socket.empty();
    if (spec_.process->terminal && !socket) {
      return Error(Errc::kInvalidArgument, "process.terminal: needs --console-socket, who takes the terminal");
    }
    if (!spec_.process->terminal && socket && options_.console == ConsoleUse::kRequired) {
      return Error(Errc::kInvalidArgument, "--console-socket: given, but process.terminal is false");
    }
    if (options_.console_socket_fd < 0 && socket) {
      console_ = TRY_CTX(sys::connect_unix(options_.console_socket, SOCK_STREAM), "--console-socket");
    }
    return {};
  }

  Result<void> make_cgroup() {
    cgroups_ = TRY(CgroupHost::probe());
    Cgroup::Options options;
    options.cgroups_path = spec_.linux->cgroups_path;
    options.container_id = options_.id;
    options.systemd_driver = options_.systemd_cgroup;
    options.ignore_permission = ::geteuid() != 0;
    state_.cgroup_paths = TRY_CTX(Cgroup::planned_paths(cgroups_, options), "cgroup");
    TRY(save_beginning());
    cgroup_ = TRY_CTX(Cgroup::create(cgroups_, options), "cgroup");
    rollback_.add([this] { (void)cgroup_.remove(); });
    TRY(cgroup_.apply(spec_.linux->resources.value_or(oci::Resources{})));
    return {};
  }

  // Before anything is made that outlives this process: should it be killed, `delete --force` knows where to look.
  Result<void> save_beginning() {
    state_.id = options_.id;
    state_.bundle = bundle_;
    state_.rootfs = rootfs_;
    state_.oci_version = spec_.oci_version;
    state_.created = now_text();
    state_.owner_uid = ::geteuid();
    state_.annotations = spec_.annotations;
    state_.hooks.poststart = spec_.hooks.poststart;
    state_.hooks.poststop = spec_.hooks.poststop;
    TRY_CTX(directory_.save_beginning(state_), "save the state");
    return {};
  }

  Result<void> spawn() {
    Spawned child = TRY(spawn_init(plan_, options_.parent, spec_.linux->time_offsets));
    sync_ = std::move(child.sync);
    pidfd_ = std::move(child.pidfd);
    // The copy of the plan in this process has served: what it holds open must not outlive the start in a long-lived
    // caller.
    rollback_.add([this] {
      // After a failure past the runtime's hooks (runtime.md, "Lifecycle").
      if (hooks_ran_) run_poststop_hooks(state_);
    });
    rollback_.add([this, pid = child.pid] {
      (void)sys::pidfd_send_signal(pidfd_.get(), SIGKILL);
      if (options_.parent == Parent::kCaller) (void)sys::wait_for(pid);
    });
    state_.pid = child.pid;
    // A process that has ended already may also be reaped already (by a monitor): what it reported is still there.
    if (auto const process = sys::process_stat(child.pid); process.ok()) state_.start_time = process->start_time;
    state_.cgroup_paths = cgroup_.paths();
    state_.namespaces = plan_.own_namespaces;
    state_.own_pid_namespace = plan_.own_pid_namespace;
    state_.new_keyring = plan_.process.new_keyring;
    if (plan_.new_user_namespace) {
      TRY(write_id_maps(child.pid, spec_.linux->uid_mappings, spec_.linux->gid_mappings));
    }
    if (plan_.new_user_namespace || plan_.joined_user_namespace) TRY(prepare_user_namespace());
    // While the child sets itself up.
    TRY_CTX(directory_.save_config(config_), "save config.json");
    if (options_.start_at_once) TRY_CTX(directory_.save(state_), "save the state");
    return {};
  }

  // What a process in a user namespace has no privilege for any more.
  Result<void> prepare_user_namespace() {
    for (RlimitPlan const& limit : plan_.process.rlimits) {
      long const set = sys::raw::call(SYS_prlimit64, state_.pid, limit.resource, &limit.limit, nullptr);
      if (set < 0) return Error::from_errno(static_cast<int>(-set), fmt::format("process.rlimits: set {}", limit.name));
    }
    TRY(go());
    return send_trees(plan_, pidfd_.get(), sync_.get());
  }

  // The caller goes on to wait for the program; readiness is passed on by a process of its own until it is said.
  Result<void> forward_in_background() {
    sys::Cloned const forwarder = TRY(sys::clone3({}));
    if (forwarder.pid != 0) return {};
    // Nothing of the caller's may stay open in it: who reads our output to its end would wait for READY.
    long const nothing = sys::raw::openat(AT_FDCWD, "/dev/null", O_RDWR);
    for (int fd = 0; fd < 3 && nothing >= 0; ++fd) (void)sys::raw::dup3(static_cast<int>(nothing), fd, 0);
    (void)forward_readiness(notify_.get(), options_.notify_socket, state_.pid, pidfd_.get());
    sys::raw::exit_now(0);
  }

  Result<void> go() { return sys::write_all(sync_.get(), "g"); }

  Result<void> await_report() {
    if (options_.interrupt_fd < 0) return {};
    std::array<pollfd, 2> events{{{sync_.get(), POLLIN, 0}, {options_.interrupt_fd, POLLIN, 0}}};
    while (::poll(events.data(), events.size(), -1) < 0) {
    }
    if (events[0].revents == 0) return Error(Errc::kCancelled, "interrupted by a signal", ECANCELED);
    return {};
  }

  // Answers what the child asks for until it is ready (or runs its program).
  Result<void> follow() {
    for (;;) {
      TRY(await_report());
      std::optional<Report> const report = TRY(next_report(sync_.get()));
      if (!report) return check_alive();
      if (report->stage == Stage::kSync && report->error == 0) {
        TRY(run_runtime_hooks());
        TRY(go());
      } else if (report->stage == Stage::kSeccomp && report->error == 0) {
        TRY(deliver_listener(*spec_.linux->seccomp, state_, state_.pid, pidfd_.get(), report->index));
        TRY(go());
      } else if (report->stage == Stage::kNone) {
        return {};
      } else {
        return describe(*report, plan_);
      }
    }
  }

  // The socket closes when the program is executed, and also when the process is killed before (by a memory limit that
  // does not even hold its set-up, say).
  Result<void> check_alive() {
    if (options_.start_at_once) return {};
    return Error(Errc::kInternal, "the container's first process was killed during its set-up" + oom_hint());
  }

  std::string oom_hint() const {
    return cgroup_.oom_kill_count().value_or(0) > 0 ? ": linux.resources.memory.limit is too small for it" : "";
  }

  Result<void> run_runtime_hooks() {
    std::string const json = print_state(state_, Status::kCreating, StateFields::kOci);
    hooks_ran_ = true;
    auto const run_all = [&](std::string_view kind, std::vector<oci::Hook> const& hooks) -> Result<void> {
      for (std::size_t i = 0; i < hooks.size(); ++i) {
        HookPlan const hook = plan_hook(hooks[i]);
        HookOutcome const outcome = run_hook(hook, json, options_.interrupt_fd);
        if (outcome.error == 0 && outcome.status == 0) continue;
        return hook_failure(fmt::format("hooks.{}[{}] ({})", kind, i, hook.path), outcome, hook.timeout_ms);
      }
      return {};
    };
    TRY(run_all("prestart", spec_.hooks.prestart));
    TRY(run_all("createRuntime", spec_.hooks.create_runtime));
    return {};
  }

  CreateOptions const& options_;
  StateDirectory& directory_;
  Rollback& rollback_;
  std::string bundle_, rootfs_, config_;
  oci::Spec spec_;
  CgroupHost cgroups_;
  Cgroup cgroup_;
  UniqueFd console_;
  InitPlan plan_;
  UniqueFd sync_, pidfd_, notify_;
  bool hooks_ran_ = false;
  State state_;
};

}  // namespace

void run_poststart_hooks(State const& state) {
  if (state.hooks.poststart.empty()) return;
  std::string const json = print_state(state, Status::kRunning, StateFields::kOci);
  for (auto const& hook : state.hooks.poststart) {
    // The container runs already: a failing hook is no reason to stop it (runtime.md, "Lifecycle", step 9).
    (void)run_hook(plan_hook(hook), json);
  }
}

Result<State> create(CreateOptions const& options) {
  StateDirectory directory = TRY(StateDirectory::create(options.root, options.id));
  // Order matters: the rollback refers to the creator's members and so must run before they go.
  std::unique_ptr<Creator> creator;
  Rollback rollback;
  rollback.add([&] { (void)directory.remove(); });
  creator = std::make_unique<Creator>(options, directory, rollback);
  State state = TRY(creator->run());
  rollback.commit();
  return state;
}

}  // namespace davit::runtime
