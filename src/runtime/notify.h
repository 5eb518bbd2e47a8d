// sd_notify(3) for containers: the container gets a socket of its own, and only its READY=1 goes on to the service
// manager.
#pragma once

#include <string>

#include "base/result.h"
#include "base/unique_fd.h"
#include "oci/runtime_spec.h"

namespace davit::runtime {

// Makes <state>/notify, binds it into the container (mounts) and names the socket in it to the program (env).
Result<void> add_notify_mount(std::string const& state_directory, oci::Spec& spec);
// The socket in <state>/notify, open for all that the container may be. kNotFound: the container has none.
Result<UniqueFd> bind_notify_socket(std::string const& state_directory);
// Waits for READY=1 (other messages are dropped: they are not the container's to send), passes it on to the socket at
// host_path with MAINPID, and returns; also returns when the process of pidfd ends. Blocks.
Result<void> forward_readiness(int socket, std::string const& host_path, int pid, int pidfd);

}  // namespace davit::runtime
