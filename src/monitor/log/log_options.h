// How one container's log is kept: the log driver and its options under Docker's names.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"

namespace davit::monitor::log {

enum class Driver {
  kNone,
  kJsonFile,  // docs/disk/log-json-file.md
  kLocal,     // docs/disk/log-local.md
  kCri        // docs/disk/log-cri.md
};

struct LogOptions {
  Driver driver = Driver::kNone;
  std::string path;
  std::uint64_t max_size = 0;  // bytes; 0: never rotated
  unsigned max_files = 1;      // the current one included
  bool compress = false;       // rotated files
  std::string attrs;           // json-file: JSON object put into every entry
};

using KeyValues = std::vector<std::pair<std::string, std::string>>;

// driver: "none" "json-file" "local" "cri"; options: max-size ("10m"; k, m, g are powers of 1000 as in Docker),
// max-file, compress, attrs. The defaults are Docker's for the driver. An option that the driver lacks is an error.
Result<LogOptions> parse_log_options(std::string_view driver, std::string path, KeyValues const& options);

}  // namespace davit::monitor::log
