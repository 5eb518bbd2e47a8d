#include "registry/blob_source.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/text.h"

namespace davit::registry {

std::string ByteRange::header() const {
  if (first == 0 && !last) return {};
  return last ? fmt::format("bytes={}-{}", first, *last) : fmt::format("bytes={}-", first);
}

Result<ContentRange> ContentRange::parse(std::string_view text) {
  Error wrong(Errc::kInvalidArgument, fmt::format("Content-Range '{}' is not FIRST-LAST/TOTAL", text.substr(0, 100)));
  std::string_view rest = trim(text);
  if (!rest.starts_with("bytes ")) return wrong;
  rest = trim(rest.substr(6));
  std::size_t const dash = rest.find('-'), slash = rest.find('/');
  if (dash == std::string_view::npos || slash == std::string_view::npos || slash < dash) return wrong;
  auto const first = parse_u64(rest.substr(0, dash)), last = parse_u64(rest.substr(dash + 1, slash - dash - 1));
  std::string_view const total = rest.substr(slash + 1);
  if (!first || !last || *last < *first) return wrong;
  ContentRange range{*first, *last, std::nullopt};
  if (total == "*") return range;
  range.total = parse_u64(total);
  if (!range.total || *range.total <= *last) return wrong;
  return range;
}

Error BlobSource::size_error(std::string_view what) const {
  return Error(Errc::kInvalidArgument,
               fmt::format("the registry's blob is {} the {} bytes that its descriptor says", what, plan_.total));
}

// 200: the whole blob, whatever was asked for.
Result<void> BlobSource::check_full(wire::HttpResponse const& response) {
  auto const length = response.content_length();
  if (length && *length != plan_.total) return size_error(*length > plan_.total ? "longer than" : "shorter than");
  skip_ = position_;
  if (plan_.end == plan_.total) return {};
  // A range was wanted and all is coming: one connection then carries the rest.
  range_ignored_ = true;
  plan_.end = plan_.total;
  return {};
}

Result<void> BlobSource::check_partial(wire::HttpResponse const& response, ByteRange const& asked) const {
  std::string const* text = response.header("Content-Range");
  if (text == nullptr) return Error(Errc::kInvalidArgument, "the registry answers 206 without Content-Range");
  ContentRange const range = TRY(ContentRange::parse(*text));
  if (range.total && *range.total != plan_.total) {
    return size_error(*range.total > plan_.total ? "longer than" : "shorter than");
  }
  // A shorter range than asked for is allowed: the rest is asked for again.
  if (range.first != asked.first || range.last >= plan_.end) {
    return Error(Errc::kInvalidArgument,
                 fmt::format("asked for bytes {}-{}, the registry answers '{}'", asked.first, plan_.end - 1, *text));
  }
  return {};
}

Result<void> BlobSource::connect() {
  ByteRange range{position_, {}};
  if (plan_.end < plan_.total) range.last = plan_.end - 1;
  skip_ = 0;
  auto response = TRY(open_(range, plan_.stop));
  if (response->status() == 206) {
    TRY(check_partial(*response, range));
  } else {
    TRY(check_full(*response));
  }
  response_ = std::move(response);
  return {};
}

Result<void> BlobSource::start() {
  if (response_ == nullptr && position_ < plan_.end) return connect();
  return {};
}

// The connection is lost. OK: another may be tried now.
Result<void> BlobSource::broken(Error error) {
  response_.reset();
  if (error.code() != Errc::kUnavailable) return error;
  if (++failures_ >= plan_.policy.attempts) {
    return std::move(error).with_context(
        fmt::format("gave up at byte {} of {} after {} broken connections", position_, plan_.total, failures_));
  }
  return back_off(plan_.policy, failures_, plan_.stop);
}

// chunk without what comes before the position.
Result<std::string_view> BlobSource::take(std::string_view chunk) {
  std::uint64_t const skipped = std::min<std::uint64_t>(skip_, chunk.size());
  skip_ -= skipped;
  chunk.remove_prefix(skipped);
  if (chunk.size() > plan_.end - position_) return size_error("longer than");
  position_ += chunk.size();
  if (!chunk.empty()) failures_ = 0;
  return chunk;
}

Result<std::string_view> BlobSource::next() {
  if (ended_) return std::string_view();
  while (position_ < plan_.end) {
    if (plan_.stop.stop_requested()) return cancelled();
    if (response_ == nullptr) TRY(connect());
    auto chunk = response_->next();
    if (!chunk.ok()) {
      TRY(broken(std::move(chunk).take_error()));
    } else if (chunk->empty()) {
      // A 206 that was shorter than asked for ends well: the rest is another request. Without any byte it is no
      // progress and counts as a failure.
      bool const partial = response_->status() == 206 && failures_ == 0 && position_ > plan_.begin;
      response_.reset();
      if (!partial) TRY(broken(Error(Errc::kUnavailable, "the registry ended the blob too early")));
      if (partial) failures_ = 1;
    } else {
      std::string_view const bytes = TRY(take(*chunk));
      if (!bytes.empty()) return bytes;
    }
  }
  ended_ = true;
  if (response_ == nullptr) return std::string_view();
  // Reads the framing's end, which lets the connection be used again; and nothing else may come.
  auto const rest = response_->next();
  bool const more = rest.ok() && !rest->empty();
  response_.reset();
  if (more) return size_error("longer than");
  return std::string_view();
}

}  // namespace davit::registry
