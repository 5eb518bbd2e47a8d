// What a log holds, whatever its format.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace davit::monitor::log {

// The numbers are those of Docker's stream frames and of the `local` format on disk.
enum class Stream : std::uint8_t { kStdout = 1, kStderr = 2 };

constexpr std::string_view stream_name(Stream stream) { return stream == Stream::kStdout ? "stdout" : "stderr"; }

// A longer line is split into entries of this size, as Docker (daemon/logger/copier.go) and containerd's CRI do.
inline constexpr std::size_t kMaxLineSize = 16 * 1024;

struct Entry {
  std::int64_t time = 0;  // nanoseconds since 1970
  Stream stream = Stream::kStdout;
  std::string text;   // ends with '\n' unless the line goes on in the next entry of the stream, or ended without one
  std::string attrs;  // JSON object, or empty
};

}  // namespace davit::monitor::log
