// OomWatch: tells when the kernel kills a process of the container's memory cgroup: v1 by an eventfd on
// memory.oom_control (Documentation/admin-guide/cgroup-v1/memory.rst, "OOM control"), v2 by inotify on memory.events.
// Where neither works the exit record still knows, from the counter. One thread.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>

#include "base/result.h"
#include "base/unique_fd.h"
#include "loop/loop.h"

namespace davit::monitor {

class OomWatch {
 public:
  // on_oom: called when the kernel's counter has grown.
  OomWatch(loop::Loop& loop, std::function<void()> on_oom) : loop_(loop), on_oom_(std::move(on_oom)) {}

  // paths as in the runtime's state. Does nothing where the host cannot tell.
  void start(std::map<std::string, std::string> const& cgroup_paths);
  void stop();
  // Reads the counter, telling of growth; true when a process was killed since start.
  bool killed();

 private:
  Result<void> watch_v1(std::string const& directory);
  Result<void> watch_v2(std::string const& directory);
  void on_event();
  bool update();

  loop::Loop& loop_;
  std::function<void()> on_oom_;
  std::map<std::string, std::string> paths_;
  std::uint64_t first_count_ = 0, seen_count_ = 0;
  UniqueFd event_, control_;
  loop::Watch watch_;
};

}  // namespace davit::monitor
