#include "sys/unix_socket.h"

#include <sys/un.h>

#include <cstring>

#include "sys/file.h"

namespace davit::sys {

namespace {
Error failed(std::string_view call, std::string_view path) {
  int const error_number = errno;
  std::string text(call);
  if (!path.empty()) text.append(" '").append(path).append("'");
  return Error::from_errno(error_number, text);
}

int type_flags(int type, Blocking blocking) {
  return type | SOCK_CLOEXEC | (blocking == Blocking::kNo ? SOCK_NONBLOCK : 0);
}

// The address of path. One that does not fit sun_path goes through /proc/self/fd of its directory, which dir then
// holds.
Result<sockaddr_un> unix_address(std::string const& path, UniqueFd& dir) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::string reachable = path;
  if (path.size() >= sizeof address.sun_path) {
    std::size_t const slash = path.rfind('/');
    if (slash == std::string::npos) return Error(Errc::kInvalidArgument, "socket path '" + path + "' is too long");
    dir = TRY(open(path.substr(0, slash), O_PATH | O_DIRECTORY));
    reachable = "/proc/self/fd/" + std::to_string(dir.get()) + path.substr(slash);
  }
  if (reachable.size() >= sizeof address.sun_path) {
    return Error(Errc::kInvalidArgument, "socket path '" + path + "' is too long");
  }
  std::memcpy(address.sun_path, reachable.c_str(), reachable.size() + 1);
  return address;
}

sockaddr const* generic(sockaddr_un const& address) { return reinterpret_cast<sockaddr const*>(&address); }
}  // namespace

Result<SocketPair> socket_pair(int type, Blocking blocking) {
  int fds[2];
  if (::socketpair(AF_UNIX, type_flags(type, blocking), 0, fds) < 0) return failed("socketpair", "");
  SocketPair pair;
  pair.first = UniqueFd(fds[0]);
  pair.second = UniqueFd(fds[1]);
  return pair;
}

Result<UniqueFd> listen_unix(std::string const& path, int type, mode_t mode, Blocking blocking) {
  UniqueFd dir;
  sockaddr_un const address = TRY(unix_address(path, dir));
  UniqueFd socket(::socket(AF_UNIX, type_flags(type, blocking), 0));
  if (!socket) return failed("socket", path);
  // On Linux the socket's own mode, less the umask, becomes the mode of the new file: no moment with a wider one.
  if (::fchmod(socket.get(), mode) < 0) return failed("fchmod", path);
  if (::bind(socket.get(), generic(address), sizeof address) < 0) return failed("bind", path);
  if (::listen(socket.get(), 64) < 0) return failed("listen", path);
  return socket;
}

Result<UniqueFd> bind_datagrams(std::string const& path, mode_t mode) {
  UniqueFd dir;
  sockaddr_un const address = TRY(unix_address(path, dir));
  UniqueFd socket(::socket(AF_UNIX, type_flags(SOCK_DGRAM, Blocking::kYes), 0));
  if (!socket) return failed("socket", path);
  if (::bind(socket.get(), generic(address), sizeof address) < 0) return failed("bind", path);
  if (::chmod(path.c_str(), mode) < 0) return failed("chmod", path);
  return socket;
}

Result<UniqueFd> connect_unix(std::string const& path, int type) {
  UniqueFd dir;
  sockaddr_un const address = TRY(unix_address(path, dir));
  UniqueFd socket(::socket(AF_UNIX, type_flags(type, Blocking::kYes), 0));
  if (!socket) return failed("socket", path);
  if (::connect(socket.get(), generic(address), sizeof address) < 0) return failed("connect", path);
  return socket;
}

Result<UniqueFd> accept(int listener, Blocking blocking) {
  for (;;) {
    int const fd = ::accept4(listener, nullptr, nullptr, type_flags(0, blocking));
    if (fd >= 0) return UniqueFd(fd);
    if (errno == EINTR || errno == ECONNABORTED) continue;
    if (errno == EAGAIN) return UniqueFd();
    return failed("accept4", "");
  }
}

Result<PeerCredentials> peer_credentials(int socket) {
  ucred credentials{};
  socklen_t size = sizeof credentials;
  if (::getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &credentials, &size) < 0) {
    return failed("getsockopt", "SO_PEERCRED");
  }
  return PeerCredentials{credentials.pid, credentials.uid, credentials.gid};
}

Result<void> send_fds(int socket, std::string_view data, std::span<int const> fds) {
  DAVIT_CHECK(fds.size() <= kMaxFds);
  iovec piece{const_cast<char*>(data.data()), data.size()};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int) * kMaxFds)] = {};
  msghdr message{};
  message.msg_iov = &piece;
  message.msg_iovlen = 1;
  if (!fds.empty()) {
    message.msg_control = control;
    message.msg_controllen = CMSG_SPACE(fds.size_bytes());
    cmsghdr* const header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(fds.size_bytes());
    std::memcpy(CMSG_DATA(header), fds.data(), fds.size_bytes());
  }
  for (;;) {
    ssize_t const sent = ::sendmsg(socket, &message, MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0) return failed("sendmsg", "");
    data.remove_prefix(static_cast<std::size_t>(sent));
    if (data.empty()) return {};
    // A stream socket took a part, and the descriptors with it.
    piece = {const_cast<char*>(data.data()), data.size()};
    message.msg_control = nullptr;
    message.msg_controllen = 0;
  }
}

Result<Received> recv_fds(int socket, std::span<char> out) {
  iovec piece{out.data(), out.size()};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int) * kMaxFds)];
  msghdr message{};
  message.msg_iov = &piece;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  ssize_t size;
  do size = ::recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
  while (size < 0 && errno == EINTR);
  Received received;
  if (size < 0 && errno == EAGAIN) {
    received.would_block = true;
    return received;
  }
  if (size < 0) return failed("recvmsg", "");
  received.size = static_cast<std::size_t>(size);
  received.truncated = (message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0;
  for (cmsghdr* header = CMSG_FIRSTHDR(&message); header != nullptr; header = CMSG_NXTHDR(&message, header)) {
    if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) continue;
    std::size_t const count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (std::size_t i = 0; i < count; ++i) {
      int fd;
      std::memcpy(&fd, CMSG_DATA(header) + i * sizeof(int), sizeof fd);
      received.fds.emplace_back(fd);
    }
  }
  return received;
}

Result<std::size_t> send_now(int socket, std::string_view data) { return send_now(socket, data, {}); }

Result<std::size_t> send_now(int socket, std::string_view first, std::string_view second) {
  iovec pieces[] = {{const_cast<char*>(first.data()), first.size()}, {const_cast<char*>(second.data()), second.size()}};
  msghdr message{};
  message.msg_iov = pieces;
  message.msg_iovlen = second.empty() ? 1 : 2;
  ssize_t sent;
  do sent = ::sendmsg(socket, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
  while (sent < 0 && errno == EINTR);
  if (sent >= 0) return static_cast<std::size_t>(sent);
  if (errno == EAGAIN) return std::size_t{0};
  return failed("sendmsg", "");
}

Result<void> check_stream_socket(int fd) {
  int type = 0;
  socklen_t size = sizeof type;
  if (::getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) == 0 && type == SOCK_STREAM) return {};
  return Error(Errc::kInvalidArgument, "descriptor " + std::to_string(fd) + " is not a stream socket");
}

void shutdown_write(int socket) { ::shutdown(socket, SHUT_WR); }
void shutdown_both(int socket) { ::shutdown(socket, SHUT_RDWR); }

}  // namespace davit::sys
