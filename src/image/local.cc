#include "image/local.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>

#include "snapshot/apply.h"
#include "sys/durable.h"
#include "sys/file.h"

namespace davit::image {
namespace {

constexpr std::uint64_t kBlock = 4096;

std::string familiar(std::string const& full_name) {
  Result<oci::ImageRef> const ref = oci::ImageRef::parse(full_name);
  return ref ? ref->familiar() : full_name;
}

// "docker.io/library/nginx:latest" and "...@sha256:..." to "docker.io/library/nginx"
std::string repository_of(std::string const& name) {
  std::string_view text = name;
  if (auto const at = text.find('@'); at != std::string_view::npos) return std::string(text.substr(0, at));
  return std::string(text.substr(0, text.rfind(':')));
}

// At most one tag, and all digests of its repository: what goes at once when the image is removed by its id.
bool is_single_reference(store::ImageEntry const& entry) {
  if (entry.tags.size() + entry.repo_digests.size() <= 1) return true;
  if (entry.tags.size() > 1 || entry.repo_digests.empty()) return false;
  std::string const repository = repository_of(entry.tags.empty() ? entry.repo_digests[0] : entry.tags[0]);
  return std::all_of(entry.repo_digests.begin(), entry.repo_digests.end(),
                     [&](std::string const& digest) { return repository_of(digest) == repository; });
}

User user_of(std::function<User(oci::Digest const&)> const& ask, oci::Digest const& id) {
  return ask ? ask(id) : User{};
}

// Before an image is removed by its id.
Result<void> check_removable(store::ImageEntry const& entry, RemoveOptions const& options) {
  User const user = user_of(options.user, entry.image.id);
  auto const conflict = [&](std::string_view force, std::string const& why) {
    return Error(Errc::kConflict, fmt::format("conflict: unable to delete {} ({}) - image is {}",
                                              entry.image.id.short_hex(), force, why));
  };
  if (user.use == Use::kRunning)
    return conflict("cannot be forced", "being used by running container " + user.container);
  if (options.force) return {};
  if (!is_single_reference(entry)) return conflict("must be forced", "referenced in multiple repositories");
  if (user.use == Use::kStopped) return conflict("must be forced", "being used by stopped container " + user.container);
  return {};
}

class Remover {
 public:
  Remover(store::Store& store, RemoveOptions const& options) : store_(store), options_(options) {}

  Result<void> take_tag(std::string const& tag) {
    bool const removed = TRY(store_.remove_tag(tag));
    if (removed) removal_.untagged.push_back(familiar(tag));
    return {};
  }
  Result<void> take_digest(std::string const& name) {
    bool const removed = TRY(store_.remove_repo_digest(name));
    if (removed) removal_.untagged.push_back(familiar(name));
    return {};
  }
  // The image with all of its names.
  Result<void> take_image(store::ImageEntry const& entry) {
    for (std::string const& tag : entry.tags) removal_.untagged.push_back(familiar(tag));
    for (std::string const& digest : entry.repo_digests) removal_.untagged.push_back(familiar(digest));
    bool const removed = TRY(store_.remove_image(entry.image.id));
    if (removed) removal_.deleted.push_back(entry.image.id.text());
    return {};
  }
  Result<Removal> finish() {
    if (!removal_.deleted.empty() && options_.prune_layers) {
      store::Collected const collected = TRY(store_.collect());
      for (oci::Digest const& layer : collected.layers) removal_.deleted.push_back(layer.text());
      removal_.freed_bytes = collected.freed_bytes;
    }
    return std::move(removal_);
  }

