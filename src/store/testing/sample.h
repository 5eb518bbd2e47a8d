// A store of one test with a clock that the test sets, and small content for it. Tests only.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "codec/hash.h"
#include "store/store.h"
#include "sys/file.h"
#include "sys/testing/temp_dir.h"

namespace davit::store::testing {

// In memory where that is possible: a syncfs of the machine's disk waits for everybody's writes.
inline std::string temp_parent() { return sys::exists("/dev/shm") ? "/dev/shm" : "/tmp"; }

inline oci::Digest digest_of(std::string_view text) { return oci::Digest::sha256(codec::sha256_hex(text)); }

// The names in a folder of a store, sorted.
inline std::vector<std::string> names_in(Store const& store, std::string const& folder) {
  UniqueFd const directory = sys::open(store.path() + "/" + folder, O_RDONLY | O_DIRECTORY).value();
  std::vector<std::string> names = sys::list_directory(directory.get()).value();
  std::sort(names.begin(), names.end());
  return names;
}

// A layer with one file that holds `content`; its diff-id is the content's digest.
inline std::shared_ptr<StagedLayer> stage(Store& store, std::string const& content) {
  Result<std::shared_ptr<StagedLayer>> layer = store.stage_layer();
  EXPECT_TRUE(layer.ok()) << (layer ? "" : layer.error().to_string());
  UniqueFd const file = sys::openat((*layer)->fs(), "file", O_WRONLY | O_CREAT, 0644).value();
  EXPECT_TRUE(sys::write_all(file.get(), content).ok());
  oci::Digest const diff_id = digest_of(content);
  (*layer)->record = LayerRecord{.id = layer_id(diff_id),
                                 .diff_id = diff_id,
                                 .tar_bytes = 1024,
                                 .file_bytes = content.size(),
                                 .disk_bytes = 4096,
                                 .has_recipe = false};
  return *layer;
}

inline std::string layer_of(std::string const& content) { return layer_id(digest_of(content)); }

inline ImageRecord image_record(std::string const& config, std::vector<std::string> const& layer_contents) {
  std::vector<std::string> layers;
  for (std::string const& content : layer_contents) layers.push_back(layer_of(content));
  return ImageRecord{.id = digest_of(config),
                     .manifest = {},
                     .layers = std::move(layers),
                     .blobs = {digest_of(config)},
                     .platform = "linux/amd64",
                     .labels_json = "{}"};
}

inline std::string tag_of(std::string const& name) { return "docker.io/library/" + name + ":latest"; }

// An image whose config is its name, with a tag of its name, and layers of these contents.
inline Batch image_batch(Store& store, std::string const& name, std::vector<std::string> const& layer_contents) {
  Batch batch;
  for (std::string const& content : layer_contents) batch.layers.push_back(stage(store, content));
  auto config = store.ingest_bytes(name);
  EXPECT_TRUE(config.ok()) << (config ? "" : config.error().to_string());
  batch.blobs.push_back(std::move(*config));
  batch.images.push_back(image_record(name, layer_contents));
  batch.tags.emplace_back(tag_of(name), digest_of(name));
  return batch;
}

#define EXPECT_OK(expression)                                   \
  do {                                                          \
    auto const& outcome_ = (expression);                        \
    EXPECT_TRUE(outcome_.ok()) << outcome_.error().to_string(); \
  } while (false)

template <typename T>
Errc code_of(Result<T> const& result) {
  EXPECT_FALSE(result.ok());
  return result.ok() ? Errc::kInternal : result.error().code();
}

// What every store must satisfy: each image has what it is made of, and no file is without a row.
inline void expect_whole(Store& store) {
  std::vector<ImageEntry> const images = store.list_images().value();
  for (ImageEntry const& entry : images) {
    for (std::string const& layer : entry.image.layers) {
      EXPECT_TRUE(store.find_layer(layer).value().has_value()) << layer;
      EXPECT_TRUE(sys::exists(store.layer_path(layer) + "/file")) << layer;
    }
    for (oci::Digest const& blob : entry.image.blobs) {
      EXPECT_EQ(digest_of(store.read_blob(blob, 1 << 20).value()).text(), blob.text());
    }
  }
  std::vector<std::string> layers, blobs;
  std::vector<LayerRecord> const layer_rows = store.list_layers().value();
  std::vector<BlobRecord> const blob_rows = store.list_blobs().value();
  for (LayerRecord const& layer : layer_rows) layers.push_back(layer.id);
  for (BlobRecord const& blob : blob_rows) blobs.emplace_back(blob.digest.hex());
  std::sort(layers.begin(), layers.end());
  std::sort(blobs.begin(), blobs.end());
  EXPECT_EQ(names_in(store, "layers"), layers);
  EXPECT_EQ(names_in(store, "blobs/sha256"), blobs);
}

class StoreTest : public ::testing::Test {
 protected:
  void SetUp() override { open(); }
  void open() {
    store_.reset();
    Result<std::unique_ptr<Store>> opened = try_open();
    ASSERT_TRUE(opened.ok()) << opened.error().to_string();
    store_ = std::move(*opened);
  }
  Result<std::unique_ptr<Store>> try_open() {
    return Store::open({.root = dir_ / "content", .now_ns = [this] { return now_.load(); }});
  }
  Store& store() { return *store_; }
  void publish_image(std::string const& name, std::vector<std::string> const& layers) {
    EXPECT_OK(store().publish(image_batch(store(), name, layers)));
  }

  sys::testing::TempDir dir_{temp_parent()};
  std::atomic<std::int64_t> now_ = 1'000'000'000'000;
  std::unique_ptr<Store> store_;
};

}  // namespace davit::store::testing
