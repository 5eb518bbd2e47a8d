// Limits of the calling process: getrlimit(2), setrlimit(2). Any thread.
#pragma once

#include "base/result.h"

namespace davit::sys {

// As many descriptors as the hard limit allows. For programs that hold several for each of many things at once; the
// soft limit of 1024 is for those that use select(2). Children inherit it.
Result<void> raise_open_file_limit();

}  // namespace davit::sys
