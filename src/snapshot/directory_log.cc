#include "snapshot/directory_log.h"

#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "snapshot/layer_tree.h"
#include "snapshot/metadata.h"
#include "sys/file.h"
#include "sys/raw_tree.h"

namespace davit::snapshot {

namespace raw = sys::raw;

namespace {

constexpr std::uint64_t kMaxFileSize = std::uint64_t{4} << 30;

template <typename T>
void append_value(std::string& out, T const& value) {
  char bytes[sizeof value];
  std::memcpy(bytes, &value, sizeof value);
  out.append(bytes, sizeof value);
}

// text has as many bytes.
template <typename T>
T take_value(std::string_view& text) {
  T value;
  std::memcpy(&value, text.data(), sizeof value);
  text.remove_prefix(sizeof value);
  return value;
}

std::string_view take(std::string_view& text, std::size_t size) {
  std::string_view const front = text.substr(0, size);
  text.remove_prefix(size);
  return front;
}

}  // namespace

Result<void> DirectoryLog::add(std::string_view path, codec::TarTime mtime, std::optional<std::uint32_t> mode,
                               Xattrs const& xattrs) {
  std::size_t xattrs_size = 0;
  for (auto const& [name, value] : xattrs) xattrs_size += 2 * sizeof(std::uint32_t) + name.size() + value.size();
  append_value(records_, Head{mtime.seconds, mtime.nanos, mode ? static_cast<std::int32_t>(*mode) : -1,
                              static_cast<std::uint32_t>(path.size()), static_cast<std::uint32_t>(xattrs_size)});
  records_ += path;
  for (auto const& [name, value] : xattrs) {
    append_value(records_, static_cast<std::uint32_t>(name.size()));
    append_value(records_, static_cast<std::uint32_t>(value.size()));
    records_ += name;
    records_ += value;
  }
  return records_.size() < in_memory_ ? Result<void>() : write_out();
}

Result<void> DirectoryLog::write_out() {
  if (!file_.valid()) file_ = TRY(sys::openat(layer_, ".", O_TMPFILE | O_RDWR, 0600));
  TRY_CTX(sys::write_all(file_.get(), records_), "list of directories");
  file_size_ += records_.size();
  if (file_size_ > kMaxFileSize) {
    return Error(Errc::kResourceExhausted, "names and attributes of directories are more than 4 GiB");
  }
  records_.clear();
  return {};
}

Result<void> DirectoryLog::finish(LayerTree& tree) const {
  constexpr std::size_t kPiece = std::size_t{1} << 20;
  std::string window;
  for (std::uint64_t offset = 0; offset < file_size_;) {
    std::size_t const kept = window.size();
    window.resize(kept + static_cast<std::size_t>(std::min<std::uint64_t>(kPiece, file_size_ - offset)));
    long const got = raw::pread(file_.get(), window.data() + kept, window.size() - kept, offset);
    if (got <= 0) return Error::from_errno(got < 0 ? static_cast<int>(-got) : EIO, "read the list of directories");
    window.resize(kept + static_cast<std::size_t>(got));
    offset += static_cast<std::uint64_t>(got);
    std::string_view left = window;
    TRY(finish_some(left, tree));
    window.erase(0, window.size() - left.size());
  }
  std::string_view rest = records_;
  return finish_some(rest, tree);
}

Result<void> DirectoryLog::finish_some(std::string_view& records, LayerTree& tree) const {
  while (records.size() >= sizeof(Head)) {
    std::string_view record = records;
    Head const head = take_value<Head>(record);
    if (record.size() < std::size_t{head.path_size} + head.xattrs_size) return {};
    std::string_view const path = take(record, head.path_size);
    std::string_view const xattrs = take(record, head.xattrs_size);
    TRY_CTX(finish_one(head, path, xattrs, tree), "'" + std::string(path) + "'");
    records = record;
  }
  return {};
}

Result<void> DirectoryLog::finish_one(Head const& head, std::string_view path, std::string_view xattrs,
                                      LayerTree& tree) const {
  std::size_t const slash = path.rfind('/');
  auto above = tree.directory(slash == std::string_view::npos ? "" : path.substr(0, slash), LayerTree::Missing::kFail);
  if (!above.ok()) {
    Errc const code = above.error().code();
    bool const replaced = some_gone_ && (code == Errc::kNotFound || code == Errc::kInvalidArgument);
    return replaced ? Result<void>() : Result<void>(std::move(above).take_error());
  }
  int const parent = above.value()->fd;
  std::string const leaf(path.substr(slash + 1));
  FileTimes const times({head.seconds, head.nanos});
  if (head.mode < 0 && xattrs.empty() && !some_gone_) {
    long const set = raw::utimensat(parent, leaf.c_str(), times.both, AT_SYMLINK_NOFOLLOW);
    return set < 0 ? Result<void>(Error::from_errno(static_cast<int>(-set), "utimensat")) : Result<void>();
  }
  long const opened = raw::openat(parent, leaf.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
  if (some_gone_ && (opened == -ENOENT || opened == -ENOTDIR || opened == -ELOOP)) return {};
  if (opened < 0) return Error::from_errno(static_cast<int>(-opened), "open");
  UniqueFd const directory(static_cast<int>(opened));
  if (head.mode >= 0) {
    long const changed = raw::fchmod(directory.get(), static_cast<mode_t>(head.mode));
    if (changed < 0) return Error::from_errno(static_cast<int>(-changed), "fchmod");
  }
  while (!xattrs.empty()) {
    auto const name_size = take_value<std::uint32_t>(xattrs), value_size = take_value<std::uint32_t>(xattrs);
    std::string const name(take(xattrs, name_size));
    TRY(set_xattr(-1, {}, directory.get(), name, take(xattrs, value_size)));
  }
  long const set = raw::utimensat(directory.get(), nullptr, times.both, 0);
  return set < 0 ? Result<void>(Error::from_errno(static_cast<int>(-set), "utimensat")) : Result<void>();
}

}  // namespace davit::snapshot
