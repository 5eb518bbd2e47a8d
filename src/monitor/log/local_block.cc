#include "monitor/log/local_block.h"

#include <zlib.h>

namespace davit::monitor::log {

namespace {
std::uint32_t checksum(std::string_view bytes) {
  return static_cast<std::uint32_t>(::crc32_z(0, reinterpret_cast<unsigned char const*>(bytes.data()), bytes.size()));
}

char* put_le(char* out, std::uint64_t value, int size) {
  for (int i = 0; i < size; ++i) out[i] = static_cast<char>(static_cast<unsigned char>(value >> (8 * i)));
  return out + size;
}

std::uint64_t load_le(char const* bytes, int size) {
  std::uint64_t value = 0;
  for (int i = size - 1; i >= 0; --i) value = value << 8 | static_cast<unsigned char>(bytes[i]);
  return value;
}
}  // namespace

std::uint32_t load_le32(char const* bytes) { return static_cast<std::uint32_t>(load_le(bytes, 4)); }

std::optional<LocalHeader> parse_local_header(std::string_view bytes) {
  if (bytes.size() < kLocalHeaderSize) return std::nullopt;
  LocalHeader header;
  header.payload_size = load_le32(bytes.data());
  if (header.payload_size == 0 || header.payload_size > kMaxLocalPayload) return std::nullopt;
  if (bytes[4] != 1 && bytes[4] != 2) return std::nullopt;
  if ((bytes[5] & ~kLocalUnfinished) != 0 || bytes[6] != 0 || bytes[7] != 0) return std::nullopt;
  header.stream = bytes[4] == 1 ? Stream::kStdout : Stream::kStderr;
  header.unfinished = bytes[5] == kLocalUnfinished;
  header.time = static_cast<std::int64_t>(load_le(bytes.data() + 8, 8));
  return header;
}

std::optional<std::string_view> check_local_block(std::string_view block) {
  if (block.size() < kLocalHeaderSize + kLocalTrailerSize) return std::nullopt;
  std::size_t const payload_size = block.size() - kLocalHeaderSize - kLocalTrailerSize;
  char const* const trailer = block.data() + kLocalHeaderSize + payload_size;
  if (load_le32(block.data()) != payload_size || load_le32(trailer + 4) != payload_size) return std::nullopt;
  if (load_le32(trailer) != checksum(block.substr(0, kLocalHeaderSize + payload_size))) return std::nullopt;
  return block.substr(kLocalHeaderSize, payload_size);
}

void append_local_block(Buffer& buffer, LocalHeader const& header, std::string_view payload) {
  std::size_t const size = kLocalHeaderSize + payload.size() + kLocalTrailerSize;
  char* const start = buffer.reserve(size);
  char* out = put_le(start, payload.size(), 4);
  *out++ = static_cast<char>(header.stream);
  *out++ = static_cast<char>(header.unfinished ? kLocalUnfinished : 0);
  out = put_le(out, 0, 2);
  out = put_le(out, static_cast<std::uint64_t>(header.time), 8);
  std::memcpy(out, payload.data(), payload.size());
  out += payload.size();
  out = put_le(out, checksum({start, static_cast<std::size_t>(out - start)}), 4);
  put_le(out, payload.size(), 4);
  buffer.commit(size);
}

}  // namespace davit::monitor::log
