// What each compressed format implements; for the files of codec/ that decompress. One thread at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>

#include "base/result.h"
#include "codec/compression.h"

namespace davit::codec {

class Decoder {
 public:
  virtual ~Decoder() = default;
  // Takes bytes off the front of in and returns how many it wrote to out. It stops when in is empty and everything that
  // follows from it was written, or when out is full. last: nothing comes after in.
  enum class Input : std::uint8_t { kMore, kLast };
  virtual Result<std::size_t> decode(std::string_view& in, std::span<char> out, Input last) = 0;
  // Whether the stream may end after what was decoded.
  virtual bool complete() const = 0;
};

std::unique_ptr<Decoder> make_gzip_decoder();
std::unique_ptr<Decoder> make_zstd_decoder(DecompressLimits const& limits);
std::unique_ptr<Decoder> make_xz_decoder(DecompressLimits const& limits);
std::unique_ptr<Decoder> make_bzip2_decoder();

}  // namespace davit::codec
