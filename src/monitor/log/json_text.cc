#include "monitor/log/json_text.h"

#include <cstdint>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace davit::monitor::log {

namespace {
constexpr char kHex[] = "0123456789abcdef";
constexpr std::size_t kMaxEscape = 6;  // "\u00XX" for one byte

// May not stand in the output as it is, or needs a look because it is not ASCII.
constexpr bool special(unsigned char c) {
  return c < 0x20 || c >= 0x80 || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&';
}

char const* find_special(char const* at, char const* end) {
#if defined(__SSE2__)
  __m128i const space = _mm_set1_epi8(0x20), quote_and = _mm_set1_epi8('&'), angle = _mm_set1_epi8('>');
  __m128i const backslash = _mm_set1_epi8('\\'), bit1 = _mm_set1_epi8(2), bit2 = _mm_set1_epi8(4);
  for (; end - at >= 16; at += 16) {
    __m128i const bytes = _mm_loadu_si128(reinterpret_cast<__m128i const*>(at));
    // Signed: bytes of 0x80 and more are negative, so below 0x20 too. '"'|4 == '&', '<'|2 == '>'.
    __m128i hits = _mm_cmpgt_epi8(space, bytes);
    hits = _mm_or_si128(hits, _mm_cmpeq_epi8(_mm_or_si128(bytes, bit2), quote_and));
    hits = _mm_or_si128(hits, _mm_cmpeq_epi8(_mm_or_si128(bytes, bit1), angle));
    hits = _mm_or_si128(hits, _mm_cmpeq_epi8(bytes, backslash));
    if (int const mask = _mm_movemask_epi8(hits); mask != 0) return at + __builtin_ctz(static_cast<unsigned>(mask));
  }
#endif
  while (at < end && !special(static_cast<unsigned char>(*at))) ++at;
  return at;
}

// Length of the valid UTF-8 sequence at `at`, 0 when there is none (Unicode 15, table 3-7).
int utf8_length(char const* text, char const* end) {
  auto const at = reinterpret_cast<unsigned char const*>(text);
  auto const left = end - text;
  auto const tail = [&](int i) { return (at[i] & 0xc0) == 0x80; };
  if (at[0] >= 0xc2 && at[0] <= 0xdf) return left >= 2 && tail(1) ? 2 : 0;
  if (at[0] >= 0xe0 && at[0] <= 0xef) {
    if (left < 3 || !tail(1) || !tail(2)) return 0;
    if ((at[0] == 0xe0 && at[1] < 0xa0) || (at[0] == 0xed && at[1] > 0x9f)) return 0;
    return 3;
  }
  if (at[0] >= 0xf0 && at[0] <= 0xf4) {
    if (left < 4 || !tail(1) || !tail(2) || !tail(3)) return 0;
    if ((at[0] == 0xf0 && at[1] < 0x90) || (at[0] == 0xf4 && at[1] > 0x8f)) return 0;
    return 4;
  }
  return 0;
}

char* put_text(char* out, std::string_view text) {
  std::memcpy(out, text.data(), text.size());
  return out + text.size();
}

char* put_escaped_ascii(char* out, unsigned char c) {
  if (c == '\n') return put_text(out, "\\n");
  if (c == '\r') return put_text(out, "\\r");
  if (c == '"') return put_text(out, "\\\"");
  if (c == '\\') return put_text(out, "\\\\");
  out = put_text(out, "\\u00");
  *out++ = kHex[c >> 4];
  *out++ = kHex[c & 15];
  return out;
}

char* put_multibyte(char* out, char const*& at, char const* end) {
  int const length = utf8_length(at, end);
  std::string_view const sequence(at, static_cast<std::size_t>(length));
  at += length == 0 ? 1 : length;
  if (length == 0) return put_text(out, "\\ufffd");
  if (sequence == "\xe2\x80\xa8") return put_text(out, "\\u2028");
  if (sequence == "\xe2\x80\xa9") return put_text(out, "\\u2029");
  return put_text(out, sequence);
}
}  // namespace

void append_json_escaped(Buffer& buffer, std::string_view text) {
  char* const start = buffer.reserve(text.size() * kMaxEscape);
  char* out = start;
  char const* at = text.data();
  char const* const end = at + text.size();
  while (at < end) {
    char const* const stop = find_special(at, end);
    out = put_text(out, {at, static_cast<std::size_t>(stop - at)});
    at = stop;
    if (at == end) break;
    if (static_cast<unsigned char>(*at) < 0x80) {
      out = put_escaped_ascii(out, static_cast<unsigned char>(*at++));
    } else {
      out = put_multibyte(out, at, end);
    }
  }
  buffer.commit(static_cast<std::size_t>(out - start));
}

