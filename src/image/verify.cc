#include "image/verify.h"

#include <fmt/format.h>

#include <algorithm>

#include "codec/hash.h"
#include "image/layer_content.h"

namespace davit::image {
namespace {

// What was removed while others were read is no damage.
Result<void> check_blob(store::Store& store, store::BlobRecord const& blob) {
  std::optional<store::Pin> const pin = TRY(store.pin_blob(blob.digest));
  if (!pin) return {};
  std::unique_ptr<codec::Source> const source = TRY(blob_source(store, blob.digest));
  codec::HashingSource hashed(*source);
  for (;;) {
    std::string_view const bytes = TRY(hashed.next());
    if (bytes.empty()) break;
  }
  if (hashed.size() != blob.size)
    return Error(Errc::kInternal, fmt::format("{} bytes long instead of {}", hashed.size(), blob.size));
  if (hashed.finish_hex() != blob.digest.hex()) return Error(Errc::kInternal, "its content has another digest");
  return {};
}

Result<void> check_layer(store::Store& store, store::LayerRecord const& layer) {
  auto const pinned = TRY(store.pin_layer(layer.id));
  if (!pinned) return {};
  // Without a recipe there is its blob, which is checked as such.
  if (!layer.has_recipe) return {};
  std::unique_ptr<codec::Source> const source = TRY(layer_tar(store, layer));
  for (;;) {
    std::string_view const bytes = TRY(source->next());
    if (bytes.empty()) return {};
  }
}

}  // namespace

Result<std::vector<Damage>> verify(store::Store& store, std::stop_token stop) {
  std::vector<store::ImageEntry> const images = TRY(store.list_images());
  std::vector<Damage> damages;
  auto const note = [&](std::string what, Result<void> checked, auto const& needs) {
    if (checked) return;
    Damage damage{.what = std::move(what), .reason = checked.error().to_string(), .images = {}};
    for (store::ImageEntry const& entry : images) {
      if (needs(entry.image)) damage.images.push_back(entry.image.id);
    }
    damages.push_back(std::move(damage));
  };
  std::vector<store::BlobRecord> const blobs = TRY(store.list_blobs());
  for (store::BlobRecord const& blob : blobs) {
    if (stop.stop_requested()) return Error(Errc::kCancelled, "cancelled");
    note(fmt::format("blob {}", blob.digest.text()), check_blob(store, blob), [&](store::ImageRecord const& image) {
      return std::find(image.blobs.begin(), image.blobs.end(), blob.digest) != image.blobs.end();
    });
  }
  std::vector<store::LayerRecord> const layers = TRY(store.list_layers());
  for (store::LayerRecord const& layer : layers) {
    if (stop.stop_requested()) return Error(Errc::kCancelled, "cancelled");
    note(fmt::format("layer {}", layer.id), check_layer(store, layer), [&](store::ImageRecord const& image) {
      return std::find(image.layers.begin(), image.layers.end(), layer.id) != image.layers.end();
    });
  }
  // Every image has all that its row names, and its blobs and layers exist as rows.
  for (store::ImageEntry const& entry : images) {
    for (std::string const& id : entry.image.layers) {
      bool const known = std::any_of(layers.begin(), layers.end(), [&](auto const& layer) { return layer.id == id; });
      if (!known)
        damages.push_back({.what = "layer " + id, .reason = "it is not in the store", .images = {entry.image.id}});
    }
    for (oci::Digest const& digest : entry.image.blobs) {
      bool const known =
          std::any_of(blobs.begin(), blobs.end(), [&](auto const& blob) { return blob.digest == digest; });
      if (!known)
        damages.push_back(
            {.what = "blob " + digest.text(), .reason = "it is not in the store", .images = {entry.image.id}});
    }
  }
  return damages;
}

}  // namespace davit::image
