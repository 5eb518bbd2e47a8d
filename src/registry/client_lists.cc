// Client: tags, referrers, deletion, login.
#include <fmt/format.h>

#include <algorithm>

#include "codec/json.h"
#include "registry/client_body.h"
#include "registry/referrers.h"

namespace davit::registry {

namespace {

constexpr std::size_t kMaxPage = std::size_t{16} << 20, kMaxTags = 1'000'000;
constexpr unsigned kPageSize = 1000, kMaxPages = 100'000;

Result<std::vector<std::string>> parse_tags(std::string_view body) {
  json::Document const document =
      TRY_CTX(json::Document::parse(body, {.max_bytes = kMaxPage, .max_depth = 16}), "list of tags");
  json::Field const root = document.root("list of tags");
  TRY(root.expect_object());
  std::vector<std::string> tags;
  TRY(read(root["tags"], tags));
  // What is no tag cannot be asked for either.
  std::erase_if(tags, [](std::string const& tag) { return !oci::is_valid_tag(tag); });
  return tags;
}

// Where the next page is; nullopt at the last one. Only the registry itself is followed.
Result<std::optional<wire::Url>> next_page(wire::Url const& page, wire::HttpResponse const& response) {
  std::string const link = next_link(response);
  if (link.empty()) return std::optional<wire::Url>();
  wire::Url next = TRY_CTX(page.resolve(link), "Link to the next page");
  if (!next.same_origin(page)) {
    return Error(Errc::kInvalidArgument,
                 fmt::format("the next page is said to be at {}, another server; not followed", next.host_header()));
  }
  return std::optional(std::move(next));
}

// All pages of a list. add: takes one page's body.
Result<void> read_pages(Session& session, Visit& visit, Request request, std::stop_token const& stop,
                        std::function<Result<void>(wire::HttpResponse&, std::string_view)> const& add,
                        std::function<Error(wire::HttpResponse&)> const& refuse) {
  wire::Url page = TRY(Session::url_of(visit.endpoint, visit.domain, request.path));
  for (unsigned count = 0; count < kMaxPages; ++count) {
    request.url = page;
    Response response = TRY(session.send(visit, request, stop));
    if (response->status() != 200) return refuse(*response);
    std::string const body = TRY(codec::read_all(*response, kMaxPage));
    TRY(add(*response, body));
    auto next = TRY(next_page(page, *response));
    if (!next || next->target == page.target) return {};
    page = *std::move(next);
  }
  return Error(Errc::kResourceExhausted, fmt::format("more than {} pages", kMaxPages));
}

}  // namespace

Result<std::vector<std::string>> Client::tags(Repository const& repository, std::stop_token const& stop) {
  using Tags = std::vector<std::string>;
  return body_->session.try_endpoints<Tags>(repository.domain, Use::kResolve, stop, [&](Visit& visit) -> Result<Tags> {
    Request request;
    request.path = fmt::format("{}/tags/list?n={}", repository.path, kPageSize);
    request.scopes = Scopes::pull(repository.path);
    Tags all;
    auto const add = [&](wire::HttpResponse&, std::string_view body) -> Result<void> {
      Tags page = TRY(parse_tags(body));
      if (all.size() + page.size() > kMaxTags) {
        return Error(Errc::kResourceExhausted, fmt::format("{} has more than {} tags", familiar(repository), kMaxTags));
      }
      std::ranges::move(page, std::back_inserter(all));
      return {};
    };
    auto const refuse = [&](wire::HttpResponse& response) {
      return refusal(response, visit, repository, Doing::kPull, "tags of " + familiar(repository));
    };
    TRY(read_pages(body_->session, visit, std::move(request), stop, add, refuse));
    return all;
  });
}

Result<std::vector<oci::Descriptor>> Client::referrers(Repository const& repository, oci::Digest const& subject,
                                                       std::string_view artifact_type, std::stop_token const& stop) {
  using Found = std::optional<std::vector<oci::Descriptor>>;
  Found found = TRY(
      body_->session.try_endpoints<Found>(repository.domain, Use::kResolve, stop, [&](Visit& visit) -> Result<Found> {
        Request request;
        request.path = fmt::format("{}/referrers/{}", repository.path, subject.text());
        if (!artifact_type.empty()) request.path += "?artifactType=" + wire::percent_encode(artifact_type);
        request.scopes = Scopes::pull(repository.path);
        request.headers = {{"Accept", std::string(oci::kOciIndex)}};
        std::vector<oci::Descriptor> all;
        bool unknown = false;
        auto const add = [&](wire::HttpResponse&, std::string_view body) { return add_referrers(body, all); };
        auto const refuse = [&](wire::HttpResponse& response) {
          unknown = response.status() == 404;
          return refusal(response, visit, repository, Doing::kPull, "referrers of " + subject.text());
        };
        auto read = read_pages(body_->session, visit, std::move(request), stop, add, refuse);
        if (unknown) return Found();  // a registry without this API
        if (!read.ok()) return std::move(read).take_error();
        return Found(std::move(all));
      }));
  if (!found) {
    auto fallback = manifest(repository, referrers_tag(subject), stop);
    if (!fallback.ok() && fallback.error().code() != Errc::kNotFound) return std::move(fallback).take_error();
    found.emplace();
    if (fallback.ok()) TRY_CTX(add_referrers(fallback->bytes, *found), "referrers of " + subject.text());
  }
  // Whether the server filtered or not (OCI-Filters-Applied), the result is the same.
  if (!artifact_type.empty()) {
    std::erase_if(*found, [&](oci::Descriptor const& entry) { return entry.artifact_type != artifact_type; });
  }
  return *std::move(found);
}

Result<void> Client::delete_manifest(Repository const& repository, oci::Digest const& digest,
                                     std::stop_token const& stop) {
  return body_->session.try_endpoints<void>(repository.domain, Use::kPush, stop, [&](Visit& visit) -> Result<void> {
    Request request;
    request.method = "DELETE";
    request.path = fmt::format("{}/manifests/{}", repository.path, digest.text());
    request.scopes = Scopes::remove(repository.path);
    Response const response = TRY(body_->session.send(visit, request, stop));
    if (response->status() == 202 || response->status() == 200 || response->status() == 204) return {};
    return refusal(*response, visit, repository, Doing::kPush, "delete " + digest.text());
  });
}

Result<std::string> Client::check_login(std::string_view domain, Credential const& credential,
                                        std::stop_token const& stop) {
  // A session of its own: what is known of another login must not answer for this one.
  FixedCredential only(domain, credential);
  Session session(body_->options.hosts, body_->options.http, body_->session.policy(), only);
  session.authenticator().want_identity_token();
  auto const checked = session.try_endpoints<void>(domain, Use::kPush, stop, [&](Visit& visit) -> Result<void> {
    Request const request;
    Response const response = TRY(session.send(visit, request, stop));
    if (response->status() == 200) return {};
    Failure const failure = read_failure(*response, visit.endpoint.base);
    return failure.error();
  });
  if (!checked.ok()) {
    return Error(checked.error().code(), fmt::format("login to {}: {}", domain, checked.error().to_string()));
  }
  return session.authenticator().identity_token();
}

}  // namespace davit::registry
