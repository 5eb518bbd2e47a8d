#include "monitor/control_server.h"

#include <fcntl.h>

#include "sys/children.h"
#include "sys/file.h"
#include "sys/unix_socket.h"

namespace davit::monitor {

ControlServer::~ControlServer() {
  // Clients must not find a door behind which nobody is.
  if (!path_.empty()) (void)sys::unlink_at(AT_FDCWD, path_);
}

Result<void> ControlServer::listen(std::string const& path) {
  Result<UniqueFd> listener = sys::listen_unix(path, SOCK_SEQPACKET, 0600, sys::Blocking::kNo);
  if (!listener && listener.error().error_number() == EADDRINUSE && !sys::connect_unix(path, SOCK_SEQPACKET)) {
    TRY(sys::unlink_at(AT_FDCWD, path));
    listener = sys::listen_unix(path, SOCK_SEQPACKET, 0600, sys::Blocking::kNo);
  }
  listener_ = TRY_CTX(std::move(listener), "listen for control requests");
  path_ = path;
  listener_watch_ = TRY(loop_.watch(listener_.get(), EPOLLIN, [this](std::uint32_t) { on_connect(); }));
  return {};
}

void ControlServer::on_connect() {
  Result<UniqueFd> socket = sys::accept(listener_.get(), sys::Blocking::kNo);
  if (!socket || !socket->valid() || clients_.size() >= kMaxClients) return;  // closing says enough
  Result<sys::PeerCredentials> const peer = sys::peer_credentials(socket->get());
  if (!peer || (peer->uid != 0 && peer->uid != sys::effective_uid())) return;
  std::uint64_t const id = next_client_++;
  Client& client = clients_[id];
  client.socket = std::move(socket).value();
  Result<loop::Watch> watch =
      loop_.watch(client.socket.get(), EPOLLIN, [this, id](std::uint32_t events) { on_client(id, events); });
  if (!watch) {
    clients_.erase(id);
    return;
  }
  client.watch = std::move(watch).value();
}

void ControlServer::on_client(std::uint64_t id, std::uint32_t events) {
  auto const found = clients_.find(id);
  if (found == clients_.end()) return;
  if ((events & EPOLLOUT) != 0 && !send_queue(found->second)) {
    clients_.erase(id);
    return check_finished();
  }
  if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0) receive(id, found->second);
  check_finished();
}

void ControlServer::receive(std::uint64_t id, Client& client) {
  std::string packet(kMaxControlMessage + 1, '\0');
  Result<sys::Received> received = sys::recv_fds(client.socket.get(), packet);
  if (received && received->would_block) return;
  if (!received || received->size == 0) {
    clients_.erase(id);
    return;
  }
  packet.resize(received->size);
  auto const byte = [&](std::size_t i) { return i < packet.size() ? static_cast<unsigned char>(packet[i]) : 0U; };
  ReplyTo const to{id, static_cast<std::uint8_t>(byte(1) & 0x7f),
                   byte(4) | byte(5) << 8 | byte(6) << 16 | byte(7) << 24};
  Result<ControlMessage> const message = ControlMessage::parse(packet);
  if (!message) return reply_error(to, message.error());
  if (received->truncated)
    return reply_error(to, Error(Errc::kInvalidArgument, "control message: too many descriptors"));
  handler_(to, *message, std::move(received->fds));
}

void ControlServer::send(std::uint64_t id, std::string const& packet) {
  auto const found = clients_.find(id);
  if (found == clients_.end()) return;
  Client& client = found->second;
  client.queue.push_back(packet);
  client.queued_bytes += packet.size();
  // Dropping the client here would pull it from under its own handler: its socket's error tells the loop.
  if (!send_queue(client) || client.queued_bytes > kMaxQueuedBytes) sys::shutdown_both(client.socket.get());
}

bool ControlServer::send_queue(Client& client) {
  std::size_t sent = 0;
  for (; sent < client.queue.size(); ++sent) {
    Result<std::size_t> const count = sys::send_now(client.socket.get(), client.queue[sent]);
    if (!count) return false;
    if (*count == 0) break;
    client.queued_bytes -= client.queue[sent].size();
  }
  client.queue.erase(client.queue.begin(), client.queue.begin() + static_cast<std::ptrdiff_t>(sent));
  client.watch.set_events(client.queue.empty() ? EPOLLIN : EPOLLIN | EPOLLOUT);
  return true;
}

void ControlServer::reply(ReplyTo const& to, std::string_view json) {
  ControlWriter reply(static_cast<std::uint8_t>(to.type | kReplyBit), to.id);
  reply.add(Tag::kStatus, std::string(1, '\0'));
  if (!json.empty() && !reply.add(Tag::kJson, json)) {
    return reply_error(to, Error(Errc::kResourceExhausted, "the answer does not fit a message"));
  }
  send(to.client, reply.packet());
}

void ControlServer::reply_error(ReplyTo const& to, Error const& error) {
  send(to.client, error_reply(to.type, to.id, error));
}

void ControlServer::subscribe(ReplyTo const& to) {
  auto const found = clients_.find(to.client);
  if (found != clients_.end()) found->second.subscription = to.id;
}

void ControlServer::publish(std::string_view json) {
  for (auto& [id, client] : clients_) {
    if (!client.subscription) continue;
    ControlWriter event(kEvent, *client.subscription);
    event.add(Tag::kJson, json);
    send(id, event.packet());
  }
}

void ControlServer::finish(std::chrono::milliseconds limit, std::function<void()> done) {
  listener_watch_.reset();
  listener_.reset();
  finished_ = std::move(done);
  finish_limit_ = loop_.after(limit, [this] { finished_(); });
  check_finished();
}

void ControlServer::check_finished() {
  if (!finished_) return;
  for (auto const& [id, client] : clients_) {
    if (!client.queue.empty()) return;
  }
  // Not from here: the caller may be a handler of a client.
  finish_limit_ = loop_.after(std::chrono::nanoseconds(0), [this] { finished_(); });
}

}  // namespace davit::monitor
