#include "snapshot/diff.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <algorithm>
#include <unordered_map>

#include "base/unique_fd.h"
#include "snapshot/entry_name.h"
#include "snapshot/overlay_marks.h"
#include "sys/file.h"
#include "sys/raw_tree.h"
#include "sys/tree.h"

namespace davit::snapshot {

namespace raw = sys::raw;
using codec::TarEntry;
using codec::TarType;

namespace {

constexpr std::size_t kBufferSize = 256 << 10;

bool later(codec::TarTime a, codec::TarTime b) {
  return a.seconds != b.seconds ? a.seconds > b.seconds : a.nanos > b.nanos;
}

class TreeWriter {
 public:
  enum class Marks : std::uint8_t { kToTar, kNone };
  TreeWriter(codec::Sink& out, DiffOptions const& options, Marks marks)
      : tar_(out), options_(options), marks_(marks), buffer_(kBufferSize, '\0') {}

  Result<void> write(int root) {
    UniqueFd const readable = TRY(sys::openat(root, ".", O_RDONLY | O_DIRECTORY));
    TRY(directory(readable.get()));
    return tar_.finish();
  }

 private:
  struct Name {
    std::string in_tar;  // ".wh.x" for a whiteout of x
    std::string on_disk;
    bool whiteout;
  };

  Result<std::vector<Name>> names(int dir, bool xattr_whiteouts) const;
  Result<void> directory(int dir);
  Result<void> child(int dir, Name const& name);
  Result<void> subdirectory(int dir, Name const& name);
  Result<void> file(int dir, Name const& name, struct stat const& info);
  Result<void> data(int fd, std::uint64_t size);
  Result<void> whiteout(std::string_view leaf);
  Result<void> set_xattrs(sys::Xattrs xattrs);
  void describe(struct stat const& info);
  // Whether the file has been written under another name: entry_ is a hard link to it then.
  bool is_again(struct stat const& info);

