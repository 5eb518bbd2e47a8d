#include "runtime/capabilities.h"

#include <fmt/format.h>

#include <array>

#include "base/text.h"
#include "sys/file.h"

namespace davit::runtime {

namespace {

// The index is the number. Not from <linux/capability.h>, whose list is as old as the build machine.
constexpr std::array<std::string_view, 41> kNames{
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
};

}  // namespace

std::optional<unsigned> capability_number(std::string_view name) {
  for (unsigned i = 0; i < kNames.size(); ++i) {
    if (kNames[i] == name) return i;
  }
  return std::nullopt;
}

std::string_view capability_name(unsigned number) {
  return number < kNames.size() ? kNames[number] : std::string_view{};
}

std::vector<std::string_view> capability_names() { return {kNames.begin(), kNames.end()}; }

Result<CapabilityMask> parse_capabilities(std::vector<std::string> const& names, std::string_view field) {
  CapabilityMask mask = 0;
  for (std::size_t i = 0; i < names.size(); ++i) {
    auto const number = capability_number(names[i]);
    if (!number) {
      auto const near = nearest(names[i], capability_names());
      return Error(Errc::kInvalidArgument,
                   fmt::format("{}[{}]: unknown capability \"{}\"{}", field, i, names[i],
                               near ? fmt::format(", did you mean \"{}\"?", *near) : std::string()));
    }
    mask |= CapabilityMask{1} << *number;
  }
  return mask;
}

Result<CapabilityMask> kernel_capabilities(std::string const& path) {
  std::string const text = TRY_CTX(sys::read_file(path, 64), "find the kernel's last capability");
  auto const last = parse_u64(trim(text));
  if (!last || *last > 63) return Error(Errc::kInternal, fmt::format("{}: \"{}\" is no capability", path, trim(text)));
  return *last == 63 ? ~CapabilityMask{0} : (CapabilityMask{1} << (*last + 1)) - 1;
}

std::vector<std::string> default_capabilities() {
  return {"CAP_CHOWN",   "CAP_DAC_OVERRIDE", "CAP_FSETID",           "CAP_FOWNER",
          "CAP_MKNOD",   "CAP_NET_RAW",      "CAP_SETGID",           "CAP_SETUID",
          "CAP_SETFCAP", "CAP_SETPCAP",      "CAP_NET_BIND_SERVICE", "CAP_SYS_CHROOT",
          "CAP_KILL",    "CAP_AUDIT_WRITE"};
}

}  // namespace davit::runtime
