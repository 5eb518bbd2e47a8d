// Parts of credentials.h that its implementation files share: docker's config.json and its keys. Any thread.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "registry/credentials.h"

namespace davit::registry {

// A key of config.json as a domain: "https://index.docker.io/v1/" is "docker.io", "https://reg:5000/v2/" is "reg:5000".
std::string canonical_domain(std::string_view key);
// What helpers and files call a domain: docker.io is "https://index.docker.io/v1/", others are as they are.
std::string server_address(std::string_view domain);

bool is_empty(Credential const& credential);
// base64 of USER:PASSWORD
Result<void> read_basic(std::string_view encoded, Credential& out);

// What a config.json says about one domain.
struct ConfigEntry {
  std::string helper;  // of credHelpers, else credsStore; "" when none
  std::optional<Credential> credential;
};
// file: its name in errors.
Result<ConfigEntry> parse_config_file(std::string_view text, std::string_view domain, std::string const& file);

// Asks docker-credential-HELPER for it. nullopt: it has none for this server.
Result<std::optional<Credential>> ask_credential_helper(std::string const& helper, std::string const& server);

}  // namespace davit::registry
