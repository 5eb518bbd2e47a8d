#include "sys/kernel_calls.h"

#include <array>
#include <string_view>

#include "sys/raw.h"

namespace davit::sys {

namespace {
struct KernelCall {
  std::string_view name, since;
  long number;
};

// Each refuses -1 and flags of all ones before it does anything; with the kernel that brought what we use of it.
constexpr std::array<KernelCall, 14> kCalls{{
    {"openat2", "5.6", SYS_openat2},
    {"open_tree", "5.2", SYS_open_tree},
    {"move_mount", "5.2", SYS_move_mount},
    {"mount_setattr", "5.12", SYS_mount_setattr},
    {"clone3", "5.7", SYS_clone3},
    {"close_range", "5.11", SYS_close_range},
    {"pidfd_open", "5.3", SYS_pidfd_open},
    {"pidfd_send_signal", "5.1", SYS_pidfd_send_signal},
    {"pidfd_getfd", "5.6", SYS_pidfd_getfd},
    {"fsopen", "5.2", SYS_fsopen},
    {"fsconfig", "5.2", SYS_fsconfig},
    {"fsmount", "5.2", SYS_fsmount},
    {"execveat", "3.19", SYS_execveat},
    {"memfd_create", "3.17", SYS_memfd_create},
}};

bool is_missing(long number) {
  // close_range would take these as a range: one that is upside down is refused.
  if (number == SYS_close_range) return raw::call(number, 1U, 0U, ~0U) == -ENOSYS;
  return raw::call(number, -1L, nullptr, -1L, -1L, -1L) == -ENOSYS;
}
}  // namespace

std::string missing_kernel_calls() {
  std::string text;
  for (KernelCall const& call : kCalls) {
    if (!is_missing(call.number)) continue;
    if (!text.empty()) text += ", ";
    text.append(call.name).append(" (Linux ").append(call.since).append(")");
  }
  return text;
}

Error explain_missing_call(Error error) {
  if (error.error_number() != ENOSYS) return error;
  std::string const missing = missing_kernel_calls();
  if (missing.empty()) return error;
  return std::move(error).with_context("this kernel, or a seccomp filter around us, lacks " + missing);
}

}  // namespace davit::sys
