// The "process" object: config.md, "Process".
#include <fmt/format.h>

#include <algorithm>

#include "oci/runtime_read.h"

namespace davit::oci {

using json::Field;

static Result<void> read(Field const& field, ConsoleSize& size) {
  TRY(field.expect_object());
  TRY(read(field["height"], size.height));
  TRY(read(field["width"], size.width));
  return {};
}

static Result<void> read(Field const& field, User& user) {
  TRY(field.expect_object());
  TRY(read(field["uid"], user.uid));
  TRY(read(field["gid"], user.gid));
  TRY(read(field["umask"], user.umask));
  TRY(read(field["additionalGids"], user.additional_gids));
  if (user.umask && *user.umask > 0777) {
    return field["umask"].error(fmt::format("expected at most 511 (0777), found {}", *user.umask));
  }
  return {};
}

static Result<void> read(Field const& field, Capabilities& capabilities) {
  TRY(field.expect_object());
  TRY(read(field["bounding"], capabilities.bounding));
  TRY(read(field["effective"], capabilities.effective));
  TRY(read(field["inheritable"], capabilities.inheritable));
  TRY(read(field["permitted"], capabilities.permitted));
  TRY(read(field["ambient"], capabilities.ambient));
  return {};
}

static Result<void> read(Field const& field, Rlimit& limit) {
  TRY(field.expect_object());
  Field const type = field["type"];
  Field const hard = field["hard"];
  Field const soft = field["soft"];
  TRY(type.expect_present());
  TRY(hard.expect_present());
  TRY(soft.expect_present());
  TRY(read(type, limit.type));
  TRY(read(hard, limit.hard));
  TRY(read(soft, limit.soft));
  TRY(check_one_of(type, limit.type,
                   {"RLIMIT_AS", "RLIMIT_CORE", "RLIMIT_CPU", "RLIMIT_DATA", "RLIMIT_FSIZE", "RLIMIT_LOCKS",
                    "RLIMIT_MEMLOCK", "RLIMIT_MSGQUEUE", "RLIMIT_NICE", "RLIMIT_NOFILE", "RLIMIT_NPROC", "RLIMIT_RSS",
                    "RLIMIT_RTPRIO", "RLIMIT_RTTIME", "RLIMIT_SIGPENDING", "RLIMIT_STACK"}));
  if (limit.soft > limit.hard) {
    return soft.error(fmt::format("{} is more than the hard limit {}", limit.soft, limit.hard));
  }
  return {};
}

static Result<void> read(Field const& field, Scheduler& scheduler) {
  TRY(field.expect_object());
  Field const policy = field["policy"];
  TRY(policy.expect_present());
  TRY(read(policy, scheduler.policy));
  TRY(read(field["nice"], scheduler.nice));
  TRY(read(field["priority"], scheduler.priority));
  TRY(read(field["flags"], scheduler.flags));
  TRY(read(field["runtime"], scheduler.runtime));
  TRY(read(field["deadline"], scheduler.deadline));
  TRY(read(field["period"], scheduler.period));
  TRY(check_one_of(
      policy, scheduler.policy,
      {"SCHED_OTHER", "SCHED_FIFO", "SCHED_RR", "SCHED_BATCH", "SCHED_ISO", "SCHED_IDLE", "SCHED_DEADLINE"}));
  if (scheduler.nice < -20 || scheduler.nice > 19) {
    return field["nice"].error(fmt::format("expected a number from -20 to 19, found {}", scheduler.nice));
  }
  return {};
}

static Result<void> read(Field const& field, IoPriority& priority) {
  TRY(field.expect_object());
  Field const io_class = field["class"];
  TRY(io_class.expect_present());
  TRY(read(io_class, priority.io_class));
  TRY(read(field["priority"], priority.priority));
  TRY(check_one_of(io_class, priority.io_class, {"IOPRIO_CLASS_RT", "IOPRIO_CLASS_BE", "IOPRIO_CLASS_IDLE"}));
  if (priority.priority < 0 || priority.priority > 7) {
    return field["priority"].error(fmt::format("expected a number from 0 to 7, found {}", priority.priority));
  }
  return {};
}

static Result<void> read(Field const& field, CpuAffinity& affinity) {
  TRY(field.expect_object());
  TRY(read(field["initial"], affinity.initial));
  TRY(read(field["final"], affinity.final_set));
  return {};
}

static Result<void> check_environment(Field const& field, Strings const& env) {
  for (std::size_t i = 0; i < env.size(); ++i) {
    std::size_t const equals = env[i].find('=');
    if (equals != std::string::npos && equals > 0) continue;
    return field.element(i).error(fmt::format("expected NAME=value, found \"{}\"", env[i]));
  }
  return {};
}

static Result<void> check_rlimits(Field const& field, std::vector<Rlimit> const& limits) {
  for (std::size_t i = 0; i < limits.size(); ++i) {
    auto const same = [&](Rlimit const& other) { return other.type == limits[i].type; };
    auto const end = limits.begin() + static_cast<std::ptrdiff_t>(i);
    if (std::find_if(limits.begin(), end, same) == end) continue;
    Field const limit = field.element(i);
    return limit["type"].error(fmt::format("{} is given twice", limits[i].type));
  }
  return {};
}

static Result<void> check_oom_score(Field const& field, std::optional<int> score) {
  if (!score || (*score >= -1000 && *score <= 1000)) return {};
  return field.error(fmt::format("expected a number from -1000 to 1000, found {}", *score));
}

Result<void> read(Field const& field, Process& process) {
  TRY(field.expect_object());
  Field const cwd = field["cwd"];
  Field const args = field["args"];
  Field const env = field["env"];
  Field const rlimits = field["rlimits"];
  Field const oom_score = field["oomScoreAdj"];
  TRY(read(field["terminal"], process.terminal));
  TRY(read(field["consoleSize"], process.console_size));
  TRY(read(field["user"], process.user));
  TRY(read(args, process.args));
  TRY(read(env, process.env));
  TRY(read(cwd, process.cwd));
  TRY(read(field["capabilities"], process.capabilities));
  TRY(read(rlimits, process.rlimits));
  TRY(read(field["noNewPrivileges"], process.no_new_privileges));
  TRY(read(field["apparmorProfile"], process.apparmor_profile));
  TRY(read(oom_score, process.oom_score_adj));
  TRY(read(field["selinuxLabel"], process.selinux_label));
  TRY(read(field["scheduler"], process.scheduler));
  TRY(read(field["ioPriority"], process.io_priority));
  TRY(read(field["execCPUAffinity"], process.exec_cpu_affinity));
  if (process.args.empty()) return args.error("required, but missing or empty");
  if (process.cwd.empty()) return cwd.error("required, but missing");
  TRY(check_absolute(cwd, process.cwd));
  TRY(check_environment(env, process.env));
  TRY(check_rlimits(rlimits, process.rlimits));
  return check_oom_score(oom_score, process.oom_score_adj);
}

}  // namespace davit::oci
