// Documentation/admin-guide/cgroup-v2.rst
#include "base/text.h"
#include "runtime/cgroup/stats.h"

namespace davit::runtime {

namespace {

// io.stat's keys: bytes and counts of reads, writes and discards.
struct IoKey {
  std::string_view key;
  char const* operation;
  bool bytes;
};
constexpr IoKey kIoKeys[] = {{"rbytes", "Read", true}, {"wbytes", "Write", true}, {"dbytes", "Discard", true},
                             {"rios", "Read", false},  {"wios", "Write", false},  {"dios", "Discard", false}};

void add_io(std::uint64_t major, std::uint64_t minor, std::string_view word, CgroupStats& stats) {
  std::size_t const equals = word.find('=');
  if (equals == std::string_view::npos) return;
  for (IoKey const& known : kIoKeys) {
    if (word.substr(0, equals) != known.key) continue;
    std::uint64_t const value = parse_u64(word.substr(equals + 1)).value_or(0);
    (known.bytes ? stats.io_bytes : stats.io_operations).push_back({major, minor, known.operation, value});
  }
}

// Swap as v1 counts it: with memory. No limit on either is no limit on both.
std::uint64_t sum_limits(std::uint64_t memory, std::uint64_t swap) {
  return memory == kNoLimit || swap == kNoLimit ? kNoLimit : memory + swap;
}

}  // namespace

Result<void> read_cpu_v2(int dir, CgroupStats& stats) {
  std::optional<std::string> const text = TRY(read_knob(dir, "cpu.stat"));
  for (auto const& [key, value] : parse_flat_keyed(text_or_empty(text))) {
    if (key == "usage_usec") stats.cpu_total = value * 1000;
    if (key == "user_usec") stats.cpu_user = value * 1000;
    if (key == "system_usec") stats.cpu_system = value * 1000;
    if (key == "nr_periods") stats.throttle_periods = value;
    if (key == "nr_throttled") stats.throttled_periods = value;
    if (key == "throttled_usec") stats.throttled_nanos = value * 1000;
  }
  return {};
}

Result<void> read_memory_v2(int dir, CgroupStats& stats) {
  std::optional<std::string> const text = TRY(read_knob(dir, "memory.stat"));
  for (auto const& [key, value] : parse_flat_keyed(text_or_empty(text))) {
    stats.memory_stat.emplace(key, value);
    if (key == "kernel") stats.kernel_usage = value;
  }
  stats.memory_usage = TRY(read_number(dir, "memory.current"));
  stats.memory_max_usage = TRY(read_number(dir, "memory.peak"));
  stats.memory_limit = TRY(read_number(dir, "memory.max"));
  std::optional<std::string> const events = TRY(read_knob(dir, "memory.events"));
  for (auto const& [key, value] : parse_flat_keyed(text_or_empty(events))) {
    if (key == "max") stats.memory_fail_count = value;
    if (key == "oom_kill") stats.oom_kills = value;
  }
  stats.swap_usage = stats.memory_usage + TRY(read_number(dir, "memory.swap.current"));
  std::uint64_t const swap_limit = TRY(read_number(dir, "memory.swap.max"));
  stats.swap_limit = sum_limits(stats.memory_limit, swap_limit);
  return {};
}

Result<void> read_io_v2(int dir, CgroupStats& stats) {
  std::optional<std::string> const text = TRY(read_knob(dir, "io.stat"));
  for (std::string_view const line : split(text_or_empty(text), '\n')) {
    std::vector<std::string_view> const words = split(line, ' ');  // "8:0 rbytes=1 wbytes=2 rios=3 ..."
    std::vector<std::string_view> const numbers = split(words.front(), ':');
    if (numbers.size() != 2) continue;
    std::optional<std::uint64_t> const major = parse_u64(numbers[0]);
    std::optional<std::uint64_t> const minor = parse_u64(numbers[1]);
    if (!major || !minor) continue;
    for (std::string_view const word : words) add_io(*major, *minor, word, stats);
  }
  return {};
}

Result<void> read_hugetlb_v2(int dir, CgroupStats& stats) {
  for (std::string const& size : TRY(huge_page_sizes(dir, ".current"))) {
    CgroupStats::Hugetlb& entry = stats.hugetlb[size];
    entry.usage = TRY(read_number(dir, "hugetlb." + size + ".current"));
    std::optional<std::string> const events = TRY(read_knob(dir, "hugetlb." + size + ".events"));
    if (events) entry.fail_count = flat_value(*events, "max");
  }
  return {};
}

}  // namespace davit::runtime
