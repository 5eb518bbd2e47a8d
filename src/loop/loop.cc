#include "loop/loop.h"

#include <algorithm>
#include <array>
#include <limits>
#include <utility>

#include "sys/polling.h"

namespace davit::loop {

namespace {
std::uint64_t event_key(std::uint32_t generation, int fd) {
  return std::uint64_t{generation} << 32 | static_cast<std::uint32_t>(fd);
}
}  // namespace

Watch::Watch(Watch&& other) noexcept : loop_(std::exchange(other.loop_, nullptr)), fd_(other.fd_) {}

Watch& Watch::operator=(Watch&& other) noexcept {
  if (this != &other) {
    reset();
    loop_ = std::exchange(other.loop_, nullptr);
    fd_ = other.fd_;
  }
  return *this;
}

void Watch::set_events(std::uint32_t events) {
  if (loop_ != nullptr) loop_->change(fd_, events);
}

void Watch::reset() {
  if (Loop* const loop = std::exchange(loop_, nullptr)) loop->unwatch(fd_);
}

Timer::Timer(Timer&& other) noexcept : loop_(std::exchange(other.loop_, nullptr)), id_(other.id_) {}

Timer& Timer::operator=(Timer&& other) noexcept {
  if (this != &other) {
    reset();
    loop_ = std::exchange(other.loop_, nullptr);
    id_ = other.id_;
  }
  return *this;
}

bool Timer::active() const {
  if (loop_ == nullptr) return false;
  return std::any_of(loop_->timers_.begin(), loop_->timers_.end(), [&](auto const& timer) { return timer.id == id_; });
}

void Timer::reset() {
  if (Loop* const loop = std::exchange(loop_, nullptr)) loop->cancel(id_);
}

Result<std::unique_ptr<Loop>> Loop::create() {
  UniqueFd epoll = TRY(sys::epoll_create());
  return std::unique_ptr<Loop>(new Loop(std::move(epoll)));
}

Result<Watch> Loop::watch(int fd, std::uint32_t events, Handler handler) {
  DAVIT_CHECK(fd >= 0);
  auto const index = static_cast<std::size_t>(fd);
  if (index >= slots_.size()) slots_.resize(index + 1);
  Slot& slot = slots_[index];
  DAVIT_CHECK(slot.handler == nullptr);
  TRY(sys::epoll_control(epoll_.get(), EPOLL_CTL_ADD, fd, events, event_key(slot.generation + 1, fd)));
  ++slot.generation;
  slot.events = events;
  slot.handler = std::make_shared<Handler>(std::move(handler));
  return Watch(this, fd);
}

void Loop::unwatch(int fd) {
  Slot& slot = slots_[static_cast<std::size_t>(fd)];
  slot.handler.reset();
  ++slot.generation;
  // Fails only where the descriptor was closed before its watch, and then the kernel has forgotten it already.
  (void)sys::epoll_control(epoll_.get(), EPOLL_CTL_DEL, fd, 0, 0);
}

void Loop::change(int fd, std::uint32_t events) {
  Slot& slot = slots_[static_cast<std::size_t>(fd)];
  if (slot.events == events) return;
  slot.events = events;
  (void)sys::epoll_control(epoll_.get(), EPOLL_CTL_MOD, fd, events, event_key(slot.generation, fd));
}

Timer Loop::after(std::chrono::nanoseconds delay, std::function<void()> action) {
  std::uint64_t const id = next_timer_++;
  timers_.push_back({id, sys::monotonic_nanos() + delay.count(), std::move(action)});
  return Timer(this, id);
}

void Loop::cancel(std::uint64_t id) {
  std::erase_if(timers_, [&](PendingTimer const& timer) { return timer.id == id; });
}

int Loop::wait_milliseconds(int at_most) const {
  if (timers_.empty()) return at_most;
  auto const first = std::min_element(timers_.begin(), timers_.end(),
                                      [](auto const& a, auto const& b) { return a.due_nanos < b.due_nanos; });
  // Rounded up: waking a little late is fine, waking early would spin.
  std::int64_t const left =
      std::max<std::int64_t>(0, (first->due_nanos - sys::monotonic_nanos() + 999'999) / 1'000'000);
  int const wait = static_cast<int>(std::min<std::int64_t>(left, std::numeric_limits<int>::max()));
  return at_most < 0 ? wait : std::min(wait, at_most);
}

void Loop::fire_timers() {
  if (timers_.empty()) return;
  std::int64_t const now = sys::monotonic_nanos();
  // A timer added by an action waits for the next round, so a chain of zero delays cannot starve the descriptors.
  std::uint64_t const newest = next_timer_;
  for (;;) {
    auto due = timers_.end();
    for (auto timer = timers_.begin(); timer != timers_.end(); ++timer) {
      if (timer->due_nanos > now || timer->id >= newest) continue;
      if (due == timers_.end() || timer->due_nanos < due->due_nanos) due = timer;
    }
    if (due == timers_.end()) return;
    auto const action = std::move(due->action);
    timers_.erase(due);
    action();
  }
}

Result<void> Loop::run_once(std::chrono::milliseconds timeout) {
  std::array<epoll_event, 32> events;
  std::size_t const count =
      TRY(sys::epoll_wait(epoll_.get(), events, wait_milliseconds(static_cast<int>(timeout.count()))));
  for (std::size_t i = 0; i < count; ++i) {
    auto const fd = static_cast<std::size_t>(static_cast<std::uint32_t>(events[i].data.u64));
    auto const generation = static_cast<std::uint32_t>(events[i].data.u64 >> 32);
    if (slots_[fd].generation != generation) continue;
    // Held here: the handler may drop its own watch.
    std::shared_ptr<Handler> const handler = slots_[fd].handler;
    (*handler)(events[i].events);
  }
  fire_timers();
  return {};
}

Result<void> Loop::run() {
  while (!stopping_) TRY(run_once(std::chrono::milliseconds(-1)));
  return {};
}

}  // namespace davit::loop
