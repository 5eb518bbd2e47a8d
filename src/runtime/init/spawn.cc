#include "runtime/init/spawn.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <utility>

#include "base/text.h"
#include "sys/file.h"
#include "sys/process.h"
#include "sys/raw.h"
#include "sys/unix_socket.h"

namespace davit::runtime {

namespace abi = sys::abi;
namespace raw = sys::raw;

namespace {

abi::CloneArgs clone_arguments(std::uint64_t namespaces, Parent parent, UniqueFd const& cgroup) {
  abi::CloneArgs args{};
  args.flags = namespaces;
  if (parent == Parent::kCallerParent) {
    args.flags |= CLONE_PARENT;  // the exit signal is then the caller's own: clone3(2)
  } else {
    args.exit_signal = SIGCHLD;
  }
  if (cgroup.valid()) {
    args.flags |= abi::kCloneIntoCgroup;
    args.cgroup = static_cast<std::uint64_t>(cgroup.get());
  }
  return args;
}

// A time namespace takes its offsets while it has no process, so it is made for the children of this process, filled,
// and left again once the child is there. time_namespaces(7).
class TimeNamespace {
 public:
  static Result<TimeNamespace> enter(InitPlan& plan, std::map<std::string, oci::TimeOffset> const& offsets) {
    TimeNamespace out;
    if ((plan.new_namespaces & abi::kNewTime) == 0) return out;
    plan.new_namespaces &= ~abi::kNewTime;
    out.own_ = TRY(sys::open("/proc/self/ns/time", O_RDONLY));
    long const unshared = raw::unshare(abi::kNewTime);
    if (unshared < 0) return Error::from_errno(static_cast<int>(-unshared), "new time namespace");
    for (auto const& [clock, offset] : offsets) {
      std::string const line = fmt::format("{} {} {}\n", clock, offset.secs, offset.nanosecs);
      TRY_CTX(sys::write_knob(AT_FDCWD, "/proc/self/timens_offsets", line), "linux.timeOffsets." + clock);
    }
    return out;
  }
  TimeNamespace(TimeNamespace&&) = default;
  ~TimeNamespace() {
    if (own_.valid()) (void)raw::setns(own_.get(), static_cast<int>(abi::kNewTime));
  }

 private:
  TimeNamespace() = default;
  UniqueFd own_;
};

// The child inherits the score, so it is set here for the time of the clone; writing it in the child would go through a
// procfs that is the container's by then.
class OomScore {
 public:
  static Result<OomScore> enter(std::optional<int> score) {
    OomScore out;
    if (!score) return out;
    std::string const now = TRY(sys::read_file(kFile, 64));
    auto const old = parse_i64(trim(now));
    if (!old || *old == *score) return out;
    TRY_CTX(sys::write_knob(AT_FDCWD, kFile, std::to_string(*score)), "process.oomScoreAdj");
    out.old_ = static_cast<int>(*old);
    return out;
  }
  OomScore(OomScore&& other) noexcept : old_(std::exchange(other.old_, std::nullopt)) {}
  ~OomScore() {
    if (old_) (void)sys::write_knob(AT_FDCWD, kFile, std::to_string(*old_));
  }

 private:
  OomScore() = default;
  static constexpr char const* kFile = "/proc/self/oom_score_adj";
  std::optional<int> old_;
};

// Processes of a pid namespace that is joined must not look into the one that enters it while it still holds
// descriptors of the host (CVE-2016-9962): from before the clone until execve makes it dumpable again.
class NotDumpable {
 public:
  NotDumpable() { (void)raw::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0); }
  ~NotDumpable() { (void)raw::prctl(PR_SET_DUMPABLE, 1, 0, 0, 0); }
  NotDumpable(NotDumpable const&) = delete;
  NotDumpable& operator=(NotDumpable const&) = delete;
};

// The caller in the container's mount namespace for the time of a clone: a process that entered the pid namespace with
// the host's tree as its working directory would show it there (/proc/PID/cwd, CVE-2024-21626).
class InsideMounts {
 public:
  static Result<InsideMounts> enter(int pidfd) {
    InsideMounts out;
    // By name: a descriptor of a host directory would be the clone's, too.
    out.directory_ = TRY(sys::current_directory());
    out.own_ = TRY(sys::open("/proc/self/ns/mnt", O_RDONLY));
    TRY(sys::setns(pidfd, abi::kNewNs));
    return out;
  }
  InsideMounts(InsideMounts&&) = default;
  ~InsideMounts() {
    if (!own_.valid()) return;
    DAVIT_CHECK(raw::setns(own_.get(), static_cast<int>(abi::kNewNs)) == 0);
    (void)raw::chdir(directory_.c_str());
  }

