#include "image/find.h"

#include <fmt/format.h>

#include "base/text.h"

namespace davit::image {
namespace {

constexpr std::size_t kMaxConfigBytes = std::size_t{8} << 20;

Error no_such_image(store::Store& store, std::string_view word) {
  // Docker's text, on which clients rely, names the tag that was looked for.
  Result<oci::ImageQuery> const query = oci::parse_image_query(word);
  std::string const shown =
      query && query->reference ? query->reference->with_default_tag().familiar() : std::string(word);
  std::string hint;
  if (Result<std::vector<store::ImageEntry>> const images = store.list_images()) {
    std::vector<std::string> known;
    for (store::ImageEntry const& entry : *images) {
      for (std::string const& tag : entry.tags) {
        if (Result<oci::ImageRef> const ref = oci::ImageRef::parse(tag)) known.push_back(ref->familiar());
      }
    }
    std::vector<std::string_view> const names(known.begin(), known.end());
    if (auto const near = nearest(shown, names)) hint = fmt::format(" (did you mean {}?)", *near);
  }
  return Error(Errc::kNotFound, fmt::format("No such image: {}{}", shown, hint));
}

Result<std::optional<Found>> entry_of(store::Store& store, std::optional<oci::Digest> const& id, std::string tag,
                                      std::string repo_digest) {
  if (!id) return std::optional<Found>();
  std::optional<store::ImageEntry> entry = TRY(store.find_image(*id));
  if (!entry) return std::optional<Found>();
  return std::optional(Found{std::move(*entry), std::move(tag), std::move(repo_digest)});
}

Result<std::optional<Found>> by_reference(store::Store& store, oci::ImageRef const& ref) {
  if (ref.digest()) {
    std::string name = fmt::format("{}@{}", ref.name(), ref.digest()->text());
    std::optional<oci::Digest> const id = TRY(store.image_by_repo_digest(name));
    return entry_of(store, id, "", std::move(name));
  }
  oci::ImageRef const tagged = ref.with_default_tag();
  std::string name = fmt::format("{}:{}", tagged.name(), tagged.tag());
  std::optional<oci::Digest> const id = TRY(store.image_by_tag(name));
  return entry_of(store, id, std::move(name), "");
}

Result<std::optional<Found>> by_id(store::Store& store, std::string_view prefix, std::string_view word) {
  std::vector<oci::Digest> const ids = TRY(store.images_by_prefix(prefix));
  if (ids.size() > 1) {
    return Error(Errc::kInvalidArgument, fmt::format("the id '{}' fits {}{} images: give more digits", word, ids.size(),
                                                     ids.size() == 16 ? " or more" : ""));
  }
  if (ids.empty()) return std::optional<Found>();
  return entry_of(store, ids[0], "", "");
}

}  // namespace

Result<Found> find(store::Store& store, std::string_view word) {
  oci::ImageQuery const query = TRY(oci::parse_image_query(word));
  if (query.reference) {
    std::optional<Found> found = TRY(by_reference(store, *query.reference));
    if (found) return std::move(*found);
  }
  if (!query.id_prefix.empty()) {
    std::optional<Found> found = TRY(by_id(store, query.id_prefix, word));
    if (found) return std::move(*found);
  }
  return no_such_image(store, word);
}

Result<StoredConfig> read_config(store::Store& store, oci::Digest const& id) {
  std::string bytes = TRY_CTX(store.read_blob(id, kMaxConfigBytes), fmt::format("read the config of {}", id.text()));
  oci::ImageConfig config = TRY_CTX(oci::parse_image_config(bytes), fmt::format("read the config of {}", id.text()));
  return StoredConfig{std::move(bytes), std::move(config)};
}

}  // namespace davit::image
