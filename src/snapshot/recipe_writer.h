// RecipeWriter: notes while a tar is read what rebuild_tar (recipe.h) needs to write it again. One thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "codec/compression.h"
#include "codec/stream.h"
#include "codec/tar.h"

namespace davit::snapshot {

class RecipeWriter {
 public:
  // out gets the recipe's final, compressed bytes; borrowed.
  explicit RecipeWriter(codec::Sink& out);

  // In the order of the tar: bytes that are kept as they are, and the data of files at `path` (no links in it).
  Result<void> raw(std::string_view bytes);
  Result<void> file(std::string_view path, codec::TarEntry const& entry);
  // Must be called.
  Result<void> finish();

 private:
  Result<void> flush_raw();
  Result<void> flush(std::size_t keep_below);

  codec::ZstdSink zstd_;
  std::string raw_;      // not yet a record
  std::string records_;  // not yet given to zstd
  std::uint64_t tar_size_ = 0;
};

}  // namespace davit::snapshot
