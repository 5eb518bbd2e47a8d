// tag, inspect and list with 1,000 images in a store: the calls that the engine's API makes, without a process around
// them.
//   ninja store_speed && bin/store_speed DIR     DIR: an empty or missing folder on the disk that is to be measured
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <functional>
#include <vector>

#include "codec/hash.h"
#include "image/find.h"
#include "image/local.h"
#include "image/record.h"
#include "oci/image_spec.h"
#include "store/store.h"

namespace {

using namespace davit;

constexpr int kImages = 1000;
constexpr int kLayers = 7;
constexpr int kRounds = 50;

std::shared_ptr<store::StagedLayer> make_layer(store::Store& store, int number) {
  auto staged = store.stage_layer();
  DAVIT_CHECK(staged.ok());
  oci::Digest const diff_id = oci::Digest::sha256(codec::sha256_hex(fmt::format("layer {}", number)));
  (*staged)->record = store::LayerRecord{.id = store::layer_id(diff_id),
                                         .diff_id = diff_id,
                                         .tar_bytes = 10240,
                                         .file_bytes = 4096,
                                         .disk_bytes = 8192,
                                         .has_recipe = false};
  return *staged;
}

void fill(store::Store& store) {
  for (int i = 0; i < kImages; i += 100) {
    store::Batch batch;
    for (int j = i; j < i + 100; ++j) {
      oci::ImageConfig config;
      config.platform = oci::host_platform();
      config.config.labels = {{"org.example.number", fmt::format("{}", j)}, {"org.example.team", "bench"}};
      std::vector<store::LayerRecord> layers;
      for (int k = 0; k < kLayers; ++k) {
        auto layer = make_layer(store, j * kLayers + k);
        config.diff_ids.push_back(layer->record.diff_id);
        layers.push_back(layer->record);
        batch.layers.push_back(std::move(layer));
      }
      auto blob = store.ingest_bytes(oci::to_json(config));
      DAVIT_CHECK(blob.ok());
      batch.images.push_back(image::make_record(blob->first, config, layers, {blob->first}, j));
      batch.tags.emplace_back(fmt::format("docker.io/library/bench:{}", j), blob->first);
      batch.blobs.push_back(std::move(*blob));
    }
    Result<void> const published = store.publish(batch);
    if (!published) fmt::print(stderr, "{}\n", published.error().to_string());
    DAVIT_CHECK(published.ok());
  }
}

void measure(char const* what, std::function<void()> const& call) {
  std::vector<double> times;
  for (int i = 0; i < kRounds; ++i) {
    auto const start = std::chrono::steady_clock::now();
    call();
    times.push_back(std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count());
  }
  std::sort(times.begin(), times.end());
  fmt::print("{:<10} median {:6.2f} ms   [{:.2f} .. {:.2f}]\n", what, times[kRounds / 2], times.front(), times.back());
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    fmt::print(stderr, "usage: store_speed DIR\n");
    return 2;
  }
  auto opened = store::Store::open({.root = argv[1], .now_ns = {}});
  if (!opened) {
    fmt::print(stderr, "{}\n", opened.error().to_string());
    return 1;
  }
  store::Store& store = **opened;
  fill(store);
  int next = 0;
  fmt::print("{} images of {} layers\n", kImages, kLayers);
  measure("list", [&] { DAVIT_CHECK(image::list(store, {}).ok()); });
  measure("inspect", [&] {
    auto const found = image::find(store, "bench:500");
    DAVIT_CHECK(found.ok() && image::read_config(store, found->entry.image.id).ok());
  });
  measure("tag", [&] { DAVIT_CHECK(image::tag(store, "bench:500", fmt::format("other:{}", next++)).ok()); });
  return 0;
}
