#include "registry/session.h"

#include <fmt/format.h>

#include <algorithm>

#include "sys/polling.h"
#include "wire/url.h"

namespace davit::registry {

namespace {

constexpr int kMaxRedirects = 10, kMaxChallenges = 2;

bool is_redirect(int status) {
  return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

bool allows(Endpoint const& endpoint, Use use) {
  switch (use) {
    case Use::kPull:
      return endpoint.pull;
    case Use::kResolve:
      return endpoint.resolve;
    case Use::kPush:
      return endpoint.push;
  }
  return false;
}

std::string host_of(std::string_view base) {
  std::size_t const scheme = base.find("://");
  return std::string(scheme == std::string_view::npos ? base : base.substr(scheme + 3));
}

// What a redirect to another origin may know of the endpoint: whom it trusts, not who we are.
wire::TlsOptions tls_for(Endpoint const& endpoint, bool own_origin) {
  wire::TlsOptions tls = endpoint.tls;
  if (!own_origin) tls.client_certificates.clear();
  return tls;
}

wire::HttpRequest message_of(Request const& request, wire::Url const& url) {
  wire::HttpRequest message;
  message.method = request.method;
  message.url = url;
  message.headers = request.headers;
  message.body = request.body;
  message.body_size = request.body_size;
  message.body_source = request.once_body;
  return message;
}

bool same_method_after(int status, std::string const& method) {
  return method == "GET" || method == "HEAD" || status == 307 || status == 308;
}

}  // namespace

Error with_earlier(Error error, std::string const& earlier) {
  if (earlier.empty()) return error;
  return Error(error.code(), fmt::format("{} (tried before: {})", error.to_string(),
                                         std::string_view(earlier).substr(0, earlier.size() - 2)));
}

Result<wire::Url> Session::url_of(Endpoint const& endpoint, std::string_view domain, std::string_view path) {
  std::string text = endpoint.base + (endpoint.override_path ? "/" : "/v2/");
  text += path;
  if (endpoint.is_mirror && !path.empty()) {
    text += (path.find('?') == std::string_view::npos ? '?' : '&') + ("ns=" + wire::percent_encode(domain));
  }
  return wire::Url::parse(text);
}

// Of https and http of one host the one that once answered.
void Session::keep_what_was_spoken(Memory const& memory, std::vector<Endpoint>& endpoints) {
  for (std::size_t i = 1; i < endpoints.size(); ++i) {
    if (!endpoints[i].plain_fallback) continue;
    auto const spoken = memory.spoken.find(host_of(endpoints[i].base));
    if (spoken == memory.spoken.end()) continue;
    bool const plain = spoken->second == endpoints[i].base;
    if (plain) endpoints[i].plain_fallback = false;
    endpoints.erase(endpoints.begin() + static_cast<std::ptrdiff_t>(plain ? i - 1 : i));
  }
}

// A mirror that could not be reached is not waited for again and again, as long as something else is left.
void Session::drop_away_mirrors(Memory const& memory, std::vector<Endpoint>& endpoints, SteadyTime now) {
  auto const away = [&](Endpoint const& endpoint) {
    auto const found = memory.away_until.find(endpoint.base);
    return endpoint.is_mirror && found != memory.away_until.end() && now < found->second;
  };
  if (!std::ranges::all_of(endpoints, away)) std::erase_if(endpoints, away);
}

Result<std::vector<Endpoint>> Session::list(std::string_view domain, Use use) {
  auto const now = std::chrono::steady_clock::now();
  std::string const name(domain);
  auto endpoints = memory_.with([&](Memory& memory) {
    auto const listed = memory.listed.find(name);
    bool const fresh = listed != memory.listed.end() && now < listed->second.until;
    return fresh ? listed->second.endpoints : std::vector<Endpoint>();
  });
  if (endpoints.empty()) {
    endpoints = TRY(endpoints_for(domain, hosts_));
    memory_.with([&](Memory& memory) {
      memory.listed[name] = {endpoints, now + kListTime};
      return 0;
    });
  }
  std::erase_if(endpoints, [&](Endpoint const& endpoint) { return !allows(endpoint, use); });
  // A push is several requests that must meet at one place.
  if (use == Use::kPush && !endpoints.empty()) {
    std::size_t const keep = endpoints.size() > 1 && endpoints[1].plain_fallback ? 2 : 1;
    endpoints.resize(keep);
  }
  memory_.with([&](Memory& memory) {
    keep_what_was_spoken(memory, endpoints);
    drop_away_mirrors(memory, endpoints, now);
    return 0;
  });
  return endpoints;
}

void Session::note_outcome(Visit const& visit, bool reached) {
  memory_.with([&](Memory& memory) {
    if (!reached) {
      memory.away_until[visit.endpoint.base] = std::chrono::steady_clock::now() + kAwayTime;
      memory.spoken.erase(host_of(visit.endpoint.base));  // it may have come back in another way
      return 0;
    }
    memory.away_until.erase(visit.endpoint.base);
    if (visit.endpoint.plain_fallback || !visit.endpoint.tls.verify) {
      memory.spoken[host_of(visit.endpoint.base)] = visit.endpoint.base;
    }
    return 0;
  });
}

// Adds what only the endpoint itself may see; returns the Authorization header's value.
Result<std::string> Session::introduce(Visit& visit, Request const& request, wire::HttpRequest& message,
                                       std::stop_token const& stop) {
  message.headers.insert(message.headers.end(), visit.endpoint.headers.begin(), visit.endpoint.headers.end());
  std::string authorization = TRY(authenticator_.header(visit.endpoint, visit.domain, request.scopes, stop));
  if (authorization.empty()) return authorization;
  message.headers.emplace_back("Authorization", authorization);
  visit.logged_in = TRY(authenticator_.has_credential(visit.endpoint, visit.domain));
  return authorization;
}

Result<Response> Session::follow(Visit& visit, Request const& request, wire::Url url, std::stop_token const& stop) {
  wire::Url const origin = TRY(wire::Url::parse(visit.endpoint.base));
  int challenges = 0;
  for (int redirects = 0;;) {
    bool const own = url.same_origin(origin);
    wire::HttpRequest message = message_of(request, url);
    message.tls = tls_for(visit.endpoint, own);
    std::string const authorization = own ? TRY(introduce(visit, request, message, stop)) : std::string();
    std::unique_ptr<codec::Source> body;
    if (request.open_body) {
      body = TRY(request.open_body());
      message.body_source = body.get();
    }
    Response response = TRY(http(visit.endpoint).send(message, stop));
    visit.answered = true;
    bool const again = request.once_body == nullptr;
    if (response->status() == 401 && own && again && challenges < kMaxChallenges) {
      ++challenges;
      auto const answer =
          TRY(authenticator_.challenged(visit.endpoint, visit.domain, request.scopes, *response, authorization));
      if (answer == Authenticator::Answer::kRetry) continue;
    }
    std::string const* location = response->header("Location");
    if (!is_redirect(response->status()) || location == nullptr) return response;
    if (!again || !same_method_after(response->status(), request.method)) {
      return Error(Errc::kInvalidArgument, fmt::format("{} redirects a {} request, which cannot be followed",
                                                       visit.endpoint.base, request.method));
    }
    if (++redirects > kMaxRedirects) {
      return Error(Errc::kInvalidArgument,
                   fmt::format("{}: more than {} redirects", visit.endpoint.base, kMaxRedirects));
    }
    wire::Url next = TRY_CTX(url.resolve(*location), visit.endpoint.base + ": redirect");
    bool const downgrade = url.scheme == "https" && next.scheme == "http";
    if (downgrade && visit.endpoint.tls.verify && !request.content_checked) {
      return Error(Errc::kPermissionDenied, fmt::format("{} redirects to {}://{}, which is without TLS; not followed",
                                                        visit.endpoint.base, next.scheme, next.host_header()));
    }
    url = std::move(next);
  }
}

Result<Response> Session::send_once(Visit& visit, Request const& request, std::stop_token const& stop) {
  if (request.url) return follow(visit, request, *request.url, stop);
  wire::Url url = TRY(url_of(visit.endpoint, visit.domain, request.path));
  return follow(visit, request, std::move(url), stop);
}

Result<Response> Session::send(Visit& visit, Request const& request, std::stop_token const& stop) {
  unsigned const attempts = request.repeatable && request.once_body == nullptr ? visit.attempts : 1;
  for (unsigned failures = 1;; ++failures) {
    if (stop.stop_requested()) return cancelled();
    auto response = send_once(visit, request, stop);
    bool const last = failures >= attempts;
    if (!response.ok()) {
      if (last || response.error().code() != Errc::kUnavailable) return response;
    } else if (last || !is_transient((*response)->status())) {
      return response;
    } else if (std::string const* after = (*response)->header("Retry-After")) {
      auto const delay = parse_retry_after(*after, sys::realtime_nanos() / 1'000'000'000);
      if (delay) {
        TRY(pause(*delay, stop));
        continue;
      }
    }
    TRY(back_off(policy_, failures, stop));
  }
}

Result<Response> Session::get_foreign(wire::Url const& url, wire::Headers const& headers, std::stop_token const& stop) {
  wire::HttpRequest message;
  message.url = url;
  message.headers = headers;
  for (int redirects = 0; redirects <= kMaxRedirects; ++redirects) {
    Response response = TRY(http_.get(std::nullopt).send(message, stop));
    std::string const* location = response->header("Location");
    if (!is_redirect(response->status()) || location == nullptr) return response;
    message.url = TRY(message.url.resolve(*location));
  }
  return Error(Errc::kInvalidArgument, fmt::format("{}: more than {} redirects", url.to_string(), kMaxRedirects));
}

}  // namespace davit::registry
