// checkpoint, restore: a running container to disk and back, by CRIU.
#include "runtime/checkpoint.h"

#include <fmt/format.h>
#include <sys/prctl.h>

#include "front/runtime/commands.h"
#include "front/flags.h"
#include "front/runtime/foreground.h"
#include "front/runtime/output.h"

namespace davit::front {

namespace {

// The flags of both commands, and --help: podman asks for it to see whether a runtime can checkpoint at all.
struct CommonFlags {
  runtime::CriuOptions criu;
  std::string empty_namespace;
  bool help = false;

  std::vector<Flag> list() {
    return {
        text_flag("image-path", 0, "DIR", criu.image_path, "directory of the images (default: ./checkpoint)"),
        text_flag("work-path", 0, "DIR", criu.work_path, "directory of CRIU's log (default: that of the images)"),
        switch_flag("tcp-established", 0, criu.tcp_established, "take established TCP connections along"),
        switch_flag("ext-unix-sk", 0, criu.external_unix_sockets, "allow unix sockets with a peer outside"),
        switch_flag("shell-job", 0, criu.shell_job, "allow a terminal or session from outside"),
        switch_flag("lazy-pages", 0, criu.lazy_pages, "move memory on demand (userfaultfd)"),
        switch_flag("file-locks", 0, criu.file_locks, "take file locks along"),
        text_flag("manage-cgroups-mode", 0, "soft|full|strict|ignore", criu.manage_cgroups_mode,
                  "what CRIU does about cgroups (default: soft)"),
        text_flag("empty-ns", 0, "network", empty_namespace, "leave out what is in the network namespace"),
        switch_flag("auto-dedup", 0, criu.auto_dedup, "free memory images' pages that are not needed any more"),
        switch_flag("link-remap", 0, criu.link_remap, "allow deleted files that are still open"),
        switch_flag("help", 'h', help, "print this"),
    };
  }

  Result<void> check() {
    if (!empty_namespace.empty() && empty_namespace != "network") {
      return Error(Errc::kInvalidArgument,
                   fmt::format("--empty-ns: '{}': CRIU can leave out only network", empty_namespace));
    }
    criu.empty_network = !empty_namespace.empty();
    return {};
  }
};

CommandResult print_help(std::string_view command, std::vector<Flag> const& flags) {
  TRY(print(fmt::format("Usage: davit-runtime {} [flags] ID\n\nFlags:\n{}", command, flags_help(flags))));
  return 0;
}

class RestoreCommand {
 public:
  explicit RestoreCommand(Globals const& globals) {
    create_.root = globals.root;
    create_.bundle = ".";
    create_.systemd_cgroup = globals.systemd_cgroup;
  }

  CommandResult run(Arguments arguments) {
    std::vector<Flag> const flags = all_flags();
    std::vector<std::string> const rest = TRY(parse_flags(flags, arguments));
    if (common_.help) return print_help("restore", flags);
    create_.id = TRY(only_id("restore", rest));
    TRY(common_.check());
    if (no_pivot_) {
      return Error(Errc::kUnimplemented, "--no-pivot: not for restore, CRIU always uses pivot_root");
    }
    if (!detach_) return run_attached();
    TRY(runtime::restore(create_, common_.criu));
    return 0;
  }

 private:
  std::vector<Flag> all_flags() {
    std::vector<Flag> flags = common_.list();
    flags.push_back(
        text_flag("bundle", 'b', "DIR", create_.bundle, "directory of config.json (default: the current one)"));
    flags.push_back(
        text_flag("console-socket", 0, "PATH", create_.console_socket, "socket that receives the pty master"));
    flags.push_back(text_flag("pid-file", 0, "FILE", create_.pid_file, "file to write the pid of PID 1 to"));
    flags.push_back(switch_flag("detach", 'd', detach_, "return when the container runs"));
    flags.push_back(switch_flag("keep", 0, keep_, "do not delete the container when it ends"));
    flags.push_back(
        switch_flag("no-subreaper", 0, no_subreaper_, "leave orphans of the container to the parent's subreaper"));
    flags.push_back(switch_flag("no-pivot", 0, no_pivot_, "refused: CRIU always uses pivot_root"));
    flags.push_back(text_flag("lsm-profile", 0, "TYPE:NAME", common_.criu.lsm_profile,
                              "another AppArmor or SELinux profile than the checkpoint's"));
    flags.push_back(text_flag("lsm-mount-context", 0, "CONTEXT", common_.criu.lsm_mount_context,
                              "another SELinux context of mounts than the checkpoint's"));
    return flags;
  }

  CommandResult run_attached() {
    // As `run` does it.
    if (!no_subreaper_) ::prctl(PR_SET_CHILD_SUBREAPER, 1);
    ForegroundSignals const signals;
    ConsolePair console;
    if (create_.console_socket.empty()) {
      console = TRY(make_console_pair());
      create_.console_socket_fd = console.theirs.get();
      create_.console = runtime::ConsoleUse::kIfTerminal;
    }
    runtime::State const state = TRY(runtime::restore(create_, common_.criu));
    UniqueFd master;
    if (console.ours.valid()) master = TRY(receive_master(console));
    Result<int> status = wait_in_foreground(state.pid, std::move(master));
    if (!keep_) TRY(runtime::remove(create_.root, create_.id, runtime::Force::kYes));
    return status;
  }

  runtime::CreateOptions create_;
  CommonFlags common_;
  bool detach_ = false;
  bool keep_ = false;
  bool no_subreaper_ = false;
  bool no_pivot_ = false;
};

}  // namespace

CommandResult checkpoint_command(Globals const& globals, Arguments arguments) {
  CommonFlags common;
  std::optional<std::int64_t> status_fd;
  std::vector<Flag> flags = common.list();
  flags.push_back(text_flag("parent-path", 0, "DIR", common.criu.parent_path,
                            "an earlier --pre-dump's directory, relative to --image-path"));
  flags.push_back(
      text_flag("page-server", 0, "ADDRESS:PORT", common.criu.page_server, "page server that takes the memory"));
  flags.push_back(signed_flag("status-fd", status_fd, "descriptor that gets a NUL when lazy pages can be asked for"));
  flags.push_back(switch_flag("leave-running", 0, common.criu.leave_running, "the container goes on"));
  flags.push_back(switch_flag("pre-dump", 0, common.criu.pre_dump, "write down only memory; the container goes on"));
  flags.push_back(switch_flag("tcp-skip-in-flight", 0, common.criu.tcp_skip_in_flight,
                              "leave out connections that are just being made"));
  std::vector<std::string> const rest = TRY(parse_flags(flags, arguments));
  if (common.help) return print_help("checkpoint", flags);
  std::string const id = TRY(only_id("checkpoint", rest));
  TRY(common.check());
  if (status_fd && (*status_fd < 0 || *status_fd > 1'000'000)) {
    return Error(Errc::kInvalidArgument, fmt::format("--status-fd: {} is no descriptor", *status_fd));
  }
  if (status_fd) common.criu.status_fd = static_cast<int>(*status_fd);
  TRY(runtime::checkpoint(globals.root, id, common.criu));
  return 0;
}

CommandResult restore_command(Globals const& globals, Arguments arguments) {
  return RestoreCommand(globals).run(arguments);
}

}  // namespace davit::front
