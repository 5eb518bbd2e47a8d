#include "registry/token_server.h"

#include <fmt/format.h>

#include "codec/base64.h"
#include "codec/json.h"
#include "registry/failure.h"
#include "sys/polling.h"

namespace davit::registry {

namespace {

constexpr std::string_view kClientId = "davit";
constexpr std::size_t kMaxAnswer = std::size_t{1} << 20;
constexpr std::uint64_t kMaxLifetime = 30 * 86400;

std::string origin_of(wire::Url const& url) { return fmt::format("{}://{}", url.scheme, url.host_header()); }

void add_parameter(std::string& out, std::string_view name, std::string_view value) {
  if (value.empty()) return;
  if (!out.empty()) out += '&';
  out += fmt::format("{}={}", name, wire::percent_encode(value));
}

// GET realm?service&scope..., with the user's password as Basic.
wire::HttpRequest simple_request(TokenQuestion const& question) {
  wire::HttpRequest request;
  request.url = question.realm;
  std::string query;
  add_parameter(query, "service", question.service);
  for (std::string const& scope : question.scopes.list()) add_parameter(query, "scope", scope);
  if (question.credential) {
    Credential const& credential = *question.credential;
    add_parameter(query, "account", credential.username);
    request.headers.emplace_back("Authorization",
                                 "Basic " + codec::base64_encode(credential.username + ":" + credential.password));
  }
  if (question.offline) {
    add_parameter(query, "offline_token", "true");
    add_parameter(query, "client_id", kClientId);
  }
  if (!query.empty()) {
    std::string& target = request.url.target;
    target += (target.find('?') == std::string::npos ? '?' : '&') + query;
  }
  return request;
}

// POST of a form with the refresh token that "docker login" was given.
wire::HttpRequest refresh_request(TokenQuestion const& question) {
  wire::HttpRequest request;
  request.method = "POST";
  request.url = question.realm;
  add_parameter(request.body, "grant_type", "refresh_token");
  add_parameter(request.body, "service", question.service);
  add_parameter(request.body, "client_id", kClientId);
  add_parameter(request.body, "scope", question.scopes.text());
  add_parameter(request.body, "refresh_token", question.credential->identity_token);
  if (question.offline) add_parameter(request.body, "access_type", "offline");
  request.headers.emplace_back("Content-Type", "application/x-www-form-urlencoded");
  return request;
}

Error refused(Failure const& failure, TokenQuestion const& question, std::string_view server) {
  if (failure.errc() != Errc::kPermissionDenied) return failure.error().with_context("token");
  if (!question.credential) return failure.error().with_context("anonymous token");
  bool const by_token = !question.credential->identity_token.empty();
  return Error(Errc::kPermissionDenied,
               fmt::format("{} does not accept {}: {}", server,
                           by_token ? "the stored login; log in again"
                                    : fmt::format("user '{}' with this password", question.credential->username),
                           failure.text));
}

}  // namespace

Result<TokenAnswer> parse_token_answer(std::string_view body) {
  json::Document const document =
      TRY_CTX(json::Document::parse(body, {.max_bytes = kMaxAnswer, .max_depth = 32}), "token server's answer");
  json::Field const root = document.root("token server's answer");
  TRY(root.expect_object());
  TokenAnswer answer;
  TRY(read(root["token"], answer.token.token));
  std::string access_token;
  TRY(read(root["access_token"], access_token));
  if (answer.token.token.empty()) answer.token.token = std::move(access_token);
  if (answer.token.token.empty()) return root.error("holds neither token nor access_token");
  for (char const c : answer.token.token) {
    if (c <= ' ' || c == 0x7f) return root.error("the token holds a character that no header may hold");
  }
  TRY(read(root["refresh_token"], answer.refresh_token));
  // Some servers send a fraction. issued_at is not looked at: the server's clock may not be ours.
  double lifetime = 60;
  TRY(read(root["expires_in"], lifetime));
  if (lifetime > 0) {
    answer.token.lifetime =
        std::chrono::seconds(lifetime < static_cast<double>(kMaxLifetime) ? static_cast<std::int64_t>(lifetime)
                                                                          : static_cast<std::int64_t>(kMaxLifetime));
  }
  return answer;
}

Result<TokenAnswer> ask_token_server(wire::HttpClient& http, TokenQuestion const& question, RetryPolicy const& policy,
                                     std::stop_token const& stop) {
  bool const refresh = question.credential && !question.credential->identity_token.empty();
  wire::HttpRequest request = refresh ? refresh_request(question) : simple_request(question);
  request.tls = question.tls;
  std::string const server = "token server " + origin_of(question.realm);
  for (unsigned failures = 1;; ++failures) {
    bool const last = failures >= policy.attempts;
    auto response = http.send(request, stop);
    if (!response.ok()) {
      if (response.error().code() != Errc::kUnavailable || last) {
        return std::move(response).take_error().with_context(server);
      }
    } else if ((*response)->status() == 200) {
      std::string const body = TRY_CTX(codec::read_all(**response, kMaxAnswer), server);
      return parse_token_answer(body);
    } else if (!is_transient((*response)->status()) || last) {
      return refused(read_failure(**response, server), question, server);
    } else if (std::string const* after = (*response)->header("Retry-After")) {
      auto const delay = parse_retry_after(*after, sys::realtime_nanos() / 1'000'000'000);
      if (delay) TRY(pause(*delay, stop));
    }
    TRY(back_off(policy, failures, stop));
  }
}

}  // namespace davit::registry
