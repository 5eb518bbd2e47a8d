// Store: content on disk and the rows that make it exist. Everything lies under one root (docs/disk/store.md):
//   state.db  blobs/sha256/<hex>  layers/<id>/{fs,recipe}  ingest/ (partial downloads)  tmp/ (being made)  trash/
//   (being deleted)
// The order is: data, sync, row. What has no row is swept when the store is opened; rows go before files when something
// is deleted. So a crash or power cut at any moment leaves every image whole or absent. One process at a time has a
// root open. Any thread may call everything; no threads of its own, nothing runs while nobody calls.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"
#include "codec/stream.h"
#include "oci/digest.h"
#include "store/records.h"

namespace davit::store {

class Store;

// Keeps a layer or blob from being collected while it lives. Movable; must not outlive the store.
class [[nodiscard]] Pin {
 public:
  Pin() = default;
  Pin(Pin&& other) noexcept;
  Pin& operator=(Pin&& other) noexcept;
  ~Pin();

 private:
  friend class Store;
  Pin(Store* store, std::string key) : store_(store), key_(std::move(key)) {}
  Store* store_ = nullptr;
  std::string key_;
};

// A directory tmp/<n> in which a layer is made. Deleted at the end unless it was published; once it was, the layer is
// not collected while this object lives, so that another batch may publish it too. Must not outlive the store.
class StagedLayer {
 public:
  StagedLayer(Store& store, std::string name, UniqueFd directory, UniqueFd fs);
  StagedLayer(StagedLayer const&) = delete;
  ~StagedLayer();
  int directory() const { return directory_.get(); }  // holds the recipe
  int fs() const { return fs_.get(); }                // the overlay layer
  // Set by whoever made it, before publishing.
  LayerRecord record{.id = {}, .diff_id = oci::Digest::sha256(std::string(64, '0'))};

 private:
  friend class Store;
  Store& store_;
  std::string name_;  // under tmp/; "" once it is published
  UniqueFd directory_, fs_;
  Pin published_;
};

// A blob being written: ingest/<name>. It stays there, to be resumed, unless it is published or discarded. Once it was
// published, the blob is not collected while this object lives. Must not outlive the store.
class Ingest {
 public:
  Ingest(Store& store, std::string name, UniqueFd file, std::uint64_t size);
  Ingest(Ingest const&) = delete;
  ~Ingest();
  int fd() const { return file_.get(); }
  std::uint64_t size() const { return size_; }  // bytes that are there
  Result<void> write(std::string_view bytes);
  void discard();  // deletes it; by its only owner
  // Forgets what is there and starts anew.
  Result<void> restart();

 private:
  friend class Store;
  Store& store_;
  std::string name_;  // "" once published or discarded
  UniqueFd file_;
  std::uint64_t size_;
  bool keep_ = true;  // partial content is worth keeping
  Pin published_;
};

// What one pull, load or build adds: all of it becomes visible at once.
struct Batch {
  std::vector<std::shared_ptr<StagedLayer>> layers;  // one published by another batch meanwhile is fine
  std::vector<std::pair<oci::Digest, std::shared_ptr<Ingest>>> blobs;
  std::vector<LayerForm> forms;
  std::vector<ImageRecord> images;
  std::vector<std::pair<std::string, oci::Digest>> tags;          // full name to image id
  std::vector<std::pair<std::string, oci::Digest>> repo_digests;  // "name@digest" to image id
  std::vector<std::pair<oci::Digest, std::string>> sources;       // blob, "domain/path" it is known to be at
  // Layers and blobs of this batch are kept for so long although no image has them yet (an interrupted pull goes on).
  std::chrono::seconds keep_unused{0};
};

struct StoreOptions {
  std::string root;
  std::function<std::int64_t()> now_ns;  // since 1970; the system's clock when empty
};

struct OpenReport {
  std::uint64_t swept_layers = 0, swept_blobs = 0;  // had no row
  std::vector<std::string> lost_images;             // their files were gone, so their rows went too
};

struct Collected {
  std::vector<oci::Digest> layers;  // diff-ids
  std::vector<oci::Digest> blobs;
  std::uint64_t freed_bytes = 0;
};

class Store {
 public:
  struct Body;  // store_body.h
  // kConflict: another process has the root open. Creates what is missing.
  static Result<std::unique_ptr<Store>> open(StoreOptions options);
  ~Store();
  OpenReport const& open_report() const;
  int root() const;  // descriptor of the root directory
  std::string const& path() const;
  Result<UniqueFd> reopen_root() const;  // another open file of the root directory
  // Bytes that operations have written since the store was opened; for whoever starts writing them to the disk early.
  void note_written(std::uint64_t bytes);
  std::uint64_t bytes_written() const;

