#include "sys/tcp_socket.h"

#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <unistd.h>

#include <cstring>
#include <memory>

namespace davit::sys {

namespace {
sockaddr const* generic(SocketAddress const& address) { return reinterpret_cast<sockaddr const*>(&address.storage); }

Error failed(std::string_view call, std::string_view what) {
  int const error_number = errno;
  std::string text(call);
  if (!what.empty()) text.append(" '").append(what).append("'");
  return Error::from_errno(error_number, text);
}

struct FreeAddresses {
  void operator()(addrinfo* list) const { ::freeaddrinfo(list); }
};

Result<ReadOutcome> receive(int socket, std::span<char> out, int flags) {
  ssize_t size;
  do size = ::recv(socket, out.data(), out.size(), flags | MSG_DONTWAIT);
  while (size < 0 && errno == EINTR);
  if (size >= 0) return ReadOutcome{static_cast<std::size_t>(size), false};
  if (errno == EAGAIN) return ReadOutcome{0, true};
  return failed("recv", "");
}
}  // namespace

std::string SocketAddress::to_string() const {
  char host[NI_MAXHOST];
  char port[NI_MAXSERV];
  if (::getnameinfo(generic(*this), size, host, sizeof host, port, sizeof port, NI_NUMERICHOST | NI_NUMERICSERV) != 0) {
    return "?";
  }
  bool const bracketed = storage.ss_family == AF_INET6;
  return (bracketed ? "[" + std::string(host) + "]" : std::string(host)) + ":" + port;
}

Result<std::vector<SocketAddress>> resolve_host(std::string const& host, std::uint16_t port) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_NUMERICSERV;
  addrinfo* list = nullptr;
  int const status = ::getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &list);
  int const error_number = status == EAI_SYSTEM ? errno : 0;
  if (status != 0) {
    std::string const why = error_number != 0 ? std::strerror(error_number) : ::gai_strerror(status);
    return Error(Errc::kUnavailable, "getaddrinfo '" + host + "': " + why, error_number);
  }
  std::unique_ptr<addrinfo, FreeAddresses> const owner(list);
  std::vector<SocketAddress> addresses;
  for (addrinfo const* entry = list; entry != nullptr; entry = entry->ai_next) {
    if (entry->ai_family != AF_INET && entry->ai_family != AF_INET6) continue;
    SocketAddress address;
    std::memcpy(&address.storage, entry->ai_addr, entry->ai_addrlen);
    address.size = entry->ai_addrlen;
    addresses.push_back(address);
  }
  if (addresses.empty()) return Error(Errc::kUnavailable, "getaddrinfo '" + host + "': no address");
  return addresses;
}

Result<UniqueFd> tcp_socket(SocketAddress const& address) {
  UniqueFd socket(::socket(address.storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_TCP));
  if (!socket) return failed("socket", "TCP");
  int const on = 1;
  if (::setsockopt(socket.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) < 0) {
    return failed("setsockopt", "TCP_NODELAY");
  }
  return socket;
}

Result<Connecting> start_connect(int socket, SocketAddress const& address) {
  if (::connect(socket, generic(address), address.size) == 0) return Connecting::kDone;
  // An interrupted connect goes on by itself, as a non-blocking one does (connect(2)).
  if (errno == EINPROGRESS || errno == EINTR) return Connecting::kInProgress;
  return failed("connect", address.to_string());
}

Result<void> connect_outcome(int socket) {
  int error_number = 0;
  socklen_t size = sizeof error_number;
  if (::getsockopt(socket, SOL_SOCKET, SO_ERROR, &error_number, &size) < 0) return failed("getsockopt", "SO_ERROR");
  if (error_number != 0) return Error::from_errno(error_number, "connect");
  return {};
}

Result<ReadOutcome> receive_now(int socket, std::span<char> out) { return receive(socket, out, 0); }
Result<ReadOutcome> peek_now(int socket, std::span<char> out) { return receive(socket, out, MSG_PEEK); }

Result<std::size_t> poll(std::span<pollfd> fds, int timeout_ms) {
  int const count = ::poll(fds.data(), fds.size(), timeout_ms);
  if (count >= 0) return static_cast<std::size_t>(count);
  if (errno == EINTR) return std::size_t{0};
  return failed("poll", "");
}

void signal_event(int event_fd) {
  std::uint64_t const one = 1;
  // EAGAIN would mean that the counter is at its end, which is readable as well.
  (void)!::write(event_fd, &one, sizeof one);
}

Result<UniqueFd> listen_tcp(std::string const& address, std::uint16_t port) {
  std::vector<SocketAddress> const found = TRY(resolve_host(address, port));
  UniqueFd socket = TRY(tcp_socket(found.front()));
  int const on = 1;
  if (::setsockopt(socket.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) < 0) {
    return failed("setsockopt", "SO_REUSEADDR");
  }
  if (::bind(socket.get(), generic(found.front()), found.front().size) < 0) return failed("bind", address);
  if (::listen(socket.get(), SOMAXCONN) < 0) return failed("listen", address);
  return socket;
}

Result<std::uint16_t> local_port(int socket) {
  SocketAddress address;
  address.size = sizeof address.storage;
  if (::getsockname(socket, reinterpret_cast<sockaddr*>(&address.storage), &address.size) < 0) {
    return failed("getsockname", "");
  }
  std::uint16_t port = 0;
  // Both families keep the port at the same place.
  static_assert(offsetof(sockaddr_in, sin_port) == offsetof(sockaddr_in6, sin6_port));
  std::memcpy(&port, reinterpret_cast<char const*>(&address.storage) + offsetof(sockaddr_in, sin_port), sizeof port);
  return ntohs(port);
}

}  // namespace davit::sys
