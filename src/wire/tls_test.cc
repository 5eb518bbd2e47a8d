#include "wire/tls.h"

#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>

#include "sys/file.h"
#include "sys/testing/temp_dir.h"
#include "wire/http_client.h"
#include "wire/testing/tls_server.h"

namespace davit::wire {
namespace {

using testing::Answer;
using testing::HttpServer;
using testing::Identity;
using testing::RecordedRequest;
using testing::TestCa;

class TlsTest : public ::testing::Test {
 protected:
  std::string write(std::string const& name, std::string const& text) {
    UniqueFd const file = sys::open(dir_ / name, O_WRONLY | O_CREAT | O_TRUNC, 0600).value();
    sys::write_all(file.get(), text).value();
    return dir_ / name;
  }
  HttpRequest get(HttpServer const& server) {
    HttpRequest request{.url = Url::parse(server.url("/x")).value()};
    request.tls.ca_files = {write("ca.crt", ca_.certificate_pem())};
    return request;
  }
  static Answer hello(RecordedRequest const&) { return Answer::of(200, "hello"); }

  sys::testing::TempDir dir_;
  TestCa ca_;
  HttpClient client_{HttpClient::Options{}};
};

std::string body_of(Result<std::unique_ptr<HttpResponse>>& response) {
  if (!response) return "error: " + response.error().to_string();
  Result<std::string> body = codec::read_all(**response, std::size_t{1} << 30);
  return body ? *body : "error: " + body.error().to_string();
}

TEST_F(TlsTest, TrustsAnExtraCaAndKeepsTheConnection) {
  HttpServer server(hello, testing::tls_server(ca_.issue({.names = {"127.0.0.1"}})));
  for (int i = 0; i < 3; ++i) {
    auto response = client_.send(get(server));
    EXPECT_EQ(body_of(response), "hello");
  }
  EXPECT_EQ(server.connections(), 1);
}

TEST_F(TlsTest, CarriesLargeBodiesBothWays) {
  std::string const data(5'000'000, 'q');
  HttpServer server([&](RecordedRequest const& request) { return Answer::of(200, request.body); },
                    testing::tls_server(ca_.issue({.names = {"127.0.0.1"}})));
  HttpRequest request = get(server);
  request.method = "PUT";
  codec::MemorySource source(data, 200'000);
  request.body_source = &source;
  request.body_size = data.size();
  auto response = client_.send(request);
  EXPECT_EQ(body_of(response), data);
}

// One variable of the environment, for the length of a test.
class Variable {
 public:
  Variable(char const* name, std::string const& value) : name_(name) { ::setenv(name, value.c_str(), 1); }
  ~Variable() { ::unsetenv(name_); }

 private:
  char const* name_;
};

TEST_F(TlsTest, TrustsTheSystemsFileAndFolder) {
  std::string const path = write("bundle.pem", TestCa().certificate_pem() + ca_.certificate_pem());
  sys::mkdir(dir_ / "empty", 0700).value();
  sys::mkdir(dir_ / "certs", 0700).value();
  char name[32];
  std::snprintf(name, sizeof name, "certs/%08lx.0",
                X509_NAME_hash_ex(X509_get_subject_name(ca_.certificate()), nullptr, nullptr, nullptr));
  write(name, ca_.certificate_pem());
  HttpServer server(hello, testing::tls_server(ca_.issue({.names = {"127.0.0.1"}})));
  struct Place {
    std::string file, folder;
    bool trusted;
  };
  for (Place const& place : {Place{path, dir_ / "empty", true}, Place{dir_ / "none", dir_ / "certs", true},
                             Place{dir_ / "none", dir_ / "empty", false}}) {
    Variable const file("SSL_CERT_FILE", place.file);
    Variable const folder("SSL_CERT_DIR", place.folder);
    HttpClient client{HttpClient::Options{}};
    HttpRequest request = get(server);
    request.tls.ca_files.clear();
    auto const response = client.send(request);
    EXPECT_EQ(response.ok(), place.trusted) << place.file << (response ? "" : response.error().to_string());
  }
}

struct Refusal {
  std::string_view name;
  testing::IssueOptions server;
  std::string_view says;
  bool trusted = true;
};

class TlsRefusal : public TlsTest, public ::testing::WithParamInterface<Refusal> {};

TEST_P(TlsRefusal, NamesTheReason) {
  HttpServer server(hello, testing::tls_server(ca_.issue(GetParam().server)));
  HttpRequest request = get(server);
  if (!GetParam().trusted) request.tls.ca_files.clear();
  auto const response = client_.send(request);
  ASSERT_FALSE(response.ok());
  EXPECT_EQ(response.error().code(), Errc::kPermissionDenied);
  EXPECT_NE(response.error().to_string().find(GetParam().says), std::string::npos) << response.error().to_string();
  request.tls.verify = false;
  auto insecure = client_.send(request);
  EXPECT_EQ(body_of(insecure), "hello");
}

INSTANTIATE_TEST_SUITE_P(
    Table, TlsRefusal,
    ::testing::Values(Refusal{"unknown_ca", {.names = {"127.0.0.1"}}, "certs.d/127.0.0.1:", false},
                      Refusal{"wrong_address", {.names = {"10.1.2.3", "else.example"}}, "10.1.2.3, else.example"},
                      Refusal{"no_name", {}, "no name at all"},
                      Refusal{"expired", {.names = {"127.0.0.1"}, .valid_from = -7200, .valid_to = -60}, "expired"},
                      Refusal{"not_yet", {.names = {"127.0.0.1"}, .valid_from = 600}, "clock"}),
    [](auto const& info) { return std::string(info.param.name); });

TEST_F(TlsTest, ChecksTheNameOfANamedServer) {
  HttpServer server(hello, testing::tls_server(ca_.issue({.names = {"localhost"}})));
  HttpRequest request = get(server);
  request.url.host = "localhost";
  auto response = client_.send(request);
  EXPECT_EQ(body_of(response), "hello");
}

TEST_F(TlsTest, RecognisesAServerThatSpeaksPlainHttp) {
  HttpServer server([](RecordedRequest const&) { return Answer::of(200, ""); });
  testing::HttpServer talker(hello, [](int socket) -> std::unique_ptr<testing::Channel> {
    testing::PlainChannel channel(socket);
    char buffer[1000];
    channel.read(buffer, sizeof buffer);
    channel.write("HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n");
    return nullptr;
  });
  auto const response = client_.send(get(talker));
  ASSERT_FALSE(response.ok());
  EXPECT_EQ(response.error().code(), Errc::kPermissionDenied);
  EXPECT_NE(response.error().to_string().find("server gave HTTP response to HTTPS client"), std::string::npos);
}

TEST_F(TlsTest, PresentsAClientCertificate) {
  TestCa clients;
  HttpServer server(hello, testing::tls_server(ca_.issue({.names = {"127.0.0.1"}}), &clients));
  HttpRequest request = get(server);
  auto const without = client_.send(request);
  ASSERT_FALSE(without.ok());
  EXPECT_EQ(without.error().code(), Errc::kPermissionDenied) << without.error().to_string();
  Identity const client = clients.issue({});
  request.tls.client_certificates = {{write("c.cert", client.certificate_pem()), write("c.key", client.key_pem())}};
  auto with = client_.send(request);
  EXPECT_EQ(body_of(with), "hello");
}

TEST_F(TlsTest, NamesAFileItCannotUse) {
  HttpServer server(hello, testing::tls_server(ca_.issue({.names = {"127.0.0.1"}})));
  for (std::string const& path : {write("bad.crt", "no certificate"), dir_ / "missing.crt"}) {
    HttpRequest request = get(server);
    request.tls.ca_files = {path};
    auto const response = client_.send(request);
    ASSERT_FALSE(response.ok());
    EXPECT_EQ(response.error().code(), Errc::kInvalidArgument);
    EXPECT_NE(response.error().to_string().find(path), std::string::npos) << response.error().to_string();
  }
}

}  // namespace
}  // namespace davit::wire
