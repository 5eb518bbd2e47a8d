// What a Report means, in the words of the specification's fields and the plan's paths. The texts of kFindProgram and
// kExec hold the phrases by which engines tell exit status 126 from 127 (executable file not found, permission denied).
#include <fmt/format.h>

#include <cstring>

#include "runtime/capabilities.h"
#include "runtime/init/child.h"
#include "runtime/init/plan.h"

namespace davit::runtime {

namespace {

template <typename T>
T const* at(std::vector<T> const& list, int index) {
  return index >= 0 && static_cast<std::size_t>(index) < list.size() ? &list[static_cast<std::size_t>(index)] : nullptr;
}

std::string mount_name(InitPlan const& plan, int index) {
  MountPlan const* const mount = at(plan.mounts, index);
  if (mount == nullptr) return "mounts";
  std::string const what = mount->kind == MountPlan::Kind::kFilesystem ? mount->type : mount->source;
  std::string name = fmt::format("mount {} on /{}", what, mount->destination);
  if (!mount->data.empty()) name += fmt::format(" with options '{}'", mount->data);
  return name;
}

Error program_error(ProcessPlan const& process, int error) {
  std::string const& name = process.args.text().front();
  if (error == ESRCH) {
    return Error(Errc::kNotFound, fmt::format("exec: \"{}\": executable file not found in $PATH", name), ENOENT);
  }
  if (error == ENOENT || error == ENOTDIR) {
    return Error(Errc::kNotFound, fmt::format("exec: \"{}\": stat {}: no such file or directory", name, name), error);
  }
  if (error == EISDIR) return Error(Errc::kPermissionDenied, fmt::format("exec: \"{}\": is a directory", name), error);
  if (error == EACCES)
    return Error(Errc::kPermissionDenied, fmt::format("exec: \"{}\": permission denied", name), error);
  return Error::from_errno(error, fmt::format("exec: \"{}\"", name));
}

Error exec_error(ProcessPlan const& process, int error) {
  std::string const& name = process.args.text().front();
  // The file was found and is executable: it is its interpreter that is missing.
  if (error == ENOENT) {
    return Error(
        Errc::kNotFound,
        fmt::format("exec {}: no such file or directory (the interpreter or loader it names is missing)", name), error);
  }
  if (error == EACCES) return Error(Errc::kPermissionDenied, fmt::format("exec {}: permission denied", name), error);
  if (error == ENOEXEC) return Error(Errc::kInvalidArgument, fmt::format("exec {}: exec format error", name), error);
  return Error::from_errno(error, fmt::format("exec {}", name));
}

Error process_error(Report const& report, ProcessPlan const& process) {
  int const error = report.error;
  switch (report.stage) {
    case Stage::kSetsid:
      return Error::from_errno(error, "setsid");
    case Stage::kUserIds:
      return Error::from_errno(error, "become root of the user namespace (is container id 0 mapped?)");
    case Stage::kConsole:
      return Error::from_errno(error, "process.terminal: set up /dev/pts/ptmx of the container");
    case Stage::kConsoleSend:
      return Error::from_errno(error, "process.terminal: send the terminal to the console socket");
    case Stage::kProcHandle:
      return Error::from_errno(error, "open a private procfs");
    case Stage::kKeyring:
      return Error::from_errno(error, "create the session keyring");
    case Stage::kPersonality:
      return Error::from_errno(error, "linux.personality");
    case Stage::kScheduler:
      return Error::from_errno(error, "process.scheduler");
    case Stage::kIoPriority:
      return Error::from_errno(error, "process.ioPriority");
    case Stage::kAffinity:
      return Error::from_errno(error, "process.execCPUAffinity");
    case Stage::kRlimit: {
      RlimitPlan const* const limit = at(process.rlimits, report.index);
      std::string const name = limit == nullptr ? "" : fmt::format(" {} to {}", limit->name, limit->limit.rlim_max);
      return Error::from_errno(error, "process.rlimits: set" + name);
    }
    case Stage::kLabel:
      return Error::from_errno(error, fmt::format("apply the security label '{}'", process.label));
    case Stage::kCwd:
      return Error::from_errno(error, fmt::format("process.cwd: chdir to '{}'", process.cwd));
    case Stage::kCwdOutside:
      return Error(Errc::kPermissionDenied,
                   fmt::format("process.cwd: '{}' is outside the container's root", process.cwd), error);
    case Stage::kBounding:
      return Error::from_errno(error, fmt::format("process.capabilities.bounding: drop {}",
                                                  capability_name(static_cast<unsigned>(report.index))));
    case Stage::kGroups:
      return Error::from_errno(error, "process.user.additionalGids");
    case Stage::kGid:
      return Error::from_errno(error, fmt::format("process.user.gid: {}", process.gid));
    case Stage::kUid:
      return Error::from_errno(error, fmt::format("process.user.uid: {}", process.uid));
    case Stage::kCapabilities:
      return Error::from_errno(error, "process.capabilities");
    case Stage::kNoNewPrivileges:
      return Error::from_errno(error, "process.noNewPrivileges");
    case Stage::kSeccomp:
      return Error::from_errno(error, "linux.seccomp: load the filter");
    case Stage::kStdio:
      return Error::from_errno(error, "set up standard streams");
    case Stage::kCloseRange:
      return Error::from_errno(error, "keep other descriptors from the program: close_range");
    case Stage::kFindProgram:
      return program_error(process, error);
    case Stage::kExec:
      return exec_error(process, error);
    default:
      return Error::from_errno(error, fmt::format("container set-up stage {}", static_cast<int>(report.stage)));
  }
}

Error hook_error(Report const& report, InitPlan const& plan) {
  bool const at_start = report.stage == Stage::kStartHook;
  auto const& hooks = at_start ? plan.start_container_hooks : plan.create_container_hooks;
  HookPlan const* const hook = at(hooks, report.index);
  std::string const name = fmt::format("hooks.{}[{}] ({})", at_start ? "startContainer" : "createContainer",
                                       report.index, hook == nullptr ? "" : hook->path);
  return hook_failure(name, {report.error >= kHookStatusBase ? 0 : report.error, report.error - kHookStatusBase},
                      hook == nullptr ? 0 : hook->timeout_ms);
}

}  // namespace

Error hook_failure(std::string const& name, HookOutcome outcome, int timeout_ms) {
  if (outcome.error == ETIMEDOUT) {
    return Error(Errc::kDeadlineExceeded, fmt::format("{}: killed, it took longer than {} s", name, timeout_ms / 1000),
                 ETIMEDOUT);
  }
  if (outcome.error == ECANCELED) return Error(Errc::kCancelled, name + ": interrupted by a signal", ECANCELED);
  if (outcome.error != 0) return Error::from_errno(outcome.error, name);
  return Error(Errc::kInternal, fmt::format("{}: ended with exit status {}", name, outcome.status));
}

Error describe(Report const& report, InitPlan const& plan) {
  int const error = report.error;
  switch (report.stage) {
    case Stage::kJoinNamespace: {
      JoinNamespace const* const join = at(plan.joins, report.index);
      return Error::from_errno(
          error, join == nullptr ? "linux.namespaces"
                                 : fmt::format("linux.namespaces: join the {} namespace {}", join->type, join->path));
    }
    case Stage::kJoinCgroup:
      return Error::from_errno(error, "join the container's cgroup");
    case Stage::kNewCgroupNamespace:
      return Error::from_errno(error, "linux.namespaces: new cgroup namespace");
    case Stage::kLoopback:
      return Error::from_errno(error, "bring up the loopback interface");
    case Stage::kHostname:
      return Error::from_errno(error, fmt::format("hostname: '{}'", plan.hostname));
    case Stage::kDomainname:
      return Error::from_errno(error, fmt::format("domainname: '{}'", plan.domainname));
    case Stage::kRootPropagation:
      return Error::from_errno(error, "linux.rootfsPropagation");
    case Stage::kRootfs:
      return Error::from_errno(error, fmt::format("root.path: mount {}", plan.rootfs));
    case Stage::kPivot:
      return Error::from_errno(error, fmt::format("root.path: make {} the root", plan.rootfs));
    case Stage::kReadonlyRoot:
      return Error::from_errno(error, "root.readonly");
    case Stage::kMountTarget:
      return Error::from_errno(error, mount_name(plan, report.index) + ": open or make the destination");
    case Stage::kMountOnProc:
      return Error(Errc::kPermissionDenied, mount_name(plan, report.index) + ": the destination leads into /proc",
                   error);
    case Stage::kMountNotDirectory:
      return Error(Errc::kPermissionDenied,
                   mount_name(plan, report.index) + ": the destination is not an ordinary directory", error);
    case Stage::kMount:
      return Error::from_errno(error, mount_name(plan, report.index));
    case Stage::kMountAttributes:
      return Error::from_errno(error, mount_name(plan, report.index) + ": set its options");
    case Stage::kMountCopyUp:
      return Error::from_errno(error, mount_name(plan, report.index) + ": tmpcopyup");
    case Stage::kDevice: {
      DevicePlan const* const device = at(plan.devices, report.index);
      return Error::from_errno(error, fmt::format("make device /{}", device == nullptr ? "dev" : device->path));
    }
    case Stage::kDeviceLink:
      return Error::from_errno(error, "make the links of /dev");
    case Stage::kReadonlyPath: {
      auto const* const path = at(plan.readonly_paths, report.index);
      return Error::from_errno(error, fmt::format("linux.readonlyPaths: {}", path == nullptr ? "" : *path));
    }
    case Stage::kMaskedPath: {
      auto const* const path = at(plan.masked_paths, report.index);
      return Error::from_errno(error, fmt::format("linux.maskedPaths: {}", path == nullptr ? "" : *path));
    }
    case Stage::kSysctl: {
      SysctlPlan const* const sysctl = at(plan.sysctls, report.index);
      return Error::from_errno(error, sysctl == nullptr
                                          ? "linux.sysctl"
                                          : fmt::format("linux.sysctl: {} = {}", sysctl->name, sysctl->value));
    }
    case Stage::kHook:
    case Stage::kStartHook:
      return hook_error(report, plan);
    default:
      return process_error(report, plan.process);
  }
}

Error describe(Report const& report, ExecPlan const& plan) {
  switch (report.stage) {
    case Stage::kJoinNamespace:
      return Error::from_errno(report.error, "join the container's namespaces");
    case Stage::kJoinCgroup:
      return Error::from_errno(report.error, "join the container's cgroup");
    case Stage::kRootfs:
      return Error::from_errno(report.error, "enter the container's root");
    default:
      return process_error(report, plan.process);
  }
}

}  // namespace davit::runtime
