#include "codec/base64.h"

#include <fmt/format.h>

#include <array>
#include <cstdint>

namespace davit::codec {
namespace {

constexpr std::string_view kStandard = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
constexpr std::string_view kUrl = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
constexpr std::uint8_t kInvalid = 0xff;

// The value of each digit of both alphabets.
constexpr std::array<std::uint8_t, 256> kValues = [] {
  std::array<std::uint8_t, 256> values;
  values.fill(kInvalid);
  for (std::size_t i = 0; i < 64; ++i) {
    values[static_cast<unsigned char>(kStandard[i])] = static_cast<std::uint8_t>(i);
    values[static_cast<unsigned char>(kUrl[i])] = static_cast<std::uint8_t>(i);
  }
  return values;
}();

std::string encode(std::string_view bytes, std::string_view digits) {
  std::string text;
  text.reserve((bytes.size() + 2) / 3 * 4);
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    std::string_view const group = bytes.substr(i, 3);
    std::uint32_t bits = 0;
    for (std::size_t k = 0; k < 3; ++k) {
      bits = bits << 8 | (k < group.size() ? static_cast<unsigned char>(group[k]) : 0u);
    }
    for (std::size_t k = 0; k < 4; ++k) text += k <= group.size() ? digits[bits >> (18 - 6 * k) & 63] : '=';
  }
  return text;
}

}  // namespace

std::string base64_encode(std::string_view bytes) { return encode(bytes, kStandard); }
std::string base64url_encode(std::string_view bytes) { return encode(bytes, kUrl); }

Result<std::string> base64_decode(std::string_view text) {
  std::string_view digits = text;
  while (text.size() - digits.size() < 2 && digits.ends_with('=')) digits.remove_suffix(1);
  bool const padded = digits.size() < text.size();
  if (digits.size() % 4 == 1 || (padded && text.size() % 4 != 0)) {
    return Error(Errc::kInvalidArgument, "base64 text of a wrong length");
  }
  std::string bytes;
  bytes.reserve(digits.size() / 4 * 3 + 2);
  std::uint32_t bits = 0;
  unsigned count = 0;
  for (std::size_t i = 0; i < digits.size(); ++i) {
    std::uint8_t const value = kValues[static_cast<unsigned char>(digits[i])];
    if (value == kInvalid) return Error(Errc::kInvalidArgument, fmt::format("not a base64 digit at offset {}", i));
    bits = bits << 6 | value;
    count += 6;
    if (count < 8) continue;
    count -= 8;
    bytes += static_cast<char>(bits >> count & 0xff);
  }
  return bytes;
}

}  // namespace davit::codec
