// From "the file tree is right" to execve: scheduling, limits, stdio, identity, filters (STYLE R15).
#include <linux/capability.h>
#include <linux/seccomp.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/sysmacros.h>

#include <cstring>

#include "runtime/init/child.h"
#include "sys/raw.h"

namespace davit::runtime {

namespace raw = sys::raw;
namespace abi = sys::abi;

namespace {

// sched_setattr(2)
struct SchedAttr {
  std::uint32_t size, policy;
  std::uint64_t flags;
  std::int32_t nice;
  std::uint32_t priority;
  std::uint64_t runtime, deadline, period;
};

void join_keyring(ProcessPlan const& process, Reporter const& reporter) {
  if (!process.new_keyring) return;
  constexpr int kJoinSession = 1;  // KEYCTL_JOIN_SESSION_KEYRING, keyctl(2)
  long const joined = raw::call(SYS_keyctl, kJoinSession, process.keyring_name.c_str());
  if (joined == -ENOSYS) return;  // a kernel without keyrings has none to share
  reporter.need(joined, Stage::kKeyring);
}

void write_label(ProcessPlan const& process, Reporter const& reporter) {
  if (process.label_file.empty()) return;
  long const proc = reporter.need(private_procfs(), Stage::kProcHandle);
  long const fd =
      reporter.need(raw::openat(static_cast<int>(proc), process.label_file.c_str(), O_WRONLY), Stage::kLabel);
  reporter.need(raw::write(static_cast<int>(fd), process.label.data(), process.label.size()), Stage::kLabel);
  raw::close(static_cast<int>(fd));
  raw::close(static_cast<int>(proc));
}

void place_stdio(ProcessPlan const& process, Reporter const& reporter) {
  if (process.terminal) return;
  int from[3];
  for (int fd = 0; fd < 3; ++fd) {
    from[fd] = process.stdio[static_cast<std::size_t>(fd)];
    // out of the way of the numbers that are about to be replaced
    if (from[fd] != fd && from[fd] < 3) {
      from[fd] = static_cast<int>(reporter.need(raw::fcntl(from[fd], F_DUPFD_CLOEXEC, 3), Stage::kStdio));
    }
  }
  for (int fd = 0; fd < 3; ++fd) {
    if (from[fd] != fd) reporter.need(raw::dup3(from[fd], fd, 0), Stage::kStdio);
  }
}

// The user may reopen /dev/stdout and friends: the files become theirs. What cannot be given away is left.
void give_stdio(ProcessPlan const& process) {
  for (int fd = 0; fd < 3; ++fd) {
    struct stat info {};
    if (raw::fstat(fd, &info) < 0 || info.st_uid == process.uid) continue;
    if (S_ISCHR(info.st_mode) && info.st_rdev == makedev(1, 3)) continue;  // /dev/null is everybody's
    (void)raw::fchown(fd, process.uid, static_cast<gid_t>(-1));
  }
}

// chdir, and proof that it stayed inside: a descriptor of the host in "/proc/self/fd/7" would not (CVE-2024-21626), and
// getcwd(2) then answers with a path that does not begin with "/".
long enter_directory(char const* path) {
  long const entered = raw::chdir(path);
  if (entered < 0) return entered;
  char where[4096];
  long const length = raw::call(SYS_getcwd, where, sizeof where);
  if (length < 0) return length;
  return where[0] == '/' ? 0 : -EXDEV;
}

void need_directory(long result, Reporter const& reporter) {
  if (result == -EXDEV || result == -ENOENT)
    reporter.fail(result == -EXDEV ? Stage::kCwdOutside : Stage::kCwd, -result);
  reporter.need(result, Stage::kCwd);
}

// Finds the line of uid in text (passwd(5): name:x:uid:gid:gecos:home:shell) and copies "HOME=" + home.
bool home_from_passwd(char const* text, std::size_t size, unsigned uid, char* out, std::size_t out_size) {
  std::size_t at = 0;
  while (at < size) {
    std::size_t end = at;
    while (end < size && text[end] != '\n') ++end;
    char const* field[7] = {text + at};
    int fields = 1;
    for (std::size_t i = at; i < end && fields < 7; ++i) {
      if (text[i] == ':') field[fields++] = text + i + 1;
    }
    if (fields == 7) {
      unsigned long value = 0;
      bool number = field[3] - field[2] > 1;
      for (char const* digit = field[2]; digit < field[3] - 1; ++digit) {
        number = number && *digit >= '0' && *digit <= '9';
        value = value * 10 + static_cast<unsigned long>(*digit - '0');
      }
      auto const length = static_cast<std::size_t>(field[6] - 1 - field[5]);
      if (number && value == uid && length > 0 && length + 6 < out_size) {
        std::memcpy(out, "HOME=", 5);
        std::memcpy(out + 5, field[5], length);
        out[5 + length] = '\0';
        return true;
      }
    }
    at = end + 1;
  }
  return false;
}

constexpr std::size_t kPasswdLimit = 256 * 1024;

// HOME for a program whose environment lacks it, as runc sets it: from the container's own /etc/passwd, else "/".
char const* find_home(unsigned uid, char* out, std::size_t out_size) {
  static char text[kPasswdLimit];  // one child, one use; too large for the stack's comfort
  std::memcpy(out, "HOME=/", 7);
  long const fd = raw::openat(AT_FDCWD, "/etc/passwd", O_RDONLY | O_NONBLOCK);
  if (fd < 0) return out;
  std::size_t size = 0;
  while (size < sizeof text) {
    long const count = raw::read(static_cast<int>(fd), text + size, sizeof text - size);
    if (count <= 0) break;
    size += static_cast<std::size_t>(count);
  }
  raw::close(static_cast<int>(fd));
  (void)home_from_passwd(text, size, uid, out, out_size);
  return out;
}

constexpr int kAtEaccess = 0x200;  // check with the effective ids: faccessat(2)

long executable(char const* path) {
  struct stat info {};
  if (::stat(path, &info) < 0) return -errno;
  if (S_ISDIR(info.st_mode)) return -EISDIR;
  long const allowed = raw::call(SYS_faccessat2, AT_FDCWD, path, X_OK, kAtEaccess);
  return allowed == -ENOSYS ? raw::call(SYS_faccessat, AT_FDCWD, path, X_OK) : allowed;
}

// The program's path: as it is with a slash, else the first executable along PATH (execvp(3)).
void find_program(ProcessPlan const& process, PathBuffer& out, Reporter const& reporter) {
  char const* const name = process.args.data()[0];
  out.size = 0;
  out.text[0] = '\0';
  if (std::strchr(name, '/') != nullptr || *name == '\0') {
    if (!out.append(name, std::strlen(name))) reporter.fail(Stage::kFindProgram, ENAMETOOLONG);
    reporter.need(*name == '\0' ? -ENOENT : executable(name), Stage::kFindProgram);
    return;
  }
  long denied = 0;
  char const* at = process.search_path.c_str();
  for (;;) {
    std::size_t const length = std::strcspn(at, ":");
    out.size = 0;
    bool const fits = (length == 0 ? out.append(".", 1) : out.append(at, length)) && out.append("/", 1) &&
                      out.append(name, std::strlen(name));
    if (fits) {
      long const found = executable(out.c_str());
      if (found == 0) return;
      if (found == -EACCES) denied = found;
    }
    if (at[length] == '\0') break;
    at += length + 1;
  }
  // ESRCH is no answer of a file system: the parent reads it as "not in PATH".
  reporter.fail(Stage::kFindProgram, denied != 0 ? EACCES : ESRCH);
}

struct CapabilityWords {
  __user_cap_data_struct low, high;
};

long set_capabilities(std::uint64_t effective, std::uint64_t permitted, std::uint64_t inheritable) {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  auto const low = [](std::uint64_t set) { return static_cast<std::uint32_t>(set); };
  auto const high = [](std::uint64_t set) { return static_cast<std::uint32_t>(set >> 32); };
  CapabilityWords const words{{low(effective), low(permitted), low(inheritable)},
                              {high(effective), high(permitted), high(inheritable)}};
  return raw::call(SYS_capset, &header, &words);
}

std::uint64_t permitted_now() {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  CapabilityWords words{};
  if (raw::call(SYS_capget, &header, &words) < 0) return 0;
  return words.low.permitted | static_cast<std::uint64_t>(words.high.permitted) << 32;
}

void drop_bounding(ProcessPlan const& process, Reporter const& reporter) {
  for (int capability = 0; capability <= process.last_capability; ++capability) {
    if ((process.capabilities.bounding >> capability & 1) != 0) continue;
    long const dropped = raw::prctl(PR_CAPBSET_DROP, capability, 0, 0, 0);
    if (dropped < 0 && dropped != -EINVAL) reporter.fail(Stage::kBounding, -dropped, capability);
  }
}

void change_identity(ProcessPlan const& process, Reporter const& reporter) {
  // Capabilities outlive the change of uid until set_capabilities: the filter may still need one of them.
  reporter.need(raw::prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0), Stage::kUid);
  if (process.set_groups) {
    long const set = raw::setgroups(process.groups.size(), process.groups.data());
    // A user namespace may forbid it for good ("deny" in /proc/PID/setgroups); then there is nothing to drop either
    // that its processes did not have already.
    if (!(set == -EPERM && process.groups.empty() && process.in_user_namespace)) reporter.need(set, Stage::kGroups);
  }
  reporter.need(raw::setresgid(process.gid), Stage::kGid);
  reporter.need(raw::setresuid(process.uid), Stage::kUid);
}

void final_capabilities(ProcessPlan const& process, Reporter const& reporter) {
  CapabilityPlan const& sets = process.capabilities;
  // What this process does not have itself it cannot pass on; the kernel refuses the whole call otherwise.
  std::uint64_t const have = permitted_now();
  std::uint64_t const permitted = sets.permitted & have;
  reporter.need(set_capabilities(sets.effective & permitted, permitted, sets.inheritable & (have | sets.bounding)),
                Stage::kCapabilities);
  (void)raw::prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
  for (int capability = 0; capability <= process.last_capability; ++capability) {
    if ((sets.ambient >> capability & 1) == 0) continue;
    // EPERM: it is not both permitted and inheritable. runc warns and goes on; ambient sets have always been so taken.
    (void)raw::prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, capability, 0, 0);
  }
}

