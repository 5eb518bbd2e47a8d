// IoScratch: the one read buffer of the monitor. Exists only while something prints; a second after the last use its
// memory goes back to the kernel. One thread.
#pragma once

#include <cstdlib>
#include <functional>
#include <memory>
#include <span>

#include "loop/loop.h"

namespace davit::monitor {

class IoScratch {
 public:
  // on_idle: called when the buffer is given back, so that others give theirs back too.
  IoScratch(loop::Loop& loop, std::function<void()> on_idle) : loop_(loop), on_idle_(std::move(on_idle)) {}

  // Valid until the handler returns.
  std::span<char> get();

  static constexpr std::size_t kSize = 128 * 1024;

 private:
  void check_idle();

  loop::Loop& loop_;
  std::function<void()> on_idle_;
  std::unique_ptr<char[]> bytes_;
  bool used_ = false;
  loop::Timer timer_;
};

}  // namespace davit::monitor
