// Runs another program and takes what it prints: posix_spawn(3). For helpers that users install (credential helpers).
// Any thread, also in a process with many threads.
#pragma once

#include <chrono>
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "sys/process.h"

namespace davit::sys {

struct RunOptions {
  std::vector<std::string> arguments;  // [0] is the program: a path, or a name that is looked for in PATH
  std::string_view input;              // its standard input; at most 64 KiB
  std::chrono::milliseconds deadline{30000};
  std::size_t max_output = std::size_t{1} << 20;  // of standard output and of standard error each
};

struct RunResult {
  Exited exited;
  std::string output, errors;
};

// kNotFound: no such program. kDeadlineExceeded: it was killed at the deadline. kResourceExhausted: it printed too much
// and was killed. The program inherits the environment and nothing but its three streams.
Result<RunResult> run_program(RunOptions const& options);

}  // namespace davit::sys
