// What to mount, decided by the parent from the specification; the child (mount/child.cc) only carries it out.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"
#include "oci/runtime_spec.h"
#include "runtime/cgroup/cgroup.h"

namespace davit::runtime {

// Detached copy of what is at source, with its propagation and id mapping set as the plan says. Called in the mount namespace
// whose mounts are meant.
struct TreePlan {
  std::string source;
  bool recursive = false;
  unsigned long propagation = 0;  // MS_*; 0: left as it is
  int id_mapping = -1;            // descriptor of a user namespace; -1: none
  bool id_map_below = false;      // and on the mounts below it
};
Result<UniqueFd> make_tree(TreePlan const& plan);

struct MountPlan {
  enum class Kind {
    kFilesystem,  // mount(2) of a new file system on a directory
    kTree,        // a detached copy of a host tree (open_tree(2)), made by the parent, is attached
    kSymlink,     // a link inside a directory that an earlier step mounted (cgroup v1's "cpu" -> "cpu,cpuacct")
  };
  Kind kind = Kind::kFilesystem;
  std::string destination;  // inside the root, cleaned, no leading slash ("" is the root itself)
  std::string source;       // file system: its source; symlink: its target; tree: for messages
  std::string type;
  unsigned long flags = 0;  // MS_* of a new file system
  std::string data;
  UniqueFd tree;
  TreePlan origin;  // of the tree, to make it again elsewhere
  UniqueFd id_mapping;
  bool tree_is_directory = true;
  bool recursive = false;                    // tree: rbind
  std::uint64_t set = 0, clear = 0;          // MOUNT_ATTR_* on the mount itself
  std::uint64_t rec_set = 0, rec_clear = 0;  // and on all below it
  std::vector<unsigned long> propagation;    // MS_* propagation changes, in order
  bool copy_up = false;                      // tmpfs: starts with what the directory holds
  bool inherit_mode = false;                 // tmpfs: the covered directory's mode
  bool readonly_at_end = false;              // filled first, made read-only when all is in place
  bool ordinary_directory = false;           // proc, sysfs: the destination must not be a link
  bool allowed_on_proc = false;              // may cover a file of procfs
};

struct DevicePlan {
  std::string path;  // inside the root, no leading slash
  mode_t mode = 0;   // type and permissions; with tree: unused
  dev_t device = 0;
  uid_t uid = 0;
  gid_t gid = 0;
  TreePlan origin;  // of the tree
  UniqueFd tree;  // user namespaces cannot make nodes: the host's is bound
};

// How the container's mounts relate to namespaces and cgroups.
struct MountContext {
  oci::Spec const& spec;
  std::string const& bundle;
  bool user_namespace = false;    // nodes are bound, not made
  bool cgroup_namespace = false;  // a new one
  CgroupHost const& cgroups;
  Cgroup const* cgroup = nullptr;         // the container's; null: none
  unsigned long default_propagation = 0;  // for trees: MS_SLAVE, MS_PRIVATE or 0 (shared: leave)
};

// Opens bind sources (as the caller, on the host) and turns options into flags. kInvalidArgument names "mounts[i]".
Result<std::vector<MountPlan>> plan_mounts(MountContext const& context);

// Default devices and those of linux.devices, in order; default ones that linux.devices names again are left out.
Result<std::vector<DevicePlan>> plan_devices(MountContext const& context);

// MS_* of "", "private", "rslave", ...
Result<unsigned long> parse_propagation(std::string_view name);

// True when /dev is a file system made for the container, so that nodes and links are made in it.
bool dev_is_ours(oci::Spec const& spec);

}  // namespace davit::runtime
