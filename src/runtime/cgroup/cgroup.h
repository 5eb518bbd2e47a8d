// Cgroup: one container's control groups, in whatever layout the host has: v1 (one directory per hierarchy), v2 (one
// directory), or hybrid (v1 hierarchies beside a v2 mount that holds some controllers). cgroups(7); kernel
// Documentation/admin-guide/cgroup-v1 and cgroup-v2.rst; OCI runtime-spec config-linux.md "Control groups".
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"
#include "oci/runtime_spec.h"

namespace davit::runtime {

enum class CgroupLayout { kNone, kV1, kV2, kHybrid };

// One hierarchy of the host.
struct CgroupHierarchy {
  std::vector<std::string> controllers;  // v1: {"cpu","cpuacct"} or {"name=systemd"}; v2: {""}
  std::string mount_point;               // "/sys/fs/cgroup/cpu"
  std::string mount_root;                // field 4 of mountinfo: "/" except inside a cgroup namespace or a bind
  bool v2 = false;
};

// What the host has, from /proc/self/mountinfo.
struct CgroupHost {
  CgroupLayout layout = CgroupLayout::kNone;
  std::vector<CgroupHierarchy> hierarchies;
  // mountinfo_path is a parameter so that a test can own it.
  static Result<CgroupHost> probe(std::string const& mountinfo_path = "/proc/self/mountinfo");
};

struct CgroupStats {
  // CPU, nanoseconds
  std::uint64_t cpu_total = 0, cpu_user = 0, cpu_system = 0;
  std::vector<std::uint64_t> cpu_per_core;
  std::uint64_t throttle_periods = 0, throttled_periods = 0, throttled_nanos = 0;
  // memory, bytes
  std::uint64_t memory_usage = 0, memory_max_usage = 0, memory_limit = 0, memory_fail_count = 0;
  std::uint64_t swap_usage = 0, swap_limit = 0, kernel_usage = 0, kernel_limit = 0;
  std::uint64_t oom_kills = 0;
  std::map<std::string, std::uint64_t> memory_stat;  // memory.stat
  std::uint64_t pids_current = 0, pids_limit = 0;    // 0: no limit
  struct Io {
    std::uint64_t major = 0, minor = 0;
    std::string operation;  // "Read", "Write", ...
    std::uint64_t value = 0;
  };
  std::vector<Io> io_bytes, io_operations;
  struct Hugetlb {
    std::uint64_t usage = 0, max_usage = 0, fail_count = 0;
  };
  std::map<std::string, Hugetlb> hugetlb;  // by page size, "2MB"
};

class Cgroup {
 public:
  struct Options {
    std::string cgroups_path;  // linux.cgroupsPath: "/docker/ID", "davit/ID" (relative to the caller's own cgroup's root
                               // as runc takes it), "" (then "/davit/ID" below the caller's own), "slice:prefix:name"
                               // (systemd: parsed; with the cgroupfs driver an error that says so)
    std::string container_id;
    bool systemd_driver = false;  // --systemd-cgroup: kUnimplemented with a clear text
  };

  // Makes the directories. kConflict when the group exists and holds processes. On failure nothing is left behind.
  static Result<Cgroup> create(CgroupHost const& host, Options const& options);
  // An existing one, from the paths saved in the container's state ("cpu" -> "/sys/fs/cgroup/cpu/docker/ID"; v2: "").
  // Directories that are gone are not an error.
  static Cgroup from_paths(std::map<std::string, std::string> paths);

  std::map<std::string, std::string> const& paths() const { return paths_; }
  // The path of a v1 controller's or the v2 directory; empty when there is none.
  std::string path_of(std::string_view controller) const;
  bool pure_v2() const;

  // Sets every limit, in the order the kernel needs (memory before swap, burst after quota, ...). A limit whose
  // controller or knob the host lacks is kUnimplemented naming field and file ("linux.resources.memory.swap: ...").
  // Device rules are applied by this too (v1 lists; v2 an eBPF program attached to the directory), after the built-in
  // ones that every container gets (mknod of anything; null zero full random urandom tty console ptmx pts).
  // rootless callers may pass ignore_permission: EACCES/EPERM on a limit that was not asked for is not an error.
  Result<void> apply(oci::Resources const& resources);
  // The same for a running group: raises or lowers memory and swap in the order that works, replaces device rules.
  // memory.checkBeforeUpdate is honoured.
  Result<void> update(oci::Resources const& resources);

  // Files to which a single-threaded process writes "0" to move itself: v1 "tasks" (no global lock is taken there for
  // the writing thread itself, unlike cgroup.procs: kernel/cgroup/cgroup.c cgroup_procs_write_start), v2 "cgroup.procs".
  // Open for writing, close-on-exec.
  Result<std::vector<UniqueFd>> open_join_files() const;
  // The v2 directory for CLONE_INTO_CGROUP; invalid where there is no v2 hierarchy.
  Result<UniqueFd> open_v2_directory() const;
  // Moves another process (by cgroup.procs in every hierarchy).
  Result<void> add_process(int pid) const;

  Result<void> freeze();
  Result<void> thaw();
  Result<bool> frozen() const;
  // Every process in the group and the groups below it, without duplicates.
  Result<std::vector<int>> processes() const;
  // Sends signal to every process, below too. SIGKILL: cgroup.kill where the kernel has it, else freeze, signal each, thaw, until
  // empty or until the number of rounds (100) is used up.
  Result<void> signal_all(int signal);
  Result<CgroupStats> stats() const;
  // Events counter "oom_kill": v2 memory.events, v1 memory.oom_control. Opens nothing that stays open.
  Result<std::uint64_t> oom_kill_count() const;
  // Removes the directories, groups below them first; waits (bounded, ~1 s) for processes that are just exiting. A
  // directory that is already gone is fine. kConflict when processes stay.
  Result<void> remove();

 private:
  std::map<std::string, std::string> paths_;
};

}  // namespace davit::runtime
