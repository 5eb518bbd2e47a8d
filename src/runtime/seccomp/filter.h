// Seccomp: from the OCI profile to the BPF program that the kernel takes. libseccomp compiles; the result is cached.
#pragma once

#include <linux/filter.h>

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "oci/runtime_spec.h"

namespace davit::runtime {

struct SeccompFilter {
  std::vector<sock_filter> program;
  unsigned flags = 0;   // SECCOMP_FILTER_FLAG_* for seccomp(2); NEW_LISTENER included when notify
  bool notify = false;  // some rule is SCMP_ACT_NOTIFY: the listener descriptor goes to listenerPath
};

// Compiles the profile. cache_dir: a directory (created 0700) of compiled programs, keyed by the whole profile, the
// libseccomp version and the architecture (docs/disk/seccomp-cache.md); empty: no cache. Without flags in the profile
// the flag is SPEC_ALLOW, as with runc. Names of calls that neither libseccomp nor this build know are skipped (as runc
// does); an unknown action, operator, architecture or flag is kInvalidArgument naming the field
// ("linux.seccomp.syscalls[3].action:
// ..."). Where the default action refuses, calls newer than all that the profile names answer ENOSYS.
Result<SeccompFilter> compile_seccomp(oci::Seccomp const& profile, std::string const& cache_dir);

// Docker's default profile (default_table.h), resolved for the machine's architecture, kernel
// version and the container's capabilities ("CAP_SYS_ADMIN", the bounding set).
oci::Seccomp default_seccomp_profile(std::vector<std::string> const& capabilities);

// Names that `features` prints.
std::vector<std::string_view> seccomp_actions();
std::vector<std::string_view> seccomp_operators();
std::vector<std::string_view> seccomp_architectures();
std::vector<std::string_view> seccomp_flags();

}  // namespace davit::runtime
