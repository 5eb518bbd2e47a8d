// The "linux" object: config-linux.md, except "resources" (runtime_resources.cc).
#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "oci/runtime_read.h"

namespace davit::oci {

using json::Field;

Result<void> read(Field const& field, IdMapping& mapping) {
  TRY(field.expect_object());
  Field const size = field["size"];
  TRY(size.expect_present());
  TRY(read(field["containerID"], mapping.container_id));
  TRY(read(field["hostID"], mapping.host_id));
  TRY(read(size, mapping.size));
  if (mapping.size == 0) return size.error("expected a number from 1 to 4294967295, found 0");
  // The kernel refuses ranges that pass the last id, 2^32 - 2, with an EINVAL that names nothing.
  std::uint32_t const room =
      std::numeric_limits<std::uint32_t>::max() - std::max(mapping.container_id, mapping.host_id);
  if (mapping.size > room) return size.error(fmt::format("{} ids from there pass the largest id", mapping.size));
  return {};
}

static Result<void> read(Field const& field, Namespace& space) {
  TRY(field.expect_object());
  Field const type = field["type"];
  Field const path = field["path"];
  TRY(type.expect_present());
  TRY(read(type, space.type));
  TRY(read(path, space.path));
  TRY(check_one_of(type, space.type, {"pid", "network", "mount", "ipc", "uts", "user", "cgroup", "time"}));
  return check_absolute(path, space.path);
}

static Result<void> read(Field const& field, Device& device) {
  TRY(field.expect_object());
  Field const path = field["path"];
  Field const type = field["type"];
  TRY(read(path, device.path));
  TRY(read(type, device.type));
  TRY(read(field["major"], device.major));
  TRY(read(field["minor"], device.minor));
  TRY(read(field["fileMode"], device.file_mode));
  TRY(read(field["uid"], device.uid));
  TRY(read(field["gid"], device.gid));
  if (device.path.empty()) return path.error("required, but missing");
  TRY(check_absolute(path, device.path));
  TRY(type.expect_present());
  TRY(check_one_of(type, device.type, {"c", "b", "u", "p"}));
  if (device.type == "p") return {};
  if (device.major < 0) return field["major"].error(fmt::format("expected at least 0, found {}", device.major));
  if (device.minor < 0) return field["minor"].error(fmt::format("expected at least 0, found {}", device.minor));
  return {};
}

static Result<void> read(Field const& field, SeccompArg& arg) {
  TRY(field.expect_object());
  Field const op = field["op"];
  TRY(op.expect_present());
  TRY(read(field["index"], arg.index));
  TRY(read(field["value"], arg.value));
  TRY(read(field["valueTwo"], arg.value_two));
  TRY(read(op, arg.op));
  if (arg.index > 5) return field["index"].error(fmt::format("expected a number from 0 to 5, found {}", arg.index));
  return {};
}

static Result<void> read(Field const& field, SeccompSyscall& rule) {
  TRY(field.expect_object());
  Field const names = field["names"];
  Field const action = field["action"];
  TRY(read(names, rule.names));
  TRY(read(action, rule.action));
  TRY(read(field["errnoRet"], rule.errno_ret));
  TRY(read(field["args"], rule.args));
  if (rule.names.empty()) return names.error("required, but missing or empty");
  return action.expect_present();
}

static Result<void> read(Field const& field, Seccomp& seccomp) {
  TRY(field.expect_object());
  TRY(field["defaultAction"].expect_present());
  TRY(read(field["defaultAction"], seccomp.default_action));
  TRY(read(field["defaultErrnoRet"], seccomp.default_errno_ret));
  TRY(read(field["architectures"], seccomp.architectures));
  TRY(read(field["flags"], seccomp.flags));
  seccomp.flags_given = field["flags"].present();
  TRY(read(field["listenerPath"], seccomp.listener_path));
  TRY(read(field["listenerMetadata"], seccomp.listener_metadata));
  TRY(read(field["syscalls"], seccomp.syscalls));
  return {};
}

static Result<void> read(Field const& field, IntelRdt& rdt) {
  TRY(field.expect_object());
  TRY(read(field["closID"], rdt.clos_id));
  TRY(read(field["l3CacheSchema"], rdt.l3_cache_schema));
  TRY(read(field["memBwSchema"], rdt.mem_bw_schema));
  TRY(read(field["enableCMT"], rdt.enable_cmt));
  TRY(read(field["enableMBM"], rdt.enable_mbm));
  return {};
}

static Result<void> read(Field const& field, TimeOffset& offset) {
  TRY(field.expect_object());
  TRY(read(field["secs"], offset.secs));
  TRY(read(field["nanosecs"], offset.nanosecs));
  if (offset.nanosecs > 999'999'999) {
    return field["nanosecs"].error(fmt::format("expected at most 999999999, found {}", offset.nanosecs));
  }
  return {};
}

static Result<void> check_namespaces(Field const& field, std::vector<Namespace> const& namespaces) {
  for (std::size_t i = 0; i < namespaces.size(); ++i) {
    auto const same = [&](Namespace const& other) { return other.type == namespaces[i].type; };
    auto const end = namespaces.begin() + static_cast<std::ptrdiff_t>(i);
    if (std::find_if(namespaces.begin(), end, same) == end) continue;
    Field const space = field.element(i);
    return space["type"].error(fmt::format("\"{}\" is given twice", namespaces[i].type));
  }
  return {};
}

static Result<void> read_personality(Field const& field, Linux& out) {
  TRY(field.expect_object());
  if (!field.present()) return {};
  Field const domain = field["domain"];
  TRY(domain.expect_present());
  TRY(read(domain, out.personality_domain));
  TRY(read(field["flags"], out.personality_flags));
  return check_one_of(domain, out.personality_domain, {"LINUX", "LINUX32"});
}

static Result<void> read_time_offsets(Field const& field, Linux& out) {
  TRY(read(field, out.time_offsets));
  for (auto const& [clock, offset] : out.time_offsets) {
    TRY(check_one_of(field, clock, {"monotonic", "boottime"}));
  }
  return {};
}

Result<void> read(Field const& field, Linux& out) {
  TRY(field.expect_object());
  Field const namespaces = field["namespaces"];
  Field const propagation = field["rootfsPropagation"];
  TRY(read(field["uidMappings"], out.uid_mappings));
  TRY(read(field["gidMappings"], out.gid_mappings));
  TRY(read(field["sysctl"], out.sysctl));
  TRY(read(field["resources"], out.resources));
  TRY(read(field["cgroupsPath"], out.cgroups_path));
  TRY(read(namespaces, out.namespaces));
  TRY(check_namespaces(namespaces, out.namespaces));
  TRY(read(field["devices"], out.devices));
  TRY(read(field["seccomp"], out.seccomp));
  TRY(read(propagation, out.rootfs_propagation));
  TRY(check_one_of(propagation, out.rootfs_propagation,
                   {"", "private", "rprivate", "slave", "rslave", "shared", "rshared", "unbindable", "runbindable"}));
  TRY(read(field["maskedPaths"], out.masked_paths));
  TRY(read(field["readonlyPaths"], out.readonly_paths));
  TRY(read(field["mountLabel"], out.mount_label));
  TRY(read(field["intelRdt"], out.intel_rdt));
  TRY(read_personality(field["personality"], out));
  return read_time_offsets(field["timeOffsets"], out);
}

}  // namespace davit::oci
