#include "runtime/seccomp/newer_syscalls.h"

#include <linux/seccomp.h>
#include <seccomp.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>

namespace davit::runtime {

namespace {

// include/uapi/asm-generic/unistd.h. Before 451 every supported libseccomp (2.5.4) knows the name.
constexpr std::uint32_t kFirstNewer = 451;
constexpr std::array<std::string_view, 19> kNewer{
    "cachestat",        "fchmodat2",      "map_shadow_stack", "futex_wake",        "futex_wait",
    "futex_requeue",    "statmount",      "listmount",        "lsm_get_self_attr", "lsm_set_self_attr",
    "lsm_list_modules", "mseal",          "setxattrat",       "getxattrat",        "listxattrat",
    "removexattrat",    "open_tree_attr", "file_getattr",     "file_setattr",
};

// x32 calls come with the architecture of x86_64 and this bit: arch/x86/include/uapi/asm/unistd.h.
constexpr std::uint32_t kX32Bit = 0x40000000;

constexpr std::uint32_t kReturnEnosys = SECCOMP_RET_ERRNO | ENOSYS;

sock_filter load(std::uint32_t offset) { return BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offset); }
sock_filter answer(std::uint32_t action) { return BPF_STMT(BPF_RET | BPF_K, action); }
sock_filter skip(std::size_t count) { return BPF_STMT(BPF_JMP | BPF_JA, static_cast<std::uint32_t>(count)); }
sock_filter jump(std::uint16_t test, std::uint32_t value, std::size_t if_true, std::size_t if_false) {
  return BPF_JUMP(static_cast<std::uint16_t>(BPF_JMP | BPF_K | test), value, static_cast<std::uint8_t>(if_true),
                  static_cast<std::uint8_t>(if_false));
}

void append(std::vector<sock_filter>& program, std::vector<sock_filter> const& more) {
  program.insert(program.end(), more.begin(), more.end());
}

// MIPS numbers its three interfaces from 4000, 5000 and 6000: arch/mips/include/uapi/asm/unistd.h.
std::uint32_t number_offset(std::uint32_t token) {
  switch (token) {
    case SCMP_ARCH_MIPS:
    case SCMP_ARCH_MIPSEL:
      return 4000;
    case SCMP_ARCH_MIPS64:
    case SCMP_ARCH_MIPSEL64:
      return 5000;
    case SCMP_ARCH_MIPS64N32:
    case SCMP_ARCH_MIPSEL64N32:
      return 6000;
    default:
      return 0;
  }
}

}  // namespace

std::optional<std::uint32_t> newer_syscall(std::string_view name) {
  auto const found = std::find(kNewer.begin(), kNewer.end(), name);
  if (found == kNewer.end()) return std::nullopt;
  return kFirstNewer + static_cast<std::uint32_t>(found - kNewer.begin());
}

void NewerSyscalls::saw(std::uint32_t architecture, std::uint32_t number) {
  for (Architecture& known : architectures_) {
    if (known.token != architecture) continue;
    known.highest = std::max(known.highest, number);
    return;
  }
  architectures_.push_back({architecture, number});
}

void NewerSyscalls::allow(std::uint32_t number, std::uint32_t action) {
  auto const same = [&](Rule const& rule) { return rule.number == number; };
  if (std::none_of(rules_.begin(), rules_.end(), same)) rules_.push_back({number, action});
}

std::optional<std::uint32_t> NewerSyscalls::highest_of(std::uint32_t token) const {
  for (Architecture const& known : architectures_) {
    if (known.token == token) return known.highest;
  }
  return std::nullopt;
}

std::vector<sock_filter> NewerSyscalls::decide(std::uint32_t highest, std::uint32_t offset) const {
  std::vector<sock_filter> rules;
  std::uint32_t last = highest;
  for (Rule const& rule : rules_) {
    if (rule.number + offset <= highest) continue;
    rules.push_back(jump(BPF_JEQ, rule.number + offset, 0, 1));
    rules.push_back(answer(rule.action));
    last = std::max(last, rule.number + offset);
  }
  // Up to highest, nothing here applies: one comparison for nearly every call.
  std::vector<sock_filter> code;
  code.push_back(jump(BPF_JGT, highest, 0, rules.size() + 2));
  append(code, rules);
  code.push_back(jump(BPF_JGT, last, 0, 1));
  code.push_back(answer(kReturnEnosys));
  return code;
}

void NewerSyscalls::prepend_to(std::vector<sock_filter>& program) const {
  // One block per architecture that the kernel reports (x32 is inside x86_64's), each ending in a jump to the program.
  std::vector<std::vector<sock_filter>> blocks;
  for (Architecture const& known : architectures_) {
    if (known.token == SCMP_ARCH_X32) continue;
    std::vector<sock_filter> body{load(offsetof(seccomp_data, nr))};
    std::vector<sock_filter> const own = decide(known.highest, number_offset(known.token));
    if (known.token == SCMP_ARCH_X86_64) {
      auto const x32_highest = highest_of(SCMP_ARCH_X32);
      std::vector<sock_filter> x32;
      if (x32_highest) x32 = decide(*x32_highest | kX32Bit, kX32Bit);
      x32.push_back(skip(own.size()));
      body.push_back(jump(BPF_JGE, kX32Bit, 0, x32.size()));
      append(body, x32);
    }
    append(body, own);
    std::vector<sock_filter> block{jump(BPF_JEQ, known.token, 0, body.size() + 1)};
    append(block, body);
    blocks.push_back(std::move(block));
  }
  std::vector<sock_filter> code{load(offsetof(seccomp_data, arch))};
  std::size_t left = 0;
  for (auto const& block : blocks) left += block.size() + 1;
  for (auto const& block : blocks) {
    left -= block.size() + 1;
    append(code, block);
    code.push_back(skip(left));
  }
  if (!blocks.empty()) program.insert(program.begin(), code.begin(), code.end());
}

}  // namespace davit::runtime
