#include "wire/http_client.h"

#include <gtest/gtest.h>

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

}  // namespace
}  // namespace davit::wire
