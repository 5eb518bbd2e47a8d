// The monitor: one process per container that owns its standard streams, log, exit status and exec sessions, and
// outlives whoever started it. docs/wire/monitor-control.md says how to talk to it.
#pragma once

#include <chrono>
#include <functional>
#include <string>

#include "base/result.h"
#include "monitor/log/log_options.h"
#include "monitor/stdio.h"
#include "runtime/container.h"

namespace davit::monitor {

struct MonitorOptions {
  // What to create; the descriptors, parent and console socket of it are the monitor's to set.
  runtime::CreateOptions container;
  bool terminal = false;  // must equal process.terminal of the bundle: the monitor itself never reads it
  StdinMode stdin_mode = StdinMode::kNull;
  log::LogOptions log;
  std::string control_path;  // of the socket
  std::string exit_record_path;
  bool start = true;  // false: a control request starts the container
  // How long to stay after the exit for a `collect` request. The record on disk stays in any case.
  std::chrono::seconds linger{0};
  // Called once: the pid of PID 1 as soon as the container is created (and started, where `start`), or why it is not.
  std::function<void(Result<pid_t> const&)> ready;

  // The runtime; replaced by tests that need no container. Called in forked helpers.
  std::function<Result<runtime::State>(runtime::CreateOptions const&)> create_container = runtime::create;
  std::function<Result<pid_t>(runtime::ExecOptions const&)> exec_process = runtime::exec;
  std::function<Result<void>(std::string const& root, std::string const& id)> start_container =
      [](std::string const& root, std::string const& id) { return runtime::start(root, id); };
};

// Runs until the container has ended and its record is written. Takes over the process: signal mask, session, children.
// An error is one of the monitor's own set-up or of the container's creation; ready has been told of it.
Result<void> run(MonitorOptions options);

}  // namespace davit::monitor