// Loads the filter. With a listener the parent takes the descriptor out of this process (pidfd_getfd(2)) while it waits
// in read(2): nothing is written after the filter is in force, since the filter may hold writes for the listener.
void load_filter(ProcessPlan const& process, int sync, Reporter const& reporter) {
  if (!process.has_seccomp) return;
  sock_fprog program{};
  program.len = static_cast<unsigned short>(process.seccomp.program.size());
  program.filter = const_cast<sock_filter*>(process.seccomp.program.data());
  if (!process.seccomp.notify) {
    reporter.need(raw::call(SYS_seccomp, SECCOMP_SET_MODE_FILTER, process.seccomp.flags, &program), Stage::kSeccomp);
    return;
  }
  // The listener gets the lowest free number; so does this probe.
  long const number = reporter.need(raw::fcntl(0, F_DUPFD_CLOEXEC, 3), Stage::kSeccomp);
  raw::close(static_cast<int>(number));
  Report const announce{Stage::kSeccomp, 0, static_cast<std::int32_t>(number)};
  reporter.need(raw::write(sync, &announce, sizeof announce), Stage::kSeccomp);
  reporter.need(raw::call(SYS_seccomp, SECCOMP_SET_MODE_FILTER, process.seccomp.flags, &program), Stage::kSeccomp);
  char taken = 0;
  // Without a supervisor to ask, the program must not run.
  if (raw::read(sync, &taken, 1) != 1) raw::exit_now(1);
  raw::close(static_cast<int>(number));
}

