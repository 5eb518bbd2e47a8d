// A blob fetched by several connections at once, where that is faster: windows of it fill buffers side by side and are
// given out in order. One thread at a time calls it; it has threads of its own.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string_view>
#include <thread>
#include <vector>

#include "base/result.h"
#include "codec/stream.h"
#include "registry/blob_source.h"

namespace davit::registry {

inline constexpr std::uint64_t kWindowBytes = std::uint64_t{2} << 20;

// Bytes plan.begin..plan.end by `connections` threads, each with one buffer of `window` bytes: that much memory, no
// more.
class WindowsSource : public codec::Source {
 public:
  WindowsSource(OpenRange open, BlobSource::Plan plan, unsigned connections, std::uint64_t window = kWindowBytes);
  ~WindowsSource() override;
  Result<std::string_view> next() override;

 private:
  // A buffer and the window in it. Its thread fills it; next() empties it, then the thread takes its next window.
  struct Slot {
    std::unique_ptr<char[]> bytes;
    std::uint64_t size = 0, filled = 0, taken = 0;
    bool free = true;
    std::optional<Error> error;
  };
  Slot& slot_at(std::uint64_t position) { return slots_[((position - plan_.begin) / window_) % slots_.size()]; }
  void release_lent(Slot& slot);
  void fetch_all(std::size_t slot_index, std::stop_token const& stop);
  Result<void> fetch(Slot& slot, std::uint64_t begin, std::uint64_t end, std::stop_token const& stop);

  OpenRange const open_;
  BlobSource::Plan const plan_;
  std::uint64_t const window_;
  std::mutex mutex_;
  std::condition_variable_any changed_;
  std::vector<Slot> slots_;
  std::uint64_t position_;
  std::uint64_t lent_ = 0;  // bytes of the current slot that the last next() gave out
  std::stop_source stop_;
  std::stop_callback<std::function<void()>> chained_;  // the caller's stop stops the threads
  std::vector<std::jthread> threads_;                  // last: they end before what they use
};

// Begins with one connection. When the first window shows that the network is what limits it, the rest comes by
// WindowsSource: over a long way one connection reaches only a part of what the network has, while on a fast one more
// connections only cost copies.
class AdaptiveSource : public codec::Source {
 public:
  enum class Choice { kMeasure, kAlwaysParallel };
  AdaptiveSource(OpenRange open, BlobSource::Plan plan, unsigned connections, Choice choice = Choice::kMeasure,
                 std::uint64_t window = kWindowBytes);
  Result<void> start() { return first_->start(); }
  Result<std::string_view> next() override;

 private:
  bool network_limits() const;
  void go_on();

  OpenRange open_;
  BlobSource::Plan plan_;
  unsigned connections_;
  Choice choice_;
  std::uint64_t window_;
  std::unique_ptr<BlobSource> first_;
  std::unique_ptr<codec::Source> rest_;
  std::chrono::steady_clock::time_point begin_{};  // of the first next()
  std::chrono::nanoseconds waited_{};              // inside the connection's next()
};

}  // namespace davit::registry
