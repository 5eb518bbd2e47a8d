#include "runtime/notify.h"

#include <fmt/format.h>
#include <poll.h>
#include <sys/stat.h>

#include <array>

#include "base/text.h"
#include "sys/file.h"
#include "sys/unix_socket.h"

namespace davit::runtime {

namespace {
constexpr char const* kDirectory = "/notify";
constexpr char const* kSocket = "/notify/notify.sock";
constexpr char const* kInside = "/run/notify";
}  // namespace

Result<void> add_notify_mount(std::string const& state_directory, oci::Spec& spec) {
  std::string const source = state_directory + kDirectory;
  TRY(sys::mkdir(source, 0755));
  oci::Mount mount;
  mount.destination = kInside;
  mount.type = "bind";
  mount.source = source;
  mount.options = {"bind", "nosuid", "noexec", "nodev", "ro"};
  spec.mounts.push_back(std::move(mount));
  spec.process->env.push_back(fmt::format("NOTIFY_SOCKET={}/notify.sock", kInside));
  return {};
}

Result<UniqueFd> bind_notify_socket(std::string const& state_directory) {
  if (!sys::exists(state_directory + kDirectory)) return Error(Errc::kNotFound, "no notify socket");
  // Any user of the container may say that it is ready.
  return sys::bind_datagrams(state_directory + kSocket, 0777);
}

Result<void> forward_readiness(int socket, std::string const& host_path, int pid, int pidfd) {
  for (;;) {
    std::array<pollfd, 2> events{{{socket, POLLIN, 0}, {pidfd, POLLIN, 0}}};
    if (::poll(events.data(), events.size(), -1) < 0) continue;
    if ((events[0].revents & POLLIN) == 0) return {};  // the container ended and said nothing more
    std::array<char, 4096> buffer;
    sys::Received const message = TRY(sys::recv_fds(socket, buffer));
    for (std::string_view const line : split(std::string_view(buffer.data(), message.size), '\n')) {
      if (line != "READY=1") continue;
      UniqueFd const host = TRY_CTX(sys::connect_unix(host_path, SOCK_DGRAM), "NOTIFY_SOCKET");
      TRY_CTX(sys::send_fds(host.get(), fmt::format("READY=1\nMAINPID={}\n", pid), {}), "NOTIFY_SOCKET");
      return {};
    }
  }
}

}  // namespace davit::runtime
