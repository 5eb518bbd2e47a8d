#include "runtime/checkpoint.h"

#include <fmt/format.h>
#include <sched.h>

#include <algorithm>
#include <set>

#include "base/rollback.h"
#include "base/text.h"
#include "runtime/criu_images.h"
#include "runtime/criu_options.h"
#include "runtime/criu_service.h"
#include "sys/file.h"

namespace davit::runtime {

namespace {

// After a failure an image directory holds what it held before, and CRIU's log to look into; one that was made for the
// checkpoint is gone.
class ImageDirectory {
 public:
  static Result<ImageDirectory> open(std::string path) {
    ImageDirectory out(std::move(path));
    if (!sys::exists(out.path_)) {
      // A container's own root (user namespaces) passes through it to images that CRIU gives only their owner.
      TRY_CTX(sys::mkdir_all(out.path_, 0711), "--image-path");
      out.made_ = true;
      return out;
    }
    UniqueFd const fd = TRY_CTX(sys::open(out.path_, O_RDONLY | O_DIRECTORY), "--image-path");
    std::vector<std::string> const names = TRY(sys::list_directory(fd.get()));
    out.before_.insert(names.begin(), names.end());
    return out;
  }

  void clean() const {
    if (made_) {
      (void)sys::remove_tree(path_);
      return;
    }
    auto const fd = sys::open(path_, O_RDONLY | O_DIRECTORY);
    if (!fd) return;
    auto const names = sys::list_directory(fd->get());
    if (!names) return;
    for (std::string const& name : *names) {
      if (!before_.contains(name) && !name.ends_with(".log")) (void)sys::unlink_at(fd->get(), name);
    }
  }

 private:
  explicit ImageDirectory(std::string path) : path_(std::move(path)) {}

  std::string path_;
  bool made_ = false;
  std::set<std::string> before_;
};

Result<CriuMessage> page_server(std::string const& address) {
  std::size_t const colon = address.rfind(':');
  auto const port = colon == std::string::npos ? std::nullopt : parse_u64(address.substr(colon + 1));
  if (!port || *port == 0 || *port > 65535 || colon == 0) {
    return Error(Errc::kInvalidArgument, fmt::format("--page-server: '{}' is not ADDRESS:PORT", address));
  }
  CriuMessage out;
  out.text(1, address.substr(0, colon)).number(2, *port);
  return out;
}

// The group by which CRIU stops all processes at one moment, and looks for them. Without it, it has to stop them one by
// one, and never ends with a container that is paused.
std::string freezer_directory(Cgroup const& cgroup) {
  std::string v1 = cgroup.path_of("freezer");
  return v1.empty() ? cgroup.path_of("") : v1;
}

Result<CriuMessage> dump_options(State const& state, CriuOptions const& given) {
  CriuMessage options = TRY(common_criu_options(given));
  options.number(2, static_cast<std::uint64_t>(state.pid)).flag(3, given.leave_running || given.pre_dump);
  options.text(13, state.rootfs).flag(46, given.tcp_skip_in_flight);
  options.flag(50, true);  // orphan_pts_master: whoever holds the console's master is not in the container
  if (!given.page_server.empty()) {
    CriuMessage const server = TRY(page_server(given.page_server));
    options.message(11, server);
  }
  if (!given.parent_path.empty()) {
    if (given.parent_path.starts_with('/')) {
      return Error(Errc::kInvalidArgument, "--parent-path: must be relative to --image-path");
    }
    if (!sys::exists(given.image_path + "/" + given.parent_path)) {
      return Error(Errc::kNotFound, fmt::format("--parent-path: no {}/{}", given.image_path, given.parent_path));
    }
    options.text(14, given.parent_path);
  }
  options.flag(15, given.pre_dump || !given.parent_path.empty());  // track_mem
  if (given.status_fd >= 0) options.number(49, static_cast<std::uint64_t>(given.status_fd));
  // While processes are written down nothing may arrive for them. iptables is CRIU's default, but not every machine
  // has the program; for nftables CRIU brings a library.
  constexpr std::uint64_t kNftables = 2;
  if (find_program("iptables-restore").empty()) options.number(64, kNftables);
  std::string const freezer = freezer_directory(cgroup_of(state));
  if (!freezer.empty() && sys::exists(freezer)) options.text(44, freezer);
  return options;
}

}  // namespace

Result<void> checkpoint(std::string const& root, std::string const& id, CriuOptions const& given) {
  State const state = TRY(load_state(root, id));
  Status const status = current_status(root, state);
  if (status != Status::kRunning && status != Status::kPaused) {
    return Error(Errc::kConflict, fmt::format("cannot checkpoint a container that is {}", status_name(status)));
  }
  TRY(find_criu());
  CriuOptions options = given;
  TRY(make_absolute(options));
  oci::Spec const spec = TRY(load_config(root, id));
  ExternalParts const parts = TRY(find_external_parts(state, spec));
  CriuJob job;
  job.operation = options.pre_dump ? CriuOperation::kPreDump : CriuOperation::kDump;
  ImageDirectory const images = TRY(ImageDirectory::open(options.image_path));
  Rollback rollback;
  rollback.add([&] { images.clean(); });
  job.options = TRY(dump_options(state, options));
  name_external_parts(parts, job.options);
  TRY_CTX(sys::mkdir_all(options.work_path, 0700), "--work-path");
  job.image_path = options.image_path;
  job.work_path = options.work_path;
  if (options.status_fd >= 0) job.descriptors.push_back(options.status_fd);
  job.notify = [&](CriuNotification& event) -> Result<void> {
    // The last moment at which the container can still go on if this fails.
    if (event.script == "post-dump") return save_external_parts(options.image_path, parts);
    return {};
  };
  TRY(run_criu(job));
  rollback.commit();
  return {};
}

}  // namespace davit::runtime
