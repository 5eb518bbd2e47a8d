#include "oci/digest.h"

#include <fmt/format.h>

#include <algorithm>

namespace davit::oci {

namespace {

bool is_lower_hex(std::string_view text) {
  return std::ranges::all_of(text, [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

// Of outside text, for an error message: no control characters, no more than a line.
std::string shown(std::string_view text) {
  std::string out(text.substr(0, 80));
  for (char& c : out) {
    if (c >= 0 && c < ' ') c = '?';
  }
  return text.size() > 80 ? out + "..." : out;
}

Error invalid(std::string_view why, std::string_view text) {
  return Error(Errc::kInvalidArgument, fmt::format("{}: \"{}\"", why, shown(text)));
}

}  // namespace

Result<Digest> Digest::parse(std::string_view text) {
  std::size_t const colon = text.find(':');
  if (colon == std::string_view::npos || colon == 0) {
    return invalid("invalid checksum digest format (expected sha256: and 64 hex digits)", text);
  }
  std::string_view const algorithm = text.substr(0, colon);
  std::string_view const digits = text.substr(colon + 1);
  std::size_t const expected = algorithm == "sha256" ? 64 : algorithm == "sha512" ? 128 : 0;
  if (expected == 0) return invalid("unsupported digest algorithm (sha256 and sha512 are known)", text);
  if (digits.size() != expected) {
    return invalid(fmt::format("invalid checksum digest length ({} has {} hex digits, not {})", algorithm, expected,
                               digits.size()),
                   text);
  }
  if (!is_lower_hex(digits)) return invalid("invalid checksum digest format (lower-case hex digits expected)", text);
  return Digest(std::string(text));
}

Digest Digest::sha256(std::string_view hex) {
  DAVIT_CHECK(hex.size() == 64 && is_lower_hex(hex));
  return Digest("sha256:" + std::string(hex));
}

}  // namespace davit::oci
