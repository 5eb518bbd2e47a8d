// Internal to oci: readers that the manifest's and the image config's parsers share. Each answers kInvalidArgument
// naming the field.
#pragma once

#include "codec/json.h"  // rule: json because only the .cc files that parse include this header
#include "oci/digest.h"
#include "oci/platform.h"

namespace davit::oci {

// kInvalidArgument when absent.
Result<Digest> read_digest(json::Field const& field);
// Members "os", "architecture", "variant", "os.version", "os.features" of an object; absent ones stay empty.
Result<void> read_platform(json::Field const& object, Platform& out);

}  // namespace davit::oci
