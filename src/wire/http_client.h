// A blocking HTTP/1.1 client with TLS, proxies and a pool of kept-alive connections: one request per call, bodies
// streamed in both directions. It follows no redirects and knows no authentication: callers decide where their secrets
// go. An HttpClient may be used by many threads at once; a response by one.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "codec/stream.h"
#include "wire/url.h"

namespace davit::wire {

// Per request host. Files are read when a connection is made, so that a renewed certificate counts at once.
struct TlsOptions {
  std::vector<std::string> ca_files{};  // PEM, in addition to the system's
  bool verify = true;                   // false: "insecure": neither chain nor name is checked
  // PEM pairs (certificate, key); the first pair is presented.
  std::vector<std::pair<std::string, std::string>> client_certificates{};
  bool operator==(TlsOptions const&) const = default;
};

// As HTTP_PROXY, HTTPS_PROXY and NO_PROXY say it (curl's and Go's reading: comma-separated hosts, .suffixes, CIDRs,
// ports, "*").
struct ProxyOptions {
  std::string http{}, https{}, no_proxy{};
  static ProxyOptions from_environment();
};

struct HttpTimeouts {
  std::chrono::milliseconds connect{15000};   // name, TCP, TLS, proxy: each address tried gets its share
  std::chrono::milliseconds response{60000};  // from the request's last byte to the status line
  std::chrono::milliseconds stall{60000};     // no byte of a body for so long: kUnavailable
};

using Headers = std::vector<std::pair<std::string, std::string>>;

// Every member has an initialiser, so that a call may name only those it needs.
struct HttpRequest {
  std::string method = "GET";
  Url url{};
  Headers headers{};                         // Host, Content-Length, Transfer-Encoding, Connection are the client's
  std::string body{};                        // or, when body_source is set, that
  codec::Source* body_source = nullptr;      // borrowed until send() returns
  std::optional<std::uint64_t> body_size{};  // of body_source; chunked when unknown
  TlsOptions tls{};
};

// Its destructor gives the connection back to the pool when the body was read to the end, else closes it (or reads a
// small rest first).
class HttpResponse : public codec::Source {
 public:
  ~HttpResponse() override = default;
  virtual int status() const = 0;
  // The first header of that name (any case), nullptr when absent.
  virtual std::string const* header(std::string_view name) const = 0;
  virtual std::vector<std::string> headers(std::string_view name) const = 0;
  virtual std::optional<std::uint64_t> content_length() const = 0;
  // next(): the body's bytes. kUnavailable when the peer goes away before the body's end, stalls, or breaks the
  // framing.
};

class HttpClient {
 public:
  struct Options {
    ProxyOptions proxy{};
    HttpTimeouts timeouts{};
    std::string user_agent = "davit";
    std::size_t max_idle_per_host = 8;
    std::size_t max_header_bytes = 65536;
  };
  explicit HttpClient(Options options);
  ~HttpClient();

  // The status line and headers have arrived when this returns; 1xx are skipped. A request on a kept-alive connection
  // that the peer had closed is sent again on a new one when nothing of its body was lost. Errors: kUnavailable (name,
  // connect, peer went away, time-out; the message says which address and step), kPermissionDenied (TLS: the
  // certificate is not trusted, wrong name, expired, or the server speaks plain HTTP: with what to do),
  // kInvalidArgument (not HTTP), kCancelled (stop, at most 200 ms late).
  Result<std::unique_ptr<HttpResponse>> send(HttpRequest const& request, std::stop_token stop = {});

 private:
  struct Body;
  std::unique_ptr<Body> body_;
};

}  // namespace davit::wire
