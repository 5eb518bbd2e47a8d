// HTTP/1.1 responses from bytes (RFC 9112): the head and the framing of the body. The body's bytes are not copied.
// Internal to wire. One thread.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"

namespace davit::wire {

struct ParserLimits {
  std::size_t header_bytes = 65536;  // status line and header fields; and the trailer of a chunked body
  std::size_t header_count = 256;
  std::size_t chunk_extension_bytes = 4096;  // of one chunk
  bool no_body = false;                      // the answer to HEAD or CONNECT
};

// One response: a parser is not used again.
class ResponseParser {
 public:
  explicit ResponseParser(ParserLimits limits);
  ~ResponseParser();

  enum class State {
    kNeedMore,  // give what is left again, with more bytes behind it (or eof())
    kHead,      // status and headers are known; once
    kBody,      // `body` holds the next bytes of the body
    kEnd,       // the response is complete
  };
  struct Step {
    State state = State::kNeedMore;
    std::size_t used = 0;   // bytes of the input that are done with
    std::string_view body;  // points into the input
  };
  // kInvalidArgument when this is not HTTP or its framing is ambiguous or broken; kResourceExhausted past a limit.
  Result<Step> parse(std::string_view input);
  // The connection has ended: kUnavailable when the response is incomplete.
  Result<void> eof();

  int status() const;
  bool ended() const;
  // Valid after kHead.
  std::vector<std::pair<std::string, std::string>> take_headers();
  bool keep_alive() const;
  std::optional<std::uint64_t> content_length() const;  // as the header says, also for HEAD
  std::optional<std::uint64_t> body_left() const;       // what is still to come, nullopt when unknown

 private:
  struct Body;
  std::unique_ptr<Body> body_;
};

}  // namespace davit::wire
