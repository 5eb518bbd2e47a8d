#include "snapshot/layer_writer.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <utility>

#include "base/unique_fd.h"
#include "snapshot/metadata.h"
#include "snapshot/overlay_marks.h"
#include "sys/file.h"
#include "sys/raw_tree.h"
#include "sys/tree.h"

namespace davit::snapshot {

namespace raw = sys::raw;
using codec::TarEntry;
using codec::TarType;

namespace {

constexpr std::uint32_t kSetIds = 06000;

Result<void> done(long result, std::string_view call) {
  if (result >= 0) return {};
  // A size that no file can have is a limit, as a full disk is.
  if (result == -EFBIG) return Error(Errc::kResourceExhausted, std::string(call) + ": file too large", EFBIG);
  return Error::from_errno(static_cast<int>(-result), call);
}

Result<void> write_at(int fd, std::string_view bytes, std::uint64_t offset) {
  while (!bytes.empty()) {
    long const written = raw::pwrite(fd, bytes.data(), bytes.size(), offset);
    TRY(done(written, "write"));
    bytes.remove_prefix(static_cast<std::size_t>(written));
    offset += static_cast<std::uint64_t>(written);
  }
  return {};
}

Result<void> look(std::stop_token const& stop) {
  if (stop.stop_requested()) return Error(Errc::kCancelled, "cancelled");
  return {};
}

}  // namespace

LayerWriter::LayerWriter(int layer, std::stop_token stop)
    : stop_(std::move(stop)), tree_(layer), log_(layer), own_uid_(::geteuid()), own_gid_(::getegid()) {}

Result<void> LayerWriter::go_to(EntryName const& name) {
  LayerTree::Directory const* const directory = TRY(tree_.directory(name.parent, LayerTree::Missing::kMake));
  parent_ = directory->fd;
  leaf_ = name.leaf;
  path_ = directory->path;
  if (!path_.empty()) path_ += '/';
  path_ += leaf_;
  return {};
}

Result<bool> LayerWriter::clear() {
  struct stat info {};
  long const found = raw::fstatat(parent_, leaf_.c_str(), &info, AT_SYMLINK_NOFOLLOW);
  if (found == -ENOENT) return false;
  TRY(done(found, "stat"));
  TRY(sys::remove_at(parent_, leaf_));
  if (S_ISDIR(info.st_mode) || S_ISLNK(info.st_mode)) {
    tree_.forget();
    log_.some_gone();
    auto& implied = tree_.implied();
    implied.erase(path_);
    implied.erase(implied.lower_bound(path_ + "/"), implied.lower_bound(path_ + "0"));  // '0' follows '/'
  }
  bool const whiteout = is_whiteout(info);
  if (!whiteout) replaced_something_ = true;
  return whiteout;
}

template <typename Call>
Result<long> LayerWriter::make_anew(Call const& make) {
  long const result = make();
  if (result != -EEXIST) return result;
  TRY(clear());
  return make();
}

Result<void> LayerWriter::put(TarEntry const& entry, EntryName const& name, codec::TarReader& data) {
  TRY(go_to(name));
  switch (entry.type) {
    case TarType::kFile:
      return make_file(entry, data);
    case TarType::kDirectory:
      return make_directory(entry);
    case TarType::kSymlink:
      return make_symlink(entry);
    case TarType::kHardLink:
      return make_hard_link(entry);
    case TarType::kCharDevice:
      return make_node(entry, S_IFCHR);
    case TarType::kBlockDevice:
      return make_node(entry, S_IFBLK);
    case TarType::kFifo:
      return make_node(entry, S_IFIFO);
  }
  return Error(Errc::kInternal, "unknown kind of entry");
}

// Four calls for most files: open, write, utimensat, close.
Result<void> LayerWriter::make_file(TarEntry const& entry, codec::TarReader& data) {
  long const opened = TRY(make_anew([&] {
    return raw::openat(parent_, leaf_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW,
                       static_cast<mode_t>(entry.mode));
  }));
  TRY(done(opened, "create"));
  UniqueFd const file(static_cast<int>(opened));
  if (entry.is_sparse) {
    TRY(write_sparse(file.get(), entry, data));
  } else {
    for (;;) {
      std::string_view const piece = TRY(data.data());
      if (piece.empty()) break;
      TRY(sys::write_all(file.get(), piece));
      TRY(look(stop_));
    }
  }
  if (must_chown(entry)) {
    TRY(done(raw::fchown(file.get(), entry.uid, entry.gid), "chown"));
    // chown(2) clears them, for root too.
    if ((entry.mode & kSetIds) != 0) TRY(done(raw::fchmod(file.get(), static_cast<mode_t>(entry.mode)), "chmod"));
  }
  // After write and chown, which both remove security.capability.
  for (auto const& [name, value] : entry.xattrs) TRY(set_xattr(-1, {}, file.get(), name, value));
  return done(raw::utimensat(file.get(), nullptr, FileTimes(entry.mtime).both, 0), "utimensat");
}

Result<void> LayerWriter::write_sparse(int fd, TarEntry const& entry, codec::TarReader& data) const {
  TRY(done(raw::ftruncate(fd, entry.size), "truncate"));
  std::string_view piece;
  for (codec::SparseExtent const& extent : entry.sparse) {
    std::uint64_t offset = extent.offset;
    std::uint64_t left = extent.size;
    while (left != 0) {
      if (piece.empty()) piece = TRY(data.data());
      if (piece.empty()) return Error(Errc::kInvalidArgument, "the sparse file's data end too early");
      std::string_view const now =
          piece.substr(0, static_cast<std::size_t>(std::min<std::uint64_t>(left, piece.size())));
      TRY(write_at(fd, now, offset));
      piece.remove_prefix(now.size());
      offset += now.size();
      left -= now.size();
      TRY(look(stop_));
    }
  }
  return {};
}

// Set-group-id and default ACLs would go on into what is made in it: such bits, all attributes and the time come at the
// end.
Result<void> LayerWriter::make_directory(TarEntry const& entry) {
  auto const plain_mode = static_cast<mode_t>(entry.mode & ~kSetIds);
  long made = raw::mkdirat(parent_, leaf_.c_str(), plain_mode);
  if (made == -EEXIST) {
    struct stat info {};
    TRY(done(raw::fstatat(parent_, leaf_.c_str(), &info, AT_SYMLINK_NOFOLLOW), "stat"));
    if (S_ISDIR(info.st_mode)) return change_directory(entry);
    bool const was_hidden = TRY(clear());
    made = raw::mkdirat(parent_, leaf_.c_str(), plain_mode);
    TRY(done(made, "mkdir"));
    // "What was below is gone, and this is new": overlay says it so.
    if (was_hidden) TRY(make_opaque(parent_, leaf_));
  }
  TRY(done(made, "mkdir"));
  if (must_chown(entry)) {
    TRY(done(raw::fchownat(parent_, leaf_.c_str(), entry.uid, entry.gid, AT_SYMLINK_NOFOLLOW), "chown"));
  }
  std::optional<std::uint32_t> mode;
  if ((entry.mode & kSetIds) != 0) mode = entry.mode;
  return log_.add(path_, entry.mtime, mode, entry.xattrs);
}

Result<void> LayerWriter::change_directory(TarEntry const& entry) {
  tree_.implied().erase(path_);
  long const opened = raw::openat(parent_, leaf_.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
  TRY(done(opened, "open"));
  UniqueFd const directory(static_cast<int>(opened));
  TRY(done(raw::fchown(directory.get(), entry.uid, entry.gid), "chown"));
  TRY(done(raw::fchmod(directory.get(), static_cast<mode_t>(entry.mode & ~kSetIds)), "chmod"));
  return log_.add(path_, entry.mtime, entry.mode, entry.xattrs);
}

Result<void> LayerWriter::make_symlink(TarEntry const& entry) {
  long const made = TRY(make_anew([&] { return raw::symlinkat(entry.target.c_str(), parent_, leaf_.c_str()); }));
  TRY(done(made, "symlink to '" + entry.target + "'"));
  return finish_node(entry);
}

Result<void> LayerWriter::make_node(TarEntry const& entry, mode_t type) {
  if (entry.device_major > 0xfff || entry.device_minor > 0xfffff) {
    return Error(Errc::kInvalidArgument, "no device has the number " + std::to_string(entry.device_major) + ":" +
                                             std::to_string(entry.device_minor));
  }
  std::uint32_t const device = encode_device(entry.device_major, entry.device_minor);
  long const made = TRY(make_anew([&] { return raw::mknodat(parent_, leaf_.c_str(), type | entry.mode, device); }));
  TRY(done(made, "mknod"));
  return finish_node(entry);
}

Result<void> LayerWriter::finish_node(TarEntry const& entry) {
  if (must_chown(entry)) {
    TRY(done(raw::fchownat(parent_, leaf_.c_str(), entry.uid, entry.gid, AT_SYMLINK_NOFOLLOW), "chown"));
  }
  for (auto const& [name, value] : entry.xattrs) {
    // Only files and directories can have user attributes (xattr(7)), yet some tars have them on links.
    if (name.starts_with("user.")) continue;
    TRY(set_xattr(parent_, leaf_, -1, name, value));
  }
  return done(raw::utimensat(parent_, leaf_.c_str(), FileTimes(entry.mtime).both, AT_SYMLINK_NOFOLLOW), "utimensat");
}

Result<void> LayerWriter::make_hard_link(TarEntry const& entry) {
  TRY_CTX(parse_link_target(entry.target, target_), "hard link to '" + entry.target + "'");
  if (target_.kind == NameKind::kRoot) return Error(Errc::kInvalidArgument, "a hard link to the layer itself");
  auto target = tree_.directory(target_.parent, LayerTree::Missing::kFail);
  // An error of another kind than "not there" says what is wrong with the path.
  if (!target.ok() && target.error().code() != Errc::kNotFound) return std::move(target).take_error();
  std::string const name(target_.leaf);
  struct stat info {};
  long const found = target.ok() ? raw::fstatat(target.value()->fd, name.c_str(), &info, AT_SYMLINK_NOFOLLOW) : -ENOENT;
  if (found == -ENOENT) {
    return Error(Errc::kInvalidArgument, "a hard link to '" + entry.target + "', which is not in this layer");
  }
  TRY(done(found, "stat '" + entry.target + "'"));
  if (S_ISDIR(info.st_mode))
    return Error(Errc::kInvalidArgument, "a hard link to the directory '" + entry.target + "'");
  int const target_parent = target.value()->fd;
  long made = raw::linkat(target_parent, name.c_str(), parent_, leaf_.c_str(), 0);
  if (made == -EEXIST) {
    struct stat own {};
    TRY(done(raw::fstatat(parent_, leaf_.c_str(), &own, AT_SYMLINK_NOFOLLOW), "stat"));
    if (own.st_ino == info.st_ino && own.st_dev == info.st_dev) return {};  // to itself: nothing may be lost
    TRY(clear());
    made = raw::linkat(target_parent, name.c_str(), parent_, leaf_.c_str(), 0);
  }
  return done(made, "link to '" + entry.target + "'");
}

Result<void> LayerWriter::hide(EntryName const& name) {
  TRY(go_to(name));
  long const made = TRY(make_anew([&] { return raw::mknodat(parent_, leaf_.c_str(), S_IFCHR, 0); }));
  return done(made, "make whiteout");
}

Result<void> LayerWriter::hide_below(EntryName const& name) {
  LayerTree::Directory const* const directory = TRY(tree_.directory(name.parent, LayerTree::Missing::kMake));
  return make_opaque(directory->fd, "");
}

Result<void> LayerWriter::finish() {
  for (std::string const& path : tree_.implied()) TRY(log_.add(path, {}, std::nullopt, {}));
  return log_.finish(tree_);
}

}  // namespace davit::snapshot
