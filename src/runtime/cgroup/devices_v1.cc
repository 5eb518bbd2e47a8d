#include <algorithm>
#include <utility>

#include "base/text.h"
#include "runtime/cgroup/devices.h"

namespace davit::runtime {

namespace {

std::string access_text(unsigned access) {
  std::string text;
  if ((access & kDeviceRead) != 0) text += 'r';
  if ((access & kDeviceWrite) != 0) text += 'w';
  if ((access & kDeviceMknod) != 0) text += 'm';
  return text;
}

// "c 1:3 rwm"
std::string rule_text(DeviceMatch const& rule) {
  auto const number = [](std::int64_t value) { return value < 0 ? std::string("*") : std::to_string(value); };
  return std::string(1, rule.type) + " " + number(rule.major) + ":" + number(rule.minor) + " " +
         access_text(rule.access);
}

bool same_device(DeviceMatch const& a, DeviceMatch const& b) {
  return a.type == b.type && a.major == b.major && a.minor == b.minor;
}

bool device_within(DeviceMatch const& outer, DeviceMatch const& inner) {
  return outer.type == inner.type && (outer.major == -1 || outer.major == inner.major) &&
         (outer.minor == -1 || outer.minor == inner.minor);
}

bool devices_meet(DeviceMatch const& a, DeviceMatch const& b) {
  return a.type == b.type && (a.major == -1 || b.major == -1 || a.major == b.major) &&
         (a.minor == -1 || b.minor == -1 || a.minor == b.minor);
}

void add_exception(std::vector<DeviceMatch>& exceptions, DeviceMatch const& rule) {
  for (DeviceMatch& known : exceptions) {
    if (!same_device(known, rule)) continue;
    known.access |= rule.access;
    known.optional = known.optional && rule.optional;
    return;
  }
  exceptions.push_back(rule);
}

// The rule goes back to the default what earlier exceptions took from it.
Result<void> withdraw(std::vector<DeviceMatch>& exceptions, DeviceMatch const& rule) {
  for (DeviceMatch& known : exceptions) {
    if ((known.access & rule.access) == 0 || !devices_meet(known, rule)) continue;
    if (!device_within(rule, known)) {
      return Error(Errc::kUnimplemented, "linux.resources.devices: cgroup v1 cannot " +
                                             std::string(rule.allow ? "allow '" : "deny '") + rule_text(rule) +
                                             "' within '" + rule_text(known) + "'");
    }
    known.access &= ~rule.access;
  }
  std::erase_if(exceptions, [](DeviceMatch const& known) { return known.access == 0; });
  return {};
}

KnobWrite write(bool allow, DeviceMatch const& rule) {
  KnobWrite knob{"devices", allow ? "devices.allow" : "devices.deny", rule_text(rule), "linux.resources.devices"};
  knob.may_be_refused = rule.optional;
  return knob;
}

unsigned access_in(std::vector<DeviceMatch> const& exceptions, DeviceMatch const& rule) {
  for (DeviceMatch const& known : exceptions) {
    if (same_device(known, rule)) return known.access;
  }
  return 0;
}

// The exceptions of `from` that `other` lacks, written as allow or deny.
void plan_difference(std::vector<DeviceMatch> const& from, std::vector<DeviceMatch> const& other, bool allow,
                     std::vector<KnobWrite>& plan) {
  for (DeviceMatch rule : from) {
    rule.access &= ~access_in(other, rule);
    if (rule.access != 0) plan.push_back(write(allow, rule));
  }
}

}  // namespace

Result<DeviceList> device_list(std::span<DeviceMatch const> rules) {
  DeviceList list;
  for (DeviceMatch const& rule : rules) {
    if (rule.type == 'a') {
      list = {rule.allow, {}};
    } else if (rule.allow != list.allow_by_default) {
      add_exception(list.exceptions, rule);
    } else {
      TRY(withdraw(list.exceptions, rule));
    }
  }
  return list;
}

std::optional<DeviceList> parse_device_list(std::string_view text) {
  DeviceList list;
  for (std::string_view const line : split(text, '\n')) {
    if (line.empty()) continue;
    std::vector<std::string_view> const words = split(line, ' ');  // "c 1:3 rwm"
    std::vector<std::string_view> const numbers = words.size() == 3 ? split(words[1], ':') : words;
    if (words.size() != 3 || numbers.size() != 2 || (words[0] != "c" && words[0] != "b")) return std::nullopt;
    DeviceMatch match{true, words[0][0], parse_i64(numbers[0]).value_or(-1), parse_i64(numbers[1]).value_or(-1), 0};
    if (words[2].find('r') != words[2].npos) match.access |= kDeviceRead;
    if (words[2].find('w') != words[2].npos) match.access |= kDeviceWrite;
    if (words[2].find('m') != words[2].npos) match.access |= kDeviceMknod;
    list.exceptions.push_back(match);
  }
  return list;
}

std::vector<KnobWrite> plan_device_list(DeviceList const& wanted, std::optional<DeviceList> const& current) {
  std::vector<KnobWrite> plan;
  if (current && current->allow_by_default == wanted.allow_by_default) {
    plan_difference(wanted.exceptions, current->exceptions, !wanted.allow_by_default, plan);
    plan_difference(current->exceptions, wanted.exceptions, wanted.allow_by_default, plan);
    return plan;
  }
  plan.push_back(
      {"devices", wanted.allow_by_default ? "devices.allow" : "devices.deny", "a", "linux.resources.devices"});
  for (DeviceMatch const& rule : wanted.exceptions) plan.push_back(write(!wanted.allow_by_default, rule));
  return plan;
}

}  // namespace davit::runtime
