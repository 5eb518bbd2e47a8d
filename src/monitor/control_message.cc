#include "monitor/control_message.h"

namespace davit::monitor {

namespace {
void append_le(std::string& out, std::uint32_t value, int size) {
  for (int i = 0; i < size; ++i) out += static_cast<char>(static_cast<unsigned char>(value >> (8 * i)));
}

std::uint32_t load_le(std::string_view bytes) {
  std::uint32_t value = 0;
  for (std::size_t i = bytes.size(); i > 0; --i) value = value << 8 | static_cast<unsigned char>(bytes[i - 1]);
  return value;
}

Error malformed(std::string_view what) {
  return Error(Errc::kInvalidArgument, "control message: " + std::string(what));
}
}  // namespace

Result<ControlMessage> ControlMessage::parse(std::string_view packet) {
  if (packet.size() < kControlHeaderSize) return malformed("shorter than its header");
  if (packet.size() > kMaxControlMessage) return malformed("longer than 64 KiB");
  if (static_cast<unsigned char>(packet[0]) != kControlVersion) return malformed("unknown version");
  if (packet[2] != 0 || packet[3] != 0) return malformed("reserved bytes are not zero");
  ControlMessage message;
  message.type = static_cast<unsigned char>(packet[1]);
  message.id = load_le(packet.substr(4, 4));
  for (packet.remove_prefix(kControlHeaderSize); !packet.empty();) {
    if (packet.size() < 4) return malformed("cut within a field");
    std::size_t const size = load_le(packet.substr(2, 2));
    if (packet[1] != 0) return malformed("reserved byte of a field is not zero");
    if (packet.size() - 4 < size) return malformed("a field is longer than the message");
    auto const tag = static_cast<Tag>(packet[0]);
    if (message.has(tag)) return malformed("a field occurs twice");
    message.fields.push_back({tag, packet.substr(4, size)});
    packet.remove_prefix(4 + size);
  }
  return message;
}

std::optional<std::string_view> ControlMessage::text(Tag tag) const {
  for (Field const& field : fields) {
    if (field.tag == tag) return field.value;
  }
  return std::nullopt;
}

Result<std::uint32_t> ControlMessage::number(Tag tag, std::uint32_t fallback) const {
  std::optional<std::string_view> const value = text(tag);
  if (!value) return fallback;
  if (value->size() != 4) return malformed("field " + std::to_string(static_cast<int>(tag)) + " is not a number");
  return load_le(*value);
}

ControlWriter::ControlWriter(std::uint8_t type, std::uint32_t id) {
  packet_ += static_cast<char>(kControlVersion);
  packet_ += static_cast<char>(type);
  append_le(packet_, 0, 2);
  append_le(packet_, id, 4);
}

bool ControlWriter::add(Tag tag, std::string_view value) {
  if (packet_.size() + 4 + value.size() > kMaxControlMessage) return false;
  packet_ += static_cast<char>(tag);
  packet_ += '\0';
  append_le(packet_, static_cast<std::uint32_t>(value.size()), 2);
  packet_ += value;
  return true;
}

bool ControlWriter::add_number(Tag tag, std::uint32_t value) {
  std::string bytes;
  append_le(bytes, value, 4);
  return add(tag, bytes);
}

std::string error_reply(std::uint8_t type, std::uint32_t id, Error const& error) {
  ControlWriter reply(static_cast<std::uint8_t>(type | kReplyBit), id);
  reply.add(Tag::kStatus, std::string(1, static_cast<char>(static_cast<int>(error.code()) + 1)));
  reply.add(Tag::kMessage, std::string_view(error.to_string()).substr(0, 4096));
  return reply.packet();
}

}  // namespace davit::monitor
