#include <fmt/format.h>
#include <sched.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>

#include "base/rollback.h"
#include "base/text.h"
#include "runtime/checkpoint.h"
#include "runtime/criu_images.h"
#include "runtime/criu_options.h"
#include "runtime/criu_service.h"
#include "runtime/init/child.h"
#include "runtime/init/init_plan.h"
#include "runtime/pid_file.h"
#include "runtime/state.h"
#include "sys/file.h"
#include "sys/polling.h"
#include "sys/process.h"
#include "sys/unix_socket.h"

namespace davit::runtime {

namespace {

constexpr char const* kMountPoint = "criu-root";

std::string absolute(std::string const& base, std::string const& path) {
  return sys::clean_path(path.starts_with('/') ? path : base + "/" + path);
}

// One restore, step by step; rollback_ undoes what was done when a step fails.
class Restorer {
 public:
  Restorer(CreateOptions const& create, CriuOptions const& options, StateDirectory& directory, Rollback& rollback)
      : create_(create), given_(options), directory_(directory), rollback_(rollback) {}

  Result<State> run() {
    TRY(make_absolute(given_));
    ExternalParts const parts = TRY(load_external_parts(given_.image_path));
    TRY(read_config());
    TRY(open_console());
    TRY(make_cgroup());
    TRY(fill_state());
    TRY(run_restore(parts));
    run_poststart_hooks(state_);
    return std::move(state_);
  }

 private:
  Result<void> read_config() {
    bundle_ = absolute(TRY(sys::current_directory()), create_.bundle);
    std::string const file = bundle_ + "/config.json";
    config_ = TRY(sys::read_file(file));
    spec_ = TRY_CTX(oci::parse_spec(config_), file);
    if (!spec_.linux) return Error(Errc::kInvalidArgument, file + ": linux: missing");
    if (!spec_.process) return Error(Errc::kInvalidArgument, file + ": process: missing");
    if (!spec_.root || spec_.root->path.empty()) return Error(Errc::kInvalidArgument, file + ": root.path: missing");
    rootfs_ = absolute(bundle_, spec_.root->path);
    struct stat info {};
    if (::stat(rootfs_.c_str(), &info) < 0) return Error::from_errno(errno, "root.path: " + rootfs_);
    if (!S_ISDIR(info.st_mode))
      return Error(Errc::kInvalidArgument, "root.path: " + rootfs_ + " is not a directory", ENOTDIR);
    return {};
  }

  Result<void> open_console() {
    bool const socket = create_.console_socket_fd >= 0 || !create_.console_socket.empty();
    if (spec_.process->terminal && !socket) {
      return Error(Errc::kInvalidArgument, "process.terminal: needs --console-socket, who takes the terminal");
    }
    if (!spec_.process->terminal && socket && create_.console == ConsoleUse::kRequired) {
      return Error(Errc::kInvalidArgument, "--console-socket: given, but process.terminal is false");
    }
    console_ = create_.console_socket_fd;
    if (create_.console_socket_fd >= 0 || !socket) return {};
    own_console_ = TRY_CTX(sys::connect_unix(create_.console_socket, SOCK_STREAM), "--console-socket");
    console_ = own_console_.get();
    return {};
  }

  Result<void> make_cgroup() {
    host_ = TRY(CgroupHost::probe());
    Cgroup::Options options;
    options.cgroups_path = spec_.linux->cgroups_path;
    options.container_id = create_.id;
    options.systemd_driver = create_.systemd_cgroup;
    cgroup_ = TRY_CTX(Cgroup::create(host_, options), "cgroup");
    rollback_.add([this] { (void)cgroup_.remove(); });
    return cgroup_.apply(spec_.linux->resources.value_or(oci::Resources{}));
  }

  Result<void> fill_state() {
    state_.id = create_.id;
    state_.bundle = bundle_;
    state_.rootfs = rootfs_;
    state_.oci_version = spec_.oci_version;
    state_.created = rfc3339_nanos(sys::realtime_nanos());
    state_.owner_uid = ::geteuid();
    state_.annotations = spec_.annotations;
    state_.cgroup_paths = cgroup_.paths();
    state_.namespaces = container_namespaces(spec_);
    state_.own_pid_namespace = owns_pid_namespace(spec_);
    state_.hooks.poststart = spec_.hooks.poststart;
    state_.hooks.poststop = spec_.hooks.poststop;
    TRY_CTX(directory_.save_config(config_), "save config.json");
    return {};
  }

