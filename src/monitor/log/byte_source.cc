#include "monitor/log/byte_source.h"

#include <zlib.h>

#include <array>

#include "sys/file.h"
#include "sys/file_change.h"

namespace davit::monitor::log {

namespace {

class PlainSource : public ByteSource {
 public:
  PlainSource(UniqueFd file, std::uint64_t offset) : file_(std::move(file)), offset_(offset) {}
  Result<std::size_t> read(std::span<char> out) override {
    std::size_t const count = TRY(sys::read_at(file_.get(), offset_, out.data(), out.size()));
    offset_ += count;
    return count;
  }

 private:
  UniqueFd file_;
  std::uint64_t offset_;
};

class GzipSource : public ByteSource {
 public:
  explicit GzipSource(UniqueFd file) : file_(std::move(file)) {
    constexpr int kGzip = 16;  // inflateInit2: gzip headers only
    ended_ = ::inflateInit2(&stream_, MAX_WBITS + kGzip) != Z_OK;
  }
  GzipSource(GzipSource const&) = delete;
  GzipSource& operator=(GzipSource const&) = delete;
  ~GzipSource() override { ::inflateEnd(&stream_); }

  Result<std::size_t> read(std::span<char> out) override {
    stream_.next_out = reinterpret_cast<Bytef*>(out.data());
    stream_.avail_out = static_cast<uInt>(out.size());
    while (!ended_ && stream_.avail_out == out.size()) {
      if (stream_.avail_in == 0) {
        std::size_t const count = TRY(sys::read(file_.get(), input_));
        stream_.next_in = reinterpret_cast<Bytef*>(input_.data());
        stream_.avail_in = static_cast<uInt>(count);
        if (count == 0) break;
      }
      int const state = ::inflate(&stream_, Z_NO_FLUSH);
      if (state != Z_OK) ended_ = true;
    }
    return out.size() - stream_.avail_out;
  }

 private:
  UniqueFd file_;
  z_stream stream_{};
  bool ended_ = false;
  std::array<char, 16384> input_;
};

}  // namespace

std::unique_ptr<ByteSource> ByteSource::plain(UniqueFd file, std::uint64_t offset) {
  return std::make_unique<PlainSource>(std::move(file), offset);
}

std::unique_ptr<ByteSource> ByteSource::gzip(UniqueFd file) { return std::make_unique<GzipSource>(std::move(file)); }

}  // namespace davit::monitor::log
