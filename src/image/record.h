// From an image's config and layers to its row.
#pragma once

#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "oci/image_spec.h"
#include "store/records.h"

namespace davit::image {

// bytes: of the config, whose digest `id` is. layers: bottom first. blobs: all that must be kept for it.
store::ImageRecord make_record(oci::Digest id, oci::ImageConfig const& config,
                               std::vector<store::LayerRecord> const& layers, std::vector<oci::Digest> blobs,
                               std::int64_t now_ns);

}  // namespace davit::image
