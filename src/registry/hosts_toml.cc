#include "registry/hosts_toml.h"

#include <fmt/format.h>

// One translation unit sees the TOML library; it compiles slowly and its errors are values, not exceptions, this way.
#define TOML_EXCEPTIONS 0
#define TOML_HEADER_ONLY 1
#define TOML_ENABLE_FORMATTERS 0
// Its assertions can be reached by bad input ("[:"), and behind them stands a proper error. Without NDEBUG they become
// nothing; with it some compilers would be told to assume them.
#undef NDEBUG
#define TOML_ASSERT(expression) static_assert(true)
#include <toml++/toml.h>

#include <algorithm>
#include <cstdint>
#include <tuple>

#include "base/text.h"
#include "sys/file.h"
#include "wire/url.h"

namespace davit::registry {

namespace {

constexpr std::size_t kMaxBytes = std::size_t{1} << 20;

class Reader {
 public:
  Reader(std::string const& folder, std::string const& file) : folder_(folder), file_(file) {}

  Result<HostsToml> read(toml::table const& top) const {
    HostsToml result;
    for (auto const& [key, node] : top) {
      if (key == "host") {
        result.hosts = TRY(read_hosts(node));
      } else if (key == "server") {
        std::string const url = TRY(text(node, "server"));
        result.server.url = TRY(checked_url(url, node, "server"));
      } else {
        TRY(read_key(key.str(), node, result.server));
      }
    }
    return result;
  }

 private:
  Error wrong(toml::node const& node, std::string_view message) const {
    auto const& at = node.source().begin;
    return Error(Errc::kInvalidArgument, fmt::format("{}:{}:{}: {}", file_, at.line, at.column, message));
  }

  Result<std::string> text(toml::node const& node, std::string_view name) const {
    auto const* value = node.as_string();
    if (value == nullptr) return wrong(node, fmt::format("'{}' must be a string", name));
    if (value->get().find('\0') != std::string::npos) return wrong(node, fmt::format("'{}' holds a NUL byte", name));
    return value->get();
  }

  Result<bool> flag(toml::node const& node, std::string_view name) const {
    auto const* value = node.as_boolean();
    if (value == nullptr) return wrong(node, fmt::format("'{}' must be true or false", name));
    return value->get();
  }

  // A string, or a list of strings.
  Result<std::vector<std::string>> texts(toml::node const& node, std::string_view name) const {
    std::vector<std::string> result;
    auto const* list = node.as_array();
    if (list == nullptr) {
      result.push_back(TRY(text(node, name)));
      return result;
    }
    for (auto const& element : *list) result.push_back(TRY(text(element, name)));
    return result;
  }

  Result<std::string> checked_url(std::string url, toml::node const& node, std::string_view name) const {
    if (url.find("://") == std::string::npos) url = "https://" + url;
    auto const parsed = wire::Url::parse(url);
    if (!parsed.ok()) return wrong(node, fmt::format("'{}': {}", name, parsed.error().message()));
    if (parsed->target.find('?') != std::string::npos || url.find('#') != std::string::npos) {
      return wrong(node, fmt::format("'{}': '{}' has a query or fragment; only a path may follow the host", name, url));
    }
    if (!parsed->user.empty() || !parsed->password.empty()) {
      return wrong(node, fmt::format("'{}': no user or password belongs here; use 'docker login'", name));
    }
    return url;
  }

  Result<std::vector<HostSection>> read_hosts(toml::node const& node) const {
    auto const* hosts = node.as_table();
    if (hosts == nullptr) return wrong(node, "'host' must be a table: [host.\"https://mirror.example\"]");
    // The library sorts keys; the order of trying is that of the file.
    std::vector<std::pair<toml::key const*, toml::node const*>> ordered;
    for (auto const& [key, value] : *hosts) ordered.emplace_back(&key, &value);
    std::ranges::sort(ordered, {}, [](auto const& entry) {
      auto const& at = entry.first->source().begin;
      return std::tuple(at.line, at.column);
    });
    std::vector<HostSection> result;
    for (auto const& [key, value] : ordered) {
      auto const* table = value->as_table();
      if (table == nullptr) return wrong(*value, fmt::format("host '{}' must be a table", key->str()));
      HostSection section;
      section.url = TRY(checked_url(std::string(key->str()), *value, "host"));
      for (auto const& [name, member] : *table) TRY(read_key(name.str(), member, section));
      result.push_back(std::move(section));
    }
    return result;
  }

