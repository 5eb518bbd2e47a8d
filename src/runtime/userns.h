// User namespaces that exist for their id mappings only, and the writing of mappings. user_namespaces(7).
#pragma once

#include <sys/types.h>

#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"
#include "oci/runtime_spec.h"

namespace davit::runtime {

// Writes uid_map, setgroups (where the caller lacks privilege) and gid_map of a process that was just cloned.
Result<void> write_id_maps(pid_t pid, std::vector<oci::IdMapping> const& uids, std::vector<oci::IdMapping> const& gids);

// A descriptor of a new user namespace with these mappings, for id-mapped mounts. Clones the caller: single-threaded
// only.
Result<UniqueFd> make_user_namespace(std::vector<oci::IdMapping> const& uids, std::vector<oci::IdMapping> const& gids);

}  // namespace davit::runtime
