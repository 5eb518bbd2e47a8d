// What the parts of Client share. Any thread.
#pragma once

#include <string>
#include <string_view>

#include "registry/client.h"
#include "registry/failure.h"
#include "registry/session.h"

namespace davit::registry {

struct Client::Body {
  Body(ClientOptions given, CredentialSource& credentials)
      : options(std::move(given)),
        session(options.hosts, options.http, RetryPolicy{options.attempts, options.backoff}, credentials) {}

  ClientOptions const options;
  Session session;

  // GET or HEAD of a path below "/v2/".
  template <typename T>
  Result<T> pull(Repository const& repository, Use use, Request const& request, std::stop_token const& stop,
                 std::function<Result<T>(Visit&, Response)> const& use_response) {
    return session.try_endpoints<T>(repository.domain, use, stop, [&](Visit& visit) -> Result<T> {
      auto response = TRY(session.send(visit, request, stop));
      return use_response(visit, std::move(response));
    });
  }
};

// "nginx", "registry.example:5000/a/b": as users write it.
std::string familiar(Repository const& repository);

enum class Doing { kPull, kPush };
// A refusal in the words that Docker's users know, with what to do about it. subject: "" or what was asked for, such as
// "manifest for nginx:1".
Error refusal(wire::HttpResponse& response, Visit const& visit, Repository const& repository, Doing doing,
              std::string_view subject = {});

// Docker-Content-Digest, when there is one and it is well formed.
std::optional<oci::Digest> content_digest(wire::HttpResponse const& response);

// The digest of bytes, by the algorithm that `like` has.
oci::Digest digest_of(std::string_view bytes, oci::Digest const* like = nullptr);

// The media type without its parameters.
std::string media_type_of(wire::HttpResponse const& response);

// The next page's URL of a Link header (RFC 8288): rel="next". "" when there is none.
std::string next_link(wire::HttpResponse const& response);

}  // namespace davit::registry
