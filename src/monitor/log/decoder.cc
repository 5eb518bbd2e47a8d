#include "monitor/log/decoder.h"

#include <optional>

#include "monitor/log/json_text.h"
#include "monitor/log/local_block.h"
#include "monitor/log/timestamp.h"

namespace davit::monitor::log {

namespace {
std::optional<Stream> parse_stream(std::string_view name) {
  if (name == "stdout") return Stream::kStdout;
  if (name == "stderr") return Stream::kStderr;
  return std::nullopt;
}

// One member of a json-file entry; members it does not know are passed over.
bool take_member(std::string_view& line, Entry& out, bool& has_time) {
  std::string name, value;
  if (!take_json_string(line, name)) return false;
  skip_json_space(line);
  if (line.empty() || line.front() != ':') return false;
  line.remove_prefix(1);
  skip_json_space(line);
  if (name == "log") return take_json_string(line, out.text);
  if (name == "stream") {
    if (!take_json_string(line, value)) return false;
    std::optional<Stream> const stream = parse_stream(value);
    if (stream) out.stream = *stream;
    return stream.has_value();
  }
  if (name == "time") {
    if (!take_json_string(line, value)) return false;
    std::optional<std::int64_t> const time = parse_time(value);
    has_time = time.has_value();
    if (time) out.time = *time;
    return has_time;
  }
  std::string_view const text = take_json_value(line);
  if (name == "attrs") out.attrs = text;
  return !text.empty();
}
}  // namespace

bool parse_json_line(std::string_view line, Entry& out) {
  out = Entry{};
  bool has_time = false;
  skip_json_space(line);
  if (line.empty() || line.front() != '{') return false;
  line.remove_prefix(1);
  for (;;) {
    skip_json_space(line);
    if (!take_member(line, out, has_time)) return false;
    skip_json_space(line);
    if (line.empty()) return false;
    char const next = line.front();
    line.remove_prefix(1);
    if (next == ',') continue;
    skip_json_space(line);
    return next == '}' && line.empty() && has_time;
  }
}

bool parse_cri_line(std::string_view line, Entry& out) {
  out = Entry{};
  auto const take_word = [&] {
    std::size_t const space = line.find(' ');
    if (space == std::string_view::npos) return std::string_view{};
    std::string_view const word = line.substr(0, space);
    line.remove_prefix(space + 1);
    return word;
  };
  std::optional<std::int64_t> const time = parse_time(take_word());
  std::optional<Stream> const stream = parse_stream(take_word());
  std::string_view tags = take_word();
  tags = tags.substr(0, tags.find(':'));  // only the first tag has a meaning: F(ull) or P(artial)
  if (!time || !stream || (tags != "F" && tags != "P")) return false;
  out.time = *time;
  out.stream = *stream;
  out.text = line;
  if (tags == "F") out.text += '\n';
  return true;
}

namespace {

class LineDecoder : public Decoder {
 public:
  explicit LineDecoder(bool (*parse)(std::string_view, Entry&)) : parse_(parse) {}

  std::size_t decode(std::string_view bytes, std::vector<Entry>& out) override {
    std::size_t used = 0;
    for (std::size_t newline; (newline = bytes.find('\n', used)) != std::string_view::npos; used = newline + 1) {
      std::string_view const line = bytes.substr(used, newline - used);
      Entry entry;
      if (parse_(line, entry)) {
        out.push_back(std::move(entry));
      } else if (!line.empty()) {
        ++skipped_;
      }
    }
    if (used == 0 && bytes.size() >= kMaxRecord) {
      ++skipped_;
      return bytes.size();  // the rest of that line will not parse either
    }
    return used;
  }

 private:
  bool (*parse_)(std::string_view, Entry&);
};

class LocalDecoder : public Decoder {
 public:
  std::size_t decode(std::string_view bytes, std::vector<Entry>& out) override {
    std::size_t used = 0;
    if (bytes.substr(0, kLocalMagic.size()) == kLocalMagic) used = kLocalMagic.size();
    while (!damaged_) {
      std::string_view const rest = bytes.substr(used);
      if (rest.size() < kLocalHeaderSize) return used;
      std::optional<LocalHeader> const header = parse_local_header(rest);
      std::size_t const size = header ? kLocalHeaderSize + header->payload_size + kLocalTrailerSize : 0;
      if (header && rest.size() < size) return used;
      std::optional<std::string_view> const payload = header ? check_local_block(rest.substr(0, size)) : std::nullopt;
      if (!payload) {
        // Block boundaries are lost from here on: nothing behind can be trusted.
        damaged_ = true;
        ++skipped_;
        break;
      }
      add_lines(*header, *payload, out);
      used += size;
    }
    return bytes.size();
  }

 private:
  static void add_lines(LocalHeader const& header, std::string_view payload, std::vector<Entry>& out) {
    while (!payload.empty()) {
      std::size_t const newline = payload.find('\n');
      std::size_t const size = newline == std::string_view::npos ? payload.size() : newline + 1;
      out.push_back({header.time, header.stream, std::string(payload.substr(0, size)), {}});
      payload.remove_prefix(size);
    }
  }

  bool damaged_ = false;
};

}  // namespace

std::unique_ptr<Decoder> make_decoder(Driver driver) {
  switch (driver) {
    case Driver::kNone:
      return nullptr;
    case Driver::kJsonFile:
      return std::make_unique<LineDecoder>(parse_json_line);
    case Driver::kCri:
      return std::make_unique<LineDecoder>(parse_cri_line);
    case Driver::kLocal:
      return std::make_unique<LocalDecoder>();
  }
  return nullptr;
}

}  // namespace davit::monitor::log
