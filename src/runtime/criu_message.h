// The bytes of CRIU's service protocol: protocol buffers (protobuf.dev/programming-guides/encoding), of which it uses
// varints, strings and nested messages. Any thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace davit::runtime {

// Fields are appended in the order of the calls; a repeated field is written once per element.
class CriuMessage {
 public:
  CriuMessage& number(unsigned field, std::uint64_t value);
  // Left out when false, which is every switch's default.
  CriuMessage& flag(unsigned field, bool on) { return on ? number(field, 1) : *this; }
  CriuMessage& text(unsigned field, std::string_view value);
  CriuMessage& message(unsigned field, CriuMessage const& value) { return text(field, value.bytes_); }
  std::string const& bytes() const { return bytes_; }

 private:
  void varint(std::uint64_t value);
  std::string bytes_;
};

struct CriuField {
  unsigned field = 0;
  std::uint64_t number = 0;  // of a varint
  std::string_view bytes;    // of a string or message; borrows the text parsed
};
// kInvalidArgument for bytes that are no message.
Result<std::vector<CriuField>> parse_criu_message(std::string_view bytes);

}  // namespace davit::runtime
