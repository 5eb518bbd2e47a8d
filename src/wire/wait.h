// Waiting for a non-blocking socket under a deadline and a stop token. Internal to wire. One thread.
#pragma once

#include <poll.h>

#include <chrono>
#include <functional>
#include <optional>
#include <span>
#include <stop_token>

#include "base/result.h"
#include "base/unique_fd.h"

namespace davit::wire {

using Deadline = std::chrono::steady_clock::time_point;

// The stop of one request. The descriptor that a stop makes readable is made at the first wait: a download at memory
// speed never waits, and then a stop is seen by `check`.
class Waiter {
 public:
  explicit Waiter(std::stop_token stop) : stop_(std::move(stop)) {}
  Waiter(Waiter const&) = delete;
  Waiter& operator=(Waiter const&) = delete;

  std::stop_token token() const { return stop_; }
  // kCancelled once stopped.
  Result<void> check() const;
  // True when one of fds has an event, false at the deadline; kCancelled when stopped, at once.
  Result<bool> wait(std::span<pollfd const> fds, Deadline deadline);
  Result<bool> wait(int fd, short events, Deadline deadline);

 private:
  std::stop_token stop_;
  UniqueFd event_;
  std::optional<std::stop_callback<std::function<void()>>> callback_;  // writes to event_, so it goes first
};

}  // namespace davit::wire
