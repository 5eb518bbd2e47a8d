#include "wire/wait.h"

#include <algorithm>
#include <vector>

#include "sys/polling.h"
#include "sys/tcp_socket.h"

namespace davit::wire {

Result<void> Waiter::check() const {
  if (stop_.stop_requested()) return Error(Errc::kCancelled, "cancelled");
  return {};
}

Result<bool> Waiter::wait(std::span<pollfd const> fds, Deadline deadline) {
  if (!event_ && stop_.stop_possible()) {
    event_ = TRY(sys::event_fd());
    int const event = event_.get();
    callback_.emplace(stop_, std::function<void()>([event] { sys::signal_event(event); }));
  }
  std::vector<pollfd> all(fds.begin(), fds.end());
  if (event_) all.push_back({event_.get(), POLLIN, 0});
  for (;;) {
    TRY(check());
    auto const left = std::chrono::ceil<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now());
    constexpr long kLongest = 3'600'000;
    int const timeout = static_cast<int>(std::clamp<long>(left.count(), 0, kLongest));
    std::size_t const count = TRY(sys::poll(all, timeout));
    TRY(check());
    if (count > 0) return true;
    if (std::chrono::steady_clock::now() >= deadline) return false;
  }
}

Result<bool> Waiter::wait(int fd, short events, Deadline deadline) {
  pollfd const one{fd, events, 0};
  return wait(std::span<pollfd const>(&one, 1), deadline);
}

}  // namespace davit::wire
