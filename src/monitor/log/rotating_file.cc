#include "monitor/log/rotating_file.h"

#include <fcntl.h>

#include <limits>

#include "sys/file.h"
#include "sys/file_change.h"

namespace davit::monitor::log {

namespace {
constexpr mode_t kLogMode = 0640;

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
  unlink_quietly(log.temporary_name());  // of a compression that a crash ended
  return log;
}

std::uint64_t RotatingFile::room() const {
  if (max_size_ == 0) return std::numeric_limits<std::uint64_t>::max();
  return size_ < max_size_ ? max_size_ - size_ : 0;
}

Result<void> RotatingFile::append(std::string_view data) {
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
