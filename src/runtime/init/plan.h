// InitPlan: everything that a new process of a container needs to know, prepared by its parent. All parsing, all
// allocation and every lookup on the host happens while the plan is made; the child only reads it (STYLE R15).
#pragma once

#include <linux/filter.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/types.h>

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"
#include "oci/runtime_spec.h"
#include "runtime/init/stage.h"
#include "runtime/mount/plan.h"
#include "runtime/seccomp/filter.h"

namespace davit::runtime {

// A null-terminated array of C strings that owns its text.
class CStrings {
 public:
  CStrings() = default;
  explicit CStrings(std::vector<std::string> text, std::size_t spare = 0);
  char const* const* data() const { return pointers_.data(); }
  // Fills the first spare entry; text must live as long as data() is used. Does not allocate.
  void set_spare(char const* text) const { pointers_[text_.size()] = text; }
  std::size_t size() const { return text_.size(); }
  std::vector<std::string> const& text() const { return text_; }

 private:
  std::vector<std::string> text_;
  mutable std::vector<char const*> pointers_;
};

struct JoinNamespace {
  UniqueFd fd;
  std::uint64_t flag = 0;  // abi::kNew*
  std::string type;
  std::string path;
};

struct HookPlan {
  std::string path;
  CStrings args;
  CStrings env;
  int timeout_ms = -1;  // -1: none
};

struct RlimitPlan {
  int resource = 0;
  rlimit limit{};
  std::string name;
};

struct CapabilityPlan {
  std::uint64_t bounding = 0, effective = 0, inheritable = 0, permitted = 0, ambient = 0;
};

// What applies to the first process and to exec'd ones alike.
struct ProcessPlan {
  CStrings args;
  // One spare entry at the end for HOME.
  CStrings env;
  bool set_home = false;    // env has no HOME: take it from the container's /etc/passwd
  std::string search_path;  // PATH of env
  std::string cwd;
  uid_t uid = 0;
  gid_t gid = 0;
  std::vector<gid_t> groups;
  std::optional<mode_t> umask;
  CapabilityPlan capabilities;
  int last_capability = 40;
  std::vector<RlimitPlan> rlimits;
  bool no_new_privileges = false;
  SeccompFilter seccomp;
  bool has_seccomp = false;
  std::string label_file;  // below a procfs: "thread-self/attr/exec"; empty: none
  std::string label;
  bool terminal = false;
  std::optional<oci::ConsoleSize> console_size;
  std::array<int, 3> stdio{0, 1, 2};
  unsigned preserve_fds = 0;
  bool new_keyring = false;
  std::string keyring_name;
  std::optional<unsigned long> personality;
  std::optional<oci::Scheduler> scheduler;
  int scheduler_policy = 0;
  std::uint64_t scheduler_flags = 0;
  std::optional<int> io_priority;           // ioprio_set(2) value
  std::optional<cpu_set_t> affinity;        // during set-up
  std::optional<cpu_set_t> final_affinity;  // at exec
  std::optional<int> oom_score_adj;
  bool in_user_namespace = false;  // setgroups(2) may be forbidden there
  bool rlimits_set = false;        // by the parent: from inside a user namespace no hard limit can be raised
  bool set_groups = true;          // false where /proc/self/setgroups says "deny"
};

struct SysctlPlan {
  std::string file;  // "sys/net/ipv4/ip_forward", below a procfs
  std::string value;
  std::string name;
};

struct InitPlan {
  ProcessPlan process;

  std::uint64_t new_namespaces = 0;  // abi::kNew* to create
  std::uint64_t own_namespaces = 0;  // all that are the container's: new ones and joined ones that are not the caller's
  bool own_pid_namespace = false;    // a new one: its processes end with PID 1
  std::vector<JoinNamespace> joins;
  bool new_user_namespace = false;
  bool joined_user_namespace = false;
  bool new_mount_namespace = false;
  bool new_cgroup_namespace = false;  // made by the child, after it joined its cgroups
  bool join_in_helper = false;        // joins need a process between (see spawn.cc)
  std::vector<UniqueFd> cgroup_files;
  UniqueFd cgroup_v2;  // for CLONE_INTO_CGROUP
  bool loopback_up = false;
  std::string hostname, domainname;

  std::string rootfs;
  UniqueFd rootfs_tree;  // detached copy of it
  TreePlan rootfs_origin;
  bool trees_from_parent = false;   // a user namespace: see send_trees (init/spawn.h)
  bool root_at_path = false;        // hooks look for the root's mounts at its path
  bool hooks_before_pivot = false;  // the parent runs hooks when the mounts are made
  bool readonly_root = false;
  unsigned long root_propagation = 0;  // of the host's tree in our copy: MS_SLAVE or MS_PRIVATE
  std::optional<unsigned long> container_root_propagation;
  bool no_pivot = false;
  std::vector<MountPlan> mounts;
  std::vector<DevicePlan> devices;
  bool setup_dev = false;  // /dev is ours to fill
  bool readonly_dev = false;
  std::vector<std::string> readonly_paths;
  std::vector<std::string> masked_paths;
  std::vector<SysctlPlan> sysctls;

  std::vector<HookPlan> create_container_hooks;
  std::vector<HookPlan> start_container_hooks;
  std::string create_container_state;  // JSON for their stdin
  std::string start_container_state;

  std::vector<int> needed_fds;                  // ascending: all that the child uses; it closes the rest first thing
  std::vector<std::string> host_kernel_mounts;  // no_pivot: procfs and sysfs mounts of the host
  bool wait_for_parent = false;                 // one byte on the sync socket before set-up: maps written, hooks run
  int sync = -1;                                // the child's end
  int start_socket = -1;                        // listening: `start` connects to it; -1: go at once
  int console_socket = -1;                      // where the pty master goes
};

// The plan of a process from its specification: numbers for names, seccomp compiled, label checked.
// field is the prefix for errors ("process").
struct ProcessPlanInput {
  oci::Process const& process;
  oci::Seccomp const* seccomp = nullptr;
  std::string seccomp_cache;
  unsigned preserve_fds = 0;
  std::array<int, 3> stdio{0, 1, 2};
  bool exec = false;
};
Result<ProcessPlan> plan_process(ProcessPlanInput const& input);

// Runs in the new process: everything up to execve(2). Never returns; failures go to plan.sync as a Report.
[[noreturn]] void init_main(InitPlan const& plan);
// The same for a process that joins a running container; setns_flags and pidfd say which namespaces.
struct ExecPlan {
  ProcessPlan process;
  int pidfd = -1;
  std::uint64_t namespaces = 0;  // joined by the child, before user
  UniqueFd root;                 // of a container without a mount namespace
  bool user_namespace = false;
  std::vector<UniqueFd> cgroup_files;
  UniqueFd cgroup_v2;
  int sync = -1;
  int console_socket = -1;
};
[[noreturn]] void exec_main(ExecPlan const& plan);

// The Error that a Report stands for, with the names and paths of the plan.
Error describe(Report const& report, InitPlan const& plan);
Error describe(Report const& report, ExecPlan const& plan);

}  // namespace davit::runtime
