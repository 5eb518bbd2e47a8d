#include "monitor/log/log_options.h"

#include <cctype>

#include "base/text.h"
#include "monitor/log/json_text.h"

namespace davit::monitor::log {

namespace {
constexpr std::size_t kMaxAttrsSize = 16 * 1024;

Error bad_value(std::string_view name, std::string_view value, std::string_view expected) {
  std::string text = "log option '";
  text.append(name).append("': '").append(value).append("' is not ").append(expected);
  return Error(Errc::kInvalidArgument, text);
}

Result<std::uint64_t> parse_size(std::string_view name, std::string_view value) {
  std::size_t const digits = value.find_first_not_of("0123456789");
  std::string unit;
  if (digits != std::string_view::npos) {
    for (char const c : value.substr(digits)) {
      if (c != ' ') unit += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    }
  }
  std::optional<std::uint64_t> const number = parse_u64(value.substr(0, digits));
  std::uint64_t factor = 0;
  if (unit.empty() || unit == "b") factor = 1;
  for (auto const& [letter, power] : {std::pair{'k', 1'000ULL}, {'m', 1'000'000ULL}, {'g', 1'000'000'000ULL}}) {
    if (!unit.empty() && unit[0] == letter && (unit.size() == 1 || unit.substr(1) == "b" || unit.substr(1) == "ib")) {
      factor = power;
    }
  }
  if (!number || factor == 0 || *number > (1ULL << 62) / factor) {
    return bad_value(name, value, "a size such as 10m");
  }
  return *number * factor;
}

Result<bool> parse_switch(std::string_view name, std::string_view value) {
  if (value == "true" || value == "1") return true;
  if (value == "false" || value == "0") return false;
  return bad_value(name, value, "true or false");
}

Result<Driver> parse_driver(std::string_view name) {
  if (name == "none") return Driver::kNone;
  if (name == "json-file") return Driver::kJsonFile;
  if (name == "local") return Driver::kLocal;
  if (name == "cri") return Driver::kCri;
  return Error(Errc::kInvalidArgument, "log driver '" + std::string(name) + "' is not none, json-file, local or cri");
}

Result<void> apply(LogOptions& log, std::string_view name, std::string_view value) {
  if (name == "max-size") {
    log.max_size = value == "-1" ? 0 : TRY(parse_size(name, value));
  } else if (name == "max-file") {
    std::optional<std::uint64_t> const count = parse_u64(value);
    if (!count || *count < 1 || *count > 1000) return bad_value(name, value, "a number from 1 to 1000");
    log.max_files = static_cast<unsigned>(*count);
  } else if (name == "compress") {
    log.compress = TRY(parse_switch(name, value));
  } else if (name == "attrs" && log.driver == Driver::kJsonFile) {
    std::string_view rest = value;
    bool const object = value.size() <= kMaxAttrsSize && value.substr(0, 1) == "{" &&
                        value.find('\n') == std::string_view::npos && !take_json_value(rest).empty() && rest.empty();
    if (!object) return bad_value(name, value, "a JSON object on one line of at most 16 KiB");
    log.attrs = value;
  } else {
    return Error(Errc::kInvalidArgument, "unknown log option '" + std::string(name) + "' for this log driver");
  }
  return {};
}
}  // namespace

Result<LogOptions> parse_log_options(std::string_view driver, std::string path, KeyValues const& options) {
  LogOptions log;
  log.driver = TRY(parse_driver(driver));
  log.path = std::move(path);
  if (log.driver == Driver::kLocal) {
    log.max_size = 20'000'000;
    log.max_files = 5;
    log.compress = true;
  }
  if (log.driver == Driver::kNone && !options.empty()) {
    return Error(Errc::kInvalidArgument, "log driver 'none' takes no options, got '" + options.front().first + "'");
  }
  for (auto const& [name, value] : options) TRY(apply(log, name, value));
  if (log.driver != Driver::kNone && log.path.empty()) {
    return Error(Errc::kInvalidArgument, "log driver '" + std::string(driver) + "' needs a log path");
  }
  if (log.max_files > 1 && log.max_size == 0) {
    return Error(Errc::kInvalidArgument, "log option 'max-file' needs 'max-size'");
  }
  if (log.compress && (log.max_files < 2 || log.max_size == 0)) {
    return Error(Errc::kInvalidArgument, "log option 'compress' needs 'max-size' and 'max-file' of at least 2");
  }
  return log;
}

}  // namespace davit::monitor::log
