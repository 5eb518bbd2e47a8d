// For tests: runs a classic BPF program as seccomp(2) would (kernel Documentation/networking/filter.rst), so that what
// a filter answers is checked for any call, architecture and argument without making the call.
#pragma once

#include <linux/filter.h>
#include <linux/seccomp.h>

#include <cstdint>
#include <cstring>
#include <optional>
#include <vector>

namespace davit::runtime {

// The action, or nullopt when the program is not one that the kernel would take.
inline std::optional<std::uint32_t> run_bpf(std::vector<sock_filter> const& program, seccomp_data const& data) {
  std::uint32_t a = 0;
  std::uint32_t x = 0;
  for (std::size_t at = 0; at < program.size(); ++at) {
    sock_filter const& step = program[at];
    bool condition = false;
    switch (step.code) {
      case BPF_LD | BPF_W | BPF_ABS:
        if (step.k % 4 != 0 || step.k + 4 > sizeof data) return std::nullopt;
        std::memcpy(&a, reinterpret_cast<char const*>(&data) + step.k, 4);
        continue;
      case BPF_ALU | BPF_AND | BPF_K:
        a &= step.k;
        continue;
      case BPF_MISC | BPF_TAX:
        x = a;
        continue;
      case BPF_MISC | BPF_TXA:
        a = x;
        continue;
      case BPF_RET | BPF_K:
        return step.k;
      case BPF_JMP | BPF_JA:
        at += step.k;
        continue;
      case BPF_JMP | BPF_JEQ | BPF_K:
        condition = a == step.k;
        break;
      case BPF_JMP | BPF_JGT | BPF_K:
        condition = a > step.k;
        break;
      case BPF_JMP | BPF_JGE | BPF_K:
        condition = a >= step.k;
        break;
      case BPF_JMP | BPF_JSET | BPF_K:
        condition = (a & step.k) != 0;
        break;
      default:
        return std::nullopt;
    }
    at += condition ? step.jt : step.jf;
  }
  return std::nullopt;
}

}  // namespace davit::runtime
