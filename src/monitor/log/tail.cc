#include "monitor/log/tail.h"

#include <algorithm>
#include <optional>

#include "monitor/buffer.h"
#include "monitor/log/local_block.h"
#include "sys/file_change.h"

namespace davit::monitor::log {

namespace {
constexpr std::size_t kStep = 64 * 1024;

// Line formats: walks newlines backwards.
Result<TailPosition> find_lines(int fd, std::uint64_t size, std::uint64_t wanted) {
  Buffer bytes;
  TailPosition position;
  // The newline that ends the last line begins nothing, and what follows the last newline is a torn line.
  bool seen_end = false;
  for (std::uint64_t at = size; at > 0;) {
    std::size_t const step = std::min<std::uint64_t>(at, kStep);
    at -= step;
    bytes.clear();
    char* const data = bytes.reserve(step);
    std::size_t const count = TRY(sys::read_at(fd, at, data, step));
    for (std::string_view chunk(data, count);;) {
      std::size_t const newline = chunk.rfind('\n');
      if (newline == std::string_view::npos) break;
      if (seen_end && ++position.found == wanted) {
        position.offset = at + newline + 1;
        return position;
      }
      seen_end = true;
      chunk = chunk.substr(0, newline);
    }
  }
  if (seen_end) ++position.found;
  return position;
}

struct Block {
  std::uint64_t offset = 0;
  std::uint64_t entries = 0;
};

// The block that ends at `end`; nullopt where there is no sound one.
Result<std::optional<Block>> block_before(int fd, std::uint64_t end, Buffer& bytes) {
  if (end < kLocalMagic.size() + kLocalHeaderSize + kLocalTrailerSize) return std::optional<Block>();
  char trailer[4];
  TRY(sys::read_at(fd, end - sizeof trailer, trailer, sizeof trailer));
  std::uint64_t const payload_size = load_le32(trailer);
  std::uint64_t const size = kLocalHeaderSize + payload_size + kLocalTrailerSize;
  if (payload_size > kMaxLocalPayload || size > end - kLocalMagic.size()) return std::optional<Block>();
  bytes.clear();
  char* const data = bytes.reserve(size);
  std::string_view const block(data, TRY(sys::read_at(fd, end - size, data, size)));
  if (!parse_local_header(block)) return std::optional<Block>();
  std::optional<std::string_view> const payload = check_local_block(block);
  if (!payload) return std::optional<Block>();
  auto const newlines = static_cast<std::uint64_t>(std::count(payload->begin(), payload->end(), '\n'));
  return std::optional<Block>(Block{end - size, newlines + (payload->back() == '\n' ? 0 : 1)});
}

// The end of the last whole block, walking headers from the front: only after a crash.
Result<std::uint64_t> sound_end(int fd, std::uint64_t size) {
  std::uint64_t at = kLocalMagic.size();
  for (;;) {
    char header_bytes[kLocalHeaderSize];
    if (TRY(sys::read_at(fd, at, header_bytes, sizeof header_bytes)) < sizeof header_bytes) return at;
    std::optional<LocalHeader> const header = parse_local_header({header_bytes, sizeof header_bytes});
    if (!header) return at;
    std::uint64_t const next = at + kLocalHeaderSize + header->payload_size + kLocalTrailerSize;
    if (next > size) return at;
    at = next;
  }
}

Result<TailPosition> find_blocks(int fd, std::uint64_t size, std::uint64_t wanted) {
  Buffer bytes;
  TailPosition position;
  std::uint64_t end = size;
  if (!TRY(block_before(fd, end, bytes))) end = TRY(sound_end(fd, size));
  position.offset = end;
  while (position.found < wanted) {
    std::optional<Block> const block = TRY(block_before(fd, position.offset, bytes));
    if (!block) break;
    position.offset = block->offset;
    position.found += block->entries;
  }
  if (position.found > wanted) {
    position.skip = position.found - wanted;
    position.found = wanted;
  }
  return position;
}
}  // namespace

Result<TailPosition> find_tail(int fd, std::uint64_t size, Driver driver, std::uint64_t wanted) {
  if (wanted == 0) return TailPosition{.offset = size};
  return driver == Driver::kLocal ? find_blocks(fd, size, wanted) : find_lines(fd, size, wanted);
}

}  // namespace davit::monitor::log
