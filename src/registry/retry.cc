#include "registry/retry.h"

#include <algorithm>
#include <array>
#include <condition_variable>
#include <mutex>

#include "base/text.h"
#include "sys/polling.h"

namespace davit::registry {

namespace {

// "Sun, 06 Nov 1994 08:49:37 GMT", the one form that servers may still generate.
std::optional<std::int64_t> parse_http_date(std::string_view text) {
  constexpr std::array<std::string_view, 12> kMonths = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                                        "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
  std::vector<std::string_view> const parts = split(text, ' ');
  if (parts.size() != 6 || parts[5] != "GMT") return std::nullopt;
  auto const month = std::ranges::find(kMonths, parts[2]);
  auto const day = parse_u64(parts[1]), year = parse_u64(parts[3]);
  std::vector<std::string_view> const clock = split(parts[4], ':');
  if (month == kMonths.end() || !day || !year || *year > 9999 || *day > 31 || clock.size() != 3) return std::nullopt;
  auto const hour = parse_u64(clock[0]), minute = parse_u64(clock[1]), second = parse_u64(clock[2]);
  if (!hour || !minute || !second || *hour > 23 || *minute > 59 || *second > 60) return std::nullopt;
  std::chrono::year_month_day const date{std::chrono::year(static_cast<int>(*year)),
                                         std::chrono::month(static_cast<unsigned>(month - kMonths.begin()) + 1),
                                         std::chrono::day(static_cast<unsigned>(*day))};
  if (!date.ok()) return std::nullopt;
  std::int64_t const days = std::chrono::sys_days(date).time_since_epoch().count();
  return days * 86400 + static_cast<std::int64_t>(*hour * 3600 + *minute * 60 + *second);
}

}  // namespace

bool is_transient(int status) {
  return status == 408 || status == 429 || status == 500 || status == 502 || status == 503 || status == 504;
}

std::optional<std::chrono::milliseconds> parse_retry_after(std::string_view value, std::int64_t now_unix_seconds) {
  value = trim(value);
  std::int64_t seconds = 0;
  if (auto const number = parse_u64(value)) {
    seconds = static_cast<std::int64_t>(std::min<std::uint64_t>(*number, 3600));
  } else if (auto const date = parse_http_date(value)) {
    seconds = *date - now_unix_seconds;
  } else {
    return std::nullopt;
  }
  return std::min<std::chrono::milliseconds>(std::chrono::seconds(std::clamp<std::int64_t>(seconds, 0, 3600)),
                                             kMaxWait);
}

std::chrono::milliseconds backoff_delay(RetryPolicy const& policy, unsigned failures, std::uint64_t jitter) {
  auto delay = policy.backoff;
  for (unsigned i = 1; i < failures && delay < kMaxWait; ++i) delay *= 2;
  delay = std::min(delay, kMaxWait);
  return delay / 2 + delay * static_cast<long>(jitter % 1024) / 1024;
}

Error cancelled() { return Error(Errc::kCancelled, "cancelled"); }

Result<void> pause(std::chrono::milliseconds time, std::stop_token const& stop) {
  std::mutex mutex;
  std::condition_variable_any changed;
  std::unique_lock lock(mutex);
  changed.wait_for(lock, stop, time, [] { return false; });
  if (stop.stop_requested()) return cancelled();
  return {};
}

Result<void> back_off(RetryPolicy const& policy, unsigned failures, std::stop_token const& stop) {
  return pause(backoff_delay(policy, failures, static_cast<std::uint64_t>(sys::monotonic_nanos() >> 4)), stop);
}

}  // namespace davit::registry
