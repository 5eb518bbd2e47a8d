#include "monitor/log/encoder.h"

#include <algorithm>

#include "monitor/log/json_text.h"
#include "monitor/log/local_block.h"
#include "monitor/log/timestamp.h"
#include "sys/file_change.h"

namespace davit::monitor::log {

Result<void> Encoder::prepare(RotatingFile& file) {
  if (file.size() == 0) return {};
  char last = 0;
  TRY(sys::read_at(file.fd(), file.size() - 1, &last, 1));
  if (last != '\n') TRY(file.append("\n"));
  return {};
}

namespace {

// Calls emit(text, complete) for every line of `lines`, those longer than kMaxLineSize in pieces, until out holds
// budget bytes at the end of a line.
template <typename Emit>
std::size_t each_line(std::string_view lines, Buffer const& out, std::uint64_t budget, Emit&& emit) {
  char const* at = lines.data();
  char const* const end = at + lines.size();
  do {
    auto const* const newline = static_cast<char const*>(std::memchr(at, '\n', static_cast<std::size_t>(end - at)));
    while (static_cast<std::size_t>(newline - at) >= kMaxLineSize) {
      emit(std::string_view(at, kMaxLineSize), false);
      at += kMaxLineSize;
    }
    emit(std::string_view(at, static_cast<std::size_t>(newline - at)), true);
    at = newline + 1;
  } while (at < end && out.size() < budget);
  return static_cast<std::size_t>(at - lines.data());
}

// {"log":"text\n","stream":"stdout","attrs":{...},"time":"2026-11-21T20:16:17.418311554Z"}
class JsonFileEncoder : public Encoder {
 public:
  explicit JsonFileEncoder(std::string attrs) : attrs_(std::move(attrs)) {}

  std::size_t encode_lines(Buffer& out, Stream stream, std::string_view lines, std::int64_t time,
                           std::uint64_t budget) override {
    std::string const tail = make_tail(stream, time);
    return each_line(lines, out, budget, [&](std::string_view text, bool complete) { put(out, text, complete, tail); });
  }

  void encode_piece(Buffer& out, Stream stream, std::string_view text, std::int64_t time) override {
    put(out, text, false, make_tail(stream, time));
  }

 private:
  // Everything after the text of a complete line: the same for all lines of a batch.
  std::string make_tail(Stream stream, std::int64_t time) const {
    std::string tail = "\\n\",\"stream\":\"";
    tail.append(stream_name(stream)).append("\",");
    if (!attrs_.empty()) tail.append("\"attrs\":").append(attrs_).append(",");
    tail.append("\"time\":\"").append(TimeText(time, Fraction::kShortest).view()).append("\"}\n");
    return tail;
  }

  static void put(Buffer& out, std::string_view text, bool complete, std::string_view tail) {
    out.append("{\"log\":\"");
    append_json_escaped(out, text);
    if (!complete) tail.remove_prefix(2);  // without the "\n"
    out.append(tail);
  }

  std::string attrs_;
};

// 2016-10-06T00:17:09.669794202Z stdout F text
class CriEncoder : public Encoder {
 public:
  std::size_t encode_lines(Buffer& out, Stream stream, std::string_view lines, std::int64_t time,
                           std::uint64_t budget) override {
    std::string head = make_head(stream, time);
    return each_line(lines, out, budget, [&](std::string_view text, bool complete) { put(out, head, text, complete); });
  }

  void encode_piece(Buffer& out, Stream stream, std::string_view text, std::int64_t time) override {
    std::string head = make_head(stream, time);
    put(out, head, text, false);
  }

 private:
  static std::string make_head(Stream stream, std::int64_t time) {
    std::string head(TimeText(time, Fraction::kFixed).view());
    head.append(" ").append(stream_name(stream)).append(" F ");
    return head;
  }

  static void put(Buffer& out, std::string& head, std::string_view text, bool complete) {
    head[head.size() - 2] = complete ? 'F' : 'P';
    out.append(head);
    out.append(text);
    out.append("\n");
  }
};

// Blocks of lines (monitor/log/local_block.h).
class LocalEncoder : public Encoder {
 public:
  std::size_t encode_lines(Buffer& out, Stream stream, std::string_view lines, std::int64_t time,
                           std::uint64_t budget) override {
    // The newline at or after the last byte that fits ends the block.
    std::size_t const overhead = out.size() + kLocalHeaderSize + kLocalTrailerSize;
    std::uint64_t const fits = std::clamp<std::uint64_t>(budget > overhead ? budget - overhead : 0, 1, 256 * 1024);
    std::size_t size = lines.size();
    if (fits < size) {
      std::size_t const newline = lines.find('\n', fits - 1);
      size = std::min(newline + 1, kMaxLocalPayload);
    }
    bool const unfinished = lines[size - 1] != '\n';
    append_local_block(out, {.stream = stream, .unfinished = unfinished, .time = time}, lines.substr(0, size));
    return size;
  }

  void encode_piece(Buffer& out, Stream stream, std::string_view text, std::int64_t time) override {
    append_local_block(out, {.stream = stream, .unfinished = true, .time = time}, text);
  }

  Result<void> prepare(RotatingFile& file) override {
    std::uint64_t const valid = TRY(valid_size(file));
    if (valid < file.size()) TRY(file.cut_to(valid));
    if (valid == 0) TRY(file.append(kLocalMagic));
    return {};
  }

 private:
  // How much of the file, from its beginning, is whole blocks.
  static Result<std::uint64_t> valid_size(RotatingFile const& file) {
    char magic[kLocalMagic.size()];
    std::size_t const count = TRY(sys::read_at(file.fd(), 0, magic, sizeof magic));
    if (std::string_view(magic, count) != kLocalMagic) return std::uint64_t{0};
    std::uint64_t at = sizeof magic;
    Buffer block;
    for (;;) {
      block.clear();
      char* const bytes = block.reserve(kLocalHeaderSize);
      if (TRY(sys::read_at(file.fd(), at, bytes, kLocalHeaderSize)) < kLocalHeaderSize) return at;
      std::optional<LocalHeader> const header = parse_local_header({bytes, kLocalHeaderSize});
      if (!header) return at;
      std::size_t const size = kLocalHeaderSize + header->payload_size + kLocalTrailerSize;
      char* const whole = block.reserve(size);
      if (TRY(sys::read_at(file.fd(), at, whole, size)) < size || !check_local_block({whole, size})) return at;
      at += size;
    }
  }
};

}  // namespace

std::unique_ptr<Encoder> make_encoder(LogOptions const& options) {
  switch (options.driver) {
    case Driver::kNone:
      return nullptr;
    case Driver::kJsonFile:
      return std::make_unique<JsonFileEncoder>(options.attrs);
    case Driver::kLocal:
      return std::make_unique<LocalEncoder>();
    case Driver::kCri:
      return std::make_unique<CriEncoder>();
  }
  return nullptr;
}

}  // namespace davit::monitor::log
