// Which registries may be spoken to without trust: those named in insecure-registries, and the machine itself. Any
// thread.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace davit::registry {

// "host", "host:port", "[::1]:port" in two. port "" when none was given; the host without brackets.
struct HostPort {
  std::string host, port;
  static HostPort split(std::string_view domain);
};

// localhost, 127.0.0.0/8 and ::1 in any spelling.
bool is_loopback(std::string_view host);

class InsecureList {
 public:
  // kInvalidArgument names the entry that is neither a host nor a CIDR.
  static Result<InsecureList> parse(std::vector<std::string> const& entries);
  // By name exactly as listed (a name without port means the default port only, as in Docker), or by an address in a
  // listed range. Resolves a name only when there are ranges; a name that cannot be resolved is in none.
  bool holds(std::string_view domain) const;

 private:
  struct Range {
    std::array<std::uint8_t, 16> address{};  // IPv4 as ::ffff:a.b.c.d
    unsigned bits = 0;
  };
  static std::optional<std::array<std::uint8_t, 16>> parse_address(std::string_view text);
  static std::optional<Range> parse_range(std::string_view text);
  static bool in_range(std::array<std::uint8_t, 16> const& address, Range const& range);

  std::vector<std::string> names_;
  std::vector<Range> ranges_;
};

}  // namespace davit::registry
