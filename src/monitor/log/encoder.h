// Encoder: lines of output to the bytes of one log format.
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>

#include "monitor/buffer.h"
#include "monitor/log/entry.h"
#include "monitor/log/log_options.h"
#include "monitor/log/rotating_file.h"

namespace davit::monitor::log {

class Encoder {
 public:
  virtual ~Encoder() = default;
  // lines holds whole lines, each with its '\n'. Encodes at least one and stops after the one with which out has
  // `budget` bytes or more. Returns how many bytes of lines are done.
  virtual std::size_t encode_lines(Buffer& out, Stream stream, std::string_view lines, std::int64_t time,
                                   std::uint64_t budget) = 0;
  // A line's beginning or middle, at most kMaxLineSize bytes, without '\n'.
  virtual void encode_piece(Buffer& out, Stream stream, std::string_view text, std::int64_t time) = 0;
  // Makes a file that a crash may have cut anywhere ready to be appended to.
  virtual Result<void> prepare(RotatingFile& file);
};

// Null for Driver::kNone.
std::unique_ptr<Encoder> make_encoder(LogOptions const& options);

}  // namespace davit::monitor::log