namespace {
// Four hex digits from the front; -1 where they are not there.
int take_hex4(std::string_view& text) {
  if (text.size() < 4) return -1;
  int value = 0;
  for (char const c : text.substr(0, 4)) {
    int const digit = c >= '0' && c <= '9'   ? c - '0'
                      : c >= 'a' && c <= 'f' ? c - 'a' + 10
                      : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                             : -1;
    if (digit < 0) return -1;
    value = value * 16 + digit;
  }
  text.remove_prefix(4);
  return value;
}

void append_utf8(std::string& out, std::uint32_t rune) {
  auto const add = [&](std::uint32_t byte) { out += static_cast<char>(static_cast<unsigned char>(byte)); };
  if (rune < 0x80) return add(rune);
  if (rune < 0x800) {
    add(0xc0 | rune >> 6);
  } else if (rune < 0x10000) {
    add(0xe0 | rune >> 12);
    add(0x80 | (rune >> 6 & 0x3f));
  } else {
    add(0xf0 | rune >> 18);
    add(0x80 | (rune >> 12 & 0x3f));
    add(0x80 | (rune >> 6 & 0x3f));
  }
  add(0x80 | (rune & 0x3f));
}

bool take_unicode_escape(std::string_view& text, std::string& out) {
  int const first = take_hex4(text);
  if (first < 0) return false;
  auto rune = static_cast<std::uint32_t>(first);
  if (rune >= 0xd800 && rune <= 0xdfff) {
    std::string_view rest = text;
    int second = -1;
    if (rune < 0xdc00 && rest.substr(0, 2) == "\\u") {
      rest.remove_prefix(2);
      second = take_hex4(rest);
    }
    if (second >= 0xdc00 && second <= 0xdfff) {
      rune = 0x10000 + ((rune - 0xd800) << 10) + (static_cast<std::uint32_t>(second) - 0xdc00);
      text = rest;
    } else {
      rune = 0xfffd;
    }
  }
  append_utf8(out, rune);
  return true;
}

bool take_escape(std::string_view& text, std::string& out) {
  if (text.empty()) return false;
  char const c = text.front();
  text.remove_prefix(1);
  switch (c) {
    case 'n':
      return out += '\n', true;
    case 'r':
      return out += '\r', true;
    case 't':
      return out += '\t', true;
    case 'b':
      return out += '\b', true;
    case 'f':
      return out += '\f', true;
    case '"':
    case '\\':
    case '/':
      return out += c, true;
    case 'u':
      return take_unicode_escape(text, out);
    default:
      return false;
  }
}
}  // namespace

bool take_json_string(std::string_view& text, std::string& out) {
  out.clear();
  if (text.empty() || text.front() != '"') return false;
  text.remove_prefix(1);
  for (;;) {
    std::size_t const stop = text.find_first_of("\"\\");
    if (stop == std::string_view::npos) return false;
    out.append(text.substr(0, stop));
    char const c = text[stop];
    text.remove_prefix(stop + 1);
    if (c == '"') return true;
    if (!take_escape(text, out)) return false;
  }
}

void skip_json_space(std::string_view& text) {
  while (!text.empty() &&
         (text.front() == ' ' || text.front() == '\t' || text.front() == '\r' || text.front() == '\n')) {
    text.remove_prefix(1);
  }
}

namespace {
constexpr int kMaxDepth = 64;

bool skip_value(std::string_view& text, int depth);

// The members after '{' or '[' up to the closing one.
bool skip_members(std::string_view& text, char close, int depth) {
  std::string scratch;
  skip_json_space(text);
  if (!text.empty() && text.front() == close) return text.remove_prefix(1), true;
  for (;;) {
    skip_json_space(text);
    if (close == '}') {
      if (!take_json_string(text, scratch)) return false;
      skip_json_space(text);
      if (text.empty() || text.front() != ':') return false;
      text.remove_prefix(1);
    }
    if (!skip_value(text, depth + 1)) return false;
    skip_json_space(text);
    if (text.empty()) return false;
    char const next = text.front();
    text.remove_prefix(1);
    if (next == close) return true;
    if (next != ',') return false;
  }
}

bool skip_value(std::string_view& text, int depth) {
  if (depth > kMaxDepth) return false;
  skip_json_space(text);
  if (text.empty()) return false;
  if (text.front() == '"') {
    std::string scratch;
    return take_json_string(text, scratch);
  }
  if (text.front() == '{' || text.front() == '[') {
    char const close = text.front() == '{' ? '}' : ']';
    text.remove_prefix(1);
    return skip_members(text, close, depth);
  }
  // A number or a literal; that it is a correct one matters to nobody who only passes it on.
  std::size_t const length = text.find_first_not_of("+-.0123456789eEtrufalsn");
  if (length == 0) return false;
  text.remove_prefix(length == std::string_view::npos ? text.size() : length);
  return true;
}
}  // namespace

std::string_view take_json_value(std::string_view& text) {
  skip_json_space(text);
  std::string_view const before = text;
  if (!skip_value(text, 0)) return {};
  return before.substr(0, before.size() - text.size());
}

}  // namespace davit::monitor::log
