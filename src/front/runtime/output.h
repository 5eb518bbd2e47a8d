// Printing results.
#pragma once

#include <string_view>

#include "base/result.h"

namespace davit::front {

// To standard output, all of it.
Result<void> print(std::string_view text);

}  // namespace davit::front
