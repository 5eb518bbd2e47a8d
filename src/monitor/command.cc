#include "monitor/command.h"

#include <cstdlib>
#include <optional>
#include <string_view>
#include <vector>

#include "base/text.h"
#include "codec/json_writer.h"
#include "sys/children.h"
#include "sys/file.h"
#include "sys/pipe.h"

namespace davit::monitor {

char const* const kMonitorUsage =
    "usage: davit-runtime monitor --id ID --bundle DIR [options]\n"
    "  --root DIR           the runtime's state (default /run/davit/runtime)\n"
    "  --dir DIR            where control.sock, exit.json and container.log go\n"
    "  --control PATH       control socket (default DIR/control.sock)\n"
    "  --exit-record PATH   exit record (default DIR/exit.json)\n"
    "  --log-driver NAME    none, json-file, local or cri (default json-file with --dir, else none)\n"
    "  --log-path PATH      (default DIR/container.log)\n"
    "  --log-opt KEY=VALUE  max-size, max-file, compress, attrs; may be repeated\n"
    "  --terminal           the bundle's process has a terminal\n"
    "  --stdin MODE         null, open or once (default null)\n"
    "  --create-only        a control request starts the container\n"
    "  --no-pivot, --no-new-keyring, --systemd-cgroup, --preserve-fds N, --pid-file PATH   as of create\n"
    "  --linger SECONDS     stay after the exit until the record is collected\n"
    "  --ready-fd N         gets {\"pid\":N} or {\"error\":...} once the container is ready\n"
    "  --detach             go on in the background once the container is ready\n";

namespace {

// What the flags say before defaults are filled in.
struct Flags {
  MonitorCommand command;
  std::string dir, log_driver, log_path;
  log::KeyValues log_options;
};

Error usage(std::string const& text) { return Error(Errc::kInvalidArgument, text); }

Result<std::uint64_t> number(std::string_view flag, std::string_view value, std::uint64_t max) {
  std::optional<std::uint64_t> const parsed = parse_u64(value);
  if (parsed && *parsed <= max) return *parsed;
  return usage(std::string(flag) + ": '" + std::string(value) + "' is not a number up to " + std::to_string(max));
}

bool apply_switch(Flags& flags, std::string_view flag) {
  runtime::CreateOptions& container = flags.command.options.container;
  if (flag == "--terminal") return flags.command.options.terminal = true;
  if (flag == "--create-only") return flags.command.options.start = false, true;
  if (flag == "--detach") return flags.command.detach = true;
  if (flag == "--no-pivot") return container.no_pivot = true;
  if (flag == "--no-new-keyring") return container.no_new_keyring = true;
  if (flag == "--systemd-cgroup") return container.systemd_cgroup = true;
  return false;
}

std::string* text_flag(Flags& flags, std::string_view flag) {
  MonitorOptions& options = flags.command.options;
  if (flag == "--root") return &options.container.root;
  if (flag == "--id") return &options.container.id;
  if (flag == "--bundle") return &options.container.bundle;
  if (flag == "--pid-file") return &options.container.pid_file;
  if (flag == "--dir") return &flags.dir;
  if (flag == "--control") return &options.control_path;
  if (flag == "--exit-record") return &options.exit_record_path;
  if (flag == "--log-driver") return &flags.log_driver;
  if (flag == "--log-path") return &flags.log_path;
  return nullptr;
}

Result<void> apply_value(Flags& flags, std::string_view flag, std::string_view value) {
  MonitorOptions& options = flags.command.options;
  if (std::string* const text = text_flag(flags, flag)) {
    *text = value;
  } else if (flag == "--log-opt") {
    std::size_t const equals = value.find('=');
    if (equals == std::string_view::npos) return usage("--log-opt: '" + std::string(value) + "' is not KEY=VALUE");
    flags.log_options.emplace_back(value.substr(0, equals), value.substr(equals + 1));
  } else if (flag == "--stdin") {
    if (value != "null" && value != "open" && value != "once") {
      return usage("--stdin: '" + std::string(value) + "' is not null, open or once");
    }
    options.stdin_mode = value == "null" ? StdinMode::kNull : value == "open" ? StdinMode::kOpen : StdinMode::kOnce;
  } else if (flag == "--linger") {
    options.linger = std::chrono::seconds(TRY(number(flag, value, 100'000'000)));
  } else if (flag == "--ready-fd") {
    flags.command.ready_fd = static_cast<int>(TRY(number(flag, value, 1 << 20)));
  } else if (flag == "--preserve-fds") {
    options.container.preserve_fds = static_cast<unsigned>(TRY(number(flag, value, 1 << 20)));
  } else {
    return usage("unknown flag '" + std::string(flag) + "'");
  }
  return {};
}

Result<void> fill_defaults(Flags& flags) {
  MonitorOptions& options = flags.command.options;
  if (options.container.id.empty()) return usage("--id is missing");
  if (options.container.bundle.empty()) return usage("--bundle is missing");
  if (options.container.root.empty()) options.container.root = "/run/davit/runtime";
  if (!flags.dir.empty()) {
    if (options.control_path.empty()) options.control_path = flags.dir + "/control.sock";
    if (options.exit_record_path.empty()) options.exit_record_path = flags.dir + "/exit.json";
    if (flags.log_driver.empty()) flags.log_driver = "json-file";
    if (flags.log_path.empty() && flags.log_driver != "none") flags.log_path = flags.dir + "/container.log";
  }
  if (flags.log_driver.empty()) flags.log_driver = flags.log_path.empty() ? "none" : "json-file";
  options.log = TRY(log::parse_log_options(flags.log_driver, flags.log_path, flags.log_options));
  return {};
}

std::string ready_line(Result<pid_t> const& result) {
  json::Object json;
  if (result) return json.add("pid", *result).text() + "\n";
  return json.add("error", result.error().to_string()).add("code", errc_name(result.error().code())).text() + "\n";
}

void complain(std::string const& text) { (void)sys::write_all(2, "davit-runtime monitor: " + text + "\n"); }

int run_here(MonitorCommand command) {
  // Not ours alone: nobody else closes it, and whoever reads it may be gone.
  UniqueFd ready(command.ready_fd);
  command.options.ready = [&ready](Result<pid_t> const& result) {
    if (ready) (void)sys::write_all(ready.get(), ready_line(result));
    ready.reset();
  };
  Result<void> const result = run(std::move(command.options));
  if (result) return 0;
  complain(result.error().to_string());
  return 1;
}

// Up to a newline and not to the end of file: a created process that waits for its start holds the pipe too.
Result<std::string> read_line(int fd) {
  std::string line;
  while (!line.ends_with('\n')) {
    char bytes[4096];
    std::size_t const count = TRY(sys::read(fd, bytes));
    if (count == 0) return ready_line(Error(Errc::kInternal, "the monitor ended without a word"));
    line.append(bytes, count);
  }
  return line;
}

// The parent waits for the child's word, passes it on and goes.
Result<int> run_detached(MonitorCommand command) {
  sys::Pipe pipe = TRY(sys::pipe());
  pid_t const pid = TRY(sys::fork());
  if (pid == 0) {
    pipe.read_end.reset();
    (void)UniqueFd(std::exchange(command.ready_fd, -1));
    // Standard streams of a shell must not be kept open by a monitor that outlives it.
    TRY(sys::redirect_standard_streams("/dev/null"));
    command.ready_fd = pipe.write_end.release();
    sys::exit_now(run_here(std::move(command)));
  }
  pipe.write_end.reset();
  std::string const line = TRY(read_line(pipe.read_end.get()));
  bool const good = line.starts_with("{\"pid\"");
  if (command.ready_fd >= 0) (void)sys::write_all(command.ready_fd, line);
  if (!good) complain(std::string(trim(line)));
  return good ? 0 : 1;
}
}  // namespace

Result<MonitorCommand> parse_monitor_command(std::span<char const* const> args) {
  Flags flags;
  for (std::size_t i = 0; i < args.size(); ++i) {
    std::string_view flag = args[i];
    if (apply_switch(flags, flag)) continue;
    std::optional<std::string_view> value;
    if (std::size_t const equals = flag.find('='); equals != std::string_view::npos && flag.starts_with("--")) {
      value = flag.substr(equals + 1);
      flag = flag.substr(0, equals);
    } else if (i + 1 < args.size()) {
      value = args[++i];
    }
    if (!value) return usage("flag '" + std::string(flag) + "' needs a value, or is unknown");
    TRY(apply_value(flags, flag, *value));
  }
  TRY(fill_defaults(flags));
  return std::move(flags.command);
}

int monitor_command(std::span<char const* const> args) {
  Result<MonitorCommand> command = parse_monitor_command(args);
  if (!command) {
    complain(command.error().to_string() + "\n" + kMonitorUsage);
    return 2;
  }
  if (!command->detach) return run_here(std::move(command).value());
  Result<int> const status = run_detached(std::move(command).value());
  if (status) return *status;
  complain(status.error().to_string());
  return 1;
}

}  // namespace davit::monitor
