// "linux.resources": config-linux.md, "Control groups". Read here and printed again for `update` and state.
#include <fmt/format.h>

#include "codec/json_writer.h"
#include "oci/runtime_read.h"

namespace davit::oci {

using json::Field;
using json::Writer;

static Result<void> read(Field const& field, DeviceRule& rule) {
  TRY(field.expect_object());
  TRY(read(field["allow"], rule.allow));
  TRY(read(field["type"], rule.type));
  TRY(read(field["major"], rule.major));
  TRY(read(field["minor"], rule.minor));
  TRY(read(field["access"], rule.access));
  TRY(check_one_of(field["type"], rule.type, {"", "a", "b", "c"}));
  if (rule.access.find_first_not_of("rwm") != std::string::npos) {
    return field["access"].error(fmt::format("expected letters of \"rwm\", found \"{}\"", rule.access));
  }
  // Go callers write -1 for "any".
  if (rule.major == -1) rule.major.reset();
  if (rule.minor == -1) rule.minor.reset();
  if (rule.major && *rule.major < 0)
    return field["major"].error(fmt::format("expected at least -1, found {}", *rule.major));
  if (rule.minor && *rule.minor < 0)
    return field["minor"].error(fmt::format("expected at least -1, found {}", *rule.minor));
  return {};
}

static Result<void> read(Field const& field, MemoryResources& memory) {
  TRY(field.expect_object());
  TRY(read(field["limit"], memory.limit));
  TRY(read(field["reservation"], memory.reservation));
  TRY(read(field["swap"], memory.swap));
  TRY(read(field["kernel"], memory.kernel));
  TRY(read(field["kernelTCP"], memory.kernel_tcp));
  TRY(read(field["swappiness"], memory.swappiness));
  TRY(read(field["disableOOMKiller"], memory.disable_oom_killer));
  TRY(read(field["useHierarchy"], memory.use_hierarchy));
  TRY(read(field["checkBeforeUpdate"], memory.check_before_update));
  return {};
}

static Result<void> read(Field const& field, CpuResources& cpu) {
  TRY(field.expect_object());
  TRY(read(field["shares"], cpu.shares));
  TRY(read(field["quota"], cpu.quota));
  TRY(read(field["burst"], cpu.burst));
  TRY(read(field["period"], cpu.period));
  TRY(read(field["realtimeRuntime"], cpu.realtime_runtime));
  TRY(read(field["realtimePeriod"], cpu.realtime_period));
  TRY(read(field["idle"], cpu.idle));
  TRY(read(field["cpus"], cpu.cpus));
  TRY(read(field["mems"], cpu.mems));
  // Empty means unset to Go callers.
  if (cpu.cpus && cpu.cpus->empty()) cpu.cpus.reset();
  if (cpu.mems && cpu.mems->empty()) cpu.mems.reset();
  return {};
}

static Result<void> read(Field const& field, WeightDevice& device) {
  TRY(field.expect_object());
  TRY(read(field["major"], device.major));
  TRY(read(field["minor"], device.minor));
  TRY(read(field["weight"], device.weight));
  TRY(read(field["leafWeight"], device.leaf_weight));
  return {};
}

static Result<void> read(Field const& field, ThrottleDevice& device) {
  TRY(field.expect_object());
  TRY(read(field["major"], device.major));
  TRY(read(field["minor"], device.minor));
  TRY(read(field["rate"], device.rate));
  return {};
}

static Result<void> read(Field const& field, BlockIoResources& block) {
  TRY(field.expect_object());
  TRY(read(field["weight"], block.weight));
  TRY(read(field["leafWeight"], block.leaf_weight));
  TRY(read(field["weightDevice"], block.weight_device));
  TRY(read(field["throttleReadBpsDevice"], block.throttle_read_bps));
  TRY(read(field["throttleWriteBpsDevice"], block.throttle_write_bps));
  TRY(read(field["throttleReadIOPSDevice"], block.throttle_read_iops));
  TRY(read(field["throttleWriteIOPSDevice"], block.throttle_write_iops));
  return {};
}

static Result<void> read(Field const& field, HugepageLimit& limit) {
  TRY(field.expect_object());
  Field const size = field["pageSize"];
  TRY(size.expect_present());
  TRY(read(size, limit.page_size));
  TRY(read(field["limit"], limit.limit));
  // The size becomes part of a file name ("hugetlb.2MB.limit_in_bytes").
  std::size_t const digits = limit.page_size.find_first_not_of("0123456789");
  std::string_view const unit = std::string_view(limit.page_size).substr(std::min(digits, limit.page_size.size()));
  if (digits == 0 || (unit != "KB" && unit != "MB" && unit != "GB")) {
    return size.error(fmt::format("expected a size like 64KB, 2MB or 1GB, found \"{}\"", limit.page_size));
  }
  return {};
}

static Result<void> read(Field const& field, InterfacePriority& priority) {
  TRY(field.expect_object());
  Field const name = field["name"];
  TRY(read(name, priority.name));
  TRY(read(field["priority"], priority.priority));
  if (priority.name.empty()) return name.error("required, but missing");
  return {};
}

static Result<void> read(Field const& field, NetworkResources& network) {
  TRY(field.expect_object());
  TRY(read(field["classID"], network.class_id));
  TRY(read(field["priorities"], network.priorities));
  return {};
}

static Result<void> read(Field const& field, RdmaLimit& limit) {
  TRY(field.expect_object());
  TRY(read(field["hcaHandles"], limit.hca_handles));
  TRY(read(field["hcaObjects"], limit.hca_objects));
  return {};
}

// The keys are file names in the container's cgroup directory: never a path out of it.
static Result<void> check_unified(Field const& field, std::map<std::string, std::string> const& unified) {
  for (auto const& [name, value] : unified) {
    if (name.find('/') != std::string::npos || name.find('.') == std::string::npos || name.front() == '.') {
      return field[name].error("expected a file of a cgroup, like \"memory.high\"");
    }
  }
  return {};
}

Result<void> read(Field const& field, Resources& resources) {
  TRY(field.expect_object());
  Field const pids = field["pids"];
  TRY(pids.expect_object());
  TRY(read(field["devices"], resources.devices));
  TRY(read(field["memory"], resources.memory));
  TRY(read(field["cpu"], resources.cpu));
  TRY(read(pids["limit"], resources.pids_limit));
  TRY(read(field["blockIO"], resources.block_io));
  TRY(read(field["hugepageLimits"], resources.hugepage_limits));
  TRY(read(field["network"], resources.network));
  TRY(read(field["rdma"], resources.rdma));
  TRY(read(field["unified"], resources.unified));
  return check_unified(field["unified"], resources.unified);
}

template <typename T>
static void put(Writer& out, std::string_view name, std::optional<T> const& value) {
  if (value) out.field(name, *value);
}

static void print(Writer& out, DeviceRule const& rule) {
  out.begin_object().field("allow", rule.allow);
  if (!rule.type.empty()) out.field("type", rule.type);
  put(out, "major", rule.major);
  put(out, "minor", rule.minor);
  if (!rule.access.empty()) out.field("access", rule.access);
  out.end_object();
}

static void print(Writer& out, MemoryResources const& memory) {
  out.begin_object();
  put(out, "limit", memory.limit);
  put(out, "reservation", memory.reservation);
  put(out, "swap", memory.swap);
  put(out, "kernel", memory.kernel);
  put(out, "kernelTCP", memory.kernel_tcp);
  put(out, "swappiness", memory.swappiness);
  put(out, "disableOOMKiller", memory.disable_oom_killer);
  put(out, "useHierarchy", memory.use_hierarchy);
  put(out, "checkBeforeUpdate", memory.check_before_update);
  out.end_object();
}

static void print(Writer& out, CpuResources const& cpu) {
  out.begin_object();
  put(out, "shares", cpu.shares);
  put(out, "quota", cpu.quota);
  put(out, "burst", cpu.burst);
  put(out, "period", cpu.period);
  put(out, "realtimeRuntime", cpu.realtime_runtime);
  put(out, "realtimePeriod", cpu.realtime_period);
  put(out, "cpus", cpu.cpus);
  put(out, "mems", cpu.mems);
  put(out, "idle", cpu.idle);
  out.end_object();
}

static void print(Writer& out, WeightDevice const& device) {
  out.begin_object().field("major", device.major).field("minor", device.minor);
  put(out, "weight", device.weight);
  put(out, "leafWeight", device.leaf_weight);
  out.end_object();
}

static void print(Writer& out, ThrottleDevice const& device) {
  out.begin_object().field("major", device.major).field("minor", device.minor).field("rate", device.rate).end_object();
}

static void print(Writer& out, HugepageLimit const& limit) {
  out.begin_object().field("pageSize", limit.page_size).field("limit", limit.limit).end_object();
}

static void print(Writer& out, InterfacePriority const& priority) {
  out.begin_object().field("name", priority.name).field("priority", priority.priority).end_object();
}

static void print(Writer& out, RdmaLimit const& limit) {
  out.begin_object();
  put(out, "hcaHandles", limit.hca_handles);
  put(out, "hcaObjects", limit.hca_objects);
  out.end_object();
}

template <typename T>
static void print_list(Writer& out, std::string_view name, std::vector<T> const& items) {
  if (items.empty()) return;
  out.key(name).begin_array();
  for (T const& item : items) print(out, item);
  out.end_array();
}

static void print(Writer& out, BlockIoResources const& block) {
  out.begin_object();
  put(out, "weight", block.weight);
  put(out, "leafWeight", block.leaf_weight);
  print_list(out, "weightDevice", block.weight_device);
  print_list(out, "throttleReadBpsDevice", block.throttle_read_bps);
  print_list(out, "throttleWriteBpsDevice", block.throttle_write_bps);
  print_list(out, "throttleReadIOPSDevice", block.throttle_read_iops);
  print_list(out, "throttleWriteIOPSDevice", block.throttle_write_iops);
  out.end_object();
}

static void print(Writer& out, NetworkResources const& network) {
  out.begin_object();
  put(out, "classID", network.class_id);
  print_list(out, "priorities", network.priorities);
  out.end_object();
}

static void print_maps(Writer& out, Resources const& resources) {
  if (!resources.rdma.empty()) {
    out.key("rdma").begin_object();
    for (auto const& [name, limit] : resources.rdma) print(out.key(name), limit);
    out.end_object();
  }
  if (!resources.unified.empty()) {
    out.key("unified").begin_object();
    for (auto const& [name, value] : resources.unified) out.field(name, value);
    out.end_object();
  }
}

std::string print_resources(Resources const& resources) {
  Writer out;
  out.begin_object();
  print_list(out, "devices", resources.devices);
  if (resources.memory) print(out.key("memory"), *resources.memory);
  if (resources.cpu) print(out.key("cpu"), *resources.cpu);
  if (resources.pids_limit) out.key("pids").begin_object().field("limit", *resources.pids_limit).end_object();
  if (resources.block_io) print(out.key("blockIO"), *resources.block_io);
  print_list(out, "hugepageLimits", resources.hugepage_limits);
  if (resources.network) print(out.key("network"), *resources.network);
  print_maps(out, resources);
  out.end_object();
  return out.take();
}

}  // namespace davit::oci
