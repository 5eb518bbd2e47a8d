// TCP sockets: getaddrinfo(3), tcp(7), poll(2). Non-blocking and close-on-exec always; SIGPIPE never. Any thread.
#pragma once

#include <poll.h>
#include <sys/socket.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"

namespace davit::sys {

// An IPv4 or IPv6 address with its port.
struct SocketAddress {
  sockaddr_storage storage{};
  socklen_t size = 0;
  std::string to_string() const;  // "127.0.0.1:80", "[::1]:80"
};

// The addresses of a name or of an address in text, in the order to try them. Asks the resolver on the calling thread,
// which its own configuration bounds (resolv.conf). kUnavailable when the name has none or no server answers.
Result<std::vector<SocketAddress>> resolve_host(std::string const& host, std::uint16_t port);

// A socket of the address's family, with TCP_NODELAY.
Result<UniqueFd> tcp_socket(SocketAddress const& address);
enum class Connecting { kDone, kInProgress };
Result<Connecting> start_connect(int socket, SocketAddress const& address);
// What became of a connect that was in progress, once the socket is writable.
Result<void> connect_outcome(int socket);

// What one non-blocking read did.
struct ReadOutcome {
  std::size_t size = 0;      // 0 and not would_block: the peer has closed
  bool would_block = false;  // nothing to read now
};
Result<ReadOutcome> receive_now(int socket, std::span<char> out);
// The same without taking the bytes.
Result<ReadOutcome> peek_now(int socket, std::span<char> out);

// How many descriptors have events; 0 after timeout_ms (-1: none) or when a signal arrived.
Result<std::size_t> poll(std::span<pollfd> fds, int timeout_ms);

// Makes an event descriptor (polling.h) readable.
void signal_event(int event_fd);

// A listening socket at the address in text ("127.0.0.1", "::1"); port 0: the kernel chooses.
Result<UniqueFd> listen_tcp(std::string const& address, std::uint16_t port);
Result<std::uint16_t> local_port(int socket);

}  // namespace davit::sys