  Result<void> read_key(std::string_view key, toml::node const& node, HostSection& section) const {
    if (key == "capabilities") return read_capabilities(node, section);
    if (key == "ca") return read_ca(node, section);
    if (key == "client") return read_client(node, section);
    if (key == "header") return read_header(node, section);
    if (key == "dial_timeout") return read_dial_timeout(node, section);
    if (key == "skip_verify") {
      section.tls.verify = !TRY(flag(node, key));
      return {};
    }
    if (key == "override_path") {
      section.override_path = TRY(flag(node, key));
      return {};
    }
    auto const similar = nearest(
        key, {"capabilities", "ca", "client", "skip_verify", "header", "override_path", "dial_timeout", "server"});
    return wrong(node,
                 fmt::format("unknown key '{}'{}", key, similar ? fmt::format("; is '{}' meant?", *similar) : ""));
  }

  Result<void> read_capabilities(toml::node const& node, HostSection& section) const {
    if (node.as_array() == nullptr) return wrong(node, "'capabilities' must be a list: [\"pull\", \"resolve\"]");
    std::vector<std::string> const names = TRY(texts(node, "capabilities"));
    section.pull = section.resolve = section.push = false;
    for (std::string const& name : names) {
      if (name == "pull") {
        section.pull = true;
      } else if (name == "resolve") {
        section.resolve = true;
      } else if (name == "push") {
        section.push = true;
      } else if (name != "referrers") {  // asked of every host that may resolve
        return wrong(node, fmt::format("unknown capability '{}'; known are pull, resolve, push, referrers", name));
      }
    }
    return {};
  }

  std::string file_name(std::string const& name) const {
    return name.starts_with('/') ? name : sys::clean_path(folder_ + "/" + name);
  }

  Result<void> read_ca(toml::node const& node, HostSection& section) const {
    std::vector<std::string> const names = TRY(texts(node, "ca"));
    for (std::string const& name : names) section.tls.ca_files.push_back(file_name(name));
    return {};
  }

  // "both.pem", ["one.pem", "other.pem"] (files with certificate and key), or [["c.cert", "c.key"], ["both.pem", ""]].
  Result<void> read_client(toml::node const& node, HostSection& section) const {
    auto& pairs = section.tls.client_certificates;
    auto const* list = node.as_array();
    if (list == nullptr) {
      std::string const name = file_name(TRY(text(node, "client")));
      pairs.emplace_back(name, name);
      return {};
    }
    for (auto const& element : *list) {
      std::vector<std::string> const names = TRY(texts(element, "client"));
      if (names.empty() || names.size() > 2 || names[0].empty()) {
        return wrong(element, "each element of 'client' must be a file, or a pair of certificate and key");
      }
      std::string const certificate = file_name(names[0]);
      bool const own_key = names.size() == 2 && !names[1].empty();
      pairs.emplace_back(certificate, own_key ? file_name(names[1]) : certificate);
    }
    return {};
  }

  Result<void> read_header(toml::node const& node, HostSection& section) const {
    auto const* table = node.as_table();
    if (table == nullptr) return wrong(node, "'header' must be a table of names and values");
    for (auto const& [name, value] : *table) {
      std::vector<std::string> const values = TRY(texts(value, name.str()));
      for (std::string const& each : values) {
        if (!plain(name.str()) || !plain(each)) return wrong(value, "a header holds a control character");
        section.headers.emplace_back(name.str(), each);
      }
    }
    return {};
  }

