#include <fmt/format.h>

#include "base/text.h"
#include "front/runtime/commands.h"
#include "front/flags.h"
#include "front/runtime/foreground.h"
#include "runtime/container.h"
#include "sys/file.h"

namespace davit::front {

namespace {

struct ExecFlags {
  runtime::ExecOptions options;
  std::string process_file, cwd, user, label, apparmor;
  std::vector<std::string> env, capabilities, additional_gids;
  bool tty = false, detach = false, no_new_privileges = false;
};

std::vector<Flag> exec_flags(ExecFlags& f) {
  return {
      text_flag("console-socket", 0, "PATH", f.options.console_socket, "socket that receives the pty master"),
      text_flag("cwd", 0, "DIR", f.cwd, "working directory"),
      list_flag("env", 'e', "NAME=VALUE", f.env, "add to the environment"),
      switch_flag("tty", 't', f.tty, "give it a terminal"),
      text_flag("user", 'u', "UID[:GID]", f.user, "user and group"),
      list_flag("additional-gids", 'g', "GID", f.additional_gids, "add a supplementary group"),
      text_flag("process", 'p', "FILE", f.process_file, "process.json to run instead of arguments"),
      switch_flag("detach", 'd', f.detach, "return when the program runs"),
      text_flag("pid-file", 0, "FILE", f.options.pid_file, "file to write the pid to"),
      text_flag("process-label", 0, "LABEL", f.label, "SELinux label"),
      text_flag("apparmor", 0, "PROFILE", f.apparmor, "AppArmor profile"),
      switch_flag("no-new-privs", 0, f.no_new_privileges, "set no_new_privs"),
      list_flag("cap", 'c', "CAP", f.capabilities, "add a capability (bounding, effective and permitted)"),
      unsigned_flag("preserve-fds", 0, f.options.preserve_fds, "keep N more descriptors (3 and up) open"),
      text_flag("cgroup", 0, "PATH", f.options.cgroup_path, "cgroup below the container's own"),
      switch_flag("ignore-paused", 0, f.options.ignore_paused, "allow in a paused container"),
  };
}

Result<std::uint32_t> parse_id(std::string_view text, std::string_view flag) {
  auto const number = parse_u64(text);
  if (!number || *number > 0xffffffffU) {
    return Error(Errc::kInvalidArgument, fmt::format("--{}: '{}' is not a numeric id", flag, text));
  }
  return static_cast<std::uint32_t>(*number);
}

Result<oci::Process> process_from_flags(ExecFlags const& f, std::vector<std::string> const& args,
                                        std::string const& root) {
  if (args.empty()) return Error(Errc::kInvalidArgument, "exec takes a container id and a command (or --process FILE)");
  oci::Spec const spec = TRY(runtime::load_config(root, f.options.id));
  oci::Process process = spec.process.value_or(oci::Process{});
  process.args = args;
  process.terminal = f.tty;
  process.console_size.reset();
  if (!f.cwd.empty()) process.cwd = f.cwd;
  for (std::string const& variable : f.env) process.env.push_back(variable);
  if (!f.user.empty()) {
    std::size_t const colon = f.user.find(':');
    process.user.uid = TRY(parse_id(std::string_view(f.user).substr(0, colon), "user"));
    if (colon != std::string::npos)
      process.user.gid = TRY(parse_id(std::string_view(f.user).substr(colon + 1), "user"));
  }
  for (std::string const& gid : f.additional_gids) {
    process.user.additional_gids.push_back(TRY(parse_id(gid, "additional-gids")));
  }
  if (!f.label.empty()) process.selinux_label = f.label;
  if (!f.apparmor.empty()) process.apparmor_profile = f.apparmor;
  if (f.no_new_privileges) process.no_new_privileges = true;
  if (!f.capabilities.empty() && !process.capabilities) process.capabilities.emplace();
  for (std::string const& name : f.capabilities) {
    for (auto* set :
         {&process.capabilities->bounding, &process.capabilities->effective, &process.capabilities->permitted}) {
      set->push_back(name);
    }
  }
  return process;
}

Result<int> exec_in(ExecFlags& f) {
  ConsolePair console;
  if (f.options.process.terminal && f.options.console_socket.empty()) {
    if (f.detach) return Error(Errc::kInvalidArgument, "--detach with a terminal needs --console-socket");
    console = TRY(make_console_pair());
    f.options.console_socket_fd = console.theirs.get();
    if (!f.options.process.console_size) f.options.process.console_size = own_terminal_size();
  }
  if (f.detach) {
    TRY(runtime::exec(f.options));
    return 0;
  }
  ForegroundSignals const signals;
  pid_t const pid = TRY(runtime::exec(f.options));
  UniqueFd master;
  if (console.ours.valid()) master = TRY(receive_master(console));
  return wait_in_foreground(pid, std::move(master));
}

}  // namespace

CommandResult exec_command(Globals const& globals, Arguments arguments) {
  ExecFlags f;
  std::vector<std::string> rest = TRY(parse_flags(exec_flags(f), arguments));
  if (rest.empty()) return Error(Errc::kInvalidArgument, "exec takes a container id and a command");
  f.options.root = globals.root;
  f.options.id = rest.front();
  rest.erase(rest.begin());
  if (!rest.empty() && rest.front() == "--") rest.erase(rest.begin());
  if (f.process_file.empty()) {
    f.options.process = TRY(process_from_flags(f, rest, globals.root));
  } else {
    std::string const text = TRY_CTX(sys::read_file(f.process_file), "--process");
    f.options.process = TRY_CTX(oci::parse_process(text), "--process " + f.process_file);
    if (f.tty) f.options.process.terminal = true;
  }
  return exec_in(f);
}

}  // namespace davit::front
