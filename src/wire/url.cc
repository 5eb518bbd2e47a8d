#include "wire/url.h"

#include <arpa/inet.h>

#include <optional>

#include "base/text.h"

namespace davit::wire {

namespace {

bool is_alpha(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_unreserved(char c) { return is_alpha(c) || is_digit(c) || c == '-' || c == '.' || c == '_' || c == '~'; }

std::string lower(std::string_view text) {
  std::string result(text);
  for (char& c : result) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return result;
}

void append_percent(std::string& out, char c) {
  constexpr char kHex[] = "0123456789ABCDEF";
  auto const byte = static_cast<unsigned char>(c);
  out += '%';
  out += kHex[byte >> 4];
  out += kHex[byte & 15];
}

int hex_value(char c) {
  if (is_digit(c)) return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

std::optional<std::string> percent_decode(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      out += text[i];
      continue;
    }
    int const high = i + 2 < text.size() ? hex_value(text[i + 1]) : -1;
    int const low = i + 2 < text.size() ? hex_value(text[i + 2]) : -1;
    if (high < 0 || low < 0) return std::nullopt;
    out += static_cast<char>(high * 16 + low);
    i += 2;
  }
  return out;
}

// What a URL may be shown as in an error: a user's password and a signed query must not reach a log.
Error wrong(std::string_view text, std::string_view why) {
  std::string shown(text.substr(0, text.find_first_of("?#")));
  std::size_t const start = shown.find("//");
  std::size_t const at = shown.rfind('@');
  if (start != std::string::npos && at != std::string::npos && at > start) shown.erase(start + 2, at - start - 1);
  for (char& c : shown) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = '?';
  }
  return Error(Errc::kInvalidArgument, "URL '" + shown + "': " + std::string(why));
}

// "scheme" when text begins with "scheme:" (RFC 3986 section 3.1).
std::optional<std::string_view> scheme_of(std::string_view text) {
  std::size_t const end = text.find_first_of(":/?#");
  if (end == std::string_view::npos || end == 0 || text[end] != ':' || !is_alpha(text[0])) return std::nullopt;
  for (char const c : text.substr(0, end)) {
    if (!is_alpha(c) && !is_digit(c) && c != '+' && c != '-' && c != '.') return std::nullopt;
  }
  return text.substr(0, end);
}

bool valid_name(std::string_view host) {
  for (char const c : host) {
    if (!is_alpha(c) && !is_digit(c) && c != '-' && c != '.' && c != '_') return false;
  }
  return !host.empty() && host.size() <= 255;
}

bool valid_ipv6(std::string const& text) {
  in6_addr address{};
  return ::inet_pton(AF_INET6, text.c_str(), &address) == 1;
}

// "host", "host:port", "[v6]:port"; the port's text may be empty. nullptr: fine, else what is wrong.
char const* split_host_port(std::string_view text, std::string& host, std::string_view& port) {
  port = {};
  if (text.starts_with('[')) {
    std::size_t const end = text.find(']');
    if (end == std::string_view::npos) return "'[' without ']'";
    host = lower(text.substr(1, end - 1));
    if (!valid_ipv6(host)) return "not an IPv6 address between the brackets";
    text.remove_prefix(end + 1);
    if (text.empty()) return nullptr;
    if (text[0] != ':') return "unexpected characters after ']'";
    port = text.substr(1);
    return nullptr;
  }
  std::size_t const colon = text.find(':');
  host = lower(text.substr(0, colon));
  if (host.empty()) return "no host";
  if (colon != std::string_view::npos) port = text.substr(colon + 1);
  if (!valid_name(host)) return "the host has characters that no host name has";
  return nullptr;
}

std::string remove_dot_segments(std::string_view path) {
  std::vector<std::string_view> kept;
  std::string_view last;
  for (std::string_view const segment : split(path.substr(path.starts_with('/') ? 1 : 0), '/')) {
    last = segment;
    if (segment == ".") continue;
    if (segment != "..") {
      kept.push_back(segment);
    } else if (!kept.empty()) {
      kept.pop_back();
    }
  }
  std::string result;
  for (std::string_view const segment : kept) result.append("/").append(segment);
  if (last == "." || last == ".." || result.empty()) result += '/';
  return result;
}

std::string encoded_target(std::string_view target) {
  std::string out;
  for (char const c : target) {
    if (static_cast<unsigned char>(c) >= 0x80) {
      append_percent(out, c);
    } else {
      out += c;
    }
  }
  return out;
}

std::uint16_t default_port(std::string_view scheme) { return scheme == "https" ? 443 : 80; }

}  // namespace

