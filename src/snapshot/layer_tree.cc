#include "snapshot/layer_tree.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <limits>
#include <utility>

#include "snapshot/overlay_marks.h"
#include "sys/raw_tree.h"
#include "sys/tree.h"

namespace davit::snapshot {

namespace raw = sys::raw;
namespace abi = sys::abi;

namespace {

constexpr std::size_t kMaxDirectories = 128;  // descriptors held
constexpr unsigned kMaxLinks = 40;            // as the kernel's MAXSYMLINKS
constexpr std::size_t kMaxPath = 4095;
// Of the names of directories without an entry: they are held in memory, and few tars have more than some hundred.
constexpr std::size_t kMaxImpliedBytes = std::size_t{16} << 20;
constexpr int kOpenDirectory = O_PATH | O_DIRECTORY | O_NOFOLLOW;

Error failed(long negative_errno, std::string_view call, std::string_view path) {
  return Error::from_errno(static_cast<int>(-negative_errno), std::string(call) + " '" + std::string(path) + "'");
}

// A path that has no links.
long open_real(int layer, std::string const& path) {
  long result;
  do {
    result = raw::openat2(layer, path.empty() ? "." : path.c_str(), O_PATH | O_DIRECTORY,
                          abi::kResolveBeneath | abi::kResolveNoSymlinks | abi::kResolveNoMagiclinks);
  } while (result == -EAGAIN);
  return result;
}

}  // namespace

// One walk from the layer down a path that has links in it or misses directories.
class LayerTree::Walk {
 public:
  Walk(LayerTree& tree, Missing missing) : tree_(tree), missing_(missing), fd_(tree.root_.fd) {}

  Result<Directory> to(std::string_view path) {
    push(path);
    while (!pending_.empty()) {
      std::string const part = std::move(pending_.back());
      pending_.pop_back();
      if (part == "..") {
        TRY(go_up());
      } else {
        TRY(go_down(part));
      }
    }
    if (!owned_.valid()) {  // a link to the layer itself
      long const root = open_real(tree_.root_.fd, "");
      if (root < 0) return failed(root, "open", ".");
      owned_ = UniqueFd(static_cast<int>(root));
      fd_ = owned_.get();
    }
    return Directory{std::move(owned_), fd_, std::move(path_), 0};
  }

 private:
  void push(std::string_view path) {
    std::vector<std::string> parts;
    for (std::size_t at = 0; at < path.size();) {
      std::size_t const slash = std::min(path.find('/', at), path.size());
      std::string_view const part = path.substr(at, slash - at);
      if (!part.empty() && part != ".") parts.emplace_back(part);
      at = slash + 1;
    }
    pending_.insert(pending_.end(), std::make_move_iterator(parts.rbegin()), std::make_move_iterator(parts.rend()));
  }

  void go_to_root() {
    owned_.reset();
    fd_ = tree_.root_.fd;
    path_.clear();
  }

  // From the root again, so that one descriptor is enough and ".." of a moved directory is never asked.
  Result<void> go_up() {
    std::size_t const slash = path_.rfind('/');
    if (slash == std::string::npos) {
      go_to_root();
      return {};
    }
    path_.resize(slash);
    long const parent = open_real(tree_.root_.fd, path_);
    if (parent < 0) return failed(parent, "open", path_);
    enter(parent);
    return {};
  }

  void enter(long fd) {
    owned_ = UniqueFd(static_cast<int>(fd));
    fd_ = owned_.get();
  }

  Result<void> go_down(std::string const& part) {
    long fd = raw::openat(fd_, part.c_str(), kOpenDirectory);
    if (fd == -ENOTDIR || fd == -ELOOP) {
      bool const is_link = TRY(follow_link(part));
      if (is_link) return {};
      fd = TRY(replace_whiteout(part));
    } else if (fd == -ENOENT && missing_ == Missing::kMake) {
      fd = TRY(make(part));
    }
    if (fd < 0) return failed(fd, "open directory", path_ + "/" + part);
    if (!path_.empty()) path_ += '/';
    path_ += part;
    enter(fd);
    if (path_.size() > kMaxPath) return Error(Errc::kInvalidArgument, "the path is longer than 4095 bytes");
    return {};
  }

