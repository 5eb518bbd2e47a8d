// parallel_each: runs work(i) for i in [0, count) on a few threads of its own; the first error stops the rest.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <mutex>
#include <optional>
#include <stop_token>
#include <thread>
#include <vector>

#include "base/result.h"

namespace davit::image {

// work: Result<void>(std::size_t index, std::stop_token). The token it is given stops when `stop` does or another one
// has failed; that one's error is returned. threads: 0 is as 1. Blocks until all threads have ended.
template <typename Work>
Result<void> parallel_each(std::size_t count, unsigned threads, std::stop_token stop, Work const& work) {
  std::stop_source local;
  std::stop_callback const forward(stop, [&] { local.request_stop(); });
  std::mutex mutex;
  std::optional<Error> first_error;
  std::atomic<std::size_t> next{0};
  auto const run = [&] {
    for (std::size_t i = next++; i < count && !local.stop_requested(); i = next++) {
      Result<void> done = work(i, local.get_token());
      if (done) continue;
      std::lock_guard const lock(mutex);
      // What the others answer once they are stopped is not the reason.
      if (!first_error) first_error.emplace(std::move(done).take_error());
      local.request_stop();
    }
  };
  {
    std::vector<std::jthread> pool;
    for (std::size_t i = 0; i < std::max(threads, 1U) && i < count; ++i) pool.emplace_back(run);
  }
  if (first_error) return std::move(*first_error);
  if (stop.stop_requested()) return Error(Errc::kCancelled, "cancelled");
  return {};
}

}  // namespace davit::image
