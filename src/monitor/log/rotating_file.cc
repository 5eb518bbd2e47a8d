#include "monitor/log/rotating_file.h"

#include <fcntl.h>

#include <algorithm>
#include <limits>
#include <utility>

#include "sys/file.h"
#include "sys/file_change.h"

namespace davit::monitor::log {

namespace {
constexpr mode_t kLogMode = 0640;
// A write of this size comes from a container that prints as fast as it can. Space for what follows is then taken at
// once: finding it page by page costs ext4 a fifth of a write's time. Others gain nothing (tmpfs fills the pages
// twice).
constexpr std::size_t kBusyWrite = 64 * 1024;
constexpr std::uint64_t kReserve = 16 << 20;
constexpr long kExt4Magic = 0xef53;  // statfs(2)

Result<UniqueFd> open_log(std::string const& path, int extra_flags) {
  return sys::open(path, O_RDWR | O_APPEND | O_CREAT | extra_flags, kLogMode);
}

void unlink_quietly(std::string const& path) {
  // Missing is the usual case, and a name that cannot be removed is overwritten by the next rename.
  (void)sys::unlink_at(AT_FDCWD, path);
}
}  // namespace

Result<RotatingFile> RotatingFile::open(LogOptions const& options) {
  UniqueFd file = TRY_CTX(open_log(options.path, 0), "open the log");
  struct stat const info = TRY(sys::fstat(file.get()));
  if (!S_ISREG(info.st_mode)) {
    return Error(Errc::kInvalidArgument, "log path '" + options.path + "' is not a regular file");
  }
  RotatingFile log(options, std::move(file), static_cast<std::uint64_t>(info.st_size));
  log.reserves_ = sys::fs_magic(log.fd()).value_or(0) == kExt4Magic;
  // A monitor that was killed could not give back what it had taken ahead.
  if (static_cast<std::uint64_t>(info.st_blocks) * 512 > log.size_ + kBusyWrite) log.reserved_ = log.size_ + 1;
  log.release_reserve();
  unlink_quietly(log.temporary_name());  // of a compression that a crash ended
  return log;
}

std::uint64_t RotatingFile::room() const {
  if (max_size_ == 0) return std::numeric_limits<std::uint64_t>::max();
  return size_ < max_size_ ? max_size_ - size_ : 0;
}

void RotatingFile::reserve(std::size_t coming) {
  std::uint64_t const size = std::min(room(), kReserve) + coming;  // the last batch may end behind the limit
  // Refused: the writes themselves will show whether there is space; asked again after as much as was asked for.
  (void)sys::reserve_space(file_.get(), size_, size);
  reserved_ = size_ + size;
}

void RotatingFile::release_reserve() {
  if (std::exchange(reserved_, 0) > size_) (void)sys::truncate(file_.get(), size_);
}

Result<void> RotatingFile::append(std::string_view data) {
  if (reserves_ && data.size() >= kBusyWrite && size_ + data.size() > reserved_) reserve(data.size());
  std::uint64_t written = 0;
  while (written < data.size()) {
    Result<std::size_t> const count = sys::append_some(file_.get(), data.substr(written));
    if (!count) {
      int const error_number = count.error().error_number();
      // Half an entry would spoil the next one. Where it cannot be cut off, readers skip it.
      if (written > 0 && !sys::truncate(file_.get(), size_)) size_ += written;
      return Error::from_errno(error_number, "write the log '" + path_ + "'");
    }
    written += *count;
  }
  size_ += written;
  return {};
}

Result<void> RotatingFile::cut_to(std::uint64_t size) {
  TRY(sys::truncate(file_.get(), size));
  size_ = size;
  return {};
}

Result<void> RotatingFile::rotate() {
  compression_failed_ = false;
  release_reserve();
  if (max_files_ < 2) return cut_to(0);
  unlink_quietly(rotated_name(max_files_ - 1));
  unlink_quietly(rotated_name(max_files_ - 1) + ".gz");
  for (unsigned index = max_files_ - 1; index > 1; --index) {
    for (char const* const suffix : {"", ".gz"}) {
      // Most of these do not exist; one that cannot be renamed is overwritten by its successor.
      (void)sys::rename(rotated_name(index - 1) + suffix, rotated_name(index) + suffix);
    }
  }
  if (compressing_ != 0) ++compressing_;
  if (Result<void> renamed = sys::rename(path_, rotated_name(1)); !renamed) {
    // Without the rename the same file would grow for ever.
    TRY(cut_to(0));
    return renamed;
  }
  return reopen();
}

Result<void> RotatingFile::reopen() {
  UniqueFd file = TRY_CTX(open_log(path_, 0), "open the log again");
  struct stat const info = TRY(sys::fstat(file.get()));
  release_reserve();
  file_ = std::move(file);
  size_ = static_cast<std::uint64_t>(info.st_size);
  return {};
}

std::optional<RotatingFile::Compression> RotatingFile::start_compression() {
  if (!compress_ || compressing_ != 0 || compression_failed_) return std::nullopt;
  // Oldest first: the newest is the one that a reader wants next.
  for (unsigned index = max_files_ - 1; index > 0; --index) {
    auto file = sys::open(rotated_name(index), O_RDONLY);
    if (!file) continue;
    compressing_ = index;
    return Compression{std::move(*file), rotated_name(index), temporary_name()};
  }
  return std::nullopt;
}

void RotatingFile::finish_compression(bool succeeded) {
  unsigned const index = std::exchange(compressing_, 0U);
  compression_failed_ = !succeeded;
  // Past the last number: the file was dropped while it was being compressed.
  if (!succeeded || index >= max_files_) return unlink_quietly(temporary_name());
  // The compressed file is complete and on disk; a crash between the two steps leaves both, and readers take the first.
  if (sys::rename(temporary_name(), rotated_name(index) + ".gz")) unlink_quietly(rotated_name(index));
}

}  // namespace davit::monitor::log
