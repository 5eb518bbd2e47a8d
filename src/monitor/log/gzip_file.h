// Whole files to gzip. Slow: for a process or thread that may be.
#pragma once

#include <string>

#include "base/result.h"

namespace davit::monitor::log {

// Compresses what there is to read from `from` to `to` (replaced where it exists, mode 0640) and makes it durable. On failure
// nothing is left at `to`.
Result<void> gzip_file(int from, std::string const& to);

}  // namespace davit::monitor::log
