// Finding the last entries of a plain log file without reading what is before them.
#pragma once

#include <cstdint>

#include "base/result.h"
#include "monitor/log/log_options.h"

namespace davit::monitor::log {

struct TailPosition {
  std::uint64_t offset = 0;  // of the record where to begin
  std::uint64_t skip = 0;    // entries of that record to pass over
  std::uint64_t found = 0;   // entries from there to the end; fewer than wanted when the file has no more
};

// fd is borrowed; size is how much of it counts.
Result<TailPosition> find_tail(int fd, std::uint64_t size, Driver driver, std::uint64_t wanted);

}  // namespace davit::monitor::log