  Result<bool> follow_link(std::string const& part) {
    char target[kMaxPath + 1];
    long const length = raw::readlinkat(fd_, part.c_str(), target, sizeof target);
    if (length == -EINVAL) return false;
    if (length < 0) return failed(length, "readlink", path_ + "/" + part);
    if (++links_ > kMaxLinks) return Error(Errc::kInvalidArgument, "too many symbolic links in the path");
    std::string_view const text(target, static_cast<std::size_t>(length));
    if (text.starts_with('/')) go_to_root();
    push(text);
    return true;
  }

  Result<long> make(std::string const& part) {
    long const made = raw::mkdirat(fd_, part.c_str(), 0755);
    if (made < 0 && made != -EEXIST) return failed(made, "mkdir", path_ + "/" + part);
    TRY(tree_.note_implied(path_.empty() ? part : path_ + "/" + part));
    return raw::openat(fd_, part.c_str(), kOpenDirectory);
  }

  // What is in the way is no directory and no link. A tar may hide a name and then bring new things of that name.
  Result<long> replace_whiteout(std::string const& part) {
    if (missing_ != Missing::kMake || !is_whiteout(fd_, part.c_str())) {
      return Error(Errc::kInvalidArgument, "'" + path_ + "/" + part + "' is not a directory");
    }
    long const removed = raw::unlinkat(fd_, part.c_str(), 0);
    if (removed < 0) return failed(removed, "unlink", path_ + "/" + part);
    long const fd = TRY(make(part));
    if (fd < 0) return fd;
    UniqueFd guard(static_cast<int>(fd));
    TRY(make_opaque(guard.get(), ""));
    return long{guard.release()};
  }

  LayerTree& tree_;
  Missing missing_;
  UniqueFd owned_;
  int fd_;
  std::string path_;                  // of fd_, without links
  std::vector<std::string> pending_;  // components to go, the next one last
  unsigned links_ = 0;
};

Result<LayerTree::Directory const*> LayerTree::directory(std::string_view path, Missing missing) {
  if (std::exchange(stale_, false)) {
    cache_.clear();
    last_ = nullptr;
  }
  if (path.empty()) return &root_;
  if (last_ != nullptr && last_path_ == path) return last_;
  ++clock_;
  if (auto const found = cache_.find(path); found != cache_.end()) {
    found->second.used = clock_;
    last_path_ = path;
    return last_ = &found->second;
  }
  // Almost always the directory above was used just now.
  std::size_t const slash = path.rfind('/');
  if (slash == std::string_view::npos) {
    std::string const leaf(path);
    long const fd = raw::openat(root_.fd, leaf.c_str(), kOpenDirectory);
    if (fd >= 0) return remember(path, {UniqueFd(static_cast<int>(fd)), static_cast<int>(fd), leaf, 0});
  } else if (auto const above = cache_.find(path.substr(0, slash)); above != cache_.end()) {
    std::string const leaf(path.substr(slash + 1));
    long const fd = raw::openat(above->second.fd, leaf.c_str(), kOpenDirectory);
    if (fd >= 0) {
      std::string real = above->second.path.empty() ? leaf : above->second.path + "/" + leaf;
      return remember(path, {UniqueFd(static_cast<int>(fd)), static_cast<int>(fd), std::move(real), 0});
    }
  } else {
    std::string real(path);
    long const fd = open_real(root_.fd, real);
    if (fd >= 0) return remember(path, {UniqueFd(static_cast<int>(fd)), static_cast<int>(fd), std::move(real), 0});
  }
  Directory found = TRY(Walk(*this, missing).to(path));
  return remember(path, std::move(found));
}

Result<void> LayerTree::note_implied(std::string path) {
  implied_bytes_ += path.size();
  if (implied_bytes_ > kMaxImpliedBytes) {
    return Error(Errc::kResourceExhausted, "too many directories of the layer have no entry of their own");
  }
  implied_.insert(std::move(path));
  return {};
}

LayerTree::Directory const* LayerTree::remember(std::string_view path, Directory directory) {
  if (cache_.size() >= kMaxDirectories) {
    cache_.erase(std::ranges::min_element(cache_, {}, [](auto const& item) { return item.second.used; }));
  }
  directory.used = clock_;
  auto const [place, added] = cache_.emplace(path, std::move(directory));
  DAVIT_CHECK(added);
  last_path_ = path;
  return last_ = &place->second;
}

}  // namespace davit::snapshot
