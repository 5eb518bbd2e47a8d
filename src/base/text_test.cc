#include "base/text.h"

#include <gtest/gtest.h>

#include <limits>
#include <string>

namespace davit {
namespace {

using Pieces = std::vector<std::string_view>;

TEST(Split, KeepsEmptyPieces) {
  EXPECT_EQ(split("a:b", ':'), (Pieces{"a", "b"}));
  EXPECT_EQ(split(":a::", ':'), (Pieces{"", "a", "", ""}));
  EXPECT_EQ(split("", ':'), (Pieces{""}));
  EXPECT_EQ(split("ab", ':'), (Pieces{"ab"}));
}

TEST(Trim, TakesBlanksOffBothEndsOnly) {
  EXPECT_EQ(trim(" \ta b\r\n"), "a b");
  EXPECT_EQ(trim("ab"), "ab");
  EXPECT_EQ(trim(" \n"), "");
  EXPECT_EQ(trim(""), "");
}

struct NumberCase {
  std::string_view name, text;
  std::optional<std::uint64_t> unsigned_value;
  std::optional<std::int64_t> signed_value;
};
class ParseNumber : public testing::TestWithParam<NumberCase> {};

TEST_P(ParseNumber, TakesTheWholeTextOrNothing) {
  EXPECT_EQ(parse_u64(GetParam().text), GetParam().unsigned_value);
  EXPECT_EQ(parse_i64(GetParam().text), GetParam().signed_value);
}

constexpr std::uint64_t kMaxU64 = std::numeric_limits<std::uint64_t>::max();
constexpr std::int64_t kMinI64 = std::numeric_limits<std::int64_t>::min();
constexpr auto kNo = std::nullopt;
INSTANTIATE_TEST_SUITE_P(
    Table, ParseNumber,
    testing::Values(NumberCase{"zero", "0", 0, 0}, NumberCase{"plain", "42", 42, 42},
                    NumberCase{"leading_zeros", "007", 7, 7}, NumberCase{"negative", "-1", kNo, -1},
                    NumberCase{"largest_unsigned", "18446744073709551615", kMaxU64, kNo},
                    NumberCase{"too_large", "18446744073709551616", kNo, kNo},
                    NumberCase{"smallest_signed", "-9223372036854775808", kNo, kMinI64},
                    NumberCase{"too_small", "-9223372036854775809", kNo, kNo}, NumberCase{"empty", "", kNo, kNo},
                    NumberCase{"plus", "+1", kNo, kNo}, NumberCase{"space_before", " 1", kNo, kNo},
                    NumberCase{"newline_after", "1\n", kNo, kNo}, NumberCase{"hex", "0x10", kNo, kNo},
                    NumberCase{"fraction", "1.5", kNo, kNo}, NumberCase{"sign_only", "-", kNo, kNo},
                    NumberCase{"nul_inside", std::string_view("1\0", 2), kNo, kNo}),
    [](auto const& info) { return std::string(info.param.name); });

TEST(Rfc3339, PrintsNineDigitsAndZulu) {
  EXPECT_EQ(rfc3339_nanos(0), "1970-01-01T00:00:00.000000000Z");
  EXPECT_EQ(rfc3339_nanos(1'795'291'042'123'456'789), "2026-11-21T19:57:22.123456789Z");
  EXPECT_EQ(rfc3339_nanos(951'782'400'000'000'000), "2000-02-29T00:00:00.000000000Z");
  // Before 1970 the fraction still counts forward.
  EXPECT_EQ(rfc3339_nanos(-1), "1969-12-31T23:59:59.999999999Z");
  EXPECT_EQ(rfc3339_nanos(-1'000'000'000), "1969-12-31T23:59:59.000000000Z");
}

TEST(Hex, IsLowerCaseAndTwoDigitsAByte) {
  EXPECT_EQ(hex(std::string_view("\x00\x0f\xa0\xff", 4)), "000fa0ff");
  EXPECT_EQ(hex(""), "");
}

TEST(Nearest, OffersOnlyWhatIsAtMostAThirdAway) {
  std::vector<std::string_view> const names{"memory", "memorySwap", "pids", "ro"};
  EXPECT_EQ(nearest("memroy", names), "memory");
  EXPECT_EQ(nearest("memory", names), "memory");
  EXPECT_EQ(nearest("memoryswap", names), "memorySwap");
  EXPECT_EQ(nearest("pid", names), "pids");
  EXPECT_EQ(nearest("network", names), std::nullopt);
  // Two letters are not enough to guess from: a third of their length is no letter.
  EXPECT_EQ(nearest("rw", names), std::nullopt);
  EXPECT_EQ(nearest("", names), std::nullopt);
  EXPECT_EQ(nearest("pids", {}), std::nullopt);
}

}  // namespace
}  // namespace davit
