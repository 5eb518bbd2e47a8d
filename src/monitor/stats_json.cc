#include "monitor/stats_json.h"

#include "codec/json_writer.h"
#include "sys/polling.h"

namespace davit::monitor {

namespace {
std::string io_array(std::vector<runtime::CgroupStats::Io> const& entries) {
  std::string array = "[";
  for (auto const& entry : entries) {
    if (array.size() > 1) array += ',';
    array += json::Object()
                 .add("major", entry.major)
                 .add("minor", entry.minor)
                 .add("op", entry.operation)
                 .add("value", entry.value)
                 .text();
  }
  return array + "]";
}

std::string cpu(runtime::CgroupStats const& stats) {
  std::string cores = "[";
  for (std::uint64_t const nanos : stats.cpu_per_core) {
    if (cores.size() > 1) cores += ',';
    cores += std::to_string(nanos);
  }
  json::Object json;
  json.add("total", stats.cpu_total).add("user", stats.cpu_user).add("system", stats.cpu_system);
  json.add_raw("per_core", cores + "]");
  json.add("periods", stats.throttle_periods).add("throttled_periods", stats.throttled_periods);
  return json.add("throttled_nanos", stats.throttled_nanos).text();
}

std::string memory(runtime::CgroupStats const& stats) {
  json::Object details;
  for (auto const& [name, value] : stats.memory_stat) details.add(name, value);
  json::Object json;
  json.add("usage", stats.memory_usage).add("max_usage", stats.memory_max_usage).add("limit", stats.memory_limit);
  json.add("fail_count", stats.memory_fail_count)
      .add("swap_usage", stats.swap_usage)
      .add("swap_limit", stats.swap_limit);
  json.add("kernel_usage", stats.kernel_usage)
      .add("kernel_limit", stats.kernel_limit)
      .add("oom_kills", stats.oom_kills);
  return json.add_raw("stat", details.text()).text();
}
}  // namespace

Result<std::string> stats_json(runtime::Cgroup const& cgroup) {
  runtime::CgroupStats const stats = TRY(cgroup.stats());
  json::Object hugetlb;
  for (auto const& [size, counters] : stats.hugetlb) {
    hugetlb.add_raw(size, json::Object()
                              .add("usage", counters.usage)
                              .add("max_usage", counters.max_usage)
                              .add("fail_count", counters.fail_count)
                              .text());
  }
  json::Object json;
  json.add("time", std::int64_t{sys::realtime_nanos()});
  json.add_raw("cpu", cpu(stats)).add_raw("memory", memory(stats));
  json.add_raw("pids", json::Object().add("current", stats.pids_current).add("limit", stats.pids_limit).text());
  json.add_raw("io_bytes", io_array(stats.io_bytes)).add_raw("io_operations", io_array(stats.io_operations));
  return json.add_raw("hugetlb", hugetlb.text()).text();
}

}  // namespace davit::monitor
