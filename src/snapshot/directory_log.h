// DirectoryLog: what directories get when everything is in them: their times, which every new file changes, and what
// would change new files (set-group-id, default ACLs). Small per directory, as a layer may have very many. One thread.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "codec/tar.h"

namespace davit::snapshot {

class LayerTree;

class DirectoryLog {
 public:
  using Xattrs = std::map<std::string, std::string>;

  // path: real (layer_tree.h). mode: to be set at the end, nullopt: right already.
  void add(std::string_view path, codec::TarTime mtime, std::optional<std::uint32_t> mode, Xattrs const& xattrs);
  // In the order of adding, so of two entries of one directory the later one holds. A directory that is gone since, or
  // is something else now, is passed over.
  Result<void> finish(LayerTree& tree) const;
  // A directory or link of the layer was removed: records may speak of what is not there any more.
  void some_gone() { some_gone_ = true; }

 private:
  struct Record {
    char const* path;
    std::uint32_t length;
    std::int32_t mode;  // -1: none
    std::int64_t seconds;
    std::uint32_t nanos;
    std::uint32_t xattrs;  // index in xattrs_ + 1; 0: none
  };
  static constexpr std::size_t kChunkSize = 64 << 10;

  Result<void> finish_one(Record const& record, LayerTree& tree) const;
  char const* keep(std::string_view path);

  std::deque<Record> records_;
  std::deque<std::unique_ptr<char[]>> chunks_;
  std::size_t left_in_chunk_ = 0;
  std::deque<Xattrs> xattrs_;
  bool some_gone_ = false;
};

}  // namespace davit::snapshot
