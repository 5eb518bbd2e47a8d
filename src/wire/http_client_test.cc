#include "wire/http_client.h"

#include <gtest/gtest.h>

#include <atomic>

#include "wire/testing/http_server.h"

namespace davit::wire {
namespace {

using namespace std::chrono_literals;
using testing::Answer;
using testing::Channel;
using testing::HttpServer;
using testing::RecordedRequest;

HttpRequest get(HttpServer const& server, std::string_view target = "/") {
  return {.url = Url::parse(server.url(target)).value()};
}

std::string body_of(Result<std::unique_ptr<HttpResponse>>& response) {
  if (!response) return "error: " + response.error().to_string();
  Result<std::string> body = codec::read_all(**response, std::size_t{1} << 30);
  return body ? *body : "error: " + body.error().to_string();
}

HttpClient make_client() { return HttpClient(HttpClient::Options{}); }

TEST(HttpClient, SendsARequestAndReadsTheAnswer) {
  HttpServer server([](RecordedRequest const&) { return Answer::of(200, "hello", {{"X-Test", "1"}}); });
  HttpClient client = make_client();
  HttpRequest request = get(server, "/a?b=c");
  request.headers = {{"Accept", "text/plain"}};
  auto response = client.send(request);
  EXPECT_EQ(body_of(response), "hello");
  EXPECT_EQ((*response)->status(), 200);
  ASSERT_NE((*response)->header("x-tEST"), nullptr);
  EXPECT_EQ(*(*response)->header("x-tEST"), "1");
  EXPECT_EQ((*response)->content_length(), 5u);
  RecordedRequest const seen = server.requests().at(0);
  EXPECT_EQ(seen.method, "GET");
  EXPECT_EQ(seen.target, "/a?b=c");
  EXPECT_EQ(seen.header("Host"), server.origin());
  EXPECT_EQ(seen.header("Accept"), "text/plain");
  EXPECT_EQ(seen.header("User-Agent"), "davit");
}

TEST(HttpClient, KeepsConnectionsAlive) {
  HttpServer server([](RecordedRequest const&) { return Answer::of(200, "x"); });
  HttpClient client = make_client();
  for (int i = 0; i < 3; ++i) {
    auto response = client.send(get(server));
    EXPECT_EQ(body_of(response), "x");
  }
  EXPECT_EQ(server.connections(), 1);
}

TEST(HttpClient, UploadsFromASourceOfKnownAndUnknownSize) {
  HttpServer server([](RecordedRequest const&) { return Answer::of(201, ""); });
  HttpClient client = make_client();
  std::string const data(3 << 20, 'd');
  for (bool const known : {true, false}) {
    codec::MemorySource source(data, 100'000);
    HttpRequest request = get(server);
    request.method = "PUT";
    request.body_source = &source;
    if (known) request.body_size = data.size();
    auto response = client.send(request);
    ASSERT_TRUE(response.ok()) << response.error().to_string();
    EXPECT_EQ((*response)->status(), 201);
    EXPECT_EQ(server.requests().back().body, data);
  }
}

TEST(HttpClient, SendsAgainWhenAKeptAliveConnectionHasDied) {
  HttpServer server([](RecordedRequest const&) { return Answer::of(200, "x"); });
  HttpClient client = make_client();
  auto first = client.send(get(server));
  EXPECT_EQ(body_of(first), "x");
  server.drop_connections();
  HttpRequest request = get(server);
  request.method = "POST";
  request.body = "again";
  auto second = client.send(request);
  EXPECT_EQ(body_of(second), "x");
  EXPECT_EQ(server.connections(), 2);
}

// The server takes the second request of a connection and then ends it without an answer.
class ClosesOnReuse : public ::testing::Test {
 protected:
  HttpServer server_{[this](RecordedRequest const& request) {
    bool const reused = request.connection == last_.exchange(request.connection);
    return reused ? Answer::raw("", true) : Answer::of(200, "fresh");
  }};
  std::atomic<int> last_ = 0;
  HttpClient client_{HttpClient::Options{}};

  void warm_up() {
    auto response = client_.send(get(server_));
    ASSERT_EQ(body_of(response), "fresh");
  }
};

TEST_F(ClosesOnReuse, ARequestIsSentAgainOnce) {
  warm_up();
  auto response = client_.send(get(server_));
  EXPECT_EQ(body_of(response), "fresh");
  EXPECT_EQ(server_.requests().size(), 3u);
}

TEST_F(ClosesOnReuse, ABodyThatIsGoneIsNotSentAgain) {
  warm_up();
  codec::MemorySource source("body");
  HttpRequest request = get(server_);
  request.method = "PUT";
  request.body_source = &source;
  auto const response = client_.send(request);
  ASSERT_FALSE(response.ok());
  EXPECT_EQ(response.error().code(), Errc::kUnavailable);
}

TEST(HttpClient, AFreshConnectionIsNotTriedTwice) {
  HttpServer server([](RecordedRequest const&) { return Answer::raw("", true); });
  HttpClient client = make_client();
  auto const response = client.send(get(server));
  ASSERT_FALSE(response.ok());
  EXPECT_EQ(response.error().code(), Errc::kUnavailable);
  EXPECT_EQ(server.connections(), 1);
}

TEST(HttpClient, ReturnsARedirectAsItIs) {
  HttpServer server([](RecordedRequest const&) { return Answer::of(307, "", {{"Location", "/there"}}); });
  HttpClient client = make_client();
  auto const response = client.send(get(server));
  ASSERT_TRUE(response.ok());
  EXPECT_EQ((*response)->status(), 307);
  EXPECT_EQ(*(*response)->header("location"), "/there");
  EXPECT_EQ(server.requests().size(), 1u);
}

struct FramingCase {
  std::string_view name, bytes;
  std::string_view body{};      // of a good one
  std::optional<Errc> error{};  // of send() or of reading
  std::string_view method = "GET";
  bool reusable = false;
};

class HttpFraming : public ::testing::TestWithParam<FramingCase> {};

TEST_P(HttpFraming, GivesTheBodyOrRefuses) {
  FramingCase const& wanted = GetParam();
  HttpServer server([&](RecordedRequest const&) { return Answer::raw(std::string(wanted.bytes), !wanted.reusable); });
  HttpClient client = make_client();
  for (int i = 0; i < 2; ++i) {
    HttpRequest request = get(server);
    request.method = wanted.method;
    auto response = client.send(request);
    if (!response) {
      ASSERT_TRUE(wanted.error.has_value()) << response.error().to_string();
      EXPECT_EQ(response.error().code(), *wanted.error) << response.error().to_string();
      continue;
    }
    Result<std::string> const body = codec::read_all(**response, 1 << 20);
    ASSERT_EQ(body.ok(), !wanted.error.has_value()) << (body ? *body : body.error().to_string());
    if (body) {
      EXPECT_EQ(*body, wanted.body);
    } else {
      EXPECT_EQ(body.error().code(), *wanted.error) << body.error().to_string();
    }
  }
  EXPECT_EQ(server.connections(), wanted.reusable ? 1 : 2);
}

std::string const kManyHeaders = [] {
  std::string text = "HTTP/1.1 200 OK\r\n";
  for (int i = 0; i < 300; ++i) text += "X: y\r\n";
  return text + "Content-Length: 0\r\n\r\n";
}();
std::string const kLongHeader = "HTTP/1.1 200 OK\r\nX: " + std::string(70'000, 'x') + "\r\nContent-Length: 0\r\n\r\n";
std::string const kEndlessHeader = "HTTP/1.1 200 OK\r\nX: " + std::string(400'000, 'x');
std::string const kLongExtension =
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;x=" + std::string(9000, 'x') + "\r\na\r\n0\r\n\r\n";
std::string const kManyInterim = [] {
  std::string text;
  for (int i = 0; i < 40; ++i) text += "HTTP/1.1 103 Early Hints\r\n\r\n";
  return text + "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
}();

#define OK_ "HTTP/1.1 200 OK\r\n"
#define CHUNKED OK_ "Transfer-Encoding: chunked\r\n\r\n"
INSTANTIATE_TEST_SUITE_P(
    Table, HttpFraming,
    ::testing::Values(
        FramingCase{.name = "length", .bytes = OK_ "Content-Length: 2\r\n\r\nab", .body = "ab", .reusable = true},
        FramingCase{.name = "length_zero", .bytes = OK_ "Content-Length: 0\r\n\r\n", .body = "", .reusable = true},
        FramingCase{.name = "same_length_twice",
                    .bytes = OK_ "Content-Length: 1\r\nContent-Length: 1\r\n\r\na",
                    .body = "a",
                    .reusable = true},
        FramingCase{.name = "chunks",
                    .bytes = CHUNKED "1\r\na\r\nA;x=y\r\n0123456789\r\n0\r\n\r\n",
                    .body = "a0123456789",
                    .reusable = true},
        FramingCase{
            .name = "trailer", .bytes = CHUNKED "1\r\na\r\n0\r\nX-Sum: 1\r\n\r\n", .body = "a", .reusable = true},
        FramingCase{.name = "until_close", .bytes = OK_ "\r\nabc", .body = "abc"},
        FramingCase{.name = "http_1_0", .bytes = "HTTP/1.0 200 OK\r\n\r\nabc", .body = "abc"},
        FramingCase{
            .name = "connection_close", .bytes = OK_ "Connection: close\r\nContent-Length: 1\r\n\r\na", .body = "a"},
        FramingCase{.name = "too_much", .bytes = OK_ "Content-Length: 1\r\n\r\nab", .body = "a"},
        FramingCase{.name = "no_content", .bytes = "HTTP/1.1 204 No\r\n\r\n", .body = "", .reusable = true},
        FramingCase{.name = "not_modified",
                    .bytes = "HTTP/1.1 304 No\r\nContent-Length: 5\r\n\r\n",
                    .body = "",
                    .reusable = true},
        FramingCase{
            .name = "head", .bytes = OK_ "Content-Length: 5\r\n\r\n", .body = "", .method = "HEAD", .reusable = true},
        FramingCase{
            .name = "interim",
            .bytes = "HTTP/1.1 100 Go\r\n\r\nHTTP/1.1 103 Hints\r\nLink: x\r\n\r\n" OK_ "Content-Length: 1\r\n\r\na",
            .body = "a",
            .reusable = true},
        FramingCase{.name = "truncated", .bytes = OK_ "Content-Length: 5\r\n\r\nab", .error = Errc::kUnavailable},
        FramingCase{.name = "truncated_chunk", .bytes = CHUNKED "5\r\nab", .error = Errc::kUnavailable},
        FramingCase{.name = "no_last_chunk", .bytes = CHUNKED "2\r\nab\r\n", .error = Errc::kUnavailable},
        FramingCase{.name = "truncated_head", .bytes = OK_ "Content-Le", .error = Errc::kUnavailable},
        FramingCase{.name = "bad_chunk_size", .bytes = CHUNKED "x\r\nab\r\n", .error = Errc::kInvalidArgument},
        FramingCase{
            .name = "chunk_overflow", .bytes = CHUNKED "fffffffffffffffff\r\nab\r\n", .error = Errc::kInvalidArgument},
        FramingCase{.name = "bad_chunk_end", .bytes = CHUNKED "2\r\nabX\r\n0\r\n\r\n", .error = Errc::kInvalidArgument},
        FramingCase{.name = "both_lengths",
                    .bytes = OK_ "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n",
                    .error = Errc::kInvalidArgument},
        FramingCase{.name = "both_lengths_other_order",
                    .bytes = OK_ "Transfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n2\r\nab\r\n0\r\n\r\n",
                    .error = Errc::kInvalidArgument},
        FramingCase{.name = "two_lengths",
                    .bytes = OK_ "Content-Length: 2\r\nContent-Length: 3\r\n\r\nab",
                    .error = Errc::kInvalidArgument},
        FramingCase{
            .name = "negative_length", .bytes = OK_ "Content-Length: -1\r\n\r\n", .error = Errc::kInvalidArgument},
        FramingCase{
            .name = "other_coding", .bytes = OK_ "Transfer-Encoding: gzip\r\n\r\nab", .error = Errc::kInvalidArgument},
        FramingCase{.name = "two_codings",
                    .bytes = OK_ "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
                    .error = Errc::kInvalidArgument},
        FramingCase{
            .name = "space_before_colon", .bytes = OK_ "Content-Length : 1\r\n\r\na", .error = Errc::kInvalidArgument},
        FramingCase{.name = "nul_in_header",
                    .bytes = std::string_view("HTTP/1.1 200 OK\r\nX: a\0b\r\n\r\n", 28),
                    .error = Errc::kInvalidArgument},
        FramingCase{.name = "not_http", .bytes = "SSH-2.0-x\r\n", .error = Errc::kInvalidArgument},
        FramingCase{.name = "tls_alert",
                    .bytes = std::string_view("\x15\x03\x01\x00\x02\x02\x16", 7),
                    .error = Errc::kInvalidArgument},
        FramingCase{.name = "http_2", .bytes = "HTTP/2.0 200 OK\r\n\r\n", .error = Errc::kInvalidArgument},
        FramingCase{.name = "switching", .bytes = "HTTP/1.1 101 No\r\n\r\n", .error = Errc::kInvalidArgument},
        FramingCase{.name = "many_interim", .bytes = kManyInterim, .error = Errc::kInvalidArgument},
        FramingCase{.name = "many_headers", .bytes = kManyHeaders, .error = Errc::kResourceExhausted},
        FramingCase{.name = "long_header", .bytes = kLongHeader, .error = Errc::kResourceExhausted},
        FramingCase{.name = "endless_header", .bytes = kEndlessHeader, .error = Errc::kResourceExhausted},
        FramingCase{.name = "long_extension", .bytes = kLongExtension, .error = Errc::kResourceExhausted}),
    [](auto const& info) { return std::string(info.param.name); });
#undef CHUNKED
#undef OK_

TEST(HttpClient, StopsInTheMiddleOfABody) {
  std::atomic<bool> sent = false;
  HttpServer server([&](RecordedRequest const&) {
    return Answer::run([&](Channel& channel) {
      channel.write("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc");
      sent = true;
      char byte;
      channel.read(&byte, 1);  // until the client goes
    });
  });
  HttpClient client = make_client();
  std::stop_source stop;
  auto response = client.send(get(server), stop.get_token());
  ASSERT_TRUE(response.ok());
  EXPECT_EQ((*response)->next().value(), "abc");
  std::jthread const stopper([&] {
    std::this_thread::sleep_for(50ms);
    stop.request_stop();
  });
  auto const start = std::chrono::steady_clock::now();
  Result<std::string_view> const rest = (*response)->next();
  ASSERT_FALSE(rest.ok());
  EXPECT_EQ(rest.error().code(), Errc::kCancelled);
  EXPECT_LT(std::chrono::steady_clock::now() - start, 250ms);
}

TEST(HttpClient, StopsWhileWaitingForTheAnswer) {
  HttpServer server([](RecordedRequest const&) {
    return Answer::run([](Channel& channel) {
      char byte;
      channel.read(&byte, 1);
    });
  });
  HttpClient client = make_client();
  std::stop_source stop;
  std::jthread const stopper([&] {
    std::this_thread::sleep_for(50ms);
    stop.request_stop();
  });
  auto const response = client.send(get(server), stop.get_token());
  ASSERT_FALSE(response.ok());
  EXPECT_EQ(response.error().code(), Errc::kCancelled);
}

TEST(HttpClient, GivesUpOnASilentServerAndOnAStalledBody) {
  HttpServer server([](RecordedRequest const& request) {
    return Answer::run([stall = request.target == "/stall"](Channel& channel) {
      if (stall) channel.write("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc");
      char byte;
      channel.read(&byte, 1);
    });
  });
  HttpClient client({.timeouts = {.response = 50ms, .stall = 50ms}});
  auto const silent = client.send(get(server, "/silent"));
  ASSERT_FALSE(silent.ok());
  EXPECT_EQ(silent.error().code(), Errc::kUnavailable);
  auto const stalled = client.send(get(server, "/stall"));
  ASSERT_TRUE(stalled.ok());
  EXPECT_EQ((*stalled)->next().value(), "abc");
  EXPECT_EQ((*stalled)->next().error().code(), Errc::kUnavailable);
}

TEST(HttpClient, NoticesAnEarlyRefusalOfABody) {
  HttpServer server([](RecordedRequest const&) { return Answer::of(201, ""); }, {},
                    [](RecordedRequest const&) -> std::optional<Answer> {
                      Answer answer = Answer::of(413, "too large");
                      answer.close = true;
                      return answer;
                    });
  HttpClient client = make_client();
  std::string const data(std::size_t{64} << 20, 'd');
  codec::MemorySource source(data, 256 << 10);
  HttpRequest request = get(server);
  request.method = "PUT";
  request.body_source = &source;
  request.body_size = data.size();
  auto response = client.send(request);
  EXPECT_EQ(body_of(response), "too large");
  EXPECT_EQ((*response)->status(), 413);
  // Not all of it was taken.
  EXPECT_FALSE(source.next()->empty());
}

TEST(HttpClient, HoldsASourceToItsSize) {
  HttpServer server([](RecordedRequest const&) { return Answer::of(201, ""); });
  HttpClient client = make_client();
  for (std::uint64_t const size : {3u, 5u}) {
    codec::MemorySource source("four");
    HttpRequest request = get(server);
    request.method = "PUT";
    request.body_source = &source;
    request.body_size = size;
    auto const response = client.send(request);
    ASSERT_FALSE(response.ok());
    EXPECT_EQ(response.error().code(), Errc::kInvalidArgument);
  }
  EXPECT_EQ(server.requests().size(), 0u);
}

TEST(HttpClient, RefusesWhatWouldChangeTheRequest) {
  HttpServer server([](RecordedRequest const&) { return Answer::of(200, ""); });
  HttpClient client = make_client();
  std::vector<HttpRequest> bad(7, get(server));
  bad[0].headers = {{"X", "a\r\nY: b"}};
  bad[1].headers = {{"X: y\r\nZ", "a"}};
  bad[2].headers = {{"content-length", "1"}};
  bad[3].url.target = "/a b";
  bad[4].url.target = "/a\r\nX: y";
  bad[5].method = "GET / HTTP/1.1\r\n";
  bad[6].url.host = "a\r\nX: y";
  for (HttpRequest const& request : bad) {
    auto const response = client.send(request);
    ASSERT_FALSE(response.ok());
    EXPECT_EQ(response.error().code(), Errc::kInvalidArgument);
  }
  EXPECT_EQ(server.connections(), 0);
}

TEST(HttpClient, SaysWhereItCouldNotConnect) {
  std::uint16_t port = 0;
  {
    UniqueFd const closed = sys::listen_tcp("127.0.0.1", 0).value();
    port = sys::local_port(closed.get()).value();
  }
  HttpClient client = make_client();
  std::string const address = "127.0.0.1:" + std::to_string(port);
  auto const response = client.send({.url = Url::parse("http://" + address + "/x?signature=secret").value()});
  ASSERT_FALSE(response.ok());
  EXPECT_EQ(response.error().code(), Errc::kUnavailable);
  EXPECT_NE(response.error().to_string().find(address), std::string::npos);
  EXPECT_EQ(response.error().to_string().find("secret"), std::string::npos);
}

TEST(HttpClient, ReadsASmallRestToKeepTheConnection) {
  HttpServer server([](RecordedRequest const&) { return Answer::of(404, "not found"); });
  HttpClient client = make_client();
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(client.send(get(server)).ok());
  EXPECT_EQ(server.connections(), 1);
}

TEST(HttpClient, IsUsedByManyThreads) {
  HttpServer server([](RecordedRequest const& request) { return Answer::of(200, request.target); });
  HttpClient client({.max_idle_per_host = 2});
  std::vector<std::jthread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&, i] {
      for (int j = 0; j < 20; ++j) {
        std::string const target = "/" + std::to_string(i) + "/" + std::to_string(j);
        auto response = client.send(get(server, target));
        EXPECT_EQ(body_of(response), target);
      }
    });
  }
}

}  // namespace
}  // namespace davit::wire
