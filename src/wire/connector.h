// From an origin to a connection that speaks HTTP with it: proxy, name, TCP, TLS. Internal to wire. Any thread.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "base/result.h"
#include "wire/connection_pool.h"
#include "wire/http_client.h"
#include "wire/wait.h"

namespace davit::wire {

struct Route {
  std::optional<Url> proxy;
  std::string key;                  // of the pool
  std::string target;               // the request line's: absolute at a plain proxy
  std::string proxy_authorization;  // the header's value where the request itself must carry it, else empty
};

Result<Route> route_for(HttpRequest const& request, ProxyOptions const& options);
// A new connection. Errors name the step and whom it was with.
Result<std::unique_ptr<Connection>> connect(HttpRequest const& request, Route const& route,
                                            HttpClient::Options const& options, Waiter& waiter);

}  // namespace davit::wire
