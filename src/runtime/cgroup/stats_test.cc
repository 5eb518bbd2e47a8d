// Parsing of what the kernel prints, from plain files. What the kernel really prints is asked in
// tests/kernel/cgroup_test.cc.
#include "runtime/cgroup/stats.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include "sys/file.h"

namespace davit::runtime {
namespace {

class Stats : public testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/davit-stats-XXXXXX";
    ASSERT_NE(::mkdtemp(name), nullptr);
    path_ = name;
    dir_ = sys::open(path_, O_PATH | O_DIRECTORY).value();
  }
  void TearDown() override { EXPECT_TRUE(sys::remove_tree(path_).ok()); }
  void put(std::string const& name, std::string_view text) {
    ASSERT_TRUE(sys::replace_file_at(dir_.get(), name, text, 0644, sys::Durability::kNone).ok());
  }

  std::string path_;
  UniqueFd dir_;
  CgroupStats stats_;
};

TEST_F(Stats, EmptyDirectoriesAreAllZero) {
  for (auto read : {read_cpuacct_v1, read_cpu_v1, read_memory_v1, read_pids, read_blkio_v1, read_hugetlb_v1,
                    read_cpu_v2, read_memory_v2, read_io_v2, read_hugetlb_v2}) {
    EXPECT_TRUE(read(dir_.get(), stats_).ok());
  }
  EXPECT_EQ(stats_.memory_usage, 0U);
  EXPECT_TRUE(stats_.io_bytes.empty());
}

TEST_F(Stats, CpuOfBothVersionsIsInNanoseconds) {
  put("cpuacct.usage", "5000\n");
  put("cpuacct.usage_percpu", "2000 3000 \n");
  put("cpuacct.usage_user", "4000\n");
  ASSERT_TRUE(read_cpuacct_v1(dir_.get(), stats_).ok());
  EXPECT_EQ(stats_.cpu_total, 5000U);
  EXPECT_EQ(stats_.cpu_per_core, (std::vector<std::uint64_t>{2000, 3000}));
  put("cpu.stat", "nr_periods 3\nnr_throttled 2\nthrottled_time 77\n");
  ASSERT_TRUE(read_cpu_v1(dir_.get(), stats_).ok());
  EXPECT_EQ(stats_.throttled_nanos, 77U);
  put("cpu.stat",
      "usage_usec 9\nuser_usec 4\nsystem_usec 5\nnr_periods 3\nnr_throttled 2\nthrottled_usec 7\nnew.key x\n");
  ASSERT_TRUE(read_cpu_v2(dir_.get(), stats_).ok());
  EXPECT_EQ(stats_.cpu_total, 9000U);
  EXPECT_EQ(stats_.throttled_nanos, 7000U);
}

TEST_F(Stats, MemoryOfV2CountsSwapAsV1Does) {
  put("memory.current", "100\n");
  put("memory.max", "1000\n");
  put("memory.peak", "150\n");
  put("memory.swap.current", "20\n");
  put("memory.swap.max", "500\n");
  put("memory.stat", "anon 60\nkernel 9\n");
  put("memory.events", "low 0\nmax 4\noom 2\noom_kill 1\n");
  ASSERT_TRUE(read_memory_v2(dir_.get(), stats_).ok());
  EXPECT_EQ(stats_.swap_usage, 120U);
  EXPECT_EQ(stats_.swap_limit, 1500U);
  EXPECT_EQ(stats_.kernel_usage, 9U);
  EXPECT_EQ(stats_.memory_stat.at("anon"), 60U);
  EXPECT_EQ(stats_.oom_kills, 1U);
  EXPECT_EQ(stats_.memory_fail_count, 4U);
  put("memory.swap.max", "max\n");
  ASSERT_TRUE(read_memory_v2(dir_.get(), stats_).ok());
  EXPECT_EQ(stats_.swap_limit, kNoLimit);
}

TEST_F(Stats, IoOfV1TakesThrottlingWhereBfqCountsNothing) {
  put("blkio.bfq.io_service_bytes_recursive", "Total 0\n");
  put("blkio.throttle.io_service_bytes_recursive", "8:0 Read 4096\n8:0 Write 10\n8:0 Total 4106\nTotal 4106\n");
  ASSERT_TRUE(read_blkio_v1(dir_.get(), stats_).ok());
  ASSERT_EQ(stats_.io_bytes.size(), 2U);
  EXPECT_EQ(stats_.io_bytes[0].major, 8U);
  EXPECT_EQ(stats_.io_bytes[0].operation, "Read");
  EXPECT_EQ(stats_.io_bytes[1].value, 10U);
}

TEST_F(Stats, IoOfV2IsSplitIntoBytesAndOperations) {
  put("io.stat", "8:16 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=5 dios=6\nbroken line\n259:1 rbytes=7 cost.usage=1\n\n");
  ASSERT_TRUE(read_io_v2(dir_.get(), stats_).ok());
  ASSERT_EQ(stats_.io_bytes.size(), 4U);
  EXPECT_EQ(stats_.io_bytes[2].operation, "Discard");
  EXPECT_EQ(stats_.io_bytes[3].major, 259U);
  ASSERT_EQ(stats_.io_operations.size(), 3U);
  EXPECT_EQ(stats_.io_operations[1].value, 4U);
}

TEST_F(Stats, HugePagesAreFoundByTheirFiles) {
  put("hugetlb.2MB.current", "2097152\n");
  put("hugetlb.2MB.rsvd.current", "0\n");
  put("hugetlb.2MB.events", "max 3\n");
  ASSERT_TRUE(read_hugetlb_v2(dir_.get(), stats_).ok());
  ASSERT_EQ(stats_.hugetlb.size(), 1U);
  EXPECT_EQ(stats_.hugetlb.at("2MB").usage, 2097152U);
  EXPECT_EQ(stats_.hugetlb.at("2MB").fail_count, 3U);
}

TEST_F(Stats, NoPidsLimitIsZero) {
  put("pids.current", "4\n");
  put("pids.max", "max\n");
  ASSERT_TRUE(read_pids(dir_.get(), stats_).ok());
  EXPECT_EQ(stats_.pids_current, 4U);
  EXPECT_EQ(stats_.pids_limit, 0U);
}

TEST_F(Stats, GarbageIsAnError) {
  put("pids.current", "four\n");
  EXPECT_FALSE(read_pids(dir_.get(), stats_).ok());
}

}  // namespace
}  // namespace davit::runtime
