#include <atomic>
#include <thread>

#include "codec/base64.h"
#include "registry/testing/client_fixture.h"
#include "registry/token_server.h"
#include "wire/testing/tls_server.h"

namespace davit::registry {
namespace {

using testing::ClientTest;
using testing::count;
using testing::kManifestText;
using wire::testing::Answer;
using wire::testing::HttpServer;
using wire::testing::RecordedRequest;

bool is_token_request(RecordedRequest const& request) { return request.target.starts_with("/token"); }

// A registry that takes one Bearer token, and its token server in the same place.
class Auth : public ClientTest {
 protected:
  // What the token server answers; tokens are counted: t1, t2, ...
  std::function<Answer(RecordedRequest const&)> issue_ = [this](RecordedRequest const&) {
    return Answer::of(200, R"({"token":"t)" + std::to_string(++tokens_) + R"(","expires_in":300})");
  };
  std::function<bool(RecordedRequest const&)> accept_ = [](RecordedRequest const& request) {
    return request.header("Authorization").starts_with("Bearer t");
  };
  std::string challenge_more_;
  std::atomic<int> tokens_ = 0;

  HttpServer& registry(std::string const& realm_origin = "") {
    return serve([this, realm_origin](RecordedRequest const& request) {
      if (is_token_request(request)) return issue_(request);
      if (accept_(request)) return Answer::of(200, kManifestText);
      std::string const origin = realm_origin.empty() ? "http://" + request.header("Host") : realm_origin;
      return Answer::of(401, R"({"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]})",
                        {{"WWW-Authenticate",
                          "Bearer realm=\"" + origin + "/token?x=y\",service=\"the registry\"" + challenge_more_}});
    });
  }
  Errc pull(HttpServer& server, std::string const& path = "a/b") {
    auto const found = client().manifest(repository(server.origin(), path), "latest");
    last_error_ = found.ok() ? "" : found.error().to_string();
    return found.ok() ? Errc::kInternal : found.error().code();
  }
  static constexpr Errc kOk = Errc::kInternal;
  std::string last_error_;
};

TEST_F(Auth, AnonymousTokenIsAskedForOnce) {
  HttpServer& server = registry();
  EXPECT_EQ(pull(server), kOk) << last_error_;
  EXPECT_EQ(pull(server), kOk);
  auto const requests = server.requests();
  ASSERT_EQ(requests.size(), 4U);  // refused, token, manifest, manifest
  EXPECT_EQ(requests[1].target, "/token?x=y&service=the%20registry&scope=repository%3Aa%2Fb%3Apull");
  EXPECT_EQ(requests[1].header("Authorization"), "");
  EXPECT_EQ(requests[3].header("Authorization"), "Bearer t1");
}

TEST_F(Auth, AnotherRepositoryNeedsAnotherToken) {
  HttpServer& server = registry();
  EXPECT_EQ(pull(server, "a/b"), kOk);
  EXPECT_EQ(pull(server, "a/c"), kOk);
  EXPECT_EQ(server.requests().back().header("Authorization"), "Bearer t2");
  EXPECT_EQ(count(server, is_token_request), 2);
}

TEST_F(Auth, UserAndPasswordGoToTheTokenServer) {
  HttpServer& server = registry();
  credentials_.all[server.origin()] = {"u", "p", "", ""};
  EXPECT_EQ(pull(server), kOk) << last_error_;
  EXPECT_NE(server.requests().at(1).target.find("&account=u"), std::string::npos);
  EXPECT_EQ(server.requests().at(1).header("Authorization"), "Basic dTpw");
  EXPECT_EQ(server.requests().at(2).header("Authorization"), "Bearer t1");
}

