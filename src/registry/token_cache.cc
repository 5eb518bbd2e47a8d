#include "registry/token_cache.h"

#include <algorithm>
#include <iterator>

#include "registry/retry.h"

namespace davit::registry {

std::string const* TokenCache::usable(Entry const& entry) const {
  return !entry.token.empty() && now_() < entry.until ? &entry.token : nullptr;
}

// Entries in use are kept: a thread that waits holds a reference into the map.
void TokenCache::make_room() {
  for (auto entry = entries_.begin(); entries_.size() > kMaxTokens && entry != entries_.end();) {
    entry = entry->second.fetching || usable(entry->second) != nullptr ? std::next(entry) : entries_.erase(entry);
  }
}

Result<std::string> TokenCache::get(TokenKey const& key, Fetch const& fetch, std::stop_token const& stop) {
  std::unique_lock lock(mutex_);
  for (;;) {
    Entry& entry = entries_[key];
    if (std::string const* token = usable(entry)) return *token;
    if (!entry.fetching) break;
    std::uint64_t const before = entry.fetches;
    // The entry may be removed and made again meanwhile, so not only its count tells.
    changed_.wait(lock, stop, [&] { return !entries_[key].fetching || entries_[key].fetches != before; });
    if (stop.stop_requested()) return cancelled();
    Entry const& after = entries_[key];
    if (!after.last_message.empty() && after.last_error != Errc::kCancelled) {
      return Error(after.last_error, after.last_message);
    }
  }
  entries_[key].fetching = true;
  lock.unlock();
  auto fetched = fetch();
  lock.lock();
  Entry& entry = entries_[key];
  entry.fetching = false;
  ++entry.fetches;
  if (fetched.ok()) {
    entry.token = fetched->token;
    entry.until = now_() + std::max(fetched->lifetime, kMinLifetime) - kMargin;
    entry.last_message.clear();
  } else {
    entry.last_error = fetched.error().code();
    entry.last_message = fetched.error().to_string();
  }
  changed_.notify_all();
  make_room();
  if (!fetched.ok()) return std::move(fetched).take_error();
  return std::move(fetched->token);
}

void TokenCache::forget(TokenKey const& key, std::string_view token) {
  std::lock_guard const lock(mutex_);
  auto const entry = entries_.find(key);
  if (entry != entries_.end() && entry->second.token == token) entry->second.token.clear();
}

}  // namespace davit::registry
