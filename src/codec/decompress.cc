// decompress() and decompress_any(): the loop around a format's decoder, and the limits against bombs.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <string>

#include "codec/compression.h"
#include "codec/decompress_decoder.h"
#include "codec/fillable_source.h"

namespace davit::codec {
namespace {

// Measured with gzip: 32 KiB cost 3 % more than this, 1 MiB saves less than 1 %, and this stays in the second-level
// cache until its reader comes to it.
constexpr std::size_t kChunk = std::size_t{128} << 10;

class LimitedOutput {
 public:
  explicit LimitedOutput(DecompressLimits limits) : limits_(limits) { DAVIT_CHECK(limits.max_ratio > 0); }
  Result<void> add(std::uint64_t output, std::uint64_t input_so_far) {
    total_ += output;
    if (total_ > limits_.max_output) {
      return Error(Errc::kResourceExhausted, fmt::format("decompresses to more than {} bytes", limits_.max_output));
    }
    if (total_ > limits_.ratio_free_bytes && total_ / limits_.max_ratio > input_so_far) {
      return Error(Errc::kResourceExhausted,
                   fmt::format("{} bytes decompress to {}, which is more than {} times as much", input_so_far, total_,
                               limits_.max_ratio));
    }
    return {};
  }

 private:
  DecompressLimits limits_;
  std::uint64_t total_ = 0;
};

class DecodingSource : public FillableSource {
 public:
  DecodingSource(Source& inner, Compression compression, std::unique_ptr<Decoder> decoder, DecompressLimits limits)
      : inner_(inner), compression_(compression), decoder_(std::move(decoder)), limit_(limits) {}

  Result<std::string_view> next() override {
    if (!out_) out_ = std::make_unique_for_overwrite<char[]>(kChunk);
    std::size_t const size = TRY(fill({out_.get(), kChunk}));
    return std::string_view(out_.get(), size);
  }

  Result<std::size_t> fill(std::span<char> out) override {
    std::size_t size = 0;
    while (size < out.size() && !done_) {
      if (in_.empty() && !ended_) TRY(refill());
      std::span<char> const room = out.subspan(size);
      auto decoded = decoder_->decode(in_, room, ended_ ? Decoder::Input::kLast : Decoder::Input::kMore);
      if (!decoded.ok()) return std::move(decoded).take_error().with_context(place());
      TRY_CTX(limit_.add(*decoded, received_ - in_.size()), place());
      size += *decoded;
      done_ = ended_ && *decoded < room.size();
    }
    if (size == 0 && !decoder_->complete()) {
      return Error(Errc::kInvalidArgument, received_ == 0 ? "empty" : "truncated").with_context(place());
    }
    return size;
  }

 private:
  Result<void> refill() {
    in_ = TRY(inner_.next());
    received_ += in_.size();
    ended_ = in_.empty();
    return {};
  }
  std::string place() const {
    return fmt::format("{} stream at byte {}", compression_name(compression_), received_ - in_.size());
  }

  Source& inner_;
  Compression compression_;
  std::unique_ptr<Decoder> decoder_;
  LimitedOutput limit_;
  std::unique_ptr<char[]> out_;
  std::string_view in_;  // what inner_ gave and decoder_ has not taken
  std::uint64_t received_ = 0;
  bool ended_ = false;  // inner_ is at its end
  bool done_ = false;   // decoder_ too
};

class PassingSource : public Source {
 public:
  PassingSource(Source& inner, DecompressLimits limits) : inner_(inner), limit_(limits) {}
  Result<std::string_view> next() override {
    std::string_view const bytes = TRY(inner_.next());
    received_ += bytes.size();
    TRY(limit_.add(bytes.size(), received_));
    return bytes;
  }

 private:
  Source& inner_;
  LimitedOutput limit_;
  std::uint64_t received_ = 0;
};

// Looks at the first bytes of a source without losing them.
class PeekedSource : public Source {
 public:
  explicit PeekedSource(Source& inner) : inner_(inner) {}
  // At least size bytes unless the source is shorter. Before the first next() only.
  Result<std::string_view> peek(std::size_t size) {
    first_ = TRY(inner_.next());
    if (first_.empty() || first_.size() >= size) return first_;
    gathered_ = first_;  // small chunks: the next one may take the place of this one
    while (gathered_.size() < size) {
      std::string_view const more = TRY(inner_.next());
      if (more.empty()) break;
      gathered_ += more;
    }
    first_ = gathered_;
    return first_;
  }
  Result<std::string_view> next() override {
    if (!first_.empty()) return std::exchange(first_, {});
    return inner_.next();
  }

