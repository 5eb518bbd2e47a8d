// Documentation/admin-guide/cgroup-v1/{cpuacct,memory,blkio-controller,hugetlb}.rst
#include <unistd.h>

#include "base/text.h"
#include "runtime/cgroup/stats.h"

namespace davit::runtime {

namespace {

// "8:0 Read 4096"; the line "Total N" and the per-device Total are left out, being sums.
std::vector<CgroupStats::Io> parse_blkio(std::string_view text) {
  std::vector<CgroupStats::Io> entries;
  for (std::string_view const line : split(text, '\n')) {
    std::vector<std::string_view> const words = split(line, ' ');
    std::size_t const colon = line.find(':');
    if (words.size() != 3 || colon == std::string_view::npos || words[1] == "Total") continue;
    CgroupStats::Io entry;
    entry.major = parse_u64(words[0].substr(0, colon)).value_or(0);
    entry.minor = parse_u64(words[0].substr(colon + 1)).value_or(0);
    entry.operation = words[1];
    entry.value = parse_u64(words[2]).value_or(0);
    entries.push_back(std::move(entry));
  }
  return entries;
}

// BFQ counts only what it schedules, so its file is there but empty on other schedulers; the throttling layer counts
// all.
Result<std::vector<CgroupStats::Io>> read_blkio(int dir, std::string const& counter) {
  for (std::string const& prefix : {std::string("blkio.bfq."), std::string("blkio.throttle.")}) {
    for (char const* suffix : {"_recursive", ""}) {
      std::optional<std::string> const text = TRY(read_knob(dir, prefix + counter + suffix));
      if (!text) continue;
      std::vector<CgroupStats::Io> entries = parse_blkio(*text);
      if (!entries.empty()) return entries;
    }
  }
  return std::vector<CgroupStats::Io>();
}

}  // namespace

Result<void> read_cpuacct_v1(int dir, CgroupStats& stats) {
  stats.cpu_total = TRY(read_number(dir, "cpuacct.usage"));
  std::optional<std::string> const per_core = TRY(read_knob(dir, "cpuacct.usage_percpu"));
  for (std::string_view const word : split(trim(text_or_empty(per_core)), ' ')) {
    if (std::optional<std::uint64_t> const value = parse_u64(word)) stats.cpu_per_core.push_back(*value);
  }
  // Nanoseconds since Linux 4.6; cpuacct.stat has them in clock ticks only.
  stats.cpu_user = TRY(read_number(dir, "cpuacct.usage_user"));
  stats.cpu_system = TRY(read_number(dir, "cpuacct.usage_sys"));
  return {};
}

Result<void> read_cpu_v1(int dir, CgroupStats& stats) {
  std::optional<std::string> const text = TRY(read_knob(dir, "cpu.stat"));
  for (auto const& [key, value] : parse_flat_keyed(text_or_empty(text))) {
    if (key == "nr_periods") stats.throttle_periods = value;
    if (key == "nr_throttled") stats.throttled_periods = value;
    if (key == "throttled_time") stats.throttled_nanos = value;
  }
  return {};
}

Result<void> read_memory_v1(int dir, CgroupStats& stats) {
  std::optional<std::string> const text = TRY(read_knob(dir, "memory.stat"));
  for (auto const& [key, value] : parse_flat_keyed(text_or_empty(text))) stats.memory_stat.emplace(key, value);
  stats.memory_usage = TRY(read_number(dir, "memory.usage_in_bytes"));
  stats.memory_max_usage = TRY(read_number(dir, "memory.max_usage_in_bytes"));
  stats.memory_limit = TRY(read_number(dir, "memory.limit_in_bytes"));
  stats.memory_fail_count = TRY(read_number(dir, "memory.failcnt"));
  stats.swap_usage = TRY(read_number(dir, "memory.memsw.usage_in_bytes"));
  stats.swap_limit = TRY(read_number(dir, "memory.memsw.limit_in_bytes"));
  stats.kernel_usage = TRY(read_number(dir, "memory.kmem.usage_in_bytes"));
  stats.kernel_limit = TRY(read_number(dir, "memory.kmem.limit_in_bytes"));
  std::optional<std::string> const oom = TRY(read_knob(dir, "memory.oom_control"));
  if (oom) stats.oom_kills = flat_value(*oom, "oom_kill");
  return {};
}

Result<void> read_blkio_v1(int dir, CgroupStats& stats) {
  stats.io_bytes = TRY(read_blkio(dir, "io_service_bytes"));
  stats.io_operations = TRY(read_blkio(dir, "io_serviced"));
  return {};
}

Result<void> read_hugetlb_v1(int dir, CgroupStats& stats) {
  for (std::string const& size : TRY(huge_page_sizes(dir, ".usage_in_bytes"))) {
    CgroupStats::Hugetlb& entry = stats.hugetlb[size];
    entry.usage = TRY(read_number(dir, "hugetlb." + size + ".usage_in_bytes"));
    entry.max_usage = TRY(read_number(dir, "hugetlb." + size + ".max_usage_in_bytes"));
    entry.fail_count = TRY(read_number(dir, "hugetlb." + size + ".failcnt"));
  }
  return {};
}

}  // namespace davit::runtime
