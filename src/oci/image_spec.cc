#include "oci/image_spec.h"

#include <fmt/format.h>

#include "codec/base64.h"
#include "codec/hash.h"
#include "codec/json_writer.h"

namespace davit::oci {

namespace {

constexpr std::string_view kForeignOci = "application/vnd.oci.image.layer.nondistributable.v1.tar";
constexpr std::string_view kForeignDocker = "application/vnd.docker.image.rootfs.foreign.diff.tar";
constexpr std::string_view kReferenceType = "vnd.docker.reference.type";

// Below every score of match_score that is above 0: an entry that does not say what it runs on.
constexpr int kNoPlatformScore = 1;

// What follows "...tar" in a media type: OCI's "+gzip", Docker's ".gzip"; nullopt for anything else.
std::optional<codec::Compression> suffix_compression(std::string_view suffix) {
  if (suffix.empty()) return codec::Compression::kNone;
  if (suffix == "+gzip" || suffix == ".gzip") return codec::Compression::kGzip;
  if (suffix == "+zstd" || suffix == ".zstd") return codec::Compression::kZstd;
  return std::nullopt;
}

void write(json::Writer& writer, Platform const& platform) {
  writer.begin_object();
  writer.field("architecture", platform.architecture).field("os", platform.os);
  if (!platform.os_version.empty()) writer.field("os.version", platform.os_version);
  if (!platform.os_features.empty()) writer.field("os.features", platform.os_features);
  if (!platform.variant.empty()) writer.field("variant", platform.variant);
  writer.end_object();
}

void write_map(json::Writer& writer, std::string_view name, std::map<std::string, std::string> const& map) {
  if (map.empty()) return;
  writer.key(name).begin_object();
  for (auto const& [key, value] : map) writer.field(key, value);
  writer.end_object();
}

void write(json::Writer& writer, Descriptor const& descriptor) {
  writer.begin_object();
  writer.field("mediaType", descriptor.media_type);
  writer.field("digest", descriptor.digest.text());
  writer.field("size", descriptor.size);
  if (!descriptor.urls.empty()) writer.field("urls", descriptor.urls);
  write_map(writer, "annotations", descriptor.annotations);
  if (!descriptor.data.empty()) writer.field("data", codec::base64_encode(descriptor.data));
  if (descriptor.platform) {
    writer.key("platform");
    write(writer, *descriptor.platform);
  }
  if (!descriptor.artifact_type.empty()) writer.field("artifactType", descriptor.artifact_type);
  writer.end_object();
}

void write_list(json::Writer& writer, std::string_view name, std::vector<Descriptor> const& list) {
  writer.key(name).begin_array();
  for (Descriptor const& each : list) write(writer, each);
  writer.end_array();
}

void write_head(json::Writer& writer, std::string_view media_type, std::string_view artifact_type) {
  writer.begin_object();
  writer.field("schemaVersion", 2).field("mediaType", media_type);
  if (!artifact_type.empty()) writer.field("artifactType", artifact_type);
}

void write_subject(json::Writer& writer, std::optional<Descriptor> const& subject) {
  if (!subject) return;
  writer.key("subject");
  write(writer, *subject);
}

}  // namespace

Result<codec::Compression> layer_compression(std::string_view media_type) {
  for (std::string_view const stem : {kOciLayer, kDockerLayer, kForeignOci, kForeignDocker}) {
    if (!media_type.starts_with(stem)) continue;
    if (auto const found = suffix_compression(media_type.substr(stem.size()))) return *found;
  }
  std::string_view const encrypted = media_type.ends_with("+encrypted") ? " (it is encrypted)" : "";
  return Error(Errc::kInvalidArgument, fmt::format("media type \"{}\" is not a layer of an image's file system{}",
                                                   media_type.substr(0, 200), encrypted));
}

bool is_foreign_layer(std::string_view media_type) {
  return media_type.starts_with(kForeignOci) || media_type.starts_with(kForeignDocker);
}

bool is_artifact(Manifest const& manifest) {
  std::string_view const type = manifest.config.media_type;
  if (type == kOciConfig || type == kDockerConfig) return false;
  // Registries and proxies of years past put these in place of the config's type, and Docker pulls such images.
  bool const guessed = type == "application/octet-stream" || type == "text/html" || type == "application/json";
  return !guessed || !manifest.artifact_type.empty();
}

bool is_attestation(Descriptor const& entry) {
  if (entry.annotations.contains(std::string(kReferenceType))) return true;
  return entry.platform && entry.platform->os == "unknown" && entry.platform->architecture == "unknown";
}

Descriptor const* select_platform(Index const& index, Platform const& wanted) {
  Descriptor const* best = nullptr;
  int best_score = 0;
  for (Descriptor const& entry : index.manifests) {
    bool const image = entry.media_type == kOciManifest || entry.media_type == kDockerManifest ||
                       entry.media_type == kOciIndex || entry.media_type == kDockerList;
    if (!image || !entry.artifact_type.empty() || is_attestation(entry)) continue;
    int const score = entry.platform ? match_score(wanted, *entry.platform) : kNoPlatformScore;
    if (score <= best_score) continue;
    best = &entry;
    best_score = score;
  }
  return best;
}

std::string to_json(Manifest const& manifest) {
  json::Writer writer;
  write_head(writer, manifest.media_type, manifest.artifact_type);
  writer.key("config");
  write(writer, manifest.config);
  write_list(writer, "layers", manifest.layers);
  write_subject(writer, manifest.subject);
  write_map(writer, "annotations", manifest.annotations);
  return writer.end_object().take();
}

std::string to_json(Index const& index) {
  json::Writer writer;
  write_head(writer, index.media_type, index.artifact_type);
  write_list(writer, "manifests", index.manifests);
  write_subject(writer, index.subject);
  write_map(writer, "annotations", index.annotations);
  return writer.end_object().take();
}

std::vector<Digest> chain_ids(std::vector<Digest> const& diff_ids) {
  std::vector<Digest> chain;
  chain.reserve(diff_ids.size());
  for (Digest const& diff_id : diff_ids) {
    if (chain.empty()) {
      chain.push_back(diff_id);
      continue;
    }
    chain.push_back(Digest::sha256(codec::sha256_hex(chain.back().text() + " " + diff_id.text())));
  }
  return chain;
}

}  // namespace davit::oci
