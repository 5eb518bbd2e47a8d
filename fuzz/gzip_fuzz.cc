// Compressed streams from outside (codec/compression.h): whatever the pieces they arrive in, the same bytes and the
// same verdict; and what GzipSink writes comes back.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "codec/compression.h"

namespace {

using namespace davit;
using namespace davit::codec;

void require(bool condition) {
  if (!condition) std::abort();
}

struct Outcome {
  bool ok = false;
  std::string bytes;  // those before an error too
  bool operator==(Outcome const&) const = default;
};

constexpr DecompressLimits kLimits = {
    .ratio_free_bytes = 1 << 20, .max_ratio = 50, .max_output = 4 << 20, .max_window = 8 << 20};

Outcome unpack(std::string_view packed, std::size_t chunk) {
  MemorySource memory(packed, chunk);
  Result<Detected> detected = decompress_any(memory, kLimits);
  require(detected.ok());
  Outcome outcome;
  for (;;) {
    Result<std::string_view> const bytes = detected->source->next();
    if (!bytes.ok()) {
      require(bytes.error().code() == Errc::kInvalidArgument || bytes.error().code() == Errc::kResourceExhausted);
      outcome.bytes.clear();  // how much came before the error depends on the pieces
      return outcome;
    }
    if (bytes->empty()) break;
    outcome.bytes += *bytes;
    require(outcome.bytes.size() <= kLimits.max_output);
  }
  outcome.ok = true;
  return outcome;
}

void check_round_trip(std::string_view plain, int level) {
  StringSink packed;
  GzipSink sink(packed, {.level = level});
  require(sink.write(plain).ok() && sink.finish().ok());
  MemorySource memory(packed.text());
  auto const back = decompress(memory, Compression::kGzip);
  auto const got = read_all(*back, plain.size());
  require(got.ok() && *got == plain);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(std::uint8_t const* data, std::size_t size) {
  if (size == 0) return 0;
  // The last byte chooses, so that a plain compressed file is a good seed.
  std::uint8_t const choice = data[size - 1];
  std::string_view const text(reinterpret_cast<char const*>(data), size);
  Outcome const whole = unpack(text, SIZE_MAX);
  Outcome const pieces = unpack(text, std::size_t{choice} % 32 + 1);
  // The ratio is looked at as the input comes, so in pieces a stream may be refused that goes through as a whole.
  require(pieces == whole || !pieces.ok);
  if (pieces.ok != whole.ok) require(whole.bytes.size() > kLimits.ratio_free_bytes);
  check_round_trip(text, choice % 4);
  return 0;
}
