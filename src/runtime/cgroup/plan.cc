#include "runtime/cgroup/plan.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/text.h"

namespace davit::runtime {

namespace {

unsigned cpu_families(oci::CpuResources const& cpu) {
  unsigned families = 0;
  if (cpu.shares || cpu.period || cpu.burst || cpu.realtime_period || cpu.quota || cpu.realtime_runtime || cpu.idle) {
    families |= kFamilyCpu;
  }
  if ((cpu.cpus && !cpu.cpus->empty()) || (cpu.mems && !cpu.mems->empty())) families |= kFamilyCpuset;
  return families;
}

}  // namespace

unsigned families_of(oci::Resources const& resources) {
  unsigned families = resources.cpu ? cpu_families(*resources.cpu) : 0;
  if (resources.memory) families |= kFamilyMemory;
  if (resources.pids_limit) families |= kFamilyPids;
  if (resources.block_io) families |= kFamilyBlockIo;
  if (!resources.hugepage_limits.empty()) families |= kFamilyHugetlb;
  if (!resources.rdma.empty()) families |= kFamilyRdma;
  if (resources.network && resources.network->class_id) families |= kFamilyNetClass;
  if (resources.network && !resources.network->priorities.empty()) families |= kFamilyNetPriority;
  return families;
}

std::uint64_t weight_from_shares(std::uint64_t shares) {
  if (shares == 0) return 0;
  if (shares <= 2) return 1;
  if (shares >= 262144) return 10000;
  double const l = std::log2(static_cast<double>(shares));
  return static_cast<std::uint64_t>(std::ceil(std::pow(10.0, (l * l + 125 * l - 126) / 612)));
}

std::uint64_t io_weight_from_blkio(std::uint64_t weight) {
  if (weight == 0) return 0;
  std::uint64_t const bounded = std::clamp<std::uint64_t>(weight, 10, 1000);
  return 1 + (bounded - 10) * 9999 / 990;
}

Result<std::optional<std::int64_t>> swap_alone(std::int64_t memory_and_swap, std::int64_t memory) {
  // Memory without a limit and nothing said of swap: swap is not limited either.
  if (memory == -1 && memory_and_swap == 0) return std::optional<std::int64_t>(-1);
  if (memory_and_swap == 0) return std::optional<std::int64_t>();
  if (memory_and_swap == -1) return std::optional<std::int64_t>(-1);
  if (memory <= 0) {
    return Error(Errc::kInvalidArgument,
                 "linux.resources.memory.swap: is memory and swap together, so it needs linux.resources.memory.limit");
  }
  if (memory_and_swap < memory) {
    return Error(Errc::kInvalidArgument, "linux.resources.memory.swap: " + std::to_string(memory_and_swap) +
                                             " is less than the memory limit " + std::to_string(memory));
  }
  return std::optional<std::int64_t>(memory_and_swap - memory);
}

Result<std::vector<KnobWrite>> plan_unified(oci::Resources const& resources) {
  std::vector<KnobWrite> plan;
  for (auto const& [file, value] : resources.unified) {
    std::string const field = "linux.resources.unified[" + file + "]";
    TRY(check_one_word(file, field));
    std::string const controller = file.substr(0, file.find('.'));
    // Keyed knobs take one line for each write(2) ("8:0 rbps=1\n8:16 rbps=2").
    for (std::string_view const line : split(value, '\n')) {
      if (line.empty() && !value.empty()) continue;
      plan.push_back({controller, file, std::string(line), field});
    }
  }
  return plan;
}

Result<void> plan_rdma(oci::Resources const& resources, std::vector<KnobWrite>& plan) {
  for (auto const& [device, limit] : resources.rdma) {
    std::string const field = "linux.resources.rdma[" + device + "]";
    TRY(check_one_word(device, field));
    std::string value = device;
    if (limit.hca_handles) value += " hca_handle=" + std::to_string(*limit.hca_handles);
    if (limit.hca_objects) value += " hca_object=" + std::to_string(*limit.hca_objects);
    if (value.size() > device.size()) plan.push_back({"rdma", "rdma.max", value, field});
  }
  return {};
}

Result<void> check_limit(std::int64_t value, std::string_view field) {
  if (value >= -1) return {};
  return Error(Errc::kInvalidArgument,
               std::string(field) + ": " + std::to_string(value) + " is neither a limit nor -1");
}

Result<void> check_page_size(oci::HugepageLimit const& limit, std::size_t index) {
  std::string_view size = limit.page_size;
  std::size_t const digits = std::min(size.find_first_not_of("0123456789"), size.size());
  std::string_view const unit = size.substr(digits);
  if (digits > 0 && (unit == "KB" || unit == "MB" || unit == "GB")) return {};
  return Error(Errc::kInvalidArgument, "linux.resources.hugepageLimits[" + std::to_string(index) + "].pageSize: '" +
                                           limit.page_size + "' is not a size such as \"2MB\"");
}

Result<void> check_one_word(std::string_view word, std::string_view field) {
  if (!word.empty() && word != "." && word != ".." &&
      word.find_first_of(std::string_view(" \t\n/\0", 5)) == word.npos) {
    return {};
  }
  return Error(Errc::kInvalidArgument,
               std::string(field) + ": '" + std::string(word) + "' is not one word without '/'");
}

}  // namespace davit::runtime
