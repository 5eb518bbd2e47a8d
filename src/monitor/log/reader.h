// LogReader: the entries of a container's log, oldest first, across its rotated files. Reads what was there when it was
// opened; files may rotate meanwhile. Tolerates torn entries. One thread; reads block.
#pragma once

#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"
#include "monitor/buffer.h"
#include "monitor/log/byte_source.h"
#include "monitor/log/decoder.h"
#include "monitor/log/entry.h"
#include "monitor/log/log_options.h"

namespace davit::monitor::log {

struct ReadOptions {
  Driver driver = Driver::kJsonFile;
  std::string path;
  std::int64_t since = std::numeric_limits<std::int64_t>::min();  // both inclusive
  std::int64_t until = std::numeric_limits<std::int64_t>::max();
  // Only the last so many entries of the log, counted before since and until apply, as Docker does.
  std::optional<std::uint64_t> tail = {};
};

class LogReader {
 public:
  // A log that does not exist has no entries. kInvalidArgument for Driver::kNone.
  static Result<LogReader> open(ReadOptions const& options);

  // Nullopt: the end.
  Result<std::optional<Entry>> next();
  // Entries that could not be understood, so far.
  std::uint64_t skipped() const { return skipped_; }

 private:
  struct File {
    UniqueFd fd;
    bool gzip = false;
    std::uint64_t offset = 0;  // where to begin (plain files)
    std::uint64_t skip = 0;    // entries to pass over
  };

  explicit LogReader(ReadOptions options) : options_(std::move(options)) {}
  Result<void> open_files();
  Result<void> seek_tail(std::uint64_t wanted);
  Result<std::uint64_t> count_entries(File& file) const;
  Result<bool> fill();
  Result<std::unique_ptr<ByteSource>> source_of(File& file) const;

  ReadOptions options_;
  std::vector<File> files_;  // oldest first; those before current_ are done
  std::size_t current_ = 0;
  std::unique_ptr<ByteSource> source_;
  std::unique_ptr<Decoder> decoder_;
  Buffer bytes_;
  std::vector<Entry> entries_;
  std::size_t next_entry_ = 0;
  std::uint64_t skipped_ = 0;
};

}  // namespace davit::monitor::log
