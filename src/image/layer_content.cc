#include "image/layer_content.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include "codec/hash.h"
#include "loop/fd_stream.h"
#include "snapshot/recipe.h"

namespace davit::image {
namespace {

class LayerTar : public codec::Source {
 public:
  LayerTar(store::LayerRecord record, UniqueFd fs, UniqueFd recipe)
      : record_(std::move(record)),
        fs_(std::move(fs)),
        recipe_(std::move(recipe)),
        recipe_source_(recipe_.get()),
        tar_(snapshot::rebuild_tar(fs_.get(), recipe_source_)),
        hashed_(*tar_) {}

  Result<std::string_view> next() override {
    if (ended_) return std::string_view();
    Result<std::string_view> bytes = hashed_.next();
    if (!bytes) {
      // A file that is gone or of another size. Whoever asked for the layer gave no wrong argument.
      Errc const code = bytes.error().code();
      if (code != Errc::kInvalidArgument && code != Errc::kNotFound)
        return std::move(bytes).take_error().with_context(fmt::format("read layer {}", record_.diff_id.text()));
      return damaged(bytes.error().to_string());
    }
    if (!bytes->empty()) return bytes;
    ended_ = true;
    if (hashed_.size() != record_.tar_bytes || hashed_.finish_hex() != record_.diff_id.hex())
      return damaged("its files do not give its digest any more");
    return bytes;
  }

 private:
  Error damaged(std::string_view why) const {
    return Error(Errc::kInternal,
                 fmt::format("layer {} in {} was changed or damaged: {}; remove the images that have it "
                             "and pull or load them again",
                             record_.diff_id.text(), record_.id, why));
  }

  store::LayerRecord record_;
  UniqueFd fs_, recipe_;
  loop::FdSource recipe_source_;
  std::unique_ptr<codec::Source> tar_;
  codec::HashingSource hashed_;
  bool ended_ = false;
};

class BlobFile : public codec::Source {
 public:
  explicit BlobFile(UniqueFd file) : file_(std::move(file)), source_(file_.get()) {}
  Result<std::string_view> next() override { return source_.next(); }

 private:
  UniqueFd file_;
  loop::FdSource source_;
};

}  // namespace

Result<std::unique_ptr<codec::Source>> layer_tar(store::Store& store, store::LayerRecord const& record) {
  if (!record.has_recipe) {
    return Error(Errc::kUnimplemented,
                 fmt::format("layer {} came as a plain tar that had a file twice, of which only the second is here: it "
                             "cannot be written again; use the archive that it came from",
                             record.diff_id.text()));
  }
  UniqueFd fs = TRY(store.open_layer(record.id));
  UniqueFd recipe = TRY(store.open_layer_recipe(record.id));
  return std::unique_ptr<codec::Source>(std::make_unique<LayerTar>(record, std::move(fs), std::move(recipe)));
}

Result<std::unique_ptr<codec::Source>> blob_source(store::Store& store, oci::Digest const& digest,
                                                   std::uint64_t offset) {
  UniqueFd file = TRY(store.open_blob(digest));
  if (::lseek(file.get(), static_cast<off_t>(offset), SEEK_SET) < 0) return Error::from_errno(errno, "seek in a blob");
  return std::unique_ptr<codec::Source>(std::make_unique<BlobFile>(std::move(file)));
}

Result<std::optional<store::LayerForm>> kept_form(store::Store& store, oci::Digest const& diff_id) {
  std::vector<store::LayerForm> const forms = TRY(store.layer_forms(diff_id));
  for (store::LayerForm const& form : forms) {
    bool const kept = TRY(store.has_blob(form.blob));
    if (kept) return std::optional(form);
  }
  return std::optional<store::LayerForm>();
}

}  // namespace davit::image
