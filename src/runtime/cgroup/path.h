// Where a container's group lies in each hierarchy: pure functions over the spec's path, the mount table and the
// caller's own groups. OCI runtime-spec config-linux.md "Cgroups Path"; cgroups(7) "/proc/pid/cgroup". Any thread.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "runtime/cgroup/cgroup.h"

namespace davit::runtime {

// Controller ("cpu", "name=systemd", "" for v2) -> path of a process's group.
using OwnGroups = std::map<std::string, std::string>;

// The text of /proc/PID/cgroup.
OwnGroups parse_proc_cgroup(std::string_view text);

// The text of /proc/PID/mountinfo.
CgroupHost parse_cgroup_mounts(std::string_view mountinfo);

// The hierarchies that /proc/PID/cgroup names, if each of them is mounted whole at its usual place; else nullopt.
std::optional<CgroupHost> find_usual_mounts(std::string_view proc_cgroup);

struct GroupPath {
  bool absolute = false;  // below the hierarchy's mount point; else below the caller's own group
  std::string path;       // "docker/ID": no leading or doubled slash, no "." or ".."
};

// linux.cgroupsPath as a cgroupfs path. kUnimplemented for systemd's "slice:prefix:name".
Result<GroupPath> parse_cgroups_path(Cgroup::Options const& options);

// The directory of the group in one hierarchy.
// own: needed for a relative path only. On v2 the group is made beside the caller's own, not below it: a v2 group that
// holds processes cannot give controllers to groups below it (cgroup-v2.rst "No Internal Process Constraint").
std::string group_directory(CgroupHierarchy const& hierarchy, GroupPath const& group, OwnGroups const& own);

}  // namespace davit::runtime
