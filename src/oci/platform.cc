#include "oci/platform.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "base/text.h"
#include "sys/machine.h"

namespace davit::oci {

namespace {

// The words that a lone "linux" or "arm64" is recognised by: Go's GOOS and GOARCH values.
constexpr auto kSystems = std::to_array<std::string_view>({"aix", "android", "darwin", "dragonfly", "freebsd", "hurd",
                                                           "illumos", "ios", "js", "linux", "nacl", "netbsd", "openbsd",
                                                           "plan9", "solaris", "wasip1", "windows", "zos"});
constexpr auto kArchitectures = std::to_array<std::string_view>(
    {"386",     "amd64",  "amd64p32", "arm",      "armbe", "arm64",   "arm64be",   "loong64",
     "mips",    "mipsle", "mips64",   "mips64le", "ppc",   "ppc64",   "ppc64le",   "riscv",
     "riscv64", "s390",   "s390x",    "sparc",    "wasm",  "sparc64", "mips64p32", "mips64p32le"});

constexpr int kExact = 100000;          // the same architecture and variant
constexpr int kOtherFamily = 100;       // arm programs on arm64
constexpr int kUnnamedVariant = 90000;  // an offer without variant where one of an unknown family is wanted

std::string lower(std::string text) {
  for (char& c : text) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return text;
}

bool is_component(std::string_view text) {
  return !text.empty() && std::ranges::all_of(text, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '.' ||
           c == '-';
  });
}

Error invalid(std::string_view text, std::string_view why) {
  return Error(Errc::kInvalidArgument, fmt::format("platform \"{}\": {}", text.substr(0, 100), why));
}

// "windows(10.0.17763+win32k)": version and features in brackets.
Result<void> read_os(std::string_view whole, std::string_view part, Platform& out) {
  std::size_t const bracket = part.find('(');
  std::string_view const name = part.substr(0, bracket);
  if (!is_component(name)) return invalid(whole, fmt::format("\"{}\" is not an operating system", name));
  out.os = name;
  if (bracket == std::string_view::npos) return {};
  if (part.back() != ')') return invalid(whole, "the version in brackets has no end");
  std::vector<std::string_view> const words = split(part.substr(bracket + 1, part.size() - bracket - 2), '+');
  for (std::string_view const word : words) {
    bool const absent_version = &word == &words.front() && word.empty();
    if (!absent_version && !is_component(word)) return invalid(whole, fmt::format("\"{}\" is not a version", word));
  }
  out.os_version = words.front();
  out.os_features.assign(words.begin() + 1, words.end());
  return {};
}

// One word: an operating system or an architecture; the rest is the host's.
Result<Platform> parse_word(std::string_view text, Platform const& host) {
  Platform platform;
  TRY(read_os(text, text, platform));
  platform = normalise(std::move(platform));
  if (std::ranges::find(kSystems, platform.os) != kSystems.end()) {
    platform.architecture = host.architecture;
    platform.variant = host.variant;
    return normalise(std::move(platform));
  }
  Platform by_architecture = normalise({.os = host.os, .architecture = std::string(text)});
  if (std::ranges::find(kArchitectures, by_architecture.architecture) != kArchitectures.end()) return by_architecture;
  return invalid(text, "unknown operating system or architecture");
}

// 100 times the version of "v7", "v8.2": 700, 802; nullopt for other words. none: what "" stands for.
std::optional<int> level(std::string_view variant, int none) {
  if (variant.empty()) return none;
  if (variant.front() != 'v') return std::nullopt;
  std::size_t const dot = variant.find('.');
  auto const major = parse_u64(variant.substr(1, dot == std::string_view::npos ? dot : dot - 1));
  auto const minor = dot == std::string_view::npos ? std::uint64_t{0} : parse_u64(variant.substr(dot + 1));
  if (!major || !minor || *major > 99 || *minor > 99) return std::nullopt;
  return static_cast<int>(*major * 100 + *minor);
}

// What a family's unnamed variant stands for; nullopt where variants are not ordered.
std::optional<int> default_level(std::string_view architecture) {
  if (architecture == "amd64") return 100;
  if (architecture == "arm") return 700;
  if (architecture == "arm64") return 800;
  return std::nullopt;
}

int same_family_score(Platform const& wanted, Platform const& offered) {
  if (wanted.variant == offered.variant) return kExact;
  std::optional<int> const unnamed = default_level(wanted.architecture);
  if (!unnamed) return offered.variant.empty() ? kUnnamedVariant : 0;
  std::optional<int> const need = level(wanted.variant, *unnamed);
  std::optional<int> const have = level(offered.variant, *unnamed);
  if (!need || !have || *have > *need) return 0;
  return kExact - (*need - *have);  // levels are below 10000: always above kOtherFamily
}

}  // namespace

