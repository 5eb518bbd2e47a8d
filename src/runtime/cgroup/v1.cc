// The knobs of cgroup v1. Documentation/admin-guide/cgroup-v1/, Documentation/scheduler/sched-bwc.rst,
// sched-rt-group.rst.
#include <algorithm>
#include <utility>

#include "runtime/cgroup/plan.h"

namespace davit::runtime {

namespace {

using Plan = std::vector<KnobWrite>;
constexpr auto kIgnore = KnobWrite::Missing::kIgnore;
constexpr auto kError = KnobWrite::Missing::kError;

// Numbers for KnobWrite::any_order.
constexpr unsigned kBandwidth = 1, kRealtime = 2, kMemory = 3;

std::string device(std::int64_t major, std::int64_t minor, std::uint64_t value) {
  return std::to_string(major) + ":" + std::to_string(minor) + " " + std::to_string(value);
}

Result<void> plan_shares(oci::CpuResources const& cpu, Plan& plan) {
  // The order matters: a group that is idle refuses shares, and making it idle fixes them (sched_group_set_idle).
  if (cpu.idle && *cpu.idle != 1) {
    plan.push_back({"cpu", "cpu.idle", std::to_string(*cpu.idle), "linux.resources.cpu.idle", "", "",
                    *cpu.idle == 0 ? kIgnore : kError});
  }
  if (cpu.shares && *cpu.shares != 0 && cpu.idle != 1) {
    // The kernel would take the nearest allowed value and say nothing.
    if (*cpu.shares < 2 || *cpu.shares > 262144) {
      return Error(Errc::kInvalidArgument,
                   "linux.resources.cpu.shares: " + std::to_string(*cpu.shares) + " is not from 2 to 262144");
    }
    plan.push_back({"cpu", "cpu.shares", std::to_string(*cpu.shares), "linux.resources.cpu.shares"});
  }
  if (cpu.idle == 1) plan.push_back({"cpu", "cpu.idle", "1", "linux.resources.cpu.idle"});
  return {};
}

Result<void> plan_cpu(oci::CpuResources const& cpu, Plan& plan) {
  TRY(plan_shares(cpu, plan));
  auto const add = [&](char const* file, std::string value, char const* field, unsigned order,
                       KnobWrite::Missing missing) {
    plan.push_back({"cpu", file, std::move(value), field, "", "", missing, order});
  };
  if (cpu.period.value_or(0) != 0) {
    add("cpu.cfs_period_us", std::to_string(*cpu.period), "linux.resources.cpu.period", kBandwidth, kError);
  }
  if (cpu.quota.value_or(0) != 0) {
    TRY(check_limit(*cpu.quota, "linux.resources.cpu.quota"));
    add("cpu.cfs_quota_us", std::to_string(*cpu.quota), "linux.resources.cpu.quota", kBandwidth,
        *cpu.quota < 0 ? kIgnore : kError);
  }
  if (cpu.burst) {
    add("cpu.cfs_burst_us", std::to_string(*cpu.burst), "linux.resources.cpu.burst", kBandwidth,
        *cpu.burst == 0 ? kIgnore : kError);
  }
  if (cpu.realtime_period.value_or(0) != 0) {
    add("cpu.rt_period_us", std::to_string(*cpu.realtime_period), "linux.resources.cpu.realtimePeriod", kRealtime,
        kError);
  }
  if (cpu.realtime_runtime.value_or(0) != 0) {
    add("cpu.rt_runtime_us", std::to_string(*cpu.realtime_runtime), "linux.resources.cpu.realtimeRuntime", kRealtime,
        kError);
  }
  return {};
}

void plan_cpuset(oci::CpuResources const& cpu, Plan& plan) {
  if (cpu.cpus && !cpu.cpus->empty()) plan.push_back({"cpuset", "cpuset.cpus", *cpu.cpus, "linux.resources.cpu.cpus"});
  if (cpu.mems && !cpu.mems->empty()) plan.push_back({"cpuset", "cpuset.mems", *cpu.mems, "linux.resources.cpu.mems"});
}

Result<void> plan_memory_limits(oci::MemoryResources const& memory, Plan& plan) {
  std::int64_t const limit = memory.limit.value_or(0);
  std::int64_t swap = memory.swap.value_or(0);
  // No limit on memory alone would be refused while memory and swap together have one.
  bool const swap_follows = limit == -1 && swap == 0;
  if (swap_follows) swap = -1;
  TRY(check_limit(limit, "linux.resources.memory.limit"));
  TRY(check_limit(swap, "linux.resources.memory.swap"));
  if (limit > 0 && swap > 0) TRY(swap_alone(swap, limit));
  if (limit != 0) {
    plan.push_back({"memory", "memory.limit_in_bytes", std::to_string(limit), "linux.resources.memory.limit", "", "",
                    kError, kMemory});
  }
  if (swap != 0) {
    // Without swap accounting nothing limits swap, which is what -1 asks for.
    plan.push_back({"memory", "memory.memsw.limit_in_bytes", std::to_string(swap), "linux.resources.memory.swap", "",
                    "", swap == -1 ? kIgnore : kError, kMemory});
  }
  return {};
}

Result<void> plan_memory(oci::MemoryResources const& memory, Plan& plan) {
  if (memory.use_hierarchy) {
    // Always on since Linux 5.11; a kernel without the knob has nothing else.
    plan.push_back({"memory", "memory.use_hierarchy", *memory.use_hierarchy ? "1" : "0",
                    "linux.resources.memory.useHierarchy", "", "", *memory.use_hierarchy ? kIgnore : kError});
  }
  TRY(plan_memory_limits(memory, plan));
  auto const add = [&](char const* file, std::optional<std::int64_t> value, char const* field) -> Result<void> {
    if (value.value_or(0) == 0) return {};
    TRY(check_limit(*value, field));
    plan.push_back({"memory", file, std::to_string(*value), field, "", "", *value == -1 ? kIgnore : kError});
    return {};
  };
  TRY(add("memory.soft_limit_in_bytes", memory.reservation, "linux.resources.memory.reservation"));
  // Linux 5.16 took the limit of kernel memory away (it answers ENOTSUPP); asking for none asks for nothing.
  if (memory.kernel.value_or(0) != -1) {
    TRY(add("memory.kmem.limit_in_bytes", memory.kernel, "linux.resources.memory.kernel"));
  }
  TRY(add("memory.kmem.tcp.limit_in_bytes", memory.kernel_tcp, "linux.resources.memory.kernelTCP"));
  if (memory.swappiness) {
    if (*memory.swappiness > 100) {
      return Error(Errc::kInvalidArgument, "linux.resources.memory.swappiness: " + std::to_string(*memory.swappiness) +
                                               " is not from 0 to 100");
    }
    plan.push_back(
        {"memory", "memory.swappiness", std::to_string(*memory.swappiness), "linux.resources.memory.swappiness"});
  }
  if (memory.disable_oom_killer) {
    bool const disable = *memory.disable_oom_killer;
    plan.push_back({"memory", "memory.oom_control", disable ? "1" : "0", "linux.resources.memory.disableOOMKiller", "",
                    "", disable ? kError : kIgnore});
  }
  return {};
}

void plan_block_io(oci::BlockIoResources const& io, Plan& plan) {
  static constexpr char kField[] = "linux.resources.blockIO.";
  // CFQ (until Linux 4.20) has blkio.weight, BFQ has blkio.bfq.weight; with neither scheduler there is no weight.
  auto const add = [&](std::string const& value, char const* cfq, char const* bfq, std::string const& field) {
    plan.push_back({"blkio", cfq, value, kField + field, bfq, bfq[0] != '\0' ? value : ""});
  };
  if (io.weight.value_or(0) != 0) add(std::to_string(*io.weight), "blkio.weight", "blkio.bfq.weight", "weight");
  if (io.leaf_weight.value_or(0) != 0) add(std::to_string(*io.leaf_weight), "blkio.leaf_weight", "", "leafWeight");
  for (std::size_t i = 0; i < io.weight_device.size(); ++i) {
    oci::WeightDevice const& d = io.weight_device[i];
    std::string const field = "weightDevice[" + std::to_string(i) + "]";
    if (d.weight.value_or(0) != 0) {
      add(device(d.major, d.minor, *d.weight), "blkio.weight_device", "blkio.bfq.weight_device", field + ".weight");
    }
    if (d.leaf_weight.value_or(0) != 0) {
      add(device(d.major, d.minor, *d.leaf_weight), "blkio.leaf_weight_device", "", field + ".leafWeight");
    }
  }
  auto const throttles = [&](std::vector<oci::ThrottleDevice> const& list, char const* file, char const* field) {
    for (std::size_t i = 0; i < list.size(); ++i) {
      add(device(list[i].major, list[i].minor, list[i].rate), file, "", field + ("[" + std::to_string(i) + "]"));
    }
  };
  throttles(io.throttle_read_bps, "blkio.throttle.read_bps_device", "throttleReadBpsDevice");
  throttles(io.throttle_write_bps, "blkio.throttle.write_bps_device", "throttleWriteBpsDevice");
  throttles(io.throttle_read_iops, "blkio.throttle.read_iops_device", "throttleReadIOPSDevice");
  throttles(io.throttle_write_iops, "blkio.throttle.write_iops_device", "throttleWriteIOPSDevice");
}

Result<void> plan_hugetlb(std::vector<oci::HugepageLimit> const& limits, Plan& plan) {
  for (std::size_t i = 0; i < limits.size(); ++i) {
    TRY(check_page_size(limits[i], i));
    std::string const field = "linux.resources.hugepageLimits[" + std::to_string(i) + "]";
    std::string const prefix = "hugetlb." + limits[i].page_size;
    std::string const value = std::to_string(limits[i].limit);
    plan.push_back({"hugetlb", prefix + ".limit_in_bytes", value, field});
    // Reservations too (Linux 5.7): else a process that maps more than it may use dies of SIGBUS instead of ENOMEM.
    plan.push_back({"hugetlb", prefix + ".rsvd.limit_in_bytes", value, field, "", "", kIgnore});
  }
  return {};
}

Result<void> plan_network(oci::NetworkResources const& network, unsigned families, Plan& plan) {
  if ((families & kFamilyNetClass) != 0 && network.class_id.value_or(0) != 0) {
    plan.push_back(
        {"net_cls", "net_cls.classid", std::to_string(*network.class_id), "linux.resources.network.classID"});
  }
  if ((families & kFamilyNetPriority) == 0) return {};
  for (std::size_t i = 0; i < network.priorities.size(); ++i) {
    std::string const field = "linux.resources.network.priorities[" + std::to_string(i) + "]";
    oci::InterfacePriority const& priority = network.priorities[i];
    TRY(check_one_word(priority.name, field + ".name"));
    plan.push_back({"net_prio", "net_prio.ifpriomap", priority.name + " " + std::to_string(priority.priority), field});
  }
  return {};
}

}  // namespace

Result<std::vector<KnobWrite>> plan_v1(oci::Resources const& resources, unsigned families) {
  Plan plan;
  auto const wanted = [families](Family family) { return (families & family) != 0; };
  if (resources.cpu && wanted(kFamilyCpuset)) plan_cpuset(*resources.cpu, plan);
  if (resources.cpu && wanted(kFamilyCpu)) TRY(plan_cpu(*resources.cpu, plan));
  if (resources.memory && wanted(kFamilyMemory)) TRY(plan_memory(*resources.memory, plan));
  if (resources.pids_limit.value_or(0) != 0 && wanted(kFamilyPids)) {
    std::int64_t const limit = *resources.pids_limit;
    plan.push_back({"pids", "pids.max", limit > 0 ? std::to_string(limit) : "max", "linux.resources.pids.limit", "", "",
                    limit > 0 ? kError : kIgnore});
  }
  if (resources.block_io && wanted(kFamilyBlockIo)) plan_block_io(*resources.block_io, plan);
  if (wanted(kFamilyHugetlb)) TRY(plan_hugetlb(resources.hugepage_limits, plan));
  if (wanted(kFamilyRdma)) TRY(plan_rdma(resources, plan));
  if (resources.network) TRY(plan_network(*resources.network, families, plan));
  return plan;
}

}  // namespace davit::runtime
