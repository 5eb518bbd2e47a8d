#include "runtime/cgroup/plan.h"

#include <gtest/gtest.h>

namespace davit::runtime {
namespace {

// "memory.max=1024" per write, in order; "file|other=value|other value" where there is a second name.
std::string text_of(Result<std::vector<KnobWrite>> const& plan) {
  if (!plan) return std::string(errc_name(plan.error().code()));
  std::string text;
  for (KnobWrite const& write : *plan) {
    if (!text.empty()) text += ' ';
    text += write.file + (write.other_file.empty() ? "" : "|" + write.other_file) + "=" + write.value;
    if (!write.other_value.empty() && write.other_value != write.value) text += "|" + write.other_value;
  }
  return text;
}

struct Case {
  std::string_view name;
  std::string_view json;  // resources
  std::string_view v1, v2;
  V2Current current = {};
};

class Plan : public testing::TestWithParam<Case> {};

oci::Resources parse(std::string_view json) { return oci::parse_resources(json).value(); }

TEST_P(Plan, WritesTheseKnobsInThisOrder) {
  oci::Resources const resources = parse(GetParam().json);
  EXPECT_EQ(text_of(plan_v1(resources, families_of(resources))), GetParam().v1);
  EXPECT_EQ(text_of(plan_v2(resources, families_of(resources), GetParam().current)), GetParam().v2);
}

constexpr std::string_view kInvalid = "invalid argument", kUnimplemented = "unimplemented";

INSTANTIATE_TEST_SUITE_P(
    Table, Plan,
    testing::Values(
        Case{"nothing", "{}", "", ""},
        Case{
            "zero_is_not_set",
            R"({"cpu":{"shares":0,"quota":0,"period":0},"memory":{"limit":0,"swap":0,"reservation":0},"pids":{"limit":0}})",
            "", ""},
        Case{"shares_default", R"({"cpu":{"shares":1024}})", "cpu.shares=1024", "cpu.weight=100"},
        Case{"shares_too_few", R"({"cpu":{"shares":1}})", kInvalid, "cpu.weight=1"},
        Case{"quota_and_period", R"({"cpu":{"quota":50000,"period":100000}})",
             "cpu.cfs_period_us=100000 cpu.cfs_quota_us=50000", "cpu.max=50000 100000"},
        Case{"quota_alone_keeps_the_period", R"({"cpu":{"quota":50000}})", "cpu.cfs_quota_us=50000", "cpu.max=50000"},
        Case{"quota_unlimited", R"({"cpu":{"quota":-1}})", "cpu.cfs_quota_us=-1", "cpu.max=max"},
        Case{"period_alone_keeps_the_quota",
             R"({"cpu":{"period":20000}})",
             "cpu.cfs_period_us=20000",
             "cpu.max=7000 20000",
             {"7000 100000", ""}},
        Case{"period_alone_of_a_new_group", R"({"cpu":{"period":20000}})", "cpu.cfs_period_us=20000",
             "cpu.max=max 20000"},
        Case{"burst", R"({"cpu":{"quota":50000,"burst":1000}})", "cpu.cfs_quota_us=50000 cpu.cfs_burst_us=1000",
             "cpu.max=50000 cpu.max.burst=1000"},
        Case{"idle_fixes_the_shares", R"({"cpu":{"shares":512,"idle":1}})", "cpu.idle=1", "cpu.idle=1"},
        Case{"busy_before_shares", R"({"cpu":{"shares":1024,"idle":0}})", "cpu.idle=0 cpu.shares=1024",
             "cpu.idle=0 cpu.weight=100"},
        Case{"realtime", R"({"cpu":{"realtimePeriod":1000000,"realtimeRuntime":9000}})",
             "cpu.rt_period_us=1000000 cpu.rt_runtime_us=9000", kUnimplemented},
        Case{"cpuset", R"({"cpu":{"cpus":"0-1","mems":"0"}})", "cpuset.cpus=0-1 cpuset.mems=0",
             "cpuset.cpus=0-1 cpuset.mems=0"},
        Case{"memory_512k", R"({"memory":{"limit":524288}})", "memory.limit_in_bytes=524288", "memory.max=524288"},
        Case{"swap_is_a_sum", R"({"memory":{"limit":1000,"swap":3000}})",
             "memory.limit_in_bytes=1000 memory.memsw.limit_in_bytes=3000", "memory.swap.max=2000 memory.max=1000"},
        Case{"no_swap_at_all", R"({"memory":{"limit":1000,"swap":1000}})",
             "memory.limit_in_bytes=1000 memory.memsw.limit_in_bytes=1000", "memory.swap.max=0 memory.max=1000"},
        Case{"swap_unlimited", R"({"memory":{"limit":1000,"swap":-1}})",
             "memory.limit_in_bytes=1000 memory.memsw.limit_in_bytes=-1", "memory.swap.max=max memory.max=1000"},
        Case{"memory_unlimited_frees_swap", R"({"memory":{"limit":-1}})",
             "memory.limit_in_bytes=-1 memory.memsw.limit_in_bytes=-1", "memory.swap.max=max memory.max=max"},
        Case{"swap_below_memory", R"({"memory":{"limit":1000,"swap":999}})", kInvalid, kInvalid},
        Case{"swap_without_memory", R"({"memory":{"swap":3000}})", "memory.memsw.limit_in_bytes=3000", kInvalid},
        Case{"swap_update_uses_the_limit_in_force",
             R"({"memory":{"swap":3000}})",
             "memory.memsw.limit_in_bytes=3000",
             "memory.swap.max=2000",
             {"", "1000\n"}},
        Case{"limit_below_minus_one", R"({"memory":{"limit":-2}})", kInvalid, kInvalid},
        Case{"reservation", R"({"memory":{"reservation":4096}})", "memory.soft_limit_in_bytes=4096", "memory.low=4096"},
        Case{"kernel_memory", R"({"memory":{"kernel":4096}})", "memory.kmem.limit_in_bytes=4096", kUnimplemented},
        Case{"kernel_memory_unlimited", R"({"memory":{"kernel":-1}})", "", ""},
        Case{"kernel_tcp", R"({"memory":{"kernelTCP":4096}})", "memory.kmem.tcp.limit_in_bytes=4096", kUnimplemented},
        Case{"swappiness", R"({"memory":{"swappiness":0}})", "memory.swappiness=0", kUnimplemented},
        Case{"swappiness_too_much", R"({"memory":{"swappiness":101}})", kInvalid, kUnimplemented},
        Case{"oom_killer_off", R"({"memory":{"disableOOMKiller":true}})", "memory.oom_control=1", kUnimplemented},
        Case{"oom_killer_on", R"({"memory":{"disableOOMKiller":false}})", "memory.oom_control=0", ""},
        Case{"pids", R"({"pids":{"limit":100}})", "pids.max=100", "pids.max=100"},
        Case{"pids_unlimited", R"({"pids":{"limit":-1}})", "pids.max=max", "pids.max=max"},
        Case{"io_weight", R"({"blockIO":{"weight":100}})", "blkio.weight|blkio.bfq.weight=100",
             "io.bfq.weight|io.weight=100|910"},
        Case{"io_weight_device", R"({"blockIO":{"weightDevice":[{"major":8,"minor":0,"weight":1000}]}})",
             "blkio.weight_device|blkio.bfq.weight_device=8:0 1000", "io.bfq.weight|io.weight=8:0 1000|8:0 10000"},
        Case{"io_leaf_weight", R"({"blockIO":{"leafWeight":10}})", "blkio.leaf_weight=10", kUnimplemented},
        Case{"io_throttle", R"({"blockIO":{"throttleReadBpsDevice":[{"major":8,"minor":0,"rate":1024}],
                                            "throttleWriteIOPSDevice":[{"major":8,"minor":16,"rate":0}]}})",
             "blkio.throttle.read_bps_device=8:0 1024 blkio.throttle.write_iops_device=8:16 0",
             "io.max=8:0 rbps=1024 io.max=8:16 wiops=max"},
        Case{"hugetlb", R"({"hugepageLimits":[{"pageSize":"2MB","limit":4194304}]})",
             "hugetlb.2MB.limit_in_bytes=4194304 hugetlb.2MB.rsvd.limit_in_bytes=4194304",
             "hugetlb.2MB.max=4194304 hugetlb.2MB.rsvd.max=4194304"},
        Case{"rdma", R"({"rdma":{"mlx5_0":{"hcaHandles":2,"hcaObjects":100}}})",
             "rdma.max=mlx5_0 hca_handle=2 hca_object=100", "rdma.max=mlx5_0 hca_handle=2 hca_object=100"},
        Case{"network", R"({"network":{"classID":1048577,"priorities":[{"name":"eth0","priority":5}]}})",
             "net_cls.classid=1048577 net_prio.ifpriomap=eth0 5", kUnimplemented}),
    [](auto const& info) { return std::string(info.param.name); });

