#include "image/times.h"

#include <gtest/gtest.h>

#include <string>

#include "base/text.h"

namespace davit::image {
namespace {

struct TimeCase {
  std::string name, text;
  std::string as_utc;  // "" when it is none
};

class ParseTime : public testing::TestWithParam<TimeCase> {};

TEST_P(ParseTime, GivesNanosecondsSince1970) {
  std::int64_t const found = parse_time_ns(GetParam().text);
  if (GetParam().as_utc.empty()) {
    EXPECT_EQ(found, 0);
  } else {
    EXPECT_EQ(rfc3339_nanos(found), rfc3339_nanos(parse_time_ns(GetParam().as_utc)));
    EXPECT_NE(found, 0);
  }
}

INSTANTIATE_TEST_SUITE_P(
    Table, ParseTime,
    testing::Values(
        TimeCase{"whole_seconds", "2026-11-21T19:57:22Z", "2026-11-21T19:57:22Z"},
        TimeCase{"east", "2026-11-21T19:57:22+02:00", "2026-11-21T17:57:22Z"},
        TimeCase{"west_over_midnight", "2026-12-31T23:30:00-01:30", "2027-01-01T01:00:00Z"},
        TimeCase{"fraction_with_offset", "2026-11-21T19:57:22.5+00:30", "2026-11-21T19:27:22.5Z"},
        TimeCase{"finer_than_nanoseconds", "2026-11-21T19:57:22.1234567899Z", "2026-11-21T19:57:22.123456789Z"},
        TimeCase{"comma", "2026-11-21T19:57:22,5Z", "2026-11-21T19:57:22.5Z"},
        TimeCase{"leap_day", "2024-02-29T00:00:00Z", "2024-02-29T00:00:00Z"},
        TimeCase{"before_1970", "1969-12-31T23:59:59Z", "1969-12-31T23:59:59Z"}, TimeCase{"empty", "", ""},
        TimeCase{"go_zero", "0001-01-01T00:00:00Z", ""}, TimeCase{"too_late", "9999-12-31T00:00:00Z", ""},
        TimeCase{"no_zone", "2026-11-21T19:57:22", ""}, TimeCase{"other_zone", "2026-11-21T19:57:22x", ""},
        TimeCase{"letters_in_zone", "2026-11-21T19:57:22+ab:cd", ""},
        TimeCase{"zone_then_more", "2026-11-21T19:57:22Z ", ""}, TimeCase{"no_fraction", "2026-11-21T19:57:22.Z", ""},
        TimeCase{"no_such_month", "2026-13-21T19:57:22Z", ""}, TimeCase{"no_such_day", "2026-02-29T19:57:22Z", ""},
        TimeCase{"no_such_hour", "2026-02-28T24:00:00Z", ""}, TimeCase{"sign_in_number", "2026-+1-21T19:57:22Z", ""},
        TimeCase{"blank_between", "2026-11-21 19:57:22Z", ""}, TimeCase{"garbage", "not a time at all", ""}),
    [](auto const& info) { return info.param.name; });

TEST(ParseTimeValue, IsExact) {
  EXPECT_EQ(parse_time_ns("1970-01-01T00:00:01.000000001Z"), 1'000'000'001);
  EXPECT_EQ(parse_time_ns("1969-12-31T23:59:59.5Z"), -500'000'000);
}

struct DurationCase {
  std::string name, text;
  std::optional<std::int64_t> nanos;
};

class ParseDuration : public testing::TestWithParam<DurationCase> {};

TEST_P(ParseDuration, FollowsGo) { EXPECT_EQ(parse_duration_ns(GetParam().text), GetParam().nanos); }

INSTANTIATE_TEST_SUITE_P(
    Table, ParseDuration,
    testing::Values(DurationCase{"hours_and_minutes", "1h30m", 5'400'000'000'000},
                    DurationCase{"fraction", "1.5s", 1'500'000'000}, DurationCase{"leading_point", ".5s", 500'000'000},
                    DurationCase{"negative", "-10ms", -10'000'000}, DurationCase{"zero", "0", 0},
                    DurationCase{"micro", "3\u00b5s", 3000}, DurationCase{"no_unit", "15", std::nullopt},
                    DurationCase{"days", "1d", std::nullopt}, DurationCase{"empty", "", std::nullopt},
                    DurationCase{"sign_only", "-", std::nullopt},
                    DurationCase{"too_long", "99999999999h", std::nullopt},
                    DurationCase{"sums_too_long", "2562047h2562047h", std::nullopt}),
    [](auto const& info) { return info.param.name; });

struct MomentCase {
  std::string name, text;
  std::optional<std::int64_t> seconds_and_nanos_since_1970;
};

class ParseMoment : public testing::TestWithParam<MomentCase> {};

// What dockerd 28.5 accepts as `until`.
TEST_P(ParseMoment, FollowsDocker) {
  EXPECT_EQ(parse_moment_ns(GetParam().text, 100'000'000'000'000), GetParam().seconds_and_nanos_since_1970);
}

INSTANTIATE_TEST_SUITE_P(
    Table, ParseMoment,
    testing::Values(MomentCase{"ago", "1h", 96'400'000'000'000}, MomentCase{"hence", "-1h", 103'600'000'000'000},
                    MomentCase{"part_of_hour", "1.5h", 94'600'000'000'000},
                    MomentCase{"now", "0s", 100'000'000'000'000}, MomentCase{"seconds", "4000", 4'000'000'000'000},
                    MomentCase{"seconds_and_part", "4000.25", 4'000'250'000'000},
                    MomentCase{"date", "1970-01-02", 86'400'000'000'000},
                    MomentCase{"date_and_hour", "1970-01-02T01", 90'000'000'000'000},
                    MomentCase{"minutes", "1970-01-02T01:01", 90'060'000'000'000},
                    MomentCase{"no_zone", "1970-01-02T01:01:01", 90'061'000'000'000},
                    MomentCase{"zone", "1970-01-02T01:01:01+01:00", 86'461'000'000'000},
                    MomentCase{"minutes_with_zone", "1970-01-02T01:01-01:00", 93'660'000'000'000},
                    MomentCase{"garbage", "bogus", std::nullopt}, MomentCase{"empty", "", std::nullopt}),
    [](auto const& info) { return info.param.name; });

}  // namespace
}  // namespace davit::image
