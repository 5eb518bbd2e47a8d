// OCI image spec 1.1 and Docker's schema 2, as types: manifests, indexes (manifest lists), image configs. Parsers are
// strict about what is used (digests, sizes, media types) and keep the bytes for what is not. Any thread.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "base/result.h"
#include "codec/compression.h"
#include "oci/digest.h"
#include "oci/platform.h"

namespace davit::oci {

inline constexpr std::string_view kOciIndex = "application/vnd.oci.image.index.v1+json";
inline constexpr std::string_view kOciManifest = "application/vnd.oci.image.manifest.v1+json";
inline constexpr std::string_view kOciConfig = "application/vnd.oci.image.config.v1+json";
inline constexpr std::string_view kOciEmpty = "application/vnd.oci.empty.v1+json";
inline constexpr std::string_view kOciLayer = "application/vnd.oci.image.layer.v1.tar";
inline constexpr std::string_view kOciLayerGzip = "application/vnd.oci.image.layer.v1.tar+gzip";
inline constexpr std::string_view kOciLayerZstd = "application/vnd.oci.image.layer.v1.tar+zstd";
inline constexpr std::string_view kDockerList = "application/vnd.docker.distribution.manifest.list.v2+json";
inline constexpr std::string_view kDockerManifest = "application/vnd.docker.distribution.manifest.v2+json";
inline constexpr std::string_view kDockerConfig = "application/vnd.docker.container.image.v1+json";
inline constexpr std::string_view kDockerLayerGzip = "application/vnd.docker.image.rootfs.diff.tar.gzip";
inline constexpr std::string_view kDockerLayer = "application/vnd.docker.image.rootfs.diff.tar";

struct Descriptor {
  std::string media_type;
  Digest digest;
  std::uint64_t size = 0;
  std::vector<std::string> urls;
  std::map<std::string, std::string> annotations;
  std::string artifact_type;
  std::string data;  // embedded content, decoded; checked against digest and size
  std::optional<Platform> platform;
};

struct Manifest {
  std::string media_type;  // kOciManifest or kDockerManifest
  std::string artifact_type;
  Descriptor config;
  std::vector<Descriptor> layers;
  std::optional<Descriptor> subject;
  std::map<std::string, std::string> annotations;
};

struct Index {
  std::string media_type;  // kOciIndex or kDockerList
  std::string artifact_type;
  std::vector<Descriptor> manifests;
  std::optional<Descriptor> subject;
  std::map<std::string, std::string> annotations;
};

struct ParsedManifest {
  std::variant<Manifest, Index> content;
};

struct ManifestLimits {
  std::size_t max_bytes = std::size_t{8} << 20;
  std::size_t max_layers = 1024;      // a container's overlay cannot have more than 500 anyway
  std::size_t max_manifests = 10000;  // of an index
};

// bytes: what the registry or archive gave; content_type: its media type, "" when unknown (then the document's own
// mediaType or shape decides). kInvalidArgument names the field. Schema 1 is refused with the reason. A contradiction
// between content_type and mediaType, or an object that has both "layers" and "manifests" (CVE-2021-41190), is refused.
Result<ParsedManifest> parse_manifest(std::string_view bytes, std::string_view content_type,
                                      ManifestLimits limits = {});

// How a layer's media type says that it is compressed; kInvalidArgument when it is not a layer of a file system image.
Result<codec::Compression> layer_compression(std::string_view media_type);
// The layer holds content that may not be pushed (foreign, nondistributable).
bool is_foreign_layer(std::string_view media_type);
// The manifest is of something else than an image (its config's media type says so): a chart, a signature, a plugin.
bool is_artifact(Manifest const& manifest);
// An index entry that is not an image to run: attestation (vnd.docker.reference.type) or platform unknown/unknown.
bool is_attestation(Descriptor const& entry);
// The entry that runs best where `wanted` is asked for, ties to the first; nullptr when none.
Descriptor const* select_platform(Index const& index, Platform const& wanted);

std::string to_json(Manifest const& manifest);  // compact, deterministic, members in the specification's order
std::string to_json(Index const& index);

// One line of `docker history`.
struct HistoryEntry {
  std::string created;  // RFC 3339 as in the document, "" when absent
  std::string created_by, author, comment;
  bool empty_layer = false;
};

struct HealthCheck {
  std::vector<std::string> test;
  std::int64_t interval_ns = 0, timeout_ns = 0, start_period_ns = 0, start_interval_ns = 0;
  int retries = 0;
};

// What a container inherits ("config" of the image config; OCI config.md and Docker's additions).
struct ContainerConfig {
  std::string user, working_dir, stop_signal;
  std::vector<std::string> env, cmd, entrypoint, volumes, exposed_ports, on_build, shell;
  std::map<std::string, std::string> labels;
  std::optional<HealthCheck> healthcheck;
  bool args_escaped = false;
};

struct ImageConfig {
  Platform platform;    // as in the document: os and architecture may be "", which Docker takes for the host's
  std::string created;  // RFC 3339 as in the document, of any zone
  std::string author, comment, docker_version, container;
  ContainerConfig config;
  std::vector<Digest> diff_ids;
  std::vector<HistoryEntry> history;
};

// Checks that rootfs.type is "layers" and that history (when present) has as many non-empty entries as diff_ids; a
// history that does not fit is dropped, as old tools write such.
Result<ImageConfig> parse_image_config(std::string_view bytes);
// A new config (import, commit, build); deterministic. OCI members, with Docker's additions where set.
std::string to_json(ImageConfig const& config);

// Chain ids (OCI config.md#layer-chainid): of layers[0..i] for each i.
std::vector<Digest> chain_ids(std::vector<Digest> const& diff_ids);

}  // namespace davit::oci
