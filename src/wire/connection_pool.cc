#include "wire/connection_pool.h"

#include <algorithm>
#include <iterator>
#include <utility>

namespace davit::wire {

namespace {
// Shorter than the minute or more that most servers keep an idle connection, so that most reuses succeed.
constexpr std::chrono::seconds kMaxIdle{30};
}  // namespace

void ConnectionPool::expire(Idle& expired) {
  auto const oldest = std::chrono::steady_clock::now() - kMaxIdle;
  for (auto entry = idle_.begin(); entry != idle_.end();) {
    Idle& list = entry->second;  // the longest idle first
    auto const fresh =
        std::find_if(list.begin(), list.end(), [&](auto const& one) { return one->idle_since >= oldest; });
    expired.insert(expired.end(), std::make_move_iterator(list.begin()), std::make_move_iterator(fresh));
    list.erase(list.begin(), fresh);
    entry = list.empty() ? idle_.erase(entry) : std::next(entry);
  }
}

std::unique_ptr<Connection> ConnectionPool::pop(std::string const& key, Idle& expired) {
  std::lock_guard const lock(mutex_);
  expire(expired);
  auto const entry = idle_.find(key);
  if (entry == idle_.end()) return nullptr;
  std::unique_ptr<Connection> connection = std::move(entry->second.back());
  entry->second.pop_back();
  if (entry->second.empty()) idle_.erase(entry);
  return connection;
}

std::unique_ptr<Connection> ConnectionPool::take(std::string const& key) {
  Idle expired;  // closed without the lock: ending TLS writes to the socket
  while (std::unique_ptr<Connection> connection = pop(key, expired)) {
    // Nothing was asked, so bytes or an end mean that the peer is done with it.
    Result<bool> const input = connection->transport->has_input();
    if (!input || *input) continue;
    connection->reused = true;
    return connection;
  }
  return nullptr;
}

void ConnectionPool::give(std::unique_ptr<Connection> connection) {
  Idle expired;
  connection->idle_since = std::chrono::steady_clock::now();
  std::lock_guard const lock(mutex_);
  expire(expired);
  Idle& list = idle_[connection->key];
  if (list.size() >= max_idle_per_key_) {
    expired.push_back(std::move(connection));
    if (list.empty()) idle_.erase(expired.back()->key);
    return;
  }
  list.push_back(std::move(connection));
}

}  // namespace davit::wire
