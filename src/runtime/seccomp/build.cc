#include "runtime/seccomp/build.h"

#include <fmt/format.h>
#include <linux/seccomp.h>
#include <seccomp.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <span>

#include "base/text.h"
#include "runtime/seccomp/newer_syscalls.h"
#include "runtime/seccomp/words.h"
#include "sys/memfd.h"

namespace davit::runtime {

namespace {

constexpr std::string_view kField = "linux.seccomp";
constexpr std::uint32_t kMaxErrno = 4094;  // libseccomp takes less than the kernel's largest, 4095

struct ReleaseContext {
  void operator()(void* context) const { seccomp_release(context); }
};
using Context = std::unique_ptr<void, ReleaseContext>;

Error invalid(std::string const& field, std::string const& message) {
  return Error(Errc::kInvalidArgument, fmt::format("{}.{}: {}", kField, field, message));
}

Error unknown_word(std::string const& field, std::string_view word, std::vector<std::string_view> const& known) {
  auto const near = nearest(word, known);
  return invalid(field, fmt::format("unknown word \"{}\"{}", word,
                                    near ? fmt::format(", did you mean \"{}\"?", *near) : std::string()));
}

Result<std::uint32_t> resolve_action(std::string const& field, std::string const& errno_field, std::string const& name,
                                     std::optional<std::uint32_t> errno_ret) {
  SeccompAction const* action = seccomp_action(name);
  if (action == nullptr) return unknown_word(field, name, seccomp_actions());
  if (!action->takes_errno) {
    if (errno_ret) return invalid(errno_field, fmt::format("{} takes no errno", name));
    return action->value;
  }
  std::uint32_t const limit = action->value == SECCOMP_RET_ERRNO ? kMaxErrno : SECCOMP_RET_DATA;
  std::uint32_t const data = errno_ret.value_or(EPERM);
  if (data > limit) return invalid(errno_field, fmt::format("expected a number from 0 to {}, found {}", limit, data));
  return action->value | data;
}

// One profile on its way through libseccomp.
class Builder {
 public:
  explicit Builder(oci::Seccomp const& profile) : profile_(profile) {}
  Result<SeccompFilter> build();

 private:
  Result<void> add_architectures();
  Result<void> add_rule(std::size_t index);
  Result<void> add_syscall(std::string const& where, oci::SeccompSyscall const& rule, std::string const& name,
                           std::uint32_t action);
  Result<void> add_to_library(std::string const& where, int number, std::uint32_t action,
                              std::span<scmp_arg_cmp const> conditions);
  Result<unsigned> flags() const;
  Result<std::vector<sock_filter>> export_program() const;
  bool default_refuses() const;