 private:
  InsideMounts() = default;
  UniqueFd own_;
  std::string directory_;
};

struct HelperReport {
  std::int32_t error = 0;
  std::int32_t index = -1;  // of plan.joins; -1: clone
  std::int32_t pid = 0;
};

// Joining other namespaces before the container's user namespace exists, or a pid namespace (which only children
// enter), takes a process between; the container's first process is its sibling (CLONE_PARENT), not its child.
[[noreturn]] void helper_main(InitPlan const& plan, int out) {
  HelperReport report;
  for (bool const user : {false, true}) {
    std::int32_t index = 0;
    for (JoinNamespace const& join : plan.joins) {
      if ((join.flag == abi::kNewUser) == user && report.error == 0) {
        long const joined = raw::setns(join.fd.get(), static_cast<int>(join.flag));
        if (joined < 0) report = {static_cast<std::int32_t>(-joined), index, 0};
      }
      ++index;
    }
  }
  if (report.error == 0) {
    abi::CloneArgs const args = clone_arguments(plan.new_namespaces, Parent::kCallerParent, plan.cgroup_v2);
    long const pid = raw::clone3(args);
    if (pid == 0) {
      raw::close(out);
      init_main(plan);
    }
    if (pid < 0) {
      report.error = static_cast<std::int32_t>(-pid);
    } else {
      report.pid = static_cast<std::int32_t>(pid);
    }
  }
  (void)raw::write(out, &report, sizeof report);
  raw::exit_now(0);
}

Result<pid_t> spawn_by_helper(InitPlan const& plan, Parent parent) {
  sys::SocketPair pair = TRY(sys::socket_pair(SOCK_SEQPACKET));
  sys::Cloned helper = TRY(sys::clone3(clone_arguments(0, parent, {})));
  if (helper.pid == 0) {
    pair.first.reset();
    helper_main(plan, pair.second.get());
  }
  pair.second.reset();
  HelperReport report;
  long const size = raw::read(pair.first.get(), &report, sizeof report);
  if (parent == Parent::kCaller) (void)sys::wait_for(helper.pid);
  if (size != sizeof report) return Error(Errc::kInternal, "the process that joins namespaces died");
  if (report.error == 0) return static_cast<pid_t>(report.pid);
  if (report.index < 0) return Error::from_errno(report.error, "clone the container's first process");
  JoinNamespace const& join = plan.joins[static_cast<std::size_t>(report.index)];
  return Error::from_errno(report.error,
                           fmt::format("linux.namespaces: join the {} namespace {}", join.type, join.path));
}

}  // namespace

namespace {
// The child must not hold what it has no use for: a directory of the host in it is a way out for whoever can look into
// it.
std::vector<int> needed_fds(InitPlan const& plan) {
  std::vector<int> fds{0, 1, 2, plan.sync, plan.start_socket, plan.console_socket, plan.rootfs_tree.get()};
  for (int const fd : plan.process.stdio) fds.push_back(fd);
  for (unsigned i = 0; i < plan.process.preserve_fds; ++i) fds.push_back(static_cast<int>(3 + i));
  for (UniqueFd const& file : plan.cgroup_files) fds.push_back(file.get());
  for (JoinNamespace const& join : plan.joins) fds.push_back(join.fd.get());
  for (MountPlan const& mount : plan.mounts) fds.push_back(mount.tree.get());
  for (DevicePlan const& device : plan.devices) fds.push_back(device.tree.get());
  std::erase_if(fds, [](int fd) { return fd < 0; });
  std::ranges::sort(fds);
  return fds;
}
}  // namespace

