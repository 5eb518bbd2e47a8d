// Rollback: undo steps registered as each step of a set-up succeeds, run in reverse unless committed (STYLE R11).
#pragma once

#include <functional>
#include <utility>
#include <vector>

namespace davit {

class Rollback {
 public:
  Rollback() = default;
  Rollback(Rollback const&) = delete;
  Rollback& operator=(Rollback const&) = delete;
  ~Rollback() {
    for (auto step = steps_.rbegin(); step != steps_.rend(); ++step) (*step)();
  }

  // An undo must not fail loudly: it runs on the way out of an error.
  void add(std::function<void()> undo) { steps_.push_back(std::move(undo)); }
  void commit() { steps_.clear(); }

 private:
  std::vector<std::function<void()>> steps_;
};

}  // namespace davit
