#include "runtime/mount/plan.h"

#include <fmt/format.h>
#include <sys/mount.h>
#include <sys/sysmacros.h>

#include <algorithm>
#include <array>

#include "runtime/mount/options.h"
#include "runtime/userns.h"
#include "sys/file.h"
#include "sys/raw.h"

namespace davit::runtime {

namespace abi = sys::abi;

Result<unsigned long> parse_propagation(std::string_view name) {
  struct Row {
    std::string_view name;
    unsigned long flags;
  };
  constexpr std::array<Row, 9> kRows{{{"", 0},
                                      {"private", MS_PRIVATE},
                                      {"rprivate", MS_PRIVATE | MS_REC},
                                      {"slave", MS_SLAVE},
                                      {"rslave", MS_SLAVE | MS_REC},
                                      {"shared", MS_SHARED},
                                      {"rshared", MS_SHARED | MS_REC},
                                      {"unbindable", MS_UNBINDABLE},
                                      {"runbindable", MS_UNBINDABLE | MS_REC}}};
  for (Row const& row : kRows) {
    if (row.name == name) return row.flags;
  }
  return Error(Errc::kInvalidArgument, fmt::format("unknown propagation '{}'", name));
}

bool dev_is_ours(oci::Spec const& spec) {
  for (auto const& mount : spec.mounts) {
    if (sys::clean_path(mount.destination) != "/dev") continue;
    bool const bind = mount.type == "bind" || std::ranges::any_of(mount.options, [](auto const& option) {
                        return option == "bind" || option == "rbind";
                      });
    return !bind;
  }
  return true;
}

namespace {

std::string inside_root(std::string_view path) { return sys::clean_path(path).substr(1); }

// MOUNT_ATTR_* for the MS_* that belong to a mount rather than to its file system.
std::uint64_t attributes(unsigned long flags) {
  std::uint64_t out = 0;
  if (flags & MS_RDONLY) out |= abi::kMountAttrRdonly;
  if (flags & MS_NOSUID) out |= abi::kMountAttrNosuid;
  if (flags & MS_NODEV) out |= abi::kMountAttrNodev;
  if (flags & MS_NOEXEC) out |= abi::kMountAttrNoexec;
  if (flags & MS_NOATIME) out |= abi::kMountAttrNoatime;
  if (flags & MS_STRICTATIME) out |= abi::kMountAttrStrictatime;
  if (flags & MS_NODIRATIME) out |= abi::kMountAttrNodiratime;
  if (flags & 256 /* MS_NOSYMFOLLOW, Linux 5.10 */) out |= abi::kMountAttrNosymfollow;
  return out;
}

// The atime modes are one field: to set one, the field is cleared first (mount_setattr(2)).
void set_attributes(MountPlan& plan, MountOptions const& options) {
  constexpr unsigned long kAtimeFlags = MS_NOATIME | MS_RELATIME | MS_STRICTATIME;
  plan.set |= attributes(options.flags);
  plan.clear |= attributes(options.clear) & ~(abi::kMountAttrNoatime | abi::kMountAttrStrictatime);
  if (((options.flags | options.clear) & kAtimeFlags) != 0) plan.clear |= abi::kMountAttrAtimeMask;
  plan.rec_set = options.rec_set;
  plan.rec_clear = options.rec_clear;
}

// Files of procfs that a container may see another version of (lxcfs and the like). Everything else below /proc would
// let the image change what the runtime and the kernel's tools believe (CVE-2019-16884, CVE-2025-52881).
bool may_cover_proc(std::string_view destination) {
  constexpr std::array<std::string_view, 15> kAllowed{"proc/cpuinfo",
                                                      "proc/diskstats",
                                                      "proc/meminfo",
                                                      "proc/stat",
                                                      "proc/swaps",
                                                      "proc/uptime",
                                                      "proc/loadavg",
                                                      "proc/slabinfo",
                                                      "proc/net/dev",
                                                      "proc/sys/kernel/ns_last_pid",
                                                      "proc/sys/crypto/fips_enabled",
                                                      "proc/vmstat",
                                                      "proc/version",
                                                      "proc/partitions",
                                                      "proc/filesystems"};
  return std::ranges::find(kAllowed, destination) != kAllowed.end();
}

// Where masks and read-only paths look later: a link of the image there would lead them elsewhere.
bool at_kernel_root(std::string_view destination) { return destination == "proc" || destination == "sys"; }

class MountPlanner {
 public:
  explicit MountPlanner(MountContext const& context) : context_(context) {}

