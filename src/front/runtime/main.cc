#include <fmt/format.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <ctime>

#include "base/text.h"
#include "codec/json_writer.h"
#include "front/runtime/commands.h"
#include "front/flags.h"
#include "front/runtime/output.h"
#include "monitor/command.h"
#include "runtime/protect.h"
#include "sys/file.h"
#include "sys/kernel_calls.h"

namespace davit::front {

Result<void> print(std::string_view text) { return sys::write_all(STDOUT_FILENO, text); }

namespace {

struct Command {
  std::string_view name;
  CommandResult (*run)(Globals const&, Arguments);
  bool enters_container;  // the binary must be protected before it goes near one
  int error_status;       // exit status when it fails, as runc's
  std::string_view help;
};

constexpr std::array<Command, 17> kCommands{{
    {"checkpoint", checkpoint_command, false, 1, "write a running container to disk (needs CRIU)"},
    {"create", create_command, true, 1, "create a container from a bundle; `start` runs it"},
    {"delete", delete_command, false, 1, "delete a container and all that it holds"},
    {"events", events_command, false, 1, "print statistics and out-of-memory events"},
    {"exec", exec_command, true, 255, "run one more process in a container"},
    {"features", features_command, false, 1, "print what this runtime can do, as JSON"},
    {"kill", kill_command, false, 1, "send a signal to a container's PID 1"},
    {"list", list_command, false, 1, "list the containers of --root"},
    {"pause", pause_command, false, 1, "freeze all processes of a container"},
    {"ps", ps_command, false, 1, "list the processes of a container"},
    {"restore", restore_command, true, 1, "bring back a container from a checkpoint (needs CRIU)"},
    {"resume", resume_command, false, 1, "thaw a paused container"},
    {"run", run_command, true, 1, "create and start a container, and wait for it"},
    {"spec", spec_command, false, 1, "write a config.json to begin with"},
    {"start", start_command, false, 1, "run the program of a created container"},
    {"state", state_command, false, 1, "print the state of a container, as JSON"},
    {"update", update_command, false, 1, "change the limits of a container"},
}};

class Log {
 public:
  std::string file, format = "text";

  Result<void> open() {
    if (format != "text" && format != "json") {
      return Error(Errc::kInvalidArgument, fmt::format("--log-format: '{}' is neither text nor json", format));
    }
    if (!file.empty()) fd_ = TRY_CTX(sys::open(file, O_WRONLY | O_CREAT | O_APPEND, 0644), "--log");
    return {};
  }

  void error(std::string_view message) const {
    if (!fd_.valid()) return;
    timespec now{};
    ::clock_gettime(CLOCK_REALTIME, &now);
    std::string const time = rfc3339_nanos(now.tv_sec * 1'000'000'000LL).substr(0, 19) + "Z";
    json::Writer line;
    line.begin_object().field("level", "error").field("msg", message).field("time", time).end_object();
    std::string text = line.take();
    if (format != "json") {
      std::string quoted;
      json::append_quoted(quoted, message);
      text = fmt::format("time=\"{}\" level=error msg={}", time, quoted);
    }
    (void)sys::write_all(fd_.get(), text + "\n");
  }

 private:
  UniqueFd fd_;
};

std::string default_root() {
  char const* const user_run = std::getenv("XDG_RUNTIME_DIR");
  if (::geteuid() != 0 && user_run != nullptr) return std::string(user_run) + "/davit/runtime";
  return "/run/davit/runtime";
}

std::string usage(std::vector<Flag> const& flags) {
  std::string text =
      "davit-runtime: an OCI container runtime\n\nUsage: davit-runtime [flags] COMMAND [flags] "
      "[arguments]\n\nCommands:\n";
  for (Command const& command : kCommands) text += fmt::format("  {:<12} {}\n", command.name, command.help);
  text +=
      fmt::format("  {:<12} {}\n", "monitor", "hold one container: its streams, log, exit record and control socket");
  return text + "\nFlags:\n" + flags_help(flags);
}

Command const* find_command(std::string_view name) {
  for (Command const& command : kCommands) {
    if (command.name == name) return &command;
  }
  return nullptr;
}

int fail(Log const& log, std::string const& message, int status) {
  log.error(message);
  (void)sys::write_all(STDERR_FILENO, "davit-runtime: " + message + "\n");
  return status;
}

int unknown_command(Log const& log, std::string_view name) {
  std::vector<std::string_view> names{"monitor"};
  for (Command const& command : kCommands) names.push_back(command.name);
  std::string message = fmt::format("no such command: {}", name);
  if (auto const near = nearest(name, names)) message += fmt::format(" (did you mean {}?)", *near);
  return fail(log, message, 1);
}

}  // namespace

int runtime_main(int argc, char** argv) {
  Globals globals;
  globals.root = default_root();
  Log log;
  bool help = false, version = false;
  std::string rootless;  // runc's --rootless: privileges are looked at, not asked for
  std::vector<Flag> const flags{
      text_flag("root", 0, "DIR", globals.root, "directory of the containers' state"),
      text_flag("log", 0, "FILE", log.file, "also write errors there"),
      text_flag("log-format", 0, "text|json", log.format, "format of --log"),
      switch_flag("debug", 0, globals.debug, "accepted for runc's callers; there are no debug messages"),
      switch_flag("systemd-cgroup", 0, globals.systemd_cgroup, "the systemd cgroup driver (not supported: says so)"),
      text_flag("rootless", 0, "auto|true|false", rootless, "accepted for runc's callers; the caller's uid decides"),
      switch_flag("help", 'h', help, "print this"),
      switch_flag("version", 'v', version, "print the version"),
  };
  auto rest = parse_flags(flags, Arguments(argv + 1, static_cast<std::size_t>(argc - 1)));
  if (!rest) return fail(log, rest.error().to_string(), 1);
  if (Result<void> const opened = log.open(); !opened) return fail(log, opened.error().to_string(), 1);
  if (version) {
    (void)print("davit-runtime version " DAVIT_VERSION "\nspec: 1.2.0\n");
    return 0;
  }
  if (help || rest->empty() || rest->front() == "help") {
    (void)print(usage(flags));
    return 0;
  }
  Arguments const command_line(argv + (argc - static_cast<int>(rest->size())), rest->size());
  std::string_view const name = command_line.front();
  bool const monitor = name == "monitor";
  Command const* const command = find_command(name);
  if (command == nullptr && !monitor) return unknown_command(log, name);
  if (monitor || command->enters_container) {
    Result<void> safe = runtime::protect_binary(argv);
    if (!safe) return fail(log, sys::explain_missing_call(std::move(safe).take_error()).to_string(), 1);
  }
  if (globals.root.front() != '/') {
    auto const here = sys::current_directory();
    if (here) globals.root = sys::clean_path(*here + "/" + globals.root);
  }
  if (monitor) {
    std::vector<char const*> with_root{"--root", globals.root.c_str()};
    with_root.insert(with_root.end(), command_line.begin() + 1, command_line.end());
    return monitor::monitor_command(with_root);
  }
  CommandResult status = command->run(globals, command_line.subspan(1));
  if (status) return *status;
  Error const error = sys::explain_missing_call(std::move(status).take_error());
  return fail(log, error.to_string(), command->error_status);
}

}  // namespace davit::front
