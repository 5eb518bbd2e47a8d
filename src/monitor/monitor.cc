#include "monitor/monitor.h"

#include <signal.h>

#include "loop/loop.h"
#include "monitor/supervisor.h"
#include "sys/children.h"
#include "sys/memory.h"

namespace davit::monitor {

Result<void> run(MonitorOptions options) {
  auto const ready = options.ready;
  auto const failed = [&](Error error) -> Error {
    if (ready) ready(Error(error.code(), error.to_string(), error.error_number()));
    return error;
  };
  sys::keep_heap_small();
  // Neither a terminal that goes away nor a client that stops reading may end the monitor.
  sys::ignore_signal(SIGPIPE);
  sys::ignore_signal(SIGHUP);
  (void)sys::new_session();  // fails for a process group's leader, which its parent has arranged then
  if (Result<void> subreaper = sys::become_subreaper(); !subreaper) return failed(std::move(subreaper).take_error());
  Result<std::unique_ptr<loop::Loop>> loop = loop::Loop::create();
  if (!loop) return failed(std::move(loop).take_error());
  Supervisor supervisor(**loop, std::move(options));
  if (Result<void> begun = supervisor.begin(); !begun) return failed(std::move(begun).take_error());
  TRY((*loop)->run());
  return supervisor.outcome();
}

}  // namespace davit::monitor
