// verify: reads everything that images are made of and compares it with its digests.
#pragma once

#include <stop_token>
#include <string>
#include <vector>

#include "base/result.h"
#include "store/store.h"

namespace davit::image {

struct Damage {
  std::string what;  // "blob sha256:...", "layer <id>"
  std::string reason;
  std::vector<oci::Digest> images;  // that need it
};

// Blobs by their hash, layers by writing their tar again and hashing it (which covers every file's content and every
// header, not the owner, mode and times of the unpacked files). Empty: all is well.
Result<std::vector<Damage>> verify(store::Store& store, std::stop_token stop);

}  // namespace davit::image