  codec::TarWriter tar_;
  DiffOptions const& options_;
  Marks marks_;
  std::string buffer_;
  std::string path_;  // of the directory at hand, with a slash at its end; "" at the top
  std::unordered_map<ino_t, std::string> first_names_;
  TarEntry entry_;
};

// What has a mark of overlay is recognised here, so that the order is that of the names in the tar.
Result<std::vector<TreeWriter::Name>> TreeWriter::names(int dir, bool xattr_whiteouts) const {
  auto entries = TRY(sys::read_directory(dir));
  std::vector<Name> found;
  found.reserve(entries.size());
  for (sys::DirectoryEntry& entry : entries) {
    bool hidden = false;
    if (marks_ == Marks::kToTar) {
      if (entry.type == DT_CHR || entry.type == DT_UNKNOWN) hidden = is_whiteout(dir, entry.name.c_str());
      if (xattr_whiteouts && entry.type == DT_REG) {
        hidden = raw::lgetxattr(sys::proc_path(dir, entry.name).c_str(), kWhiteoutXattr, nullptr, 0) >= 0;
      }
      if (entry.name.starts_with(kWhiteoutPrefix)) {
        return Error(Errc::kInvalidArgument, "'" + path_ + entry.name + "' would be a whiteout in a layer");
      }
    }
    std::string in_tar = hidden ? std::string(kWhiteoutPrefix) + entry.name : entry.name;
    found.push_back({std::move(in_tar), std::move(entry.name), hidden});
  }
  std::ranges::sort(found, {}, &Name::in_tar);
  return found;
}

Result<void> TreeWriter::directory(int dir) {
  bool xattr_whiteouts = false;
  if (marks_ == Marks::kToTar) {
    std::string const self = sys::proc_path(dir, ".");
    char mark = 0;
    bool const marked = raw::lgetxattr(self.c_str(), kOpaqueXattr, &mark, 1) == 1;
    if (marked && mark == 'y') TRY(whiteout(kOpaqueName));
    xattr_whiteouts = marked && mark == 'x';
  }
  auto const children = TRY_CTX(names(dir, xattr_whiteouts), "'" + path_ + "'");
  for (Name const& name : children) {
    if (options_.stop.stop_requested()) return Error(Errc::kCancelled, "cancelled");
    if (name.whiteout) {
      TRY(whiteout(name.in_tar));
    } else {
      TRY(child(dir, name));
    }
  }
  return {};
}

Result<void> TreeWriter::whiteout(std::string_view leaf) {
  entry_ = {};
  entry_.name = path_ + std::string(leaf);
  return tar_.entry(entry_);
}

void TreeWriter::describe(struct stat const& info) {
  entry_.mode = info.st_mode & 07777;
  entry_.uid = info.st_uid;
  entry_.gid = info.st_gid;
  entry_.mtime = {info.st_mtim.tv_sec, static_cast<std::uint32_t>(info.st_mtim.tv_nsec)};
  if (options_.clamp_mtime && later(entry_.mtime, *options_.clamp_mtime)) entry_.mtime = *options_.clamp_mtime;
}

bool TreeWriter::is_again(struct stat const& info) {
  if (info.st_nlink < 2) return false;
  auto const [first, added] = first_names_.emplace(info.st_ino, entry_.name);
  if (added) return false;
  entry_.type = TarType::kHardLink;
  entry_.target = first->second;
  return true;
}

Result<void> TreeWriter::set_xattrs(sys::Xattrs xattrs) {
  if (marks_ == Marks::kToTar && (xattrs.contains(kRedirectXattr) || xattrs.contains(kMetacopyXattr))) {
    return Error(Errc::kConflict,
                 "overlay keeps its content elsewhere (redirect_dir or metacopy), which no tar can say");
  }
  std::erase_if(xattrs, [](auto const& item) { return !is_layer_xattr(item.first); });
  entry_.xattrs = std::move(xattrs);
  return {};
}

Result<void> TreeWriter::child(int dir, Name const& name) {
  struct stat info {};
  long const found = raw::fstatat(dir, name.on_disk.c_str(), &info, AT_SYMLINK_NOFOLLOW);
  if (found == -ENOENT) return {};  // removed meanwhile
  if (found < 0) return Error::from_errno(static_cast<int>(-found), "stat '" + path_ + name.on_disk + "'");
  if (S_ISSOCK(info.st_mode)) return {};
  if (S_ISDIR(info.st_mode)) return subdirectory(dir, name);
  entry_ = {};
  entry_.name = path_ + name.in_tar;
  describe(info);
  if (S_ISREG(info.st_mode)) {
    TRY_CTX(file(dir, name, info), "'" + entry_.name + "'");
    return {};
  }
  if (is_again(info)) return tar_.entry(entry_);
  if (S_ISLNK(info.st_mode)) {
    entry_.type = TarType::kSymlink;
    long const length = raw::readlinkat(dir, name.on_disk.c_str(), buffer_.data(), buffer_.size());
    if (length < 0) return Error::from_errno(static_cast<int>(-length), "readlink '" + entry_.name + "'");
    entry_.target.assign(buffer_, 0, static_cast<std::size_t>(length));
  } else if (S_ISFIFO(info.st_mode)) {
    entry_.type = TarType::kFifo;
  } else {
    entry_.type = S_ISCHR(info.st_mode) ? TarType::kCharDevice : TarType::kBlockDevice;
    entry_.device_major = major(info.st_rdev);
    entry_.device_minor = minor(info.st_rdev);
  }
  sys::Xattrs xattrs = TRY(sys::read_xattrs(dir, name.on_disk));
  TRY_CTX(set_xattrs(std::move(xattrs)), "'" + entry_.name + "'");
  return tar_.entry(entry_);
}

Result<void> TreeWriter::subdirectory(int dir, Name const& name) {
  UniqueFd const inner = TRY(sys::openat(dir, name.on_disk, O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
  struct stat const info = TRY(sys::fstat(inner.get()));
  entry_ = {};
  entry_.name = path_ + name.in_tar;
  entry_.type = TarType::kDirectory;
  describe(info);
  sys::Xattrs xattrs = TRY(sys::read_xattrs(inner.get()));
  TRY_CTX(set_xattrs(std::move(xattrs)), "'" + entry_.name + "'");
  TRY(tar_.entry(entry_));
  std::size_t const length = path_.size();
  path_ += name.in_tar + "/";
  TRY(directory(inner.get()));
  path_.resize(length);
  return {};
}

Result<void> TreeWriter::file(int dir, Name const& name, struct stat const& info) {
  if (is_again(info)) return tar_.entry(entry_);
  UniqueFd const opened = TRY(sys::openat(dir, name.on_disk, O_RDONLY | O_NOFOLLOW | O_NONBLOCK));
  struct stat const now = TRY(sys::fstat(opened.get()));
  if (!S_ISREG(now.st_mode)) return Error(Errc::kConflict, "was replaced while it was read");
  describe(now);
  entry_.size = static_cast<std::uint64_t>(now.st_size);
  sys::Xattrs xattrs = TRY(sys::read_xattrs(opened.get()));
  TRY(set_xattrs(std::move(xattrs)));
  TRY(tar_.entry(entry_));
  return data(opened.get(), entry_.size);
}

// As many bytes as the header says, whatever happens to the file meanwhile.
Result<void> TreeWriter::data(int fd, std::uint64_t size) {
  for (std::uint64_t done = 0; done < size;) {
    if (options_.stop.stop_requested()) return Error(Errc::kCancelled, "cancelled");
    long const got =
        raw::read(fd, buffer_.data(), static_cast<std::size_t>(std::min<std::uint64_t>(kBufferSize, size - done)));
    if (got < 0) return Error::from_errno(static_cast<int>(-got), "read");
    if (got == 0) return Error(Errc::kConflict, "became shorter while it was read");
    TRY(tar_.data({buffer_.data(), static_cast<std::size_t>(got)}));
    done += static_cast<std::uint64_t>(got);
  }
  return {};
}

}  // namespace

Result<void> diff_upper(int upper, codec::Sink& tar, DiffOptions const& options) {
  if (!options.parents) return Error(Errc::kUnimplemented, "a diff without the directories above what changed");
  return TreeWriter(tar, options, TreeWriter::Marks::kToTar).write(upper);
}

Result<void> export_tree(int root, codec::Sink& tar, DiffOptions const& options) {
  return TreeWriter(tar, options, TreeWriter::Marks::kNone).write(root);
}

}  // namespace davit::snapshot
