// Guarded<T>: a value that is reached only with its lock held (STYLE R14). Any thread. Never call out while holding it.
#pragma once

#include <mutex>
#include <utility>

namespace davit {

template <typename T>
class Guarded {
 public:
  Guarded() = default;
  explicit Guarded(T value) : value_(std::move(value)) {}

  // Runs use(T&) with the lock held and returns what it returns, which must not refer into T.
  template <typename Use>
  auto with(Use&& use) {
    std::lock_guard const lock(mutex_);
    return std::forward<Use>(use)(value_);
  }
  template <typename Use>
  auto with(Use&& use) const {
    std::lock_guard const lock(mutex_);
    return std::forward<Use>(use)(value_);
  }

 private:
  mutable std::mutex mutex_;
  T value_{};  // zero, too, for a number
};

}  // namespace davit
