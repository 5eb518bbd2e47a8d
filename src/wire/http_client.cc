#include "wire/http_client.h"

#include <utility>

#include "wire/connection_pool.h"
#include "wire/connector.h"
#include "wire/exchange.h"
#include "wire/wait.h"

namespace davit::wire {

namespace {

bool is_token(std::string_view text) {
  constexpr std::string_view kExtra = "!#$%&'*+-.^_`|~";
  for (char const c : text) {
    bool const alnum = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    if (!alnum && kExtra.find(c) == std::string_view::npos) return false;
  }
  return !text.empty();
}

std::string lower(std::string_view text) {
  std::string result(text);
  for (char& c : result) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return result;
}

// A line end in a value would begin a header of somebody else's choice.
bool has_control(std::string_view text) {
  for (char const c : text) {
    if ((static_cast<unsigned char>(c) < 0x20 && c != '\t') || c == 0x7f) return true;
  }
  return false;
}

Error invalid(std::string const& message) { return Error(Errc::kInvalidArgument, message); }

Result<void> check_request(HttpRequest const& request) {
  if (!is_token(request.method)) return invalid("the request's method has characters that no method has");
  if (request.method == "CONNECT") return invalid("the method CONNECT is the client's own");
  if (request.url.scheme != "http" && request.url.scheme != "https") return invalid("the URL is not http or https");
  if (request.url.host.empty() || request.url.port == 0) return invalid("the URL has no host or port");
  if (!request.url.target.starts_with('/')) return invalid("the URL's path does not begin with /");
  for (char const c : request.url.host + request.url.target) {
    if (static_cast<unsigned char>(c) <= 0x20 || static_cast<unsigned char>(c) >= 0x7f) {
      return invalid("the URL has spaces, control characters or bytes that are not ASCII");
    }
  }
  for (auto const& [name, value] : request.headers) {
    if (!is_token(name)) return invalid("header '" + name + "' has characters that no header name has");
    if (has_control(value)) return invalid("the value of header '" + name + "' has control characters");
    for (std::string_view const own :
         {"host", "content-length", "transfer-encoding", "connection", "expect", "proxy-authorization"}) {
      if (lower(name) == own) return invalid("header '" + name + "' is set by the client itself");
    }
  }
  if (request.body_source != nullptr && !request.body.empty()) return invalid("the request has two bodies");
  return {};
}

bool wants_length(std::string_view method) { return method == "POST" || method == "PUT" || method == "PATCH"; }

std::string request_head(HttpRequest const& request, Route const& route, std::string const& user_agent) {
  std::string head = request.method + " " + route.target + " HTTP/1.1\r\nHost: " + request.url.host_header() + "\r\n";
  bool named = user_agent.empty();
  for (auto const& [name, value] : request.headers) {
    named = named || lower(name) == "user-agent";
    head += name + ": " + value + "\r\n";
  }
  if (!route.proxy_authorization.empty()) head += "Proxy-Authorization: " + route.proxy_authorization + "\r\n";
  if (!named) head += "User-Agent: " + user_agent + "\r\n";
  if (request.body_source != nullptr && !request.body_size) {
    head += "Transfer-Encoding: chunked\r\n";
  } else {
    std::uint64_t const size = request.body_source != nullptr ? *request.body_size : request.body.size();
    if (size > 0 || wants_length(request.method)) head += "Content-Length: " + std::to_string(size) + "\r\n";
  }
  return head + "\r\n";
}

// What a request is called in errors: no query, which may hold a signature.
std::string name_of(HttpRequest const& request) {
  Url const& url = request.url;
  return request.method + " " + url.scheme + "://" + url.host_header() + url.target.substr(0, url.target.find('?'));
}

// The codes that http_client.h promises.
Error outward(Error error) {
  switch (error.code()) {
    case Errc::kInvalidArgument:
    case Errc::kPermissionDenied:
    case Errc::kResourceExhausted:
    case Errc::kCancelled:
      return error;
    default:
      return Error(Errc::kUnavailable, error.to_string(), error.error_number());
  }
}

}  // namespace

struct HttpClient::Body {
  Options options;
  std::shared_ptr<ConnectionPool> pool;

  Result<std::unique_ptr<HttpResponse>> send(HttpRequest const& request, std::stop_token stop);
};

Result<std::unique_ptr<HttpResponse>> HttpClient::Body::send(HttpRequest const& request, std::stop_token stop) {
  Route const route = TRY(route_for(request, options.proxy));
  std::string const head = request_head(request, route, options.user_agent);
  auto waiter = std::make_unique<Waiter>(std::move(stop));
  std::unique_ptr<Connection> connection = pool->take(route.key);
  for (;;) {
    TRY(waiter->check());
    if (connection == nullptr) connection = TRY(connect(request, route, options, *waiter));
    bool const reused = connection->reused;
    auto exchange = std::make_unique<Exchange>(ExchangeOptions{options.timeouts, options.max_header_bytes}, pool,
                                               std::move(waiter), std::exchange(connection, nullptr));
    Result<void> outcome = exchange->run(head, request);
    if (outcome) return std::unique_ptr<HttpResponse>(std::move(exchange));
    bool const closed = outcome.error().code() == Errc::kUnavailable;
    // The peer closed a kept-alive connection while the request was on its way.
    if (!reused || !closed || !exchange->may_repeat()) return std::move(outcome).take_error();
    waiter = exchange->take_waiter();
  }
}

HttpClient::HttpClient(Options options) : body_(std::make_unique<Body>()) {
  body_->pool = std::make_shared<ConnectionPool>(options.max_idle_per_host);
  body_->options = std::move(options);
}

HttpClient::~HttpClient() = default;

Result<std::unique_ptr<HttpResponse>> HttpClient::send(HttpRequest const& request, std::stop_token stop) {
  TRY(check_request(request));
  Result<std::unique_ptr<HttpResponse>> response = body_->send(request, std::move(stop));
  if (!response) return outward(std::move(response).take_error()).with_context(name_of(request));
  return response;
}

}  // namespace davit::wire