 private:
  store::Store& store_;
  RemoveOptions const& options_;
  Removal removal_;
};

// The names that go with `found`'s: with the last tag of a repository, its digests.
std::vector<std::string> digests_with(Found const& found) {
  std::vector<std::string> gone;
  std::string const repository = repository_of(found.tag);
  for (std::string const& tag : found.entry.tags) {
    if (tag != found.tag && repository_of(tag) == repository) return gone;
  }
  for (std::string const& digest : found.entry.repo_digests) {
    if (repository_of(digest) == repository) gone.push_back(digest);
  }
  return gone;
}

Result<void> remove_name(Remover& remover, Found const& found, RemoveOptions const& options) {
  store::ImageEntry const& entry = found.entry;
  User const user = user_of(options.user, entry.image.id);
  std::string const& name = found.tag.empty() ? found.repo_digest : found.tag;
  if (!options.force && user.use != Use::kNone && is_single_reference(entry)) {
    return Error(Errc::kConflict,
                 fmt::format("conflict: unable to remove repository reference \"{}\" (must force) - container {} is "
                             "using its referenced image {}",
                             familiar(name), user.container, entry.image.id.short_hex()));
  }
  std::vector<std::string> digests = {found.repo_digest};
  if (!found.tag.empty()) digests = digests_with(found);
  std::size_t const going = digests.size() + (found.tag.empty() ? 0 : 1);
  bool const last = going == entry.tags.size() + entry.repo_digests.size();
  // An image that runs stays, without a name.
  if (last && user.use != Use::kRunning) return remover.take_image(entry);
  if (!found.tag.empty()) TRY(remover.take_tag(found.tag));
  for (std::string const& digest : digests) TRY(remover.take_digest(digest));
  return {};
}

Result<void> remove_by_id(Remover& remover, store::ImageEntry const& entry, RemoveOptions const& options) {
  TRY(check_removable(entry, options));
  return remover.take_image(entry);
}

}  // namespace

Result<void> tag(store::Store& store, std::string_view source, std::string_view target) {
  oci::ImageRef const parsed = TRY(oci::ImageRef::parse(target));
  if (parsed.digest()) return Error(Errc::kInvalidArgument, "refusing to create a tag with a digest reference");
  oci::ImageRef const name = parsed.with_default_tag();
  Found const found = TRY(find(store, source));
  return store.set_tag(fmt::format("{}:{}", name.name(), name.tag()), found.entry.image.id);
}

Result<Removal> remove(store::Store& store, std::string_view word, RemoveOptions const& options) {
  Found const found = TRY(find(store, word));
  Remover remover(store, options);
  if (found.tag.empty() && found.repo_digest.empty()) {
    TRY(remove_by_id(remover, found.entry, options));
  } else {
    TRY(remove_name(remover, found, options));
  }
  return remover.finish();
}

Result<Removal> prune(store::Store& store, PruneOptions const& options) {
  ListFilter filter = options.filter;
  bool const all = options.all || filter.dangling == false;
  filter.dangling = all ? std::nullopt : std::optional(true);
  std::vector<store::ImageEntry> const images = TRY(list(store, filter));
  RemoveOptions const remove_options{.force = false, .prune_layers = true, .user = options.user};
  Remover remover(store, remove_options);
  for (store::ImageEntry const& entry : images) {
    if (user_of(options.user, entry.image.id).use != Use::kNone) continue;
    TRY(remover.take_image(entry));
  }
  return remover.finish();
}

Result<std::vector<HistoryLine>> history(store::Store& store, std::string_view word) {
  Found const found = TRY(find(store, word));
  StoredConfig const stored = TRY(read_config(store, found.entry.image.id));
  std::vector<HistoryLine> lines;
  std::size_t layer = 0;
  std::vector<oci::HistoryEntry> entries = stored.config.history;
  // Without a history there is still one line for each layer.
  if (entries.empty()) entries.resize(found.entry.image.layers.size());
  for (oci::HistoryEntry const& entry : entries) {
    HistoryLine line{.id = "<missing>",
                     .created = entry.created,
                     .created_by = entry.created_by,
                     .comment = entry.comment,
                     .size = 0,
                     .tags = {}};
    if (!entry.empty_layer && layer < found.entry.image.layers.size()) {
      std::optional<store::LayerRecord> const record = TRY(store.find_layer(found.entry.image.layers[layer++]));
      if (record) line.size = record->file_bytes;
    }
    lines.push_back(std::move(line));
  }
  std::reverse(lines.begin(), lines.end());
  if (!lines.empty()) {
    lines.front().id = found.entry.image.id.text();
    for (std::string const& each : found.entry.tags) lines.front().tags.push_back(familiar(each));
  }
  return lines;
}

namespace {

// The database with its log and reserve, and what was downloaded in part.
Result<std::uint64_t> other_bytes(store::Store& store) {
  std::uint64_t total = 0;
  for (char const* const name : {"state.db", "state.db-wal", "state.db-shm", "reserve"}) {
    std::optional<sys::EntryInfo> const info = TRY(sys::entry_info(store.root(), name));
    if (info) total += info->disk_bytes;
  }
  UniqueFd const ingest = TRY(sys::openat(store.root(), "ingest", O_RDONLY | O_DIRECTORY));
  snapshot::Usage const usage = TRY(snapshot::disk_usage(ingest.get()));
  return total + usage.disk_bytes;
}

}  // namespace

Result<DiskUsage> disk_usage(store::Store& store, std::function<User(oci::Digest const&)> const& user) {
  DiskUsage usage;
  usage.other_bytes = TRY(other_bytes(store));
  std::vector<store::ImageEntry> const images = TRY(store.list_images());
  std::vector<store::LayerRecord> const layers = TRY(store.list_layers());
  std::vector<store::BlobRecord> const blobs = TRY(store.list_blobs());
  std::map<std::string, std::uint64_t> file_bytes, disk_bytes;
  for (store::LayerRecord const& layer : layers) {
    usage.layers_bytes += layer.disk_bytes;
    file_bytes[layer.id] = layer.file_bytes;
    disk_bytes[layer.id] = layer.disk_bytes;
  }
  for (store::BlobRecord const& blob : blobs) {
    std::uint64_t const taken = (blob.size + kBlock - 1) / kBlock * kBlock;
    usage.blobs_bytes += taken;
    disk_bytes[blob.digest.text()] = taken;
  }
  std::map<std::string, int> image_count, used;
  for (store::ImageEntry const& entry : images) {
    bool const in_use = user_of(user, entry.image.id).use != Use::kNone;
    std::set<std::string> const parts(entry.image.layers.begin(), entry.image.layers.end());
    for (std::string const& part : parts) ++image_count[part];
    if (!in_use) continue;
    for (std::string const& part : entry.image.layers) ++used[part];
    for (oci::Digest const& blob : entry.image.blobs) ++used[blob.text()];
  }
  for (auto const& [part, bytes] : disk_bytes) {
    if (!used.contains(part)) usage.reclaimable_bytes += bytes;
  }
  for (store::ImageEntry const& entry : images) {
    ImageUsage each{.id = entry.image.id, .size = entry.image.size};
    for (std::string const& layer : entry.image.layers) {
      (image_count[layer] > 1 ? each.shared_size : each.unique_size) += file_bytes[layer];
    }
    usage.images.push_back(std::move(each));
  }
  return usage;
}

}  // namespace davit::image
