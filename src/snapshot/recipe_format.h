// The bytes of a recipe before they are compressed (docs/disk/layer-recipe.md). Numbers are LEB128: seven bits a byte,
// the lowest first, the top bit set on all but the last.
//
//   "DVTRCP1\n"
//   then records, each a tag and its fields:
//     1 raw      length, bytes: as they are in the tar
//     2 file     path length, path, size: the file's whole content, `size` bytes
//     3 extents  path length, path, size, count, then count times offset and size: parts of a file of `size` bytes, in
//     order 0 end      the tar's size
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace davit::snapshot::recipe {

inline constexpr std::string_view kMagic = "DVTRCP1\n";
enum Tag : char { kEnd = 0, kRaw = 1, kFile = 2, kExtents = 3 };
inline constexpr std::size_t kMaxRaw = 64 << 10;  // what the writer puts into one record; readers take any length
inline constexpr std::size_t kMaxPath = 4095;
inline constexpr std::uint64_t kMaxExtents = 1'000'000;

inline void append_number(std::string& out, std::uint64_t value) {
  for (; value >= 0x80; value >>= 7) out += static_cast<char>(value | 0x80);
  out += static_cast<char>(value);
}

}  // namespace davit::snapshot::recipe
