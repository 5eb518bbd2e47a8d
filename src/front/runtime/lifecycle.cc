// create, run, start, kill, delete.
#include <fmt/format.h>
#include <sys/prctl.h>

#include <csignal>

#include "front/runtime/commands.h"
#include "front/flags.h"
#include "front/runtime/foreground.h"
#include "runtime/container.h"
#include "runtime/names.h"
#include "sys/process.h"

namespace davit::front {

namespace {

std::vector<Flag> create_flags(runtime::CreateOptions& options) {
  return {
      text_flag("bundle", 'b', "DIR", options.bundle, "directory of config.json (default: the current one)"),
      text_flag("console-socket", 0, "PATH", options.console_socket, "socket that receives the pty master"),
      text_flag("pid-file", 0, "FILE", options.pid_file, "file to write the pid of PID 1 to"),
      switch_flag("no-pivot", 0, options.no_pivot, "do not use pivot_root (for a root on a ramdisk)"),
      switch_flag("no-new-keyring", 0, options.no_new_keyring, "keep the caller's session keyring"),
      unsigned_flag("preserve-fds", 0, options.preserve_fds,
                    "keep N more descriptors (3 and up) open in the container"),
  };
}

runtime::CreateOptions default_options(Globals const& globals) {
  runtime::CreateOptions options;
  options.root = globals.root;
  options.bundle = ".";
  options.systemd_cgroup = globals.systemd_cgroup;
  return options;
}

// A service manager's descriptors (LISTEN_FDS of them from 3 on: sd_listen_fds(3)) and its socket for readiness
// (sd_notify(3)) are the container's.
void add_service_manager(runtime::CreateOptions& options) {
  char const* const count = std::getenv("LISTEN_FDS");
  if (count != nullptr) {
    options.listen_fds = static_cast<unsigned>(std::max(0, std::atoi(count)));
    options.preserve_fds += options.listen_fds;
  }
  char const* const notify = std::getenv("NOTIFY_SOCKET");
  if (notify != nullptr) options.notify_socket = notify;
}

class RunCommand {
 public:
  explicit RunCommand(Globals const& globals) : options_(default_options(globals)) {}

  CommandResult run(Arguments arguments) {
    std::vector<Flag> flags = create_flags(options_);
    flags.push_back(switch_flag("detach", 'd', detach_, "return when the program runs"));
    flags.push_back(switch_flag("keep", 0, keep_, "do not delete the container when it ends"));
    flags.push_back(
        switch_flag("no-subreaper", 0, no_subreaper_, "leave orphans of the container to the parent's subreaper"));
    std::vector<std::string> const rest = TRY(parse_flags(flags, arguments));
    options_.id = TRY(only_id("run", rest));
    options_.start_at_once = true;
    add_service_manager(options_);
    return detach_ ? run_detached() : run_attached();
  }

 private:
  CommandResult run_detached() {
    TRY(runtime::create(options_));
    return 0;
  }

  CommandResult run_attached() {
    // Processes that outlive a PID 1 without a pid namespace of its own come to us and are not left to the machine's
    // init.
    if (!no_subreaper_) ::prctl(PR_SET_CHILD_SUBREAPER, 1);
    ForegroundSignals const signals;
    options_.interrupt_fd = signals.interrupt_fd();
    // A terminal without somebody else to take it is relayed to ours.
    ConsolePair console;
    if (options_.console_socket.empty()) {
      console = TRY(make_console_pair());
      options_.console_socket_fd = console.theirs.get();
      options_.console = runtime::ConsoleUse::kIfTerminal;
      options_.console_size = own_terminal_size();
    }
    runtime::State const state = TRY(runtime::create(options_));
    UniqueFd master;
    if (console.ours.valid()) master = TRY(receive_master(console));
    Result<int> status = wait_in_foreground(state.pid, std::move(master));
    if (!keep_) TRY(runtime::remove(options_.root, options_.id, runtime::Force::kYes));
    return status;
  }

  runtime::CreateOptions options_;
  bool detach_ = false;
  bool keep_ = false;
  bool no_subreaper_ = false;
};

}  // namespace

CommandResult create_command(Globals const& globals, Arguments arguments) {
  runtime::CreateOptions options = default_options(globals);
  std::vector<std::string> const rest = TRY(parse_flags(create_flags(options), arguments));
  options.id = TRY(only_id("create", rest));
  add_service_manager(options);
  TRY(runtime::create(options));
  return 0;
}

CommandResult run_command(Globals const& globals, Arguments arguments) { return RunCommand(globals).run(arguments); }

CommandResult start_command(Globals const& globals, Arguments arguments) {
  std::vector<std::string> const rest = TRY(parse_flags({}, arguments));
  std::string const id = TRY(only_id("start", rest));
  char const* const notify = std::getenv("NOTIFY_SOCKET");
  TRY(runtime::start(globals.root, id, notify == nullptr ? "" : notify));
  return 0;
}

CommandResult kill_command(Globals const& globals, Arguments arguments) {
  bool all = false;
  std::vector<Flag> const flags{switch_flag("all", 'a', all, "signal every process of the container")};
  std::vector<std::string> const rest = TRY(parse_flags(flags, arguments));
  if (rest.empty() || rest.size() > 2) {
    return Error(Errc::kInvalidArgument, "kill takes a container id and, if not SIGTERM, a signal");
  }
  int const signal = rest.size() == 2 ? TRY(runtime::parse_signal(rest[1])) : SIGTERM;
  TRY(runtime::kill(globals.root, rest[0], signal, all ? runtime::Whom::kAll : runtime::Whom::kInit));
  return 0;
}

CommandResult delete_command(Globals const& globals, Arguments arguments) {
  bool force = false;
  std::vector<Flag> const flags{switch_flag("force", 'f', force, "kill the container first; none is fine")};
  std::vector<std::string> const rest = TRY(parse_flags(flags, arguments));
  std::string const id = TRY(only_id("delete", rest));
  TRY(runtime::remove(globals.root, id, force ? runtime::Force::kYes : runtime::Force::kNo));
  return 0;
}

}  // namespace davit::front
