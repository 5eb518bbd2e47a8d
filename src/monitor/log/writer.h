// LogWriter: what a container prints, to its log. Batches: write() encodes, flush() does one write(2). Never blocks on
// anything but the disk and never fails: what the disk refuses is dropped and counted, and the log says so later. One
// thread.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string_view>

#include "base/result.h"
#include "monitor/buffer.h"
#include "monitor/log/encoder.h"
#include "monitor/log/log_options.h"
#include "monitor/log/rotating_file.h"

namespace davit::monitor::log {

class LogWriter {
 public:
  static Result<std::unique_ptr<LogWriter>> open(LogOptions const& options);

  // What one read of the stream returned; lines may begin and end anywhere.
  void write(Stream stream, std::string_view chunk, std::int64_t now);
  // The stream has ended: its unfinished line is logged.
  void finish(Stream stream, std::int64_t now);
  void flush();
  // flush(), and gives the buffers' memory back.
  void idle();
  // The log file was renamed by somebody else.
  Result<void> reopen();

  // Called after every rotation.
  void on_rotated(std::function<void()> call) { on_rotated_ = std::move(call); }
  // Null without a file. For compression of rotated files.
  RotatingFile* file() { return file_ ? &*file_ : nullptr; }
  std::uint64_t lost_bytes() const { return lost_total_; }

 private:
  // The unfinished line of a stream.
  struct Line {
    Buffer carry;                            // less than kMaxLineSize bytes
    std::optional<std::int64_t> split_time;  // of its first piece, where pieces of it are already logged
  };

  LogWriter() = default;
  Line& line_of(Stream stream) { return lines_[stream == Stream::kStdout ? 0 : 1]; }
  std::string_view finish_carry(Stream stream, std::string_view chunk, std::int64_t now);
  void put_lines(Stream stream, std::string_view lines, std::int64_t now);
  void put_piece(Stream stream, std::string_view text, std::int64_t now);
  void after_put();
  bool report_loss();

  std::unique_ptr<Encoder> encoder_;  // null: no log
  std::optional<RotatingFile> file_;
  Buffer batch_;
  std::array<Line, 2> lines_;
  std::function<void()> on_rotated_;
  std::int64_t last_time_ = 0;
  std::uint64_t lost_since_note_ = 0, lost_total_ = 0;
  int lost_errno_ = 0;
};

}  // namespace davit::monitor::log
