#include "wire/exchange.h"

#include <charconv>
#include <cstring>
#include <utility>

namespace davit::wire {

namespace {

constexpr std::size_t kBufferSize = 256 * 1024;
// More than one is unusual, and a server must not keep us here for ever.
constexpr int kMaxInterim = 16;
// What is read of a body that nobody wants, to keep its connection.
constexpr std::size_t kDrainBytes = 64 * 1024;
constexpr std::chrono::milliseconds kDrainTime{20};

bool same_name(std::string_view a, std::string_view b) {
  auto const lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; };
  if (a.size() != b.size()) return false;
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (lower(a[i]) != lower(b[i])) return false;
  }
  return true;
}

Deadline after(std::chrono::milliseconds time) { return std::chrono::steady_clock::now() + time; }

// The first byte of a TLS record of type alert or handshake, and the major version.
bool looks_like_tls(std::string_view bytes) {
  return bytes.size() >= 2 && (bytes[0] == 0x15 || bytes[0] == 0x16) && bytes[1] == 0x03;
}

}  // namespace

Exchange::Exchange(ExchangeOptions options, std::shared_ptr<ConnectionPool> pool, std::unique_ptr<Waiter> waiter,
                   std::unique_ptr<Connection> connection)
    : options_(options),
      pool_(std::move(pool)),
      waiter_(std::move(waiter)),
      connection_(std::move(connection)),
      stall_(options.timeouts.stall) {}

Exchange::~Exchange() {
  if (connection_ == nullptr || status_ == 0 || !request_complete_ || waiter_ == nullptr) return;
  if (parser_->body_left().value_or(0) > kDrainBytes) return;
  stall_ = kDrainTime;
  Deadline const end = after(kDrainTime);
  std::size_t drained = 0;
  while (connection_ != nullptr && drained <= kDrainBytes && std::chrono::steady_clock::now() < end) {
    Result<std::string_view> const bytes = next();
    if (!bytes || bytes->empty()) return;
    drained += bytes->size();
  }
}

Result<void> Exchange::wait_for(Progress::Need need, Deadline deadline) {
  short const events = need == Progress::Need::kReadable ? POLLIN : POLLOUT;
  bool const ready = TRY(waiter_->wait(connection_->transport->fd(), events, deadline));
  if (!ready) return Error(Errc::kDeadlineExceeded, "no answer in time");
  return {};
}

// Reads more behind what is unread; 0 at the end of the connection.
Result<std::size_t> Exchange::fill(Deadline deadline) {
  if (buffer_ == nullptr) buffer_ = std::make_unique_for_overwrite<char[]>(kBufferSize);
  if (begin_ > 0) {
    // Less than a chunk's header, as a rule nothing: bodies are handed out as far as they have come.
    std::memmove(buffer_.get(), buffer_.get() + begin_, end_ - begin_);
    end_ -= begin_;
    begin_ = 0;
  }
  if (end_ == kBufferSize) return Error(Errc::kResourceExhausted, "the response's header is too long");
  for (;;) {
    Progress const progress = TRY(connection_->transport->read({buffer_.get() + end_, kBufferSize - end_}));
    if (progress.need == Progress::Need::kNothing) {
      end_ += progress.size;
      received_ = received_ || progress.size > 0;
      return progress.size;
    }
    TRY(wait_for(progress.need, deadline));
  }
}

// Looks for an early answer before each piece: a server that refuses a body (401, 413) reads no more of it, and closes.
Result<Exchange::Sent> Exchange::send(std::string_view first, std::string_view second) {
  Transport& transport = *connection_->transport;
  while (!first.empty() || !second.empty()) {
    TRY(waiter_->check());
    Result<bool> const input = transport.has_input();
    // A broken connection may still hold the answer.
    if (!input || *input) return Sent::kAnswered;
    Result<Progress> const progress = transport.write(first, second);
    if (!progress) return Sent::kAnswered;
    std::size_t const of_first = std::min(progress->size, first.size());
    first.remove_prefix(of_first);
    second.remove_prefix(progress->size - of_first);
    if (progress->need == Progress::Need::kNothing) continue;
    short const events = static_cast<short>(POLLIN | (progress->need == Progress::Need::kWritable ? POLLOUT : 0));
    bool const ready = TRY(waiter_->wait(transport.fd(), events, after(stall_)));
    if (!ready) return Error(Errc::kDeadlineExceeded, "the server takes no more of the request");
  }
  return Sent::kAll;
}

Result<Exchange::Sent> Exchange::send_sized(codec::Source& source, std::uint64_t size) {
  std::uint64_t sent = 0;
  for (;;) {
    std::string_view const piece = TRY_CTX(source.next(), "read the request's body");
    if (piece.empty()) break;
    body_taken_ = true;
    if (piece.size() > size - sent) {
      return Error(Errc::kInvalidArgument, "the request's body is longer than its " + std::to_string(size) + " bytes");
    }
    if (TRY(send({}, piece)) == Sent::kAnswered) return Sent::kAnswered;
    sent += piece.size();
  }
  if (sent == size) return Sent::kAll;
  return Error(Errc::kInvalidArgument,
               "the request's body ended after " + std::to_string(sent) + " of " + std::to_string(size) + " bytes");
}

