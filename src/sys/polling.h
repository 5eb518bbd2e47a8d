// epoll(7), signalfd(2), eventfd(2), and clocks. Close-on-exec always. Any thread. (Not named epoll.h: with src/ on the
// include path that would hide the system's own header.)
#pragma once

#include <signal.h>
#include <sys/epoll.h>

#include <cstdint>
#include <span>
#include <string>

#include "base/result.h"
#include "base/unique_fd.h"

namespace davit::sys {

Result<UniqueFd> epoll_create();
// operation: EPOLL_CTL_ADD, _MOD, _DEL
Result<void> epoll_control(int epoll, int operation, int fd, std::uint32_t events, std::uint64_t data);
// Events filled in; 0 after timeout_ms (-1: none) or when a signal arrived.
Result<std::size_t> epoll_wait(int epoll, std::span<epoll_event> out, int timeout_ms);

// Blocks the signals for the calling thread and returns a non-blocking descriptor that reports them.
Result<UniqueFd> signal_fd(sigset_t const& signals);
// The next signal's number, 0 when there is none.
Result<int> read_signal(int signal_fd);

// Non-blocking.
Result<UniqueFd> event_fd();
// A non-blocking inotify(7) descriptor that is readable after path was modified.
Result<UniqueFd> watch_file(std::string const& path);

std::int64_t realtime_nanos();
std::int64_t monotonic_nanos();

}  // namespace davit::sys
