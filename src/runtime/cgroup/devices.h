// Device rules: linux.resources.devices followed by the built-in ones, as a v1 list or as a v2 eBPF program. All of
// this is pure; group.cc writes and attaches. Documentation/admin-guide/cgroup-v1/devices.rst, cgroup-v2.rst "Device
// controller".
//
// A later rule wins over an earlier one, and what no rule names is denied.
#pragma once

#include <linux/bpf.h>

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "oci/runtime_spec.h"
#include "runtime/cgroup/plan.h"

namespace davit::runtime {

enum DeviceAccess : unsigned {
  kDeviceMknod = 1,
  kDeviceRead = 2,
  kDeviceWrite = 4,
  kDeviceAll = 7
};  // BPF_DEVCG_ACC_*

struct DeviceMatch {
  bool allow = false;
  char type = 'a';          // 'c', 'b'; 'a': every device with every access (then the rest is not looked at)
  std::int64_t major = -1;  // -1: any
  std::int64_t minor = -1;
  unsigned access = kDeviceAll;
  // Nobody asked for it: on v1 a parent group that lacks it (EPERM) is no reason to fail.
  bool optional = false;
  bool operator==(DeviceMatch const&) const = default;
};

// Checked, with the built-in rules behind (mknod of anything; null zero full random urandom tty console ptmx pts, and
// tun, which VPN containers make themselves), without rules that cannot matter. kInvalidArgument names the rule.
Result<std::vector<DeviceMatch>> resolve_devices(std::vector<oci::DeviceRule> const& rules);

// What a v1 group holds: a default and the exceptions to it (security/device_cgroup.c).
struct DeviceList {
  bool allow_by_default = false;
  std::vector<DeviceMatch> exceptions;  // each with allow == !allow_by_default
};

// kUnimplemented where the rules need an exception within an exception, which a v1 list cannot hold.
Result<DeviceList> device_list(std::span<DeviceMatch const> rules);

// The text of devices.list. A group that allows by default does not show its exceptions (nullopt).
std::optional<DeviceList> parse_device_list(std::string_view text);

// current: of a running group: only the difference is written, so that no device is refused for a moment.
std::vector<KnobWrite> plan_device_list(DeviceList const& wanted, std::optional<DeviceList> const& current);

// True when the rules allow everything, so that no program is needed.
bool allows_everything(std::span<DeviceMatch const> rules);

// The program: returns 1 when every kind of access that is asked for is allowed by the last rule that matches it.
std::vector<bpf_insn> device_program(std::span<DeviceMatch const> rules);

// Attaches the program to the v2 directory in the place of our earlier one, if any; programs of others stay.
Result<void> attach_device_program(int cgroup, std::span<DeviceMatch const> rules);

}  // namespace davit::runtime
