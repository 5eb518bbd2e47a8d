#include "runtime/seccomp/words.h"

#include <linux/seccomp.h>
#include <seccomp.h>

#include <array>

#include "runtime/seccomp/filter.h"

namespace davit::runtime {

namespace {

// Sorted by name, as `features` prints them.
constexpr std::array kActions{
    SeccompAction{"SCMP_ACT_ALLOW", SECCOMP_RET_ALLOW, false},
    SeccompAction{"SCMP_ACT_ERRNO", SECCOMP_RET_ERRNO, true},
    SeccompAction{"SCMP_ACT_KILL", SECCOMP_RET_KILL_THREAD, false},
    SeccompAction{"SCMP_ACT_KILL_PROCESS", SECCOMP_RET_KILL_PROCESS, false},
    SeccompAction{"SCMP_ACT_KILL_THREAD", SECCOMP_RET_KILL_THREAD, false},
    SeccompAction{"SCMP_ACT_LOG", SECCOMP_RET_LOG, false},
    SeccompAction{"SCMP_ACT_NOTIFY", SECCOMP_RET_USER_NOTIF, false},
    SeccompAction{"SCMP_ACT_TRACE", SECCOMP_RET_TRACE, true},
    SeccompAction{"SCMP_ACT_TRAP", SECCOMP_RET_TRAP, false},
};

struct Word {
  std::string_view name;
  unsigned number;
};

constexpr std::array kOperators{
    Word{"SCMP_CMP_EQ", SCMP_CMP_EQ}, Word{"SCMP_CMP_GE", SCMP_CMP_GE}, Word{"SCMP_CMP_GT", SCMP_CMP_GT},
    Word{"SCMP_CMP_LE", SCMP_CMP_LE}, Word{"SCMP_CMP_LT", SCMP_CMP_LT}, Word{"SCMP_CMP_MASKED_EQ", SCMP_CMP_MASKED_EQ},
    Word{"SCMP_CMP_NE", SCMP_CMP_NE},
};

constexpr std::array kFlags{
    Word{"SECCOMP_FILTER_FLAG_LOG", kFilterFlagLog},
    Word{"SECCOMP_FILTER_FLAG_SPEC_ALLOW", kFilterFlagSpecAllow},
    Word{"SECCOMP_FILTER_FLAG_TSYNC", kFilterFlagTsync},
    Word{"SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV", kFilterFlagWaitKillableRecv},
};

constexpr std::array kArchitectures{
    SeccompArch{"SCMP_ARCH_AARCH64", "aarch64"},
    SeccompArch{"SCMP_ARCH_ARM", "arm"},
    SeccompArch{"SCMP_ARCH_LOONGARCH64", "loongarch64"},
    SeccompArch{"SCMP_ARCH_M68K", "m68k"},
    SeccompArch{"SCMP_ARCH_MIPS", "mips"},
    SeccompArch{"SCMP_ARCH_MIPS64", "mips64"},
    SeccompArch{"SCMP_ARCH_MIPS64N32", "mips64n32"},
    SeccompArch{"SCMP_ARCH_MIPSEL", "mipsel"},
    SeccompArch{"SCMP_ARCH_MIPSEL64", "mipsel64"},
    SeccompArch{"SCMP_ARCH_MIPSEL64N32", "mipsel64n32"},
    SeccompArch{"SCMP_ARCH_PARISC", "parisc"},
    SeccompArch{"SCMP_ARCH_PARISC64", "parisc64"},
    SeccompArch{"SCMP_ARCH_PPC", "ppc"},
    SeccompArch{"SCMP_ARCH_PPC64", "ppc64"},
    SeccompArch{"SCMP_ARCH_PPC64LE", "ppc64le"},
    SeccompArch{"SCMP_ARCH_RISCV64", "riscv64"},
    SeccompArch{"SCMP_ARCH_S390", "s390"},
    SeccompArch{"SCMP_ARCH_S390X", "s390x"},
    SeccompArch{"SCMP_ARCH_SH", "sh"},
    SeccompArch{"SCMP_ARCH_SHEB", "sheb"},
    SeccompArch{"SCMP_ARCH_X32", "x32"},
    SeccompArch{"SCMP_ARCH_X86", "x86"},
    SeccompArch{"SCMP_ARCH_X86_64", "x86_64"},
};

template <typename Table>
auto const* find(Table const& table, std::string_view name) {
  for (auto const& entry : table) {
    if (entry.name == name) return &entry;
  }
  return static_cast<typename Table::value_type const*>(nullptr);
}

template <typename Table>
std::vector<std::string_view> names(Table const& table) {
  std::vector<std::string_view> all;
  for (auto const& entry : table) all.push_back(entry.name);
  return all;
}

}  // namespace

SeccompAction const* seccomp_action(std::string_view name) { return find(kActions, name); }

std::optional<int> seccomp_operator(std::string_view name) {
  auto const* word = find(kOperators, name);
  if (word == nullptr) return std::nullopt;
  return static_cast<int>(word->number);
}

std::optional<unsigned> seccomp_flag(std::string_view name) {
  auto const* word = find(kFlags, name);
  if (word == nullptr) return std::nullopt;
  return word->number;
}

SeccompArch const* seccomp_arch(std::string_view name) { return find(kArchitectures, name); }

std::vector<std::string_view> seccomp_actions() { return names(kActions); }
std::vector<std::string_view> seccomp_operators() { return names(kOperators); }
std::vector<std::string_view> seccomp_architectures() { return names(kArchitectures); }
std::vector<std::string_view> seccomp_flags() { return names(kFlags); }

}  // namespace davit::runtime
