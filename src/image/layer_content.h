// A layer's bytes again: its blob as it came, or its tar written anew from the unpacked files.
#pragma once

#include <memory>
#include <optional>

#include "base/result.h"
#include "codec/stream.h"
#include "store/store.h"

namespace davit::image {

// The uncompressed tar of a layer in the store, record.tar_bytes long. Owns what it reads from. The end of the stream
// is an error (kInternal) when the hash is not the diff-id: the files were changed or damaged.
Result<std::unique_ptr<codec::Source>> layer_tar(store::Store& store, store::LayerRecord const& record);

// A blob's bytes from `offset` on. Owns its descriptor.
Result<std::unique_ptr<codec::Source>> blob_source(store::Store& store, oci::Digest const& digest,
                                                   std::uint64_t offset = 0);

// The kept blob of a layer, if there is one.
Result<std::optional<store::LayerForm>> kept_form(store::Store& store, oci::Digest const& diff_id);

}  // namespace davit::image
