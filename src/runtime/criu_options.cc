#include "runtime/criu_options.h"

#include <fmt/format.h>
#include <sched.h>
#include <unistd.h>

#include <array>

#include "sys/file.h"

namespace davit::runtime {

namespace {

// rpc.proto's criu_cg_mode
Result<std::uint64_t> cgroups_mode(std::string_view name) {
  struct Mode {
    std::string_view name;
    std::uint64_t number;
  };
  constexpr std::array<Mode, 5> kModes{{{"", 3}, {"soft", 3}, {"full", 4}, {"strict", 5}, {"ignore", 0}}};
  for (Mode const& mode : kModes) {
    if (mode.name == name) return mode.number;
  }
  return Error(Errc::kInvalidArgument,
               fmt::format("--manage-cgroups-mode: '{}' is not soft, full, strict or ignore", name));
}

}  // namespace

Result<CriuMessage> common_criu_options(CriuOptions const& given) {
  if (::geteuid() != 0) return Error(Errc::kPermissionDenied, "checkpoint and restore need root: CRIU does");
  std::uint64_t const mode = TRY(cgroups_mode(given.manage_cgroups_mode));
  CriuMessage options;
  options.flag(4, given.external_unix_sockets).flag(5, given.tcp_established).flag(7, given.shell_job);
  options.flag(8, given.file_locks).flag(16, given.auto_dedup).flag(18, given.link_remap).flag(48, given.lazy_pages);
  options.flag(24, mode != 0).number(34, mode);
  if (given.empty_network) options.number(38, CLONE_NEWNET);
  if (!given.lsm_profile.empty()) options.text(53, given.lsm_profile);
  if (!given.lsm_mount_context.empty()) options.text(63, given.lsm_mount_context);
  return options;
}

Result<void> make_absolute(CriuOptions& options) {
  std::string const here = TRY(sys::current_directory());
  for (std::string* const path : {&options.image_path, &options.work_path}) {
    if (!path->empty() && !path->starts_with('/')) *path = here + "/" + *path;
  }
  if (options.image_path.empty()) options.image_path = here + "/checkpoint";  // as runc's
  options.image_path = sys::clean_path(options.image_path);
  options.work_path = options.work_path.empty() ? options.image_path : sys::clean_path(options.work_path);
  return {};
}

}  // namespace davit::runtime
