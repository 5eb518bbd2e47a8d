// The knobs of cgroup v2. Documentation/admin-guide/cgroup-v2.rst.
#include <algorithm>
#include <utility>

#include "base/text.h"
#include "runtime/cgroup/plan.h"

namespace davit::runtime {

namespace {

using Plan = std::vector<KnobWrite>;
constexpr auto kIgnore = KnobWrite::Missing::kIgnore;
constexpr auto kError = KnobWrite::Missing::kError;

constexpr unsigned kBandwidth = 1;

Error lacks(std::string_view field, std::string_view why) {
  return Error(Errc::kUnimplemented, "linux.resources." + std::string(field) + ": " + std::string(why));
}

std::string number_or_max(std::int64_t value) { return value == -1 ? "max" : std::to_string(value); }

// cpu.max is "QUOTA PERIOD". A quota alone keeps the period; a period alone must repeat the quota.
Result<void> plan_bandwidth(oci::CpuResources const& cpu, V2Current const& current, Plan& plan) {
  std::int64_t const quota = cpu.quota.value_or(0);
  std::uint64_t const period = cpu.period.value_or(0);
  if (quota != 0) TRY(check_limit(quota, "linux.resources.cpu.quota"));
  if (quota != 0 || period != 0) {
    std::string value = quota != 0 ? number_or_max(quota) : std::string(split(current.cpu_max, ' ').front());
    if (value.empty()) value = "max";
    if (period != 0) value += " " + std::to_string(period);
    plan.push_back({"cpu", "cpu.max", std::move(value),
                    quota != 0 ? "linux.resources.cpu.quota" : "linux.resources.cpu.period", "", "", kError,
                    kBandwidth});
  }
  if (cpu.burst) {
    plan.push_back({"cpu", "cpu.max.burst", std::to_string(*cpu.burst), "linux.resources.cpu.burst", "", "",
                    *cpu.burst == 0 ? kIgnore : kError, kBandwidth});
  }
  return {};
}

Result<void> plan_cpu(oci::CpuResources const& cpu, V2Current const& current, Plan& plan) {
  if (cpu.realtime_period.value_or(0) != 0)
    return lacks("cpu.realtimePeriod", "cgroup v2 cannot limit realtime processes");
  if (cpu.realtime_runtime.value_or(0) != 0)
    return lacks("cpu.realtimeRuntime", "cgroup v2 cannot limit realtime processes");
  // The order matters: a group that is idle refuses a weight, and making it idle fixes it (sched_group_set_idle).
  if (cpu.idle && *cpu.idle != 1) {
    plan.push_back({"cpu", "cpu.idle", std::to_string(*cpu.idle), "linux.resources.cpu.idle", "", "",
                    *cpu.idle == 0 ? kIgnore : kError});
  }
  if (cpu.shares.value_or(0) != 0 && cpu.idle != 1) {
    plan.push_back(
        {"cpu", "cpu.weight", std::to_string(weight_from_shares(*cpu.shares)), "linux.resources.cpu.shares"});
  }
  if (cpu.idle == 1) plan.push_back({"cpu", "cpu.idle", "1", "linux.resources.cpu.idle"});
  return plan_bandwidth(cpu, current, plan);
}

void plan_cpuset(oci::CpuResources const& cpu, Plan& plan) {
  if (cpu.cpus && !cpu.cpus->empty()) plan.push_back({"cpuset", "cpuset.cpus", *cpu.cpus, "linux.resources.cpu.cpus"});
  if (cpu.mems && !cpu.mems->empty()) plan.push_back({"cpuset", "cpuset.mems", *cpu.mems, "linux.resources.cpu.mems"});
}

Result<void> check_memory_fields(oci::MemoryResources const& memory) {
  if (memory.kernel.value_or(0) > 0)
    return lacks("memory.kernel", "cgroup v2 counts kernel memory in the memory limit");
  if (memory.kernel_tcp.value_or(0) > 0) {
    return lacks("memory.kernelTCP", "cgroup v2 counts socket buffers in the memory limit");
  }
  if (memory.swappiness) return lacks("memory.swappiness", "cgroup v2 has no swappiness of a group");
  if (memory.disable_oom_killer.value_or(false)) {
    return lacks("memory.disableOOMKiller", "cgroup v2 cannot switch the OOM killer off");
  }
  if (!memory.use_hierarchy.value_or(true)) return lacks("memory.useHierarchy", "cgroup v2 is always hierarchical");
  return {};
}

Result<void> plan_memory(oci::MemoryResources const& memory, V2Current const& current, Plan& plan) {
  TRY(check_memory_fields(memory));
  std::int64_t const limit = memory.limit.value_or(0);
  TRY(check_limit(limit, "linux.resources.memory.limit"));
  TRY(check_limit(memory.swap.value_or(0), "linux.resources.memory.swap"));
  TRY(check_limit(memory.reservation.value_or(0), "linux.resources.memory.reservation"));
  // An update of swap alone means the sum with the limit that is in force.
  std::int64_t const known = limit != 0 ? limit : parse_i64(trim(current.memory_max)).value_or(0);
  std::int64_t const both = memory.swap.value_or(0);
  std::optional<std::int64_t> swap;
  if (both != 0 || limit != 0) swap = TRY(swap_alone(both, known));
  if (swap) {
    // Without swap accounting (CONFIG_SWAP off) nothing limits swap, which is what "max" asks for.
    plan.push_back({"memory", "memory.swap.max", number_or_max(*swap), "linux.resources.memory.swap", "", "",
                    *swap == -1 ? kIgnore : kError});
  }
  if (limit != 0) plan.push_back({"memory", "memory.max", number_or_max(limit), "linux.resources.memory.limit"});
  if (memory.reservation.value_or(0) != 0) {
    plan.push_back({"memory", "memory.low", number_or_max(*memory.reservation), "linux.resources.memory.reservation"});
  }
  return {};
}

// BFQ's knob takes the weight as it is (1 to 1000); io.weight (iocost) has the range of v2.
void plan_io_weight(oci::BlockIoResources const& io, Plan& plan) {
  if (io.weight.value_or(0) != 0) {
    plan.push_back({"io", "io.bfq.weight", std::to_string(*io.weight), "linux.resources.blockIO.weight", "io.weight",
                    std::to_string(io_weight_from_blkio(*io.weight))});
  }
  for (std::size_t i = 0; i < io.weight_device.size(); ++i) {
    oci::WeightDevice const& d = io.weight_device[i];
    if (d.weight.value_or(0) == 0) continue;
    std::string const device = std::to_string(d.major) + ":" + std::to_string(d.minor) + " ";
    plan.push_back({"io", "io.bfq.weight", device + std::to_string(*d.weight),
                    "linux.resources.blockIO.weightDevice[" + std::to_string(i) + "].weight", "io.weight",
                    device + std::to_string(io_weight_from_blkio(*d.weight))});
  }
}

Result<void> plan_io(oci::BlockIoResources const& io, Plan& plan) {
  bool leaf = io.leaf_weight.value_or(0) != 0;
  for (oci::WeightDevice const& d : io.weight_device) leaf = leaf || d.leaf_weight.value_or(0) != 0;
  if (leaf) return lacks("blockIO.leafWeight", "cgroup v2 has no leaf weights");
  plan_io_weight(io, plan);
  auto const throttles = [&](std::vector<oci::ThrottleDevice> const& list, char const* key, char const* field) {
    for (std::size_t i = 0; i < list.size(); ++i) {
      // 0 takes the limit away, as on v1; io.max itself refuses it.
      std::string const rate = list[i].rate == 0 ? "max" : std::to_string(list[i].rate);
      plan.push_back({"io", "io.max",
                      std::to_string(list[i].major) + ":" + std::to_string(list[i].minor) + " " + key + "=" + rate,
                      std::string("linux.resources.blockIO.") + field + "[" + std::to_string(i) + "]"});
    }
  };
  throttles(io.throttle_read_bps, "rbps", "throttleReadBpsDevice");
  throttles(io.throttle_write_bps, "wbps", "throttleWriteBpsDevice");
  throttles(io.throttle_read_iops, "riops", "throttleReadIOPSDevice");
  throttles(io.throttle_write_iops, "wiops", "throttleWriteIOPSDevice");
  return {};
}

Result<void> plan_hugetlb(std::vector<oci::HugepageLimit> const& limits, Plan& plan) {
  for (std::size_t i = 0; i < limits.size(); ++i) {
    TRY(check_page_size(limits[i], i));
    std::string const field = "linux.resources.hugepageLimits[" + std::to_string(i) + "]";
    std::string const value = std::to_string(limits[i].limit);
    plan.push_back({"hugetlb", "hugetlb." + limits[i].page_size + ".max", value, field});
    // As on v1: reservations too, where the kernel counts them.
    plan.push_back({"hugetlb", "hugetlb." + limits[i].page_size + ".rsvd.max", value, field, "", "", kIgnore});
  }
  return {};
}

}  // namespace

Result<std::vector<KnobWrite>> plan_v2(oci::Resources const& resources, unsigned families, V2Current const& current) {
  Plan plan;
  auto const wanted = [families](Family family) { return (families & family) != 0; };
  if (resources.cpu && wanted(kFamilyCpuset)) plan_cpuset(*resources.cpu, plan);
  if (resources.cpu && wanted(kFamilyCpu)) TRY(plan_cpu(*resources.cpu, current, plan));
  if (resources.memory && wanted(kFamilyMemory)) TRY(plan_memory(*resources.memory, current, plan));
  if (resources.pids_limit.value_or(0) != 0 && wanted(kFamilyPids)) {
    std::int64_t const limit = *resources.pids_limit;
    plan.push_back({"pids", "pids.max", limit > 0 ? std::to_string(limit) : "max", "linux.resources.pids.limit", "", "",
                    limit > 0 ? kError : kIgnore});
  }
  if (resources.block_io && wanted(kFamilyBlockIo)) TRY(plan_io(*resources.block_io, plan));
  if (wanted(kFamilyHugetlb)) TRY(plan_hugetlb(resources.hugepage_limits, plan));
  if (wanted(kFamilyRdma)) TRY(plan_rdma(resources, plan));
  if (resources.network && wanted(kFamilyNetClass) && resources.network->class_id.value_or(0) != 0) {
    return lacks("network.classID", "cgroup v2 has no net_cls; match the group's path in nftables instead");
  }
  if (resources.network && wanted(kFamilyNetPriority) && !resources.network->priorities.empty()) {
    return lacks("network.priorities", "cgroup v2 has no net_prio");
  }
  return plan;
}

}  // namespace davit::runtime
