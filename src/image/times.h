// Times and durations as images, Docker's filters and Dockerfiles write them. Any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace davit::image {

// RFC 3339 with any offset and fraction to nanoseconds since 1970; 0 for "" and for what is not a time (old images hold
// such), or one outside the years 1900 to 2261 (Go's zero time).
std::int64_t parse_time_ns(std::string_view text);

// Go's durations: "1h30m", "1.5s", "-10ms", "0". nullopt when it is none or does not fit 64 bits.
std::optional<std::int64_t> parse_duration_ns(std::string_view text);

// What Docker's `until` takes: a duration before now, a time whose end may be left out ("2026-01-02", "2026-01-02T15",
// "...T15:04", "...T15:04:05", with or without a zone, UTC without), or seconds since 1970 with or without a fraction.
std::optional<std::int64_t> parse_moment_ns(std::string_view text, std::int64_t now_ns);

}  // namespace davit::image
