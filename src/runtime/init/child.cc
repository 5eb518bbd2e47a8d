// The container's first process (init_main) and one that joins it (exec_main), from clone to become_program.
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include <cstring>

#include "runtime/init/child.h"
#include "sys/raw.h"

namespace davit::runtime {

namespace raw = sys::raw;
namespace abi = sys::abi;

namespace {

void wait_for_parent(InitPlan const& plan) {
  char go = 0;
  // The parent has gone or given up: it cleans up, there is nobody to report to.
  if (raw::read(plan.sync, &go, 1) != 1) raw::exit_now(1);
}

void become_root(Reporter const& reporter) {
  reporter.need(raw::setresgid(0), Stage::kUserIds);
  reporter.need(raw::setresuid(0), Stage::kUserIds);
}

void join_namespaces(InitPlan const& plan, Reporter const& reporter) {
  // user last: the others may belong to the host's user namespace, where only the host's root may join them
  for (bool const user : {false, true}) {
    int index = 0;
    for (JoinNamespace const& join : plan.joins) {
      if ((join.flag == abi::kNewUser) == user) {
        reporter.need(raw::setns(join.fd.get(), static_cast<int>(join.flag)), Stage::kJoinNamespace, index);
      }
      ++index;
    }
  }
}

void bring_loopback_up(Reporter const& reporter) {
  long const fd = reporter.need(raw::call(SYS_socket, AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), Stage::kLoopback);
  ifreq request{};
  std::memcpy(request.ifr_name, "lo", 3);
  request.ifr_flags = IFF_UP | IFF_RUNNING;
  reporter.need(raw::ioctl(static_cast<int>(fd), SIOCSIFFLAGS, &request), Stage::kLoopback);
  raw::close(static_cast<int>(fd));
}

// Attaches the root's tree and returns its descriptor. With hooks it must be found at its path, as hooks look there;
// else
// "/" serves, which needs no permission along the way (a user namespace may have none).
int attach_root(InitPlan const& plan, Reporter const& reporter) {
  reporter.need(raw::mount(nullptr, "/", nullptr, plan.root_propagation, nullptr), Stage::kRootPropagation);
  int const root = plan.rootfs_tree.get();
  reporter.need(raw::move_mount(root, "", AT_FDCWD, plan.root_at_path ? plan.rootfs.c_str() : "/",
                                abi::kMoveMountFromEmptyPath | abi::kMoveMountToSymlinks),
                Stage::kRootfs);
  return root;
}

void enter_root(InitPlan const& plan, int root, Reporter const& reporter) {
  reporter.need(raw::fchdir(root), Stage::kPivot);
  if (plan.no_pivot) {
    // The host's stay in this mount namespace below the moved root; a full procfs or sysfs among them would let the
    // container mount one of its own without our masks (mount_namespaces(7), "mount_too_revealing").
    for (std::string const& path : plan.host_kernel_mounts) {
      if (raw::umount2(path.c_str(), MNT_DETACH) < 0) {
        reporter.need(raw::mount("tmpfs", path.c_str(), "tmpfs", MS_RDONLY, "nr_blocks=1,nr_inodes=1"), Stage::kPivot);
      }
    }
    reporter.need(raw::mount(".", "/", nullptr, MS_MOVE, nullptr), Stage::kPivot);
    reporter.need(raw::chroot("."), Stage::kPivot);
  } else {
    // The new root covers the old one at the same place and the old one is then detached from under it:
    // pivot_root(2), "pivot_root(".", ".")".
    reporter.need(raw::pivot_root(".", "."), Stage::kPivot);
    reporter.need(raw::umount2(".", MNT_DETACH), Stage::kPivot);
  }
  reporter.need(raw::chdir("/"), Stage::kPivot);
  if (plan.container_root_propagation) {
    reporter.need(raw::mount(nullptr, "/", nullptr, *plan.container_root_propagation, nullptr),
                  Stage::kRootPropagation);
  }
}

void write_sysctls(InitPlan const& plan, Reporter const& reporter) {
  if (plan.sysctls.empty()) return;
  long const proc = reporter.need(private_procfs(), Stage::kProcHandle);
  int index = 0;
  for (SysctlPlan const& sysctl : plan.sysctls) {
    long const fd = raw::openat2(static_cast<int>(proc), sysctl.file.c_str(), O_WRONLY,
                                 abi::kResolveBeneath | abi::kResolveNoSymlinks | abi::kResolveNoXdev);
    reporter.need(fd, Stage::kSysctl, index);
    reporter.need(raw::write(static_cast<int>(fd), sysctl.value.data(), sysctl.value.size()), Stage::kSysctl, index);
    raw::close(static_cast<int>(fd));
    ++index;
  }
  raw::close(static_cast<int>(proc));
}

// One descriptor per message, in the order of send_trees; each takes the place of the one that the plan names, which
// was made in the host's mount namespace.
void receive_tree(InitPlan const& plan, int place, Reporter const& reporter) {
  char data = 0;
  iovec vector{&data, 1};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  msghdr message{};
  message.msg_iov = &vector;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  if (reporter.need(raw::call(SYS_recvmsg, plan.sync, &message, MSG_CMSG_CLOEXEC), Stage::kSync) != 1) raw::exit_now(1);
  cmsghdr const* const header = CMSG_FIRSTHDR(&message);
  if (header == nullptr || header->cmsg_type != SCM_RIGHTS) reporter.fail(Stage::kSync, EPROTO);
  int received = -1;
  std::memcpy(&received, CMSG_DATA(header), sizeof received);
  reporter.need(raw::call(SYS_dup3, received, place, O_CLOEXEC), Stage::kSync);
  raw::close(received);
}

void receive_trees(InitPlan const& plan, Reporter const& reporter) {
  receive_tree(plan, plan.rootfs_tree.get(), reporter);
  for (MountPlan const& mount : plan.mounts) {
    if (mount.tree.valid()) receive_tree(plan, mount.tree.get(), reporter);
  }
  for (DevicePlan const& device : plan.devices) {
    if (device.tree.valid()) receive_tree(plan, device.tree.get(), reporter);
  }
}

void build_root(InitPlan const& plan, Reporter const& reporter) {
  if (plan.trees_from_parent) receive_trees(plan, reporter);
  int const root = attach_root(plan, reporter);
  make_mounts(plan, root, reporter);
  make_devices(plan, root, reporter);
  if (plan.process.terminal) {
    set_up_terminal(plan.process, root, plan.setup_dev ? Console::kBind : Console::kNone, plan.console_socket,
                    reporter);
  }
  if (plan.hooks_before_pivot) {
    Report const mounted{Stage::kSync, 0, 0};
    reporter.need(raw::write(plan.sync, &mounted, sizeof mounted), Stage::kSync);
    wait_for_parent(plan);
  }
  run_child_hooks(plan.create_container_hooks, plan.create_container_state, Stage::kHook, reporter);
  long const cwd = open_in_root(root, plan.process.cwd.c_str(), Create::kDirectory);
  reporter.need(cwd, Stage::kCwd);
  raw::close(static_cast<int>(cwd));
  finish_mounts(plan, root, reporter);
  enter_root(plan, root, reporter);
}

// No mount namespace of its own: nothing is mounted, only the root changes.
void change_root(InitPlan const& plan, Reporter const& reporter) {
  if (plan.process.terminal) {
    long const root = reporter.need(raw::openat(AT_FDCWD, plan.rootfs.c_str(), O_PATH | O_DIRECTORY), Stage::kRootfs);
    set_up_terminal(plan.process, static_cast<int>(root), Console::kNone, plan.console_socket, reporter);
    raw::close(static_cast<int>(root));
  }
  reporter.need(raw::chdir(plan.rootfs.c_str()), Stage::kRootfs);
  reporter.need(raw::chroot("."), Stage::kPivot);
  reporter.need(raw::chdir("/"), Stage::kPivot);
}

}  // namespace

long private_procfs() {
  long const fs = raw::fsopen("proc");
  if (fs < 0) return fs;
  long result = raw::fsconfig(static_cast<int>(fs), abi::kFsconfigCmdCreate, nullptr, nullptr, 0);
  if (result >= 0) {
    result = raw::fsmount(static_cast<int>(fs), abi::kMountAttrNosuid | abi::kMountAttrNodev | abi::kMountAttrNoexec);
  }
  raw::close(static_cast<int>(fs));
  return result;
}

void join_cgroups(std::vector<UniqueFd> const& files, Reporter const& reporter) {
  int index = 0;
  for (UniqueFd const& file : files) reporter.need(raw::write(file.get(), "0", 1), Stage::kJoinCgroup, index++);
}

void init_main(InitPlan const& plan) {
  Reporter reporter(plan.sync);
  reporter.need(close_all_but(plan.needed_fds.data(), plan.needed_fds.size()), Stage::kCloseRange);
  reset_signals();
  ::umask(0);
  if (plan.wait_for_parent) wait_for_parent(plan);
  join_cgroups(plan.cgroup_files, reporter);
  if (plan.new_user_namespace || plan.joined_user_namespace) become_root(reporter);
  reporter.need(raw::setsid(), Stage::kSetsid);
  if (!plan.join_in_helper) join_namespaces(plan, reporter);
  if (plan.new_cgroup_namespace) reporter.need(raw::unshare(abi::kNewCgroup), Stage::kNewCgroupNamespace);
  if (plan.loopback_up) bring_loopback_up(reporter);
  if (!plan.hostname.empty()) {
    reporter.need(raw::call(SYS_sethostname, plan.hostname.c_str(), plan.hostname.size()), Stage::kHostname);
  }
  if (!plan.domainname.empty()) {
    reporter.need(raw::call(SYS_setdomainname, plan.domainname.c_str(), plan.domainname.size()), Stage::kDomainname);
  }
  apply_scheduling(plan.process, reporter);
  if (plan.new_mount_namespace) {
    build_root(plan, reporter);
  } else {
    change_root(plan, reporter);
  }
  write_sysctls(plan, reporter);
  StartGate gate(&plan, plan.sync);
  become_program(plan.process, gate, reporter);
}

void exec_main(ExecPlan const& plan) {
  Reporter reporter(plan.sync);
  reset_signals();
  ::umask(0);
  apply_affinity(plan.process, reporter);
  join_cgroups(plan.cgroup_files, reporter);
  reporter.need(raw::setsid(), Stage::kSetsid);
  apply_scheduling(plan.process, reporter);
  if (plan.namespaces != 0) {
    reporter.need(raw::setns(plan.pidfd, static_cast<int>(plan.namespaces)), Stage::kJoinNamespace);
  }
  if (plan.user_namespace) {
    reporter.need(raw::setns(plan.pidfd, static_cast<int>(abi::kNewUser)), Stage::kJoinNamespace);
    become_root(reporter);
  }
  if (plan.root.valid()) {
    reporter.need(raw::fchdir(plan.root.get()), Stage::kRootfs);
    reporter.need(raw::chroot("."), Stage::kRootfs);
  }
  reporter.need(raw::chdir("/"), Stage::kRootfs);
  if (plan.process.terminal) {
    long const root = reporter.need(raw::openat(AT_FDCWD, "/", O_PATH | O_DIRECTORY), Stage::kConsole);
    set_up_terminal(plan.process, static_cast<int>(root), Console::kNone, plan.console_socket, reporter);
    raw::close(static_cast<int>(root));
  }
  StartGate gate(nullptr, plan.sync);
  become_program(plan.process, gate, reporter);
}

}  // namespace davit::runtime
