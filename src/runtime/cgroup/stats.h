// Reading a group's counters. Each function fills its part of the result from one directory (borrowed descriptor) and
// leaves alone what the kernel does not show. Any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "runtime/cgroup/cgroup.h"

namespace davit::runtime {

inline constexpr std::uint64_t kNoLimit = UINT64_MAX;

// v1: the directories of cpuacct, cpu, memory, pids, blkio and hugetlb.
Result<void> read_cpuacct_v1(int dir, CgroupStats& stats);
Result<void> read_cpu_v1(int dir, CgroupStats& stats);
Result<void> read_memory_v1(int dir, CgroupStats& stats);
Result<void> read_pids(int dir, CgroupStats& stats);  // the same on v1 and v2
Result<void> read_blkio_v1(int dir, CgroupStats& stats);
Result<void> read_hugetlb_v1(int dir, CgroupStats& stats);

// v2, each where its controller is enabled (cpu.stat's times are there always).
Result<void> read_cpu_v2(int dir, CgroupStats& stats);
Result<void> read_memory_v2(int dir, CgroupStats& stats);
Result<void> read_io_v2(int dir, CgroupStats& stats);
Result<void> read_hugetlb_v2(int dir, CgroupStats& stats);

// "key value" lines, as in memory.stat. Lines of another form are left out.
std::vector<std::pair<std::string_view, std::uint64_t>> parse_flat_keyed(std::string_view text);
std::uint64_t flat_value(std::string_view text, std::string_view key);  // 0 when absent

// A file's text; nullopt when there is no such file (or the kernel lacks what it would show).
Result<std::optional<std::string>> read_knob(int dir, std::string const& file);
// Views the text (not a copy of it, which a loop over its lines would outlive).
inline std::string_view text_or_empty(std::optional<std::string> const& text) {
  return text ? *text : std::string_view();
}
void text_or_empty(std::optional<std::string>&&) = delete;
// A file with one number; "max" is kNoLimit; 0 when there is no such file.
Result<std::uint64_t> read_number(int dir, std::string const& file);
// "2MB" for each "hugetlb.2MB<suffix>" in the directory.
Result<std::vector<std::string>> huge_page_sizes(int dir, std::string_view suffix);

}  // namespace davit::runtime
