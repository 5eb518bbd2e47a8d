#include "wire/proxy.h"

#include <gtest/gtest.h>

#include "codec/base64.h"
#include "sys/file.h"
#include "sys/testing/temp_dir.h"
#include "wire/testing/tls_server.h"

namespace davit::wire {
namespace {

using testing::Answer;
using testing::Channel;
using testing::HttpServer;
using testing::RecordedRequest;

struct NoProxyCase {
  std::string_view name, list, host;
  std::uint16_t port;
  bool matches;
};

class NoProxy : public ::testing::TestWithParam<NoProxyCase> {};

TEST_P(NoProxy, ReadsTheListAsGoDoes) {
  EXPECT_EQ(matches_no_proxy(GetParam().list, GetParam().host, GetParam().port), GetParam().matches);
}

INSTANTIATE_TEST_SUITE_P(Table, NoProxy,
                         ::testing::Values(NoProxyCase{"empty", "", "a.example", 80, false},
                                           NoProxyCase{"star", "*", "a.example", 80, true},
                                           NoProxyCase{"same", "a.example", "a.example", 80, true},
                                           NoProxyCase{"subdomain", "example", "a.example", 80, true},
                                           NoProxyCase{"not_a_suffix", "xample", "a.example", 80, false},
                                           NoProxyCase{"dot_subdomain", ".example", "a.example", 80, true},
                                           NoProxyCase{"dot_itself", ".example", "example", 80, false},
                                           NoProxyCase{"star_dot", "*.example", "a.example", 80, true},
                                           NoProxyCase{"upper_case", "A.EXAMPLE", "a.example", 80, true},
                                           NoProxyCase{"spaces", " x , a.example ", "a.example", 80, true},
                                           NoProxyCase{"port", "a.example:80", "a.example", 80, true},
                                           NoProxyCase{"other_port", "a.example:81", "a.example", 80, false},
                                           NoProxyCase{"address", "10.0.0.1", "10.0.0.1", 80, true},
                                           NoProxyCase{"other_address", "10.0.0.1", "10.0.0.11", 80, false},
                                           NoProxyCase{"address_port", "10.0.0.1:5000", "10.0.0.1", 5000, true},
                                           NoProxyCase{"cidr", "10.0.0.0/9", "10.127.0.1", 80, true},
                                           NoProxyCase{"outside_cidr", "10.0.0.0/9", "10.128.0.1", 80, false},
                                           NoProxyCase{"cidr_and_name", "10.0.0.0/8", "ten.example", 80, false},
                                           NoProxyCase{"bad_cidr", "10.0.0.0/33", "10.0.0.1", 80, false},
                                           NoProxyCase{"ipv6", "fd00::1", "fd00:0::1", 80, true},
                                           NoProxyCase{"ipv6_port", "[fd00::1]:80", "fd00::1", 80, true},
                                           NoProxyCase{"ipv6_cidr", "fd00::/8", "fd12::7", 80, true},
                                           NoProxyCase{"v4_not_in_v6", "::/0", "10.0.0.1", 80, false}),
                         [](auto const& info) { return std::string(info.param.name); });

TEST(ProxyFor, ChoosesBySchemeAndSparesThisMachine) {
  ProxyOptions const options{.http = "plain:3128", .https = "http://u:p@secure:3129", .no_proxy = "inner"};
  auto const chosen = [&](std::string_view url) {
    std::optional<Url> const proxy = proxy_for(options, Url::parse(url).value()).value();
    return proxy ? proxy->host_header() : "";
  };
  EXPECT_EQ(chosen("http://a/"), "plain:3128");
  EXPECT_EQ(chosen("https://a/"), "secure:3129");
  for (std::string_view url : {"http://localhost/", "https://127.0.0.9/", "http://[::1]/", "http://x.inner/"}) {
    EXPECT_EQ(chosen(url), "") << url;
  }
}

TEST(ProxyFor, RefusesOtherKinds) {
  Url const url = Url::parse("http://a/").value();
  EXPECT_EQ(proxy_for({.http = "socks5://s:1080", .https = "", .no_proxy = ""}, url).error().code(),
            Errc::kUnimplemented);
  EXPECT_EQ(proxy_for({.http = "http://", .https = "", .no_proxy = ""}, url).error().code(), Errc::kInvalidArgument);
}

std::string body_of(Result<std::unique_ptr<HttpResponse>>& response) {
  if (!response) return "error: " + response.error().to_string();
  Result<std::string> body = codec::read_all(**response, 1 << 20);
  return body ? *body : "error: " + body.error().to_string();
}

std::string const kAuthorization = "Basic " + codec::base64_encode("us er:pass");

TEST(Proxy, PlainRequestsCarryTheWholeUrl) {
  HttpServer proxy([](RecordedRequest const&) { return Answer::of(200, "through"); });
  HttpClient client({.proxy = {.http = "http://us%20er:pass@" + proxy.origin(), .https = "", .no_proxy = ""}});
  auto response = client.send({.url = Url::parse("http://far.example:81/x?y").value()});
  EXPECT_EQ(body_of(response), "through");
  RecordedRequest const seen = proxy.requests().at(0);
  EXPECT_EQ(seen.target, "http://far.example:81/x?y");
  EXPECT_EQ(seen.header("Host"), "far.example:81");
  EXPECT_EQ(seen.header("Proxy-Authorization"), kAuthorization);
}

// Copies between a proxy's channel and a connection to the origin until one side ends.
void relay(Channel& channel, std::uint16_t port) {
  sys::SocketAddress const address = sys::resolve_host("127.0.0.1", port).value().front();
  UniqueFd const origin(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  ASSERT_EQ(::connect(origin.get(), reinterpret_cast<sockaddr const*>(&address.storage), address.size), 0);
  testing::PlainChannel far(origin.get());
  std::jthread const back([&] {
    char buffer[65536];
    while (std::size_t const size = far.read(buffer, sizeof buffer)) {
      if (!channel.write({buffer, size})) break;
    }
  });
  char buffer[65536];
  while (std::size_t const size = channel.read(buffer, sizeof buffer)) {
    if (!far.write({buffer, size})) break;
  }
  sys::shutdown_both(origin.get());
}

TEST(Proxy, TunnelsTlsWithTheProxysPassword) {
  sys::testing::TempDir const dir;
  testing::TestCa const ca;
  HttpServer origin([](RecordedRequest const&) { return Answer::of(200, "inside"); },
                    testing::tls_server(ca.issue({.names = {"far.example"}})));
  HttpServer proxy([&](RecordedRequest const& request) {
    if (request.header("Proxy-Authorization") != kAuthorization) return Answer::of(407, "who?");
    Answer answer = Answer::raw("HTTP/1.1 200 Connection established\r\n\r\n");
    answer.tunnel = [&](Channel& channel) { relay(channel, origin.port()); };
    return answer;
  });
  UniqueFd const file = sys::open(dir / "ca.crt", O_WRONLY | O_CREAT, 0600).value();
  sys::write_all(file.get(), ca.certificate_pem()).value();
  HttpRequest request{.url = Url::parse("https://far.example:5443/x").value()};
  request.tls.ca_files = {dir / "ca.crt"};

  HttpClient client({.proxy = {.http = "", .https = "http://us%20er:pass@" + proxy.origin(), .no_proxy = ""}});
  for (int i = 0; i < 2; ++i) {
    auto response = client.send(request);
    EXPECT_EQ(body_of(response), "inside");
  }
  EXPECT_EQ(proxy.connections(), 1);
  EXPECT_EQ(proxy.requests().at(0).method, "CONNECT");
  EXPECT_EQ(proxy.requests().at(0).target, "far.example:5443");
  EXPECT_EQ(origin.requests().at(0).header("Host"), "far.example:5443");
  EXPECT_EQ(origin.requests().at(0).header("Proxy-Authorization"), "");

  HttpClient stranger({.proxy = {.http = "", .https = "http://" + proxy.origin(), .no_proxy = ""}});
  auto const refused = stranger.send(request);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code(), Errc::kPermissionDenied) << refused.error().to_string();
}

}  // namespace
}  // namespace davit::wire
