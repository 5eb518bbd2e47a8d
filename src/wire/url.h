// URLs as HTTP clients need them (RFC 3986: http and https only). Any thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"

namespace davit::wire {

struct Url {
  std::string scheme;  // "http" or "https"
  std::string host;    // lower case; an IPv6 address without its brackets
  std::uint16_t port = 0;
  std::string target;          // path and query, at least "/"
  std::string user, password;  // decoded userinfo, as in proxy URLs

  // kInvalidArgument: other schemes, no host, bad port, control characters, spaces.
  static Result<Url> parse(std::string_view text);
  // `reference` (absolute, //host, absolute path or relative) against this one, as in a Location header.
  Result<Url> resolve(std::string_view reference) const;
  std::string host_header() const;  // "host" or "host:port" when the port is not the scheme's own; IPv6 in brackets
  std::string to_string() const;    // without userinfo
  bool same_origin(Url const& other) const {
    return scheme == other.scheme && host == other.host && port == other.port;
  }
};

std::string percent_encode(std::string_view text);  // everything but unreserved characters

}  // namespace davit::wire
