// Responses of a server that wants to do harm (wire/response_parser.h): however the bytes arrive, the outcome is the
// same.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <optional>
#include <string>
#include <string_view>

#include "wire/response_parser.h"

namespace {

using namespace davit;
using namespace davit::wire;

void require(bool condition) {
  if (!condition) std::abort();
}

struct Outcome {
  int status = 0;
  std::string headers, body;
  std::size_t used = 0;
  bool ended = false, failed = false;
  bool operator==(Outcome const&) const = default;
};

Outcome parse(std::string_view bytes, std::size_t step, bool no_body) {
  ParserLimits limits;
  limits.no_body = no_body;
  limits.header_count = 20;
  ResponseParser parser(limits);
  Outcome outcome;
  std::size_t end = 0;
  for (;;) {
    std::string_view const unread = bytes.substr(outcome.used, end - outcome.used);
    // A copy of exactly that size: a read past its end is found.
    std::string const exact(unread);
    Result<ResponseParser::Step> const result = parser.parse(exact);
    if (!result) {
      outcome.failed = true;
      return outcome;
    }
    require(result->used <= exact.size());
    outcome.used += result->used;
    outcome.body += result->body;
    if (result->state == ResponseParser::State::kHead) {
      outcome.status = parser.status();
      require(outcome.status >= 0 && outcome.status <= 999);
      for (auto const& [name, value] : parser.take_headers()) outcome.headers += name + ": " + value + "\n";
      (void)parser.keep_alive();
      if (auto const length = parser.content_length())
        require(no_body || parser.ended() || parser.body_left() == length);
    }
    if (result->state == ResponseParser::State::kEnd) break;
    if (result->state != ResponseParser::State::kNeedMore) continue;
    if (end == bytes.size()) {
      outcome.failed = !parser.eof().ok();
      break;
    }
    end = std::min(bytes.size(), end + step);
  }
  outcome.ended = parser.ended();
  return outcome;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(std::uint8_t const* data, std::size_t size) {
  if (size == 0) return 0;
  bool const no_body = (data[0] & 1) != 0;
  std::size_t const step = 1 + (data[0] >> 1);
  std::string_view const text(reinterpret_cast<char const*>(data) + 1, size - 1);
  Outcome const at_once = parse(text, SIZE_MAX / 2, no_body);
  Outcome const in_steps = parse(text, step, no_body);
  require(at_once.failed == in_steps.failed);
  if (!at_once.failed) require(at_once == in_steps);
  return 0;
}
