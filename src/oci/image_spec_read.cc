// Manifests and indexes from outside. What decides which of the two a document is: the type it was delivered as, then
// its own mediaType, then its shape; all that is said must agree (CVE-2021-41190).
#include <fmt/format.h>

#include <limits>

#include "codec/base64.h"
#include "codec/hash.h"
#include "oci/image_read.h"
#include "oci/image_spec.h"

namespace davit::oci {

using json::Field;

namespace {

constexpr std::uint64_t kMaxSize = std::numeric_limits<std::int64_t>::max();
constexpr std::string_view kSchema1 =
    "this is a schema 1 manifest, the format before Docker 1.10, which no longer is supported (its layers are not "
    "verifiable by their content): have the image pushed again by a current tool";

bool is_manifest_type(std::string_view type) { return type == kOciManifest || type == kDockerManifest; }
bool is_index_type(std::string_view type) { return type == kOciIndex || type == kDockerList; }
bool is_known_type(std::string_view type) { return is_manifest_type(type) || is_index_type(type); }
bool is_schema1_type(std::string_view type) {
  return type.starts_with("application/vnd.docker.distribution.manifest.v1+");
}

// Without parameters ("; charset=utf-8") and in lower case, as media types are compared.
std::string bare_type(std::string_view content_type) {
  std::string type(content_type.substr(0, content_type.find(';')));
  while (!type.empty() && (type.back() == ' ' || type.back() == '\t')) type.pop_back();
  for (char& c : type) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return type;
}

std::string hash_hex(Digest const& digest, std::string_view bytes) {
  codec::Hasher hasher(digest.algorithm() == "sha512" ? codec::HashAlgorithm::kSha512 : codec::HashAlgorithm::kSha256);
  hasher.update(bytes);
  return hasher.finish_hex();
}

// Embedded content must be what the descriptor names, or a reader of it and a fetcher would see two images.
Result<std::string> read_data(Field const& field, Digest const& digest, std::uint64_t size) {
  std::string_view const encoded = TRY(field.string_view());
  if (!field.present()) return std::string();
  Result<std::string> data = codec::base64_decode(encoded);
  if (!data.ok()) return field.error(data.error().message());
  if (data->size() != size) return field.error(fmt::format("{} bytes, but size says {}", data->size(), size));
  if (hash_hex(digest, *data) != digest.hex()) return field.error("does not match the digest");
  return data;
}

Result<Descriptor> read_descriptor(Field const& field) {
  TRY(field.expect_present());
  TRY(field.expect_object());
  Field const media_type = field["mediaType"];
  Field const size = field["size"];
  Field const platform = field["platform"];
  TRY(media_type.expect_present());
  TRY(size.expect_present());
  Digest digest = TRY(read_digest(field["digest"]));
  Descriptor out{.media_type = {},
                 .digest = std::move(digest),
                 .size = 0,
                 .urls = {},
                 .annotations = {},
                 .artifact_type = {},
                 .data = {},
                 .platform = {}};
  TRY(media_type.read_string(out.media_type));
  TRY(size.read_unsigned(out.size, kMaxSize));
  TRY(json::read(field["urls"], out.urls));
  TRY(json::read(field["annotations"], out.annotations));
  TRY(json::read(field["artifactType"], out.artifact_type));
  out.data = TRY(read_data(field["data"], out.digest, out.size));
  if (platform.present()) TRY(read_platform(platform, out.platform.emplace()));
  return out;
}

Result<std::vector<Descriptor>> read_descriptors(Field const& field, std::size_t limit) {
  std::size_t const count = TRY(field.array_size());
  if (count > limit) return field.error(fmt::format("{} entries, at most {} are accepted", count, limit));
  std::vector<Descriptor> list;
  list.reserve(count);
  for (std::size_t i = 0; i < count; ++i) {
    Descriptor entry = TRY(read_descriptor(field.element(i)));
    list.push_back(std::move(entry));
  }
  return list;
}

Result<std::optional<Descriptor>> read_subject(Field const& field) {
  if (!field.present()) return std::optional<Descriptor>();
  Descriptor subject = TRY(read_descriptor(field));
  return std::optional(std::move(subject));
}

Result<void> refuse(Field const& field, std::string_view kind) {
  if (!field.present()) return {};
  return field.error(fmt::format("an {} must not have it", kind));
}

Result<ParsedManifest> read_manifest(Field const& root, std::string media_type, ManifestLimits limits) {
  TRY(refuse(root["manifests"], "image manifest"));
  TRY(refuse(root["fsLayers"], "image manifest"));
  Descriptor config = TRY(read_descriptor(root["config"]));
  std::vector<Descriptor> layers = TRY(read_descriptors(root["layers"], limits.max_layers));
  Manifest manifest{.media_type = std::move(media_type),
                    .artifact_type = {},
                    .config = std::move(config),
                    .layers = std::move(layers),
                    .subject = {},
                    .annotations = {}};
  TRY(json::read(root["artifactType"], manifest.artifact_type));
  TRY(json::read(root["annotations"], manifest.annotations));
  manifest.subject = TRY(read_subject(root["subject"]));
  return ParsedManifest{std::move(manifest)};
}

Result<ParsedManifest> read_index(Field const& root, std::string media_type, ManifestLimits limits) {
  for (std::string_view const name : {"layers", "config", "fsLayers"}) TRY(refuse(root[name], "image index"));
  Index index;
  index.media_type = std::move(media_type);
  index.manifests = TRY(read_descriptors(root["manifests"], limits.max_manifests));
  TRY(json::read(root["artifactType"], index.artifact_type));
  TRY(json::read(root["annotations"], index.annotations));
  index.subject = TRY(read_subject(root["subject"]));
  return ParsedManifest{std::move(index)};
}

// The one type that delivered and the document's own mediaType agree on, or the shape's.
Result<std::string> decide_type(Field const& root, std::string_view delivered) {
  Field const field = root["mediaType"];
  std::string own;
  TRY(field.read_string(own));
  if (!own.empty() && !is_known_type(own)) {
    return field.error(fmt::format("\"{}\" is neither an image manifest nor an index", own.substr(0, 200)));
  }
  if (!is_known_type(delivered)) {
    if (!own.empty()) return own;
    return std::string(root["manifests"].present() ? kOciIndex : kOciManifest);
  }
  if (!own.empty() && own != delivered) {
    return field.error(fmt::format("says {}, but it was delivered as {}", own, delivered));
  }
  return std::string(delivered);
}

Result<void> check_schema(Field const& root) {
  Field const field = root["schemaVersion"];
  std::int64_t version = 0;
  TRY(field.expect_present());
  TRY(field.read_signed(version, 0, std::numeric_limits<int>::max()));
  if (version == 1) return field.error(kSchema1);
  if (version != 2) return field.error(fmt::format("expected 2, found {}", version));
  return {};
}

}  // namespace

Result<ParsedManifest> parse_manifest(std::string_view bytes, std::string_view content_type, ManifestLimits limits) {
  std::string const delivered = bare_type(content_type);
  if (is_schema1_type(delivered)) return Error(Errc::kInvalidArgument, std::string(kSchema1));
  json::Document const document = TRY(json::Document::parse(bytes, {.max_bytes = limits.max_bytes}));
  Field const root = document.root();
  if (!root.present()) return root.error("expected an object, found null");
  TRY(root.expect_object());
  TRY(check_schema(root));
  std::string type = TRY(decide_type(root, delivered));
  if (is_index_type(type)) return read_index(root, std::move(type), limits);
  return read_manifest(root, std::move(type), limits);
}

}  // namespace davit::oci