Result<Exchange::Sent> Exchange::send_chunked(codec::Source& source) {
  char head[24] = "\r\n";
  bool first = true;
  for (;;) {
    std::string_view const piece = TRY_CTX(source.next(), "read the request's body");
    if (piece.empty()) return send(first ? "0\r\n\r\n" : "\r\n0\r\n\r\n", {});
    body_taken_ = true;
    // The line end of the chunk before goes out with the size of this one.
    char* const end = std::to_chars(head + 2, head + sizeof head - 2, piece.size(), 16).ptr;
    std::memcpy(end, "\r\n", 2);
    char const* const begin = first ? head + 2 : head;
    if (TRY(send({begin, static_cast<std::size_t>(end + 2 - begin)}, piece)) == Sent::kAnswered) return Sent::kAnswered;
    first = false;
  }
}

Result<void> Exchange::send_request(std::string const& head, HttpRequest const& request) {
  std::string_view const text = request.body_source == nullptr ? std::string_view(request.body) : std::string_view();
  Sent sent = TRY(send(head, text));
  if (sent == Sent::kAll && request.body_source != nullptr) {
    sent = request.body_size ? TRY(send_sized(*request.body_source, *request.body_size))
                             : TRY(send_chunked(*request.body_source));
  }
  request_complete_ = sent == Sent::kAll;
  return {};
}

Result<void> Exchange::read_head(bool no_body) {
  Deadline const deadline = after(options_.timeouts.response);
  for (int interim = 0; interim <= kMaxInterim;) {
    if (parser_ == nullptr) {
      parser_ =
          std::make_unique<ResponseParser>(ParserLimits{.header_bytes = options_.max_header_bytes, .no_body = no_body});
    }
    ResponseParser::Step const step = TRY(parser_->parse(unread()));
    begin_ += step.used;
    if (step.state == ResponseParser::State::kHead) {
      if (parser_->status() == 101) return Error(Errc::kInvalidArgument, "the server switches protocols unasked");
      if (parser_->status() >= 200) return {};
      parser_.reset();  // 100 Continue, 103 Early Hints: the real one follows
      ++interim;
      continue;
    }
    std::size_t const size = TRY(fill(deadline));
    if (size == 0) {
      TRY(parser_->eof());
      return Error(Errc::kUnavailable, "the connection ended before the response");
    }
  }
  return Error(Errc::kInvalidArgument, "the server sends interim responses without end");
}

Result<void> Exchange::run(std::string const& head, HttpRequest const& request) {
  TRY(send_request(head, request));
  bool const no_body = request.method == "HEAD" || request.method == "CONNECT";
  Result<void> outcome = read_head(no_body);
  if (!outcome && outcome.error().code() != Errc::kCancelled && looks_like_tls(unread())) {
    return Error(Errc::kInvalidArgument, "the server answers in TLS: use https://");
  }
  TRY(std::move(outcome));
  status_ = parser_->status();
  headers_ = parser_->take_headers();
  if (parser_->ended() && request.method != "CONNECT") finish();
  return {};
}

std::unique_ptr<Connection> Exchange::take_connection() { return unread().empty() ? std::move(connection_) : nullptr; }

std::string const* Exchange::header(std::string_view name) const {
  for (auto const& [key, value] : headers_) {
    if (same_name(key, name)) return &value;
  }
  return nullptr;
}

std::vector<std::string> Exchange::headers(std::string_view name) const {
  std::vector<std::string> values;
  for (auto const& [key, value] : headers_) {
    if (same_name(key, name)) values.push_back(value);
  }
  return values;
}

// The response is complete: its connection may serve the next request, even while the last bytes are still being used.
void Exchange::finish() {
  // Bytes behind the response belong to nothing that was asked.
  bool const clean = parser_->keep_alive() && request_complete_ && begin_ == end_;
  std::unique_ptr<Connection> connection = std::move(connection_);
  if (clean && pool_ != nullptr && connection != nullptr) pool_->give(std::move(connection));
}

Result<std::string_view> Exchange::next() {
  for (;;) {
    if (parser_->ended() && connection_ == nullptr) return std::string_view();
    TRY(waiter_->check());
    ResponseParser::Step const step = TRY(parser_->parse(unread()));
    begin_ += step.used;
    if (parser_->ended()) finish();
    if (step.state == ResponseParser::State::kBody) return step.body;
    if (step.state == ResponseParser::State::kEnd) return std::string_view();
    Result<std::size_t> const size = fill(after(stall_));
    if (!size) {
      connection_.reset();
      if (size.error().code() == Errc::kCancelled) return Error(Errc::kCancelled, "cancelled");
      bool const stalled = size.error().code() == Errc::kDeadlineExceeded;
      return Error(Errc::kUnavailable, stalled
                                           ? "the response's body stalled for " + std::to_string(stall_.count()) + " ms"
                                           : "read the response's body: " + size.error().to_string());
    }
    if (*size > 0) continue;
    TRY(parser_->eof());
    connection_.reset();
    return std::string_view();
  }
}

}  // namespace davit::wire
