// The bytes of the `local` log format (docs/disk/log-local.md): a file is kLocalMagic followed by blocks. Integers are
// little endian.
//   bytes 0-3    N, payload length, at most kMaxLocalPayload
//   byte 4       stream: 1 stdout, 2 stderr
//   byte 5       flags: 1 the payload's last line goes on in a later block (or ended without a newline)
//   bytes 6-7    zero
//   bytes 8-15   time, nanoseconds since 1970, of every line of the payload
//   16 .. 16+N   lines, each ending with '\n' except for the last one with flag 1
//   4 bytes      CRC-32 (zlib's) of everything before
//   4 bytes      N again, so that a reader can go backwards
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

#include "monitor/buffer.h"
#include "monitor/log/entry.h"

namespace davit::monitor::log {

inline constexpr std::string_view kLocalMagic = "DVTLOG1\n";
inline constexpr std::size_t kLocalHeaderSize = 16;
inline constexpr std::size_t kLocalTrailerSize = 8;
inline constexpr std::size_t kMaxLocalPayload = 1 << 20;
inline constexpr std::uint8_t kLocalUnfinished = 1;

struct LocalHeader {
  std::uint32_t payload_size = 0;
  Stream stream = Stream::kStdout;
  bool unfinished = false;
  std::int64_t time = 0;
};

// Nullopt where the 16 bytes cannot be a header.
std::optional<LocalHeader> parse_local_header(std::string_view bytes);
// The payload of a whole block (header to trailer); nullopt where the check sum or the second length is wrong.
std::optional<std::string_view> check_local_block(std::string_view block);
void append_local_block(Buffer& out, LocalHeader const& header, std::string_view payload);

std::uint32_t load_le32(char const* bytes);

}  // namespace davit::monitor::log
