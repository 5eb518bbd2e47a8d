#include <linux/magic.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "base/text.h"
#include "runtime/cgroup/cgroup.h"
#include "runtime/cgroup/path.h"
#include "sys/file.h"
#include "sys/filesystem.h"

namespace davit::runtime {

namespace {

// Mount options of the superblock that name neither a controller nor a hierarchy (cgroups(7), cgroup1_fs_parameters).
bool is_controller(std::string_view option) {
  static constexpr std::string_view kNotControllers[] = {
      "rw", "ro", "noprefix", "clone_children", "cpuset_v2_mode", "xattr", "none", "all", "favordynmods"};
  if (option.empty() || option.starts_with("release_agent=")) return false;
  return std::find(std::begin(kNotControllers), std::end(kNotControllers), option) == std::end(kNotControllers);
}

// mountinfo writes space, tab, newline and backslash as three octal digits (proc_pid_mountinfo(5)).
std::string unescape(std::string_view text) {
  std::string plain;
  for (std::size_t i = 0; i < text.size(); ++i) {
    auto const digit = [&](std::size_t at) { return at < text.size() && text[at] >= '0' && text[at] <= '7'; };
    if (text[i] == '\\' && digit(i + 1) && digit(i + 2) && digit(i + 3)) {
      plain += static_cast<char>((text[i + 1] - '0') * 64 + (text[i + 2] - '0') * 8 + (text[i + 3] - '0'));
      i += 3;
    } else {
      plain += text[i];
    }
  }
  return plain;
}

// The mounts that everybody uses win over further mounts of the same hierarchy (a chroot's, a container's).
bool is_usual_place(CgroupHierarchy const& hierarchy) {
  return hierarchy.mount_point == "/sys/fs/cgroup" || hierarchy.mount_point.starts_with("/sys/fs/cgroup/");
}

void add(std::vector<CgroupHierarchy>& hierarchies, CgroupHierarchy found) {
  for (CgroupHierarchy& known : hierarchies) {
    if (known.v2 != found.v2 || known.controllers != found.controllers) continue;
    // Mounted over at the same place: the last one is the one to be seen.
    bool const hides = known.mount_point == found.mount_point;
    if (hides || (is_usual_place(found) && !is_usual_place(known))) known = std::move(found);
    return;
  }
  hierarchies.push_back(std::move(found));
}

CgroupLayout layout_of(bool v1, bool v2) {
  if (v1 && v2) return CgroupLayout::kHybrid;
  if (v2) return CgroupLayout::kV2;
  return v1 ? CgroupLayout::kV1 : CgroupLayout::kNone;
}

constexpr std::string_view kUsualRoot = "/sys/fs/cgroup";

// Is the whole hierarchy mounted there? The root of every cgroup filesystem is inode 1; a bind mount of one group, or a
// mount made inside a cgroup namespace, shows another (kernel/cgroup/cgroup.c, kernfs_create_root).
bool shows_whole(std::string const& path, long magic) {
  Result<sys::PathFilesystem> const found = sys::filesystem_of(path);
  return found && found->magic == magic && found->inode == 1;
}

// The hierarchy of one line of /proc/self/cgroup, "4:cpu,cpuacct:/x", where distributions mount it.
std::optional<CgroupHierarchy> usual_hierarchy(std::string_view controllers, bool only_v2) {
  CgroupHierarchy hierarchy;
  hierarchy.mount_root = "/";
  hierarchy.mount_point = kUsualRoot;
  if (controllers.empty()) {
    hierarchy.v2 = true;
    hierarchy.controllers = {""};
    if (!only_v2) hierarchy.mount_point += "/unified";
    if (!shows_whole(hierarchy.mount_point, CGROUP2_SUPER_MAGIC)) return std::nullopt;
    return hierarchy;
  }
  bool const named = controllers.starts_with("name=");
  hierarchy.mount_point.append("/").append(named ? controllers.substr(5) : controllers);
  if (!shows_whole(hierarchy.mount_point, CGROUP_SUPER_MAGIC)) return std::nullopt;
  for (std::string_view const controller : split(controllers, ',')) hierarchy.controllers.emplace_back(controller);
  std::sort(hierarchy.controllers.begin(), hierarchy.controllers.end());
  return hierarchy;
}

}  // namespace

std::optional<CgroupHost> find_usual_mounts(std::string_view proc_cgroup) {
  CgroupHost host;
  bool v1 = false;
  bool v2 = false;
  std::vector<std::string_view> controllers;
  for (std::string_view const line : split(proc_cgroup, '\n')) {
    std::vector<std::string_view> const parts = split(line, ':');
    if (parts.size() < 3) continue;
    controllers.push_back(parts[1]);
    (parts[1].empty() ? v2 : v1) = true;
  }
  for (std::string_view const names : controllers) {
    std::optional<CgroupHierarchy> hierarchy = usual_hierarchy(names, !v1);
    if (!hierarchy) return std::nullopt;
    host.hierarchies.push_back(std::move(*hierarchy));
  }
  host.layout = layout_of(v1, v2);
  if (host.layout == CgroupLayout::kNone) return std::nullopt;
  return host;
}

CgroupHost parse_cgroup_mounts(std::string_view mountinfo) {
  CgroupHost host;
  bool v1 = false;
  bool v2 = false;
  for (std::string_view const line : split(mountinfo, '\n')) {
    // "31 23 0:28 / /sys/fs/cgroup/cpu rw,relatime shared:9 - cgroup cgroup rw,cpu"
    std::size_t const separator = line.find(" - cgroup");
    if (separator == std::string_view::npos) continue;
    std::vector<std::string_view> const fields = split(line.substr(0, separator), ' ');
    std::vector<std::string_view> const tail = split(line.substr(separator + 3), ' ');
    if (fields.size() < 6 || tail.size() < 3 || (tail[0] != "cgroup" && tail[0] != "cgroup2")) continue;
    CgroupHierarchy hierarchy;
    hierarchy.mount_root = unescape(fields[3]);
    hierarchy.mount_point = unescape(fields[4]);
    hierarchy.v2 = tail[0] == "cgroup2";
    if (hierarchy.v2) {
      hierarchy.controllers = {""};
    } else {
      for (std::string_view const option : split(tail[2], ',')) {
        if (is_controller(option)) hierarchy.controllers.emplace_back(option);
      }
      if (hierarchy.controllers.empty()) continue;
      std::sort(hierarchy.controllers.begin(), hierarchy.controllers.end());
    }
    (hierarchy.v2 ? v2 : v1) = true;
    add(host.hierarchies, std::move(hierarchy));
  }
  host.layout = layout_of(v1, v2);
  return host;
}

Result<CgroupHost> CgroupHost::probe() {
  // The mount table costs 2 us for each mount of the host, of which there may be thousands.
  Result<std::string> const own = sys::read_file("/proc/self/cgroup");
  if (own) {
    if (std::optional<CgroupHost> host = find_usual_mounts(*own)) return *std::move(host);
  }
  return probe_mounts("/proc/self/mountinfo");
}

Result<CgroupHost> CgroupHost::probe_mounts(std::string const& mountinfo_path) {
  std::string const text = TRY_CTX(sys::read_file(mountinfo_path), "find the control groups");
  return parse_cgroup_mounts(text);
}

}  // namespace davit::runtime
