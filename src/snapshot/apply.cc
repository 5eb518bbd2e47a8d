#include "snapshot/apply.h"

#include <optional>

#include "snapshot/entry_name.h"
#include "snapshot/layer_writer.h"
#include "snapshot/overlay_marks.h"
#include "snapshot/recipe_writer.h"
#include "sys/raw_tree.h"
#include "sys/tree.h"

namespace davit::snapshot {

using codec::TarEntry;
using codec::TarType;

namespace {

class Applier {
 public:
  Applier(codec::Source& tar, int layer, ApplyOptions const& options)
      : reader_(tar, options.limits), layer_(layer), options_(options), writer_(layer, options.stop) {
    if (options.recipe == nullptr) return;
    recipe_.emplace(*options.recipe);
    reader_.on_raw([this](std::string_view bytes) { return recipe_->raw(bytes); });
  }

  Result<Applied> run();

 private:
  Result<void> place();
  Result<void> place_entry();

  codec::TarReader reader_;
  int layer_;
  ApplyOptions const& options_;
  LayerWriter writer_;
  std::optional<RecipeWriter> recipe_;
  Applied applied_;
  TarEntry entry_;
  EntryName name_;
};

Result<Applied> Applier::run() {
  // The directory may have a set-group-id bit from the one it was made in, which would go on into all that is made
  // here.
  long const prepared = sys::raw::fchmod(layer_, 0755);
  if (prepared < 0) return Error::from_errno(static_cast<int>(-prepared), "chmod of the layer's directory");
  TRY(sys::own_umask_zero());
  for (;;) {
    if (options_.stop.stop_requested()) return Error(Errc::kCancelled, "cancelled");
    bool const more = TRY(reader_.next(entry_));
    if (!more) break;
    ++applied_.entries;
    TRY_CTX(place(), "'" + entry_.name + "'");
  }
  TRY(writer_.finish());
  if (recipe_) TRY(recipe_->finish());
  applied_.recipe_complete = !writer_.replaced_something();
  auto& implied = writer_.implied();
  while (!implied.empty()) applied_.implied_directories.push_back(std::move(implied.extract(implied.begin()).value()));
  return std::move(applied_);
}

Result<void> Applier::place() {
  TRY(parse_entry_name(entry_.name, name_));
  if (name_.kind == NameKind::kEntry) return place_entry();
  if (name_.kind == NameKind::kRoot) {
    if (entry_.type == TarType::kDirectory) return {};
    return Error(Errc::kInvalidArgument, "the layer itself can only be a directory");
  }
  if (options_.whiteouts == Whiteouts::kRefuse) {
    return Error(Errc::kInvalidArgument, "a whiteout, but there is no layer below");
  }
  if (name_.kind == NameKind::kWhiteout) return writer_.hide(name_);
  if (name_.kind != NameKind::kOpaque) return {};
  if (name_.parent.empty()) applied_.root_is_opaque = true;
  return writer_.hide_below(name_);
}

Result<void> Applier::place_entry() {
  if (!entry_.xattrs.empty()) {
    applied_.dropped_xattrs +=
        std::erase_if(entry_.xattrs, [](auto const& item) { return is_overlay_xattr(item.first); });
  }
  // Both below 2^63.
  if (applied_.file_bytes + entry_.size > options_.max_bytes) {
    return Error(Errc::kResourceExhausted, "more than " + std::to_string(options_.max_bytes) + " bytes of files");
  }
  applied_.file_bytes += entry_.size;
  TRY(writer_.put(entry_, name_, reader_));
  if (recipe_ && entry_.type == TarType::kFile && entry_.size != 0) return recipe_->file(writer_.path(), entry_);
  return {};
}

}  // namespace

Result<Applied> apply(codec::Source& tar, int directory, ApplyOptions const& options) {
  return Applier(tar, directory, options).run();
}

}  // namespace davit::snapshot
