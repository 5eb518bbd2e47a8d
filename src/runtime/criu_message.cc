#include "runtime/criu_message.h"

#include <optional>

namespace davit::runtime {

namespace {

// The low three bits of a field's key say how it is encoded, the others are its number.
enum WireType : std::uint64_t { kVarint = 0, kFixed64 = 1, kLengthPrefixed = 2, kFixed32 = 5 };

std::optional<std::uint64_t> take_varint(std::string_view& rest) {
  std::uint64_t value = 0;
  for (unsigned shift = 0; shift < 64; shift += 7) {
    if (rest.empty()) return std::nullopt;
    auto const byte = static_cast<unsigned char>(rest.front());
    rest.remove_prefix(1);
    value |= static_cast<std::uint64_t>(byte & 0x7fU) << shift;
    if ((byte & 0x80U) == 0) return value;
  }
  return std::nullopt;
}

std::optional<std::string_view> take_bytes(std::string_view& rest, std::uint64_t size) {
  if (size > rest.size()) return std::nullopt;
  std::string_view const bytes = rest.substr(0, static_cast<std::size_t>(size));
  rest.remove_prefix(bytes.size());
  return bytes;
}

std::optional<CriuField> take_field(std::string_view& rest) {
  auto const key = take_varint(rest);
  if (!key || (*key >> 3) == 0 || (*key >> 3) > 0x1fffffffU) return std::nullopt;
  CriuField out;
  out.field = static_cast<unsigned>(*key >> 3);
  std::optional<std::uint64_t> number;
  std::optional<std::string_view> bytes;
  switch (*key & 7U) {
    case kVarint:
      number = take_varint(rest);
      if (!number) return std::nullopt;
      out.number = *number;
      return out;
    case kFixed64:
      bytes = take_bytes(rest, 8);
      break;
    case kFixed32:
      bytes = take_bytes(rest, 4);
      break;
    case kLengthPrefixed:
      number = take_varint(rest);
      if (number) bytes = take_bytes(rest, *number);
      break;
    default:
      return std::nullopt;
  }
  if (!bytes) return std::nullopt;
  out.bytes = *bytes;
  return out;
}

}  // namespace

void CriuMessage::varint(std::uint64_t value) {
  for (; value >= 0x80U; value >>= 7) bytes_ += static_cast<char>((value & 0x7fU) | 0x80U);
  bytes_ += static_cast<char>(value);
}

CriuMessage& CriuMessage::number(unsigned field, std::uint64_t value) {
  varint((static_cast<std::uint64_t>(field) << 3) | kVarint);
  varint(value);
  return *this;
}

CriuMessage& CriuMessage::text(unsigned field, std::string_view value) {
  varint((static_cast<std::uint64_t>(field) << 3) | kLengthPrefixed);
  varint(value.size());
  bytes_ += value;
  return *this;
}

Result<std::vector<CriuField>> parse_criu_message(std::string_view bytes) {
  std::vector<CriuField> fields;
  while (!bytes.empty()) {
    auto const field = take_field(bytes);
    if (!field) return Error(Errc::kInvalidArgument, "criu's answer is malformed");
    fields.push_back(*field);
  }
  return fields;
}

}  // namespace davit::runtime
