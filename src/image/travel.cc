#include "image/travel.h"

#include <fmt/format.h>

#include <algorithm>

#include "image/find.h"

namespace davit::image {
namespace {

constexpr std::size_t kMaxManifestBytes = std::size_t{8} << 20;

Error removed_meanwhile(oci::Digest const& id) {
  return Error(Errc::kConflict, fmt::format("image {} was removed meanwhile", id.text()));
}

// preferred: the form in which the image's manifest names the layer, when it has one; the image then keeps its digest.
Result<TravelLayer> open_layer(store::Store& store, oci::Digest const& image, std::string const& id,
                               oci::Digest const* preferred) {
  auto found = TRY(store.pin_layer(id));
  if (!found) return removed_meanwhile(image);
  TravelLayer layer{.record = std::move(found->first), .kept = std::nullopt, .known = std::nullopt, .pins = {}};
  layer.pins.push_back(std::move(found->second));
  std::vector<store::LayerForm> forms = TRY(store.layer_forms(layer.record.diff_id));
  std::stable_partition(forms.begin(), forms.end(),
                        [&](store::LayerForm const& form) { return preferred != nullptr && form.blob == *preferred; });
  for (store::LayerForm const& form : forms) {
    std::optional<store::Pin> pin = TRY(store.pin_blob(form.blob));
    if (pin && !layer.kept) {
      layer.kept = form;
      layer.pins.push_back(std::move(*pin));
    } else if (!layer.known) {
      layer.known = form;
    }
  }
  return layer;
}

// The manifest it came with, if it is here and is one.
Result<void> add_manifest(store::Store& store, TravelImage& image) {
  if (!image.entry.image.manifest) return {};
  std::optional<store::Pin> pin = TRY(store.pin_blob(*image.entry.image.manifest));
  if (!pin) return {};
  image.pins.push_back(std::move(*pin));
  std::string bytes = TRY(store.read_blob(*image.entry.image.manifest, kMaxManifestBytes));
  oci::ParsedManifest parsed = TRY(oci::parse_manifest(bytes, ""));
  auto* const manifest = std::get_if<oci::Manifest>(&parsed.content);
  if (manifest == nullptr || manifest->layers.size() != image.entry.image.layers.size()) return {};
  image.manifest = std::move(*manifest);
  image.manifest_bytes = std::move(bytes);
  return {};
}

}  // namespace

Result<TravelImage> open_travel(store::Store& store, oci::Digest const& id) {
  std::optional<store::ImageEntry> entry = TRY(store.find_image(id));
  if (!entry) return Error(Errc::kNotFound, fmt::format("No such image: {}", id.text()));
  std::optional<store::Pin> config = TRY(store.pin_blob(id));
  if (!config) return removed_meanwhile(id);
  StoredConfig stored = TRY(read_config(store, id));
  TravelImage image{.entry = std::move(*entry),
                    .config_bytes = std::move(stored.bytes),
                    .layers = {},
                    .manifest_bytes = {},
                    .manifest = {},
                    .pins = {}};
  image.pins.push_back(std::move(*config));
  TRY(add_manifest(store, image));
  for (std::size_t i = 0; i < image.entry.image.layers.size(); ++i) {
    oci::Digest const* const preferred = image.manifest ? &image.manifest->layers[i].digest : nullptr;
    TravelLayer layer = TRY(open_layer(store, id, image.entry.image.layers[i], preferred));
    image.layers.push_back(std::move(layer));
  }
  return image;
}

oci::Descriptor make_descriptor(std::string_view media_type, oci::Digest digest, std::uint64_t size) {
  return oci::Descriptor{.media_type = std::string(media_type),
                         .digest = std::move(digest),
                         .size = size,
                         .urls = {},
                         .annotations = {},
                         .artifact_type = {},
                         .data = {},
                         .platform = std::nullopt};
}

oci::Manifest make_manifest(TravelImage const& image, std::vector<oci::Descriptor> layers,
                            std::string_view manifest_type) {
  bool const docker = manifest_type == oci::kDockerManifest;
  return oci::Manifest{.media_type = std::string(manifest_type),
                       .artifact_type = {},
                       .config = make_descriptor(docker ? oci::kDockerConfig : oci::kOciConfig, image.entry.image.id,
                                                 image.config_bytes.size()),
                       .layers = std::move(layers),
                       .subject = std::nullopt,
                       .annotations = {}};
}

}  // namespace davit::image
