// Unix sockets and descriptors sent over them: unix(7), sendmsg(2), cmsg(3). Close-on-exec always. Any thread.
#pragma once

#include <sys/socket.h>
#include <sys/types.h>

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"

namespace davit::sys {

enum class Blocking { kYes, kNo };

struct SocketPair {
  UniqueFd first, second;
};

// type: SOCK_STREAM, SOCK_SEQPACKET, SOCK_DGRAM
Result<SocketPair> socket_pair(int type, Blocking blocking = Blocking::kYes);

// A listening socket at path. Nothing may be there yet (kAlreadyExists). mode is set before anyone can connect. A path
// longer than the kernel's 107 bytes is reached through its directory's descriptor.
Result<UniqueFd> listen_unix(std::string const& path, int type, mode_t mode, Blocking blocking);
// A datagram socket at path, of exactly that mode. Nothing may be there yet.
Result<UniqueFd> bind_datagrams(std::string const& path, mode_t mode);
Result<UniqueFd> connect_unix(std::string const& path, int type);

// An invalid descriptor when there is nobody to accept, now.
Result<UniqueFd> accept(int listener, Blocking blocking);

// Who connected (SO_PEERCRED), as of connect(2).
struct PeerCredentials {
  pid_t pid = 0;
  uid_t uid = 0;
  gid_t gid = 0;
};
Result<PeerCredentials> peer_credentials(int socket);

// One message with at most kMaxFds descriptors; data must not be empty when there are any. Never raises SIGPIPE.
inline constexpr std::size_t kMaxFds = 16;
Result<void> send_fds(int socket, std::string_view data, std::span<int const> fds);

struct Received {
  std::size_t size = 0;  // 0: the other side has closed (or an empty message)
  std::vector<UniqueFd> fds;
  bool truncated = false;    // data or descriptors did not fit; what did not is lost
  bool would_block = false;  // nothing to read now
};
Result<Received> recv_fds(int socket, std::span<char> out);

// Bytes taken; 0 when the socket's buffer is full now. Never raises SIGPIPE, never blocks.
Result<std::size_t> send_now(int socket, std::string_view data);
// The same for two pieces in a row, a header and what follows it.
Result<std::size_t> send_now(int socket, std::string_view first, std::string_view second);
// kInvalidArgument when fd is not a connected stream socket (unix, TCP).
Result<void> check_stream_socket(int fd);
// shutdown(2) SHUT_WR; a peer that has gone is fine.
void shutdown_write(int socket);
// SHUT_RDWR: the next wait on the socket reports the end.
void shutdown_both(int socket);

}  // namespace davit::sys
