// ControlServer: the monitor's listening socket and its clients: packets in, packets out, nobody waits for anybody.
// What requests mean is the handler's business. One thread.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"
#include "loop/loop.h"
#include "monitor/control_message.h"

namespace davit::monitor {

// Where a reply goes. Names a client that may be gone by then.
struct ReplyTo {
  std::uint64_t client = 0;
  std::uint8_t type = 0;
  std::uint32_t id = 0;
};

class ControlServer {
 public:
  using Handler = std::function<void(ReplyTo const&, ControlMessage const&, std::vector<UniqueFd>)>;

  ControlServer(loop::Loop& loop, Handler handler) : loop_(loop), handler_(std::move(handler)) {}
  ~ControlServer();

  // Listens at path, mode 0600. A socket that nobody listens at any more (after a crash) is replaced.
  Result<void> listen(std::string const& path);

  void reply(ReplyTo const& to, std::string_view json = {});
  void reply(ReplyTo const& to, ControlWriter const& message) { send(to.client, message.packet()); }
  void reply_error(ReplyTo const& to, Error const& error);
  // To every client that subscribed.
  void subscribe(ReplyTo const& to);
  void publish(std::string_view json);
  // Closes the clients once what was queued for them is sent or `limit` is over, then calls done.
  void finish(std::chrono::milliseconds limit, std::function<void()> done);

  static constexpr std::size_t kMaxClients = 64;
  static constexpr std::size_t kMaxQueuedBytes = 256 * 1024;  // a client that does not read its replies is dropped

 private:
  struct Client {
    UniqueFd socket;
    std::vector<std::string> queue;
    std::size_t queued_bytes = 0;
    std::optional<std::uint32_t> subscription;
    loop::Watch watch;
  };
  void on_connect();
  void on_client(std::uint64_t id, std::uint32_t events);
  void receive(std::uint64_t id, Client& client);
  void send(std::uint64_t id, std::string const& packet);
  bool send_queue(Client& client);
  void check_finished();

  loop::Loop& loop_;
  Handler handler_;
  std::string path_;
  UniqueFd listener_;
  loop::Watch listener_watch_;
  std::map<std::uint64_t, Client> clients_;
  std::uint64_t next_client_ = 1;
  std::function<void()> finished_;
  loop::Timer finish_limit_;
};

}  // namespace davit::monitor
