// The config.json of the `spec` command. The same content as runc's, which people edit and tests start from.
#include <unistd.h>

#include "codec/json_writer.h"
#include "oci/runtime_spec.h"

namespace davit::oci {

using json::Writer;

namespace {

void write_process(Writer& out) {
  Strings const capabilities{"CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"};
  out.key("process").begin_object().field("terminal", true);
  out.key("user").begin_object().field("uid", 0).field("gid", 0).end_object();
  out.field("args", Strings{"sh"});
  out.field("env", Strings{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm"});
  out.field("cwd", "/");
  out.key("capabilities").begin_object();
  out.field("bounding", capabilities).field("effective", capabilities).field("permitted", capabilities).end_object();
  out.key("rlimits").begin_array().begin_object();
  out.field("type", "RLIMIT_NOFILE").field("hard", 1024).field("soft", 1024).end_object().end_array();
  out.field("noNewPrivileges", true).end_object();
}

void write_mount(Writer& out, std::string_view destination, std::string_view type, std::string_view source,
                 Strings const& options) {
  out.begin_object().field("destination", destination).field("type", type).field("source", source);
  if (!options.empty()) out.field("options", options);
  out.end_object();
}

void write_mounts(Writer& out, bool rootless) {
  out.key("mounts").begin_array();
  write_mount(out, "/proc", "proc", "proc", {});
  write_mount(out, "/dev", "tmpfs", "tmpfs", {"nosuid", "strictatime", "mode=755", "size=65536k"});
  Strings terminals{"nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"};
  // Group 5 (tty) is not mapped in a rootless container.
  if (!rootless) terminals.push_back("gid=5");
  write_mount(out, "/dev/pts", "devpts", "devpts", terminals);
  write_mount(out, "/dev/shm", "tmpfs", "shm", {"nosuid", "noexec", "nodev", "mode=1777", "size=65536k"});
  write_mount(out, "/dev/mqueue", "mqueue", "mqueue", {"nosuid", "noexec", "nodev"});
  // A sysfs can be mounted only by the owner of the network namespace, which a rootless container keeps from the host.
  if (rootless) {
    write_mount(out, "/sys", "none", "/sys", {"rbind", "nosuid", "noexec", "nodev", "ro"});
  } else {
    write_mount(out, "/sys", "sysfs", "sysfs", {"nosuid", "noexec", "nodev", "ro"});
  }
  write_mount(out, "/sys/fs/cgroup", "cgroup", "cgroup", {"nosuid", "noexec", "nodev", "relatime", "ro"});
  out.end_array();
}

void write_id_mapping(Writer& out, std::string_view name, unsigned host_id) {
  out.key(name).begin_array().begin_object();
  out.field("containerID", 0).field("hostID", host_id).field("size", 1).end_object().end_array();
}

void write_linux(Writer& out, bool rootless) {
  out.key("linux").begin_object();
  if (rootless) {
    write_id_mapping(out, "uidMappings", ::geteuid());
    write_id_mapping(out, "gidMappings", ::getegid());
  } else {
    out.key("resources").begin_object().key("devices").begin_array().begin_object();
    out.field("allow", false).field("access", "rwm").end_object().end_array().end_object();
  }
  Strings namespaces{"pid", "ipc", "uts", "mount"};
  namespaces.insert(rootless ? namespaces.end() : namespaces.begin() + 1, rootless ? "user" : "network");
  out.key("namespaces").begin_array();
  for (std::string const& type : namespaces) out.begin_object().field("type", type).end_object();
  out.end_array();
  out.field("maskedPaths",
            Strings{"/proc/acpi", "/proc/asound", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
                    "/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug", "/sys/firmware", "/proc/scsi"});
  out.field("readonlyPaths", Strings{"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"});
  out.end_object();
}

}  // namespace

std::string default_spec_json(bool rootless) {
  Writer out("\t");
  out.begin_object().field("ociVersion", "1.2.1");
  write_process(out);
  out.key("root").begin_object().field("path", "rootfs").field("readonly", true).end_object();
  out.field("hostname", "davit");
  write_mounts(out, rootless);
  write_linux(out, rootless);
  out.end_object();
  return out.take();
}

}  // namespace davit::oci