 private:
  Source& inner_;
  std::string gathered_;
  std::string_view first_;
};

// What decompress_any gives: owns the source that was peeked at.
class DetectedSource : public Source {
 public:
  DetectedSource(std::unique_ptr<PeekedSource> peeked, DecompressLimits limits)
      : peeked_(std::move(peeked)), passed_(*peeked_, limits) {}
  Result<std::string_view> next() override { return passed_.next(); }

 private:
  std::unique_ptr<PeekedSource> peeked_;
  PassingSource passed_;
};

class DetectedDecodingSource : public DecodingSource {
 public:
  DetectedDecodingSource(std::unique_ptr<PeekedSource> peeked, Compression compression,
                         std::unique_ptr<Decoder> decoder, DecompressLimits limits)
      : DecodingSource(*peeked, compression, std::move(decoder), limits), peeked_(std::move(peeked)) {}

 private:
  std::unique_ptr<PeekedSource> peeked_;
};

std::unique_ptr<Decoder> make_decoder(Compression compression, DecompressLimits const& limits) {
  switch (compression) {
    case Compression::kNone:
      break;
    case Compression::kGzip:
      return make_gzip_decoder();
    case Compression::kZstd:
      return make_zstd_decoder(limits);
    case Compression::kBzip2:
      return make_bzip2_decoder();
    case Compression::kXz:
      return make_xz_decoder(limits);
  }
  return nullptr;
}

constexpr std::size_t kMagicSize = 6;

}  // namespace

std::string_view compression_name(Compression compression) {
  constexpr std::array<std::string_view, 5> kNames = {"none", "gzip", "zstd", "bzip2", "xz"};
  return kNames[static_cast<std::size_t>(compression)];
}

Compression detect_compression(std::string_view first_bytes) {
  using namespace std::string_view_literals;
  if (first_bytes.size() < kMagicSize) return Compression::kNone;
  if (first_bytes.starts_with("\x1f\x8b\x08"sv)) return Compression::kGzip;
  if (first_bytes.starts_with("\x28\xb5\x2f\xfd"sv)) return Compression::kZstd;
  // A skippable frame (RFC 8878, 3.1.2): any of sixteen numbers
  if (first_bytes.substr(1).starts_with("\x2a\x4d\x18"sv) && (first_bytes[0] & 0xf0) == 0x50) return Compression::kZstd;
  if (first_bytes.starts_with("\xfd"
                              "7zXZ\0"sv)) {
    return Compression::kXz;
  }
  // "BZh", the block size, then the start of a block's magic number or of the end's: a tar may well hold a file "BZh9".
  if (first_bytes.starts_with("BZh"sv) && first_bytes[3] >= '1' && first_bytes[3] <= '9') {
    std::string_view const block = first_bytes.substr(4);
    if (block.starts_with("\x31\x41"sv) || block.starts_with("\x17\x72"sv)) return Compression::kBzip2;
  }
  return Compression::kNone;
}

std::unique_ptr<Source> decompress(Source& in, Compression compression, DecompressLimits limits) {
  if (compression == Compression::kNone) return std::make_unique<PassingSource>(in, limits);
  return std::make_unique<DecodingSource>(in, compression, make_decoder(compression, limits), limits);
}

Result<Detected> decompress_any(Source& in, DecompressLimits limits) {
  auto peeked = std::make_unique<PeekedSource>(in);
  std::string_view const first = TRY(peeked->peek(kMagicSize));
  Compression const compression = detect_compression(first);
  if (compression == Compression::kNone) {
    return Detected{compression, std::make_unique<DetectedSource>(std::move(peeked), limits)};
  }
  return Detected{compression, std::make_unique<DetectedDecodingSource>(std::move(peeked), compression,
                                                                        make_decoder(compression, limits), limits)};
}

}  // namespace davit::codec
