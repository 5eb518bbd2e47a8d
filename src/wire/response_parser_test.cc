#include "wire/response_parser.h"

#include <gtest/gtest.h>

namespace davit::wire {
namespace {

using State = ResponseParser::State;

struct Outcome {
  int status = 0;
  std::string body;
  bool ended = false;
  std::optional<Errc> error;
};

// Feeds `bytes` as a connection would, `step` at a time, and then the end.
Outcome parse_in_steps(std::string_view bytes, std::size_t step) {
  ResponseParser parser({});
  Outcome outcome;
  std::size_t begin = 0;
  std::size_t end = 0;
  for (;;) {
    Result<ResponseParser::Step> const result = parser.parse(bytes.substr(begin, end - begin));
    if (!result) {
      outcome.error = result.error().code();
      return outcome;
    }
    begin += result->used;
    outcome.body += result->body;
    if (result->state == State::kEnd) break;
    if (result->state != State::kNeedMore) continue;
    if (end == bytes.size()) {
      Result<void> const eof = parser.eof();
      if (!eof) outcome.error = eof.error().code();
      break;
    }
    end = std::min(bytes.size(), end + step);
  }
  outcome.status = parser.status();
  outcome.ended = parser.ended();
  return outcome;
}

TEST(ResponseParser, DoesNotDependOnHowTheBytesArrive) {
  std::string_view const responses[] = {
      "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;a=\"b\"\r\nhel\r\n2\r\nlo\r\n0\r\nX: y\r\n\r\n",
      "HTTP/1.0 200 OK\r\n\r\nhello",
  };
  for (std::string_view const response : responses) {
    for (std::size_t step = 1; step <= response.size(); ++step) {
      Outcome const outcome = parse_in_steps(response, step);
      EXPECT_FALSE(outcome.error.has_value());
      EXPECT_TRUE(outcome.ended);
      EXPECT_EQ(outcome.status, 200);
      EXPECT_EQ(outcome.body, "hello") << "step " << step;
    }
  }
}

TEST(ResponseParser, HandsOutTheBodyInPlaceAndSaysWhatIsLeft) {
  std::string_view const input = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello";
  ResponseParser parser({});
  auto const head = parser.parse(input).value();
  ASSERT_EQ(head.state, State::kHead);
  EXPECT_EQ(parser.content_length(), 10u);
  EXPECT_TRUE(parser.keep_alive());
  EXPECT_EQ(parser.take_headers().size(), 1u);
  auto const body = parser.parse(input.substr(head.used)).value();
  ASSERT_EQ(body.state, State::kBody);
  EXPECT_EQ(body.body.data(), input.data() + head.used);
  EXPECT_EQ(parser.body_left(), 5u);
  EXPECT_EQ(parser.eof().error().code(), Errc::kUnavailable);
}

TEST(ResponseParser, KnowsTheLengthThatHeadPromises) {
  ParserLimits limits;
  limits.no_body = true;
  ResponseParser parser(limits);
  EXPECT_EQ(parser.parse("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n")->state, State::kHead);
  EXPECT_EQ(parser.content_length(), 10u);
  EXPECT_TRUE(parser.ended());
}

TEST(ResponseParser, BoundsWhatItWaitsFor) {
  std::string const chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
  for (std::string const& bytes :
       {chunked + "1;" + std::string(100'000, 'x'), chunked + "0\r\nX: " + std::string(100'000, 'x'),
        "HTTP/1.1 200 " + std::string(100'000, 'x')}) {
    EXPECT_EQ(parse_in_steps(bytes, 1000).error, Errc::kResourceExhausted);
  }
}

}  // namespace
}  // namespace davit::wire
