#include "registry/hosts.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "registry/hosts_toml.h"
#include "registry/insecure.h"
#include "sys/file.h"
#include "wire/url.h"

namespace davit::registry {

namespace {

constexpr std::string_view kHub = "docker.io", kHubHost = "registry-1.docker.io";

// What a folder of certs.d holds.
struct HostFolder {
  std::optional<HostsToml> hosts;  // then the certificates beside it do not count, as in containerd
  wire::TlsOptions tls;
};

// Docker's rule: *.crt are CAs, NAME.cert goes with NAME.key.
Result<wire::TlsOptions> read_certificates(std::string const& folder, std::vector<std::string> names) {
  std::ranges::sort(names);
  wire::TlsOptions tls;
  auto const there = [&](std::string const& name) { return std::ranges::binary_search(names, name); };
  for (std::string const& name : names) {
    if (name.ends_with(".crt")) tls.ca_files.push_back(folder + "/" + name);
    if (name.ends_with(".cert")) {
      std::string const key = name.substr(0, name.size() - 5) + ".key";
      if (!there(key)) {
        return Error(
            Errc::kInvalidArgument,
            fmt::format("{}/{}: its key {} is missing (the name of a CA's file must end in .crt)", folder, name, key));
      }
      tls.client_certificates.emplace_back(folder + "/" + name, folder + "/" + key);
    }
    if (name.ends_with(".key")) {
      std::string const certificate = name.substr(0, name.size() - 4) + ".cert";
      if (!there(certificate)) {
        return Error(Errc::kInvalidArgument,
                     fmt::format("{}/{}: its certificate {} is missing", folder, name, certificate));
      }
    }
  }
  return tls;
}

// nullopt: no such folder.
Result<std::optional<HostFolder>> read_folder(std::string const& folder) {
  auto const directory = sys::open(folder, O_RDONLY | O_DIRECTORY);
  if (!directory.ok()) {
    if (directory.error().error_number() == ENOENT || directory.error().error_number() == ENOTDIR) {
      return std::optional<HostFolder>();
    }
    return Error(directory.error().code(), directory.error().to_string(), directory.error().error_number());
  }
  HostFolder result;
  std::vector<std::string> names = TRY_CTX(sys::list_directory(directory->get()), folder);
  if (std::ranges::find(names, "hosts.toml") != names.end()) {
    std::string const file = folder + "/hosts.toml";
    std::string const text = TRY(sys::read_file_at(directory->get(), "hosts.toml", std::size_t{1} << 20));
    if (!text.empty()) {  // an empty one counts as none, as in containerd
      result.hosts = TRY(parse_hosts_toml(text, folder, file));
      return std::optional(std::move(result));
    }
  }
  result.tls = TRY(read_certificates(folder, std::move(names)));
  return std::optional(std::move(result));
}

// "registry.example:5000": the folder of that name, containerd's spelling of it, and for the default port that of the
// host alone.
std::vector<std::string> folder_names(std::string_view domain) {
  std::vector<std::string> names{std::string(domain)};
  HostPort const target = HostPort::split(domain);
  if (!target.port.empty()) {
    std::string_view const host = domain.substr(0, domain.size() - target.port.size() - 1);
    names.push_back(fmt::format("{}_{}_", host, target.port));
    if (target.port == "443") names.emplace_back(host);
  }
  return names;
}

enum class Default { kUse, kIgnore };

Result<HostFolder> find_folder(std::string_view domain, std::vector<std::string> const& roots, Default use_default) {
  std::vector<std::string> names = folder_names(domain);
  if (use_default == Default::kUse) names.emplace_back("_default");
  for (std::string const& name : names) {
    for (std::string const& root : roots) {
      auto folder = TRY(read_folder(root + "/" + name));
      if (folder) return *std::move(folder);
    }
  }
  return HostFolder{};
}

// "https://host[:port]/path" without a slash at the end and without the "/v2" that is added anyway.
Result<std::string> base_of(std::string_view url, bool override_path) {
  wire::Url const parsed = TRY(wire::Url::parse(url));
  std::string base = parsed.to_string();
  while (base.ends_with('/')) base.pop_back();
  if (!override_path && base.ends_with("/v2")) base.resize(base.size() - 3);
  return base;
}

Result<bool> is_other_host(std::string_view base, std::string_view registry_host) {
  wire::Url const url = TRY(wire::Url::parse(base));
  wire::Url const registry = TRY(wire::Url::parse(fmt::format("{}://{}", url.scheme, registry_host)));
  return url.host != registry.host || url.port != registry.port;
}

// The registry by its own name: https, and http after it when it need not be trusted.
void add_registry(std::vector<Endpoint>& out, std::string_view host, Endpoint settings, bool loopback, bool insecure) {
  // A CA of its own says that this one is meant to be checked, wherever it runs.
  bool const without_trust = insecure || (loopback && settings.tls.ca_files.empty());
  settings.base = fmt::format("https://{}", host);
  if (without_trust) settings.tls.verify = false;
  out.push_back(settings);
  if (!without_trust) return;
  settings.base = fmt::format("http://{}", host);
  settings.plain_fallback = true;
  out.push_back(std::move(settings));
}

Endpoint endpoint_of(HostSection const& section) {
  Endpoint endpoint;
  endpoint.tls = section.tls;
  endpoint.headers = section.headers;
  endpoint.pull = section.pull;
  endpoint.resolve = section.resolve;
  endpoint.push = section.push;
  endpoint.override_path = section.override_path;
  endpoint.connect_timeout = section.dial_timeout;
  return endpoint;
}

// daemon.json's registry-mirrors: only docker.io has such. Their own folders of certs.d say how they are trusted.
Result<void> add_mirrors(std::vector<Endpoint>& out, HostsOptions const& options, InsecureList const& insecure) {
  for (std::string const& mirror : options.mirrors) {
    std::string const context = fmt::format("registry-mirrors: '{}'", mirror);
    if (!mirror.starts_with("http://") && !mirror.starts_with("https://")) {
      return Error(Errc::kInvalidArgument, context + ": must begin with https:// or http://");
    }
    wire::Url const url = TRY_CTX(wire::Url::parse(mirror), context);
    if (url.target.find('?') != std::string::npos || mirror.find('#') != std::string::npos || !url.user.empty()) {
      return Error(Errc::kInvalidArgument, context + ": only a host and a path may be given");
    }
    std::string const host = url.host_header();
    HostFolder folder = TRY_CTX(find_folder(host, options.certs_dirs, Default::kIgnore), context);
    Endpoint endpoint;
    endpoint.base = TRY(base_of(mirror, false));
    endpoint.tls = std::move(folder.tls);
    endpoint.tls.verify = !insecure.holds(host);
    endpoint.push = false;
    endpoint.is_mirror = true;
    out.push_back(std::move(endpoint));
  }
  return {};
}

Result<void> check_domain(std::string_view domain) {
  if (domain.empty() || domain == "." || domain.find('/') != std::string_view::npos ||
      domain.find("..") != std::string_view::npos || domain.find('\0') != std::string_view::npos) {
    return Error(Errc::kInvalidArgument, fmt::format("'{}' is not the name of a registry", domain));
  }
  return {};
}

}  // namespace

Result<std::vector<Endpoint>> endpoints_for(std::string_view domain, HostsOptions const& options) {
  TRY(check_domain(domain));
  InsecureList const insecure_list = TRY(InsecureList::parse(options.insecure_registries));
  std::string_view const host = domain == kHub ? kHubHost : domain;
  bool const insecure = insecure_list.holds(domain);
  bool const loopback = is_loopback(HostPort::split(domain).host);
  HostFolder folder = TRY(find_folder(domain, options.certs_dirs, Default::kUse));

  std::vector<Endpoint> endpoints;
  if (domain == kHub) TRY(add_mirrors(endpoints, options, insecure_list));
  if (!folder.hosts) {
    Endpoint settings;
    settings.tls = std::move(folder.tls);
    add_registry(endpoints, host, std::move(settings), loopback, insecure);
    return endpoints;
  }
  for (HostSection const& section : folder.hosts->hosts) {
    Endpoint endpoint = endpoint_of(section);
    endpoint.base = TRY(base_of(section.url, section.override_path));
    endpoint.is_mirror = TRY(is_other_host(endpoint.base, host));
    endpoints.push_back(std::move(endpoint));
  }
  HostSection const& server = folder.hosts->server;
  Endpoint own = endpoint_of(server);
  if (server.url.empty()) {
    add_registry(endpoints, host, std::move(own), loopback, insecure);
    return endpoints;
  }
  own.base = TRY(base_of(server.url, server.override_path));
  own.is_mirror = TRY(is_other_host(own.base, host));
  if (insecure && !own.is_mirror) own.tls.verify = false;
  endpoints.push_back(std::move(own));
  return endpoints;
}

}  // namespace davit::registry
