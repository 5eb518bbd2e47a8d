#include <fmt/format.h>

#include "base/text.h"
#include "codec/hash.h"
#include "registry/client_body.h"

namespace davit::registry {

std::string familiar(Repository const& repository) {
  if (repository.domain != "docker.io") return repository.domain + "/" + repository.path;
  std::string_view path = repository.path;
  if (path.starts_with("library/")) path.remove_prefix(8);
  return std::string(path);
}

namespace {

std::string denied(Visit const& visit, Repository const& repository, Doing doing, bool logged_in) {
  std::string const server = visit.domain == "docker.io" ? "" : " " + visit.domain;
  std::string const login =
      logged_in ? fmt::format("the login that was used may not do this; 'docker login{}' with another user", server)
                : fmt::format("log in with 'docker login{}'", server);
  if (doing == Doing::kPush) {
    return fmt::format("push access denied for {}: no permission to push, or not logged in ({})", familiar(repository),
                       login);
  }
  return fmt::format("pull access denied for {}, repository does not exist or may require 'docker login' ({})",
                     familiar(repository), login);
}

}  // namespace

Error refusal(wire::HttpResponse& response, Visit const& visit, Repository const& repository, Doing doing,
              std::string_view subject) {
  Failure const failure = read_failure(response, visit.endpoint.base);
  std::string text = failure.text;
  bool const sent = response.status() == 401 || response.status() == 403;
  if (sent || failure.code == "DENIED" || failure.code == "UNAUTHORIZED") {
    text = denied(visit, repository, doing, visit.logged_in) + ": " + text;
    return Error(Errc::kPermissionDenied, text);
  }
  if (failure.status == 404 && failure.code == "NAME_UNKNOWN") {
    text = fmt::format("repository {} not found: {}", familiar(repository), text);
  } else if (failure.status == 404 && !subject.empty()) {
    text = fmt::format("{} not found: {}", subject, text);
  } else if (!subject.empty()) {
    text = fmt::format("{}: {}", subject, text);
  }
  return Error(failure.errc(), text);
}

std::optional<oci::Digest> content_digest(wire::HttpResponse const& response) {
  std::string const* value = response.header("Docker-Content-Digest");
  if (value == nullptr) return std::nullopt;
  auto digest = oci::Digest::parse(*value);
  if (!digest.ok()) return std::nullopt;
  return *std::move(digest);
}

oci::Digest digest_of(std::string_view bytes, oci::Digest const* like) {
  if (like == nullptr || like->algorithm() == "sha256") return oci::Digest::sha256(codec::sha256_hex(bytes));
  codec::Hasher hasher(codec::HashAlgorithm::kSha512);
  hasher.update(bytes);
  return oci::Digest::parse("sha512:" + hasher.finish_hex()).value();
}

std::string media_type_of(wire::HttpResponse const& response) {
  std::string const* value = response.header("Content-Type");
  if (value == nullptr) return {};
  std::string const type = printable(trim(std::string_view(*value).substr(0, value->find(';'))), 255);
  // What servers say that do not know what they hold.
  bool const says_nothing = type == "application/json" || type == "text/plain" || type == "application/octet-stream";
  return says_nothing ? std::string() : type;
}

std::string next_link(wire::HttpResponse const& response) {
  for (std::string const& header : response.headers("Link")) {
    std::string_view rest = header;
    for (;;) {
      std::size_t const open = rest.find('<');
      std::size_t const close = rest.find('>', open == std::string_view::npos ? 0 : open);
      if (open == std::string_view::npos || close == std::string_view::npos) break;
      std::string_view const target = rest.substr(open + 1, close - open - 1);
      std::size_t const end = std::min(rest.find(',', close), rest.size());
      for (std::string_view const parameter : split(rest.substr(close + 1, end - close - 1), ';')) {
        std::string_view const trimmed = trim(parameter);
        if (trimmed == "rel=\"next\"" || trimmed == "rel=next") return std::string(target);
      }
      rest.remove_prefix(end);
    }
  }
  return {};
}

}  // namespace davit::registry