TEST_F(Auth, AWrongPasswordIsOneQuestion) {
  issue_ = [](RecordedRequest const&) { return Answer::of(401, R"({"details":"incorrect username or password"})"); };
  HttpServer& server = registry();
  credentials_.all[server.origin()] = {"u", "p", "", ""};
  EXPECT_EQ(pull(server), Errc::kPermissionDenied);
  EXPECT_NE(last_error_.find("incorrect username or password"), std::string::npos) << last_error_;
  EXPECT_EQ(count(server, is_token_request), 1);
}

TEST_F(Auth, IdentityTokensAreExchanged) {
  issue_ = [](RecordedRequest const&) { return Answer::of(200, R"({"access_token":"t9"})"); };
  HttpServer& server = registry();
  credentials_.all[server.origin()] = {"u", "", "the/identity", ""};
  EXPECT_EQ(pull(server), kOk) << last_error_;
  RecordedRequest const asked = server.requests().at(1);
  EXPECT_EQ(asked.method, "POST");
  EXPECT_EQ(asked.header("Authorization"), "");
  EXPECT_NE(asked.body.find("grant_type=refresh_token"), std::string::npos);
  EXPECT_NE(asked.body.find("refresh_token=the%2Fidentity"), std::string::npos);
  EXPECT_EQ(server.requests().back().header("Authorization"), "Bearer t9");
}

TEST_F(Auth, ARegistryTokenIsSentAsItIs) {
  accept_ = [](RecordedRequest const& request) { return request.header("Authorization") == "Bearer mine"; };
  HttpServer& server = registry();
  credentials_.all[server.origin()] = {"", "", "", "mine"};
  EXPECT_EQ(pull(server), kOk) << last_error_;
  EXPECT_EQ(count(server, is_token_request), 0);
}

TEST_F(Auth, ATokenThatIsNotTakenAnyMoreIsReplaced) {
  HttpServer& server = registry();
  EXPECT_EQ(pull(server), kOk);
  accept_ = [](RecordedRequest const& request) { return request.header("Authorization") == "Bearer t2"; };
  EXPECT_EQ(pull(server), kOk) << last_error_;
  EXPECT_EQ(tokens_, 2);
}

TEST_F(Auth, MoreScopeIsAskedForWhenTheRegistryWantsIt) {
  challenge_more_ = ",scope=\"repository:a/b:pull,push registry:catalog:*\",error=\"insufficient_scope\"";
  HttpServer& server = registry();
  EXPECT_EQ(pull(server), kOk) << last_error_;
  EXPECT_NE(
      server.requests().at(1).target.find("scope=registry%3Acatalog%3A%2A&scope=repository%3Aa%2Fb%3Apull%2Cpush"),
      std::string::npos)
      << server.requests().at(1).target;
}

TEST_F(Auth, ARegistryThatNeverAgreesIsAskedThreeTimes) {
  accept_ = [](RecordedRequest const&) { return false; };
  HttpServer& server = registry();
  EXPECT_EQ(pull(server), Errc::kPermissionDenied);
  EXPECT_EQ(count(server, [](auto const& request) { return !is_token_request(request); }), 3);
}

TEST_F(Auth, ManyThreadsShareOneToken) {
  HttpServer& server = registry();
  EXPECT_EQ(pull(server, "first"), kOk);
  {
    std::vector<std::jthread> threads;
    for (int i = 0; i < 6; ++i) {
      threads.emplace_back([&] { EXPECT_TRUE(client().manifest(repository(server.origin()), "latest").ok()); });
    }
  }
  EXPECT_EQ(tokens_, 2);
}

TEST_F(Auth, TokenServersAreAskedAgainWhenAway) {
  std::atomic<int> asked = 0;
  issue_ = [&](RecordedRequest const&) {
    return ++asked < 3 ? Answer::of(503, "") : Answer::of(200, R"({"token":"t1"})");
  };
  EXPECT_EQ(pull(registry()), kOk) << last_error_;
  EXPECT_EQ(asked, 3);
}

