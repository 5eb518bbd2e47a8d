// Which proxy a request goes through. Internal to wire. Any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "base/result.h"
#include "wire/http_client.h"
#include "wire/url.h"

namespace davit::wire {

// As Go's httpproxy decides it, for which the variables of a docker host are written. Names and addresses of this
// machine never go through a proxy. kInvalidArgument: a proxy that is no URL; kUnimplemented: one of another kind
// (socks5).
Result<std::optional<Url>> proxy_for(ProxyOptions const& options, Url const& url);

// Whether a NO_PROXY list names that host and port.
bool matches_no_proxy(std::string_view list, std::string_view host, std::uint16_t port);

}  // namespace davit::wire
