#include "registry/insecure.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>

#include <algorithm>
#include <cstring>

#include "base/text.h"
#include "sys/tcp_socket.h"

namespace davit::registry {

namespace {

std::string lower(std::string_view text) {
  std::string result(text);
  for (char& c : result) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return result;
}

}  // namespace

HostPort HostPort::split(std::string_view domain) {
  if (domain.starts_with('[')) {
    std::size_t const close = domain.find(']');
    if (close != std::string_view::npos) {
      std::string_view const after = domain.substr(close + 1);
      return {lower(domain.substr(1, close - 1)), std::string(after.starts_with(':') ? after.substr(1) : "")};
    }
  }
  std::size_t const colon = domain.find(':');
  // Two colons without brackets: a bare IPv6 address.
  if (colon == std::string_view::npos || domain.find(':', colon + 1) != std::string_view::npos) {
    return {lower(domain), ""};
  }
  return {lower(domain.substr(0, colon)), std::string(domain.substr(colon + 1))};
}

std::optional<std::array<std::uint8_t, 16>> InsecureList::parse_address(std::string_view text) {
  std::array<std::uint8_t, 16> result{};
  std::string const copy(text);
  if (::inet_pton(AF_INET6, copy.c_str(), result.data()) == 1) return result;
  in_addr four{};
  if (::inet_pton(AF_INET, copy.c_str(), &four) != 1) return std::nullopt;
  result[10] = result[11] = 0xff;
  std::memcpy(result.data() + 12, &four, 4);
  return result;
}

std::optional<InsecureList::Range> InsecureList::parse_range(std::string_view text) {
  std::size_t const slash = text.find('/');
  if (slash == std::string_view::npos) return std::nullopt;
  auto const address = parse_address(text.substr(0, slash));
  auto const bits = parse_u64(text.substr(slash + 1));
  bool const four = text.substr(0, slash).find(':') == std::string_view::npos;
  if (!address || !bits || *bits > (four ? 32U : 128U)) return std::nullopt;
  return Range{*address, static_cast<unsigned>(*bits) + (four ? 96U : 0U)};
}

bool InsecureList::in_range(std::array<std::uint8_t, 16> const& address, Range const& range) {
  for (unsigned i = 0; i < range.bits; ++i) {
    unsigned const mask = 0x80U >> (i % 8);
    if (((address[i / 8] ^ range.address[i / 8]) & mask) != 0) return false;
  }
  return true;
}

bool is_loopback(std::string_view host) {
  if (host == "localhost") return true;
  in_addr four{};
  in6_addr six{};
  std::string const copy(host);
  if (::inet_pton(AF_INET, copy.c_str(), &four) == 1) return (ntohl(four.s_addr) >> 24) == 127;
  return ::inet_pton(AF_INET6, copy.c_str(), &six) == 1 && IN6_IS_ADDR_LOOPBACK(&six);
}

Result<InsecureList> InsecureList::parse(std::vector<std::string> const& entries) {
  InsecureList list;
  for (std::string const& entry : entries) {
    std::string_view text = trim(entry);
    // Docker takes a URL's scheme off, too.
    for (std::string_view const scheme : {"http://", "https://"}) {
      if (text.starts_with(scheme)) text.remove_prefix(scheme.size());
    }
    if (auto const range = parse_range(text)) {
      list.ranges_.push_back(*range);
    } else if (text.empty() || text.find_first_of("/ ?#@") != std::string_view::npos) {
      return Error(
          Errc::kInvalidArgument,
          fmt::format("insecure-registries: '{}' is neither HOST, HOST:PORT nor a CIDR like 10.0.0.0/8", entry));
    } else {
      list.names_.push_back(lower(text));
    }
  }
  return list;
}

bool InsecureList::holds(std::string_view domain) const {
  if (std::ranges::find(names_, lower(domain)) != names_.end()) return true;
  if (ranges_.empty()) return false;
  HostPort const target = HostPort::split(domain);
  auto const in_any = [this](std::string_view text) {
    auto const address = parse_address(text);
    return address && std::ranges::any_of(ranges_, [&](Range const& range) { return in_range(*address, range); });
  };
  if (parse_address(target.host)) return in_any(target.host);
  auto const addresses = sys::resolve_host(target.host, 0);
  if (!addresses.ok()) return false;
  return std::ranges::any_of(
      *addresses, [&](sys::SocketAddress const& address) { return in_any(HostPort::split(address.to_string()).host); });
}

}  // namespace davit::registry