TEST_F(Auth, BasicIsSentOnlyWhereAskedForAndOnce) {
  accept_ = [](RecordedRequest const& request) { return request.header("Authorization") == "Basic dTpw"; };
  HttpServer& server = serve([this](RecordedRequest const& request) {
    return accept_(request) ? Answer::of(200, kManifestText)
                            : Answer::of(401, "", {{"WWW-Authenticate", "Basic realm=\"x\""}});
  });
  credentials_.all[server.origin()] = {"u", "p", "", ""};
  EXPECT_EQ(pull(server), kOk) << last_error_;
  EXPECT_EQ(server.requests().at(0).header("Authorization"), "");
  EXPECT_EQ(server.requests().size(), 2U);
  accept_ = [](RecordedRequest const&) { return false; };
  EXPECT_EQ(pull(server), Errc::kPermissionDenied);
  EXPECT_EQ(server.requests().size(), 3U);
}

TEST_F(Auth, AMirrorGetsNoCredentialOfTheRegistry) {
  HttpServer& mirror = registry();
  HttpServer& own = serve([](RecordedRequest const&) { return Answer::of(500, ""); });
  configure(own.origin(), "server = \"" + own.url("") + "\"\n[host.\"" + mirror.url("") + "\"]\n");
  credentials_.all[own.origin()] = {"u", "p", "", ""};
  EXPECT_EQ(pull(own), kOk) << last_error_;
  EXPECT_EQ(mirror.requests().at(1).header("Authorization"), "");  // an anonymous token
}

TEST_F(Auth, AMirrorGetsItsOwnCredential) {
  HttpServer& mirror = registry();
  HttpServer& own = serve([](RecordedRequest const&) { return Answer::of(500, ""); });
  configure(own.origin(), "server = \"" + own.url("") + "\"\n[host.\"" + mirror.url("") + "\"]\n");
  credentials_.all[own.origin()] = {"u", "p", "", ""};
  credentials_.all[mirror.origin()] = {"m", "m", "", ""};
  EXPECT_EQ(pull(own), kOk) << last_error_;
  EXPECT_EQ(mirror.requests().at(1).header("Authorization"), "Basic " + codec::base64_encode("m:m"));
}

TEST_F(Auth, NoPasswordOverPlainHttpToAThirdHost) {
  HttpServer& server = registry("http://tokens.invalid");
  credentials_.all[server.origin()] = {"u", "p", "", ""};
  EXPECT_EQ(pull(server), Errc::kPermissionDenied) << last_error_;
}

TEST_F(Auth, LoginGivesTheIdentityToken) {
  issue_ = [](RecordedRequest const&) { return Answer::of(200, R"({"token":"t1","refresh_token":"identity"})"); };
  HttpServer& server = registry();
  auto const token = client().check_login(server.origin(), {"u", "p", "", ""});
  ASSERT_TRUE(token.ok()) << token.error().to_string();
  EXPECT_EQ(*token, "identity");
  EXPECT_EQ(server.requests().at(0).target, "/v2/");
  EXPECT_NE(server.requests().at(1).target.find("offline_token=true"), std::string::npos);
  issue_ = [](RecordedRequest const&) { return Answer::of(401, ""); };
  EXPECT_EQ(client().check_login(server.origin(), {"u", "x", "", ""}).error().code(), Errc::kPermissionDenied);
}

TEST_F(Auth, BasicLogin) {
  HttpServer& server = serve([](RecordedRequest const& request) {
    return request.header("Authorization") == "Basic dTpw"
               ? Answer::of(200, "{}")
               : Answer::of(401, "", {{"WWW-Authenticate", "Basic realm=\"x\""}});
  });
  EXPECT_EQ(client().check_login(server.origin(), {"u", "p", "", ""}).value(), "");
  EXPECT_EQ(client().check_login(server.origin(), {"u", "q", "", ""}).error().code(), Errc::kPermissionDenied);
}

