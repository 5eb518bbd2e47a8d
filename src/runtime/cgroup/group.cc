// Making and finding a container's groups. Limits: limits.cc; processes: kill.cc, freezer.cc.
#include <fcntl.h>

#include <algorithm>
#include <utility>

#include "base/rollback.h"
#include "base/text.h"
#include "runtime/cgroup/cgroup.h"
#include "runtime/cgroup/limits.h"
#include "runtime/cgroup/path.h"
#include "runtime/cgroup/tree.h"
#include "sys/file.h"
#include "sys/raw.h"

namespace davit::runtime {

namespace {

std::string parent_of(std::string const& path) { return path.substr(0, path.rfind('/')); }

bool is_permission(int error_number) {
  return error_number == EACCES || error_number == EPERM || error_number == EROFS;
}

// Makes the directory and its missing parents; those made are registered with undo, so that a failure leaves none.
Result<void> make_directories(std::string const& path, Rollback& undo) {
  long result = sys::raw::mkdirat(AT_FDCWD, path.c_str(), 0755);
  if (result == -ENOENT && path.find('/', 1) != std::string::npos) {
    TRY(make_directories(parent_of(path), undo));
    result = sys::raw::mkdirat(AT_FDCWD, path.c_str(), 0755);
  }
  if (result == 0) undo.add([path] { sys::raw::unlinkat(AT_FDCWD, path.c_str(), AT_REMOVEDIR); });
  if (result < 0 && result != -EEXIST) {
    return Error::from_errno(static_cast<int>(-result), "make control group '" + path + "'");
  }
  return {};
}

enum class Found { kMade, kEmpty };

Result<void> check_empty(std::string const& path) {
  std::vector<int> const pids = TRY(processes_below(path));
  if (pids.empty()) return {};
  return Error(Errc::kConflict, "control group '" + path + "' holds processes already (" +
                                    std::to_string(pids.front()) + (pids.size() > 1 ? " and others)" : ")"));
}

// A group that was left frozen would hold whoever joins it for ever.
Result<void> thaw_empty(std::string const& path) {
  if (sys::exists(path + "/cgroup.freeze")) TRY(sys::write_knob(AT_FDCWD, path + "/cgroup.freeze", "0"));
  if (!sys::exists(path + "/freezer.state")) return {};
  TRY(sys::write_knob(AT_FDCWD, path + "/freezer.state", "THAWED"));
  auto const parent = sys::read_file(path + "/freezer.parent_freezing", 16);
  if (!parent || trim(*parent) != "1") return {};
  return Error(Errc::kConflict, "control group '" + path + "' lies in one that is frozen");
}

Result<Found> make_group(std::string const& path, Rollback& undo) {
  long const result = sys::raw::mkdirat(AT_FDCWD, path.c_str(), 0755);
  if (result == -EEXIST) {
    TRY(check_empty(path));
    TRY(thaw_empty(path));
    return Found::kEmpty;
  }
  if (result == 0) {
    undo.add([path] { sys::raw::unlinkat(AT_FDCWD, path.c_str(), AT_REMOVEDIR); });
  } else {
    TRY(make_directories(path, undo));
  }
  return Found::kMade;
}

struct CpusetValues {
  std::string cpus, mems;
  bool complete() const { return !cpus.empty() && !mems.empty(); }
};

Result<CpusetValues> read_cpuset(std::string const& path) {
  CpusetValues values;
  values.cpus = trim(TRY(sys::read_file(path + "/cpuset.cpus")));
  values.mems = trim(TRY(sys::read_file(path + "/cpuset.mems")));
  return values;
}

// A v1 cpuset begins empty and then takes no process (cgroup-v1/cpusets.rst), so it gets its parent's values.
Result<CpusetValues> inherit_cpuset(std::string const& path, std::string const& mount_point, bool fresh) {
  CpusetValues own;
  if (!fresh) own = TRY(read_cpuset(path));
  if (own.complete() || path.size() <= mount_point.size()) return own;
  CpusetValues const above = TRY(inherit_cpuset(parent_of(path), mount_point, false));
  if (own.cpus.empty()) {
    TRY_CTX(sys::write_knob(AT_FDCWD, path + "/cpuset.cpus", above.cpus), "inherit the parent's cpuset");
    own.cpus = above.cpus;
  }
  if (own.mems.empty()) {
    TRY_CTX(sys::write_knob(AT_FDCWD, path + "/cpuset.mems", above.mems), "inherit the parent's cpuset");
    own.mems = above.mems;
  }
  return own;
}

// The group in one hierarchy, ready to take processes.
Result<void> prepare(CgroupHost const& host, CgroupHierarchy const& hierarchy, std::string const& path,
                     Rollback& undo) {
  Found const found = TRY(make_group(path, undo));
  auto const& names = hierarchy.controllers;
  if (std::find(names.begin(), names.end(), "cpuset") != names.end()) {
    TRY(inherit_cpuset(path, hierarchy.mount_point, found == Found::kMade));
  }
  // Every controller, asked for or not: they count what stats shows. Beside v1 only what a limit needs (limits.cc).
  if (host.layout == CgroupLayout::kV2) enable_controllers(hierarchy.mount_point, path, {});
  return {};
}

struct Placement {
  GroupPath group;
  OwnGroups own;  // only for a group relative to the caller's
};

Result<Placement> place(Cgroup::Options const& options) {
  Placement placement;
  placement.group = TRY(parse_cgroups_path(options));
  if (!placement.group.absolute) placement.own = parse_proc_cgroup(TRY(sys::read_file("/proc/self/cgroup")));
  return placement;
}

}  // namespace

Result<std::map<std::string, std::string>> Cgroup::planned_paths(CgroupHost const& host, Options const& options) {
  Placement const placement = TRY(place(options));
  std::map<std::string, std::string> paths;
  for (CgroupHierarchy const& hierarchy : host.hierarchies) {
    std::string const path = group_directory(hierarchy, placement.group, placement.own);
    TRY(check_empty(path));
    for (std::string const& controller : hierarchy.controllers) paths[controller] = path;
  }
  return paths;
}

Result<Cgroup> Cgroup::create(CgroupHost const& host, Options const& options) {
  Placement const placement = TRY(place(options));
  Cgroup cgroup;
  cgroup.ignore_permission_ = options.ignore_permission;
  Rollback undo;
  for (CgroupHierarchy const& hierarchy : host.hierarchies) {
    std::string path = group_directory(hierarchy, placement.group, placement.own);
    Result<void> prepared = prepare(host, hierarchy, path, undo);
    if (!prepared) {
      if (options.ignore_permission && is_permission(prepared.error().error_number())) continue;
      return std::move(prepared).take_error();
    }
    if (hierarchy.v2) cgroup.v2_mount_ = hierarchy.mount_point;
    cgroup.add_directory(CgroupDirectory(std::move(path), hierarchy.controllers));
  }
  undo.commit();
  return cgroup;
}

Cgroup Cgroup::from_paths(std::map<std::string, std::string> const& paths) {
  std::map<std::string, std::vector<std::string>> by_path;
  for (auto const& [controller, path] : paths) by_path[path].push_back(controller);
  Cgroup cgroup;
  for (auto& [path, controllers] : by_path) cgroup.add_directory(CgroupDirectory(path, std::move(controllers)));
  return cgroup;
}

void Cgroup::add_directory(CgroupDirectory directory) {
  for (std::string const& controller : directory.controllers()) paths_[controller] = directory.path();
  directories_.push_back(std::move(directory));
}

std::string Cgroup::path_of(std::string_view controller) const {
  auto found = paths_.find(std::string(controller));
  if (found == paths_.end() && pure_v2()) found = paths_.find("");
  return found == paths_.end() ? std::string() : found->second;
}

bool Cgroup::pure_v2() const { return directories_.size() == 1 && directories_.front().v2(); }

CgroupDirectory const* Cgroup::v1_directory(std::string_view controller) const {
  for (CgroupDirectory const& directory : directories_) {
    if (!directory.v2() && directory.has_controller(controller)) return &directory;
  }
  return nullptr;
}

CgroupDirectory const* Cgroup::v2_directory() const {
  for (CgroupDirectory const& directory : directories_) {
    if (directory.v2()) return &directory;
  }
  return nullptr;
}

CgroupDirectory const* Cgroup::process_directory() const {
  for (std::string_view const controller : {"freezer", "devices", "memory", "pids", "cpu"}) {
    if (CgroupDirectory const* directory = v1_directory(controller)) return directory;
  }
  if (CgroupDirectory const* directory = v2_directory()) return directory;
  return directories_.empty() ? nullptr : &directories_.front();
}

Result<std::vector<UniqueFd>> Cgroup::open_join_files(JoinFiles which) const {
  std::vector<UniqueFd> files;
  files.reserve(directories_.size());
  for (CgroupDirectory const& directory : directories_) {
    if (directory.v2() && which == JoinFiles::kV1) continue;
    std::string const path = directory.path() + (directory.v2() ? "/cgroup.procs" : "/tasks");
    files.push_back(TRY(sys::open(path, O_WRONLY)));
  }
  return files;
}

Result<UniqueFd> Cgroup::open_v2_directory() const {
  CgroupDirectory const* const directory = v2_directory();
  if (directory == nullptr) return UniqueFd();
  return sys::open(directory->path(), O_PATH | O_DIRECTORY);
}

Result<void> Cgroup::add_process(int pid) const {
  for (CgroupDirectory const& directory : directories_) {
    TRY_CTX(directory.write("cgroup.procs", std::to_string(pid)), "move process " + std::to_string(pid));
  }
  return {};
}

Result<std::vector<int>> Cgroup::processes() const {
  CgroupDirectory const* const directory = process_directory();
  if (directory == nullptr) return std::vector<int>();
  return processes_below(directory->path());
}

Result<void> Cgroup::remove() {
  // One budget of time for all: the processes that keep one directory keep the others too.
  Result<void> first;
  std::chrono::milliseconds patience(1000);
  for (CgroupDirectory const& directory : directories_) {
    Result<void> removed = remove_group_tree(directory.path(), patience);
    if (removed || !first.ok()) continue;
    first = std::move(removed);
    patience = std::chrono::milliseconds(0);
  }
  return first;
}

}  // namespace davit::runtime
