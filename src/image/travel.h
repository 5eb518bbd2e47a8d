// travel: how an image leaves the store: which blobs it is made of outside, and its manifest.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "image/context.h"
#include "oci/image_spec.h"
#include "store/store.h"

namespace davit::image {

// One layer of an image, pinned.
struct TravelLayer {
  store::LayerRecord record;
  std::optional<store::LayerForm> kept;   // its blob is here
  std::optional<store::LayerForm> known;  // a form it once had here or at a registry; the blob is not here
  std::vector<store::Pin> pins;
};

struct TravelImage {
  store::ImageEntry entry;
  std::string config_bytes;
  std::vector<TravelLayer> layers;            // bottom first
  std::optional<std::string> manifest_bytes;  // the manifest it came with
  std::optional<oci::Manifest> manifest;
  std::vector<store::Pin> pins;
};

// kNotFound as image::find; kConflict when it is removed meanwhile.
Result<TravelImage> open_travel(store::Store& store, oci::Digest const& id);

// A manifest for layers given as descriptors; config_type decides between Docker's and OCI's media types.
oci::Manifest make_manifest(TravelImage const& image, std::vector<oci::Descriptor> layers,
                            std::string_view manifest_type);
oci::Descriptor make_descriptor(std::string_view media_type, oci::Digest digest, std::uint64_t size);

}  // namespace davit::image
