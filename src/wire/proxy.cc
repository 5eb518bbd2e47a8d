#include "wire/proxy.h"

#include <arpa/inet.h>

#include <array>
#include <cstdlib>
#include <cstring>
#include <string>

#include "base/text.h"

namespace davit::wire {

namespace {

// An IPv4 address as its IPv4-mapped form, so that both kinds compare alike.
using Address = std::array<unsigned char, 16>;

std::optional<Address> parse_address(std::string const& text) {
  Address bytes{};
  if (::inet_pton(AF_INET6, text.c_str(), bytes.data()) == 1) return bytes;
  unsigned char v4[4];
  if (::inet_pton(AF_INET, text.c_str(), v4) != 1) return std::nullopt;
  bytes[10] = bytes[11] = 0xff;
  std::memcpy(bytes.data() + 12, v4, sizeof v4);
  return bytes;
}

bool is_v4(Address const& address) {
  constexpr Address kMapped{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
  return std::memcmp(address.data(), kMapped.data(), 12) == 0;
}

bool is_loopback(Address const& address) {
  if (is_v4(address)) return address[12] == 127;
  Address one{};
  one[15] = 1;
  return address == one;
}

bool same_prefix(Address const& a, Address const& b, unsigned bits) {
  for (unsigned i = 0; i < bits; ++i) {
    unsigned const mask = 0x80u >> (i % 8);
    if (((a[i / 8] ^ b[i / 8]) & mask) != 0) return false;
  }
  return true;
}

bool in_network(std::optional<Address> const& address, std::string_view entry) {
  std::size_t const slash = entry.find('/');
  std::optional<Address> const network = parse_address(std::string(entry.substr(0, slash)));
  std::optional<std::uint64_t> const bits = parse_u64(entry.substr(slash + 1));
  if (!address || !network || !bits) return false;
  std::uint64_t const most = is_v4(*network) ? 32 : 128;
  if (*bits > most || is_v4(*network) != is_v4(*address)) return false;
  return same_prefix(*address, *network, static_cast<unsigned>(*bits + 128 - most));
}

std::string lower(std::string_view text) {
  std::string result(text);
  for (char& c : result) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return result;
}

// "host:port" and "[v6]:port"; a bare IPv6 address has no port. The port's text is empty when there is none.
std::pair<std::string, std::string> split_port(std::string const& entry) {
  if (entry.starts_with('[')) {
    std::size_t const end = entry.find(']');
    if (end == std::string::npos) return {entry, ""};
    std::string const rest = entry.substr(end + 1);
    return {entry.substr(1, end - 1), rest.starts_with(':') ? rest.substr(1) : ""};
  }
  std::size_t const colon = entry.find(':');
  if (colon == std::string::npos || entry.find(':', colon + 1) != std::string::npos) return {entry, ""};
  return {entry.substr(0, colon), entry.substr(colon + 1)};
}

bool matches_name(std::string name, std::string_view host) {
  if (name.starts_with("*.")) name.erase(0, 1);
  if (name.starts_with('.')) return host.ends_with(name);
  return host == name || host.ends_with("." + name);
}

bool matches_entry(std::string const& entry, std::string_view host, std::optional<Address> const& address,
                   std::uint16_t port) {
  if (entry == "*") return true;
  if (entry.find('/') != std::string::npos) return in_network(address, entry);
  auto const [name, port_text] = split_port(entry);
  if (!port_text.empty() && parse_u64(port_text) != port) return false;
  if (name.empty()) return false;
  if (std::optional<Address> const wanted = parse_address(name)) return wanted == address;
  return matches_name(name, host);
}

bool is_local(std::string const& host) {
  if (host == "localhost") return true;
  std::optional<Address> const address = parse_address(host);
  return address && is_loopback(*address);
}

// Like curl and Go: "proxy:3128" means http.
Result<Url> parse_proxy(std::string const& text) {
  std::size_t const end = text.find("://");
  if (end == std::string::npos) return Url::parse("http://" + text);
  std::string const scheme = lower(std::string_view(text).substr(0, end));
  if (scheme == "http" || scheme == "https") return Url::parse(text);
  return Error(Errc::kUnimplemented, "a proxy of kind '" + scheme + "' is not supported: use one of http or https");
}

std::string variable(char const* upper_name, char const* lower_name) {
  for (char const* name : {upper_name, lower_name}) {
    char const* const value = std::getenv(name);
    if (value != nullptr && *value != '\0') return value;
  }
  return "";
}

}  // namespace

ProxyOptions ProxyOptions::from_environment() {
  return {.http = variable("HTTP_PROXY", "http_proxy"),
          .https = variable("HTTPS_PROXY", "https_proxy"),
          .no_proxy = variable("NO_PROXY", "no_proxy")};
}

bool matches_no_proxy(std::string_view list, std::string_view host, std::uint16_t port) {
  std::optional<Address> const address = parse_address(std::string(host));
  for (std::string_view const piece : split(list, ',')) {
    std::string const entry = lower(trim(piece));
    if (!entry.empty() && matches_entry(entry, host, address, port)) return true;
  }
  return false;
}

Result<std::optional<Url>> proxy_for(ProxyOptions const& options, Url const& url) {
  std::string const& proxy = url.scheme == "https" ? options.https : options.http;
  if (proxy.empty() || is_local(url.host) || matches_no_proxy(options.no_proxy, url.host, url.port)) {
    return std::optional<Url>();
  }
  return std::optional<Url>(TRY_CTX(parse_proxy(proxy), url.scheme == "https" ? "HTTPS_PROXY" : "HTTP_PROXY"));
}

}  // namespace davit::wire
