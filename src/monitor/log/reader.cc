#include "monitor/log/reader.h"

#include <fcntl.h>

#include <algorithm>

#include "monitor/log/tail.h"
#include "sys/file.h"

namespace davit::monitor::log {

namespace {
constexpr std::size_t kReadSize = 64 * 1024;
constexpr unsigned kMaxRotated = 1000;
}  // namespace

Result<LogReader> LogReader::open(ReadOptions const& options) {
  if (options.driver == Driver::kNone) return Error(Errc::kInvalidArgument, "log driver 'none' cannot be read");
  LogReader reader(options);
  TRY_CTX(reader.open_files(), "open the log '" + options.path + "'");
  if (options.tail) TRY_CTX(reader.seek_tail(*options.tail), "find the end of the log '" + options.path + "'");
  return reader;
}

Result<void> LogReader::open_files() {
  auto const add = [&](std::string const& path, bool gzip) -> Result<bool> {
    Result<UniqueFd> file = sys::open(path, O_RDONLY);
    if (!file && file.error().code() == Errc::kNotFound) return false;
    files_.push_back({TRY(std::move(file)), gzip});
    return true;
  };
  // Newest first: a file that rotates while this runs is then seen twice rather than missed; twice is told by its
  // inode.
  TRY(add(options_.path, false));
  for (unsigned index = 1; index < kMaxRotated; ++index) {
    std::string const name = options_.path + "." + std::to_string(index);
    if (TRY(add(name + ".gz", true)) || TRY(add(name, false))) continue;
    break;
  }
  std::vector<File> unique;
  std::vector<struct stat> seen;
  for (File& file : files_) {
    struct stat const info = TRY(sys::fstat(file.fd.get()));
    bool const known = std::any_of(seen.begin(), seen.end(), [&](auto const& other) {
      return other.st_ino == info.st_ino && other.st_dev == info.st_dev;
    });
    if (known) continue;
    seen.push_back(info);
    unique.push_back(std::move(file));
  }
  std::reverse(unique.begin(), unique.end());
  files_ = std::move(unique);
  return {};
}

// Entries of a compressed file; it has to be read whole.
Result<std::uint64_t> LogReader::count_entries(File& file) const {
  // A second descriptor, because the entries are read from the first one later.
  UniqueFd again = TRY(sys::open("/proc/self/fd/" + std::to_string(file.fd.get()), O_RDONLY));
  auto const source = ByteSource::gzip(std::move(again));
  auto const decoder = make_decoder(options_.driver);
  Buffer bytes;
  std::vector<Entry> entries;
  std::uint64_t total = 0;
  for (;;) {
    char* const data = bytes.reserve(kReadSize);
    std::size_t const count = TRY(source->read({data, kReadSize}));
    if (count == 0) return total;
    bytes.commit(count);
    bytes.consume(decoder->decode(bytes.view(), entries));
    total += entries.size();
    entries.clear();
  }
}

Result<void> LogReader::seek_tail(std::uint64_t wanted) {
  std::size_t index = files_.size();
  while (index > 0 && wanted > 0) {
    File& file = files_[--index];
    if (file.gzip) {
      std::uint64_t const found = TRY(count_entries(file));
      file.skip = found > wanted ? found - wanted : 0;
      wanted -= std::min(found, wanted);
      continue;
    }
    auto const size = static_cast<std::uint64_t>(TRY(sys::fstat(file.fd.get())).st_size);
    TailPosition const position = TRY(find_tail(file.fd.get(), size, options_.driver, wanted));
    file.offset = position.offset;
    file.skip = position.skip;
    wanted -= position.found;
  }
  files_.erase(files_.begin(), files_.begin() + static_cast<std::ptrdiff_t>(index));
  return {};
}

Result<std::unique_ptr<ByteSource>> LogReader::source_of(File& file) const {
  return file.gzip ? ByteSource::gzip(std::move(file.fd)) : ByteSource::plain(std::move(file.fd), file.offset);
}

// Decodes more entries; false at the end of the last file.
Result<bool> LogReader::fill() {
  entries_.clear();
  next_entry_ = 0;
  while (entries_.empty()) {
    if (source_ == nullptr) {
      if (current_ == files_.size()) return false;
      source_ = TRY(source_of(files_[current_]));
      decoder_ = make_decoder(options_.driver);
      bytes_.clear();
    }
    char* const data = bytes_.reserve(kReadSize);
    std::size_t const count = TRY(source_->read({data, kReadSize}));
    bytes_.commit(count);
    bytes_.consume(decoder_->decode(bytes_.view(), entries_));
    std::uint64_t& skip = files_[current_].skip;
    std::size_t const passed = std::min<std::uint64_t>(skip, entries_.size());
    skip -= passed;
    entries_.erase(entries_.begin(), entries_.begin() + static_cast<std::ptrdiff_t>(passed));
    if (count > 0) continue;
    skipped_ += decoder_->skipped() + (bytes_.empty() ? 0 : 1);
    source_.reset();
    ++current_;
  }
  return true;
}

Result<std::optional<Entry>> LogReader::next() {
  for (;;) {
    if (next_entry_ == entries_.size() && !TRY(fill())) return std::optional<Entry>();
    Entry& entry = entries_[next_entry_++];
    if (entry.time < options_.since || entry.time > options_.until) continue;
    return std::optional<Entry>(std::move(entry));
  }
}

}  // namespace davit::monitor::log
