// resolve: what a reference names at a registry, down to one platform's manifest and its config.
#pragma once

#include <optional>
#include <stop_token>
#include <string>

#include "base/result.h"
#include "image/context.h"
#include "oci/image_ref.h"
#include "oci/image_spec.h"
#include "registry/client.h"

namespace davit::image {

struct Document {
  oci::Digest digest;
  std::string bytes, media_type;
};

struct ResolvedImage {
  std::optional<Document> index;  // when the reference named one
  Document manifest_document;
  oci::Manifest manifest;
  std::string config_bytes;
  oci::ImageConfig config;
  oci::Digest const& top() const { return index ? index->digest : manifest_document.digest; }
};

// kInvalidArgument for artifacts and damaged documents, kNotFound without a fitting platform.
Result<ResolvedImage> resolve(Context const& context, registry::Client& client, oci::ImageRef const& ref,
                              oci::Platform const& wanted, std::stop_token stop);

}  // namespace davit::image
