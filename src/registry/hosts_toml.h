// containerd's hosts.toml: which hosts serve a registry name, in which order, and how they are trusted. Any thread.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "wire/http_client.h"

namespace davit::registry {

// One [host."URL"] table, or the top level of the file, which is the registry itself.
struct HostSection {
  std::string url;  // as written, with "https://" where no scheme was; "" at the top level without `server`
  bool pull = true, resolve = true, push = true;
  wire::TlsOptions tls;  // file names made absolute by the folder
  wire::Headers headers;
  bool override_path = false;
  std::optional<std::chrono::milliseconds> dial_timeout;
};

struct HostsToml {
  std::vector<HostSection> hosts;  // in the order of the file
  HostSection server;              // tried last
};

// folder: where the file lies, for relative names of certificates. file: its name in errors. kInvalidArgument, with
// line and column, for what is no TOML, for a key that is not known and for a value of a wrong type.
Result<HostsToml> parse_hosts_toml(std::string_view text, std::string const& folder, std::string const& file);

}  // namespace davit::registry
