#include "monitor/log/writer.h"

#include <algorithm>
#include <cstring>

namespace davit::monitor::log {

namespace {
// Bytes encoded before a write(2) is done even though there is more to encode: bounds memory (a chunk of newlines grows
// to eighty times its size) and stays within a core's cache.
constexpr std::size_t kBatchSize = 256 * 1024;
}  // namespace

Result<std::unique_ptr<LogWriter>> LogWriter::open(LogOptions const& options) {
  auto writer = std::unique_ptr<LogWriter>(new LogWriter);
  writer->encoder_ = make_encoder(options);
  if (writer->encoder_ == nullptr) return writer;
  writer->file_ = TRY(RotatingFile::open(options));
  TRY_CTX(writer->encoder_->prepare(*writer->file_), "continue the log '" + options.path + "'");
  return writer;
}

void LogWriter::write(Stream stream, std::string_view chunk, std::int64_t now) {
  if (encoder_ == nullptr) return;
  last_time_ = now;
  chunk = finish_carry(stream, chunk, now);
  if (std::size_t const last_newline = chunk.rfind('\n'); last_newline != std::string_view::npos) {
    put_lines(stream, chunk.substr(0, last_newline + 1), now);
    chunk.remove_prefix(last_newline + 1);
  }
  for (; chunk.size() >= kMaxLineSize; chunk.remove_prefix(kMaxLineSize)) {
    put_piece(stream, chunk.substr(0, kMaxLineSize), now);
  }
  line_of(stream).carry.append(chunk);
}

// Continues the line that earlier chunks began; returns what is left of the chunk once that line is complete.
std::string_view LogWriter::finish_carry(Stream stream, std::string_view chunk, std::int64_t now) {
  Line& line = line_of(stream);
  while (!chunk.empty() && (!line.carry.empty() || line.split_time)) {
    std::size_t const room = kMaxLineSize - line.carry.size();
    std::size_t const newline = chunk.substr(0, room).find('\n');
    std::size_t const taken = newline == std::string_view::npos ? std::min(room, chunk.size()) : newline + 1;
    line.carry.append(chunk.substr(0, taken));
    chunk.remove_prefix(taken);
    if (newline != std::string_view::npos) {
      put_lines(stream, line.carry.view(), line.split_time.value_or(now));
      line.split_time.reset();
      line.carry.clear();
    } else if (line.carry.size() == kMaxLineSize) {
      put_piece(stream, line.carry.view(), now);
      line.carry.clear();
    }
  }
  return chunk;
}

void LogWriter::put_lines(Stream stream, std::string_view lines, std::int64_t now) {
  while (!lines.empty()) {
    std::uint64_t const budget = std::min<std::uint64_t>(file_->room(), kBatchSize);
    lines.remove_prefix(encoder_->encode_lines(batch_, stream, lines, now, budget));
    after_put();
  }
}

void LogWriter::put_piece(Stream stream, std::string_view text, std::int64_t now) {
  Line& line = line_of(stream);
  // All pieces of a line carry the time of the first one, as Docker's do.
  if (!line.split_time) line.split_time = now;
  encoder_->encode_piece(batch_, stream, text, *line.split_time);
  after_put();
}

void LogWriter::after_put() {
  if (batch_.size() >= file_->room()) {
    flush();
    if (file_->room() != 0) return;  // nothing was written: the disk is full
    if (Result<void> const rotated = file_->rotate(); !rotated) lost_errno_ = rotated.error().error_number();
    // A new file may need its first bytes.
    (void)encoder_->prepare(*file_);
    if (on_rotated_) on_rotated_();
  } else if (batch_.size() >= kBatchSize) {
    flush();
  }
}

void LogWriter::finish(Stream stream, std::int64_t now) {
  if (encoder_ == nullptr) return;
  Line& line = line_of(stream);
  if (!line.carry.empty()) put_piece(stream, line.carry.view(), now);
  line.carry.release();
  line.split_time.reset();
}

void LogWriter::flush() {
  if (batch_.empty()) return;
  Result<void> written = report_loss() ? file_->append(batch_.view()) : Error::from_errno(lost_errno_, "log");
  if (!written) {
    lost_errno_ = written.error().error_number();
    lost_since_note_ += batch_.size();
    lost_total_ += batch_.size();
  }
  batch_.clear();
}

// After a loss, says so in the log before anything else goes there. False: the disk still refuses.
bool LogWriter::report_loss() {
  if (lost_since_note_ == 0) return true;
  std::string const text =
      "davit: " + std::to_string(lost_since_note_) + " bytes of log were lost: " + std::strerror(lost_errno_) + "\n";
  Buffer note;
  encoder_->encode_lines(note, Stream::kStderr, text, last_time_, kBatchSize);
  if (!file_->append(note.view())) return false;
  lost_since_note_ = 0;
  return true;
}

void LogWriter::idle() {
  flush();
  if (file_) file_->release_reserve();
  batch_.release();
  for (Line& line : lines_) {
    if (line.carry.empty()) line.carry.release();
  }
}

Result<void> LogWriter::reopen() {
  flush();
  if (!file_) return {};
  TRY(file_->reopen());
  return encoder_->prepare(*file_);
}

}  // namespace davit::monitor::log
