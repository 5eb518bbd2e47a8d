// xz: streams one after another, with the zero padding that the format allows between and after them.
#include <lzma.h>

#include "codec/decompress_decoder.h"

namespace davit::codec {
namespace {

class XzDecoder : public Decoder {
 public:
  explicit XzDecoder(DecompressLimits const& limits) {
    DAVIT_CHECK(lzma_stream_decoder(&stream_, limits.max_window, LZMA_CONCATENATED) == LZMA_OK);
  }
  XzDecoder(XzDecoder const&) = delete;
  XzDecoder& operator=(XzDecoder const&) = delete;
  ~XzDecoder() override { lzma_end(&stream_); }

  Result<std::size_t> decode(std::string_view& in, std::span<char> out, Input last) override {
    if (ended_) return std::size_t{0};
    stream_.next_in = reinterpret_cast<std::uint8_t const*>(in.data());
    stream_.avail_in = in.size();
    stream_.next_out = reinterpret_cast<std::uint8_t*>(out.data());
    stream_.avail_out = out.size();
    lzma_ret result = LZMA_OK;
    while (result == LZMA_OK && stream_.avail_out > 0) {
      std::size_t const before = stream_.avail_in + stream_.avail_out;
      result = lzma_code(&stream_, last == Input::kLast ? LZMA_FINISH : LZMA_RUN);
      if (stream_.avail_in + stream_.avail_out == before) break;
    }
    in.remove_prefix(in.size() - stream_.avail_in);
    ended_ = result == LZMA_STREAM_END;
    if (Result<void> checked = check(result); !checked.ok()) return std::move(checked).take_error();
    return out.size() - stream_.avail_out;
  }

  // Only liblzma knows, and says so when it is given LZMA_FINISH.
  bool complete() const override { return ended_; }

 private:
  static Result<void> check(lzma_ret result) {
    switch (result) {
      case LZMA_OK:
      case LZMA_STREAM_END:
      case LZMA_BUF_ERROR:
        return {};  // no progress: the input is cut off, as complete() tells
      case LZMA_MEM_ERROR:
        DAVIT_CHECK(false);
      case LZMA_MEMLIMIT_ERROR:
        return Error(Errc::kResourceExhausted, "needs more memory than allowed");
      case LZMA_FORMAT_ERROR:
        return Error(Errc::kInvalidArgument, "not an xz stream");
      case LZMA_OPTIONS_ERROR:
        return Error(Errc::kInvalidArgument, "unsupported options");
      default:
        return Error(Errc::kInvalidArgument, "damaged data");
    }
  }

  lzma_stream stream_ = LZMA_STREAM_INIT;
  bool ended_ = false;
};

}  // namespace

std::unique_ptr<Decoder> make_xz_decoder(DecompressLimits const& limits) { return std::make_unique<XzDecoder>(limits); }

}  // namespace davit::codec
