#include "codec/json_writer.h"

namespace davit::json {

namespace {

// The length of the valid UTF-8 sequence at the start of text (RFC 3629: no surrogates, no overlong forms), 0 if none.
// NOLINTNEXTLINE(readability-function-cognitive-complexity): the rows of the RFC's table, one after another
std::size_t utf8_length(std::string_view text) {
  auto const byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  auto const follows = [&](std::size_t i) { return i < text.size() && (byte(i) & 0xC0) == 0x80; };
  unsigned char const first = byte(0);
  if (first < 0x80) return 1;
  if (first >= 0xC2 && first <= 0xDF) return follows(1) ? 2 : 0;
  if (first >= 0xE0 && first <= 0xEF) {
    if (!follows(1) || !follows(2)) return 0;
    if (first == 0xE0 && byte(1) < 0xA0) return 0;
    if (first == 0xED && byte(1) > 0x9F) return 0;
    return 3;
  }
  if (first >= 0xF0 && first <= 0xF4) {
    if (!follows(1) || !follows(2) || !follows(3)) return 0;
    if (first == 0xF0 && byte(1) < 0x90) return 0;
    if (first == 0xF4 && byte(1) > 0x8F) return 0;
    return 4;
  }
  return 0;
}

void append_escape(std::string& out, char c) {
  switch (c) {
    case '"':
      out += "\\\"";
      return;
    case '\\':
      out += "\\\\";
      return;
    case '\n':
      out += "\\n";
      return;
    case '\r':
      out += "\\r";
      return;
    case '\t':
      out += "\\t";
      return;
    default:
      break;
  }
  constexpr char kDigits[] = "0123456789abcdef";
  out += "\\u00";
  out += kDigits[static_cast<unsigned char>(c) >> 4];
  out += kDigits[static_cast<unsigned char>(c) & 15];
}

}  // namespace

void append_quoted(std::string& out, std::string_view text) {
  out += '"';
  while (!text.empty()) {
    std::size_t plain = 0;
    while (plain < text.size()) {
      auto const c = static_cast<unsigned char>(text[plain]);
      if (c < 0x20 || c >= 0x7F || c == '"' || c == '\\') break;
      ++plain;
    }
    out += text.substr(0, plain);
    text.remove_prefix(plain);
    if (text.empty()) break;
    auto const c = static_cast<unsigned char>(text[0]);
    std::size_t const length = utf8_length(text);
    if (c < 0x80) {
      append_escape(out, text[0]);
    } else if (length != 0) {
      out += text.substr(0, length);
    } else {
      out += "\xEF\xBF\xBD";
    }
    text.remove_prefix(length != 0 ? length : 1);
  }
  out += '"';
}

void Writer::new_line() {
  if (indent_.empty()) return;
  out_ += '\n';
  for (int i = 0; i < depth_; ++i) out_ += indent_;
}

void Writer::before_item() {
  if (after_key_) {
    after_key_ = false;
    return;
  }
  if (!first_) out_ += ',';
  first_ = false;
  if (depth_ > 0) new_line();
}

Writer& Writer::key(std::string_view name) {
  before_item();
  append_quoted(out_, name);
  out_ += indent_.empty() ? ":" : ": ";
  after_key_ = true;
  return *this;
}

Writer& Writer::value(std::string_view text) {
  before_item();
  append_quoted(out_, text);
  return *this;
}

Writer& Writer::raw(std::string_view json) {
  before_item();
  out_ += json;
  return *this;
}

Writer& Writer::open(char bracket) {
  before_item();
  out_ += bracket;
  ++depth_;
  first_ = true;
  return *this;
}

Writer& Writer::close(char bracket) {
  --depth_;
  if (!first_) new_line();
  out_ += bracket;
  first_ = false;
  return *this;
}

}  // namespace davit::json