  // The container's group may be another one than when it was dumped: each hierarchy's new path, as CRIU sees it in
  // /proc/PID/cgroup. rpc.proto's cgroup_root; the v2 hierarchy has no controller's name, so it is the one for the
  // rest.
  void add_cgroup_roots(CriuMessage& options) const {
    constexpr unsigned kCgroupRoot = 25;
    for (CgroupHierarchy const& hierarchy : host_.hierarchies) {
      for (std::string const& controller : hierarchy.controllers) {
        std::string const path = cgroup_.path_of(controller);
        if (!path.starts_with(hierarchy.mount_point + "/")) continue;
        CriuMessage root;
        if (!hierarchy.v2) root.text(1, controller);
        root.text(2, sys::clean_path(hierarchy.mount_root + "/" + path.substr(hierarchy.mount_point.size())));
        options.message(kCgroupRoot, root);
      }
    }
  }

  Result<void> run_restore(ExternalParts const& parts) {
    CriuJob job;
    job.operation = CriuOperation::kRestore;
    job.options = TRY(common_criu_options(given_));
    job.image_path = given_.image_path;
    job.work_path = given_.work_path;
    TRY_CTX(sys::mkdir_all(given_.work_path, 0700), "--work-path");
    // CRIU takes as the root only what is a mount.
    job.rootfs = rootfs_;
    job.rootfs_mount = directory_.path() + "/" + kMountPoint;
    TRY_CTX(sys::mkdir(job.rootfs_mount, 0700), "mount point for the root file system");
    job.options.text(13, job.rootfs_mount).flag(26, true);  // rst_sibling: the first process is our child
    if (given_.manage_cgroups_mode != "ignore") add_cgroup_roots(job.options);
    if (spec_.process->terminal) job.options.flag(50, true);
    Inherited const inherited = TRY(supply_external_parts(parts, spec_, bundle_, create_.stdio, job.options));
    job.descriptors = inherited.numbers();
    job.notify = [this](CriuNotification& event) { return notified(event); };
    Result<pid_t> restored = run_criu(job);
    (void)sys::rmdir(job.rootfs_mount);
    if (!restored && state_.pid > 0) {
      (void)sys::kill(state_.pid, SIGKILL);
      (void)sys::wait_for(state_.pid);
    }
    TRY(std::move(restored));
    return {};
  }

  Result<void> notified(CriuNotification& event) {
    if (event.script == "setup-namespaces") return run_runtime_hooks(event.pid);
    if (event.script == "orphan-pts-master") return send_console(event.descriptor);
    // All is there, and nothing runs yet.
    if (event.script == "post-restore") return adopt(event.pid);
    return {};
  }

  Result<void> adopt(pid_t pid) {
    state_.pid = pid;
    state_.start_time = TRY(sys::process_stat(pid)).start_time;
    TRY_CTX(directory_.save(state_), "save the state");
    return write_pid_file(create_.pid_file, pid);
  }

  Result<void> send_console(UniqueFd const& master) const {
    if (console_ < 0 || !master.valid()) return Error(Errc::kInternal, "the restored terminal has nobody to go to");
    int const fd = master.get();
    TRY_CTX(sys::send_fds(console_, "/dev/ptmx", {&fd, 1}), "--console-socket");
    return {};
  }

  Result<void> run_runtime_hooks(pid_t pid) {
    State state = state_;
    state.pid = pid;
    std::string const json = print_state(state, Status::kCreating, StateFields::kOci);
    auto const run_all = [&](std::string_view kind, std::vector<oci::Hook> const& hooks) -> Result<void> {
      for (std::size_t i = 0; i < hooks.size(); ++i) {
        HookPlan const hook = plan_hook(hooks[i]);
        HookOutcome const outcome = run_hook(hook, json);
        if (outcome.error == 0 && outcome.status == 0) continue;
        return hook_failure(fmt::format("hooks.{}[{}] ({})", kind, i, hook.path), outcome, hook.timeout_ms);
      }
      return {};
    };
    TRY(run_all("prestart", spec_.hooks.prestart));
    return run_all("createRuntime", spec_.hooks.create_runtime);
  }

  CreateOptions const& create_;
  CriuOptions given_;
  StateDirectory& directory_;
  Rollback& rollback_;
  std::string bundle_, rootfs_, config_;
  oci::Spec spec_;
  CgroupHost host_;
  Cgroup cgroup_;
  UniqueFd own_console_;
  int console_ = -1;
  State state_;
};

}  // namespace

Result<State> restore(CreateOptions const& create, CriuOptions const& options) {
  TRY(find_criu());
  StateDirectory directory = TRY(StateDirectory::create(create.root, create.id));
  // Order matters: the rollback refers to the restorer's members and so must run before they go.
  std::unique_ptr<Restorer> restorer;
  Rollback rollback;
  rollback.add([&] { (void)directory.remove(); });
  restorer = std::make_unique<Restorer>(create, options, directory, rollback);
  State state = TRY(restorer->run());
  rollback.commit();
  return state;
}

}  // namespace davit::runtime
