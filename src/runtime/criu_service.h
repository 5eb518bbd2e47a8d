// One run of CRIU, as a child process that serves one request: `criu swrk`, the way that it is meant to be driven by
// container runtimes (criu.org/RPC). Single-threaded callers: the process is forked.
#pragma once

#include <sys/types.h>

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"
#include "runtime/criu_message.h"

namespace davit::runtime {

// rpc.proto's criu_req_type. A single pre-dump needs no second request: kPreDump ends after the first.
enum class CriuOperation : unsigned { kDump = 1, kRestore = 2, kPreDump = 4 };

// Something that CRIU reports in the middle of its work and that it waits for an answer to.
struct CriuNotification {
  std::string script;   // "post-restore", "setup-namespaces", "orphan-pts-master", ...
  pid_t pid = 0;        // of the container's first process, where it is there
  UniqueFd descriptor;  // orphan-pts-master: the pty
};

struct CriuJob {
  CriuOperation operation = CriuOperation::kDump;
  CriuMessage options;                // criu_opts, without those set here: directories and the log
  std::string image_path, work_path;  // existing directories
  std::vector<int> descriptors;       // stay open in CRIU under their numbers
  std::string rootfs, rootfs_mount;   // restore: the first is bound to the second where only CRIU sees it
  std::function<Result<void>(CriuNotification&)> notify;  // an error makes CRIU give up and undo
};

// Where CRIU is: PATH, then the usual directories. kUnimplemented names the package when it is nowhere.
Result<std::string> find_criu();

// The pid of the restored process; 0 after a dump. The error of a failure is notify's, or quotes CRIU's own error
// lines.
Result<pid_t> run_criu(CriuJob const& job);

// Where `program` is on PATH or in the usual directories; empty: nowhere.
std::string find_program(std::string_view program);

}  // namespace davit::runtime
