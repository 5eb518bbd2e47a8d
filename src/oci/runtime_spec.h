// The OCI runtime specification 1.2 (config.json) for Linux, as types: github.com/opencontainers/runtime-spec,
// config.md and config-linux.md. Field names are the specification's. Text that the kernel needs as a number (signals,
// mount options, capabilities) stays text here; the runtime module turns it into numbers and names the field on failure.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"

namespace davit::oci {

using Strings = std::vector<std::string>;

struct IdMapping {
  std::uint32_t container_id = 0;
  std::uint32_t host_id = 0;
  std::uint32_t size = 0;
};

struct Mount {
  std::string destination;
  std::string type;
  std::string source;
  Strings options;
  std::vector<IdMapping> uid_mappings;
  std::vector<IdMapping> gid_mappings;
};

struct Rlimit {
  std::string type;  // "RLIMIT_NOFILE"
  std::uint64_t hard = 0;
  std::uint64_t soft = 0;
};

struct Capabilities {
  Strings bounding, effective, inheritable, permitted, ambient;
};

struct User {
  std::uint32_t uid = 0;
  std::uint32_t gid = 0;
  std::optional<std::uint32_t> umask;
  std::vector<std::uint32_t> additional_gids;
};

struct ConsoleSize {
  std::uint16_t height = 0;
  std::uint16_t width = 0;
};

struct Scheduler {
  std::string policy;  // "SCHED_OTHER", ...
  std::int32_t nice = 0;
  std::int32_t priority = 0;
  Strings flags;  // "SCHED_FLAG_RESET_ON_FORK", ...
  std::uint64_t runtime = 0, deadline = 0, period = 0;
};

struct IoPriority {
  std::string io_class;  // "IOPRIO_CLASS_RT", "IOPRIO_CLASS_BE", "IOPRIO_CLASS_IDLE"
  int priority = 0;
};

struct CpuAffinity {
  std::string initial;  // "0-3,7"; empty: unset
  std::string final_set;
};

struct Process {
  bool terminal = false;
  std::optional<ConsoleSize> console_size;
  User user;
  Strings args;
  Strings env;
  std::string cwd;
  std::optional<Capabilities> capabilities;
  std::vector<Rlimit> rlimits;
  bool no_new_privileges = false;
  std::string apparmor_profile;
  std::optional<int> oom_score_adj;
  std::string selinux_label;
  std::optional<Scheduler> scheduler;
  std::optional<IoPriority> io_priority;
  std::optional<CpuAffinity> exec_cpu_affinity;
};

struct Root {
  std::string path;
  bool readonly = false;
};

struct Hook {
  std::string path;
  Strings args;
  Strings env;
  std::optional<int> timeout_seconds;
};

struct Hooks {
  std::vector<Hook> prestart, create_runtime, create_container, start_container, poststart, poststop;
};

struct Namespace {
  std::string type;  // "pid" "network" "mount" "ipc" "uts" "user" "cgroup" "time"
  std::string path;  // empty: a new one
};

struct Device {
  std::string path;
  std::string type;  // "c" "b" "u" "p"
  std::int64_t major = 0;
  std::int64_t minor = 0;
  std::optional<std::uint32_t> file_mode;
  std::optional<std::uint32_t> uid;
  std::optional<std::uint32_t> gid;
};

struct DeviceRule {
  bool allow = false;
  std::string type;                   // "a" "c" "b"; empty: a
  std::optional<std::int64_t> major;  // absent: any
  std::optional<std::int64_t> minor;
  std::string access;  // letters of "rwm"; empty: all
};

struct MemoryResources {
  std::optional<std::int64_t> limit, reservation, swap, kernel, kernel_tcp;  // bytes; -1: unlimited
  std::optional<std::uint64_t> swappiness;
  std::optional<bool> disable_oom_killer, use_hierarchy, check_before_update;
};

struct CpuResources {
  std::optional<std::uint64_t> shares, period, burst, realtime_period;
  std::optional<std::int64_t> quota, realtime_runtime, idle;
  std::optional<std::string> cpus, mems;
};

struct WeightDevice {
  std::int64_t major = 0, minor = 0;
  std::optional<std::uint16_t> weight, leaf_weight;
};

struct ThrottleDevice {
  std::int64_t major = 0, minor = 0;
  std::uint64_t rate = 0;
};

struct BlockIoResources {
  std::optional<std::uint16_t> weight, leaf_weight;
  std::vector<WeightDevice> weight_device;
  std::vector<ThrottleDevice> throttle_read_bps, throttle_write_bps, throttle_read_iops, throttle_write_iops;
};

struct HugepageLimit {
  std::string page_size;  // "2MB"
  std::uint64_t limit = 0;
};

struct InterfacePriority {
  std::string name;
  std::uint32_t priority = 0;
};

struct NetworkResources {
  std::optional<std::uint32_t> class_id;
  std::vector<InterfacePriority> priorities;
};

struct RdmaLimit {
  std::optional<std::uint32_t> hca_handles, hca_objects;
};

struct Resources {
  std::vector<DeviceRule> devices;
  std::optional<MemoryResources> memory;
  std::optional<CpuResources> cpu;
  std::optional<std::int64_t> pids_limit;
  std::optional<BlockIoResources> block_io;
  std::vector<HugepageLimit> hugepage_limits;
  std::optional<NetworkResources> network;
  std::map<std::string, RdmaLimit> rdma;
  std::map<std::string, std::string> unified;
};

struct SeccompArg {
  std::uint32_t index = 0;
  std::uint64_t value = 0;
  std::uint64_t value_two = 0;
  std::string op;  // "SCMP_CMP_EQ", ...
};

struct SeccompSyscall {
  Strings names;
  std::string action;
  std::optional<std::uint32_t> errno_ret;
  std::vector<SeccompArg> args;
};

struct Seccomp {
  std::string default_action;
  std::optional<std::uint32_t> default_errno_ret;
  Strings architectures;
  Strings flags;
  bool flags_given = false;  // "flags" is there, even if empty: no default flag is added then
  std::string listener_path;
  std::string listener_metadata;
  std::vector<SeccompSyscall> syscalls;
};

struct IntelRdt {
  std::string clos_id, l3_cache_schema, mem_bw_schema;
  bool enable_cmt = false, enable_mbm = false;
};

struct TimeOffset {
  std::int64_t secs = 0;
  std::uint32_t nanosecs = 0;
};

struct Linux {
  std::vector<IdMapping> uid_mappings, gid_mappings;
  std::map<std::string, std::string> sysctl;
  std::optional<Resources> resources;
  std::string cgroups_path;
  std::vector<Namespace> namespaces;
  std::vector<Device> devices;
  std::optional<Seccomp> seccomp;
  std::string rootfs_propagation;  // "", "shared", "rslave", ...
  Strings masked_paths;
  Strings readonly_paths;
  std::string mount_label;
  std::optional<IntelRdt> intel_rdt;
  std::string personality_domain;  // "", "LINUX", "LINUX32"
  Strings personality_flags;
  std::map<std::string, TimeOffset> time_offsets;  // "monotonic", "boottime"
};

struct Spec {
  std::string oci_version;
  std::optional<Process> process;
  std::optional<Root> root;
  std::string hostname;
  std::string domainname;
  std::vector<Mount> mounts;
  Hooks hooks;
  std::map<std::string, std::string> annotations;
  std::optional<Linux> linux;
};

// Parses config.json. Unknown fields are ignored, as the specification asks; a field of a wrong type, or a required one
// that is missing, is kInvalidArgument naming it ("process.user.uid: expected a number from 0 to 4294967295").
Result<Spec> parse_spec(std::string_view json);

// Parses a process object alone (`exec --process FILE`).
Result<Process> parse_process(std::string_view json);

// Parses a resources object alone (`update --resources FILE`).
Result<Resources> parse_resources(std::string_view json);

// The object as JSON with the specification's field names, for hooks, state and `update`.
std::string print_resources(Resources const& resources);

// The config.json that `davit-runtime spec` prints: a shell in ./rootfs with Docker's default capabilities, mounts and masks.
std::string default_spec_json(bool rootless);

}  // namespace davit::oci
