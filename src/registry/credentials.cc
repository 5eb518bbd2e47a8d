#include "registry/credentials.h"

#include <fmt/format.h>

#include "codec/base64.h"
#include "codec/json.h"
#include "registry/credentials_file.h"

namespace davit::registry {

// "user:password"; a password may hold colons.
Result<void> read_basic(std::string_view encoded, Credential& out) {
  std::string const pair = TRY(codec::base64_decode(encoded));
  std::size_t const colon = pair.find(':');
  if (colon == std::string::npos) return Error(Errc::kInvalidArgument, "decoded, it is not USER:PASSWORD");
  out.username = pair.substr(0, colon);
  // Docker cuts NUL bytes off the end, as old clients padded with them.
  out.password = pair.substr(colon + 1, pair.find_last_not_of('\0') - colon);
  return {};
}

Result<std::optional<Credential>> parse_auth_header(std::string_view value) {
  if (value.empty()) return std::optional<Credential>();
  std::string const text = TRY_CTX(codec::base64_decode(value), "X-Registry-Auth");
  json::Document const document = TRY_CTX(json::Document::parse(text), "X-Registry-Auth");
  json::Field const root = document.root("X-Registry-Auth");
  TRY(root.expect_object());
  Credential credential;
  std::string encoded;
  TRY(read(root["auth"], encoded));
  if (!encoded.empty()) TRY_CTX(read_basic(encoded, credential), "X-Registry-Auth: auth");
  TRY(read(root["username"], credential.username));
  TRY(read(root["password"], credential.password));
  TRY(read(root["identitytoken"], credential.identity_token));
  TRY(read(root["registrytoken"], credential.registry_token));
  if (is_empty(credential)) return std::optional<Credential>();
  return std::optional(std::move(credential));
}

bool is_empty(Credential const& credential) {
  return credential.username.empty() && credential.password.empty() && credential.identity_token.empty() &&
         credential.registry_token.empty();
}

FixedCredential::FixedCredential(std::string_view domain, std::optional<Credential> credential)
    : domain_(canonical_domain(domain)), credential_(std::move(credential)) {}

Result<std::optional<Credential>> FixedCredential::find(std::string_view domain) {
  return canonical_domain(domain) == domain_ ? credential_ : std::optional<Credential>();
}

}  // namespace davit::registry
