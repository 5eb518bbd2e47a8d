// DirectoryLog: what directories get when everything is in them: their times, which every new file changes, and what
// would change new files (set-group-id, default ACLs). Small per directory, as a layer may have very many. One thread.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "base/unique_fd.h"
#include "codec/tar.h"

namespace davit::snapshot {

class LayerTree;

class DirectoryLog {
 public:
  using Xattrs = std::map<std::string, std::string>;

  // layer: where the records go when they are more than `in_memory` bytes, as a file without a name: a hostile tar has
  // millions of directories with long names or large attributes. Borrowed.
  explicit DirectoryLog(int layer, std::size_t in_memory = std::size_t{8} << 20)
      : layer_(layer), in_memory_(in_memory) {}

  // path: real (layer_tree.h). mode: to be set at the end, nullopt: right already.
  Result<void> add(std::string_view path, codec::TarTime mtime, std::optional<std::uint32_t> mode,
                   Xattrs const& xattrs);
  // In the order of adding, so of two entries of one directory the later one holds. A directory that is gone since, or
  // is something else now, is passed over.
  Result<void> finish(LayerTree& tree) const;
  // A directory or link of the layer was removed: records may speak of what is not there any more.
  void some_gone() { some_gone_ = true; }

 private:
  // Before the path and then the attributes, each as two lengths, name and value.
  struct Head {
    std::int64_t seconds;
    std::uint32_t nanos;
    std::int32_t mode;  // -1: none
    std::uint32_t path_size, xattrs_size;
  };

  Result<void> write_out();
  // Does the records that are whole and takes them off the front.
  Result<void> finish_some(std::string_view& records, LayerTree& tree) const;
  Result<void> finish_one(Head const& head, std::string_view path, std::string_view xattrs, LayerTree& tree) const;

  int layer_;
  std::size_t in_memory_;
  std::string records_;  // behind those in the file
  UniqueFd file_;
  std::uint64_t file_size_ = 0;
  bool some_gone_ = false;
};

}  // namespace davit::snapshot
