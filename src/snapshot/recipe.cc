#include "snapshot/recipe.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstring>
#include <vector>

#include "base/unique_fd.h"
#include "codec/compression.h"
#include "codec/tar.h"
#include "snapshot/recipe_format.h"
#include "sys/raw_tree.h"

namespace davit::snapshot {

namespace raw = sys::raw;
namespace abi = sys::abi;

namespace {

constexpr std::size_t kBufferSize = 256 << 10;

Error damaged(std::string_view why) { return Error(Errc::kInvalidArgument, "recipe: " + std::string(why)); }

class RebuiltTar final : public codec::Source {
 public:
  RebuiltTar(int directory, codec::Source& recipe)
      // Headers compress far better than what comes from outside may.
      : plain_(codec::decompress(recipe, codec::Compression::kZstd, {.max_ratio = 1'000'000})), directory_(directory) {}

  Result<std::string_view> next() override {
    if (buffer_.empty()) {
      buffer_.resize(kBufferSize);
      TRY(check_magic());
    }
    used_ = 0;
    while (used_ < kBufferSize && !ended_) {
      if (raw_left_ != 0) {
        TRY(copy_raw());
      } else if (extent_ < extents_.size()) {
        TRY(read_file());
      } else {
        TRY(read_record());
      }
    }
    written_ += used_;
    if (ended_ && used_ == 0 && written_ != announced_) return damaged("the tar has another size");
    return std::string_view(buffer_.data(), used_);
  }

 private:
  Result<void> fill() {
    if (in_.empty()) in_ = TRY(plain_->next());
    if (in_.empty()) return damaged("cut off");
    return {};
  }

  Result<std::uint64_t> read_number() {
    std::uint64_t value = 0;
    for (unsigned shift = 0; shift < 63; shift += 7) {
      TRY(fill());
      auto const byte = static_cast<unsigned char>(in_.front());
      in_.remove_prefix(1);
      value |= std::uint64_t{byte & 0x7fu} << shift;
      if (byte < 0x80) return value;
    }
    return damaged("a number is too large");
  }

  Result<void> read_text(std::size_t size, std::string& out) {
    out.clear();
    while (out.size() < size) {
      TRY(fill());
      std::size_t const piece = std::min(size - out.size(), in_.size());
      out += in_.substr(0, piece);
      in_.remove_prefix(piece);
    }
    return {};
  }

  Result<void> check_magic() {
    std::string magic;
    TRY(read_text(recipe::kMagic.size(), magic));
    if (magic != recipe::kMagic) return damaged("not a recipe of version 1");
    return {};
  }

  // The end of the compressed stream too, where its checksum is.
  Result<void> check_nothing_follows() {
    if (in_.empty()) in_ = TRY(plain_->next());
    if (!in_.empty()) return damaged("goes on after its end");
    return {};
  }

  Result<void> copy_raw() {
    TRY(fill());
    auto const piece = static_cast<std::size_t>(std::min<std::uint64_t>({raw_left_, in_.size(), kBufferSize - used_}));
    std::memcpy(buffer_.data() + used_, in_.data(), piece);
    in_.remove_prefix(piece);
    used_ += piece;
    raw_left_ -= piece;
    return {};
  }

  Result<void> read_record() {
    TRY(fill());
    char const tag = in_.front();
    in_.remove_prefix(1);
    switch (tag) {
      case recipe::kRaw:
        raw_left_ = TRY(read_number());
        return {};
      case recipe::kFile:
      case recipe::kExtents:
        return read_file_record(tag == recipe::kExtents);
      case recipe::kEnd:
        announced_ = TRY(read_number());
        ended_ = true;
        return check_nothing_follows();
      default:
        return damaged("an unknown record");
    }
  }