  // --- blobs
  Result<bool> has_blob(oci::Digest const& digest);
  Result<UniqueFd> open_blob(oci::Digest const& digest);  // kNotFound
  Result<std::string> read_blob(oci::Digest const& digest, std::size_t max_size);
  // A partial download that is kept under the blob's own digest, so that a later pull finds it; or a nameless one.
  // kConflict: it is being written already.
  Result<std::shared_ptr<Ingest>> ingest(oci::Digest const& digest);
  Result<std::shared_ptr<Ingest>> ingest_unnamed();
  // Both in one: bytes that are in memory. For Batch::blobs.
  Result<std::pair<oci::Digest, std::shared_ptr<Ingest>>> ingest_bytes(std::string_view bytes);
  // Partial downloads that nobody has touched since `before`.
  Result<void> drop_stale_ingests(std::int64_t before_ns);

  // --- layers
  Result<std::optional<LayerRecord>> find_layer(std::string const& id);
  // The same, and it stays while the pin lives.
  Result<std::optional<std::pair<LayerRecord, Pin>>> pin_layer(std::string const& id);
  Result<std::optional<Pin>> pin_blob(oci::Digest const& digest);
  Result<std::shared_ptr<StagedLayer>> stage_layer();
  Result<UniqueFd> open_layer(std::string const& id);         // its fs directory
  Result<UniqueFd> open_layer_recipe(std::string const& id);  // kNotFound when it has none
  std::string layer_path(std::string const& id) const;        // absolute, of fs
  Result<std::vector<LayerForm>> layer_forms(oci::Digest const& diff_id);
  Result<std::optional<LayerForm>> form_of_blob(oci::Digest const& blob);  // which layer a blob unpacks to, if known
  Result<std::vector<LayerRecord>> list_layers();
  Result<std::vector<BlobRecord>> list_blobs();
  Result<std::vector<std::string>> blob_sources(oci::Digest const& blob);

  // Renames what is staged into place, syncs the file system, commits the rows. On failure nothing of it exists and
  // what is staged is as it was, so it may be published again. kConflict: a layer or blob that the batch or one of its
  // images relies on is not there (any more); kNotFound: a name is for an image that does not exist.
  Result<void> publish(Batch const& batch);

  // --- images
  Result<std::optional<ImageEntry>> find_image(oci::Digest const& id);
  Result<std::vector<oci::Digest>> images_by_prefix(std::string_view hex_prefix);  // at most 16
  Result<std::optional<oci::Digest>> image_by_tag(std::string const& name);
  Result<std::optional<oci::Digest>> image_by_repo_digest(std::string const& name);  // "name@digest"
  Result<std::vector<ImageEntry>> list_images();
  Result<void> set_tag(std::string const& name, oci::Digest const& image);  // kNotFound: no such image
  Result<bool> remove_tag(std::string const& name);                         // false: there was none
  Result<bool> remove_repo_digest(std::string const& name);
  // With all its names. Its layers and blobs stay until collect().
  Result<bool> remove_image(oci::Digest const& id);

  // --- leases: layers and blobs that something outside the tables uses (a container, a build)
  // kNotFound: one of them is not there. A lease of the same name is replaced.
  Result<void> add_lease(std::string const& lease, std::vector<std::string> const& layers,
                         std::vector<oci::Digest> const& blobs,
                         std::int64_t expires_ns = 0);  // 0: never
  Result<void> remove_lease(std::string const& lease);

  // Deletes the layers and blobs that no image, lease or pin uses. The space is free when it returns.
  Result<Collected> collect();
  // Deletes what earlier calls and crashes left in the trash.
  Result<void> empty_trash();

 private:
  friend class Pin;
  friend class StagedLayer;
  friend class Ingest;
  class Publication;  // publish.cc
  explicit Store(std::unique_ptr<Body> body);
  static Result<std::unique_ptr<Store>> open_once(StoreOptions options);
  Pin hold(std::string key);
  std::unique_ptr<Body> body_;
};

}  // namespace davit::store
