// Where credentials come from: the API's X-Registry-Auth, docker's config.json (auths, credsStore, credHelpers).
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"

namespace davit::registry {

struct Credential {
  std::string username, password;
  std::string identity_token;  // OAuth refresh token; used instead of the password
  std::string registry_token;  // a Bearer token, sent as it is
};

// domain: "docker.io", "host:port".
class CredentialSource {
 public:
  virtual ~CredentialSource() = default;
  // nullopt: none for this registry (anonymous). Any thread.
  virtual Result<std::optional<Credential>> find(std::string_view domain) = 0;
};

// X-Registry-Auth: base64url JSON {username,password,auth,serveraddress,identitytoken,registrytoken}; "" is anonymous.
Result<std::optional<Credential>> parse_auth_header(std::string_view value);

// One credential for one domain only: any other domain finds none.
class FixedCredential : public CredentialSource {
 public:
  FixedCredential(std::string_view domain, std::optional<Credential> credential);
  Result<std::optional<Credential>> find(std::string_view domain) override;

 private:
  std::string domain_;
  std::optional<Credential> credential_;
};

// folder: that of config.json ("~/.docker"). Read at each call; a missing file means none. Helpers are run as
// docker-credential-NAME from PATH with a deadline of 30 s; docker.io's key is https://index.docker.io/v1/.
class ConfigFileCredentials : public CredentialSource {
 public:
  explicit ConfigFileCredentials(std::string folder);
  Result<std::optional<Credential>> find(std::string_view domain) override;

 private:
  std::string folder_;
};

}  // namespace davit::registry
