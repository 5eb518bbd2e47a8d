// Log files of every format as a crash or somebody else's hand may leave them (monitor/log/decoder.h), and the way of
// any output through writer and reader.
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "monitor/log/decoder.h"
#include "monitor/log/encoder.h"
#include "monitor/log/json_text.h"
#include "monitor/log/log_options.h"
#include "monitor/log/timestamp.h"

namespace {

using namespace davit;
using namespace davit::monitor;
using namespace davit::monitor::log;

void require(bool condition) {
  if (!condition) std::abort();
}

constexpr std::int64_t kTime = 1'795'292'177'418'311'554;

std::vector<Entry> decode_all(Driver driver, std::string_view bytes, std::size_t step) {
  auto const decoder = make_decoder(driver);
  std::vector<Entry> entries;
  std::string pending;
  for (std::size_t at = 0; at < bytes.size(); at += step) {
    pending.append(bytes.substr(at, step));
    std::size_t const used = decoder->decode(pending, entries);
    require(used <= pending.size());
    pending.erase(0, used);
  }
  return entries;
}

void check_damaged(std::string_view bytes) {
  for (Driver const driver : {Driver::kJsonFile, Driver::kCri, Driver::kLocal}) {
    auto const at_once = decode_all(driver, bytes, bytes.size());
    auto const in_steps = decode_all(driver, bytes, 13);
    require(at_once.size() == in_steps.size());
  }
}

bool is_ascii(std::string_view text) {
  for (char const c : text) {
    if (static_cast<unsigned char>(c) >= 0x80) return false;
  }
  return true;
}

// Lines come back as they went in (json-file replaces what is not UTF-8).
void check_round_trip(std::string_view text) {
  std::string const lines = std::string(text) + "\n";
  for (Driver const driver : {Driver::kJsonFile, Driver::kCri, Driver::kLocal}) {
    LogOptions options;
    options.driver = driver;
    auto const encoder = make_encoder(options);
    Buffer out;
    std::string_view rest = lines;
    while (!rest.empty()) rest.remove_prefix(encoder->encode_lines(out, Stream::kStderr, rest, kTime, 100));
    std::string back;
    for (Entry const& entry : decode_all(driver, out.view(), 4096)) {
      require(entry.time == kTime && entry.stream == Stream::kStderr);
      back += entry.text;
    }
    if (driver != Driver::kJsonFile || is_ascii(text)) require(back == lines);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(std::uint8_t const* data, std::size_t size) {
  if (size == 0) return 0;
  std::string_view const text(reinterpret_cast<char const*>(data), size);
  check_damaged(text);
  check_round_trip(text);
  if (auto const time = parse_time(text)) {
    TimeText const again(*time, Fraction::kFixed);
    require(parse_time(again.view()) == time);
  }
  (void)parse_log_options("json-file", "/x", {{"max-size", std::string(text)}}).ok();
  (void)parse_log_options("json-file", "/x", {{"attrs", std::string(text)}}).ok();
  return 0;
}
