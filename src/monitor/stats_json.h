// A cgroup's counters as the control protocol's JSON (docs/wire/monitor-control.md, stats). For helpers: allocates
// freely.
#pragma once

#include <string>

#include "base/result.h"
#include "runtime/cgroup/cgroup.h"

namespace davit::monitor {

Result<std::string> stats_json(runtime::Cgroup const& cgroup);

}  // namespace davit::monitor
