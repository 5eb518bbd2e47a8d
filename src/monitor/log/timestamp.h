// RFC 3339 times with nanoseconds, UTC. No allocation. Any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace davit::monitor::log {

enum class Fraction {
  kFixed,    // nine digits, as CRI logs have
  kShortest  // without trailing zeros, as Go's RFC3339Nano and so Docker's json-file
};

class TimeText {
 public:
  TimeText(std::int64_t unix_nanos, Fraction fraction);
  std::string_view view() const { return {text_, size_}; }

 private:
  char text_[40];
  std::size_t size_ = 0;
};

// The whole text, with "Z" or a "+hh:mm" offset; nullopt where it is anything else or outside of 1970 to 2261.
std::optional<std::int64_t> parse_time(std::string_view text);

}  // namespace davit::monitor::log
