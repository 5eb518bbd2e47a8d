// Writing a running container to disk and bringing it back, by CRIU (docs/checkpoint.md). Single-threaded callers: CRIU
// runs as a child process.
#pragma once

#include <string>

#include "base/result.h"
#include "runtime/container.h"

namespace davit::runtime {

// What both ways have in common; the names are those of runc's flags.
struct CriuOptions {
  std::string image_path;                      // directory of the images
  std::string work_path;                       // CRIU's log and statistics; empty: image_path
  std::string parent_path;                     // dump: of an earlier pre-dump, relative to image_path
  std::string page_server;                     // dump: "ADDRESS:PORT" that takes the memory instead of image_path
  std::string manage_cgroups_mode;             // "soft" (also when empty), "full", "strict", "ignore"
  std::string lsm_profile, lsm_mount_context;  // restore
  int status_fd = -1;                          // dump with lazy_pages: gets a NUL byte when pages can be asked for
  bool tcp_established = false;
  bool tcp_skip_in_flight = false;  // dump
  bool external_unix_sockets = false;
  bool shell_job = false;
  bool lazy_pages = false;
  bool file_locks = false;
  bool empty_network = false;  // the network namespace's devices and addresses are left out
  bool auto_dedup = false;
  bool link_remap = false;
  bool pre_dump = false;       // only memory, and the container goes on
  bool leave_running = false;  // dump: else the container ends
};

// kConflict unless the container runs or is paused; kUnimplemented without CRIU. A failure leaves the container as it
// was, and in image_path nothing but CRIU's log (not even the directory, where it was made here).
Result<void> checkpoint(std::string const& root, std::string const& id, CriuOptions const& options);

// Makes a container from the images: state directory, cgroup with the limits of the bundle's config.json, then its
// processes, the first of which becomes the caller's child. Of `create` are used: root, id, bundle, pid_file, console
// socket, systemd_cgroup, stdio. kUnimplemented without CRIU. On failure nothing is left.
Result<State> restore(CreateOptions const& create, CriuOptions const& options);

}  // namespace davit::runtime
