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
#include "runtime/cgroup/directory.h"

namespace davit::runtime {

enum class CgroupLayout { kNone, kV1, kV2, kHybrid };

// One hierarchy of the host.
struct CgroupHierarchy {
  std::vector<std::string> controllers;  // v1: {"cpu","cpuacct"} or {"name=systemd"}; v2: {""}
  std::string mount_point;               // "/sys/fs/cgroup/cpu"
  std::string mount_root;                // field 4 of mountinfo: "/" except inside a cgroup namespace or a bind
  bool v2 = false;
};

// What the host has.
struct CgroupHost {
  CgroupLayout layout = CgroupLayout::kNone;
  std::vector<CgroupHierarchy> hierarchies;
  // Looks where distributions mount them (/sys/fs/cgroup/...), and reads the mount table where something is not there.
  static Result<CgroupHost> probe();
  // From a mount table only.
  static Result<CgroupHost> probe_mounts(std::string const& mountinfo_path);
};

struct CgroupStats {
  // CPU, nanoseconds
  std::uint64_t cpu_total = 0, cpu_user = 0, cpu_system = 0;
  std::vector<std::uint64_t> cpu_per_core;
  std::uint64_t throttle_periods = 0, throttled_periods = 0, throttled_nanos = 0;
  // memory, bytes; a limit of UINT64_MAX: none (v1 shows its own largest number, 9223372036854771712)
  std::uint64_t memory_usage = 0, memory_max_usage = 0, memory_limit = 0, memory_fail_count = 0;
  std::uint64_t swap_usage = 0, swap_limit = 0;  // memory and swap together, as v1 counts; on v2 the sum
  std::uint64_t kernel_usage = 0, kernel_limit = 0;
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

enum class JoinFiles { kAll, kV1 };

class Cgroup {
 public:
  struct Options {
    std::string cgroups_path;  // linux.cgroupsPath: "/docker/ID", "davit/ID" (relative to the caller's own cgroup's
                               // root as runc takes it), "" (then "/davit/ID" below the caller's own),
                               // "slice:prefix:name" (systemd: parsed; with the cgroupfs driver an error that says so)
    std::string container_id;
    bool systemd_driver = false;  // --systemd-cgroup: kUnimplemented with a clear text
    // Rootless: a hierarchy where we may not make a directory (EACCES, EPERM, EROFS) is left out instead of failing; a
    // limit that needs it then fails by name, and a device program that may not be loaded is left out too.
    bool ignore_permission = false;
  };

  // The directories that create() will use, so that they can be noted before they exist: "cpu" -> path, v2: "".
  // kConflict when one of them holds processes, which are then not those of a container to be.
  static Result<std::map<std::string, std::string>> planned_paths(CgroupHost const& host, Options const& options);
  // Makes the directories. kConflict when the group exists and holds processes. On failure nothing is left behind.
  static Result<Cgroup> create(CgroupHost const& host, Options const& options);
  // An existing one, from the paths saved in the container's state ("cpu" -> "/sys/fs/cgroup/cpu/docker/ID"; v2: "").
  // Directories that are gone are not an error.
  static Cgroup from_paths(std::map<std::string, std::string> const& paths);

  std::map<std::string, std::string> const& paths() const { return paths_; }
  // The path of a v1 controller's or the v2 directory; empty when there is none.
  std::string path_of(std::string_view controller) const;
  bool pure_v2() const;

  // Sets every limit, in the order the kernel needs (memory before swap, burst after quota, ...). A limit whose
  // controller or knob the host lacks is kUnimplemented naming field and file ("linux.resources.memory.swap: ...").
  // Device rules are applied by this too (v1 lists; v2 an eBPF program attached to the directory), followed by the
  // built-in ones that every container gets (devices.h) and that no rule can take away. No rules at all: only those.
  Result<void> apply(oci::Resources const& resources);
  // The same for a running group: raises or lowers memory and swap in the order that works, replaces device rules
  // (where there are any in resources; else they stay). memory.checkBeforeUpdate is honoured (kConflict). A v1 memory
  // limit below what is in use and cannot be reclaimed is kConflict.
  Result<void> update(oci::Resources const& resources);

  // Files to which a single-threaded process writes "0" to move itself: v1 "tasks" (no global lock is taken there for
  // the writing thread itself, unlike cgroup.procs: kernel/cgroup/cgroup.c cgroup_procs_write_start), v2
  // "cgroup.procs". Open for writing, close-on-exec.
  // kV1: without v2, for a process that clone3 puts there (CLONE_INTO_CGROUP).
  Result<std::vector<UniqueFd>> open_join_files(JoinFiles which = JoinFiles::kAll) const;
  // The v2 directory for CLONE_INTO_CGROUP; invalid where there is no v2 hierarchy.
  Result<UniqueFd> open_v2_directory() const;
  // Moves another process (by cgroup.procs in every hierarchy).
  Result<void> add_process(int pid) const;

  Result<void> freeze();
  Result<void> thaw();
  Result<bool> frozen() const;
  // Every process in the group and the groups below it, without duplicates.
  Result<std::vector<int>> processes() const;
  // Sends signal to every process, below too. SIGKILL: cgroup.kill where the kernel has it, else freeze, signal each,
  // thaw, until empty or until the number of rounds (100) is used up.
  Result<void> signal_all(int signal);
  Result<CgroupStats> stats() const;
  // Events counter "oom_kill": v2 memory.events, v1 memory.oom_control. Opens nothing that stays open.
  Result<std::uint64_t> oom_kill_count() const;
  // Removes the directories, groups below them first; waits (bounded, ~1 s) for processes that are just exiting. A
  // directory that is already gone is fine. kConflict when processes stay.
  Result<void> remove();

 private:
  enum class Purpose { kCreate, kUpdate };

  CgroupDirectory const* v1_directory(std::string_view controller) const;
  CgroupDirectory const* v2_directory() const;
  // The directory in which processes are counted, frozen and killed: every process is in each, so one is enough.
  CgroupDirectory const* process_directory() const;
  void add_directory(CgroupDirectory directory);
  Result<void> write_limits(oci::Resources const& resources, Purpose purpose);
  Result<void> write_devices(oci::Resources const& resources, Purpose purpose);
  Result<void> check_memory_usage(oci::MemoryResources const& memory) const;

  std::map<std::string, std::string> paths_;
  std::vector<CgroupDirectory> directories_;  // one per hierarchy; several controllers may share one
  std::string v2_mount_;  // the v2 hierarchy's mount point, where known: controllers are enabled below it
  bool ignore_permission_ = false;
};

}  // namespace davit::runtime
