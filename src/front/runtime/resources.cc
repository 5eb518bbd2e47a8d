// pause, resume, update, events.
#include <fmt/format.h>
#include <poll.h>

#include <csignal>

#include "base/text.h"
#include "codec/json_writer.h"
#include "front/runtime/commands.h"
#include "front/flags.h"
#include "front/runtime/output.h"
#include "runtime/container.h"
#include "sys/file.h"

namespace davit::front {

namespace {

Result<runtime::State> load_in(Globals const& globals, std::string const& id, std::string_view verb,
                               std::initializer_list<runtime::Status> allowed) {
  runtime::State state = TRY(runtime::load_state(globals.root, id));
  runtime::Status const status = runtime::current_status(globals.root, state);
  for (runtime::Status const each : allowed) {
    if (status == each) return state;
  }
  return Error(Errc::kConflict, fmt::format("cannot {} a container that is {}", verb, runtime::status_name(status)));
}

}  // namespace

CommandResult pause_command(Globals const& globals, Arguments arguments) {
  std::vector<std::string> const rest = TRY(parse_flags({}, arguments));
  std::string const id = TRY(only_id("pause", rest));
  using runtime::Status;
  runtime::State const state = TRY(load_in(globals, id, "pause", {Status::kRunning, Status::kCreated}));
  TRY(runtime::cgroup_of(state).freeze());
  return 0;
}

CommandResult resume_command(Globals const& globals, Arguments arguments) {
  std::vector<std::string> const rest = TRY(parse_flags({}, arguments));
  std::string const id = TRY(only_id("resume", rest));
  runtime::State const state = TRY(load_in(globals, id, "resume", {runtime::Status::kPaused}));
  TRY(runtime::cgroup_of(state).thaw());
  return 0;
}

namespace {

// "64m", "1g", "-1": bytes with a binary suffix.
Result<std::int64_t> parse_bytes(std::string_view text, std::string_view flag) {
  std::int64_t factor = 1;
  std::string_view digits = text;
  if (!digits.empty() && (digits.back() == 'b' || digits.back() == 'B') && digits.size() > 1) digits.remove_suffix(1);
  if (!digits.empty()) {
    switch (digits.back() | 0x20) {
      case 'k':
        factor = 1LL << 10;
        break;
      case 'm':
        factor = 1LL << 20;
        break;
      case 'g':
        factor = 1LL << 30;
        break;
      case 't':
        factor = 1LL << 40;
        break;
      default:
        break;
    }
    if (factor != 1) digits.remove_suffix(1);
  }
  auto const number = parse_i64(digits);
  std::int64_t bytes = 0;
  if (!number || __builtin_mul_overflow(*number, factor, &bytes)) {
    return Error(Errc::kInvalidArgument, fmt::format("--{}: '{}' is not a size such as 64m", flag, text));
  }
  return bytes;
}

struct UpdateFlags {
  std::string file, memory, reservation, swap, kernel, kernel_tcp, cpus, mems, l3_schema, bandwidth_schema;
  std::optional<std::int64_t> blkio_weight, period, quota, burst, shares, rt_period, rt_runtime, pids, idle;
};

std::vector<Flag> update_flags(UpdateFlags& f) {
  return {
      text_flag("resources", 'r', "FILE|-", f.file, "JSON of the specification's linux.resources"),
      signed_flag("blkio-weight", f.blkio_weight, "block I/O weight, 10 to 1000"),
      signed_flag("cpu-period", f.period, "CFS period, microseconds"),
      signed_flag("cpu-quota", f.quota, "CFS quota, microseconds per period"),
      signed_flag("cpu-burst", f.burst, "CFS burst, microseconds"),
      signed_flag("cpu-share", f.shares, "relative weight"),
      signed_flag("cpu-rt-period", f.rt_period, "real-time period, microseconds"),
      signed_flag("cpu-rt-runtime", f.rt_runtime, "real-time runtime, microseconds"),
      text_flag("cpuset-cpus", 0, "LIST", f.cpus, "CPUs, \"0-3,7\""),
      text_flag("cpuset-mems", 0, "LIST", f.mems, "memory nodes"),
      text_flag("kernel-memory", 0, "BYTES", f.kernel, "kernel memory limit"),
      text_flag("kernel-memory-tcp", 0, "BYTES", f.kernel_tcp, "TCP buffer limit"),
      text_flag("memory", 0, "BYTES", f.memory, "memory limit"),
      text_flag("memory-reservation", 0, "BYTES", f.reservation, "soft memory limit"),
      text_flag("memory-swap", 0, "BYTES", f.swap, "memory and swap; -1: no limit"),
      signed_flag("pids-limit", f.pids, "processes; -1: no limit"),
      text_flag("l3-cache-schema", 0, "TEXT", f.l3_schema, "Intel RDT (not supported: says so)"),
      text_flag("mem-bw-schema", 0, "TEXT", f.bandwidth_schema, "Intel RDT (not supported: says so)"),
      signed_flag("cpu-idle", f.idle, "1: SCHED_IDLE for the group"),
  };
}

Result<std::string> read_resources(std::string const& file) {
  if (file == "-") return sys::read_all(0, 1 << 20);
  return sys::read_file(file, 1 << 20);
}

template <typename T>
void copy_number(std::optional<std::int64_t> const& from, std::optional<T>& to) {
  if (from) to = static_cast<T>(*from);
}

Result<void> copy_bytes(std::string const& from, std::string_view flag, std::optional<std::int64_t>& to) {
  if (!from.empty()) to = TRY(parse_bytes(from, flag));
  return {};
}

Result<oci::Resources> resources_from(UpdateFlags const& f) {
  if (!f.l3_schema.empty() || !f.bandwidth_schema.empty()) {
    return Error(Errc::kUnimplemented,
                 "--l3-cache-schema, --mem-bw-schema: Intel RDT is not supported by this runtime");
  }
  if (!f.file.empty()) {
    std::string const text = TRY_CTX(read_resources(f.file), "--resources");
    return TRY_CTX(oci::parse_resources(text), "--resources");
  }
  for (auto const& [value, name] :
       {std::pair{f.period, "cpu-period"}, std::pair{f.burst, "cpu-burst"}, std::pair{f.shares, "cpu-share"},
        std::pair{f.rt_period, "cpu-rt-period"}, std::pair{f.blkio_weight, "blkio-weight"}}) {
    if (value && *value < 0) return Error(Errc::kInvalidArgument, fmt::format("--{}: {} is negative", name, *value));
  }
  oci::Resources out;
  oci::CpuResources& cpu = out.cpu.emplace();
  copy_number(f.period, cpu.period);
  copy_number(f.quota, cpu.quota);
  copy_number(f.burst, cpu.burst);
  copy_number(f.shares, cpu.shares);
  copy_number(f.rt_period, cpu.realtime_period);
  copy_number(f.rt_runtime, cpu.realtime_runtime);
  copy_number(f.idle, cpu.idle);
  if (!f.cpus.empty()) cpu.cpus = f.cpus;
  if (!f.mems.empty()) cpu.mems = f.mems;
  oci::MemoryResources& memory = out.memory.emplace();
  TRY(copy_bytes(f.memory, "memory", memory.limit));
  TRY(copy_bytes(f.reservation, "memory-reservation", memory.reservation));
  TRY(copy_bytes(f.swap, "memory-swap", memory.swap));
  TRY(copy_bytes(f.kernel, "kernel-memory", memory.kernel));
  TRY(copy_bytes(f.kernel_tcp, "kernel-memory-tcp", memory.kernel_tcp));
  copy_number(f.pids, out.pids_limit);
  if (f.blkio_weight) copy_number(f.blkio_weight, out.block_io.emplace().weight);
  return out;
}

}  // namespace

CommandResult update_command(Globals const& globals, Arguments arguments) {
  UpdateFlags f;
  std::vector<std::string> const rest = TRY(parse_flags(update_flags(f), arguments));
  std::string const id = TRY(only_id("update", rest));
  oci::Resources const resources = TRY(resources_from(f));
  using runtime::Status;
  runtime::State const state =
      TRY(load_in(globals, id, "update", {Status::kRunning, Status::kCreated, Status::kPaused}));
  TRY(runtime::cgroup_of(state).update(resources));
  return 0;
}

namespace {

void write_io(json::Writer& out, std::string_view name, std::vector<runtime::CgroupStats::Io> const& rows) {
  if (rows.empty()) return;
  out.key(name).begin_array();
  for (auto const& row : rows) {
    out.begin_object().field("major", row.major).field("minor", row.minor);
    out.field("op", row.operation).field("value", row.value).end_object();
  }
  out.end_array();
}

void write_usage(json::Writer& out, std::string_view name, std::uint64_t limit, std::uint64_t usage, std::uint64_t max,
                 std::uint64_t failures) {
  out.key(name).begin_object().field("limit", limit).field("usage", usage).field("max", max);
  out.field("failcnt", failures).end_object();
}

// The shape that runc prints and its callers parse.
std::string stats_json(std::string const& id, runtime::CgroupStats const& stats) {
  json::Writer out;
  out.begin_object().field("type", "stats").field("id", id).key("data").begin_object();
  out.key("cpu").begin_object().key("usage").begin_object().field("total", stats.cpu_total);
  if (!stats.cpu_per_core.empty()) out.field("percpu", stats.cpu_per_core);
  out.field("kernel", stats.cpu_system).field("user", stats.cpu_user).end_object();
  out.key("throttling").begin_object().field("periods", stats.throttle_periods);
  out.field("throttledPeriods", stats.throttled_periods)
      .field("throttledTime", stats.throttled_nanos)
      .end_object()
      .end_object();
  out.key("memory").begin_object();
  auto const cache = stats.memory_stat.find("cache");
  out.field("cache", cache == stats.memory_stat.end() ? std::uint64_t{0} : cache->second);
  write_usage(out, "usage", stats.memory_limit, stats.memory_usage, stats.memory_max_usage, stats.memory_fail_count);
  write_usage(out, "swap", stats.swap_limit, stats.swap_usage, 0, 0);
  write_usage(out, "kernel", stats.kernel_limit, stats.kernel_usage, 0, 0);
  out.key("raw").begin_object();
  for (auto const& [name, value] : stats.memory_stat) out.field(name, value);
  out.end_object().end_object();
  out.key("pids").begin_object().field("current", stats.pids_current).field("limit", stats.pids_limit).end_object();
  out.key("blkio").begin_object();
  write_io(out, "ioServiceBytesRecursive", stats.io_bytes);
  write_io(out, "ioServicedRecursive", stats.io_operations);
  out.end_object().key("hugetlb").begin_object();
  for (auto const& [size, usage] : stats.hugetlb) {
    out.key(size)
        .begin_object()
        .field("usage", usage.usage)
        .field("max", usage.max_usage)
        .field("failcnt", usage.fail_count);
    out.end_object();
  }
  out.end_object().key("intel_rdt").begin_object().end_object().key("network_interfaces").null();
  out.end_object().end_object();
  return out.take() + "\n";
}

// "5s", "500ms", "1m30s" as Go prints durations.
Result<int> parse_interval_ms(std::string_view text) {
  std::int64_t total = 0;
  std::string_view rest = text;
  while (!rest.empty()) {
    std::size_t const digits = rest.find_first_not_of("0123456789");
    if (digits == 0 || digits == std::string_view::npos) break;
    auto const number = parse_i64(rest.substr(0, digits));
    rest.remove_prefix(digits);
    std::int64_t const unit = rest.starts_with("ms")  ? 1
                              : rest.starts_with("s") ? 1000
                              : rest.starts_with("m") ? 60'000
                              : rest.starts_with("h") ? 3'600'000
                                                      : 0;
    if (!number || unit == 0 || *number > 1'000'000) break;
    total += *number * unit;
    rest.remove_prefix(unit == 1 ? 2 : 1);
  }
  if (!rest.empty() || total <= 0) {
    return Error(Errc::kInvalidArgument, fmt::format("--interval: '{}' is not a duration such as 5s", text));
  }
  return static_cast<int>(std::min<std::int64_t>(total, 86'400'000));
}

}  // namespace

CommandResult events_command(Globals const& globals, Arguments arguments) {
  std::string interval = "5s";
  bool once = false;
  std::vector<Flag> const flags{text_flag("interval", 0, "DURATION", interval, "time between statistics"),
                                switch_flag("stats", 0, once, "print statistics once and end")};
  std::vector<std::string> const rest = TRY(parse_flags(flags, arguments));
  std::string const id = TRY(only_id("events", rest));
  int const interval_ms = TRY(parse_interval_ms(interval));
  using runtime::Status;
  runtime::State const state =
      TRY(load_in(globals, id, "watch", {Status::kRunning, Status::kCreated, Status::kPaused}));
  runtime::Cgroup const cgroup = runtime::cgroup_of(state);
  if (once) {
    runtime::CgroupStats const stats = TRY(cgroup.stats());
    TRY(print(stats_json(id, stats)));
    return 0;
  }
  // Out-of-memory kills are looked for several times per interval; statistics are printed once in each.
  constexpr int kLooks = 10;
  std::uint64_t kills = cgroup.oom_kill_count().value_or(0);
  for (int look = 1; runtime::current_status(globals.root, state) != Status::kStopped; ++look) {
    (void)::poll(nullptr, 0, std::max(1, interval_ms / kLooks));
    std::uint64_t const kills_now = cgroup.oom_kill_count().value_or(kills);
    for (; kills < kills_now; ++kills) {
      json::Writer event;
      event.begin_object().field("type", "oom").field("id", id).end_object();
      TRY(print(event.take() + "\n"));
    }
    if (look % kLooks != 0) continue;
    auto const stats = cgroup.stats();
    if (stats.ok()) TRY(print(stats_json(id, *stats)));
  }
  return 0;
}

}  // namespace davit::front