  Result<std::vector<MountPlan>> plan() {
    for (std::size_t i = 0; i < context_.spec.mounts.size(); ++i) {
      oci::Mount const& mount = context_.spec.mounts[i];
      TRY_CTX(add(mount), fmt::format("mounts[{}] ({})", i, mount.destination));
    }
    return std::move(out_);
  }

 private:
  Result<void> add(oci::Mount const& mount) {
    MountOptions const options = TRY(parse_mount_options(mount.options));
    if (options.flags & MS_REMOUNT) {
      return Error(Errc::kInvalidArgument, "options: 'remount' is not an option of a new mount");
    }
    bool const bind = mount.type == "bind" || options.bind || options.recursive_bind;
    if (bind) return add_bind(mount, options);
    if (mount.type.empty()) return Error(Errc::kInvalidArgument, "type: missing (and no bind option)");
    if (mount.type == "cgroup" || mount.type == "cgroup2") return add_cgroup(mount, options);
    if (options.idmap || !mount.uid_mappings.empty()) {
      return Error(Errc::kInvalidArgument, "options: id mapping is for bind mounts only");
    }
    return add_filesystem(mount, options);
  }

  Result<void> add_filesystem(oci::Mount const& mount, MountOptions const& options) {
    MountPlan plan;
    plan.destination = inside_root(mount.destination);
    bool const pseudo = mount.type == "proc" || mount.type == "sysfs";
    if (plan.destination.empty()) return Error(Errc::kInvalidArgument, "destination: the root itself");
    TRY(check_proc(plan.destination, mount.type == "proc", plan));
    plan.source = mount.source.empty() ? mount.type : mount.source;
    plan.type = mount.type;
    plan.flags = options.flags;
    plan.data = options.data;
    if (!context_.spec.linux->mount_label.empty()) add_label(plan);
    plan.propagation = options.propagation;
    plan.rec_set = options.rec_set;
    plan.rec_clear = options.rec_clear;
    plan.copy_up = options.tmpcopyup;
    plan.inherit_mode = mount.type == "tmpfs" && !options.tmpcopyup && options.data.find("mode=") == std::string::npos;
    plan.ordinary_directory = pseudo || at_kernel_root(plan.destination);
    if (options.tmpcopyup && mount.type != "tmpfs") {
      return Error(Errc::kInvalidArgument, "options: tmpcopyup is for tmpfs only");
    }
    // Mount points below and copied files still have to be made in it.
    if (mount.type == "tmpfs" && (plan.flags & MS_RDONLY)) {
      plan.flags &= ~static_cast<unsigned long>(MS_RDONLY);
      plan.readonly_at_end = true;
    }
    out_.push_back(std::move(plan));
    return {};
  }

  void add_label(MountPlan& plan) {
    if (plan.type == "proc" || plan.type == "sysfs") return;
    if (!plan.data.empty()) plan.data += ',';
    plan.data += fmt::format("context=\"{}\"", context_.spec.linux->mount_label);
  }

  // source: of a bind mount
  Result<void> add_bind(oci::Mount const& mount, MountOptions const& options) {
    MountPlan plan;
    plan.kind = MountPlan::Kind::kTree;
    plan.destination = inside_root(mount.destination);
    if (plan.destination.empty()) return Error(Errc::kInvalidArgument, "destination: the root itself");
    if (mount.source.empty()) return Error(Errc::kInvalidArgument, "source: missing");
    if (!options.data.empty()) {
      return Error(Errc::kInvalidArgument, fmt::format("options: unknown option '{}' for a bind mount", options.data));
    }
    plan.source = mount.source.front() == '/' ? mount.source : context_.bundle + "/" + mount.source;
    plan.recursive = options.recursive_bind;
    TRY_CTX(open_tree(plan), fmt::format("source {}", plan.source));
    bool const is_proc = TRY(sys::fs_magic(plan.tree.get())) == abi::kProcMagic;
    TRY(check_proc(plan.destination, is_proc, plan));
    plan.ordinary_directory = at_kernel_root(plan.destination);
    set_attributes(plan, options);
    plan.propagation = options.propagation;
    TRY(add_id_mapping(plan, mount, options));
    out_.push_back(std::move(plan));
    return {};
  }

  static Result<void> check_proc(std::string_view destination, bool is_procfs, MountPlan& plan) {
    if (destination == "proc" && !is_procfs) {
      return Error(Errc::kInvalidArgument, "destination: only a procfs can be mounted on /proc");
    }
    plan.allowed_on_proc = may_cover_proc(destination);
    if (destination.starts_with("proc/") && !plan.allowed_on_proc) {
      return Error(Errc::kInvalidArgument, "destination: lies inside /proc");
    }
    return {};
  }