TEST(Hugetlb, RefusesPageSizesThatAreNoFileName) {
  oci::Resources resources;
  for (char const* bad : {"../x", "", "MB", "2M", "2MB/x"}) {
    resources.hugepage_limits = {{bad, 1}};
    EXPECT_EQ(text_of(plan_v1(resources, kFamilyAll)), kInvalid) << bad;
    EXPECT_EQ(text_of(plan_v2(resources, kFamilyAll, {})), kInvalid) << bad;
  }
}

TEST(Unified, WritesLineByLineAndRefusesPaths) {
  oci::Resources resources;
  resources.unified = {{"io.max", "8:0 rbps=1\n8:16 rbps=2"}, {"memory.high", "1000"}};
  EXPECT_EQ(text_of(plan_unified(resources)), "io.max=8:0 rbps=1 io.max=8:16 rbps=2 memory.high=1000");
  for (char const* bad : {"../memory.max", "a/b", "", "..", "a b"}) {
    resources.unified = {{bad, "1"}};
    EXPECT_EQ(text_of(plan_unified(resources)), kInvalid) << bad;
  }
}

TEST(Weight, FromSharesMeetsLeastDefaultAndMostAndNeverFalls) {
  EXPECT_EQ(weight_from_shares(0), 0U);
  EXPECT_EQ(weight_from_shares(2), 1U);
  EXPECT_EQ(weight_from_shares(1024), 100U);
  EXPECT_EQ(weight_from_shares(262144), 10000U);
  EXPECT_EQ(weight_from_shares(1 << 30), 10000U);
  std::uint64_t last = 0;
  for (std::uint64_t shares = 2; shares < 262144; shares += 7) {
    std::uint64_t const weight = weight_from_shares(shares);
    ASSERT_GE(weight, last) << shares;
    ASSERT_LE(weight, 10000U) << shares;
    last = weight;
  }
}

TEST(Weight, FromBlkioIsLinear) {
  EXPECT_EQ(io_weight_from_blkio(0), 0U);
  EXPECT_EQ(io_weight_from_blkio(10), 1U);
  EXPECT_EQ(io_weight_from_blkio(1000), 10000U);
}

}  // namespace
}  // namespace davit::runtime