void drop_privileges(ProcessPlan const& process, Reporter const& reporter) {
  if (process.no_new_privileges) {
    reporter.need(raw::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), Stage::kNoNewPrivileges);
  }
  final_capabilities(process, reporter);
}

void filter_and_capabilities(ProcessPlan const& process, int sync, Reporter const& reporter) {
  if (process.no_new_privileges) {
    drop_privileges(process, reporter);
    load_filter(process, sync, reporter);
    return;
  }
  if (process.has_seccomp) {
    // A filter without no_new_privs needs CAP_SYS_ADMIN, which a change of uid took out of the effective set.
    std::uint64_t const have = permitted_now();
    reporter.need(set_capabilities(have, have, 0), Stage::kCapabilities);
    load_filter(process, sync, reporter);
  }
  final_capabilities(process, reporter);
}

}  // namespace

void reset_signals() {
  struct KernelAction {  // sigaction(2) as the kernel takes it
    void (*handler)(int) = SIG_DFL;
    unsigned long flags = 0;
    void (*restorer)() = nullptr;
    std::uint64_t mask = 0;
  } const action;
  constexpr int kSignals = 64;
  for (int signal = 1; signal <= kSignals; ++signal) {
    // SIGKILL and SIGSTOP refuse, as they should
    (void)raw::call(SYS_rt_sigaction, signal, &action, nullptr, sizeof action.mask);
  }
  std::uint64_t const none = 0;
  (void)raw::call(SYS_rt_sigprocmask, SIG_SETMASK, &none, nullptr, sizeof none);
}

void apply_scheduling(ProcessPlan const& process, Reporter const& reporter) {
  join_keyring(process, reporter);
  if (process.personality) {
    reporter.need(raw::call(SYS_personality, *process.personality), Stage::kPersonality);
  }
  if (process.scheduler) {
    SchedAttr const attributes{sizeof(SchedAttr),
                               static_cast<std::uint32_t>(process.scheduler_policy),
                               process.scheduler_flags,
                               process.scheduler->nice,
                               static_cast<std::uint32_t>(process.scheduler->priority),
                               process.scheduler->runtime,
                               process.scheduler->deadline,
                               process.scheduler->period};
    reporter.need(raw::call(SYS_sched_setattr, 0, &attributes, 0), Stage::kScheduler);
  }
  if (process.io_priority) {
    constexpr int kWhoProcess = 1;  // IOPRIO_WHO_PROCESS, ioprio_set(2)
    reporter.need(raw::call(SYS_ioprio_set, kWhoProcess, 0, *process.io_priority), Stage::kIoPriority);
  }
}

