#include "runtime/cgroup/path.h"

#include <algorithm>
#include <vector>

#include "base/text.h"

namespace davit::runtime {

OwnGroups parse_proc_cgroup(std::string_view text) {
  OwnGroups own;
  for (std::string_view const line : split(text, '\n')) {
    std::size_t const first = line.find(':');
    std::size_t const second = first == std::string_view::npos ? first : line.find(':', first + 1);
    if (second == std::string_view::npos) continue;
    std::string const path(line.substr(second + 1));
    for (std::string_view const controller : split(line.substr(first + 1, second - first - 1), ',')) {
      own[std::string(controller)] = path;
    }
  }
  return own;
}

namespace {

Error bad_path(std::string_view path, std::string_view why) {
  std::string text = "linux.cgroupsPath '";
  text.append(path).append("': ").append(why);
  return Error(Errc::kInvalidArgument, std::move(text));
}

// "a/./b//c" -> "a/b/c"
Result<std::string> clean_components(std::string_view path) {
  std::string clean;
  for (std::string_view const part : split(path, '/')) {
    if (part.empty() || part == ".") continue;
    if (part == "..") return bad_path(path, "\"..\" is not allowed");
    if (part.find('\n') != std::string_view::npos) return bad_path(path, "a newline is not allowed");
    if (part.find('\0') != std::string_view::npos) return bad_path(path, "a NUL byte is not allowed");
    if (part.size() > 255) return bad_path(path, "a component is longer than 255 bytes");
    if (!clean.empty()) clean += '/';
    clean += part;
  }
  if (clean.empty()) return bad_path(path, "names the root group, which is not a container's");
  return clean;
}

Result<void> check_systemd(Cgroup::Options const& options) {
  std::string const& path = options.cgroups_path;
  bool const three_parts = std::count(path.begin(), path.end(), ':') == 2 && path.find('/') == std::string::npos;
  if (!options.systemd_driver && !three_parts) return {};
  if (!path.empty() && !three_parts) {
    return bad_path(path, "the systemd driver expects \"slice:prefix:name\" (use the cgroupfs driver for this path)");
  }
  std::vector<std::string_view> const parts = split(path, ':');
  if (three_parts && (parts[2].empty() || (!parts[0].empty() && !parts[0].ends_with(".slice")))) {
    return bad_path(path, "expected \"slice:prefix:name\" with a slice that ends in \".slice\"");
  }
  return Error(Errc::kUnimplemented,
               "linux.cgroupsPath '" + path +
                   "': the systemd cgroup driver is not supported; use the cgroupfs driver (no "
                   "--systemd-cgroup, native.cgroupdriver=cgroupfs) and a path such as \"/davit/ID\"");
}

// own seen from the mount's root; own itself where the mount does not show it (a cgroup namespace made after the
// mount).
std::string_view below_mount_root(std::string_view own, std::string_view root) {
  if (root == "/" || !own.starts_with(root)) return own;
  if (own.size() > root.size() && own[root.size()] != '/') return own;
  return own.substr(root.size());
}

}  // namespace

Result<GroupPath> parse_cgroups_path(Cgroup::Options const& options) {
  TRY(check_systemd(options));
  GroupPath group;
  if (options.cgroups_path.empty()) {
    if (options.container_id.empty() || options.container_id == "." ||
        options.container_id.find('/') != std::string::npos) {
      return Error(Errc::kInvalidArgument, "container id '" + options.container_id + "': cannot name a control group");
    }
    group.path = TRY(clean_components("davit/" + options.container_id));
    return group;
  }
  group.absolute = options.cgroups_path.front() == '/';
  group.path = TRY(clean_components(options.cgroups_path));
  return group;
}

std::string group_directory(CgroupHierarchy const& hierarchy, GroupPath const& group, OwnGroups const& own) {
  std::string directory = hierarchy.mount_point;
  if (!group.absolute && !hierarchy.controllers.empty()) {
    auto const found = own.find(hierarchy.controllers.front());
    std::string_view below = found == own.end() ? "" : below_mount_root(found->second, hierarchy.mount_root);
    if (hierarchy.v2) below = below.substr(0, std::min(below.rfind('/'), below.size()));
    for (std::string_view const part : split(below, '/')) {
      // "/..": our own group lies outside our cgroup namespace (cgroup_namespaces(7)); the mount cannot show it.
      if (part.empty() || part == "..") continue;
      directory.append("/").append(part);
    }
  }
  return directory.append("/").append(group.path);
}

}  // namespace davit::runtime
