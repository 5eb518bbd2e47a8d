// Small text helpers that the standard library lacks. Any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace davit {

// Pieces between separators; "" gives one empty piece.
std::vector<std::string_view> split(std::string_view text, char separator);

std::string_view trim(std::string_view text);

// The whole of text as a decimal number; nothing else accepted (no sign for the unsigned one, no spaces, no overflow).
std::optional<std::uint64_t> parse_u64(std::string_view text);
std::optional<std::int64_t> parse_i64(std::string_view text);

// "2026-11-21T19:57:22.123456789Z" (RFC 3339, UTC), from nanoseconds since 1970.
std::string rfc3339_nanos(std::int64_t unix_nanos);

// Lower-case hex of bytes.
std::string hex(std::string_view bytes);

// The name nearest to word by edit distance (at most a third of its length away), for "did you mean".
std::optional<std::string_view> nearest(std::string_view word, std::vector<std::string_view> const& names);

}  // namespace davit
