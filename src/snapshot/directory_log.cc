#include "snapshot/directory_log.h"

#include <fcntl.h>

#include <cstring>

#include "base/unique_fd.h"
#include "snapshot/layer_tree.h"
#include "snapshot/metadata.h"
#include "sys/raw_tree.h"

namespace davit::snapshot {

namespace raw = sys::raw;

char const* DirectoryLog::keep(std::string_view path) {
  if (path.size() > left_in_chunk_) {
    chunks_.push_back(std::make_unique_for_overwrite<char[]>(kChunkSize));
    left_in_chunk_ = kChunkSize;
  }
  char* const place = chunks_.back().get() + (kChunkSize - left_in_chunk_);
  std::memcpy(place, path.data(), path.size());
  left_in_chunk_ -= path.size();
  return place;
}

void DirectoryLog::add(std::string_view path, codec::TarTime mtime, std::optional<std::uint32_t> mode,
                       Xattrs const& xattrs) {
  DAVIT_CHECK(path.size() <= kChunkSize);
  if (!xattrs.empty()) xattrs_.push_back(xattrs);
  records_.push_back({keep(path), static_cast<std::uint32_t>(path.size()), mode ? static_cast<std::int32_t>(*mode) : -1,
                      mtime.seconds, mtime.nanos, xattrs.empty() ? 0 : static_cast<std::uint32_t>(xattrs_.size())});
}

Result<void> DirectoryLog::finish(LayerTree& tree) const {
  for (Record const& record : records_) {
    TRY_CTX(finish_one(record, tree), "'" + std::string(record.path, record.length) + "'");
  }
  return {};
}

Result<void> DirectoryLog::finish_one(Record const& record, LayerTree& tree) const {
  std::string_view const path(record.path, record.length);
  std::size_t const slash = path.rfind('/');
  auto above = tree.directory(slash == std::string_view::npos ? "" : path.substr(0, slash), LayerTree::Missing::kFail);
  if (!above.ok()) {
    Errc const code = above.error().code();
    bool const replaced = some_gone_ && (code == Errc::kNotFound || code == Errc::kInvalidArgument);
    return replaced ? Result<void>() : Result<void>(std::move(above).take_error());
  }
  int const parent = above.value()->fd;
  std::string const leaf(path.substr(slash + 1));
  FileTimes const times({record.seconds, record.nanos});
  if (record.mode < 0 && record.xattrs == 0 && !some_gone_) {
    long const set = raw::utimensat(parent, leaf.c_str(), times.both, AT_SYMLINK_NOFOLLOW);
    return set < 0 ? Result<void>(Error::from_errno(static_cast<int>(-set), "utimensat")) : Result<void>();
  }
  long const opened = raw::openat(parent, leaf.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
  if (some_gone_ && (opened == -ENOENT || opened == -ENOTDIR || opened == -ELOOP)) return {};
  if (opened < 0) return Error::from_errno(static_cast<int>(-opened), "open");
  UniqueFd const directory(static_cast<int>(opened));
  if (record.mode >= 0) {
    long const changed = raw::fchmod(directory.get(), static_cast<mode_t>(record.mode));
    if (changed < 0) return Error::from_errno(static_cast<int>(-changed), "fchmod");
  }
  if (record.xattrs != 0) {
    for (auto const& [name, value] : xattrs_[record.xattrs - 1]) TRY(set_xattr(-1, {}, directory.get(), name, value));
  }
  long const set = raw::utimensat(directory.get(), nullptr, times.both, 0);
  return set < 0 ? Result<void>(Error::from_errno(static_cast<int>(-set), "utimensat")) : Result<void>();
}

}  // namespace davit::snapshot
