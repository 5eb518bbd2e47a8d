#include "wire/connector.h"

#include <utility>

#include "codec/base64.h"
#include "wire/dial.h"
#include "wire/exchange.h"
#include "wire/proxy.h"
#include "wire/tls.h"

namespace davit::wire {

namespace {

std::string basic_authorization(Url const& proxy) {
  if (proxy.user.empty() && proxy.password.empty()) return "";
  return "Basic " + codec::base64_encode(proxy.user + ":" + proxy.password);
}

// Length first, so that no two lists read alike.
void append(std::string& key, std::string_view part) {
  key += '|' + std::to_string(part.size()) + ':';
  key += part;
}

std::string pool_key(HttpRequest const& request, std::optional<Url> const& proxy) {
  std::string key = request.url.scheme + "://" + request.url.host_header();
  if (proxy) {
    append(key, proxy->to_string());
    append(key, proxy->user);
    append(key, proxy->password);
  }
  if (request.url.scheme != "https") return key;
  key += request.tls.verify ? "|verified" : "|insecure";
  for (std::string const& file : request.tls.ca_files) append(key, file);
  for (auto const& [certificate, key_file] : request.tls.client_certificates) {
    append(key, "certificate");
    append(key, certificate);
    append(key, key_file);
  }
  return key;
}

// How to call it in errors: without the user.
std::string name_of(Url const& proxy) { return "proxy " + proxy.scheme + "://" + proxy.host_header(); }

Result<std::unique_ptr<Transport>> open_transport(Url const& url, TlsOptions const& tls, Waiter& waiter,
                                                  Deadline deadline) {
  std::unique_ptr<Transport> transport = tcp_transport(TRY(dial(url.host, url.port, waiter, deadline)));
  if (url.scheme == "http") return transport;
  return tls_transport(std::move(transport), {url.host, url.host_header()}, tls, waiter, deadline);
}

// What the proxy said to CONNECT, when it was not yes.
Error refused_tunnel(Exchange const& answer, std::string const& origin) {
  int const status = answer.status();
  std::string const text = "CONNECT " + origin + ": the proxy answered " + std::to_string(status);
  if (status == 407) return Error(Errc::kPermissionDenied, text + ": it wants another user and password in its URL");
  if (status == 403) return Error(Errc::kPermissionDenied, text);
  return Error(Errc::kUnavailable, text);
}

// Asks the proxy for a tunnel. Its head is short, so the time-outs of a request, cut to what is left, do.
Result<std::unique_ptr<Transport>> open_tunnel(std::unique_ptr<Transport> transport, Url const& proxy, Url const& url,
                                               HttpClient::Options const& options, std::stop_token stop,
                                               Deadline deadline) {
  std::string const origin =
      (url.host.find(':') == std::string::npos ? url.host : "[" + url.host + "]") + ":" + std::to_string(url.port);
  std::string head = "CONNECT " + origin + " HTTP/1.1\r\nHost: " + origin + "\r\n";
  if (!options.user_agent.empty()) head += "User-Agent: " + options.user_agent + "\r\n";
  std::string const authorization = basic_authorization(proxy);
  if (!authorization.empty()) head += "Proxy-Authorization: " + authorization + "\r\n";
  auto connection = std::make_unique<Connection>();
  connection->transport = std::move(transport);
  HttpTimeouts timeouts = options.timeouts;
  timeouts.response = timeouts.stall =
      std::chrono::ceil<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now());
  Exchange exchange({timeouts, options.max_header_bytes}, nullptr, std::make_unique<Waiter>(std::move(stop)),
                    std::move(connection));
  HttpRequest request{.method = "CONNECT"};
  TRY_CTX(exchange.run(head + "\r\n", request), "CONNECT " + origin);
  if (exchange.status() / 100 != 2) return refused_tunnel(exchange, origin);
  std::unique_ptr<Connection> tunnel = exchange.take_connection();
  if (tunnel == nullptr) return Error(Errc::kInvalidArgument, "the proxy sent bytes of its own into the tunnel");
  return std::move(tunnel->transport);
}

}  // namespace

Result<Route> route_for(HttpRequest const& request, ProxyOptions const& options) {
  Route route;
  route.proxy = TRY(proxy_for(options, request.url));
  route.key = pool_key(request, route.proxy);
  route.target = request.url.target;
  if (route.proxy && request.url.scheme == "http") {
    route.target = request.url.to_string();
    route.proxy_authorization = basic_authorization(*route.proxy);
  }
  return route;
}

Result<std::unique_ptr<Connection>> connect(HttpRequest const& request, Route const& route,
                                            HttpClient::Options const& options, Waiter& waiter) {
  Deadline const deadline = std::chrono::steady_clock::now() + options.timeouts.connect;
  auto connection = std::make_unique<Connection>();
  connection->key = route.key;
  Url const& url = request.url;
  if (!route.proxy) {
    connection->transport = TRY(open_transport(url, request.tls, waiter, deadline));
    return connection;
  }
  // The proxy's certificate is judged by the system's CAs: the options are about the origin.
  connection->transport = TRY_CTX(open_transport(*route.proxy, TlsOptions{}, waiter, deadline), name_of(*route.proxy));
  if (url.scheme == "http") return connection;
  connection->transport =
      TRY_CTX(open_tunnel(std::move(connection->transport), *route.proxy, url, options, waiter.token(), deadline),
              name_of(*route.proxy));
  connection->transport = TRY(
      tls_transport(std::move(connection->transport), {url.host, url.host_header()}, request.tls, waiter, deadline));
  return connection;
}

}  // namespace davit::wire
