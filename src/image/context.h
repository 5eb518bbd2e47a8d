// What every operation on images needs. The references outlive the operations.
#pragma once

#include <cstdint>
#include <functional>
#include <stop_token>
#include <vector>

#include "base/result.h"
#include "codec/compression.h"
#include "codec/tar.h"
#include "image/events.h"
#include "image/layer_works.h"
#include "oci/platform.h"
#include "store/store.h"

namespace davit::image {

struct Limits {
  codec::TarLimits tar;
  codec::DecompressLimits decompress;
  std::uint64_t max_layer_bytes = std::uint64_t{1} << 42;
  std::size_t max_config_bytes = std::size_t{8} << 20;
};

// Whether the blobs in which layers came are kept beside the unpacked layers (docs/adr/0006-one-copy.md).
enum class KeepBlobs : std::uint8_t { kYes, kNo };

struct Context {
  store::Store& store;
  LayerWorks& works;  // one per store, shared by all operations
  oci::Platform host = oci::host_platform();
  Limits limits;
  KeepBlobs keep_blobs = KeepBlobs::kYes;
  unsigned parallel_layers = 3;          // downloads or uploads at once
  std::function<std::int64_t()> now_ns;  // since 1970
};

}  // namespace davit::image