  Result<void> open_tree(MountPlan& plan) {
    plan.origin.source = plan.source;
    plan.origin.recursive = plan.recursive;
    plan.origin.propagation = context_.default_propagation;
    plan.tree = TRY(make_tree(plan.origin));
    plan.tree_is_directory = S_ISDIR(TRY(sys::fstat(plan.tree.get())).st_mode);
    return {};
  }

  Result<void> add_id_mapping(MountPlan& plan, oci::Mount const& mount, MountOptions const& options) {
    bool const own = !mount.uid_mappings.empty() || !mount.gid_mappings.empty();
    if (!own && !options.idmap) return {};
    auto const& uids = own ? mount.uid_mappings : context_.spec.linux->uid_mappings;
    auto const& gids = own ? mount.gid_mappings : context_.spec.linux->gid_mappings;
    if (uids.empty() || gids.empty()) {
      return Error(Errc::kInvalidArgument,
                   own ? "uidMappings and gidMappings: both are needed"
                       : "options: idmap needs uidMappings and gidMappings, of the mount or of the container");
    }
    plan.id_mapping = TRY(make_user_namespace(uids, gids));
    plan.origin.id_mapping = plan.id_mapping.get();
    plan.origin.id_map_below = options.recursive_idmap;
    plan.tree = TRY(make_tree(plan.origin));
    return {};
  }

  // In a cgroup namespace every hierarchy is mounted anew and shows the container's group as its root; else the
  // container's own directories are bound.
  Result<void> add_cgroup(oci::Mount const& mount, MountOptions const& options) {
    std::string const destination = inside_root(mount.destination);
    if (context_.cgroups.layout == CgroupLayout::kV2) {
      return add_hierarchy(destination, context_.cgroups.hierarchies.front(), options, options.flags & MS_RDONLY);
    }
    if (context_.cgroups.layout == CgroupLayout::kNone) {
      return Error(Errc::kUnimplemented, "this host has no cgroup hierarchy mounted");
    }
    MountPlan top;
    top.destination = destination;
    top.source = "tmpfs";
    top.type = "tmpfs";
    top.flags = (options.flags | MS_NOSUID | MS_NODEV | MS_NOEXEC) & ~static_cast<unsigned long>(MS_RDONLY);
    top.data = "mode=755";
    top.readonly_at_end = (options.flags & MS_RDONLY) != 0;
    top.recursive = true;
    out_.push_back(std::move(top));
    for (CgroupHierarchy const& hierarchy : context_.cgroups.hierarchies) {
      std::string const name = hierarchy.mount_point.substr(hierarchy.mount_point.rfind('/') + 1);
      TRY(add_hierarchy(destination + "/" + name, hierarchy, options, false));
      if (hierarchy.controllers.size() < 2) continue;
      for (std::string const& controller : hierarchy.controllers) {
        if (controller == name) continue;
        MountPlan link;
        link.kind = MountPlan::Kind::kSymlink;
        link.destination = destination + "/" + controller;
        link.source = name;
        out_.push_back(std::move(link));
      }
    }
    return {};
  }

  Result<void> add_hierarchy(std::string destination, CgroupHierarchy const& hierarchy, MountOptions const& options,
                             bool readonly) {
    MountPlan plan;
    plan.destination = std::move(destination);
    unsigned long const flags =
        (options.flags | MS_NOSUID | MS_NODEV | MS_NOEXEC) & ~static_cast<unsigned long>(MS_RDONLY);
    if (context_.cgroup_namespace) {
      plan.source = "cgroup";
      plan.type = hierarchy.v2 ? "cgroup2" : "cgroup";
      plan.flags = flags;
      if (!hierarchy.v2) plan.data = fmt::format("{}", fmt::join(hierarchy.controllers, ","));
      plan.readonly_at_end = readonly;
    } else {
      plan.kind = MountPlan::Kind::kTree;
      std::string const own =
          context_.cgroup == nullptr ? "" : context_.cgroup->path_of(hierarchy.v2 ? "" : hierarchy.controllers.front());
      plan.source = own.empty() ? hierarchy.mount_point : own;
      TRY_CTX(open_tree(plan), fmt::format("source {}", plan.source));
      plan.set = attributes(flags) | (readonly ? abi::kMountAttrRdonly : 0);
    }
    out_.push_back(std::move(plan));
    return {};
  }

