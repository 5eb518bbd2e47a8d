// Streams over descriptors, for blocking use by workers (not for the reactor). One thread at a time.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "codec/stream.h"

namespace davit::loop {

// Reads a descriptor (file, pipe, socket) from where it stands, in chunks of 256 KiB. Borrows it.
class FdSource : public codec::Source {
 public:
  explicit FdSource(int fd, std::uint64_t limit = UINT64_MAX);  // limit: ends after that many bytes
  Result<std::string_view> next() override;

 private:
  int fd_;
  std::uint64_t left_;
  std::string buffer_;
};

class FdSink : public codec::Sink {
 public:
  explicit FdSink(int fd) : fd_(fd) {}
  Result<void> write(std::string_view bytes) override;

 private:
  int fd_;
};

}  // namespace davit::loop
