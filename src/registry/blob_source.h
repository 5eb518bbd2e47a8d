// The bytes of a blob, or of a range of it, over as many connections in a row as it takes. One thread at a time.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>

#include "base/result.h"
#include "codec/stream.h"
#include "registry/retry.h"
#include "wire/http_client.h"

namespace davit::registry {

// Asks for bytes first..last (inclusive) or first to the end. The answer has status 200 or 206.
struct ByteRange {
  std::uint64_t first = 0;
  std::optional<std::uint64_t> last;
  // "bytes=5-9"; "" for everything
  std::string header() const;
};
using OpenRange =
    std::function<Result<std::unique_ptr<wire::HttpResponse>>(ByteRange const& range, std::stop_token const& stop)>;

// Content-Range of a 206: "bytes 5-9/100" or "bytes 5-9/*".
struct ContentRange {
  std::uint64_t first = 0, last = 0;
  std::optional<std::uint64_t> total;
  static Result<ContentRange> parse(std::string_view text);
};

class BlobSource : public codec::Source {
 public:
  struct Plan {
    std::uint64_t begin = 0, end = 0;  // end is exclusive
    std::uint64_t total = 0;           // of the blob
    RetryPolicy policy{};
    std::stop_token stop{};
  };
  BlobSource(OpenRange open, Plan plan) : open_(std::move(open)), plan_(std::move(plan)), position_(plan_.begin) {}

  // Asks for the first bytes, so that an error comes now. next() does it otherwise.
  Result<void> start();
  // Ends exactly at plan.end. kInvalidArgument: the server has more or fewer bytes than the blob; else what open gives
  // after the last attempt, or kUnavailable when connections break that often without a byte between.
  Result<std::string_view> next() override;

  // Once started: the server answered a range with everything; end() is then the blob's end.
  bool range_ignored() const { return range_ignored_; }
  std::uint64_t end() const { return plan_.end; }
  std::uint64_t position() const { return position_; }

 private:
  Result<void> connect();
  Result<void> check_full(wire::HttpResponse const& response);
  Result<void> check_partial(wire::HttpResponse const& response, ByteRange const& asked) const;
  Result<void> broken(Error error);
  Result<std::string_view> take(std::string_view chunk);
  Error size_error(std::string_view what) const;

  OpenRange open_;
  Plan plan_;
  std::uint64_t position_;
  std::unique_ptr<wire::HttpResponse> response_;
  std::uint64_t skip_ = 0;  // bytes of this response before position_
  unsigned failures_ = 0;   // since the last byte
  bool range_ignored_ = false;
  bool ended_ = false;
};

}  // namespace davit::registry
