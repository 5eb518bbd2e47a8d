// Internal to seccomp: the specification's words (config-linux.md, "Seccomp") as libseccomp's and the kernel's numbers.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "base/result.h"

namespace davit::runtime {

struct SeccompAction {
  std::string_view name;
  std::uint32_t value;  // SECCOMP_RET_*: seccomp(2)
  bool takes_errno;     // the low 16 bits are errnoRet
};
// Null when unknown.
SeccompAction const* seccomp_action(std::string_view name);

// enum scmp_compare; nullopt when unknown.
std::optional<int> seccomp_operator(std::string_view name);

// SECCOMP_FILTER_FLAG_*; nullopt when unknown.
std::optional<unsigned> seccomp_flag(std::string_view name);

struct SeccompArch {
  std::string_view name;     // "SCMP_ARCH_X86_64"
  char const* library_name;  // "x86_64": seccomp_arch_resolve_name(3), which an older library may not know
};
SeccompArch const* seccomp_arch(std::string_view name);

// seccomp(2); some are newer than Debian 12's headers.
inline constexpr unsigned kFilterFlagTsync = 1u << 0;
inline constexpr unsigned kFilterFlagLog = 1u << 1;
inline constexpr unsigned kFilterFlagSpecAllow = 1u << 2;
inline constexpr unsigned kFilterFlagNewListener = 1u << 3;
inline constexpr unsigned kFilterFlagTsyncEsrch = 1u << 4;
inline constexpr unsigned kFilterFlagWaitKillableRecv = 1u << 5;  // [5.19]

}  // namespace davit::runtime
