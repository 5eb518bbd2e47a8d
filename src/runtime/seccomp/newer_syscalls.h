// Internal to seccomp: what happens to system calls that are newer than the profile or than libseccomp.
//
// A profile that lists what is allowed answers EPERM for all else, also for calls that did not exist when it was
// written. A C library that tries such a call first expects ENOSYS, else it does not fall back to the older one. So, as
// runc does, numbers above the highest one that the profile names answer ENOSYS. The calls that the profile names but
// this libseccomp does not know, because it is older than they are, get the action of their rule; their numbers are the
// same everywhere.
#pragma once

#include <linux/filter.h>

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

namespace davit::runtime {

// The number of a call from cachestat(2) (451) on, which all architectures share; nullopt for other names.
std::optional<std::uint32_t> newer_syscall(std::string_view name);

class NewerSyscalls {
 public:
  // architecture: a SCMP_ARCH_* token. number: of a call that the profile names, for that architecture.
  void saw(std::uint32_t architecture, std::uint32_t number);
  // A call of newer_syscall() with an unconditional rule.
  void allow(std::uint32_t number, std::uint32_t action);
  // Puts the instructions in front of program, which stays as it is for all other calls.
  void prepend_to(std::vector<sock_filter>& program) const;

 private:
  struct Architecture {
    std::uint32_t token;
    std::uint32_t highest;
  };
  struct Rule {
    std::uint32_t number;
    std::uint32_t action;
  };
  // Decides about the call whose number is loaded; falls off its end when the number is no newer one. offset: what the
  // architecture adds to numbers.
  std::vector<sock_filter> decide(std::uint32_t highest, std::uint32_t offset) const;
  std::optional<std::uint32_t> highest_of(std::uint32_t token) const;

  std::vector<Architecture> architectures_;
  std::vector<Rule> rules_;
};

}  // namespace davit::runtime
