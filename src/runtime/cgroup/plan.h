// From the spec's resources to the knobs to write: pure functions, so that a test needs no kernel. Any thread.
//
// Zero means "not set" for every number where runc takes it so (limits, shares, quota, periods, pids); -1 means
// unlimited.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "oci/runtime_spec.h"

namespace davit::runtime {

// The parts of Resources that one v1 hierarchy or one v2 controller handles, as bits.
enum Family : unsigned {
  kFamilyCpu = 1,
  kFamilyCpuset = 2,
  kFamilyMemory = 4,
  kFamilyPids = 8,
  kFamilyBlockIo = 16,
  kFamilyHugetlb = 32,
  kFamilyRdma = 64,
  kFamilyNetClass = 128,
  kFamilyNetPriority = 256,
  kFamilyAll = 511,
};

struct FamilyNames {
  Family family;
  std::string_view v1;  // the v1 controller
  std::string_view v2;  // the v2 controller; empty: v2 has none
};

inline constexpr FamilyNames kFamilyNames[] = {
    {kFamilyCpu, "cpu", "cpu"},    {kFamilyCpuset, "cpuset", "cpuset"}, {kFamilyMemory, "memory", "memory"},
    {kFamilyPids, "pids", "pids"}, {kFamilyBlockIo, "blkio", "io"},     {kFamilyHugetlb, "hugetlb", "hugetlb"},
    {kFamilyRdma, "rdma", "rdma"}, {kFamilyNetClass, "net_cls", ""},    {kFamilyNetPriority, "net_prio", ""},
};

// The families that resources ask something of.
unsigned families_of(oci::Resources const& resources);

// One write(2) to one file.
struct KnobWrite {
  std::string controller;  // v1: says which directory; v2: named when the file is missing
  std::string file;
  std::string value;
  std::string field;  // what the user asked for: "linux.resources.memory.limit"
  // Another name of the knob and what to write there, for when `file` does not exist.
  std::string other_file = {}, other_value = {};
  // kIgnore: the value is what a kernel without the knob does anyway.
  enum class Missing { kError, kIgnore } missing = Missing::kError;
  // Neighbours with the same number other than 0 limit each other (memory <= memory+swap, burst <= quota): the kernel
  // refuses one order with EINVAL, and which one depends on the values it holds now. They are tried until all are in.
  unsigned any_order = 0;
  // Nobody asked for it: EPERM is fine.
  bool may_be_refused = false;
};

// kInvalidArgument: a value that no kernel takes.
Result<std::vector<KnobWrite>> plan_v1(oci::Resources const& resources, unsigned families);

// What a running v2 group has now; needed where one knob holds two fields of which an update may name one.
struct V2Current {
  std::string cpu_max;     // "max 100000"
  std::string memory_max;  // "max" or bytes
};

// kUnimplemented: v2 has no such knob (swappiness, kernel memory, realtime, net_cls, ...).
Result<std::vector<KnobWrite>> plan_v2(oci::Resources const& resources, unsigned families, V2Current const& current);

// linux.resources.unified: file name -> lines, v2 only.
Result<std::vector<KnobWrite>> plan_unified(oci::Resources const& resources);

// cpu.shares [2, 262144] to cpu.weight [1, 10000], so that the least, the default (1024, 100) and the most meet: the
// curve log10(weight) = (l*l + 125*l - 126) / 612 with l = log2(shares). (A straight line, as older runtimes have it,
// gives the default 39: less than a process outside any container gets.) 0 stays 0.
std::uint64_t weight_from_shares(std::uint64_t shares);

// blkio.weight [10, 1000] to io.weight [1, 10000], linear. 0 stays 0.
std::uint64_t io_weight_from_blkio(std::uint64_t weight);

// memory+swap as v1 counts it -> swap alone; nullopt: leave it. memory: the limit, 0 when not set.
Result<std::optional<std::int64_t>> swap_alone(std::int64_t memory_and_swap, std::int64_t memory);

// Helpers of plan_v1 and plan_v2.
Result<void> plan_rdma(oci::Resources const& resources, std::vector<KnobWrite>& plan);  // the same on both
Result<void> check_limit(std::int64_t value, std::string_view field);                   // -1 or more
Result<void> check_page_size(oci::HugepageLimit const& limit, std::size_t index);
Result<void> check_one_word(std::string_view word, std::string_view field);  // not empty, no spaces, '/' or newline

}  // namespace davit::runtime
