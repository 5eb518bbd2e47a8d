#include "loop/fd_stream.h"

#include <algorithm>
#include <span>

#include "sys/file.h"

namespace davit::loop {
namespace {

constexpr std::size_t kChunk = std::size_t{256} << 10;

}  // namespace

FdSource::FdSource(int fd, std::uint64_t limit) : fd_(fd), left_(limit) {}

Result<std::string_view> FdSource::next() {
  if (left_ == 0) return std::string_view();
  if (buffer_.empty()) buffer_.resize(std::min<std::uint64_t>(kChunk, left_));
  std::size_t const want = std::min<std::uint64_t>(buffer_.size(), left_);
  std::size_t const size = TRY(sys::read(fd_, std::span(buffer_.data(), want)));
  left_ = size == 0 ? 0 : left_ - size;
  return std::string_view(buffer_.data(), size);
}

Result<void> FdSink::write(std::string_view bytes) { return sys::write_all(fd_, bytes); }

}  // namespace davit::loop
