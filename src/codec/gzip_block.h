// One block of a gzip member's data, deflated so that the blocks' outputs can be put one after another; for
// gzip_sink.cc.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

namespace davit::codec {

// Up to kSize bytes of the data, behind up to kHistory bytes that came before them.
struct GzipBlock {
  static constexpr std::size_t kSize = std::size_t{1} << 20;
  static constexpr std::size_t kHistory = std::size_t{32} << 10;

  GzipBlock();
  // Takes what fits off the front of bytes.
  void fill(std::string_view& bytes);
  bool full() const { return size == kSize; }
  // Empties this block and gives it the end of the one before, which may be this one.
  void follow(GzipBlock const& before);

  std::unique_ptr<char[]> data;  // history, then input
  std::size_t history = 0, size = 0;
  std::unique_ptr<char[]> output;
  std::size_t output_capacity = 0, output_size = 0;
  std::uint32_t crc = 0;  // of the input
};

// The state of isa-l for one block after another. One thread at a time.
class Deflater {
 public:
  explicit Deflater(int level);
  ~Deflater();
  // Sets the block's output and crc. The output ends at a byte's border (a sync flush, or stored blocks where deflate
  // would grow it).
  void deflate(GzipBlock& block);

 private:
  struct State;
  std::unique_ptr<State> state_;
  std::vector<std::uint8_t> level_buffer_;
  int level_;
};

// The CRC-32 of two pieces of data after one another, from that of each and the second's size.
std::uint32_t combine_crc32(std::uint32_t first, std::uint32_t second, std::uint64_t second_size);

}  // namespace davit::codec
