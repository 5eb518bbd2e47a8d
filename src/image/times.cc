#include "image/times.h"

#include <algorithm>
#include <array>
#include <ctime>
#include <string>

#include "base/text.h"

namespace davit::image {
namespace {

constexpr std::int64_t kSecond = 1'000'000'000;

bool is_digit(char c) { return c >= '0' && c <= '9'; }

// Takes things off the front of a text; `failed` once something was not there.
class Reader {
 public:
  explicit Reader(std::string_view text) : rest_(text) {}
  bool done() const { return rest_.empty(); }
  bool failed() const { return failed_; }
  char peek() const { return rest_.empty() ? '\0' : rest_.front(); }
  void fail() { failed_ = true; }
  bool take(char c) {
    if (peek() != c || rest_.empty()) return false;
    rest_.remove_prefix(1);
    return true;
  }
  void need(char c) {
    if (!take(c)) failed_ = true;
  }
  // Exactly `count` digits, least to most as a number.
  int number(std::size_t count, int least, int most) {
    auto const value = rest_.size() < count ? std::nullopt : parse_u64(rest_.substr(0, count));
    if (!value || *value > 9999) {
      failed_ = true;
      return least;
    }
    rest_.remove_prefix(count);
    int const found = static_cast<int>(*value);
    if (found < least || found > most) failed_ = true;
    return found;
  }
  // Digits after a point, as billionths; what is finer is dropped.
  std::int64_t fraction() {
    if (!is_digit(peek())) failed_ = true;
    std::int64_t nanos = 0, scale = kSecond / 10;
    for (; is_digit(peek()); scale /= 10, rest_.remove_prefix(1)) nanos += (peek() - '0') * scale;
    return nanos;
  }

 private:
  std::string_view rest_;
  bool failed_ = false;
};

int days_of(int year, int month) {
  constexpr std::array<int, 12> kDays{31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
  bool const leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
  return kDays[static_cast<std::size_t>(month - 1)] + (month == 2 && leap ? 1 : 0);
}

// "Z" or "+02:00": seconds east of UTC.
std::int64_t read_zone(Reader& in) {
  if (in.take('Z')) return 0;
  bool const west = in.peek() == '-';
  if (!in.take('-')) in.need('+');
  int const hours = in.number(2, 0, 24);
  in.need(':');
  int const minutes = in.number(2, 0, 59);
  std::int64_t const seconds = hours * 3600 + minutes * 60;
  return west ? -seconds : seconds;
}

enum class Form { kWhole, kShortened };

std::optional<std::int64_t> read_time(std::string_view text, Form form) {
  Reader in(text);
  bool const short_allowed = form == Form::kShortened;
  auto const ends = [&] { return short_allowed && (in.done() || in.peek() == 'Z' || in.peek() == '+'); };
  std::tm parts{};
  int const year = in.number(4, 1900, 2261);  // later ones do not fit 64 bits of nanoseconds
  in.need('-');
  int const month = in.number(2, 1, 12);
  in.need('-');
  if (in.failed()) return std::nullopt;
  parts.tm_mday = in.number(2, 1, days_of(year, month));
  parts.tm_year = year - 1900;
  parts.tm_mon = month - 1;
  std::int64_t nanos = 0;
  if (!ends()) {
    in.need('T');
    parts.tm_hour = in.number(2, 0, 23);
    if (!ends() && !(short_allowed && in.peek() == '-')) {
      in.need(':');
      parts.tm_min = in.number(2, 0, 59);
    }
    if (!ends() && !(short_allowed && in.peek() == '-')) {
      in.need(':');
      parts.tm_sec = in.number(2, 0, 59);
      if (in.take('.') || in.take(',')) nanos = in.fraction();
    }
  }
  std::int64_t offset = 0;
  if (!short_allowed || !in.done()) offset = read_zone(in);
  if (in.failed() || !in.done()) return std::nullopt;
  return (::timegm(&parts) - offset) * kSecond + nanos;
}

struct Unit {
  std::string_view name;
  std::int64_t nanos;
};

// The longer names first: "ms" is not "m".
constexpr std::array<Unit, 8> kUnits{{{"ms", 1'000'000},
                                      {"us", 1000},
                                      {"\u00b5s", 1000},
                                      {"\u03bcs", 1000},
                                      {"ns", 1},
                                      {"h", 3600 * kSecond},
                                      {"m", 60 * kSecond},
                                      {"s", kSecond}}};

// One "1.5h" off the front.
std::optional<std::int64_t> take_span(std::string_view& text) {
  auto const digits = [&] {
    std::size_t const length = std::min(text.find_first_not_of("0123456789"), text.size());
    std::string_view const taken = text.substr(0, length);
    text.remove_prefix(length);
    return taken;
  };
  std::string_view const whole = digits();
  std::string_view part;
  if (text.starts_with('.')) {
    text.remove_prefix(1);
    part = digits();
  }
  if (whole.empty() && part.empty()) return std::nullopt;
  auto const* const unit =
      std::find_if(kUnits.begin(), kUnits.end(), [&](Unit const& each) { return text.starts_with(each.name); });
  auto const number = whole.empty() ? std::optional<std::uint64_t>(0) : parse_u64(whole);
  if (unit == kUnits.end() || !number) return std::nullopt;
  text.remove_prefix(unit->name.size());
  std::int64_t total = 0;
  if (*number > INT64_MAX || __builtin_mul_overflow(static_cast<std::int64_t>(*number), unit->nanos, &total))
    return std::nullopt;
  double scale = static_cast<double>(unit->nanos);
  double extra = 0;
  for (char const c : part) extra += (c - '0') * (scale /= 10);
  if (__builtin_add_overflow(total, static_cast<std::int64_t>(extra + 0.5), &total)) return std::nullopt;
  return total;
}

}  // namespace

std::int64_t parse_time_ns(std::string_view text) { return read_time(text, Form::kWhole).value_or(0); }

std::optional<std::int64_t> parse_duration_ns(std::string_view text) {
  bool const negative = text.starts_with('-');
  if (negative || text.starts_with('+')) text.remove_prefix(1);
  if (text == "0") return 0;
  if (text.empty()) return std::nullopt;
  std::int64_t total = 0;
  while (!text.empty()) {
    auto const span = take_span(text);
    if (!span || __builtin_add_overflow(total, *span, &total)) return std::nullopt;
  }
  return negative ? -total : total;
}

std::optional<std::int64_t> parse_moment_ns(std::string_view text, std::int64_t now_ns) {
  std::int64_t moment = 0;
  std::size_t const point = std::min(text.find('.'), text.size());
  if (auto const seconds = parse_i64(text.substr(0, point))) {
    if (__builtin_mul_overflow(*seconds, kSecond, &moment)) return std::nullopt;
    if (point == text.size()) return moment;
    Reader fraction(text.substr(point + 1));
    std::int64_t const nanos = fraction.fraction();
    if (!fraction.failed() && fraction.done()) return *seconds < 0 ? moment - nanos : moment + nanos;
  }
  if (auto const duration = parse_duration_ns(text)) {
    if (__builtin_sub_overflow(now_ns, *duration, &moment)) return std::nullopt;
    return moment;
  }
  return read_time(text, Form::kShortened);
}

}  // namespace davit::image
