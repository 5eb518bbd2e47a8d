// The runtime's operations on containers, as davit-runtime's commands and the monitor call them. Single-threaded
// callers only: create and exec clone the calling process.
#pragma once

#include <sys/types.h>

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"
#include "oci/runtime_spec.h"
#include "runtime/cgroup/cgroup.h"

namespace davit::runtime {

enum class Status { kCreating, kCreated, kRunning, kPaused, kStopped };
std::string_view status_name(Status status);

// Who becomes the parent of the new process.
enum class Parent {
  kCaller,       // the calling process
  kCallerParent  // the caller's parent (CLONE_PARENT): the caller is a short-lived helper of the monitor
};

// What is saved in <root>/<id>/state.json (docs/disk/runtime-state.md).
struct State {
  std::string id;
  std::string bundle;  // absolute
  std::string rootfs;  // absolute
  std::string oci_version;
  pid_t pid = 0;                 // of PID 1, in the caller's namespace; 0: a create that goes on or was killed
  std::uint64_t start_time = 0;  // field 22 of /proc/PID/stat: tells a reused pid
  std::string created;           // RFC 3339
  std::uint32_t owner_uid = 0;
  std::map<std::string, std::string> annotations;
  std::map<std::string, std::string> cgroup_paths;
  std::uint64_t namespaces = 0;    // clone flags of those that are not the creator's: what exec joins
  bool own_pid_namespace = false;  // made for it: its processes end with PID 1
  bool new_keyring = false;        // has a session keyring of its own, which exec joins
  oci::Hooks hooks;                // poststart and poststop: they run in later processes
};

// kIfTerminal: console_socket_fd is there in case that process.terminal is set.
enum class ConsoleUse { kRequired, kIfTerminal };

struct CreateOptions {
  std::string root;  // state directory
  std::string id;
  std::string bundle;          // directory with config.json
  std::string pid_file;        // empty: none
  std::string console_socket;  // path of a socket that gets the pty master, empty: none
  int console_socket_fd = -1;  // the same as an open descriptor (borrowed); wins over console_socket
  ConsoleUse console = ConsoleUse::kRequired;
  std::optional<oci::ConsoleSize> console_size;  // where process.consoleSize is not given
  bool no_pivot = false;
  bool no_new_keyring = false;
  bool systemd_cgroup = false;
  unsigned preserve_fds = 0;          // descriptors 3 .. 2+N stay open in the container
  unsigned listen_fds = 0;            // of these the last N are sd_listen_fds(3) of the program
  std::string notify_socket;          // the caller's NOTIFY_SOCKET (sd_notify(3)); empty: none
  std::array<int, 3> stdio{0, 1, 2};  // ignored with a terminal
  Parent parent = Parent::kCaller;
  int interrupt_fd = -1;       // when readable: give up, undo and return kCancelled (borrowed; hooks are killed)
  bool start_at_once = false;  // run: no `start` is waited for
};

// Creates the container; its PID 1 waits for start() unless start_at_once. Returns its state. On failure nothing is
// left.
Result<State> create(CreateOptions const& options);
// kNotFound; kConflict when it is not created. notify_socket: passes the program's readiness on to it and waits for
// that (only for a container created with one).
Result<void> start(std::string const& root, std::string const& id, std::string const& notify_socket = {});

// The saved state; kNotFound ("container \"x\" does not exist").
Result<State> load_state(std::string const& root, std::string const& id);
// What the container is doing now, by the state of its PID 1 and its freezer.
Status current_status(std::string const& root, State const& state);
std::vector<std::string> list_ids(std::string const& root);
// The state as the OCI specification (runtime.md, "State") and hooks want it, with runc's extra fields where full.
enum class StateFields { kOci, kFull };
std::string print_state(State const& state, Status status, StateFields fields, std::string_view indent = {});
// The container's config.json as it was when it was created.
Result<oci::Spec> load_config(std::string const& root, std::string const& id);
// Its control groups.
Cgroup cgroup_of(State const& state);

// kConflict ("container not running") when PID 1 is gone. all: every process of its cgroup.
enum class Whom { kInit, kAll };
Result<void> kill(std::string const& root, std::string const& id, int signal, Whom whom);

// Removes state, cgroup and what else is left, running poststop hooks. force: kills first and a missing container is
// fine.
enum class Force { kNo, kYes };
Result<void> remove(std::string const& root, std::string const& id, Force force);

struct ExecOptions {
  std::string root;
  std::string id;
  oci::Process process;
  std::string pid_file;
  std::string console_socket;
  int console_socket_fd = -1;
  unsigned preserve_fds = 0;
  bool ignore_paused = false;
  std::string cgroup_path;  // --cgroup: below the container's own, "" its own
  std::array<int, 3> stdio{0, 1, 2};
  Parent parent = Parent::kCaller;
};
// Runs one more process in a running container; returns its pid as soon as it has executed the program.
Result<pid_t> exec(ExecOptions const& options);

}  // namespace davit::runtime
