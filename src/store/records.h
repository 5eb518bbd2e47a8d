// What the store's tables hold, as types (docs/disk/state-db.md).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "oci/digest.h"

namespace davit::store {

struct BlobRecord {
  oci::Digest digest;
  std::uint64_t size = 0;
};

// An unpacked layer: layers/<id>/fs and layers/<id>/recipe.
struct LayerRecord {
  std::string id;  // hex of the diff-id; "chain-" and hex of the chain-id for one that depends on the layers below
  oci::Digest diff_id;
  std::uint64_t tar_bytes = 0;   // the uncompressed tar
  std::uint64_t file_bytes = 0;  // sum of the files' sizes: what Docker shows
  std::uint64_t disk_bytes = 0;  // blocks that fs/ and the recipe take
  bool has_recipe = false;       // the tar can be written again from fs/
};

std::string layer_id(oci::Digest const& diff_id);
std::string chained_layer_id(oci::Digest const& chain_id);

// A form in which a layer travels: its blob is kept here, or is only known (it was pushed so, and compressing the layer
// again gives it).
struct LayerForm {
  oci::Digest diff_id;
  oci::Digest blob;
  std::uint64_t size = 0;
  std::string media_type;
};

struct ImageRecord {
  oci::Digest id;                       // of the config
  std::optional<oci::Digest> manifest;  // of the platform's manifest, when it came or went with one
  std::vector<std::string> layers;      // ids, bottom first
  std::vector<oci::Digest> blobs;       // that must be kept for it: config, manifest, index, layers' blobs
  std::int64_t created_ns = 0;          // as its config says, since 1970
  std::int64_t stored_ns = 0;           // when it came here
  std::string platform;                 // "linux/amd64"
  std::string labels_json;              // {"k":"v"}
  std::uint64_t size = 0;               // sum of file_bytes
};

struct ImageEntry {
  ImageRecord image;
  std::vector<std::string> tags;          // "docker.io/library/nginx:latest", sorted
  std::vector<std::string> repo_digests;  // "docker.io/library/nginx@sha256:...", sorted
};

}  // namespace davit::store
