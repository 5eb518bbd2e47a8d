#include "registry/retry.h"

#include <gtest/gtest.h>

#include <thread>

namespace davit::registry {
namespace {

using namespace std::chrono_literals;

constexpr std::int64_t kNow = 784111777;  // Sun, 06 Nov 1994 08:49:37 GMT

struct AfterCase {
  std::string_view name, value;
  std::optional<std::chrono::milliseconds> delay;
};
class RetryAfter : public testing::TestWithParam<AfterCase> {};
TEST_P(RetryAfter, IsSecondsOrADate) { EXPECT_EQ(parse_retry_after(GetParam().value, kNow), GetParam().delay); }
INSTANTIATE_TEST_SUITE_P(Table, RetryAfter,
                         testing::Values(AfterCase{"seconds", " 7 ", 7s}, AfterCase{"zero", "0", 0s},
                                         AfterCase{"much", "86400", 60s},
                                         AfterCase{"overflow", "99999999999999999999", std::nullopt},
                                         AfterCase{"date", "Sun, 06 Nov 1994 08:49:47 GMT", 10s},
                                         AfterCase{"past", "Sun, 06 Nov 1994 08:00:00 GMT", 0s},
                                         AfterCase{"far", "Sun, 06 Nov 2094 08:00:00 GMT", 60s},
                                         AfterCase{"no_day", "Sun, 31 Feb 1994 08:00:00 GMT", std::nullopt},
                                         AfterCase{"zone", "Sun, 06 Nov 1994 08:49:47 CET", std::nullopt},
                                         AfterCase{"negative", "-1", std::nullopt},
                                         AfterCase{"empty", "", std::nullopt}),
                         [](auto const& info) { return std::string(info.param.name); });

TEST(Backoff, DoublesWithinItsJitter) {
  RetryPolicy const policy{5, 100ms};
  EXPECT_EQ(backoff_delay(policy, 1, 0), 50ms);
  EXPECT_EQ(backoff_delay(policy, 1, 1023), 149ms);
  EXPECT_EQ(backoff_delay(policy, 3, 512), 400ms);
  EXPECT_LE(backoff_delay(policy, 60, 1023), 90s);
}

TEST(Pause, EndsWhenStopped) {
  std::stop_source stop;
  std::jthread stopper([&] {
    std::this_thread::sleep_for(10ms);
    stop.request_stop();
  });
  auto const begin = std::chrono::steady_clock::now();
  EXPECT_EQ(pause(30s, stop.get_token()).error().code(), Errc::kCancelled);
  EXPECT_LT(std::chrono::steady_clock::now() - begin, 5s);
}

}  // namespace
}  // namespace davit::registry
