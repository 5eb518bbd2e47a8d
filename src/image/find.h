// find: the image that a user means by a word: a name, a name with digest, or the start of an id.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "oci/image_ref.h"
#include "oci/image_spec.h"
#include "store/store.h"

namespace davit::image {

struct Found {
  store::ImageEntry entry;
  // How it was named: the full tag or "name@digest" row that matched, "" when by id.
  std::string tag, repo_digest;
};

// kNotFound "No such image: X" (with a near name where there is one), kInvalidArgument (not a name; an id prefix that
// fits several images).
Result<Found> find(store::Store& store, std::string_view word);

// The parsed config of an image in the store, and its bytes.
struct StoredConfig {
  std::string bytes;
  oci::ImageConfig config;
};
Result<StoredConfig> read_config(store::Store& store, oci::Digest const& id);

}  // namespace davit::image
