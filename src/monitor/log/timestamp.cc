#include "monitor/log/timestamp.h"

#include <algorithm>

namespace davit::monitor::log {

namespace {
// Days since 1970-01-01 of a date of the proleptic Gregorian calendar, and back: with years that start in March the
// leap day is the last of its year, so month lengths follow the linear formula (153 m + 2) / 5.
constexpr std::int64_t kDaysToEpoch = 719468;  // from 0000-03-01
constexpr std::int64_t kDaysPerEra = 146097;   // 400 years

struct Date {
  std::int64_t year;
  int month, day;
};

Date date_of(std::int64_t days) {
  days += kDaysToEpoch;
  std::int64_t const era = (days >= 0 ? days : days - kDaysPerEra + 1) / kDaysPerEra;
  std::int64_t const day_of_era = days - era * kDaysPerEra;
  std::int64_t const year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
  auto const day_of_year = static_cast<int>(day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100));
  int const shifted_month = (5 * day_of_year + 2) / 153;
  int const month = shifted_month < 10 ? shifted_month + 3 : shifted_month - 9;
  return {year_of_era + era * 400 + (month <= 2 ? 1 : 0), month, day_of_year - (153 * shifted_month + 2) / 5 + 1};
}

std::int64_t days_of(std::int64_t year, int month, int day) {
  year -= month <= 2 ? 1 : 0;
  std::int64_t const era = year / 400;
  std::int64_t const year_of_era = year - era * 400;
  int const day_of_year = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;
  return era * kDaysPerEra + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - kDaysToEpoch;
}

char* put(char* out, std::int64_t value, int digits) {
  for (int i = digits - 1; i >= 0; --i, value /= 10) out[i] = static_cast<char>('0' + value % 10);
  return out + digits;
}

// Takes exactly `digits` digits and then `after` (0: nothing) from the front of text; -1 when they are not there.
int take(std::string_view& text, int digits, char after) {
  auto const count = static_cast<std::size_t>(digits);
  if (text.size() < count + (after != 0 ? 1 : 0)) return -1;
  int value = 0;
  for (char const c : text.substr(0, count)) {
    if (c < '0' || c > '9') return -1;
    value = value * 10 + (c - '0');
  }
  text.remove_prefix(count);
  if (after == 0) return value;
  if (text.front() != after) return -1;
  text.remove_prefix(1);
  return value;
}

std::optional<std::int64_t> take_fraction(std::string_view& text) {
  if (text.empty() || text.front() != '.') return 0;
  text.remove_prefix(1);
  std::int64_t nanos = 0;
  int digits = 0;
  for (; !text.empty() && text.front() >= '0' && text.front() <= '9'; text.remove_prefix(1), ++digits) {
    if (digits < 9) nanos = nanos * 10 + (text.front() - '0');
  }
  if (digits == 0) return std::nullopt;
  for (; digits < 9; ++digits) nanos *= 10;
  return nanos;
}

// Seconds east of UTC; the whole rest of text.
std::optional<std::int64_t> zone_offset(std::string_view text) {
  if (text == "Z") return 0;
  if (text.empty() || (text.front() != '+' && text.front() != '-')) return std::nullopt;
  int const sign = text.front() == '+' ? 1 : -1;
  text.remove_prefix(1);
  int const hours = take(text, 2, ':');
  int const minutes = take(text, 2, 0);
  if (hours < 0 || hours > 23 || minutes < 0 || minutes > 59 || !text.empty()) return std::nullopt;
  return sign * (hours * 3600 + minutes * 60);
}
}  // namespace

TimeText::TimeText(std::int64_t unix_nanos, Fraction fraction) {
  std::int64_t const nanos = ((unix_nanos % 1'000'000'000) + 1'000'000'000) % 1'000'000'000;
  std::int64_t const seconds = (unix_nanos - nanos) / 1'000'000'000;
  std::int64_t const of_day = ((seconds % 86400) + 86400) % 86400;
  Date const date = date_of((seconds - of_day) / 86400);
  char* out = put(text_, date.year, 4);
  *out++ = '-';
  out = put(out, date.month, 2);
  *out++ = '-';
  out = put(out, date.day, 2);
  *out++ = 'T';
  out = put(out, of_day / 3600, 2);
  *out++ = ':';
  out = put(out, of_day / 60 % 60, 2);
  *out++ = ':';
  out = put(out, of_day % 60, 2);
  *out++ = '.';
  out = put(out, nanos, 9);
  if (fraction == Fraction::kShortest) {
    while (out[-1] == '0') --out;
    if (out[-1] == '.') --out;
  }
  *out++ = 'Z';
  size_ = static_cast<std::size_t>(out - text_);
}

std::optional<std::int64_t> parse_time(std::string_view text) {
  int const year = take(text, 4, '-');
  int const month = take(text, 2, '-');
  int const day = take(text, 2, 'T');
  int const hour = take(text, 2, ':');
  int const minute = take(text, 2, ':');
  int const second = take(text, 2, 0);
  if (year < 1970 || year > 2261 || month < 1 || month > 12 || day < 1 || day > 31) return std::nullopt;
  if (hour < 0 || hour > 23 || minute < 0 || minute > 59 || second < 0 || second > 60) return std::nullopt;
  std::optional<std::int64_t> const nanos = take_fraction(text);
  std::optional<std::int64_t> const offset = zone_offset(text);
  if (!nanos || !offset) return std::nullopt;
  std::int64_t const seconds = days_of(year, month, day) * 86400 + hour * 3600 + minute * 60 + second - *offset;
  return seconds * 1'000'000'000 + *nanos;
}

}  // namespace davit::monitor::log
