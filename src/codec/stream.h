// Streams of bytes in chunks: what decompressors, hashers, tar readers and sockets hand to each other without copying.
// An object is used by one thread at a time.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"

namespace davit::codec {

// Where bytes come from.
class Source {
 public:
  virtual ~Source() = default;
  // The next bytes, borrowed until the next call or the source's end of life. Empty at the end of the stream, and
  // empty again when asked again. After an error the source is not asked again.
  virtual Result<std::string_view> next() = 0;
};

// Where bytes go. write takes all of them or fails.
class Sink {
 public:
  virtual ~Sink() = default;
  virtual Result<void> write(std::string_view bytes) = 0;
};

// Bytes that are in memory; borrowed. chunk: how many next() gives at most (tests cut streams at every place with it).
class MemorySource : public Source {
 public:
  explicit MemorySource(std::string_view bytes, std::size_t chunk = SIZE_MAX) : rest_(bytes), chunk_(chunk) {}
  Result<std::string_view> next() override;

 private:
  std::string_view rest_;
  std::size_t chunk_;
};

class StringSink : public Sink {
 public:
  Result<void> write(std::string_view bytes) override;
  std::string const& text() const { return text_; }
  std::string take() { return std::move(text_); }

 private:
  std::string text_;
};

// Everything of a source as one string; kResourceExhausted past max_size.
Result<std::string> read_all(Source& source, std::size_t max_size);
// Returns how many bytes.
Result<std::uint64_t> copy(Source& source, Sink& sink);

}  // namespace davit::codec
