// Helpers: short-lived forked children that do for the monitor what may block or needs memory (creating processes,
// cgroup files, compression). Their memory goes when they end, and the monitor stays small. One thread.
#pragma once

#include <functional>
#include <list>
#include <string>

#include "base/result.h"
#include "base/unique_fd.h"
#include "loop/loop.h"

namespace davit::monitor {

class Helpers {
 public:
  explicit Helpers(loop::Loop& loop) : loop_(loop) {}

  using Work = std::function<Result<std::string>()>;
  using Done = std::function<void(Result<std::string>)>;
  // Forks; `work` runs in the child with signals as a fresh program has them, `done` in the monitor's loop with what it
  // returned (at most kMaxAnswer bytes). Descriptors with close-on-exec stay open in the child.
  Result<void> start(Work const& work, Done done);
  bool busy() const { return !running_.empty(); }

  static constexpr std::size_t kMaxAnswer = 1 << 20;

 private:
  struct Running {
    UniqueFd answer;
    loop::Watch watch;
    std::string received;
    Done done;
  };
  void on_readable(std::list<Running>::iterator helper);

  loop::Loop& loop_;
  std::list<Running> running_;
};

}  // namespace davit::monitor
