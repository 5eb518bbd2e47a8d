#include "codec/stream.h"

#include <fmt/format.h>

#include <algorithm>

namespace davit::codec {

Result<std::string_view> MemorySource::next() {
  std::string_view const bytes = rest_.substr(0, std::min(chunk_, rest_.size()));
  rest_.remove_prefix(bytes.size());
  return bytes;
}

Result<void> StringSink::write(std::string_view bytes) {
  text_ += bytes;
  return {};
}

Result<std::string> read_all(Source& source, std::size_t max_size) {
  std::string all;
  for (;;) {
    std::string_view const bytes = TRY(source.next());
    if (bytes.empty()) return all;
    if (bytes.size() > max_size - all.size()) {
      return Error(Errc::kResourceExhausted, fmt::format("larger than {} bytes", max_size));
    }
    all += bytes;
  }
}

Result<std::uint64_t> copy(Source& source, Sink& sink) {
  std::uint64_t total = 0;
  for (;;) {
    std::string_view const bytes = TRY(source.next());
    if (bytes.empty()) return total;
    TRY(sink.write(bytes));
    total += bytes.size();
  }
}

}  // namespace davit::codec
