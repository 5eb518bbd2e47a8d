// Asks a token server for a token (distribution's "Token Authentication" and "OAuth2 Token" specifications). Any
// thread.
#pragma once

#include <optional>
#include <stop_token>
#include <string>

#include "base/result.h"
#include "registry/auth_challenge.h"
#include "registry/credentials.h"
#include "registry/retry.h"
#include "registry/token_cache.h"
#include "wire/http_client.h"

namespace davit::registry {

struct TokenQuestion {
  wire::Url realm;
  std::string service;
  Scopes scopes;
  std::optional<Credential> credential;  // none: anonymous
  wire::TlsOptions tls;
  bool offline = false;  // a refresh token, too
};

struct TokenAnswer {
  FetchedToken token;
  std::string refresh_token;
};

// kPermissionDenied: the server does not take the credential; kInvalidArgument: what it answers is no token.
Result<TokenAnswer> ask_token_server(wire::HttpClient& http, TokenQuestion const& question, RetryPolicy const& policy,
                                     std::stop_token const& stop);

Result<TokenAnswer> parse_token_answer(std::string_view body);

}  // namespace davit::registry
