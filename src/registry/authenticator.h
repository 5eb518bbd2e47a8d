// Who we are at an endpoint: learns from its challenges, fetches tokens, and gives the Authorization header for each
// request (distribution's token specification, "docker login"'s identity tokens, Basic). Any thread.
#pragma once

#include <map>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>

#include "base/guarded.h"
#include "base/result.h"
#include "registry/auth_challenge.h"
#include "registry/credentials.h"
#include "registry/hosts.h"
#include "registry/http_clients.h"
#include "registry/retry.h"
#include "registry/token_cache.h"
#include "wire/http_client.h"

namespace davit::registry {

class Authenticator {
 public:
  // All borrowed.
  Authenticator(HttpClients& http, CredentialSource& credentials, RetryPolicy const& policy)
      : http_(http), credentials_(credentials), policy_(policy) {}

  // The value for a request that needs these scopes; "" while the endpoint has not asked for any. domain: the
  // registry's name in image references.
  Result<std::string> header(Endpoint const& endpoint, std::string_view domain, Scopes const& scopes,
                             std::stop_token const& stop);

  // What to do about a 401. sent: the header of that request. kRetry: ask header() again and repeat the request.
  enum class Answer { kRetry, kGiveUp };
  Result<Answer> challenged(Endpoint const& endpoint, std::string_view domain, Scopes const& scopes,
                            wire::HttpResponse const& response, std::string_view sent);

  // For `docker login`: asks token servers for a refresh token too, which identity_token() then gives ("" if none).
  void want_identity_token() { want_identity_token_ = true; }
  std::string identity_token() const {
    return identity_token_.with([](std::string const& token) { return token; });
  }
  // Whether there is a credential for this endpoint.
  Result<bool> has_credential(Endpoint const& endpoint, std::string_view domain);

 private:
  struct Known {
    std::string scheme;  // "basic", "bearer"
    std::string realm, service;
    std::map<std::string, Scopes> widened;  // what the endpoint wants on top, by the scopes that were not enough
  };
  struct TokenRequest;

  Result<std::optional<Credential>> credential(Endpoint const& endpoint, std::string_view domain);
  std::optional<Known> known(std::string const& base) const;
  static Scopes widened(Known const& known, Scopes const& scopes);
  static TokenKey key_of(Known const& known, Scopes const& scopes, std::optional<Credential> const& credential);
  Result<Answer> learn_bearer(Endpoint const& endpoint, Challenge const& challenge, Scopes const& scopes);
  Result<void> check_realm(Endpoint const& endpoint, wire::Url const& realm) const;

  HttpClients& http_;
  CredentialSource& credentials_;
  RetryPolicy const policy_;
  TokenCache tokens_;
  bool want_identity_token_ = false;
  Guarded<std::string> identity_token_;
  Guarded<std::map<std::string, Known>> known_;                      // by the endpoint's base
  Guarded<std::map<std::string, std::optional<Credential>>> found_;  // by the name asked for
};

}  // namespace davit::registry
