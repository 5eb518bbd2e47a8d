// Whole files to gzip. Slow: for a process or thread that may be.
#pragma once

#include <string>

#include "base/result.h"

namespace davit::monitor::log {

// Writes `to` (replaced where it exists, mode 0640) and makes it durable. On failure nothing is left at `to`.
Result<void> gzip_file(std::string const& from, std::string const& to);

}  // namespace davit::monitor::log
