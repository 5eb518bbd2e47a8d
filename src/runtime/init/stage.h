// What the container's first process does between clone and exec, in order, and how it says that a step failed.
#pragma once

#include <cstdint>

namespace davit::runtime {

enum class Stage : std::int32_t {
  kNone,
  kJoinNamespace,  // index: plan.joins
  kClone,
  kSync,  // the runtime went away
  kSetsid,
  kUserIds,     // become root of the new user namespace
  kJoinCgroup,  // index: plan.cgroup_files
  kNewCgroupNamespace,
  kLoopback,
  kHostname,
  kDomainname,
  kRootPropagation,
  kRootfs,
  kMountTarget,        // index: plan.mounts
  kMountOnProc,        // index: plan.mounts; the target lies inside procfs
  kMountNotDirectory,  // index: plan.mounts; proc and sysfs only on an ordinary directory
  kMount,              // index: plan.mounts
  kMountAttributes,    // index: plan.mounts
  kMountCopyUp,        // index: plan.mounts
  kDevice,             // index: plan.devices
  kDeviceLink,         // index: kDeviceLinks
  kConsole,
  kConsoleSend,
  kStartHook,  // as kHook, of startContainer
  kHook,       // index: hooks of the stage; error: errno, or 1000 + exit status
  kPivot,
  kReadonlyPath,  // index: plan.readonly_paths
  kMaskedPath,    // index: plan.masked_paths
  kReadonlyRoot,
  kProcHandle,  // a private procfs for the writes below
  kSysctl,      // index: plan.sysctls
  kKeyring,
  kPersonality,
  kScheduler,
  kIoPriority,
  kAffinity,
  kRlimit,  // index: plan.rlimits
  kLabel,
  kCwd,
  kCwdOutside,  // the working directory is not inside the root
  kFindProgram,
  kStart,  // waiting for `start`
  kBounding,
  kGroups,
  kGid,
  kUid,
  kCapabilities,
  kAmbient,
  kNoNewPrivileges,
  kSeccomp,
  kStdio,
  kCloseRange,
  kExec,
};

// The child's failure as it travels on the sync socket.
struct Report {
  Stage stage = Stage::kNone;
  std::int32_t error = 0;  // errno
  std::int32_t index = -1;
};

}  // namespace davit::runtime
