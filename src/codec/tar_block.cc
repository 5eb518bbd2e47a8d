#include "codec/tar_block.h"

#include <algorithm>
#include <array>
#include <cstring>

namespace davit::codec::tar {

namespace {
// Two's complement, big endian; the first byte's top bit is the mark, the next one the sign.
std::optional<std::int64_t> base256(std::string_view field) {
  auto const first = static_cast<unsigned char>(field[0]);
  bool const negative = (first & 0x40) != 0;
  std::uint64_t value = negative ? ~std::uint64_t{0} : 0;
  for (std::size_t i = 0; i < field.size(); ++i) {
    auto byte = static_cast<unsigned char>(field[i]);
    if (i == 0) byte = static_cast<unsigned char>(negative ? byte | 0x80 : byte & 0x7f);
    // What is shifted out must be the sign and nothing else.
    if ((value >> 55) != (negative ? 0x1ff : 0)) return std::nullopt;
    value = value << 8 | byte;
  }
  auto const result = static_cast<std::int64_t>(value);
  return (result < 0) == negative ? std::optional(result) : std::nullopt;
}
}  // namespace

bool Block::is_zero() const {
  std::uint64_t any = 0;
  for (std::size_t i = 0; i < kBlockSize; i += sizeof any) {
    std::uint64_t word;
    std::memcpy(&word, bytes_ + i, sizeof word);
    any |= word;
    if (i == 0 && any != 0) return false;  // a header's name: almost every block that is asked
  }
  return any == 0;
}

std::uint32_t unsigned_checksum(char const* block) {
  std::uint32_t sum = 0;
  for (std::size_t i = 0; i < kBlockSize; ++i) sum += static_cast<unsigned char>(block[i]);
  for (std::size_t i = 0; i < kChecksum.size; ++i) sum -= static_cast<unsigned char>(block[kChecksum.offset + i]);
  return sum + ' ' * static_cast<std::uint32_t>(kChecksum.size);
}

bool Block::checksum_matches() const {
  std::optional<std::int64_t> const written = number(kChecksum);
  if (!written) return false;
  std::int64_t const sum = unsigned_checksum(bytes_);
  if (sum == *written) return true;
  std::int64_t high_bytes = 0;
  for (std::size_t i = 0; i < kBlockSize; ++i) {
    bool const in_checksum = i >= kChecksum.offset && i < kChecksum.offset + kChecksum.size;
    if (!in_checksum && static_cast<unsigned char>(bytes_[i]) >= 0x80) ++high_bytes;
  }
  return sum - high_bytes * 256 == *written;
}

Dialect Block::dialect() const {
  std::string_view const magic = field(kMagic);
  if (magic == std::string_view("ustar  \0", 8)) return Dialect::kGnu;
  if (!magic.starts_with(std::string_view("ustar\0", 6))) return Dialect::kV7;
  return field({508, 4}) == std::string_view("tar\0", 4) ? Dialect::kStar : Dialect::kUstar;
}

std::string_view Block::text(FieldPlace place) const {
  std::string_view const whole = field(place);
  void const* const end = std::memchr(whole.data(), 0, whole.size());
  if (end == nullptr) return whole;
  return whole.substr(0, static_cast<std::size_t>(static_cast<char const*>(end) - whole.data()));
}

std::optional<std::int64_t> Block::number(FieldPlace place) const {
  std::string_view digits = field(place);
  if ((static_cast<unsigned char>(digits[0]) & 0x80) != 0) return base256(digits);
  while (!digits.empty() && (digits.front() == ' ' || digits.front() == '\0')) digits.remove_prefix(1);
  std::int64_t value = 0;
  for (char const digit : digits) {
    if (digit == ' ' || digit == '\0') break;
    if (digit < '0' || digit > '7') return std::nullopt;
    value = value * 8 + (digit - '0');  // 12 digits are 36 bits
  }
  return value;
}

}  // namespace davit::codec::tar
