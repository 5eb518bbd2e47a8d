#include "registry/authenticator.h"

#include <fmt/format.h>

#include "codec/base64.h"
#include "registry/insecure.h"
#include "registry/token_server.h"
#include "wire/url.h"

namespace davit::registry {

namespace {

// Whose credential counts at an endpoint: a mirror's own name, else the registry's.
Result<std::string> credential_name(Endpoint const& endpoint, std::string_view domain) {
  if (!endpoint.is_mirror) return std::string(domain);
  wire::Url const url = TRY(wire::Url::parse(endpoint.base));
  return url.host_header();
}

bool is_untrusted(Endpoint const& endpoint) { return endpoint.base.starts_with("http://") || !endpoint.tls.verify; }

// The challenge to answer: Bearer where it is offered.
std::optional<Challenge> choose(wire::HttpResponse const& response) {
  std::optional<Challenge> basic;
  for (std::string const& value : response.headers("WWW-Authenticate")) {
    for (Challenge& challenge : parse_challenges(value)) {
      if (challenge.scheme == "bearer" && !challenge.parameter("realm").empty()) return std::move(challenge);
      if (challenge.scheme == "basic" && !basic) basic = std::move(challenge);
    }
  }
  return basic;
}

wire::TlsOptions tls_for_realm(Endpoint const& endpoint, wire::Url const& base, wire::Url const& realm) {
  wire::TlsOptions tls = endpoint.tls;
  if (base.host != realm.host) tls.client_certificates.clear();
  return tls;
}

}  // namespace

Result<std::optional<Credential>> Authenticator::credential(Endpoint const& endpoint, std::string_view domain) {
  std::string const name = TRY(credential_name(endpoint, domain));
  bool there = false;
  auto cached = found_.with([&](auto& found) {
    auto const entry = found.find(name);
    there = entry != found.end();
    return there ? entry->second : std::optional<Credential>();
  });
  if (there) return cached;
  auto credential = TRY(credentials_.find(name));
  found_.with([&](auto& found) { found.emplace(name, credential); });
  return credential;
}

Result<bool> Authenticator::has_credential(Endpoint const& endpoint, std::string_view domain) {
  auto const found = TRY(credential(endpoint, domain));
  return found.has_value();
}

std::optional<Authenticator::Known> Authenticator::known(std::string const& base) const {
  return known_.with([&](auto& all) {
    auto const entry = all.find(base);
    return entry == all.end() ? std::optional<Known>() : std::optional(entry->second);
  });
}

Scopes Authenticator::widened(Known const& known, Scopes const& scopes) {
  auto const more = known.widened.find(scopes.text());
  return more == known.widened.end() ? scopes : scopes.merged(more->second);
}

TokenKey Authenticator::key_of(Known const& known, Scopes const& scopes, std::optional<Credential> const& credential) {
  std::string user;
  if (credential) user = credential->identity_token.empty() ? credential->username : "<token>" + credential->username;
  return {known.realm, known.service, scopes.text(), std::move(user)};
}

Result<std::string> Authenticator::header(Endpoint const& endpoint, std::string_view domain, Scopes const& scopes,
                                          std::stop_token const& stop) {
  auto const state = known(endpoint.base);
  if (!state) return std::string();  // not asked yet, so nothing is said
  auto const who = TRY(credential(endpoint, domain));
  if (who && !who->registry_token.empty()) return "Bearer " + who->registry_token;
  if (state->scheme == "basic") {
    if (!who) return std::string();
    return "Basic " + codec::base64_encode(who->username + ":" + who->password);
  }
  TokenQuestion question;
  question.realm = TRY(wire::Url::parse(state->realm));
  question.service = state->service;
  question.scopes = widened(*state, scopes);
  question.credential = who;
  question.offline = want_identity_token_;
  wire::Url const base = TRY(wire::Url::parse(endpoint.base));
  question.tls = tls_for_realm(endpoint, base, question.realm);
  // Plain HTTP to a third host is no place for a password, whatever the registry itself is.
  if (who && question.realm.scheme == "http" && question.realm.host != base.host && !is_loopback(question.realm.host)) {
    return Error(
        Errc::kPermissionDenied,
        fmt::format("{} sends logins to {} over plain HTTP; the password was not sent", endpoint.base, state->realm));
  }
  auto const fetch = [&]() -> Result<FetchedToken> {
    TokenAnswer answer = TRY(ask_token_server(http_.get(endpoint.connect_timeout), question, policy_, stop));
    if (want_identity_token_) identity_token_.with([&](std::string& token) { token = answer.refresh_token; });
    return std::move(answer.token);
  };
  return "Bearer " + TRY(tokens_.get(key_of(*state, question.scopes, who), fetch, stop));
}

Result<void> Authenticator::check_realm(Endpoint const& endpoint, wire::Url const& realm) const {
  // Only a registry on this machine may send us to a service of this machine; one elsewhere could reach what listens
  // for nobody else.
  if (realm.scheme == "https") return {};
  if (is_loopback(realm.host)) {
    wire::Url const base = TRY(wire::Url::parse(endpoint.base));
    if (is_loopback(base.host)) return {};
  } else if (is_untrusted(endpoint)) {
    return {};
  }
  return Error(Errc::kPermissionDenied, fmt::format("{} names a token server without TLS ({}://{}), which is not asked",
                                                    endpoint.base, realm.scheme, realm.host_header()));
}

Result<Authenticator::Answer> Authenticator::learn_bearer(Endpoint const& endpoint, Challenge const& challenge,
                                                          Scopes const& scopes) {
  std::string const text = challenge.parameter("realm");
  wire::Url const realm = TRY_CTX(wire::Url::parse(text), endpoint.base + ": realm of its challenge");
  TRY(check_realm(endpoint, realm));
  Scopes const wanted = Scopes().add(challenge.parameter("scope"));
  known_.with([&](auto& all) {
    Known& state = all[endpoint.base];
    std::string const service = challenge.parameter("service");
    if (state.scheme != "bearer" || state.realm != text || state.service != service) {
      state = {"bearer", text, service, {}};
    }
    if (!wanted.empty()) state.widened[scopes.text()] = wanted;
    return 0;
  });
  return Answer::kRetry;
}

Result<Authenticator::Answer> Authenticator::challenged(Endpoint const& endpoint, std::string_view domain,
                                                        Scopes const& scopes, wire::HttpResponse const& response,
                                                        std::string_view sent) {
  auto const challenge = choose(response);
  if (!challenge) return Answer::kGiveUp;
  auto const who = TRY(credential(endpoint, domain));
  bool const own_token = who && !who->registry_token.empty();
  if (own_token && !sent.empty()) return Answer::kGiveUp;
  if (challenge->scheme == "bearer") {
    // The token that was sent is not good enough; the same one would be given again.
    auto const before = known(endpoint.base);
    if (before && sent.starts_with("Bearer ")) {
      tokens_.forget(key_of(*before, widened(*before, scopes), who), sent.substr(7));
    }
    return learn_bearer(endpoint, *challenge, scopes);
  }
  bool const usable = who && (!who->username.empty() || !who->password.empty());
  if ((!usable && !own_token) || sent.starts_with("Basic ")) return Answer::kGiveUp;
  known_.with([&](auto& all) { all[endpoint.base] = {"basic", {}, {}, {}}; });
  return Answer::kRetry;
}

}  // namespace davit::registry