void apply_affinity(ProcessPlan const& process, Reporter const& reporter) {
  if (!process.affinity) return;
  reporter.need(raw::call(SYS_sched_setaffinity, 0, sizeof(cpu_set_t), &*process.affinity), Stage::kAffinity);
}

long close_all_but(int const* sorted, std::size_t count) {
  unsigned next = 0;
  for (std::size_t i = 0; i < count; ++i) {
    auto const keep = static_cast<unsigned>(sorted[i]);
    long const closed = keep > next ? raw::close_range(next, keep - 1, 0) : 0;
    if (closed < 0) return closed;
    if (keep >= next) next = keep + 1;
  }
  return raw::close_range(next, ~0U, 0);
}

long StartGate::close_others(unsigned preserve_fds) const {
  int const socket = plan_ == nullptr ? -1 : plan_->start_socket;
  int const low = socket < sync_ ? socket : sync_;
  int const high = socket < sync_ ? sync_ : socket;
  int next = 3 + static_cast<int>(preserve_fds);
  for (int const keep : {low, high}) {
    if (keep < next) continue;
    long const closed =
        keep > next ? raw::close_range(static_cast<unsigned>(next), static_cast<unsigned>(keep - 1), 0) : 0;
    if (closed < 0) return closed;
    next = keep + 1;
  }
  return raw::close_range(static_cast<unsigned>(next), ~0U, 0);
}

void StartGate::pass(Reporter& reporter) {
  if (plan_ == nullptr) return;
  if (plan_->start_socket >= 0) {
    Report const ready{Stage::kNone, 0, 0};
    reporter.need(raw::write(sync_, &ready, sizeof ready), Stage::kSync);
    // The creator has written down that we are here; without that nobody would ever say `start`.
    char saved = 0;
    if (raw::read(sync_, &saved, 1) != 1) raw::exit_now(1);
    raw::close(sync_);
    for (;;) {
      long const connection = raw::call(SYS_accept4, plan_->start_socket, nullptr, nullptr, SOCK_CLOEXEC);
      if (connection == -EINTR || connection == -ECONNABORTED) continue;
      if (connection < 0) raw::exit_now(1);
      char go = 0;
      if (raw::read(static_cast<int>(connection), &go, 1) == 1) {
        sync_ = static_cast<int>(connection);
        break;
      }
      raw::close(static_cast<int>(connection));  // `start` went away before it said so
    }
    reporter.redirect(sync_);
    raw::close(plan_->start_socket);
  }
  run_child_hooks(plan_->start_container_hooks, plan_->start_container_state, Stage::kStartHook, reporter);
}

void become_program(ProcessPlan const& process, StartGate& gate, Reporter& reporter) {
  int index = 0;
  for (RlimitPlan const& limit : process.rlimits) {
    if (process.rlimits_set) break;
    reporter.need(raw::call(SYS_prlimit64, 0, limit.resource, &limit.limit, nullptr), Stage::kRlimit, index++);
  }
  write_label(process, reporter);
  place_stdio(process, reporter);
  give_stdio(process);
  char home[4096];
  if (process.set_home) process.env.set_spare(find_home(process.uid, home, sizeof home));
  reporter.need(gate.close_others(process.preserve_fds), Stage::kCloseRange);

  drop_bounding(process, reporter);
  long const entered = enter_directory(process.cwd.c_str());
  if (entered != -EACCES) need_directory(entered, reporter);
  change_identity(process, reporter);
  // Root may be kept out (NFS with root squashing) where the user is not.
  if (entered == -EACCES) need_directory(enter_directory(process.cwd.c_str()), reporter);
  ::umask(process.umask.value_or(022));
  PathBuffer program;
  find_program(process, program, reporter);

  // A listener is handed over while the creator is still there; any other filter is loaded as late as possible.
  bool const filter_first = process.has_seccomp && process.seccomp.notify;
  // What needs no privilege later is given up before the wait, in which others can already look at this process.
  bool const drop_first = !filter_first && (process.no_new_privileges || !process.has_seccomp);
  if (filter_first) filter_and_capabilities(process, gate.sync(), reporter);
  if (drop_first) drop_privileges(process, reporter);
  gate.pass(reporter);
  if (drop_first) load_filter(process, gate.sync(), reporter);
  if (!filter_first && !drop_first) filter_and_capabilities(process, gate.sync(), reporter);
  if (process.final_affinity) {
    reporter.need(raw::call(SYS_sched_setaffinity, 0, sizeof(cpu_set_t), &*process.final_affinity), Stage::kAffinity);
  }
  long const result = raw::execve(program.c_str(), process.args.data(), process.env.data());
  reporter.fail(Stage::kExec, -result);
}

}  // namespace davit::runtime
