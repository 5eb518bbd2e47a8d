// Internal to seccomp: one row of default_table.h.
#pragma once

#include <cstdint>
#include <string_view>

namespace davit::runtime {

struct DefaultRule {
  std::string_view name;
  std::string_view action = "SCMP_ACT_ALLOW";
  std::uint32_t errno_ret = 0;           // 0: none
  std::string_view include_arches = {};  // "arm|arm64": on these only; Go's names of architectures
  std::string_view exclude_arches = {};
  std::string_view include_cap = {};  // only for a container that has it
  std::string_view exclude_cap = {};
  unsigned kernel_major = 0, kernel_minor = 0;  // from this kernel on
  std::uint32_t arg_index = 0;
  std::string_view arg_op = {};  // empty: whatever the arguments
  std::uint64_t arg_value = 0;   // the mask for SCMP_CMP_MASKED_EQ, whose other value is 0
};

}  // namespace davit::runtime