Platform normalise(Platform platform) {
  platform.os = lower(std::move(platform.os));
  if (platform.os == "macos") platform.os = "darwin";
  platform.architecture = lower(std::move(platform.architecture));
  platform.variant = lower(std::move(platform.variant));
  std::string& architecture = platform.architecture;
  std::string& variant = platform.variant;
  if (architecture == "i386" || architecture == "i486" || architecture == "i586" || architecture == "i686") {
    architecture = "386";
    variant.clear();
  } else if (architecture == "x86_64" || architecture == "x86-64") {
    architecture = "amd64";
  } else if (architecture == "aarch64") {
    architecture = "arm64";
  } else if (architecture == "armhf") {
    architecture = "arm";
    variant = "v7";
  } else if (architecture == "armel") {
    architecture = "arm";
    variant = "v6";
  }
  bool const arm = architecture == "arm" || architecture == "arm64";
  if (arm && !variant.empty() && variant.front() >= '0' && variant.front() <= '9') variant.insert(0, "v");
  if (architecture == "arm" && variant.empty()) variant = "v7";
  if (architecture == "arm64" && variant == "v8") variant.clear();
  if (architecture == "amd64" && variant == "v1") variant.clear();
  return platform;
}

Result<Platform> parse_platform(std::string_view text, Platform const& host) {
  std::vector<std::string_view> const parts = split(text, '/');
  if (parts.size() > 3) return invalid(text, "expected os/architecture/variant");
  if (parts.size() == 1) return parse_word(text, host);
  Platform platform;
  TRY(read_os(text, parts[0], platform));
  for (std::size_t i = 1; i < parts.size(); ++i) {
    if (!is_component(parts[i])) return invalid(text, fmt::format("\"{}\" is not a part of a platform", parts[i]));
  }
  platform.architecture = parts[1];
  if (parts.size() == 3) platform.variant = parts[2];
  return normalise(std::move(platform));
}

Platform host_platform() {
  std::string machine = sys::machine_name();
  Platform platform{.os = "linux", .architecture = machine};
  if (machine.starts_with("armv")) {  // armv6l, armv7l, armv8l (a 32-bit process on arm64)
    platform.architecture = "arm";
    platform.variant = "v" + machine.substr(4, 1);
  } else if (machine == "loongarch64") {
    platform.architecture = "loong64";
  }
  return normalise(std::move(platform));
}

std::string to_string(Platform const& platform) {
  std::string text = platform.os;
  if (!platform.os_version.empty() || !platform.os_features.empty()) {
    text += "(" + platform.os_version;
    for (std::string const& feature : platform.os_features) text += "+" + feature;
    text += ")";
  }
  text += "/" + platform.architecture;
  return platform.variant.empty() ? text : text + "/" + platform.variant;
}

int match_score(Platform const& wanted, Platform const& offered) {
  Platform const need = normalise(wanted);
  Platform const have = normalise(offered);
  if (need.os != have.os) return 0;
  if (need.architecture == have.architecture) return same_family_score(need, have);
  if (need.architecture != "arm64" || have.architecture != "arm") return 0;
  std::optional<int> const arm = level(have.variant, 700);
  return arm && *arm >= 500 && *arm <= 800 ? kOtherFamily + *arm / 100 : 0;
}

}  // namespace davit::oci
