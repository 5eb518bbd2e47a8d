// fetch_layer: one layer from a registry, through the partial download that an earlier attempt left, into a staged
// layer.
#pragma once

#include <stop_token>

#include "base/result.h"
#include "image/context.h"
#include "image/reporter.h"
#include "registry/client.h"

namespace davit::image {

struct LayerToFetch {
  oci::Descriptor descriptor;
  oci::Digest diff_id;
  std::string shown_id() const { return std::string(descriptor.digest.short_hex()); }
};

// Blocking; any worker thread.
Result<MadeLayer> fetch_layer(Context const& context, registry::Client& client, registry::Repository const& repository,
                              LayerToFetch const& layer, Reporter& reporter, std::stop_token stop);

}  // namespace davit::image
