// start, kill, remove and exec.
#include <fmt/format.h>
#include <sys/stat.h>

#include <csignal>

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
#include "sys/file.h"
#include "sys/process.h"
#include "sys/raw.h"
#include "sys/unix_socket.h"

namespace davit::runtime {

namespace abi = sys::abi;

Result<void> write_pid_file(std::string const& path, pid_t pid) {
  if (path.empty()) return {};
  TRY_CTX(sys::replace_file_at(AT_FDCWD, path, std::to_string(pid), 0644, sys::Durability::kNone), "--pid-file");
  return {};
}

Result<void> start(std::string const& root, std::string const& id, std::string const& notify_socket) {
  StateDirectory const directory = TRY(StateDirectory::open(root, id));
  State const state = TRY(directory.load());
  Status const status = current_status(root, state);
  if (status != Status::kCreated) {
    return Error(Errc::kConflict, fmt::format("cannot start a container that is {}", status_name(status)));
  }
  UniqueFd notify;
  if (!notify_socket.empty()) {
    auto bound = bind_notify_socket(directory.path());
    if (!bound && bound.error().code() != Errc::kNotFound)
      return std::move(bound).take_error().with_context("NOTIFY_SOCKET");
    if (bound) notify = std::move(*bound);
  }
  UniqueFd const connection = TRY_CTX(directory.connect_start(), "start");
  // The answer may take as long as the hooks of startContainer do.
  (void)sys::raw::fcntl(connection.get(), F_SETFL, 0);
  Result<void> const said = sys::write_all(connection.get(), "g");
  if (!said) return Error(Errc::kConflict, "cannot start a container that was started meanwhile");
  directory.started();
  std::optional<Report> const report =
      TRY_CTX(next_report(connection.get()), "cannot start a container that was started meanwhile");
  if (report) {
    std::string const config = TRY(directory.load_config());
    oci::Spec const spec = TRY(oci::parse_spec(config));
    InitPlan plan;  // only names, for the message
    plan.process.args = CStrings(spec.process->args);
    plan.process.cwd = spec.process->cwd;
    for (auto const& hook : spec.hooks.start_container) plan.start_container_hooks.push_back(plan_hook(hook));
    return describe(*report, plan);
  }
  run_poststart_hooks(state);
  if (!notify.valid()) return {};
  auto const pidfd = sys::pidfd_open(state.pid);
  if (!pidfd) return {};  // it has ended already
  return forward_readiness(notify.get(), notify_socket, state.pid, pidfd->get());
}

Result<void> kill(std::string const& root, std::string const& id, int signal, Whom whom) {
  State const state = TRY(load_state(root, id));
  if (whom == Whom::kAll) return cgroup_of(state).signal_all(signal);
  auto const not_running = [] { return Error(Errc::kConflict, "container not running", ESRCH); };
  auto pidfd = sys::pidfd_open(state.pid);
  if (!pidfd && pidfd.error().error_number() == ENOSYS) return std::move(pidfd).take_error();
  // The descriptor first, then the check that it is still that process: the pid may be anybody's by now.
  Status const status = current_status(root, state);
  if (!pidfd || status == Status::kStopped) return not_running();
  Result<void> sent = sys::pidfd_send_signal(pidfd->get(), signal);
  if (!sent && sent.error().error_number() == ESRCH) return not_running();
  // A frozen process dies only once it is thawed (cgroups v1).
  if (sent && signal == SIGKILL && status == Status::kPaused) TRY(cgroup_of(state).thaw());
  return sent;
}

void run_poststop_hooks(State const& state) {
  if (state.hooks.poststop.empty()) return;
  std::string const json = print_state(state, Status::kStopped, StateFields::kOci);
  for (auto const& hook : state.hooks.poststop) (void)run_hook(plan_hook(hook), json);
}

namespace {

Result<void> remove_cgroup(State const& state) {
  Cgroup cgroup = cgroup_of(state);
  // Without a pid namespace of its own the container's other processes outlive PID 1; of a create that was killed only
  // the cgroup tells which process is its.
  if (!state.own_pid_namespace) {
    auto const left = cgroup.processes();
    if (left.ok() && !left->empty()) (void)cgroup.signal_all(SIGKILL);
  }
  Result<void> removed = cgroup.remove();
  if (removed || removed.error().code() != Errc::kConflict) return removed;
  (void)cgroup.signal_all(SIGKILL);
  return cgroup.remove();
}

constexpr int kKillWaitMs = 10'000;

}  // namespace

Result<void> remove(std::string const& root, std::string const& id, Force force) {
  auto directory = StateDirectory::open(root, id);
  if (!directory && directory.error().code() == Errc::kNotFound && force == Force::kYes) return {};
  if (!directory) return std::move(directory).take_error();
  auto const loaded = directory->load();
  if (!loaded) {
    // Left by a create that was killed half-way: there is no process to lose, but only force says so.
    if (force == Force::kYes) return directory->remove();
    return Error(loaded.error().code(), loaded.error().to_string());
  }
  State const& state = *loaded;
  Status const status = current_status(root, state);
  if (status != Status::kStopped) {
    if (force == Force::kNo && status != Status::kCreated) {
      return Error(Errc::kConflict,
                   fmt::format("cannot delete container {} that is not stopped: {}", id, status_name(status)));
    }
    auto const pidfd = sys::pidfd_open(state.pid);
    if (status == Status::kPaused) (void)cgroup_of(state).thaw();
    if (pidfd) {
      Result<void> const sent = sys::pidfd_send_signal(pidfd->get(), SIGKILL);
      if (!sent && sent.error().error_number() != ESRCH) (void)sys::kill(state.pid, SIGKILL);
      if (!sys::process_exited(pidfd->get(), kKillWaitMs)) {
        return Error(Errc::kDeadlineExceeded, fmt::format("process {} does not die (stuck in the kernel?)", state.pid));
      }
    }
  }
  TRY_CTX(remove_cgroup(state), "remove the cgroup");
  run_poststop_hooks(state);
  return directory->remove();
}

namespace {

// Descriptors and flags of the namespaces to join, from the running PID 1.
Result<void> plan_exec_namespaces(State const& state, ExecPlan& plan) {
  plan.user_namespace = (state.namespaces & abi::kNewUser) != 0;
  plan.namespaces = state.namespaces & ~(abi::kNewUser | abi::kNewPid);
  if ((state.namespaces & abi::kNewNs) == 0) {
    plan.root = TRY(sys::open(fmt::format("/proc/{}/root", state.pid), O_PATH | O_DIRECTORY));
  }
  return {};
}

Result<void> open_exec_cgroups(State const& state, std::string const& below, ExecPlan& plan) {
  std::map<std::string, std::string> paths = state.cgroup_paths;
  if (!below.empty()) {
    for (std::string_view const part : split(below, '/')) {
      if (part == "..") return Error(Errc::kInvalidArgument, "--cgroup: '..' leads out of the container's cgroup");
    }
    for (auto& [controller, path] : paths) path = sys::clean_path(path + "/" + below);
  }
  Cgroup const cgroup = Cgroup::from_paths(paths);
  plan.cgroup_v2 = TRY_CTX(cgroup.open_v2_directory(), "--cgroup");
  if (plan.cgroup_v2.valid()) {
    // A copy of the mount that ends at this directory: the process that enters holds it while the container's processes
    // can see it, and ".." of the real one would lead them to the host's cgroups.
    long const tree = sys::raw::open_tree(plan.cgroup_v2.get(), "", abi::kOpenTreeClone | abi::kAtEmptyPath);
    if (tree >= 0) plan.cgroup_v2 = UniqueFd(static_cast<int>(tree));
  }
  plan.cgroup_files =
      TRY_CTX(cgroup.open_join_files(plan.cgroup_v2.valid() ? JoinFiles::kV1 : JoinFiles::kAll), "cgroup");
  return {};
}

Result<void> check_running(std::string const& root, State const& state, bool ignore_paused) {
  Status const status = current_status(root, state);
  if (status == Status::kStopped) return Error(Errc::kConflict, "cannot exec in a stopped container");
  if (status == Status::kCreating) return Error(Errc::kConflict, "cannot exec in a container that is being created");
  if (status == Status::kPaused && !ignore_paused) {
    return Error(Errc::kConflict, "cannot exec in a paused container (use --ignore-paused to override)");
  }
  return {};
}

}  // namespace

Result<pid_t> exec(ExecOptions const& options) {
  State const state = TRY(load_state(options.root, options.id));
  UniqueFd pidfd;
  if (auto opened = sys::pidfd_open(state.pid); opened.ok()) {
    pidfd = std::move(*opened);
  } else if (opened.error().error_number() != ESRCH && state.pid != 0) {
    return std::move(opened).take_error();
  }
  TRY(check_running(options.root, state, options.ignore_paused));
  oci::Spec const spec = TRY(load_config(options.root, options.id));
  ExecPlan plan;
  plan.pidfd = pidfd.get();
  ProcessPlanInput const input{options.process,
                               spec.linux->seccomp ? &*spec.linux->seccomp : nullptr,
                               seccomp_cache(options.root),
                               options.preserve_fds,
                               options.stdio,
                               true};
  plan.process = TRY(plan_process(input));
  if (!options.process.exec_cpu_affinity && spec.process && spec.process->exec_cpu_affinity) {
    oci::Process with_default = options.process;
    with_default.exec_cpu_affinity = spec.process->exec_cpu_affinity;
    plan.process =
        TRY(plan_process({with_default, input.seccomp, input.seccomp_cache, input.preserve_fds, input.stdio, true}));
  }
  plan.process.in_user_namespace = (state.namespaces & abi::kNewUser) != 0;
  plan.process.new_keyring = state.new_keyring;
  plan.process.keyring_name = "_ses." + options.id;
  TRY(plan_exec_namespaces(state, plan));
  TRY(open_exec_cgroups(state, options.cgroup_path, plan));
  UniqueFd console;
  plan.console_socket = options.console_socket_fd;
  bool const socket = options.console_socket_fd >= 0 || !options.console_socket.empty();
  if (options.process.terminal != socket) {
    return Error(Errc::kInvalidArgument, socket ? "--console-socket: given, but the process has no terminal"
                                                : "process.terminal: needs --console-socket, who takes the terminal");
  }
  if (options.console_socket_fd < 0 && socket) {
    console = TRY_CTX(sys::connect_unix(options.console_socket, SOCK_STREAM), "--console-socket");
    plan.console_socket = console.get();
  }
  PidNamespace const pids = (state.namespaces & abi::kNewPid) != 0 ? PidNamespace::kContainers : PidNamespace::kOurs;
  Spawned child = TRY(spawn_exec(plan, options.parent, pids));
  Rollback undo;
  undo.add([&] {
    (void)sys::pidfd_send_signal(child.pidfd.get(), SIGKILL);
    if (options.parent == Parent::kCaller) (void)sys::wait_for(child.pid);
  });
  for (;;) {
    std::optional<Report> const report = TRY(next_report(child.sync.get()));
    if (!report) break;
    if (report->stage == Stage::kSeccomp && report->error == 0) {
      TRY(deliver_listener(*spec.linux->seccomp, state, child.pid, child.pidfd.get(), report->index));
      TRY(sys::write_all(child.sync.get(), "g"));
      continue;
    }
    return describe(*report, plan);
  }
  TRY(write_pid_file(options.pid_file, child.pid));
  undo.commit();
  return child.pid;
}

}  // namespace davit::runtime
