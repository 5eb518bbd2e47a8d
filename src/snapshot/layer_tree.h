// LayerTree: descriptors of the directories of a layer that is being unpacked, found by path without ever leaving it.
// Links are followed here, component by component with O_NOFOLLOW, never by the kernel: whoever swaps a directory for a
// link meanwhile changes where inside the layer something lands, not more. One thread.
#pragma once

#include <cstdint>
#include <functional>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"

namespace davit::snapshot {

class LayerTree {
 public:
  // layer: a directory; borrowed.
  explicit LayerTree(int layer) : root_{UniqueFd(), layer, "", 0} {}

  struct Directory {
    UniqueFd owned;
    int fd;            // O_PATH
    std::string path;  // its real one, without links
    std::uint64_t used;
  };

  // path: clean (entry_name.h); links in it are resolved inside the layer. What is missing on the way is made, or is
  // kNotFound; something else than a directory in the way is kInvalidArgument, unless it is a whiteout and things may
  // be made: then an opaque directory takes its place. The answer lives until the next but one call.
  enum class Missing : std::uint8_t { kMake, kFail };
  Result<Directory const*> directory(std::string_view path, Missing missing);

  // To be called when a directory or a link was removed: takes effect at the next call, answers given stay alive till
  // then.
  void forget() { stale_ = true; }

  // Those that were made here because something in them came first; real paths, sorted.
  std::set<std::string, std::less<>>& implied() { return implied_; }

 private:
  struct Hash {
    using is_transparent = void;
    std::size_t operator()(std::string_view text) const { return std::hash<std::string_view>()(text); }
  };

  class Walk;
  Result<void> note_implied(std::string path);
  Directory const* remember(std::string_view path, Directory directory);

  Directory root_;
  std::unordered_map<std::string, Directory, Hash, std::equal_to<>> cache_;  // by the path that was asked for
  Directory const* last_ = nullptr;
  std::string last_path_;
  std::uint64_t clock_ = 0;
  bool stale_ = false;
  std::set<std::string, std::less<>> implied_;
  std::size_t implied_bytes_ = 0;  // of all that were ever added
};

}  // namespace davit::snapshot
