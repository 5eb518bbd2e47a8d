#include "registry/client.h"

#include <fmt/format.h>

#include "registry/blob_source.h"
#include "registry/client_body.h"
#include "registry/parallel_source.h"

namespace davit::registry {

namespace {

// As much as parse_manifest takes.
constexpr std::size_t kMaxManifest = oci::ManifestLimits{}.max_bytes;

wire::Headers accept_manifests() {
  // No schema 1: a registry that has nothing else says so.
  return {{"Accept", fmt::format("{}, {}, {}, {}, */*", oci::kOciIndex, oci::kDockerList, oci::kOciManifest,
                                 oci::kDockerManifest)}};
}

bool is_digest(std::string_view reference) { return reference.find(':') != std::string_view::npos; }

Request manifest_request(Repository const& repository, std::string_view reference, std::string method) {
  Request request;
  request.method = std::move(method);
  request.path = fmt::format("{}/manifests/{}", repository.path, reference);
  request.headers = accept_manifests();
  request.scopes = Scopes::pull(repository.path);
  request.content_checked = is_digest(reference);
  return request;
}

std::string manifest_name(Repository const& repository, std::string_view reference) {
  return fmt::format("manifest for {}{}{}", familiar(repository), is_digest(reference) ? "@" : ":", reference);
}

Result<void> check_reference(std::string_view reference) {
  if (is_digest(reference)) {
    TRY(oci::Digest::parse(reference));
  } else if (!oci::is_valid_tag(reference)) {
    return Error(Errc::kInvalidArgument, fmt::format("'{}' is neither a tag nor a digest", printable(reference)));
  }
  return {};
}

Result<FetchedManifest> checked_manifest(wire::HttpResponse& response, std::string_view reference,
                                         std::string const& name) {
  std::string bytes = TRY_CTX(codec::read_all(response, kMaxManifest), name);
  auto const said = content_digest(response);
  std::optional<oci::Digest> wanted;
  if (is_digest(reference)) wanted = TRY(oci::Digest::parse(reference));
  oci::Digest digest = digest_of(bytes, wanted ? &*wanted : nullptr);
  if (wanted && digest != *wanted) {
    return Error(Errc::kInvalidArgument,
                 fmt::format("{}: the registry sent other content, whose digest is {}", name, digest.text()));
  }
  // For a tag this is the only check that the bytes arrived as they were stored.
  if (said && said->algorithm() == digest.algorithm() && *said != digest) {
    return Error(Errc::kInvalidArgument,
                 fmt::format("{}: the registry announced {} and sent {}", name, said->text(), digest.text()));
  }
  return FetchedManifest{std::move(bytes), media_type_of(response), std::move(digest)};
}

}  // namespace

Client::Client(ClientOptions options, CredentialSource& credentials)
    : body_(std::make_unique<Body>(std::move(options), credentials)) {}
Client::~Client() = default;

Result<FetchedManifest> Client::manifest(Repository const& repository, std::string_view reference,
                                         std::stop_token const& stop) {
  TRY(check_reference(reference));
  Use const use = is_digest(reference) ? Use::kPull : Use::kResolve;
  std::string const name = manifest_name(repository, reference);
  return body_->pull<FetchedManifest>(repository, use, manifest_request(repository, reference, "GET"), stop,
                                      [&](Visit& visit, Response response) -> Result<FetchedManifest> {
                                        if (response->status() != 200) {
                                          return refusal(*response, visit, repository, Doing::kPull, name);
                                        }
                                        return checked_manifest(*response, reference, name);
                                      });
}

Result<ManifestHead> Client::head_manifest(Repository const& repository, std::string_view reference,
                                           std::stop_token const& stop) {
  TRY(check_reference(reference));
  Use const use = is_digest(reference) ? Use::kPull : Use::kResolve;
  std::string const name = manifest_name(repository, reference);
  auto head = TRY(body_->pull<std::optional<ManifestHead>>(
      repository, use, manifest_request(repository, reference, "HEAD"), stop,
      [&](Visit& visit, Response response) -> Result<std::optional<ManifestHead>> {
        if (response->status() != 200) return refusal(*response, visit, repository, Doing::kPull, name);
        auto digest = content_digest(*response);
        auto const size = response->content_length();
        if (!digest || !size) return std::optional<ManifestHead>();
        if (is_digest(reference) && digest->text() != reference) {
          return Error(Errc::kInvalidArgument, fmt::format("{}: the registry has {} there", name, digest->text()));
        }
        return std::optional(ManifestHead{media_type_of(*response), *std::move(digest), *size});
      }));
  if (head) return *std::move(head);
  // A registry that does not tell in headers: the document itself does.
  FetchedManifest full = TRY(manifest(repository, reference, stop));
  return ManifestHead{std::move(full.media_type), std::move(full.digest), full.bytes.size()};
}

namespace {

// A foreign layer's own address, which gets no credentials.
Result<Response> open_foreign(Session& session, std::vector<std::string> const& urls, wire::Headers const& headers,
                              std::stop_token const& stop) {
  std::string failures;
  for (std::string const& text : urls) {
    auto const url = wire::Url::parse(text);
    if (!url.ok()) {
      failures += url.error().message() + "; ";
      continue;
    }
    auto response = session.get_foreign(*url, headers, stop);
    if (stop.stop_requested()) return cancelled();
    if (response.ok() && ((*response)->status() == 200 || (*response)->status() == 206)) return response;
    failures += response.ok() ? read_failure(**response, url->to_string()).text : response.error().to_string();
    failures += "; ";
  }
  return Error(Errc::kNotFound, "the urls of its descriptor: " + failures);
}

}  // namespace

Result<std::unique_ptr<codec::Source>> Client::blob(Repository const& repository, oci::Descriptor const& descriptor,
                                                    std::uint64_t offset, std::stop_token const& stop) {
  std::string const name = fmt::format("blob {} of {}", descriptor.digest.text(), familiar(repository));
  if (offset > descriptor.size) {
    return Error(Errc::kInvalidArgument, fmt::format("{}: {} is past its end", name, offset));
  }
  OpenRange const open = [body = body_.get(), repository, name, digest = descriptor.digest, urls = descriptor.urls](
                             ByteRange const& range, std::stop_token const& stop_asking) -> Result<Response> {
    Request request;
    request.path = fmt::format("{}/blobs/{}", repository.path, digest.text());
    request.scopes = Scopes::pull(repository.path);
    request.content_checked = true;
    std::string const header = range.header();
    if (!header.empty()) request.headers.emplace_back("Range", header);
    auto response = body->pull<Response>(repository, Use::kPull, request, stop_asking,
                                         [&](Visit& visit, Response answer) -> Result<Response> {
                                           int const status = answer->status();
                                           if (status == 200 || (status == 206 && !header.empty())) return answer;
                                           return refusal(*answer, visit, repository, Doing::kPull, name);
                                         });
    if (response.ok() || response.error().code() != Errc::kNotFound || urls.empty()) return response;
    auto foreign = open_foreign(body->session, urls, request.headers, stop_asking);
    if (foreign.ok()) return foreign;
    return std::move(foreign).take_error().with_context(response.error().to_string());
  };
  BlobSource::Plan plan{offset, descriptor.size, descriptor.size, body_->session.policy(), stop};
  if (descriptor.size - offset >= body_->options.parallel_range_bytes && body_->options.ranges_per_blob > 1) {
    auto source = std::make_unique<AdaptiveSource>(open, std::move(plan), body_->options.ranges_per_blob);
    TRY(source->start());
    return std::unique_ptr<codec::Source>(std::move(source));
  }
  auto source = std::make_unique<BlobSource>(open, std::move(plan));
  TRY(source->start());
  return std::unique_ptr<codec::Source>(std::move(source));
}

}  // namespace davit::registry
