// When and how long to wait before a request is repeated. Any thread.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <stop_token>
#include <string_view>

#include "base/result.h"

namespace davit::registry {

inline constexpr std::chrono::milliseconds kMaxWait{60000};

struct RetryPolicy {
  unsigned attempts = 5;
  std::chrono::milliseconds backoff{250};  // before the second attempt; doubled from there, at most kMaxWait
};

// Worth another try of the same request: 408, 429 and what a server or its proxy says while it is away.
bool is_transient(int status);

// Retry-After (RFC 9110 section 10.2.3): seconds or an HTTP date. nullopt: neither. Never negative, at most kMaxWait.
std::optional<std::chrono::milliseconds> parse_retry_after(std::string_view value, std::int64_t now_unix_seconds);

// failures: how many attempts have failed, at least 1. jitter: any number; the delay is moved by it between half and
// one and a half, so that many clients do not come back at once.
std::chrono::milliseconds backoff_delay(RetryPolicy const& policy, unsigned failures, std::uint64_t jitter);

// kCancelled as soon as stop says so.
Result<void> pause(std::chrono::milliseconds time, std::stop_token const& stop);
// backoff_delay with a jitter from the clock, then pause.
Result<void> back_off(RetryPolicy const& policy, unsigned failures, std::stop_token const& stop);

Error cancelled();

}  // namespace davit::registry
