// ByteSource: the bytes of one log file from front to back, decompressed where it is a .gz. One thread.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "base/result.h"
#include "base/unique_fd.h"

namespace davit::monitor::log {

class ByteSource {
 public:
  virtual ~ByteSource() = default;
  // 0: the end. A damaged or cut gzip file ends where the damage begins.
  virtual Result<std::size_t> read(std::span<char> out) = 0;

  static std::unique_ptr<ByteSource> plain(UniqueFd file, std::uint64_t offset);
  static std::unique_ptr<ByteSource> gzip(UniqueFd file);
};

}  // namespace davit::monitor::log