Result<Url> Url::parse(std::string_view text) {
  for (char const c : text) {
    if (static_cast<unsigned char>(c) <= 0x20 || c == 0x7f) {
      return wrong(text, "spaces and control characters are not allowed");
    }
  }
  std::optional<std::string_view> const found = scheme_of(text);
  Url url;
  if (found) url.scheme = lower(*found);
  if (url.scheme != "http" && url.scheme != "https") return wrong(text, "must begin with http:// or https://");
  std::string_view rest = text.substr(found->size() + 1);
  if (!rest.starts_with("//")) return wrong(text, "must begin with http:// or https://");
  rest.remove_prefix(2);
  std::size_t const end = rest.find_first_of("/?#");
  std::string_view authority = rest.substr(0, end);
  rest = end == std::string_view::npos ? std::string_view() : rest.substr(end);

  // Browsers take it for a slash, and then another host is meant.
  if (authority.find('\\') != std::string_view::npos) return wrong(text, "a backslash before the path");
  if (std::size_t const at = authority.rfind('@'); at != std::string_view::npos) {
    std::string_view const userinfo = authority.substr(0, at);
    std::size_t const colon = userinfo.find(':');
    std::optional<std::string> user = percent_decode(userinfo.substr(0, colon));
    std::optional<std::string> password =
        percent_decode(colon == std::string_view::npos ? std::string_view() : userinfo.substr(colon + 1));
    if (!user || !password) return wrong(text, "bad percent encoding in the user name or password");
    url.user = std::move(*user);
    url.password = std::move(*password);
    authority.remove_prefix(at + 1);
  }
  std::string_view port;
  if (char const* const why = split_host_port(authority, url.host, port); why != nullptr) return wrong(text, why);
  url.port = default_port(url.scheme);
  if (!port.empty()) {
    std::optional<std::uint64_t> const number = parse_u64(port);
    if (!number || *number == 0 || *number > 65535) return wrong(text, "the port is not a number from 1 to 65535");
    url.port = static_cast<std::uint16_t>(*number);
  }
  url.target = encoded_target(rest.substr(0, rest.find('#')));
  if (!url.target.starts_with('/')) url.target.insert(0, "/");
  return url;
}

Result<Url> Url::resolve(std::string_view reference) const {
  if (scheme_of(reference)) return parse(reference);
  if (reference.starts_with("//")) return parse(scheme + ":" + std::string(reference));
  std::string_view const own_path = std::string_view(target).substr(0, target.find('?'));
  std::string_view const wanted = reference.substr(0, reference.find('#'));
  std::size_t const mark = wanted.find('?');
  std::string_view const path = wanted.substr(0, mark);
  std::string_view const query = mark == std::string_view::npos ? std::string_view() : wanted.substr(mark);
  std::string merged;
  if (path.starts_with('/')) {
    merged = remove_dot_segments(path);
  } else if (!path.empty()) {
    merged = remove_dot_segments(std::string(own_path.substr(0, own_path.rfind('/') + 1)) + std::string(path));
  } else {
    // An empty path means this very resource; its query stays unless the reference has one.
    merged = query.empty() ? target : std::string(own_path);
  }
  Url bare = *this;
  bare.target = "/";
  Url result = TRY(parse(bare.to_string().substr(0, bare.to_string().size() - 1) + merged + std::string(query)));
  result.user = user;
  result.password = password;
  return result;
}

std::string Url::host_header() const {
  std::string text = host.find(':') == std::string::npos ? host : "[" + host + "]";
  if (port != default_port(scheme)) text += ":" + std::to_string(port);
  return text;
}

std::string Url::to_string() const { return scheme + "://" + host_header() + target; }

std::string percent_encode(std::string_view text) {
  std::string out;
  for (char const c : text) {
    if (is_unreserved(c)) {
      out += c;
    } else {
      append_percent(out, c);
    }
  }
  return out;
}

}  // namespace davit::wire