struct AnswerCase {
  std::string_view name, body;
  bool ok;
  int seconds;
};
class TokenAnswers : public ::testing::TestWithParam<AnswerCase> {};
TEST_P(TokenAnswers, AreRead) {
  auto const answer = parse_token_answer(GetParam().body);
  ASSERT_EQ(answer.ok(), GetParam().ok);
  if (answer.ok()) {
    EXPECT_EQ(answer->token.lifetime.count(), GetParam().seconds);
  }
}
INSTANTIATE_TEST_SUITE_P(
    Table, TokenAnswers,
    ::testing::Values(AnswerCase{"token", R"({"token":"a"})", true, 60},
                      AnswerCase{"access", R"({"token":"","access_token":"a","expires_in":3599.5})", true, 3599},
                      AnswerCase{"huge", R"({"token":"a","expires_in":1e300})", true, 30 * 86400},
                      AnswerCase{"negative", R"({"token":"a","expires_in":-5})", true, 60},
                      AnswerCase{"none", "{}", false, 0}, AnswerCase{"list", "[]", false, 0},
                      AnswerCase{"header_split", R"({"token":"a\r\nX: y"})", false, 0},
                      AnswerCase{"text", "hello", false, 0}),
    [](auto const& info) { return std::string(info.param.name); });

// TLS with a CA of its own for 127.0.0.1, as certs.d configures it.
class Tls : public ClientTest {
 protected:
  HttpServer& serve_tls(HttpServer::Handler handler) {
    servers_.push_back(std::make_unique<HttpServer>(std::move(handler),
                                                    wire::testing::tls_server(ca_.issue({.names = {"127.0.0.1"}}))));
    write(servers_.back()->origin(), "ca.crt", ca_.certificate_pem());
    return *servers_.back();
  }
  wire::testing::TestCa ca_;
};

TEST_F(Tls, CertsDirMakesARegistryTrusted) {
  HttpServer& server = serve_tls([](RecordedRequest const&) { return Answer::of(200, kManifestText); });
  EXPECT_TRUE(client().manifest(repository(server.origin()), "latest").ok());
  wire::testing::TestCa other;
  write(server.origin(), "ca.crt", other.certificate_pem());
  Client fresh(options(), credentials_);
  EXPECT_EQ(fresh.manifest(repository(server.origin()), "latest").error().code(), Errc::kPermissionDenied);
}

TEST_F(Tls, ATokenServerWithoutTlsIsNotAsked) {
  HttpServer& server = serve_tls([](RecordedRequest const&) {
    return Answer::of(401, "", {{"WWW-Authenticate", "Bearer realm=\"http://tokens.invalid/token\",service=\"s\""}});
  });
  auto const found = client().manifest(repository(server.origin()), "latest");
  ASSERT_FALSE(found.ok());
  EXPECT_EQ(found.error().code(), Errc::kPermissionDenied);
}

TEST_F(Tls, ARedirectWithoutTlsIsFollowedForWhatADigestChecksOnly) {
  HttpServer& plain = serve([](RecordedRequest const&) { return Answer::of(200, kManifestText); });
  HttpServer& server = serve_tls([&](RecordedRequest const&) {
    return Answer::of(307, "", {{"Location", plain.url("/x")}});
  });
  std::string const digest = testing::digest_of_text(kManifestText).text();
  EXPECT_TRUE(client().manifest(repository(server.origin()), digest).ok());
  EXPECT_EQ(client().manifest(repository(server.origin()), "latest").error().code(), Errc::kPermissionDenied);
}

TEST_F(Tls, AnInsecureRegistryNeedsNoCa) {
  HttpServer server([](RecordedRequest const&) { return Answer::of(200, kManifestText); },
                    wire::testing::tls_server(ca_.issue({.names = {"elsewhere.example"}})));
  EXPECT_TRUE(client().manifest(repository(server.origin()), "latest").ok());  // loopback
}

}  // namespace
}  // namespace davit::registry
