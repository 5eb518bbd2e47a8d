// What machine the running kernel is on. Any thread.
#pragma once

#include <string>

namespace davit::sys {

// The kernel's name for the processor: "x86_64", "aarch64", "armv7l" (uname(2), machine).
std::string machine_name();

}  // namespace davit::sys
