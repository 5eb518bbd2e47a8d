// Connections, and those kept alive between two requests. Internal to wire.
#pragma once

#include <chrono>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "wire/transport.h"

namespace davit::wire {

struct Connection {
  std::unique_ptr<Transport> transport;
  std::string key;      // whoever asks for the same key may use it: proxy, origin and TLS options
  bool reused = false;  // it has carried a request before
  std::chrono::steady_clock::time_point idle_since;
};

// Any thread.
class ConnectionPool {
 public:
  explicit ConnectionPool(std::size_t max_idle_per_key) : max_idle_per_key_(max_idle_per_key) {}

  // The most recently used idle connection of that key that is still open and quiet; nullptr when there is none.
  std::unique_ptr<Connection> take(std::string const& key);
  // Keeps a connection whose last response was read to its end.
  void give(std::unique_ptr<Connection> connection);

 private:
  using Idle = std::vector<std::unique_ptr<Connection>>;
  std::unique_ptr<Connection> pop(std::string const& key, Idle& expired);
  void expire(Idle& expired);

  std::size_t const max_idle_per_key_;
  std::mutex mutex_;
  std::map<std::string, Idle> idle_;
};

}  // namespace davit::wire
