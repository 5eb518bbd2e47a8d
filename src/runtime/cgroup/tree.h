// A group's directory and the groups below it, to any depth, with a bounded number of descriptors. Any thread.
#pragma once

#include <chrono>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace davit::runtime {

// Process ids in the group and below, ascending, each once. 0 (a process outside our pid namespace) is left out. A
// group that is gone has none.
Result<std::vector<int>> processes_below(std::string const& path);

// Removes the group and those below it. Waits up to `patience` for processes that are just exiting; kConflict when some
// stay. A group that is gone is fine.
Result<void> remove_group_tree(std::string const& path, std::chrono::milliseconds patience);

// Pauses that double from 0.1 ms to 20 ms until the time is used up.
class Backoff {
 public:
  explicit Backoff(std::chrono::milliseconds patience) : left_(patience) {}
  // Sleeps; false when the time was used up before.
  bool wait();

 private:
  std::chrono::microseconds left_;
  std::chrono::microseconds next_{100};
};

}  // namespace davit::runtime
