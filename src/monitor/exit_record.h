// ExitRecord: how a container ended, as the file that outlives everybody (docs/disk/exit-record.md). Any thread.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>

#include "base/result.h"

namespace davit::monitor {

struct ExitRecord {
  std::string id;
  pid_t pid = 0;
  int exit_code = 0;  // of the program, or 128 + signal
  int signal = 0;     // that killed it; 0: none
  bool oom_killed = false;
  std::int64_t started_at = 0;  // nanoseconds since 1970; 0: never started
  std::int64_t finished_at = 0;

  std::string to_json() const;
  // Durable when this returns without an error: readers see the whole record or none.
  Result<void> save(std::string const& path) const;
};

}  // namespace davit::monitor
