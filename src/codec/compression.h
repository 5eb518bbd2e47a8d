// Compressed streams: gzip (isa-l; RFC 1952, several members), zstd (RFC 8878, several and skippable frames), xz,
// bzip2.
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>

#include "codec/stream.h"

namespace davit::codec {

enum class Compression : std::uint8_t { kNone, kGzip, kZstd, kBzip2, kXz };

std::string_view compression_name(Compression compression);  // "none", "gzip", ...
// By the magic number; needs the first 6 bytes (fewer: kNone).
Compression detect_compression(std::string_view first_bytes);

// Against bombs. Both must be passed for a stream to be refused, so that small streams of zeros go through.
struct DecompressLimits {
  std::uint64_t ratio_free_bytes = std::uint64_t{1} << 30;  // output below this is not looked at
  std::uint64_t max_ratio = 250;                            // output bytes per input byte
  std::uint64_t max_output = std::uint64_t{1} << 42;        // refused past this whatever the ratio
  std::uint64_t max_window = std::uint64_t{1} << 27;        // zstd window, xz memory: 128 MiB
};

// The decompressed bytes of `in`, which is borrowed. kNone passes it on. Errors: kInvalidArgument for damaged,
// truncated (also: nothing at all) or trailing garbage after the last member; kResourceExhausted past the limits. Peak
// memory: below 1 MiB for gzip, the stream's window for the others.
std::unique_ptr<Source> decompress(Source& in, Compression compression, DecompressLimits limits = {});

// The same by the first bytes of `in`; found tells what it was.
struct Detected {
  Compression compression;
  std::unique_ptr<Source> source;
};
Result<Detected> decompress_any(Source& in, DecompressLimits limits = {});

// Compresses what is written to one gzip member, deterministically: the same bytes whatever the sizes of the writes and
// the number of threads. finish() must be called. Blocks of 1 MiB are deflated by `threads` threads of its own (0: in
// the caller) and written to `out` (borrowed) in order, from the thread that calls write() or finish().
struct GzipOptions {
  int level = 1;  // isa-l's 0 to 3
  unsigned threads = 0;
};
class GzipSink : public Sink {
 public:
  GzipSink(Sink& out, GzipOptions options);
  ~GzipSink() override;
  Result<void> write(std::string_view bytes) override;
  Result<void> finish();

 private:
  struct Body;
  std::unique_ptr<Body> body_;
};

class ZstdSink : public Sink {
 public:
  ZstdSink(Sink& out, int level);
  ~ZstdSink() override;
  Result<void> write(std::string_view bytes) override;
  Result<void> finish();

 private:
  struct Body;
  std::unique_ptr<Body> body_;
};

// Runs `inner` (borrowed) in a thread of its own, a bounded number of buffers ahead (buffers * 256 KiB of memory), so
// that e.g. inflating and writing files happen on two cores. The destructor stops and joins the thread: it returns as
// soon as the inner next() that is running returns.
class ThreadedSource : public Source {
 public:
  explicit ThreadedSource(Source& inner, unsigned buffers = 8);
  ~ThreadedSource() override;
  Result<std::string_view> next() override;

 private:
  struct Body;
  std::unique_ptr<Body> body_;
};

}  // namespace davit::codec
