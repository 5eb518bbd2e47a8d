// The registry client: OCI distribution-spec 1.1 pull and push, with authentication, mirrors, retries and resuming.
// Blocking; a Client may be used by many threads at once.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "codec/stream.h"
#include "oci/image_ref.h"
#include "oci/image_spec.h"
#include "registry/credentials.h"
#include "registry/hosts.h"
#include "wire/http_client.h"

namespace davit::registry {

struct ClientOptions {
  HostsOptions hosts;
  wire::HttpClient::Options http;
  unsigned attempts = 5;  // of one request; waits between are doubled from `backoff`, Retry-After counts (at most 60 s)
  std::chrono::milliseconds backoff{250};
  // A blob of at least this size is fetched by several connections when the server takes Range.
  std::uint64_t parallel_range_bytes = std::uint64_t{64} << 20;
  unsigned ranges_per_blob = 3;
};

// A repository at a registry: the domain and path of an ImageRef.
struct Repository {
  std::string domain, path;
  explicit Repository(oci::ImageRef const& ref) : domain(ref.domain()), path(ref.path()) {}
};

struct FetchedManifest {
  std::string bytes, media_type;
  oci::Digest digest;  // computed from the bytes, equal to what was asked for and to what the server said
};

struct ManifestHead {
  std::string media_type;
  oci::Digest digest;
  std::uint64_t size = 0;
};

// Errors of all calls, with the registry's own code and message in the text: kNotFound (MANIFEST_UNKNOWN, NAME_UNKNOWN,
// 404), kPermissionDenied (401 and 403 after authenticating; TLS trust), kResourceExhausted (429 after the last
// attempt), kUnavailable (network, 5xx), kInvalidArgument (what the server sent is wrong: digest, size, headers),
// kCancelled.
class Client {
 public:
  Client(ClientOptions options, CredentialSource& credentials);
  ~Client();

  // reference: a tag or a digest. Asks for all media types that image_spec.h names.
  Result<FetchedManifest> manifest(Repository const& repository, std::string_view reference,
                                   std::stop_token const& stop = {});
  Result<ManifestHead> head_manifest(Repository const& repository, std::string_view reference,
                                     std::stop_token const& stop = {});

  // The blob's bytes from `offset` on, as a stream that survives broken connections: it asks again from where it was by
  // Range (and skips when the server ignores Range) until the attempts are used up without progress. It ends exactly at
  // descriptor.size (more or fewer bytes: an error). The digest is the caller's to check, as only he sees all bytes. A
  // redirect to another origin is followed without credentials. Foreign urls are tried only when the registry lacks the
  // blob, and without credentials. The stream must not outlive the client.
  Result<std::unique_ptr<codec::Source>> blob(Repository const& repository, oci::Descriptor const& descriptor,
                                              std::uint64_t offset = 0, std::stop_token const& stop = {});

  Result<bool> has_blob(Repository const& repository, oci::Digest const& digest, std::stop_token const& stop = {});
  // Cross-repository mount; false: the registry would not, so upload it (nothing is left open there).
  Result<bool> mount_blob(Repository const& repository, oci::Digest const& digest, std::string_view from_path,
                          std::stop_token const& stop = {});
  // A blob whose digest and size are known; `open` gives its bytes from an offset on and is called again for a retry.
  // Monolithic PUT; chunked PATCH where the server asks for it (OCI-Chunk-Min-Length, 413 to the monolithic one).
  using Open = std::function<Result<std::unique_ptr<codec::Source>>(std::uint64_t offset)>;
  Result<void> upload_blob(Repository const& repository, oci::Digest const& digest, std::uint64_t size, Open open,
                           std::stop_token const& stop = {});

  // A blob whose digest is known only at the end: one streamed PATCH (chunked transfer encoding), then commit. `source`
  // is read once, so a broken connection is an error (kUnavailable) that the caller answers by starting again.
  class Upload {
   public:
    virtual ~Upload() = default;  // cancels unless committed
    virtual Result<void> commit(oci::Digest const& digest) = 0;
  };
  Result<std::unique_ptr<Upload>> stream_blob(Repository const& repository, codec::Source& source,
                                              std::stop_token const& stop = {});

  // reference: a tag or the digest. Answers the digest that the registry stored, which is checked against the bytes'
  // own.
  Result<oci::Digest> put_manifest(Repository const& repository, std::string_view reference, std::string_view bytes,
                                   std::string_view media_type, std::stop_token const& stop = {});
  Result<std::vector<std::string>> tags(Repository const& repository, std::stop_token const& stop = {});  // all pages
  // Descriptors of what refers to `subject` (the referrers API, or the fallback tag where it answers 404).
  Result<std::vector<oci::Descriptor>> referrers(Repository const& repository, oci::Digest const& subject,
                                                 std::string_view artifact_type = {}, std::stop_token const& stop = {});
  Result<void> delete_manifest(Repository const& repository, oci::Digest const& digest,
                               std::stop_token const& stop = {});
  // Checks a login (docker login): kPermissionDenied when refused. Returns the identity token the issuer gave, "" if
  // none.
  Result<std::string> check_login(std::string_view domain, Credential const& credential,
                                  std::stop_token const& stop = {});

 private:
  struct Body;
  std::unique_ptr<Body> body_;
};

}  // namespace davit::registry
