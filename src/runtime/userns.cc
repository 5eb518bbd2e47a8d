#include "runtime/userns.h"

#include <fmt/core.h>
#include <unistd.h>

#include <csignal>

#include "sys/file.h"
#include "sys/process.h"
#include "sys/raw.h"

namespace davit::runtime {

namespace {
std::string map_text(std::vector<oci::IdMapping> const& mappings) {
  std::string text;
  for (auto const& m : mappings) text += fmt::format("{} {} {}\n", m.container_id, m.host_id, m.size);
  return text;
}
}  // namespace

Result<void> write_id_maps(pid_t pid, std::vector<oci::IdMapping> const& uids,
                           std::vector<oci::IdMapping> const& gids) {
  UniqueFd const process = TRY(sys::open(fmt::format("/proc/{}", pid), O_PATH | O_DIRECTORY));
  if (!uids.empty()) {
    TRY_CTX(sys::write_knob(process.get(), "uid_map", map_text(uids)), "linux.uidMappings");
  }
  if (gids.empty()) return {};
  // Without CAP_SETGID above the new namespace, gid_map may only be written once setgroups(2) is forbidden in it.
  if (::geteuid() != 0) TRY(sys::write_knob(process.get(), "setgroups", "deny"));
  TRY_CTX(sys::write_knob(process.get(), "gid_map", map_text(gids)), "linux.gidMappings");
  return {};
}

Result<UniqueFd> make_user_namespace(std::vector<oci::IdMapping> const& uids, std::vector<oci::IdMapping> const& gids) {
  sys::abi::CloneArgs args{};
  args.flags = sys::abi::kNewUser;
  args.exit_signal = SIGCHLD;
  sys::Cloned child = TRY(sys::clone3(args));
  if (child.pid == 0) {
    (void)sys::raw::prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
    for (;;) ::pause();  // only here so that the namespace has a process whose maps can be written
  }
  Result<void> const mapped = write_id_maps(child.pid, uids, gids);
  auto fd = sys::open(fmt::format("/proc/{}/ns/user", child.pid), O_RDONLY);
  (void)sys::pidfd_send_signal(child.pidfd.get(), SIGKILL);
  (void)sys::wait_for(child.pid);
  if (!mapped) return Error(mapped.error().code(), mapped.error().to_string(), mapped.error().error_number());
  return fd;
}

}  // namespace davit::runtime
