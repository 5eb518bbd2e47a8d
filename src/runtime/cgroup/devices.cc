#include "runtime/cgroup/devices.h"

#include <algorithm>
#include <limits>
#include <utility>

namespace davit::runtime {

namespace {

// What runc 1.3 allows in every container, so that images find the same devices to work with.
constexpr DeviceMatch kBuiltIn[] = {
    {true, 'c', -1, -1, kDeviceMknod},      {true, 'b', -1, -1, kDeviceMknod},  // making a node gives no access to it
    {true, 'c', 1, 3, kDeviceAll},                                              // null
    {true, 'c', 1, 5, kDeviceAll},                                              // zero
    {true, 'c', 1, 7, kDeviceAll},                                              // full
    {true, 'c', 1, 8, kDeviceAll},                                              // random
    {true, 'c', 1, 9, kDeviceAll},                                              // urandom
    {true, 'c', 5, 0, kDeviceAll},                                              // tty
    {true, 'c', 5, 1, kDeviceAll},                                              // console
    {true, 'c', 5, 2, kDeviceAll},                                              // ptmx
    {true, 'c', 10, 200, kDeviceAll, true},                                     // net/tun
    {true, 'c', 136, -1, kDeviceAll},                                           // pts/N
};

bool covers(DeviceMatch const& outer, DeviceMatch const& inner) {
  if (outer.optional && !inner.optional) return false;
  return (outer.type == 'a' || outer.type == inner.type) && (outer.major == -1 || outer.major == inner.major) &&
         (outer.minor == -1 || outer.minor == inner.minor) && (inner.access & ~outer.access) == 0;
}

bool overlap(DeviceMatch const& a, DeviceMatch const& b) {
  return (a.type == 'a' || b.type == 'a' || a.type == b.type) &&
         (a.major == -1 || b.major == -1 || a.major == b.major) &&
         (a.minor == -1 || b.minor == -1 || a.minor == b.minor) && (a.access & b.access) != 0;
}

Error bad_rule(std::size_t index, std::string_view part, std::string const& why) {
  return Error(Errc::kInvalidArgument,
               "linux.resources.devices[" + std::to_string(index) + "]." + std::string(part) + ": " + why);
}

Result<std::int64_t> number(std::optional<std::int64_t> value, std::size_t index, std::string_view part) {
  // Negative numbers mean "any" to several callers, as to runc.
  if (!value || *value < 0) return std::int64_t{-1};
  if (*value > std::numeric_limits<std::int32_t>::max())
    return bad_rule(index, part, std::to_string(*value) + " is too large");
  return *value;
}

Result<unsigned> parse_access(std::string const& text, std::size_t index) {
  if (text.empty()) return unsigned{kDeviceAll};
  unsigned access = 0;
  for (char const letter : text) {
    switch (letter) {
      case 'r':
        access |= kDeviceRead;
        break;
      case 'w':
        access |= kDeviceWrite;
        break;
      case 'm':
        access |= kDeviceMknod;
        break;
      default:
        return bad_rule(index, "access", "'" + text + "' is not made of r, w and m");
    }
  }
  return access;
}

Result<void> resolve(oci::DeviceRule const& rule, std::size_t index, std::vector<DeviceMatch>& out) {
  DeviceMatch match;
  match.allow = rule.allow;
  match.major = TRY(number(rule.major, index, "major"));
  match.minor = TRY(number(rule.minor, index, "minor"));
  match.access = TRY(parse_access(rule.access, index));
  if (rule.type == "c" || rule.type == "b") {
    match.type = rule.type[0];
    out.push_back(match);
    return {};
  }
  if (!rule.type.empty() && rule.type != "a") return bad_rule(index, "type", "'" + rule.type + "' is not a, b or c");
  if (match.major == -1 && match.minor == -1 && match.access == kDeviceAll) {
    out.push_back(match);
    return {};
  }
  // The kernel's "a" looks at nothing else, so a narrower rule for both types is two rules.
  for (char const type : {'c', 'b'}) {
    match.type = type;
    out.push_back(match);
  }
  return {};
}

// Rules that a later one covers whole.
std::vector<DeviceMatch> without_covered(std::vector<DeviceMatch> const& rules) {
  std::vector<DeviceMatch> kept;
  for (auto rule = rules.rbegin(); rule != rules.rend(); ++rule) {
    bool const covered = std::any_of(kept.begin(), kept.end(), [&](DeviceMatch const& k) { return covers(k, *rule); });
    if (!covered) kept.push_back(*rule);
  }
  std::reverse(kept.begin(), kept.end());
  return kept;
}

// Rules that say what holds anyway: the default, with no earlier exception to it in their reach.
std::vector<DeviceMatch> without_idle(std::vector<DeviceMatch> const& rules) {
  std::vector<DeviceMatch> kept;
  bool by_default = false;
  for (DeviceMatch const& rule : rules) {
    if (rule.type == 'a') {
      by_default = rule.allow;
      kept = {rule};
      continue;
    }
    bool const matters = rule.allow != by_default || std::any_of(kept.begin(), kept.end(), [&](DeviceMatch const& k) {
                           return k.allow != rule.allow && overlap(k, rule);
                         });
    if (matters) kept.push_back(rule);
  }
  return kept;
}

}  // namespace

Result<std::vector<DeviceMatch>> resolve_devices(std::vector<oci::DeviceRule> const& rules) {
  std::vector<DeviceMatch> matches;
  matches.reserve(rules.size() + std::size(kBuiltIn));
  for (std::size_t i = 0; i < rules.size(); ++i) TRY(resolve(rules[i], i, matches));
  matches.insert(matches.end(), std::begin(kBuiltIn), std::end(kBuiltIn));
  return without_idle(without_covered(matches));
}

bool allows_everything(std::span<DeviceMatch const> rules) {
  return rules.size() == 1 && rules[0].type == 'a' && rules[0].allow;
}

}  // namespace davit::runtime