  oci::Seccomp const& profile_;
  Context context_;
  std::uint32_t default_action_ = 0;
  std::vector<std::uint32_t> architectures_;
  NewerSyscalls newer_;
  bool notify_ = false;
};

Result<void> Builder::add_architectures() {
  architectures_.push_back(seccomp_arch_native());  // the context has it from the start
  for (std::size_t i = 0; i < profile_.architectures.size(); ++i) {
    std::string const& name = profile_.architectures[i];
    std::string const where = fmt::format("architectures[{}]", i);
    SeccompArch const* arch = seccomp_arch(name);
    if (arch == nullptr) return unknown_word(where, name, seccomp_architectures());
    // 0: a word of the specification newer than the library. -EDOM: another byte order. This machine runs neither.
    std::uint32_t const token = seccomp_arch_resolve_name(arch->library_name);
    if (token == 0) continue;
    int const result = seccomp_arch_add(context_.get(), token);
    if (result == -EEXIST || result == -EDOM) continue;
    if (result < 0) return Error::from_errno(-result, fmt::format("{}.{}: {}", kField, where, name));
    architectures_.push_back(token);
  }
  return {};
}

Result<std::vector<scmp_arg_cmp>> resolve_conditions(std::string const& where, oci::SeccompSyscall const& rule) {
  std::vector<scmp_arg_cmp> conditions;
  for (std::size_t i = 0; i < rule.args.size(); ++i) {
    oci::SeccompArg const& arg = rule.args[i];
    auto const op = seccomp_operator(arg.op);
    if (!op) return unknown_word(fmt::format("{}.args[{}].op", where, i), arg.op, seccomp_operators());
    if (arg.index > 5) {
      return invalid(fmt::format("{}.args[{}].index", where, i),
                     fmt::format("expected a number from 0 to 5, found {}", arg.index));
    }
    conditions.push_back({arg.index, static_cast<scmp_compare>(*op), arg.value, arg.value_two});
  }
  return conditions;
}

Result<void> Builder::add_to_library(std::string const& where, int number, std::uint32_t action,
                                     std::span<scmp_arg_cmp const> conditions) {
  int const result = seccomp_rule_add_array(context_.get(), action, number, static_cast<unsigned>(conditions.size()),
                                            conditions.data());
  // An equal rule is there already.
  if (result == 0 || result == -EEXIST) return {};
  return Error::from_errno(-result, fmt::format("{}.{}", kField, where));
}

// Whether two conditions look at one argument.
bool repeats_an_argument(std::vector<scmp_arg_cmp> const& conditions) {
  unsigned seen = 0;
  for (scmp_arg_cmp const& condition : conditions) {
    unsigned const bit = 1u << condition.arg;
    if ((seen & bit) != 0) return true;
    seen |= bit;
  }
  return false;
}

Result<void> Builder::add_syscall(std::string const& where, oci::SeccompSyscall const& rule, std::string const& name,
                                  std::uint32_t action) {
  auto const conditions = TRY(resolve_conditions(where, rule));
  for (std::uint32_t const token : architectures_) {
    int const number = seccomp_syscall_resolve_name_arch(token, name.c_str());
    if (number >= 0) newer_.saw(token, static_cast<std::uint32_t>(number));
  }
  // What equals the default needs no rule, and libseccomp refuses one.
  if (action == default_action_) return {};
  int const number = seccomp_syscall_resolve_name(name.c_str());
  if (number == __NR_SCMP_ERROR) {
    auto const newer = newer_syscall(name);
    if (newer && conditions.empty()) newer_.allow(*newer, action);
    return {};
  }
  if (!repeats_an_argument(conditions)) return add_to_library(where, number, action, conditions);
  // libseccomp has one condition per argument. Profiles written for runc mean "any of these" by several.
  for (scmp_arg_cmp const& condition : conditions) TRY(add_to_library(where, number, action, {&condition, 1}));
  return {};
}

Result<void> Builder::add_rule(std::size_t index) {
  oci::SeccompSyscall const& rule = profile_.syscalls[index];
  std::string const where = fmt::format("syscalls[{}]", index);
  std::uint32_t const action = TRY(resolve_action(where + ".action", where + ".errnoRet", rule.action, rule.errno_ret));
  if (action == SECCOMP_RET_USER_NOTIF) {
    notify_ = true;
    // The descriptor is handed over with the filter on; a call that waits for its receiver would wait for ever.
    if (std::find(rule.names.begin(), rule.names.end(), "write") != rule.names.end()) {
      return invalid(where + ".action", "SCMP_ACT_NOTIFY cannot be used for write");
    }
  }
  for (std::string const& name : rule.names) TRY(add_syscall(where, rule, name, action));
  return {};
}

Result<unsigned> Builder::flags() const {
  unsigned all = notify_ ? kFilterFlagNewListener : 0;
  for (std::size_t i = 0; i < profile_.flags.size(); ++i) {
    std::string const where = fmt::format("flags[{}]", i);
    auto const flag = seccomp_flag(profile_.flags[i]);
    if (!flag) return unknown_word(where, profile_.flags[i], seccomp_flags());
    if (*flag == kFilterFlagWaitKillableRecv && !notify_) {
      return invalid(where, fmt::format("{} needs a rule with SCMP_ACT_NOTIFY", profile_.flags[i]));
    }
    all |= *flag;
  }
  // The kernel's mitigation of speculative store bypass slows the container down; a profile that wants it lists flags.
  if (!profile_.flags_given) all |= kFilterFlagSpecAllow;
  // With a listener the result is a descriptor, so a thread that cannot be synchronised must be an errno.
  if (notify_ && (all & kFilterFlagTsync) != 0) all |= kFilterFlagTsyncEsrch;
  return all;
}

// Whether unlisted calls fail: then calls that the profile's author could not know are ENOSYS.
bool Builder::default_refuses() const {
  std::uint32_t const kind = default_action_ & SECCOMP_RET_ACTION_FULL;
  if (kind == SECCOMP_RET_ERRNO) return (default_action_ & SECCOMP_RET_DATA) != ENOSYS;
  return kind == SECCOMP_RET_KILL_PROCESS || kind == SECCOMP_RET_KILL_THREAD || kind == SECCOMP_RET_TRAP;
}

Result<std::vector<sock_filter>> Builder::export_program() const {
  UniqueFd const file = TRY(sys::memfd("davit-seccomp"));
  if (int const result = seccomp_export_bpf(context_.get(), file.get()); result < 0) {
    return Error::from_errno(-result, "export the seccomp program");
  }
  std::string const bytes = TRY(sys::memfd_content(file.get()));
  std::vector<sock_filter> program(bytes.size() / sizeof(sock_filter));
  std::memcpy(program.data(), bytes.data(), program.size() * sizeof(sock_filter));
  return program;
}

Result<SeccompFilter> Builder::build() {
  default_action_ =
      TRY(resolve_action("defaultAction", "defaultErrnoRet", profile_.default_action, profile_.default_errno_ret));
  if (default_action_ == SECCOMP_RET_USER_NOTIF) {
    return invalid("defaultAction", "SCMP_ACT_NOTIFY cannot be the default action");
  }
  context_.reset(seccomp_init(default_action_));
  if (context_ == nullptr) return Error(Errc::kInternal, "seccomp_init failed");
  TRY(add_architectures());
  for (std::size_t i = 0; i < profile_.syscalls.size(); ++i) TRY(add_rule(i));
  if (notify_ && profile_.listener_path.empty()) {
    return invalid("listenerPath", "required with SCMP_ACT_NOTIFY, but missing");
  }
  SeccompFilter filter;
  filter.flags = TRY(flags());
  filter.notify = notify_;
  // A binary tree over the numbers: a few comparisons per call instead of hundreds.
  int const result = seccomp_attr_set(context_.get(), SCMP_FLTATR_CTL_OPTIMIZE, 2);
  if (result < 0) return Error::from_errno(-result, "ask libseccomp for a binary tree");
  filter.program = TRY(export_program());
  if (default_refuses()) newer_.prepend_to(filter.program);
  if (filter.program.size() > BPF_MAXINSNS) {
    return invalid("syscalls", fmt::format("the program has {} instructions, more than the kernel's {}",
                                           filter.program.size(), BPF_MAXINSNS));
  }
  return filter;
}

}  // namespace

Result<SeccompFilter> build_seccomp(oci::Seccomp const& profile) { return Builder(profile).build(); }

}  // namespace davit::runtime
