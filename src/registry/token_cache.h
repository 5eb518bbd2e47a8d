// Bearer tokens until they expire. Any thread; of several that need the same token one fetches it.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>

#include "base/result.h"

namespace davit::registry {

struct FetchedToken {
  std::string token;
  std::chrono::seconds lifetime{60};  // less counts as 60 s (distribution's token specification)
};

// What a token is good for. user: "" is anonymous.
struct TokenKey {
  std::string realm, service, scopes, user;
  auto operator<=>(TokenKey const&) const = default;
};

class TokenCache {
 public:
  using Clock = std::chrono::steady_clock;
  using Fetch = std::function<Result<FetchedToken>()>;
  // Tokens are given out until this long before their end: a request takes time to arrive.
  static constexpr std::chrono::seconds kMargin{10}, kMinLifetime{60};
  static constexpr std::size_t kMaxTokens = 1000;

  explicit TokenCache(std::function<Clock::time_point()> now = Clock::now) : now_(std::move(now)) {}

  // The token, from the cache or by fetch, which is called without any lock held. Those who wait for another thread's
  // fetch get its error, unless that was kCancelled: then one of them fetches.
  Result<std::string> get(TokenKey const& key, Fetch const& fetch, std::stop_token const& stop);
  // The server did not take this token: it is not given out again.
  void forget(TokenKey const& key, std::string_view token);

 private:
  struct Entry {
    std::string token;  // "" when none
    Clock::time_point until{};
    bool fetching = false;
    std::uint64_t fetches = 0;  // how many have ended
    Errc last_error = Errc::kInternal;
    std::string last_message;  // "" when the last fetch gave a token
  };
  std::string const* usable(Entry const& entry) const;
  void make_room();

  std::function<Clock::time_point()> now_;
  std::mutex mutex_;
  std::condition_variable_any changed_;
  std::map<TokenKey, Entry> entries_;
};

}  // namespace davit::registry
