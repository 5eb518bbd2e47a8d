#include "runtime/seccomp/listener.h"

#include <fmt/format.h>
#include <poll.h>

#include <array>

#include "codec/json_writer.h"
#include "sys/file.h"
#include "sys/process.h"
#include "sys/unix_socket.h"

namespace davit::runtime {

namespace {

std::string container_process_state(oci::Seccomp const& profile, State const& state, pid_t pid) {
  json::Writer out;
  out.begin_object().field("ociVersion", state.oci_version);
  out.key("fds").begin_array().value("seccompFd").end_array();
  out.field("pid", pid);
  if (!profile.listener_metadata.empty()) out.field("metadata", profile.listener_metadata);
  out.key("state").raw(print_state(state, Status::kCreating, StateFields::kOci));
  out.end_object();
  return out.take();
}

// The process announced the number before it loaded the filter, so the descriptor may take a moment to be there; one of
// another kind would be something else under that number.
Result<UniqueFd> fetch(int pidfd, pid_t pid, int number) {
  for (int attempt = 0; attempt < 5000; ++attempt) {
    auto fd = sys::pidfd_getfd(pidfd, number);
    if (fd.ok()) {
      auto const target = sys::readlink(fmt::format("/proc/self/fd/{}", fd->get()));
      if (target.ok() && target->find("seccomp") != std::string::npos) return fd;
    } else if (fd.error().error_number() != EBADF) {
      return std::move(fd).take_error().with_context(fmt::format("seccomp listener of process {}", pid));
    }
    (void)::poll(nullptr, 0, 1);
  }
  return Error(Errc::kDeadlineExceeded, "linux.seccomp: the listener descriptor did not appear");
}

}  // namespace

Result<void> deliver_listener(oci::Seccomp const& profile, State const& state, pid_t pid, int pidfd, int number) {
  UniqueFd const listener = TRY(fetch(pidfd, pid, number));
  UniqueFd const socket = TRY_CTX(sys::connect_unix(profile.listener_path, SOCK_STREAM), "linux.seccomp.listenerPath");
  std::array<int, 1> const fds{listener.get()};
  TRY_CTX(sys::send_fds(socket.get(), container_process_state(profile, state, pid), fds), "linux.seccomp.listenerPath");
  return {};
}

}  // namespace davit::runtime