  MountContext const& context_;
  std::vector<MountPlan> out_;
};

struct DefaultDevice {
  std::string_view path;
  unsigned major, minor;
};
// OCI runtime-spec config-linux.md, "Default Devices"; /dev/console and /dev/ptmx are made apart.
constexpr std::array<DefaultDevice, 6> kDefaultDevices{{{"dev/null", 1, 3},
                                                        {"dev/zero", 1, 5},
                                                        {"dev/full", 1, 7},
                                                        {"dev/random", 1, 8},
                                                        {"dev/urandom", 1, 9},
                                                        {"dev/tty", 5, 0}}};

Result<mode_t> device_type(std::string_view type) {
  if (type == "c" || type == "u") return static_cast<mode_t>(S_IFCHR);
  if (type == "b") return static_cast<mode_t>(S_IFBLK);
  if (type == "p") return static_cast<mode_t>(S_IFIFO);
  return Error(Errc::kInvalidArgument, fmt::format("type: '{}' is none of c, b, u, p", type));
}

Result<void> bind_host_device(DevicePlan& plan) {
  std::string const host = "/" + plan.path;
  plan.origin.source = host;
  plan.tree = TRY_CTX(make_tree(plan.origin), "bind " + host);
  struct stat const info = TRY(sys::fstat(plan.tree.get()));
  if ((info.st_mode & S_IFMT) != (plan.mode & S_IFMT) || info.st_rdev != plan.device) {
    return Error(Errc::kInvalidArgument,
                 fmt::format("{} of the host is another device, and a user namespace cannot make nodes", host));
  }
  return {};
}

}  // namespace

Result<UniqueFd> make_tree(TreePlan const& plan) {
  unsigned const below = plan.recursive ? abi::kAtRecursive : 0;
  long const fd = sys::raw::open_tree(AT_FDCWD, plan.source.c_str(), abi::kOpenTreeClone | below);
  if (fd < 0) return Error::from_errno(static_cast<int>(-fd), "open_tree");
  UniqueFd tree(static_cast<int>(fd));
  if (plan.propagation != 0) {
    abi::MountAttr const propagation{0, 0, plan.propagation, 0};
    long const set = sys::raw::mount_setattr(tree.get(), "", abi::kAtEmptyPath | below, propagation);
    if (set < 0) return Error::from_errno(static_cast<int>(-set), "mount_setattr propagation");
  }
  if (plan.id_mapping >= 0) {
    abi::MountAttr const map{abi::kMountAttrIdmap, 0, 0, static_cast<std::uint64_t>(plan.id_mapping)};
    unsigned const flags = abi::kAtEmptyPath | (plan.id_map_below ? abi::kAtRecursive : 0);
    long const set = sys::raw::mount_setattr(tree.get(), "", flags, map);
    if (set == -EINVAL) {
      return Error(Errc::kUnimplemented, fmt::format("source {}: its file system cannot be id-mapped", plan.source), EINVAL);
    }
    if (set < 0) return Error::from_errno(static_cast<int>(-set), fmt::format("id-map {}", plan.source));
  }
  return tree;
}

Result<std::vector<MountPlan>> plan_mounts(MountContext const& context) { return MountPlanner(context).plan(); }

Result<std::vector<DevicePlan>> plan_devices(MountContext const& context) {
  std::vector<DevicePlan> out;
  auto const& devices = context.spec.linux->devices;
  for (DefaultDevice const& device : kDefaultDevices) {
    bool const named_again =
        std::ranges::any_of(devices, [&](auto const& d) { return inside_root(d.path) == device.path; });
    if (named_again) continue;
    DevicePlan plan;
    plan.path = device.path;
    plan.mode = S_IFCHR | 0666;
    plan.device = makedev(device.major, device.minor);
    if (context.user_namespace) TRY(bind_host_device(plan));
    out.push_back(std::move(plan));
  }
  for (std::size_t i = 0; i < devices.size(); ++i) {
    oci::Device const& device = devices[i];
    DevicePlan plan;
    plan.path = inside_root(device.path);
    mode_t const type = TRY_CTX(device_type(device.type), fmt::format("linux.devices[{}]", i));
    plan.mode = type | (device.file_mode.value_or(0666) & 07777);
    plan.device = makedev(static_cast<unsigned>(device.major), static_cast<unsigned>(device.minor));
    plan.uid = device.uid.value_or(0);
    plan.gid = device.gid.value_or(0);
    if (context.user_namespace && type != S_IFIFO) {
      TRY_CTX(bind_host_device(plan), fmt::format("linux.devices[{}]", i));
    }
    out.push_back(std::move(plan));
  }
  return out;
}

}  // namespace davit::runtime
