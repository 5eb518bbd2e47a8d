// The tools of the code between clone and exec: no allocation, no exceptions, raw system calls; every failure ends the
// process after a Report went to the parent.
#pragma once

#include <cstddef>

#include "runtime/init/plan.h"
#include "runtime/init/stage.h"

namespace davit::runtime {

// Where failures go. In the child there is exactly one; it is set before anything can fail.
class Reporter {
 public:
  explicit Reporter(int sync) : sync_(sync) {}
  // From now on failures go there (the connection of `start`).
  void redirect(int sync) { sync_ = sync; }
  [[noreturn]] void fail(Stage stage, long error, int index = -1) const;
  // result as raw calls return it: fails when negative.
  long need(long result, Stage stage, int index = -1) const {
    if (result < 0) [[unlikely]]
      fail(stage, -result, index);
    return result;
  }

 private:
  int sync_;
};

// A path in a fixed buffer.
struct PathBuffer {
  char text[4096];
  std::size_t size = 0;
  bool append(char const* piece, std::size_t length);
  char const* c_str() const { return text; }
};

enum class Create { kNo, kFile, kDirectory };
// O_PATH descriptor of path (relative, "" is the root itself) with every link resolved inside root; what is missing is
// made when asked: directories 0755, the file 0644. Links that dangle are followed and their target made, as runc does
// (images hold /etc/resolv.conf as such a link). Minus errno.
long open_in_root(int root, char const* path, Create create);

// Carries out plan.mounts on the root open as `root`. The caller is in the container's mount namespace.
void make_mounts(InitPlan const& plan, int root, Reporter const& reporter);
// Device nodes, links, ptmx.
void make_devices(InitPlan const& plan, int root, Reporter const& reporter);
// Masked and read-only paths, mounts and root that become read-only last.
void finish_mounts(InitPlan const& plan, int root, Reporter const& reporter);

// A pty of the container's own devpts (root: descriptor of its root directory). The master goes to console_socket, the
// slave becomes stdio and, with Console::kBind, is bound to /dev/console.
enum class Console { kNone, kBind };
void set_up_terminal(ProcessPlan const& process, int root, Console console, int console_socket,
                     Reporter const& reporter);

// A private procfs that nothing of the container can have covered; minus errno.
long private_procfs();

// Moves the caller into the cgroups whose files are open.
void join_cgroups(std::vector<UniqueFd> const& files, Reporter const& reporter);

// Runs one hook with state on its stdin, from a process of any kind. error: 0, an errno (ETIMEDOUT: killed when its
// time was up), status: what it ended with (128 + signal).
struct HookOutcome {
  int error = 0;
  int status = 0;
};
// interrupt_fd: when readable, the hook is killed (ECANCELED); -1: none.
HookOutcome run_hook(HookPlan const& hook, std::string const& state, int interrupt_fd = -1);
inline constexpr int kHookStatusBase = 1000;  // Report::error of a hook that ended with a status: this + status
// The Error for a hook named as in "hooks.prestart[0] (/bin/x)".
Error hook_failure(std::string const& name, HookOutcome outcome, int timeout_ms);
// stage: how a failure is reported, kHook or kStartHook.
void run_child_hooks(std::vector<HookPlan> const& hooks, std::string const& state, Stage stage,
                     Reporter const& reporter);

// Waiting for `start`, and what happens right after it. Called with everything done that can be done before.
class StartGate {
 public:
  StartGate(InitPlan const* plan, int sync) : plan_(plan), sync_(sync) {}
  // Tells the parent that all is set up, waits for `start` if there is one to wait for, runs startContainer hooks.
  void pass(Reporter& reporter);
  // Minus errno. Closes every descriptor that neither the program nor this gate needs: while it waits, others may look
  // at it.
  long close_others(unsigned preserve_fds) const;
  int sync() const { return sync_; }

 private:
  InitPlan const* plan_;  // null: exec, nothing to wait for
  int sync_;
};

// Identity, limits, labels, filters of the process, in the order that each still has the privilege it needs; then
// execve.
[[noreturn]] void become_program(ProcessPlan const& process, StartGate& gate, Reporter& reporter);
// Neither blocked nor ignored signals of whoever called the runtime reach the program.
void reset_signals();
// Closes all descriptors but those listed, in ascending order. Minus errno.
long close_all_but(int const* sorted, std::size_t count);
// process.execCPUAffinity.initial: before the cgroup is joined, as the specification asks.
void apply_affinity(ProcessPlan const& process, Reporter const& reporter);
// Limits and scheduling; the part of it that is done while still in the host's file tree.
void apply_scheduling(ProcessPlan const& process, Reporter const& reporter);

}  // namespace davit::runtime
