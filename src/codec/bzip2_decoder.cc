// bzip2: streams one after another, as pbzip2 writes them.
#include <bzlib.h>

#include <algorithm>

#include "codec/decompress_decoder.h"

namespace davit::codec {
namespace {

class Bzip2Decoder : public Decoder {
 public:
  Bzip2Decoder() = default;
  Bzip2Decoder(Bzip2Decoder const&) = delete;
  Bzip2Decoder& operator=(Bzip2Decoder const&) = delete;
  ~Bzip2Decoder() override { end(); }

  Result<std::size_t> decode(std::string_view& in, std::span<char> out, Input) override {
    std::size_t size = 0;
    while (size < out.size() && (!in.empty() || open_)) {
      if (!open_) begin();
      std::size_t const before = in.size();
      std::size_t const decoded = TRY(step(in, out.subspan(size)));
      size += decoded;
      if (decoded == 0 && in.size() == before && open_) break;
    }
    return size;
  }

  bool complete() const override { return any_ && !open_; }

 private:
  void begin() {
    stream_ = {};
    DAVIT_CHECK(BZ2_bzDecompressInit(&stream_, 0, 0) == BZ_OK);
    open_ = true;
  }
  void end() {
    if (open_) BZ2_bzDecompressEnd(&stream_);
    open_ = false;
  }

  Result<std::size_t> step(std::string_view& in, std::span<char> out) {
    constexpr std::size_t kMost = std::size_t{1} << 30;  // the library counts in 32 bits
    std::string_view const given = in.substr(0, kMost);
    stream_.next_in = const_cast<char*>(given.data());  // not written to
    stream_.avail_in = static_cast<unsigned>(given.size());
    stream_.next_out = out.data();
    stream_.avail_out = static_cast<unsigned>(std::min(out.size(), kMost));
    unsigned const room = stream_.avail_out;
    int const result = BZ2_bzDecompress(&stream_);
    in.remove_prefix(given.size() - stream_.avail_in);
    if (result == BZ_STREAM_END) {
      any_ = true;
      end();
    } else if (result == BZ_DATA_ERROR_MAGIC) {
      return Error(Errc::kInvalidArgument, any_ ? "garbage after the last stream" : "not a bzip2 stream");
    } else if (result != BZ_OK) {
      DAVIT_CHECK(result != BZ_MEM_ERROR);
      return Error(Errc::kInvalidArgument, "damaged data");
    }
    return std::size_t{room - stream_.avail_out};
  }

  bz_stream stream_ = {};
  bool open_ = false;  // in a stream
  bool any_ = false;   // one has ended
};

}  // namespace

std::unique_ptr<Decoder> make_bzip2_decoder() { return std::make_unique<Bzip2Decoder>(); }

}  // namespace davit::codec
