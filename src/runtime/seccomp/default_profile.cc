// Docker's default profile, resolved for this machine. The rules are data: default_table.h.
#include <seccomp.h>
#include <sys/utsname.h>

#include <algorithm>
#include <array>
#include <cstdio>

#include "base/text.h"
#include "runtime/seccomp/default_table.h"
#include "runtime/seccomp/filter.h"

namespace davit::runtime {

namespace {

// The machine in Go's words, as the rules' conditions have it, and what the filter covers: its own architecture first,
// then those whose programs its kernel also runs.
struct Machine {
  std::uint32_t token;
  std::string_view name;
  std::array<std::string_view, 3> architectures;
};

constexpr std::array kMachines{
    Machine{SCMP_ARCH_X86_64, "amd64", {"SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"}},
    Machine{SCMP_ARCH_X86, "x86", {"SCMP_ARCH_X86"}},
    Machine{SCMP_ARCH_X32, "x32", {"SCMP_ARCH_X32"}},
    Machine{SCMP_ARCH_AARCH64, "arm64", {"SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"}},
    Machine{SCMP_ARCH_ARM, "arm", {"SCMP_ARCH_ARM"}},
    Machine{SCMP_ARCH_MIPS64, "mips64", {"SCMP_ARCH_MIPS64", "SCMP_ARCH_MIPS", "SCMP_ARCH_MIPS64N32"}},
    Machine{SCMP_ARCH_MIPS64N32, "mips64p32", {"SCMP_ARCH_MIPS64N32", "SCMP_ARCH_MIPS", "SCMP_ARCH_MIPS64"}},
    Machine{SCMP_ARCH_MIPSEL64, "mips64le", {"SCMP_ARCH_MIPSEL64", "SCMP_ARCH_MIPSEL", "SCMP_ARCH_MIPSEL64N32"}},
    Machine{SCMP_ARCH_MIPSEL64N32, "mips64p32le", {"SCMP_ARCH_MIPSEL64N32", "SCMP_ARCH_MIPSEL", "SCMP_ARCH_MIPSEL64"}},
    Machine{SCMP_ARCH_PPC64LE, "ppc64le", {}},
    Machine{SCMP_ARCH_RISCV64, "riscv64", {"SCMP_ARCH_RISCV64"}},
    Machine{SCMP_ARCH_S390X, "s390x", {"SCMP_ARCH_S390X", "SCMP_ARCH_S390"}},
};

Machine this_machine() {
  std::uint32_t const token = seccomp_arch_native();
  for (Machine const& machine : kMachines) {
    if (machine.token == token) return machine;
  }
  return {token, "", {}};  // the filter covers the native architecture without being asked
}

struct KernelVersion {
  unsigned major = 0, minor = 0;
};

// The profile itself asks for a version, so this is the one place that compares them.
KernelVersion kernel_version() {
  utsname names{};
  KernelVersion version;
  if (::uname(&names) == 0) (void)std::sscanf(names.release, "%u.%u", &version.major, &version.minor);
  return version;
}

bool listed(std::string_view list, std::string_view name) {
  auto const names = split(list, '|');
  return std::find(names.begin(), names.end(), name) != names.end();
}

bool applies(DefaultRule const& rule, std::vector<std::string> const& capabilities, std::string_view arch,
             KernelVersion kernel) {
  auto const has = [&](std::string_view name) {
    return std::find(capabilities.begin(), capabilities.end(), name) != capabilities.end();
  };
  if (!rule.include_arches.empty() && !listed(rule.include_arches, arch)) return false;
  if (!rule.exclude_arches.empty() && listed(rule.exclude_arches, arch)) return false;
  if (!rule.include_cap.empty() && !has(rule.include_cap)) return false;
  if (!rule.exclude_cap.empty() && has(rule.exclude_cap)) return false;
  return kernel.major > rule.kernel_major || (kernel.major == rule.kernel_major && kernel.minor >= rule.kernel_minor);
}

oci::SeccompSyscall to_spec(DefaultRule const& rule) {
  oci::SeccompSyscall out;
  out.action = rule.action;
  if (rule.errno_ret != 0) out.errno_ret = rule.errno_ret;
  if (!rule.arg_op.empty()) out.args.push_back({rule.arg_index, rule.arg_value, 0, std::string(rule.arg_op)});
  return out;
}

// Whether b can be one more name of a's entry in the profile.
bool same_entry(DefaultRule const& a, DefaultRule const& b) {
  return a.action == b.action && a.errno_ret == b.errno_ret && a.arg_op.empty() && b.arg_op.empty();
}

}  // namespace

oci::Seccomp default_seccomp_profile(std::vector<std::string> const& capabilities) {
  Machine const host = this_machine();
  KernelVersion const kernel = kernel_version();
  oci::Seccomp profile;
  profile.default_action = "SCMP_ACT_ERRNO";
  profile.default_errno_ret = 1;
  for (std::string_view const name : host.architectures) {
    if (!name.empty()) profile.architectures.emplace_back(name);
  }
  DefaultRule const* previous = nullptr;
  for (DefaultRule const& rule : kDefaultRules) {
    if (!applies(rule, capabilities, host.name, kernel)) continue;
    if (previous == nullptr || !same_entry(*previous, rule)) profile.syscalls.push_back(to_spec(rule));
    profile.syscalls.back().names.emplace_back(rule.name);
    previous = &rule;
  }
  return profile;
}

}  // namespace davit::runtime
