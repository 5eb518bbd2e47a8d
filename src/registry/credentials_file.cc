#include "registry/credentials_file.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/text.h"
#include "codec/json.h"
#include "sys/file.h"
#include "sys/run_program.h"

namespace davit::registry {

namespace {

constexpr std::string_view kHub = "docker.io", kHubKey = "https://index.docker.io/v1/";

Result<std::optional<Credential>> read_entry(json::Field const& entry) {
  TRY(entry.expect_object());
  Credential credential;
  std::string encoded;
  TRY(read(entry["auth"], encoded));
  if (!encoded.empty()) {
    auto const decoded = read_basic(encoded, credential);
    if (!decoded.ok()) return entry.error("auth: " + decoded.error().message());
  }
  TRY(read(entry["username"], credential.username));
  TRY(read(entry["password"], credential.password));
  TRY(read(entry["identitytoken"], credential.identity_token));
  TRY(read(entry["registrytoken"], credential.registry_token));
  if (is_empty(credential)) return std::optional<Credential>();
  return std::optional(std::move(credential));
}

// The member whose name is the domain itself, or else one that means it.
Result<std::optional<std::string>> find_key(json::Field const& object, std::string_view domain) {
  std::vector<std::string_view> const names = TRY(object.member_names());
  std::string const address = server_address(domain);
  for (std::string_view const wanted : {std::string_view(address), domain}) {
    if (std::ranges::find(names, wanted) != names.end()) return std::optional(std::string(wanted));
  }
  for (std::string_view const name : names) {
    if (canonical_domain(name) == domain) return std::optional(std::string(name));
  }
  return std::optional<std::string>();
}

bool is_helper_name(std::string_view name) {
  return !name.empty() && std::ranges::all_of(name, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_' ||
           c == '.';
  });
}

}  // namespace

std::string canonical_domain(std::string_view key) {
  std::size_t const scheme = key.find("://");
  if (scheme != std::string_view::npos) key.remove_prefix(scheme + 3);
  std::string domain(key.substr(0, key.find('/')));
  for (char& c : domain) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  if (domain == "index.docker.io" || domain == "registry-1.docker.io") return std::string(kHub);
  return domain;
}

std::string server_address(std::string_view domain) { return std::string(domain == kHub ? kHubKey : domain); }

Result<ConfigEntry> parse_config_file(std::string_view text, std::string_view domain, std::string const& file) {
  json::Document const document = TRY_CTX(json::Document::parse(text), file);
  json::Field const root = document.root(file);
  TRY(root.expect_object());
  ConfigEntry result;
  TRY(read(root["credsStore"], result.helper));
  json::Field const helpers = root["credHelpers"];
  if (auto const key = TRY(find_key(helpers, domain))) {
    result.helper.clear();
    TRY(read(helpers[*key], result.helper));
  }
  json::Field const auths = root["auths"];
  if (auto const key = TRY(find_key(auths, domain))) result.credential = TRY(read_entry(auths[*key]));
  return result;
}

Result<std::optional<Credential>> ask_credential_helper(std::string const& helper, std::string const& server) {
  if (!is_helper_name(helper)) {
    return Error(Errc::kInvalidArgument, fmt::format("'{}' cannot be the name of a credential helper", helper));
  }
  std::string const program = "docker-credential-" + helper;
  sys::RunOptions options;
  options.arguments = {program, "get"};
  options.input = server;
  auto ran = sys::run_program(options);
  if (!ran.ok()) {
    bool const missing = ran.error().code() == Errc::kNotFound;
    Error error = std::move(ran).take_error().with_context(fmt::format("credentials of {}", server));
    if (!missing) return error;
    return Error(Errc::kNotFound, fmt::format("{} (config.json names it in credsStore or credHelpers: install it, or "
                                              "remove it there and log in again)",
                                              error.to_string()));
  }
  if (ran->exited.status() != 0) {
    // The helpers' protocol has no other way to say "none".
    if (ran->output.find("credentials not found") != std::string::npos) return std::optional<Credential>();
    std::string_view const said = trim(ran->output.empty() ? ran->errors : ran->output);
    return Error(Errc::kUnavailable, fmt::format("credentials of {}: {} ended with status {}: {}", server, program,
                                                 ran->exited.status(), said.substr(0, 300)));
  }
  json::Document const document = TRY_CTX(json::Document::parse(ran->output), "answer of " + program);
  json::Field const root = document.root(program);
  TRY(root.expect_object());
  Credential credential;
  std::string secret;
  TRY(read(root["Username"], credential.username));
  TRY(read(root["Secret"], secret));
  if (credential.username == "<token>") {
    credential.username.clear();
    credential.identity_token = std::move(secret);
  } else {
    credential.password = std::move(secret);
  }
  if (is_empty(credential)) return std::optional<Credential>();
  return std::optional(std::move(credential));
}

ConfigFileCredentials::ConfigFileCredentials(std::string folder) : folder_(std::move(folder)) {}

Result<std::optional<Credential>> ConfigFileCredentials::find(std::string_view domain) {
  std::string const file = folder_ + "/config.json", wanted = canonical_domain(domain);
  auto const text = sys::read_file(file);
  if (!text.ok()) {
    int const number = text.error().error_number();
    if (number == ENOENT || number == ENOTDIR) return std::optional<Credential>();
    return Error(text.error().code(), text.error().to_string(), number);
  }
  ConfigEntry entry = TRY(parse_config_file(*text, wanted, file));
  if (!entry.helper.empty()) {
    auto found = TRY(ask_credential_helper(entry.helper, server_address(wanted)));
    // A login from before the helper was set up may still be in the file.
    if (found) return found;
  }
  return std::move(entry.credential);
}

}  // namespace davit::registry
