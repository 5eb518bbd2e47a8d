#include <fmt/format.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <iterator>
#include <set>

#include "base/text.h"
#include "runtime/capabilities.h"
#include "runtime/init/plan.h"
#include "runtime/names.h"
#include "sys/file.h"

namespace davit::runtime {

CStrings::CStrings(std::vector<std::string> text, std::size_t spare) : text_(std::move(text)) {
  pointers_.reserve(text_.size() + spare + 1);
  for (std::string const& piece : text_) pointers_.push_back(piece.c_str());
  pointers_.resize(text_.size() + spare + 1, nullptr);
}

namespace {

constexpr std::string_view kDefaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

Error bad_field(std::string_view field, std::string_view problem) {
  return Error(Errc::kInvalidArgument, fmt::format("{}: {}", field, problem));
}

struct Word {
  std::string_view name;
  std::uint64_t value;
};

template <std::size_t N>
Result<std::uint64_t> look_up(std::array<Word, N> const& words, std::string_view name, std::string_view field) {
  for (Word const& word : words) {
    if (word.name == name) return word.value;
  }
  return bad_field(field, fmt::format("unknown name '{}'", name));
}

// sched(7), sched_setattr(2)
constexpr std::array<Word, 7> kPolicies{{{"SCHED_OTHER", 0},
                                         {"SCHED_FIFO", 1},
                                         {"SCHED_RR", 2},
                                         {"SCHED_BATCH", 3},
                                         {"SCHED_ISO", 4},
                                         {"SCHED_IDLE", 5},
                                         {"SCHED_DEADLINE", 6}}};
constexpr std::array<Word, 7> kSchedulerFlags{{{"SCHED_FLAG_RESET_ON_FORK", 0x01},
                                               {"SCHED_FLAG_RECLAIM", 0x02},
                                               {"SCHED_FLAG_DL_OVERRUN", 0x04},
                                               {"SCHED_FLAG_KEEP_POLICY", 0x08},
                                               {"SCHED_FLAG_KEEP_PARAMS", 0x10},
                                               {"SCHED_FLAG_UTIL_CLAMP_MIN", 0x20},
                                               {"SCHED_FLAG_UTIL_CLAMP_MAX", 0x40}}};
// ioprio_set(2)
constexpr std::array<Word, 3> kIoClasses{{{"IOPRIO_CLASS_RT", 1}, {"IOPRIO_CLASS_BE", 2}, {"IOPRIO_CLASS_IDLE", 3}}};
constexpr int kIoClassShift = 13;

Result<cpu_set_t> parse_cpu_list(std::string_view text, std::string_view field) {
  cpu_set_t set;
  CPU_ZERO(&set);
  for (std::string_view const piece : split(text, ',')) {
    std::size_t const dash = piece.find('-');
    auto const first = parse_u64(trim(piece.substr(0, dash)));
    auto const last = dash == std::string_view::npos ? first : parse_u64(trim(piece.substr(dash + 1)));
    if (!first || !last || *first > *last || *last >= CPU_SETSIZE) {
      return bad_field(field, fmt::format("'{}' is not a list of CPUs such as 0-3,7", text));
    }
    for (auto cpu = *first; cpu <= *last; ++cpu) CPU_SET(cpu, &set);
  }
  return set;
}

Result<void> plan_scheduling(oci::Process const& process, ProcessPlan& plan) {
  if (process.scheduler) {
    plan.scheduler = process.scheduler;
    plan.scheduler_policy =
        static_cast<int>(TRY(look_up(kPolicies, process.scheduler->policy, "process.scheduler.policy")));
    for (std::string const& flag : process.scheduler->flags) {
      plan.scheduler_flags |= TRY(look_up(kSchedulerFlags, flag, "process.scheduler.flags"));
    }
  }
  if (process.io_priority) {
    auto const io_class = TRY(look_up(kIoClasses, process.io_priority->io_class, "process.ioPriority.class"));
    if (process.io_priority->priority < 0 || process.io_priority->priority > 7) {
      return bad_field("process.ioPriority.priority", "is not from 0 to 7");
    }
    plan.io_priority = static_cast<int>(io_class) << kIoClassShift | process.io_priority->priority;
  }
  if (process.exec_cpu_affinity) {
    auto const& affinity = *process.exec_cpu_affinity;
    if (!affinity.initial.empty()) {
      plan.affinity = TRY(parse_cpu_list(affinity.initial, "process.execCPUAffinity.initial"));
    }
    if (!affinity.final_set.empty()) {
      plan.final_affinity = TRY(parse_cpu_list(affinity.final_set, "process.execCPUAffinity.final"));
    }
  }
  return {};
}

Result<void> plan_capabilities(oci::Process const& process, ProcessPlan& plan) {
  CapabilityMask const known = TRY(kernel_capabilities());
  plan.last_capability = 63 - std::countl_zero(known);
  if (!process.capabilities) return {};  // none given: none kept, as runc does
  oci::Capabilities const& sets = *process.capabilities;
  CapabilityPlan& out = plan.capabilities;
  out.bounding = TRY(parse_capabilities(sets.bounding, "process.capabilities.bounding")) & known;
  out.effective = TRY(parse_capabilities(sets.effective, "process.capabilities.effective")) & known;
  out.inheritable = TRY(parse_capabilities(sets.inheritable, "process.capabilities.inheritable")) & known;
  out.permitted = TRY(parse_capabilities(sets.permitted, "process.capabilities.permitted")) & known;
  out.ambient = TRY(parse_capabilities(sets.ambient, "process.capabilities.ambient")) & known;
  return {};
}

Result<void> plan_rlimits(oci::Process const& process, ProcessPlan& plan) {
  for (std::size_t i = 0; i < process.rlimits.size(); ++i) {
    oci::Rlimit const& limit = process.rlimits[i];
    auto const number = rlimit_number(limit.type);
    if (!number)
      return bad_field(fmt::format("process.rlimits[{}].type", i), fmt::format("unknown name '{}'", limit.type));
    if (limit.soft > limit.hard) {
      return bad_field(fmt::format("process.rlimits[{}].soft", i),
                       fmt::format("{} is above hard {}", limit.soft, limit.hard));
    }
    plan.rlimits.push_back({*number, rlimit{limit.soft, limit.hard}, limit.type});
  }
  return {};
}

// Asked for and absent is an error, not a container that is less confined than its owner believes.
Result<void> plan_label(oci::Process const& process, ProcessPlan& plan) {
  if (!process.apparmor_profile.empty()) {
    auto const enabled = sys::read_file("/sys/module/apparmor/parameters/enabled", 16);
    if (!enabled || !enabled->starts_with('Y')) {
      return Error(Errc::kUnimplemented, "process.apparmorProfile: AppArmor is not enabled in this kernel");
    }
    plan.label_file =
        sys::exists("/proc/self/attr/apparmor/exec") ? "thread-self/attr/apparmor/exec" : "thread-self/attr/exec";
    plan.label = "exec " + process.apparmor_profile;
  }
  if (!process.selinux_label.empty()) {
    if (!sys::exists("/sys/fs/selinux/enforce")) {
      return Error(Errc::kUnimplemented, "process.selinuxLabel: SELinux is not enabled in this kernel");
    }
    plan.label_file = "thread-self/attr/exec";
    plan.label = process.selinux_label;
  }
  return {};
}

void plan_environment(oci::Process const& process, ProcessPlan& plan) {
  // Of several with one name the last counts; a HOME without a value is none.
  std::vector<std::string> env;
  std::set<std::string_view> seen;
  for (auto variable = process.env.rbegin(); variable != process.env.rend(); ++variable) {
    std::string_view const text = *variable;
    if (!seen.insert(text.substr(0, text.find('='))).second || text == "HOME=") continue;
    env.push_back(*variable);
  }
  std::ranges::reverse(env);
  plan.set_home = true;
  plan.search_path = kDefaultPath;
  for (std::string const& variable : env) {
    if (variable.starts_with("HOME=")) plan.set_home = false;
    if (variable.starts_with("PATH=")) plan.search_path = variable.substr(5);
  }
  plan.env = CStrings(std::move(env), 1);
}

}  // namespace

Result<ProcessPlan> plan_process(ProcessPlanInput const& input) {
  oci::Process const& process = input.process;
  ProcessPlan plan;
  if (process.args.empty()) return bad_field("process.args", "missing");
  if (process.cwd.empty() || process.cwd.front() != '/') return bad_field("process.cwd", "is not an absolute path");
  plan.args = CStrings(process.args);
  plan_environment(process, plan);
  plan.cwd = process.cwd;
  plan.uid = process.user.uid;
  plan.gid = process.user.gid;
  plan.groups.assign(process.user.additional_gids.begin(), process.user.additional_gids.end());
  plan.set_groups = ::geteuid() == 0 || !plan.groups.empty();
  plan.umask = process.user.umask;
  TRY(plan_capabilities(process, plan));
  TRY(plan_rlimits(process, plan));
  plan.no_new_privileges = process.no_new_privileges;
  plan.oom_score_adj = process.oom_score_adj;
  if (input.seccomp != nullptr) {
    plan.seccomp = TRY(compile_seccomp(*input.seccomp, input.seccomp_cache));
    plan.has_seccomp = !plan.seccomp.program.empty();
  }
  TRY(plan_label(process, plan));
  TRY(plan_scheduling(process, plan));
  // "execCPUAffinity" is for exec alone (config.md, "Process").
  if (!input.exec) plan.affinity = plan.final_affinity = std::nullopt;
  plan.terminal = process.terminal;
  plan.console_size = process.console_size;
  plan.stdio = input.stdio;
  plan.preserve_fds = input.preserve_fds;
  return plan;
}

}  // namespace davit::runtime
