// The one translation unit that sees Boost.Beast; of Asio it needs the buffer types only.
#include "wire/response_parser.h"

#include <boost/beast/http/basic_parser.hpp>
#include <limits>

namespace davit::wire {

namespace http = boost::beast::http;
using boost::beast::error_code;

namespace {
std::string_view view(boost::beast::string_view text) { return {text.data(), text.size()}; }
}  // namespace

// Beast calls back for each part; the callbacks only note it.
struct ResponseParser::Body final : http::basic_parser<false> {
  ParserLimits limits;
  std::vector<std::pair<std::string, std::string>> headers;
  std::size_t header_count = 0;
  int code = 0;
  bool in_trailer = false;
  bool bad_coding = false;
  bool too_many_headers = false;
  bool long_extension = false;
  bool head_reported = false;
  std::string_view piece;

  explicit Body(ParserLimits given) : limits(given) {
    constexpr std::size_t kMost = std::numeric_limits<std::uint32_t>::max();
    header_limit(static_cast<std::uint32_t>(std::min(limits.header_bytes, kMost)));
    body_limit(boost::none);
    skip(limits.no_body);
  }

  Result<Step> step(std::string_view input);
  Result<void> check_unfinished(std::size_t unread);
  Error failure(error_code const& error) const;

 private:
  void on_request_impl(http::verb, boost::beast::string_view, boost::beast::string_view, int, error_code&) override {}
  void on_response_impl(int status, boost::beast::string_view, int, error_code&) override { code = status; }
  void on_field_impl(http::field name, boost::beast::string_view name_text, boost::beast::string_view value,
                     error_code& error) override;
  void on_header_impl(error_code&) override { in_trailer = true; }
  void on_body_init_impl(boost::optional<std::uint64_t> const&, error_code&) override {}
  std::size_t on_body_impl(boost::beast::string_view bytes, error_code&) override {
    piece = view(bytes);
    return bytes.size();
  }
  void on_chunk_header_impl(std::uint64_t, boost::beast::string_view extensions, error_code& error) override {
    if (extensions.size() <= limits.chunk_extension_bytes) return;
    long_extension = true;
    error = http::error::header_limit;
  }
  std::size_t on_chunk_body_impl(std::uint64_t, boost::beast::string_view bytes, error_code&) override {
    piece = view(bytes);
    return bytes.size();
  }
  void on_finish_impl(error_code&) override {}
};

void ResponseParser::Body::on_field_impl(http::field name, boost::beast::string_view name_text,
                                         boost::beast::string_view value, error_code& error) {
  if (++header_count > limits.header_count) {
    too_many_headers = true;
    error = http::error::header_limit;
    return;
  }
  if (in_trailer) return;  // nothing here needs a trailer field, and none may change what the head said
  // Beast takes a coding that is not "chunked" for a body that ends with the connection. We ask for no coding, and a
  // body whose coding is ignored would be taken for the content.
  if (name == http::field::transfer_encoding && !boost::beast::iequals(value, "chunked")) {
    bad_coding = true;
    error = http::error::bad_transfer_encoding;
    return;
  }
  headers.emplace_back(view(name_text), view(value));
}

Error ResponseParser::Body::failure(error_code const& error) const {
  if (too_many_headers) {
    return Error(Errc::kResourceExhausted,
                 "the response has more than " + std::to_string(limits.header_count) + " header fields");
  }
  if (long_extension) return Error(Errc::kResourceExhausted, "a chunk's header in the response is too long");
  if (error == http::error::header_limit) {
    return Error(Errc::kResourceExhausted,
                 "the response's header is longer than " + std::to_string(limits.header_bytes) + " bytes");
  }
  if (bad_coding) return Error(Errc::kInvalidArgument, "the response has a Transfer-Encoding other than 'chunked'");
  if (error == http::error::partial_message) {
    return Error(Errc::kUnavailable, code == 0 ? "the connection ended before the response"
                                               : "the connection ended before the end of the response");
  }
  return Error(Errc::kInvalidArgument, "the response is not valid HTTP/1.1: " + error.message());
}

// Beast waits for the end of a chunk's header or of the trailer however long it gets; the head has its own limit.
Result<void> ResponseParser::Body::check_unfinished(std::size_t unread) {
  if (!is_header_done() || unread <= limits.header_bytes) return {};
  return Error(Errc::kResourceExhausted, "a chunk's header or the trailer of the response is too long");
}

Result<ResponseParser::Step> ResponseParser::Body::step(std::string_view input) {
  Step result;
  piece = {};
  while (!is_done()) {
    error_code error;
    std::string_view const rest = input.substr(result.used);
    if (rest.empty()) return result;
    result.used += put(boost::asio::const_buffer(rest.data(), rest.size()), error);
    if (error == http::error::need_more) {
      TRY(check_unfinished(input.size() - result.used));
      return result;
    }
    if (error) return failure(error);
    if (is_header_done() && !head_reported) break;
    if (!piece.empty()) {
      result.state = State::kBody;
      result.body = piece;
      return result;
    }
  }
  if (!head_reported && is_header_done()) {
    head_reported = true;
    result.state = State::kHead;
    return result;
  }
  result.state = State::kEnd;
  return result;
}

ResponseParser::ResponseParser(ParserLimits limits) : body_(std::make_unique<Body>(limits)) {}
ResponseParser::~ResponseParser() = default;

Result<ResponseParser::Step> ResponseParser::parse(std::string_view input) { return body_->step(input); }

Result<void> ResponseParser::eof() {
  if (body_->is_done()) return {};
  error_code error = http::error::partial_message;
  if (body_->got_some()) body_->put_eof(error);
  if (error) return body_->failure(error);
  return {};
}

int ResponseParser::status() const { return body_->code; }
bool ResponseParser::ended() const { return body_->is_done(); }
std::vector<std::pair<std::string, std::string>> ResponseParser::take_headers() { return std::move(body_->headers); }
bool ResponseParser::keep_alive() const { return body_->keep_alive(); }

std::optional<std::uint64_t> ResponseParser::content_length() const {
  auto const length = body_->content_length();
  return length ? std::optional<std::uint64_t>(*length) : std::nullopt;
}

std::optional<std::uint64_t> ResponseParser::body_left() const {
  if (body_->is_done()) return 0;
  auto const left = body_->content_length_remaining();
  return left ? std::optional<std::uint64_t>(*left) : std::nullopt;
}

}  // namespace davit::wire
