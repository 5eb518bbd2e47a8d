// hosts.toml (registry/hosts_toml.h) and config.json (registry/credentials_file.h).
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "registry/credentials_file.h"
#include "registry/hosts_toml.h"
#include "registry/insecure.h"
#include "wire/url.h"

namespace {

using namespace davit;
using namespace davit::registry;

void require(bool condition) {
  if (!condition) std::abort();
}

void check_section(HostSection const& section) {
  if (!section.url.empty()) require(wire::Url::parse(section.url).ok());
  for (std::string const& file : section.tls.ca_files) require(file.starts_with('/'));
  for (auto const& [name, value] : section.headers) {
    require(name.find('\n') == std::string::npos && value.find('\n') == std::string::npos);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(std::uint8_t const* data, std::size_t size) {
  std::string_view const text(reinterpret_cast<char const*>(data), size);
  if (auto const parsed = parse_hosts_toml(text, "/certs.d/x", "hosts.toml"); parsed.ok()) {
    check_section(parsed->server);
    for (HostSection const& section : parsed->hosts) {
      require(!section.url.empty());
      check_section(section);
    }
  }
  (void)parse_config_file(text, "docker.io", "config.json").ok();
  (void)parse_auth_header(text).ok();
  if (size < 200) {
    // An address in no range is never looked up, so a name in the input costs no query.
    HostPort const target = HostPort::split(text);
    (void)is_loopback(target.host);
    (void)InsecureList::parse({std::string(text)}).ok();
  }
  return 0;
}
