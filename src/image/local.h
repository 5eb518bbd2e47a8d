// The life of images that are here: names, removal, listing, history, disk usage.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "image/find.h"
#include "oci/image_ref.h"
#include "store/store.h"

namespace davit::image {

// Gives the image that `source` names another name. kInvalidArgument for a target with a digest.
Result<void> tag(store::Store& store, std::string_view source, std::string_view target);

// Who uses an image, asked before it is removed.
enum class Use : std::uint8_t { kNone, kStopped, kRunning };
struct User {
  Use use = Use::kNone;
  std::string container;  // short id, for the error
};

struct RemoveOptions {
  bool force = false;
  // false: its layers stay until the next collect(). Not Docker's noprune, which is about parent images; there are
  // none.
  bool prune_layers = true;
  std::function<User(oci::Digest const&)> user;  // empty: nobody uses images
};

// As `docker rmi` prints it: "Untagged: x", "Deleted: sha256:...".
struct Removal {
  std::vector<std::string> untagged;
  std::vector<std::string> deleted;  // the image's id, then the diff-ids of layers that went with it
  std::uint64_t freed_bytes = 0;
};

// Docker's rules. By name: the name is taken away, with the last tag of a repository also its digests, with the last
// name the image; a container that uses it keeps the last name (kConflict) unless forced, and a running one the image
// even then. By id: all names go when there is at most one tag and all is of one repository, else kConflict unless
// forced; kConflict while a running container uses it, and a stopped one unless forced. A container keeps its layers by
// its lease, whatever happens to the image.
Result<Removal> remove(store::Store& store, std::string_view word, RemoveOptions const& options);

struct ListFilter {
  std::optional<bool> dangling;
  std::vector<std::string> references;                                     // patterns: "alpine", "al*:3.*"
  std::vector<std::pair<std::string, std::optional<std::string>>> labels;  // key, value; all must fit
  std::vector<std::pair<std::string, std::optional<std::string>>> not_labels;
  std::vector<std::string> before, since;  // images
  std::optional<std::int64_t> until_ns;    // created before this time
};
// "dangling=true", "label=k=v", "label!=k", "reference=..", "before=..", "since=..", "until=24h|RFC 3339|unix seconds".
// kInvalidArgument for others.
Result<ListFilter> parse_list_filters(std::vector<std::string> const& filters, std::int64_t now_ns);

// Newest first, as Docker lists them.
Result<std::vector<store::ImageEntry>> list(store::Store& store, ListFilter const& filter);

struct PruneOptions {
  bool all = false;   // also images with names that no container uses; dangling=false in the filter means the same
  ListFilter filter;  // labels, until
  std::function<User(oci::Digest const&)> user;
};
Result<Removal> prune(store::Store& store, PruneOptions const& options);

struct HistoryLine {
  std::string id;  // of the image for the newest line, "<missing>" below, as Docker shows it
  std::string created, created_by, comment;
  std::uint64_t size = 0;
  std::vector<std::string> tags;
};
Result<std::vector<HistoryLine>> history(store::Store& store, std::string_view word);  // newest first

struct ImageUsage {
  oci::Digest id;
  std::uint64_t size = 0, shared_size = 0, unique_size = 0;  // of the layers' files
};
struct DiskUsage {
  std::vector<ImageUsage> images;
  std::uint64_t layers_bytes = 0;       // blocks of all unpacked layers, each once
  std::uint64_t blobs_bytes = 0;        // blocks of all blobs
  std::uint64_t other_bytes = 0;        // blocks of the database and of partial downloads
  std::uint64_t reclaimable_bytes = 0;  // of images that `in_use` denies
};
Result<DiskUsage> disk_usage(store::Store& store, std::function<User(oci::Digest const&)> const& user);

// The directories that an overlay mount of an image needs as its lower layers, top first: each once (a layer that an
// image has twice counts where it is uppermost), and nothing below a layer whose own directory is opaque, a mark that
// overlayfs does not act on there.
Result<std::vector<std::string>> mount_layers(store::Store& store, store::ImageRecord const& image);

}  // namespace davit::image