  Result<void> read_file_record(bool sparse) {
    auto const length = TRY(read_number());
    if (length == 0 || length > recipe::kMaxPath) return damaged("a path's length is wrong");
    TRY(read_text(static_cast<std::size_t>(length), path_));
    if (path_.find('\0') != std::string::npos) return damaged("a path holds a NUL byte");
    auto const size = TRY(read_number());
    extents_.clear();
    extent_ = 0;
    if (!sparse) {
      extents_.push_back({0, size});
    } else {
      auto const count = TRY(read_number());
      if (count > recipe::kMaxExtents) return damaged("too many extents");
      for (std::uint64_t i = 0; i < count; ++i) {
        codec::SparseExtent extent;
        extent.offset = TRY(read_number());
        extent.size = TRY(read_number());
        if (extent.offset > size || extent.size > size - extent.offset) return damaged("an extent past a file's end");
        extents_.push_back(extent);
      }
    }
    done_ = 0;
    return open_file(size);
  }

  Error misfit(std::string_view why, int error_number = 0) const {
    return Error(Errc::kInvalidArgument, "recipe: '" + path_ + "' of the layer " + std::string(why), error_number);
  }

  long open_at_layer(std::string const& path, int flags) const {
    long fd;
    do {
      fd = raw::openat2(directory_, path.c_str(), static_cast<std::uint64_t>(flags),
                        abi::kResolveBeneath | abi::kResolveNoSymlinks | abi::kResolveNoMagiclinks);
    } while (fd == -EAGAIN);
    return fd;
  }

  // O_NONBLOCK: in place of the file there might be a fifo.
  Result<void> open_file(std::uint64_t size) {
    constexpr int kFlags = O_RDONLY | O_NOFOLLOW | O_NONBLOCK;
    std::size_t const slash = path_.rfind('/');
    std::string_view const parent = std::string_view(path_).substr(0, slash == std::string::npos ? 0 : slash);
    long fd;
    if (parent.empty()) {
      fd = open_at_layer(path_, kFlags);
    } else {
      if (!parent_.valid() || parent != parent_path_) {
        parent_path_ = parent;
        fd = open_at_layer(parent_path_, O_PATH | O_DIRECTORY);
        if (fd < 0) return misfit("cannot be opened: its directory", static_cast<int>(-fd));
        parent_ = UniqueFd(static_cast<int>(fd));
      }
      std::string_view const leaf = std::string_view(path_).substr(slash + 1);
      if (leaf == "..") return damaged("a path leaves the layer");
      fd = raw::openat(parent_.get(), path_.c_str() + slash + 1, kFlags);
    }
    if (fd < 0) return misfit("cannot be opened", static_cast<int>(-fd));
    file_ = UniqueFd(static_cast<int>(fd));
    struct stat info {};
    if (raw::fstat(file_.get(), &info) < 0 || !S_ISREG(info.st_mode)) return misfit("is not a regular file");
    if (static_cast<std::uint64_t>(info.st_size) != size) return misfit("has another size");
    return {};
  }

  Result<void> read_file() {
    codec::SparseExtent const& extent = extents_[extent_];
    if (done_ == extent.size) {
      done_ = 0;
      if (++extent_ == extents_.size()) file_.reset();
      return {};
    }
    auto const wanted = static_cast<std::size_t>(std::min<std::uint64_t>(kBufferSize - used_, extent.size - done_));
    long const got = raw::pread(file_.get(), buffer_.data() + used_, wanted, extent.offset + done_);
    if (got < 0) return misfit("cannot be read", static_cast<int>(-got));
    if (got == 0) return misfit("became shorter");
    used_ += static_cast<std::size_t>(got);
    done_ += static_cast<std::uint64_t>(got);
    return {};
  }

  std::unique_ptr<codec::Source> plain_;
  int directory_;
  std::string_view in_;  // what is left of plain_'s last piece
  std::string buffer_;
  std::size_t used_ = 0;
  std::uint64_t written_ = 0, announced_ = 0;
  bool ended_ = false;

  std::uint64_t raw_left_ = 0;
  std::string path_, parent_path_;
  UniqueFd parent_, file_;
  std::vector<codec::SparseExtent> extents_;  // of file_, still to come from extent_ on
  std::size_t extent_ = 0;
  std::uint64_t done_ = 0;  // of that extent
};

}  // namespace

std::unique_ptr<codec::Source> rebuild_tar(int directory, codec::Source& recipe) {
  return std::make_unique<RebuiltTar>(directory, recipe);
}

}  // namespace davit::snapshot
