// Loop: a single-threaded reactor over epoll(7): descriptors (pidfds and signalfds among them) and timers. Everything
// runs on the thread that calls run(); handlers must not block. A handler may add, change and drop any watch or timer,
// its own included.
#pragma once

#include <sys/epoll.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"

namespace davit::loop {

class Loop;

// Registration of one descriptor; dropping it ends the registration. The descriptor stays its owner's, and must stay
// open for longer than this.
class [[nodiscard]] Watch {
 public:
  Watch() = default;
  Watch(Watch&& other) noexcept;
  Watch& operator=(Watch&& other) noexcept;
  ~Watch() { reset(); }

  bool active() const { return loop_ != nullptr; }
  // EPOLLIN, EPOLLOUT, EPOLLRDHUP; 0 still reports EPOLLERR and EPOLLHUP. Nothing happens when they stay the same.
  void set_events(std::uint32_t events);
  void reset();

 private:
  friend class Loop;
  Watch(Loop* loop, int fd) : loop_(loop), fd_(fd) {}
  Loop* loop_ = nullptr;
  int fd_ = -1;
};

// One-shot. Dropping it cancels.
class [[nodiscard]] Timer {
 public:
  Timer() = default;
  Timer(Timer&& other) noexcept;
  Timer& operator=(Timer&& other) noexcept;
  ~Timer() { reset(); }

  // Until it has fired or was cancelled.
  bool active() const;
  void reset();

 private:
  friend class Loop;
  Timer(Loop* loop, std::uint64_t id) : loop_(loop), id_(id) {}
  Loop* loop_ = nullptr;
  std::uint64_t id_ = 0;
};

class Loop {
 public:
  using Handler = std::function<void(std::uint32_t events)>;

  // On the heap because watches and timers point to it; it must outlive them.
  static Result<std::unique_ptr<Loop>> create();

  // Level-triggered. fd must not be watched already.
  Result<Watch> watch(int fd, std::uint32_t events, Handler handler);
  Timer after(std::chrono::nanoseconds delay, std::function<void()> action);

  // Until stop(). An error is one of epoll_wait(2) itself.
  Result<void> run();
  void stop() { stopping_ = true; }
  // Handles what is ready, waiting at most timeout for the first (tests and embedding).
  Result<void> run_once(std::chrono::milliseconds timeout);

 private:
  friend class Watch;
  friend class Timer;

  // generation tells an event of a closed and reused descriptor number from one of its successor.
  struct Slot {
    std::uint32_t generation = 0;
    std::uint32_t events = 0;
    std::shared_ptr<Handler> handler;
  };
  struct PendingTimer {
    std::uint64_t id;
    std::int64_t due_nanos;
    std::function<void()> action;
  };

  explicit Loop(UniqueFd epoll) : epoll_(std::move(epoll)) {}
  void unwatch(int fd);
  void change(int fd, std::uint32_t events);
  void cancel(std::uint64_t id);
  int wait_milliseconds(int at_most) const;
  void fire_timers();

  UniqueFd epoll_;
  std::vector<Slot> slots_;           // by descriptor number
  std::vector<PendingTimer> timers_;  // few: a heap would cost more than it saves
  std::uint64_t next_timer_ = 1;
  bool stopping_ = false;
};

}  // namespace davit::loop
