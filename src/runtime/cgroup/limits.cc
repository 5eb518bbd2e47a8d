#include "runtime/cgroup/limits.h"

#include <utility>

#include "base/text.h"
#include "runtime/cgroup/cgroup.h"
#include "runtime/cgroup/devices.h"

namespace davit::runtime {

namespace {

std::vector<std::string> v2_controllers(unsigned families) {
  std::vector<std::string> controllers;
  for (FamilyNames const& names : kFamilyNames) {
    if ((families & names.family) != 0 && !names.v2.empty()) controllers.emplace_back(names.v2);
  }
  return controllers;
}

bool needs_cpu_max(oci::Resources const& resources) {
  return resources.cpu && resources.cpu->period.value_or(0) != 0 && resources.cpu->quota.value_or(0) == 0;
}

bool needs_memory_max(oci::Resources const& resources) {
  return resources.memory && resources.memory->swap.value_or(0) > 0 && resources.memory->limit.value_or(0) == 0;
}

}  // namespace

Result<void> Cgroup::apply(oci::Resources const& resources) {
  TRY(write_limits(resources, Purpose::kCreate));
  return write_devices(resources, Purpose::kCreate);
}

Result<void> Cgroup::update(oci::Resources const& resources) {
  if (resources.memory && resources.memory->check_before_update.value_or(false)) {
    TRY(check_memory_usage(*resources.memory));
  }
  TRY(write_limits(resources, Purpose::kUpdate));
  if (resources.devices.empty()) return {};
  return write_devices(resources, Purpose::kUpdate);
}

Result<void> Cgroup::write_limits(oci::Resources const& resources, Purpose purpose) {
  // Each family goes to its v1 hierarchy where there is one, else to v2, else to v1 to fail there by name.
  CgroupDirectory const* const v2 = v2_directory();
  unsigned const asked = families_of(resources);
  unsigned to_v1 = 0;
  for (FamilyNames const& names : kFamilyNames) {
    bool const v1_only = v2 == nullptr || (names.v2.empty() && !pure_v2());
    if (v1_only || v1_directory(names.v1) != nullptr) to_v1 |= names.family;
  }
  unsigned const to_v2 = asked & ~to_v1;
  to_v1 &= asked;

  std::vector<KnobWrite> const v1_plan = TRY(plan_v1(resources, to_v1));
  TRY(write_plan(v1_plan, [this](KnobWrite const& write) { return v1_directory(write.controller); }));
  if (to_v2 == 0 && resources.unified.empty()) return {};

  if (v2 == nullptr) {
    return Error(Errc::kUnimplemented, "linux.resources.unified[" + resources.unified.begin()->first +
                                           "]: this host has no cgroup v2 hierarchy");
  }
  V2Current current;
  if (purpose == Purpose::kUpdate && needs_cpu_max(resources)) current.cpu_max = v2->read("cpu.max").value_or("");
  if (purpose == Purpose::kUpdate && needs_memory_max(resources))
    current.memory_max = v2->read("memory.max").value_or("");
  std::vector<KnobWrite> v2_plan = TRY(plan_v2(resources, to_v2, current));
  for (KnobWrite& write : TRY(plan_unified(resources))) v2_plan.push_back(std::move(write));
  if (!v2_mount_.empty() && !pure_v2() && to_v2 != 0) enable_controllers(v2_mount_, v2->path(), v2_controllers(to_v2));
  return write_plan(v2_plan, [v2](KnobWrite const&) { return v2; });
}

Result<void> Cgroup::write_devices(oci::Resources const& resources, Purpose purpose) {
  std::vector<DeviceMatch> const rules = TRY(resolve_devices(resources.devices));
  if (CgroupDirectory const* const v1 = v1_directory("devices")) {
    DeviceList const wanted = TRY(device_list(rules));
    std::optional<DeviceList> current;
    if (purpose == Purpose::kUpdate) current = parse_device_list(TRY(v1->read("devices.list")));
    return write_plan(plan_device_list(wanted, current), [v1](KnobWrite const&) { return v1; });
  }
  CgroupDirectory const* const v2 = v2_directory();
  if (v2 == nullptr) {
    if (ignore_permission_ || allows_everything(rules)) return {};
    return Error(Errc::kUnimplemented,
                 "linux.resources.devices: this host has no 'devices' hierarchy and no cgroup v2");
  }
  int const directory = TRY(v2->fd());
  Result<void> attached = attach_device_program(directory, rules);
  if (attached) return {};
  // In a user namespace bpf(2) is refused; there devices are out of reach anyway (mknod(2) fails, nodev mounts).
  int const number = attached.error().error_number();
  if (ignore_permission_ && (number == EPERM || number == EACCES)) return {};
  return std::move(attached).take_error().with_context("linux.resources.devices: " + v2->path());
}

Result<void> Cgroup::check_memory_usage(oci::MemoryResources const& memory) const {
  CgroupDirectory const* directory = v1_directory("memory");
  bool const v1 = directory != nullptr;
  if (!v1) directory = v2_directory();
  if (directory == nullptr) return {};
  auto const usage = [&](char const* file) -> std::int64_t {
    Result<std::string> const text = directory->read(file);
    return text ? parse_i64(trim(*text)).value_or(0) : 0;
  };
  auto const check = [](std::int64_t limit, std::int64_t used, char const* field) -> Result<void> {
    if (limit <= 0 || used <= limit) return {};
    return Error(Errc::kConflict, std::string("linux.resources.memory.") + field + ": " + std::to_string(limit) +
                                      " is less than the " + std::to_string(used) +
                                      " bytes in use (checkBeforeUpdate)");
  };
  std::int64_t const used = usage(v1 ? "memory.usage_in_bytes" : "memory.current");
  TRY(check(memory.limit.value_or(0), used, "limit"));
  if (memory.swap.value_or(0) <= 0) return {};
  return check(*memory.swap, v1 ? usage("memory.memsw.usage_in_bytes") : used + usage("memory.swap.current"), "swap");
}

}  // namespace davit::runtime
