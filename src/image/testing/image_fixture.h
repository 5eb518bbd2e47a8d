// A store of one test, and tars, configs and archives that are made by hand. Tests only.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "codec/compression.h"
#include "codec/hash.h"
#include "codec/tar.h"
#include "image/context.h"
#include "image/load.h"
#include "oci/image_spec.h"
#include "store/testing/sample.h"

// Rows of tables name only what they are about.
#pragma GCC diagnostic ignored "-Wmissing-field-initializers"

namespace davit::image::testing {

using store::testing::code_of;
using store::testing::digest_of;

#define ASSERT_OK_RESULT(result) ASSERT_TRUE((result).ok()) << (result).error().to_string()

inline Result<void> write_file(std::string const& path, std::string const& content, mode_t mode) {
  return sys::replace_file_at(AT_FDCWD, path, content, mode, sys::Durability::kNone);
}

// One entry: a directory when the name ends with '/', a link when there is a target, else a file.
struct Entry {
  std::string name, content, target;
};

inline std::string tar_of(std::vector<Entry> const& entries) {
  codec::StringSink out;
  codec::TarWriter writer(out);
  for (Entry const& each : entries) {
    codec::TarEntry entry;
    entry.name = each.name;
    entry.mode = 0644;
    if (each.name.ends_with('/')) {
      entry.type = codec::TarType::kDirectory;
      entry.mode = 0755;
    } else if (!each.target.empty()) {
      entry.type = codec::TarType::kSymlink;
      entry.target = each.target;
    } else {
      entry.size = each.content.size();
    }
    EXPECT_OK(writer.entry(entry));
    if (entry.size > 0) EXPECT_OK(writer.data(each.content));
  }
  EXPECT_OK(writer.finish());
  return out.take();
}

inline std::string gzip(std::string const& bytes) {
  codec::StringSink out;
  codec::GzipSink sink(out, {});
  EXPECT_OK(sink.write(bytes));
  EXPECT_OK(sink.finish());
  return out.take();
}

inline std::string zstd(std::string const& bytes) {
  codec::StringSink out;
  codec::ZstdSink sink(out, {});
  EXPECT_OK(sink.write(bytes));
  EXPECT_OK(sink.finish());
  return out.take();
}

inline std::string config_of(std::vector<std::string> const& layer_tars, std::string const& label = "") {
  oci::ImageConfig config;
  config.platform = oci::host_platform();
  config.created = "2026-01-02T03:04:05Z";
  if (!label.empty()) config.config.labels["name"] = label;
  for (std::string const& tar : layer_tars) {
    config.diff_ids.push_back(digest_of(tar));
    config.history.push_back(
        {.created = config.created, .created_by = "RUN x", .author = "", .comment = "", .empty_layer = false});
  }
  return oci::to_json(config);
}

inline std::string blob_name(std::string const& bytes) { return "blobs/sha256/" + std::string(digest_of(bytes).hex()); }

inline std::string quoted_list(std::vector<std::string> const& words) {
  std::string text = "[";
  for (std::string const& word : words) text += (text.size() > 1 ? ",\"" : "\"") + word + "\"";
  return text + "]";
}

// One image of a manifest.json.
inline std::string manifest_item(std::string const& config, std::vector<std::string> const& tags,
                                 std::vector<std::string> const& layers) {
  return R"({"Config":")" + config + R"(","RepoTags":)" + quoted_list(tags) + R"(,"Layers":)" + quoted_list(layers) +
         "}";
}

inline oci::Descriptor descriptor_of(std::string_view type, std::string const& bytes) {
  return {.media_type = std::string(type), .digest = digest_of(bytes), .size = bytes.size()};
}

// A layout's parts for one image whose layers are gzipped.
struct LayoutImage {
  std::string config, manifest;
  std::vector<std::string> blobs;
};
inline LayoutImage layout_image(std::vector<std::string> const& layer_tars, std::string const& label = "") {
  LayoutImage image{.config = config_of(layer_tars, label), .manifest = {}, .blobs = {}};
  oci::Manifest manifest{.media_type = std::string(oci::kOciManifest),
                         .config = descriptor_of(oci::kOciConfig, image.config)};
  for (std::string const& tar : layer_tars) {
    image.blobs.push_back(gzip(tar));
    manifest.layers.push_back(descriptor_of(oci::kOciLayerGzip, image.blobs.back()));
  }
  image.manifest = oci::to_json(manifest);
  return image;
}

inline std::string index_of(LayoutImage const& image, std::string const& name) {
  return R"({"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[{"mediaType":")" +
         std::string(oci::kOciManifest) + R"(","digest":")" + digest_of(image.manifest).text() + R"(","size":)" +
         std::to_string(image.manifest.size()) + R"(,"annotations":{"io.containerd.image.name":")" + name + R"("}}]})";
}

inline std::vector<Entry> layout_parts(LayoutImage const& image, std::string const& name) {
  std::vector<Entry> parts;
  for (std::string const& blob : image.blobs) parts.push_back({blob_name(blob), blob, ""});
  parts.push_back({blob_name(image.config), image.config, ""});
  parts.push_back({blob_name(image.manifest), image.manifest, ""});
  parts.push_back({"index.json", index_of(image, name), ""});
  parts.push_back({"oci-layout", R"({"imageLayoutVersion":"1.0.0"})", ""});
  return parts;
}

// The simplest archive of one image: plain layers by number.
inline std::string docker_archive(std::vector<std::string> const& layer_tars, std::vector<std::string> const& tags,
                                  std::string const& label = "") {
  std::vector<Entry> parts;
  std::vector<std::string> names;
  for (std::size_t i = 0; i < layer_tars.size(); ++i) {
    names.push_back(std::to_string(i) + "/layer.tar");
    parts.push_back({names.back(), layer_tars[i], ""});
  }
  parts.push_back({"config.json", config_of(layer_tars, label), ""});
  parts.push_back({"manifest.json", "[" + manifest_item("config.json", tags, names) + "]", ""});
  return tar_of(parts);
}

class ImageTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "layers have files of any owner and trusted attributes: root is needed";
    reopen();
  }
  void reopen() {
    store_.reset();
    store_ = store::Store::open({.root = dir_ / "root", .now_ns = [this] { return now_; }}).value();
  }
  Context context(KeepBlobs keep = KeepBlobs::kYes) {
    return Context{
        .store = *store_, .works = works_, .limits = {}, .keep_blobs = keep, .now_ns = [this] { return now_; }};
  }
  store::Store& store() { return *store_; }

