#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>

#include "base/unique_fd.h"
#include "snapshot/diff.h"
#include "snapshot/overlay_marks.h"
#include "sys/file.h"
#include "sys/raw_tree.h"
#include "sys/tree.h"

namespace davit::snapshot {

namespace raw = sys::raw;

namespace {

// The directories of the layers below that overlay merges at one path, top first.
using Lowers = std::vector<UniqueFd>;

// What the layers below show of a name.
struct Below {
  bool there = false;
  struct stat info {};
  Lowers directories;  // when it is one
};

Below look_below(Lowers const& parents, std::string const& name) {
  Below below;
  for (UniqueFd const& parent : parents) {
    struct stat info {};
    if (raw::fstatat(parent.get(), name.c_str(), &info, AT_SYMLINK_NOFOLLOW) < 0) continue;
    if (!S_ISDIR(info.st_mode)) {  // hides what lies deeper
      if (!below.there && !is_whiteout(info)) below = {true, info, {}};
      break;
    }
    if (!below.there) below = {true, info, {}};
    long const fd = raw::openat(parent.get(), name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
    if (fd < 0) break;
    below.directories.emplace_back(static_cast<int>(fd));
    if (is_opaque(below.directories.back().get(), "")) break;
  }
  return below;
}

// Docker's rule: a directory's time is not looked at, nor what only a copy of a file to the upper directory changes.
bool differs(struct stat const& now, struct stat const& before) {
  if (now.st_mode != before.st_mode || now.st_uid != before.st_uid || now.st_gid != before.st_gid ||
      now.st_rdev != before.st_rdev) {
    return true;
  }
  return !S_ISDIR(now.st_mode) && (now.st_size != before.st_size || now.st_mtim.tv_sec != before.st_mtim.tv_sec ||
                                   now.st_mtim.tv_nsec != before.st_mtim.tv_nsec);
}

class Comparison {
 public:
  // replaced: upper stands in place of lowers and does not merge with them.
  Result<void> directory(int upper, Lowers const& lowers, std::string const& path, bool replaced) {
    if (replaced) TRY(deleted(upper, lowers, path));
    auto const entries = TRY(sys::read_directory(upper));
    for (sys::DirectoryEntry const& entry : entries) {
      TRY(child(upper, lowers, entry.name, path + "/" + entry.name, replaced));
    }
    return {};
  }

  // Of a directory that replaced one of the layers below: what was in that and is not in it.
  Result<void> deleted(int upper, Lowers const& lowers, std::string const& path) {
    std::vector<std::string> names;
    for (UniqueFd const& lower : lowers) {
      auto const entries = TRY(sys::read_directory(lower.get()));
      for (sys::DirectoryEntry const& entry : entries) names.push_back(entry.name);
    }
    std::ranges::sort(names);
    names.erase(std::unique(names.begin(), names.end()), names.end());
    for (std::string const& name : names) {
      struct stat info {};
      bool const still = raw::fstatat(upper, name.c_str(), &info, AT_SYMLINK_NOFOLLOW) == 0;
      if (!still && look_below(lowers, name).there) changes.push_back({'D', path + "/" + name});
    }
    return {};
  }

  std::vector<Change> changes;

 private:
  Result<void> child(int upper, Lowers const& lowers, std::string const& name, std::string const& path, bool replaced) {
    struct stat info {};
    long const found = raw::fstatat(upper, name.c_str(), &info, AT_SYMLINK_NOFOLLOW);
    if (found == -ENOENT) return {};  // removed meanwhile
    if (found < 0) return Error::from_errno(static_cast<int>(-found), "stat '" + path + "'");
    Below const below = look_below(lowers, name);
    if (is_whiteout(info)) {
      if (below.there) changes.push_back({'D', path});
      return {};
    }
    std::size_t const before = changes.size();
    if (S_ISDIR(info.st_mode)) {
      UniqueFd const inner = TRY(sys::openat(upper, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
      TRY(directory(inner.get(), below.directories, path, replaced || is_opaque(inner.get(), "")));
    }
    // A directory in which something changed has changed.
    bool const changed = changes.size() > before || (below.there && differs(info, below.info));
    if (!below.there) {
      changes.push_back({'A', path});
    } else if (changed) {
      changes.push_back({'C', path});
    }
    return {};
  }
};

}  // namespace

Result<std::vector<Change>> changes(int upper, std::vector<int> const& lower) {
  Lowers lowers;
  for (int const layer : lower) {
    UniqueFd fd = TRY(sys::openat(layer, ".", O_RDONLY | O_DIRECTORY));
    lowers.push_back(std::move(fd));
  }
  UniqueFd const readable = TRY(sys::openat(upper, ".", O_RDONLY | O_DIRECTORY));
  Comparison comparison;
  TRY(comparison.directory(readable.get(), lowers, "", false));
  std::ranges::sort(comparison.changes, {}, &Change::path);
  return std::move(comparison.changes);
}

}  // namespace davit::snapshot
