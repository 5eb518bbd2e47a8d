// Which endpoints serve a registry name and how they are trusted: daemon.json's registry-mirrors and
// insecure-registries, certs.d folders (ca.crt, *.cert and *.key) and containerd's hosts.toml. Any thread; files are
// read at each call.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "wire/http_client.h"

namespace davit::registry {

struct Endpoint {
  std::string base;  // "https://registry-1.docker.io" without a slash at the end, path prefix included
  wire::TlsOptions tls;
  wire::Headers headers;  // hosts.toml [host.*.header]
  bool pull = true, resolve = true, push = true;
  bool override_path = false;  // base already holds the whole API root (no "/v2" is added)
  bool is_mirror = false;  // not the registry itself: it gets no credentials of the registry, and "ns=DOMAIN" is sent
  // http of the same host after its https: tried only when https could not be spoken there at all.
  bool plain_fallback = false;
  std::optional<std::chrono::milliseconds> connect_timeout;  // hosts.toml dial_timeout
};

struct HostsOptions {
  std::vector<std::string> mirrors;                               // registry-mirrors: for docker.io
  std::vector<std::string> insecure_registries;                   // host, host:port or CIDR
  std::vector<std::string> certs_dirs = {"/etc/docker/certs.d"};  // HOST[:PORT]/ or _default/ under each
};

// In the order to try. domain: as in ImageRef ("docker.io" becomes registry-1.docker.io). 127.0.0.0/8, ::1 and
// localhost are insecure without being named: https is tried first and http after it, as Docker does; a certificate
// folder of their own that holds a CA makes them registries like any other. kInvalidArgument: a hosts.toml, a
// certificate folder or an option that is wrong, with file and line. Names are resolved only when insecure_registries
// holds a CIDR.
Result<std::vector<Endpoint>> endpoints_for(std::string_view domain, HostsOptions const& options);

}  // namespace davit::registry
