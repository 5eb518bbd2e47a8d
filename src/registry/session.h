// Requests to a registry by its name: picks the endpoint, authenticates, follows redirects, repeats what may be
// repeated. Everything in client.h is built on it. Any thread.
#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "base/guarded.h"
#include "base/result.h"
#include "codec/stream.h"
#include "registry/auth_challenge.h"
#include "registry/authenticator.h"
#include "registry/failure.h"
#include "registry/hosts.h"
#include "registry/http_clients.h"
#include "registry/retry.h"
#include "wire/http_client.h"

namespace davit::registry {

using Response = std::unique_ptr<wire::HttpResponse>;

struct Request {
  std::string method = "GET";
  std::string path{};              // below "/v2/", with its query; "" is the API's root
  std::optional<wire::Url> url{};  // instead of path: where an earlier answer pointed to
  wire::Headers headers{};
  std::string body{};
  // Instead of body: its bytes from the start, asked for again for each attempt.
  std::function<Result<std::unique_ptr<codec::Source>>()> open_body{};
  codec::Source* once_body = nullptr;  // instead of both: can be sent only once
  std::optional<std::uint64_t> body_size{};
  Scopes scopes{};
  bool repeatable = true;  // doing it twice does no harm: it is repeated after network errors, 429 and 5xx
  // The answer's bytes are checked by a digest, so that even a redirect from TLS to plain HTTP does no harm.
  bool content_checked = false;
};

enum class Use { kPull, kResolve, kPush };

// One endpoint being tried for one call.
struct Visit {
  Endpoint const& endpoint;
  std::string const& domain;
  unsigned attempts = 1;
  bool answered = false;   // set by send(): the endpoint has answered in HTTP
  bool logged_in = false;  // set by send(): a credential was sent with it
};

class Session {
 public:
  // credentials: borrowed.
  Session(HostsOptions hosts, wire::HttpClient::Options http, RetryPolicy policy, CredentialSource& credentials)
      : hosts_(std::move(hosts)),
        http_(std::move(http)),
        policy_(policy),
        authenticator_(http_, credentials, policy_) {}

  // Any status that is not worth another attempt (or the last attempt's). Errors: kUnavailable, kPermissionDenied
  // (TLS, or a login that was refused), kInvalidArgument, kCancelled.
  Result<Response> send(Visit& visit, Request const& request, std::stop_token const& stop);

  // Calls `act` with one endpoint after the other until one does it. The registry's own error is what is told when
  // none does, with the mirrors' before it. For kPush only the first endpoint that takes pushes counts.
  template <typename T>
  Result<T> try_endpoints(std::string_view domain, Use use, std::stop_token const& stop,
                          std::function<Result<T>(Visit&)> const& act);

  // The URL of a path at an endpoint.
  static Result<wire::Url> url_of(Endpoint const& endpoint, std::string_view domain, std::string_view path);

  RetryPolicy const& policy() const { return policy_; }
  Authenticator& authenticator() { return authenticator_; }
  wire::HttpClient& http(Endpoint const& endpoint) { return http_.get(endpoint.connect_timeout); }

  // Follows redirects of a GET without any credentials; for urls that a manifest names.
  Result<Response> get_foreign(wire::Url const& url, wire::Headers const& headers, std::stop_token const& stop);

 private:
  using SteadyTime = std::chrono::steady_clock::time_point;
  struct Memory {
    std::map<std::string, SteadyTime> away_until;  // by base: could not be reached
    std::map<std::string, std::string> spoken;     // by "host:port" of a fallback pair: the base that answered
    struct Listed {
      std::vector<Endpoint> endpoints;
      SteadyTime until;
    };
    std::map<std::string, Listed> listed;  // by domain: so that a pull of many blobs reads the files once
  };
  static constexpr std::chrono::seconds kAwayTime{60}, kListTime{10};

  Result<std::vector<Endpoint>> list(std::string_view domain, Use use);
  static void keep_what_was_spoken(Memory const& memory, std::vector<Endpoint>& endpoints);
  static void drop_away_mirrors(Memory const& memory, std::vector<Endpoint>& endpoints, SteadyTime now);
  void note_outcome(Visit const& visit, bool reached);
  Result<Response> send_once(Visit& visit, Request const& request, std::stop_token const& stop);
  Result<std::string> introduce(Visit& visit, Request const& request, wire::HttpRequest& message,
                                std::stop_token const& stop);
  Result<Response> follow(Visit& visit, Request const& request, wire::Url url, std::stop_token const& stop);

  HostsOptions const hosts_;
  HttpClients http_;
  RetryPolicy const policy_;
  Authenticator authenticator_;
  Guarded<Memory> memory_;
};

// "https://mirror.example: connect: ...; " for the mirrors that failed before.
Error with_earlier(Error error, std::string const& earlier);

template <typename T>
Result<T> Session::try_endpoints(std::string_view domain, Use use, std::stop_token const& stop,
                                 std::function<Result<T>(Visit&)> const& act) {
  std::vector<Endpoint> const endpoints = TRY(list(domain, use));
  std::string const name(domain);
  std::string earlier, before_this_host;
  for (std::size_t i = 0; i < endpoints.size(); ++i) {
    bool const last = i + 1 == endpoints.size();
    Visit visit{endpoints[i], name, last ? policy_.attempts : 1};
    Result<T> result = act(visit);
    note_outcome(visit, visit.answered);
    if (result.ok()) return result;
    if (stop.stop_requested() || result.error().code() == Errc::kCancelled) return cancelled();
    bool const settled = visit.answered && !last && endpoints[i + 1].plain_fallback;
    // That TLS was tried first is of no interest once the same host has answered without.
    bool const answered_plainly = visit.answered && endpoints[i].plain_fallback;
    if (last || settled)
      return with_earlier(std::move(result).take_error(), answered_plainly ? before_this_host : earlier);
    before_this_host = earlier;
    earlier += endpoints[i].base + ": " + result.error().to_string() + "; ";
  }
  return Error(Errc::kInvalidArgument, name + ": no endpoint may be used for this (capabilities in hosts.toml)");
}

}  // namespace davit::registry