Result<Spawned> spawn_init(InitPlan& plan, Parent parent, std::map<std::string, oci::TimeOffset> const& time_offsets) {
  sys::SocketPair pair = TRY(sys::socket_pair(SOCK_SEQPACKET));
  plan.sync = pair.second.get();
  plan.needed_fds = needed_fds(plan);
  TimeNamespace const time = TRY(TimeNamespace::enter(plan, time_offsets));
  OomScore const score = TRY(OomScore::enter(plan.process.oom_score_adj));
  std::optional<NotDumpable> hidden;
  if (!plan.joins.empty()) hidden.emplace();
  if (plan.join_in_helper) {
    pid_t const pid = TRY(spawn_by_helper(plan, parent));
    auto pidfd = sys::pidfd_open(pid);
    // ESRCH: it has ended and its parent, a monitor, has reaped it. Its report says why.
    if (!pidfd && pidfd.error().error_number() != ESRCH) return std::move(pidfd).take_error();
    return Spawned{pid, pidfd ? std::move(*pidfd) : UniqueFd(), std::move(pair.first)};
  }
  sys::Cloned child = TRY_CTX(sys::clone3(clone_arguments(plan.new_namespaces, parent, plan.cgroup_v2)),
                              "create the container's namespaces");
  if (child.pid == 0) {
    pair.first.reset();
    init_main(plan);
  }
  return Spawned{child.pid, std::move(child.pidfd), std::move(pair.first)};
}

Result<Spawned> spawn_exec(ExecPlan& plan, Parent parent, PidNamespace pid_namespace) {
  sys::SocketPair pair = TRY(sys::socket_pair(SOCK_SEQPACKET));
  plan.sync = pair.second.get();
  OomScore const score = TRY(OomScore::enter(plan.process.oom_score_adj));
  NotDumpable const hidden;
  if (pid_namespace == PidNamespace::kContainers) {
    TRY_CTX(sys::setns(plan.pidfd, abi::kNewPid), "join the container's pid namespace");
  }
  std::optional<InsideMounts> inside;
  if ((plan.namespaces & abi::kNewNs) != 0) {
    InsideMounts entered = TRY_CTX(InsideMounts::enter(plan.pidfd), "join the container's mount namespace");
    inside.emplace(std::move(entered));
    plan.namespaces &= ~abi::kNewNs;
  }
  sys::Cloned child = TRY_CTX(sys::clone3(clone_arguments(0, parent, plan.cgroup_v2)), "clone the exec process");
  if (child.pid == 0) {
    pair.first.reset();
    exec_main(plan);
  }
  return Spawned{child.pid, std::move(child.pidfd), std::move(pair.first)};
}

Result<void> send_trees(InitPlan const& plan, int pidfd, int sync) {
  if (!plan.trees_from_parent) return {};
  std::vector<UniqueFd> trees;
  {
    InsideMounts const inside = TRY_CTX(InsideMounts::enter(pidfd), "enter the container's mount namespace");
    trees.push_back(TRY_CTX(make_tree(plan.rootfs_origin), "root.path: " + plan.rootfs));
    for (MountPlan const& mount : plan.mounts) {
      if (mount.tree.valid()) trees.push_back(TRY_CTX(make_tree(mount.origin), "mount " + mount.source));
    }
    for (DevicePlan const& device : plan.devices) {
      if (device.tree.valid()) trees.push_back(TRY_CTX(make_tree(device.origin), "bind " + device.origin.source));
    }
  }
  for (UniqueFd const& tree : trees) {
    std::array<int, 1> const fds{tree.get()};
    TRY_CTX(sys::send_fds(sync, "t", fds), "send the mounts to the container's process");
  }
  return {};
}

Result<std::optional<Report>> next_report(int sync) {
  Report report;
  long const size = raw::read(sync, &report, sizeof report);
  if (size == 0) return std::optional<Report>();
  if (size < 0) return Error::from_errno(static_cast<int>(-size), "read the report of the container's process");
  if (size != sizeof report) return Error(Errc::kInternal, "malformed report of the container's first process");
  return std::optional<Report>(report);
}

}  // namespace davit::runtime
