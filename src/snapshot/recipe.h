// Recipe: what is needed, beside an unpacked layer's files, to write its tar again byte for byte, so that the tar
// itself need not be kept: the raw headers and padding in order, and for each file where its data lie in the layer's
// directory (docs/disk/layer-recipe.md). zstd inside.
#pragma once

#include <memory>
#include <string>

#include "base/result.h"
#include "codec/stream.h"

namespace davit::snapshot {

// The tar stream of a layer. directory and recipe are borrowed. kInvalidArgument when the recipe does not fit the
// directory (a file is missing or has another size). The caller checks the stream's hash against the diff-id: only that
// proves that the files were not changed.
std::unique_ptr<codec::Source> rebuild_tar(int directory, codec::Source& recipe);

}  // namespace davit::snapshot
