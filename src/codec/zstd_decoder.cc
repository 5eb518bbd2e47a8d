// zstd (RFC 8878): frames and skippable frames, one after another.
#include <zstd.h>
#include <zstd_errors.h>

#include <algorithm>
#include <bit>
#include <memory>

#include "codec/decompress_decoder.h"

namespace davit::codec {
namespace {

struct FreeContext {
  void operator()(ZSTD_DCtx* context) const { ZSTD_freeDCtx(context); }
};

class ZstdDecoder : public Decoder {
 public:
  explicit ZstdDecoder(DecompressLimits const& limits) : context_(ZSTD_createDCtx()) {
    DAVIT_CHECK(context_ != nullptr);
    // A frame's window is allocated on the word of its header, so this is what bounds the memory.
    ZSTD_bounds const bounds = ZSTD_dParam_getBounds(ZSTD_d_windowLogMax);
    int const log = limits.max_window == 0 ? 0 : static_cast<int>(std::bit_width(limits.max_window)) - 1;
    int const allowed = std::min(std::max(log, bounds.lowerBound), bounds.upperBound);
    DAVIT_CHECK(!ZSTD_isError(ZSTD_DCtx_setParameter(context_.get(), ZSTD_d_windowLogMax, allowed)));
  }

  Result<std::size_t> decode(std::string_view& in, std::span<char> out, Input) override {
    ZSTD_inBuffer input{in.data(), in.size(), 0};
    ZSTD_outBuffer output{out.data(), out.size(), 0};
    // Between frames it must not be called without input: it would wait for a header that need not come.
    while (output.pos < output.size && (input.pos < input.size || !between_)) {
      std::size_t const before = input.pos + output.pos;
      std::size_t const result = ZSTD_decompressStream(context_.get(), &output, &input);
      if (ZSTD_isError(result)) return failed(result);
      between_ = result == 0;
      any_ = any_ || between_;
      if (input.pos == input.size && (output.pos < output.size || input.pos + output.pos == before)) break;
    }
    in.remove_prefix(input.pos);
    return output.pos;
  }

  bool complete() const override { return between_ && any_; }

 private:
  static Error failed(std::size_t result) {
    bool const window = ZSTD_getErrorCode(result) == ZSTD_error_frameParameter_windowTooLarge;
    return Error(window ? Errc::kResourceExhausted : Errc::kInvalidArgument, ZSTD_getErrorName(result));
  }

  std::unique_ptr<ZSTD_DCtx, FreeContext> context_;
  bool between_ = true;  // the last frame has ended and given all of its output
  bool any_ = false;     // there was a frame
};

}  // namespace

std::unique_ptr<Decoder> make_zstd_decoder(DecompressLimits const& limits) {
  return std::make_unique<ZstdDecoder>(limits);
}

}  // namespace davit::codec
