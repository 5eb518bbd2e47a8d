// One 512-byte block of a tar archive: where its fields are and how numbers are written in them. Any thread.
//
// POSIX.1-1988 (ustar), offset and size:
//     0 100 name      100 8 mode   108 8 uid   116 8 gid   124 12 size   136 12 mtime   148 8 checksum   156 1 type
//   157 100 target    257 6 magic  263 2 version   265 32 user   297 32 group   329 8 major   337 8 minor   345 155
//   prefix
// Magic and version: "ustar\0" "00" ustar and pax; "ustar " " \0" GNU; anything else v7. star has ustar's magic, a
// prefix of 131 bytes and "tar\0" at 508. GNU sparse files (type S) have extents of two 12-byte numbers at 386 (four of
// them), a flag at 482 that says that a block of more follows, and the real size at 483. A block of more has 21 extents
// and its flag at 504.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace davit::codec::tar {

inline constexpr std::size_t kBlockSize = 512;

enum class Dialect : std::uint8_t { kV7, kUstar, kStar, kGnu };

struct FieldPlace {
  std::size_t offset, size;
};
inline constexpr FieldPlace kName{0, 100}, kMode{100, 8}, kUid{108, 8}, kGid{116, 8}, kSize{124, 12}, kMtime{136, 12},
    kChecksum{148, 8}, kType{156, 1}, kTarget{157, 100}, kMagic{257, 8}, kUser{265, 32}, kGroup{297, 32},
    kMajor{329, 8}, kMinor{337, 8}, kPrefix{345, 155}, kStarPrefix{345, 131};
inline constexpr FieldPlace kSparse{386, 4 * 24}, kSparseMore{482, 1}, kSparseRealSize{483, 12};
inline constexpr FieldPlace kMoreSparse{0, 21 * 24}, kMoreSparseMore{504, 1};
inline constexpr std::size_t kSparseExtentSize = 24;

// Bytes from the end of `size` data bytes to the next block.
inline constexpr std::uint64_t padding(std::uint64_t size) { return (kBlockSize - size % kBlockSize) % kBlockSize; }

// A block in memory, borrowed: kBlockSize bytes.
class Block {
 public:
  explicit Block(char const* bytes) : bytes_(bytes) {}

  bool is_zero() const;
  // The sum of all bytes with the checksum field as spaces, unsigned or (old Sun and BSD tars) signed.
  bool checksum_matches() const;
  Dialect dialect() const;
  char type() const { return bytes_[kType.offset]; }
  std::string_view field(FieldPlace place) const { return {bytes_ + place.offset, place.size}; }
  // A field up to its first NUL.
  std::string_view text(FieldPlace place) const;
  // Octal, or base 256 when the top bit is set; an empty field is 0. nullopt: not a number, or past 63 bits.
  std::optional<std::int64_t> number(FieldPlace place) const;

 private:
  char const* bytes_;
};

// The sum that belongs in the checksum field of a block.
std::uint32_t unsigned_checksum(char const* block);

}  // namespace davit::codec::tar