  static bool plain(std::string_view value) {
    return std::ranges::none_of(value, [](char c) { return (c >= 0 && c < 0x20 && c != '\t') || c == 0x7f; });
  }

  // Go's form of a duration, as containerd reads it: "3s", "1m30s", "500ms".
  Result<void> read_dial_timeout(toml::node const& node, HostSection& section) const {
    std::string const value = TRY(text(node, "dial_timeout"));
    std::uint64_t total = 0;
    std::string_view rest = value;
    while (!rest.empty()) {
      std::size_t const digits = std::min(rest.find_first_not_of("0123456789"), rest.size());
      std::size_t const end = std::min(rest.find_first_of("0123456789", digits), rest.size());
      auto const number = parse_u64(rest.substr(0, digits));
      std::uint64_t const unit = unit_milliseconds(rest.substr(digits, end - digits));
      if (!number || unit == 0 || *number > 86'400'000 / unit) total = UINT64_MAX;
      if (total == UINT64_MAX) break;
      total += *number * unit;
      rest.remove_prefix(end);
    }
    if (total == 0 || total > 86'400'000) {
      return wrong(node, fmt::format("'dial_timeout' must be a duration like \"3s\" or \"500ms\", not \"{}\"", value));
    }
    section.dial_timeout = std::chrono::milliseconds(total);
    return {};
  }

  static std::uint64_t unit_milliseconds(std::string_view unit) {
    if (unit == "ms") return 1;
    if (unit == "s") return 1000;
    if (unit == "m") return 60'000;
    if (unit == "h") return 3'600'000;
    return 0;
  }

  std::string const& folder_;
  std::string const& file_;
};

// The library's tests for white space are undefined for many characters beyond ASCII, so those may stand only where it
// does not look: in comments and in strings of one line. The first byte elsewhere, or npos.
std::size_t find_misplaced(std::string_view text) {
  auto const is_ascii = [](char c) { return static_cast<unsigned char>(c) < 0x80; };
  if (std::ranges::all_of(text, is_ascii)) return std::string_view::npos;
  for (std::string_view const quotes : {"\"\"\"", "'''"}) {
    if (std::size_t const at = text.find(quotes); at != std::string_view::npos) return at;
  }
  char quote = 0;  // of the string that is open; '#': a comment
  for (std::size_t i = 0; i < text.size(); ++i) {
    char const c = text[i];
    bool const closes = c == '\n' || (c == quote && c != '#');
    if (closes) {
      quote = 0;
    } else if (quote == 0) {
      if (!is_ascii(c)) return i;
      if (c == '"' || c == '\'' || c == '#') quote = c;
    } else if (quote == '"' && c == '\\') {
      ++i;
    }
  }
  return std::string_view::npos;
}

}  // namespace

Result<HostsToml> parse_hosts_toml(std::string_view text, std::string const& folder, std::string const& file) {
  if (text.size() > kMaxBytes) {
    return Error(Errc::kInvalidArgument, fmt::format("{}: longer than {} bytes", file, kMaxBytes));
  }
  if (text.starts_with("\xef\xbb\xbf")) text.remove_prefix(3);
  if (std::size_t const at = find_misplaced(text); at != std::string_view::npos) {
    std::string_view const before = text.substr(0, at);
    return Error(Errc::kInvalidArgument,
                 fmt::format("{}:{}:{}: only ASCII may stand outside comments and strings of one line", file,
                             std::ranges::count(before, '\n') + 1, at - (before.rfind('\n') + 1) + 1));
  }
  toml::parse_result const parsed = toml::parse(text, std::string_view(file));
  if (!parsed) {
    auto const& at = parsed.error().source().begin;
    return Error(Errc::kInvalidArgument,
                 fmt::format("{}:{}:{}: {}", file, at.line, at.column, parsed.error().description()));
  }
  return Reader(folder, file).read(parsed.table());
}

}  // namespace davit::registry
