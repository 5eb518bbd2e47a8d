#include "image/change.h"

#include <fmt/format.h>
#include <string.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <limits>

#include "base/text.h"
#include "codec/json.h"
#include "image/change_words.h"
#include "image/times.h"
#include "sys/file.h"

namespace davit::image {
namespace {

using Config = oci::ContainerConfig;

constexpr std::uint64_t kMaxPort = 65535;
constexpr std::int64_t kMillisecond = 1'000'000;
constexpr int kFirstRealTimeSignal = 34;  // as C programs see it: the C library keeps 32 and 33
constexpr int kLastSignal = 64;

std::string upper(std::string_view text) {
  std::string result(text);
  std::transform(result.begin(), result.end(), result.begin(),
                 [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
  return result;
}

std::string lower(std::string_view text) {
  std::string result(text);
  std::transform(result.begin(), result.end(), result.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return result;
}

struct Split {
  std::string keyword;  // upper case
  std::string_view rest;
};

Split split_keyword(std::string_view instruction) {
  std::string_view const text = trim(instruction);
  std::size_t const end = std::min(text.find_first_of(" \t"), text.size());
  return {upper(text.substr(0, end)), trim(text.substr(end))};
}

// ["a", "b"]: the exec form; what is not JSON is not one.
Result<std::optional<std::vector<std::string>>> exec_form(std::string_view text) {
  std::optional<std::vector<std::string>> words;
  if (!text.starts_with('[')) return words;
  Result<json::Document> const document = json::Document::parse(text);
  if (!document) return words;
  json::Field const root = document->root();
  if (!json::read(root, words.emplace()))
    return Error(Errc::kInvalidArgument, "when using JSON array syntax, arrays must be comprised of strings only");
  return words;
}

Result<void> set_command(std::vector<std::string>& command, std::string_view text) {
  auto words = TRY(exec_form(text));
  command = words ? std::move(*words) : std::vector<std::string>{"/bin/sh", "-c", std::string(text)};
  return {};
}

void set_env(Config& config, std::string const& key, std::string const& value) {
  std::string const prefix = key + "=";
  for (std::string& entry : config.env) {
    if (!entry.starts_with(prefix)) continue;
    entry = prefix + value;
    return;
  }
  config.env.push_back(prefix + value);
}

Result<void> env(Config& config, std::string_view text) {
  // All of one instruction see the environment before it.
  auto const pairs = TRY(expand_pairs("ENV", text, config.env));
  for (auto const& [key, value] : pairs) set_env(config, key, value);
  return {};
}

Result<void> label(Config& config, std::string_view text) {
  auto const pairs = TRY(expand_pairs("LABEL", text, config.env));
  for (auto const& [key, value] : pairs) config.labels[key] = value;
  return {};
}

void add_once(std::vector<std::string>& list, std::string item) {
  if (std::find(list.begin(), list.end(), item) == list.end()) list.push_back(std::move(item));
}

struct PortRange {
  std::uint64_t first = 0, last = 0;
};

std::optional<PortRange> parse_ports(std::string_view text) {
  std::size_t const dash = text.find('-');
  auto const first = parse_u64(text.substr(0, dash));
  auto const last = dash == std::string_view::npos ? first : parse_u64(text.substr(dash + 1));
  if (!first || !last || *first > *last || *last > kMaxPort) return std::nullopt;
  return PortRange{*first, *last};
}

// [[IP:]HOST-PORTS:]PORTS[/PROTOCOL]: where it is published is no property of an image, so it is checked and left out.
Result<void> expose_one(Config& config, std::string_view word) {
  auto const invalid = [&](std::string_view why) {
    return Error(Errc::kInvalidArgument, fmt::format("EXPOSE '{}': {}", word, why));
  };
  std::size_t const slash = std::min(word.find('/'), word.size());
  std::string const protocol = slash == word.size() ? "tcp" : lower(word.substr(slash + 1));
  if (protocol != "tcp" && protocol != "udp" && protocol != "sctp") return invalid("the protocol is unknown");
  std::string_view ports = word.substr(0, slash);
  if (auto const colon = ports.rfind(':'); colon != std::string_view::npos) {
    std::string_view host = ports.substr(0, colon);
    ports = ports.substr(colon + 1);
    if (auto const second = host.rfind(':'); second != std::string_view::npos) host = host.substr(second + 1);
    if (!host.empty() && !parse_ports(host)) return invalid("the port of the host is not one");
  }
  auto const range = parse_ports(ports);
  if (!range) return invalid("a port is a number from 0 to 65535, or two with '-' between");
  for (std::uint64_t port = range->first; port <= range->last; ++port)
    add_once(config.exposed_ports, fmt::format("{}/{}", port, protocol));
  return {};
}

Result<void> expose(Config& config, std::string_view text) {
  for (std::string_view const raw : raw_words(text)) {
    std::string const word = TRY(expand(raw, config.env));
    TRY(expose_one(config, word));
  }
  return {};
}

Result<void> volumes(Config& config, std::string_view text) {
  auto listed = TRY(exec_form(text));
  std::vector<std::string> words;
  if (listed) {
    words = std::move(*listed);
  } else {
    for (std::string_view const word : raw_words(text)) words.emplace_back(word);
  }
  for (std::string const& raw : words) {
    std::string path = TRY(expand(raw, config.env));
    if (path.empty()) return Error(Errc::kInvalidArgument, "VOLUME specified can not be an empty string");
    add_once(config.volumes, std::move(path));
  }
  return {};
}

Result<void> user(Config& config, std::string_view text) {
  config.user = TRY(expand(text, config.env));
  return {};
}

Result<void> work_directory(Config& config, std::string_view text) {
  std::string path = TRY(expand(text, config.env));
  // find, since GCC 12 at -O2 takes starts_with for a look at uninitialised memory here
  if (path.find('/') != 0) path = fmt::format("/{}/{}", config.working_dir, path);
  config.working_dir = sys::clean_path(path);
  return {};
}

// "9", "KILL", "SIGKILL", "RTMIN+3", "RTMAX-3"
bool is_signal(std::string_view text) {
  if (auto const number = parse_i64(text)) return *number > 0 && *number <= kLastSignal;
  std::string name = upper(text);
  if (name.starts_with("SIG")) name.erase(0, 3);
  if (name == "IOT" || name == "CLD" || name == "IO" || name == "RTMIN" || name == "RTMAX") return true;
  if (name.starts_with("RTMIN+") || name.starts_with("RTMAX-")) {
    auto const distance = parse_u64(name.substr(6));
    return distance && *distance <= kLastSignal - kFirstRealTimeSignal;
  }
  for (int number = 1; number < kFirstRealTimeSignal; ++number) {
    char const* const known = ::sigabbrev_np(number);
    if (known != nullptr && name == known) return true;
  }
  return false;
}

Result<void> stop_signal(Config& config, std::string_view text) {
  std::string word = TRY(expand(text, config.env));
  if (!is_signal(word)) return Error(Errc::kInvalidArgument, fmt::format("STOPSIGNAL: invalid signal: {}", word));
  config.stop_signal = std::move(word);
  return {};
}

Result<void> on_build(Config& config, std::string_view text) {
  std::string const keyword = split_keyword(text).keyword;
  if (keyword == "ONBUILD")
    return Error(Errc::kInvalidArgument, "Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed");
  if (keyword == "FROM" || keyword == "MAINTAINER")
    return Error(Errc::kInvalidArgument, fmt::format("{} isn't allowed as an ONBUILD trigger", keyword));
  config.on_build.emplace_back(text);
  return {};
}

Result<std::int64_t> health_time(std::string_view flag, std::string_view value) {
  auto const nanos = parse_duration_ns(value);
  if (!nanos || *nanos < 0 || (*nanos > 0 && *nanos < kMillisecond)) {
    return Error(Errc::kInvalidArgument,
                 fmt::format("HEALTHCHECK {}={}: a duration of at least 1ms is expected (30s, 1m30s)", flag, value));
  }
  return *nanos;
}

Result<void> health_flag(oci::HealthCheck& check, std::string_view word) {
  std::size_t const equals = std::min(word.find('='), word.size());
  std::string_view const flag = word.substr(0, equals);
  std::string_view const value = equals == word.size() ? std::string_view() : word.substr(equals + 1);
  struct Time {
    std::string_view flag;
    std::int64_t oci::HealthCheck::*member;
  };
  constexpr std::array<Time, 4> kTimes{{{"--interval", &oci::HealthCheck::interval_ns},
                                        {"--timeout", &oci::HealthCheck::timeout_ns},
                                        {"--start-period", &oci::HealthCheck::start_period_ns},
                                        {"--start-interval", &oci::HealthCheck::start_interval_ns}}};
  for (Time const& time : kTimes) {
    if (time.flag != flag) continue;
    check.*time.member = TRY(health_time(flag, value));
    return {};
  }
  if (flag != "--retries") return Error(Errc::kInvalidArgument, fmt::format("HEALTHCHECK: unknown flag: {}", flag));
  auto const retries = parse_u64(value);
  if (!retries || *retries > static_cast<std::uint64_t>(std::numeric_limits<int>::max()))
    return Error(Errc::kInvalidArgument, fmt::format("HEALTHCHECK --retries={}: a number is expected", value));
  check.retries = static_cast<int>(*retries);
  return {};
}

Result<void> health_check(Config& config, std::string_view text) {
  oci::HealthCheck check;
  while (text.starts_with("--")) {
    std::size_t const end = std::min(text.find_first_of(" \t"), text.size());
    TRY(health_flag(check, text.substr(0, end)));
    text = trim(text.substr(end));
  }
  auto const [type, rest] = split_keyword(text);
  if (type == "NONE") {
    if (!rest.empty()) return Error(Errc::kInvalidArgument, "HEALTHCHECK NONE takes no arguments");
    config.healthcheck = oci::HealthCheck{.test = {"NONE"}};
    return {};
  }
  if (type != "CMD")
    return Error(Errc::kInvalidArgument, fmt::format("Unknown type \"{}\" in HEALTHCHECK (try CMD)", type));
  auto words = TRY(exec_form(rest));
  if (rest.empty() || (words && words->empty()))
    return Error(Errc::kInvalidArgument, "Missing command after HEALTHCHECK CMD");
  if (words) {
    check.test = std::move(*words);
    check.test.insert(check.test.begin(), "CMD");
  } else {
    check.test = {"CMD-SHELL", std::string(rest)};
  }
  config.healthcheck = std::move(check);
  return {};
}

Result<void> cmd(Config& config, std::string_view text) { return set_command(config.cmd, text); }
Result<void> entrypoint(Config& config, std::string_view text) { return set_command(config.entrypoint, text); }

struct Instruction {
  std::string_view keyword;
  Result<void> (*apply)(Config&, std::string_view);
};
constexpr std::array<Instruction, 11> kInstructions{{{"CMD", cmd},
                                                     {"ENTRYPOINT", entrypoint},
                                                     {"ENV", env},
                                                     {"EXPOSE", expose},
                                                     {"HEALTHCHECK", health_check},
                                                     {"LABEL", label},
                                                     {"ONBUILD", on_build},
                                                     {"STOPSIGNAL", stop_signal},
                                                     {"USER", user},
                                                     {"VOLUME", volumes},
                                                     {"WORKDIR", work_directory}}};

}  // namespace

Result<void> apply_change(oci::ContainerConfig& config, std::string_view instruction) {
  auto const [keyword, rest] = split_keyword(instruction);
  if (keyword.empty() || keyword.starts_with('#')) return Error(Errc::kInvalidArgument, "a change with no instruction");
  for (Instruction const& each : kInstructions) {
    if (each.keyword != keyword) continue;
    // CMD [] and ENTRYPOINT [] clear; nothing at all is a mistake.
    if (rest.empty()) return Error(Errc::kInvalidArgument, fmt::format("{} requires at least one argument", keyword));
    return each.apply(config, rest);
  }
  return Error(Errc::kInvalidArgument, fmt::format("{} is not a valid change command", keyword));
}

}  // namespace davit::image
