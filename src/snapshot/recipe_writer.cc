#include "snapshot/recipe_writer.h"

#include "snapshot/recipe_format.h"

namespace davit::snapshot {

namespace {
// Of the debian layer's recipe: see docs/disk/layer-recipe.md.
constexpr int kLevel = 3;
constexpr std::size_t kBufferSize = 128 << 10;
}  // namespace

RecipeWriter::RecipeWriter(codec::Sink& out) : zstd_(out, kLevel), records_(recipe::kMagic) {}

Result<void> RecipeWriter::raw(std::string_view bytes) {
  tar_size_ += bytes.size();
  raw_ += bytes;
  return raw_.size() < recipe::kMaxRaw ? Result<void>() : flush_raw();
}

Result<void> RecipeWriter::flush_raw() {
  if (raw_.empty()) return {};
  records_ += recipe::kRaw;
  recipe::append_number(records_, raw_.size());
  records_ += raw_;
  raw_.clear();
  return flush(kBufferSize);
}

Result<void> RecipeWriter::flush(std::size_t keep_below) {
  if (records_.size() < keep_below) return {};
  TRY(zstd_.write(records_));
  records_.clear();
  return {};
}

Result<void> RecipeWriter::file(std::string_view path, codec::TarEntry const& entry) {
  TRY(flush_raw());
  records_ += entry.is_sparse ? recipe::kExtents : recipe::kFile;
  recipe::append_number(records_, path.size());
  records_ += path;
  recipe::append_number(records_, entry.size);
  if (!entry.is_sparse) {
    tar_size_ += entry.size;
    return {};
  }
  recipe::append_number(records_, entry.sparse.size());
  for (codec::SparseExtent const& extent : entry.sparse) {
    recipe::append_number(records_, extent.offset);
    recipe::append_number(records_, extent.size);
    tar_size_ += extent.size;
  }
  return {};
}

Result<void> RecipeWriter::finish() {
  TRY(flush_raw());
  records_ += recipe::kEnd;
  recipe::append_number(records_, tar_size_);
  TRY(flush(0));
  return zstd_.finish();
}

}  // namespace davit::snapshot