  Result<std::vector<LoadedImage>> load_bytes(std::string const& archive, LoadOptions const& options = {},
                                              KeepBlobs keep = KeepBlobs::kYes) {
    codec::MemorySource source(archive, 10'000);
    Context const with = context(keep);
    return load(with, source, options);
  }
  // An image of one layer with these names; its layer and config depend on `label`. Returns its id.
  oci::Digest add_image(std::string const& label, std::vector<std::string> const& tags,
                        std::vector<std::string> const& repo_digests = {}) {
    std::string const archive = docker_archive({tar_of({{label, label, ""}})}, tags, label);
    Result<std::vector<LoadedImage>> const loaded = load_bytes(archive);
    EXPECT_OK(loaded);
    oci::Digest const id = loaded->front().id;
    store::Batch batch;
    for (std::string const& name : repo_digests) batch.repo_digests.emplace_back(name, id);
    EXPECT_OK(store_->publish(batch));
    return id;
  }
  // Nothing unfinished is left.
  void expect_clean() {
    EXPECT_TRUE(store::testing::names_in(*store_, "tmp").empty());
    EXPECT_TRUE(store::testing::names_in(*store_, "ingest").empty());
    EXPECT_EQ(works_.size(), 0U);
  }
  std::string file(std::string const& layer_id, std::string const& path) {
    return sys::read_file(store_->layer_path(layer_id) + "/" + path, std::size_t{1} << 20).value();
  }

  sys::testing::TempDir dir_{store::testing::temp_parent()};
  std::int64_t now_ = 1'800'000'000'000'000'000;
  LayerWorks works_;
  std::unique_ptr<store::Store> store_;
};

inline std::string repo_digest(std::string const& name, char digit) {
  return name + "@sha256:" + std::string(64, digit);
}

}  // namespace davit::image::testing
