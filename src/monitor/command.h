// `davit-runtime monitor`: the monitor from the command line.
#pragma once

#include <span>
#include <string>

#include "base/result.h"
#include "monitor/monitor.h"

namespace davit::monitor {

struct MonitorCommand {
  MonitorOptions options;
  bool detach = false;
  int ready_fd = -1;  // gets one line: {"pid":N} or {"error":"...","code":"..."}
};

// args: what comes after "monitor". kInvalidArgument names the flag.
Result<MonitorCommand> parse_monitor_command(std::span<char const* const> args);

// Parses and runs; the process's exit status: 0 when the container was created, whatever its own status; 1 with a
// message on standard error when not; 2 for wrong usage. With --detach it returns as soon as the container is ready.
int monitor_command(std::span<char const* const> args);

extern char const* const kMonitorUsage;

}  // namespace davit::monitor
