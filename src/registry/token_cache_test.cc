#include "registry/token_cache.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <vector>

namespace davit::registry {
namespace {

using namespace std::chrono_literals;

class Tokens : public testing::Test {
 protected:
  TokenCache::Clock::time_point now_{};
  TokenCache cache_{[this] { return now_; }};
  int fetches_ = 0;

  std::string get(TokenKey const& key, std::chrono::seconds lifetime = 300s) {
    auto const token = cache_.get(key,
                                  [&]() -> Result<FetchedToken> {
                                    return FetchedToken{"t" + std::to_string(++fetches_), lifetime};
                                  },
                                  {});
    return token.ok() ? *token : token.error().to_string();
  }
};

TEST_F(Tokens, AreKeptUntilShortBeforeTheirEnd) {
  TokenKey const key{"r", "s", "scope", "u"};
  EXPECT_EQ(get(key), "t1");
  now_ += 289s;
  EXPECT_EQ(get(key), "t1");
  now_ += 1s;
  EXPECT_EQ(get(key), "t2");
}

TEST_F(Tokens, ShortLivesCountAsAMinute) {
  TokenKey const key{"r", "s", "scope", "u"};
  EXPECT_EQ(get(key, 1s), "t1");
  now_ += 49s;
  EXPECT_EQ(get(key, 1s), "t1");
  now_ += 1s;
  EXPECT_EQ(get(key, 1s), "t2");
}

TEST_F(Tokens, EveryPartOfTheKeyCounts) {
  TokenKey const key{"r", "s", "scope", "u"};
  EXPECT_EQ(get(key), "t1");
  EXPECT_EQ(get({"R", "s", "scope", "u"}), "t2");
  EXPECT_EQ(get({"r", "S", "scope", "u"}), "t3");
  EXPECT_EQ(get({"r", "s", "SCOPE", "u"}), "t4");
  EXPECT_EQ(get({"r", "s", "scope", ""}), "t5");
  EXPECT_EQ(get(key), "t1");
}

TEST_F(Tokens, AForgottenOneIsFetchedAgain) {
  TokenKey const key{"r", "s", "scope", "u"};
  EXPECT_EQ(get(key), "t1");
  cache_.forget(key, "another");
  EXPECT_EQ(get(key), "t1");
  cache_.forget(key, "t1");
  EXPECT_EQ(get(key), "t2");
}

TEST(TokenFetch, IsDoneByOneOfMany) {
  TokenCache cache;
  std::atomic<int> fetches = 0, right = 0;
  {
    std::vector<std::jthread> threads;
    for (int i = 0; i < 8; ++i) {
      threads.emplace_back([&] {
        auto const token = cache.get({"r", "s", "c", "u"},
                                     [&]() -> Result<FetchedToken> {
                                       ++fetches;
                                       std::this_thread::sleep_for(30ms);
                                       return FetchedToken{"t", 60s};
                                     },
                                     {});
        if (token.ok() && *token == "t") ++right;
      });
    }
  }
  EXPECT_EQ(fetches, 1);
  EXPECT_EQ(right, 8);
}

TEST(TokenFetch, AFailureIsEverybodysButACancelledOneIsNot) {
  for (Errc const code : {Errc::kPermissionDenied, Errc::kCancelled}) {
    TokenCache cache;
    std::atomic<int> fetches = 0, failed = 0;
    auto const ask = [&] {
      auto const token = cache.get({"r", "s", "c", "u"},
                                   [&]() -> Result<FetchedToken> {
                                     int const number = ++fetches;
                                     std::this_thread::sleep_for(30ms);
                                     if (number == 1) return Error(code, "no");
                                     return FetchedToken{"t", 60s};
                                   },
                                   {});
      if (!token.ok()) ++failed;
    };
    {
      std::jthread first(ask);
      while (fetches == 0) std::this_thread::yield();
      std::jthread second(ask), third(ask);
    }
    // A cancelled fetch was its thread's own affair; another refusal counts for those who waited.
    EXPECT_EQ(fetches, code == Errc::kCancelled ? 2 : 1);
    EXPECT_EQ(failed, code == Errc::kCancelled ? 1 : 3);
  }
}

TEST(TokenFetch, WaitingEndsWhenStopped) {
  TokenCache cache;
  std::atomic<bool> fetching = false, release = false;
  std::jthread fetcher([&] {
    (void)cache
        .get({"r", "s", "c", "u"},
             [&]() -> Result<FetchedToken> {
               fetching = true;
               while (!release) std::this_thread::sleep_for(1ms);
               return FetchedToken{"t", 60s};
             },
             {})
        .ok();
  });
  while (!fetching) std::this_thread::yield();
  std::stop_source stop;
  std::jthread stopper([&] {
    std::this_thread::sleep_for(10ms);
    stop.request_stop();
  });
  auto const token = cache.get(
      {"r", "s", "c", "u"}, []() -> Result<FetchedToken> { return Error(Errc::kInternal, "not mine"); },
      stop.get_token());
  release = true;
  ASSERT_FALSE(token.ok());
  EXPECT_EQ(token.error().code(), Errc::kCancelled);
}

}  // namespace
}  // namespace davit::registry
