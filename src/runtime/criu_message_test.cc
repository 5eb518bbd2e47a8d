#include "runtime/criu_message.h"

#include <gtest/gtest.h>

namespace davit::runtime {
namespace {

using namespace std::string_view_literals;

TEST(CriuMessage, EncodesAsTheSpecificationsExamples) {
  EXPECT_EQ(CriuMessage().number(1, 150).bytes(), "\x08\x96\x01");
  EXPECT_EQ(CriuMessage().text(2, "testing").bytes(), "\x12\x07testing");
  EXPECT_EQ(CriuMessage().message(3, CriuMessage().number(1, 150)).bytes(), "\x1a\x03\x08\x96\x01");
  EXPECT_EQ(CriuMessage().flag(1, false).bytes(), "");
}

TEST(CriuMessage, ReadsBackWhatItWrites) {
  CriuMessage const message = CriuMessage().number(68, ~0ULL).text(13, "/a b").flag(3, true);
  auto const fields = parse_criu_message(message.bytes());
  ASSERT_TRUE(fields.ok());
  ASSERT_EQ(fields->size(), 3U);
  EXPECT_EQ((*fields)[0].field, 68U);
  EXPECT_EQ((*fields)[0].number, ~0ULL);
  EXPECT_EQ((*fields)[1].bytes, "/a b");
  EXPECT_EQ((*fields)[2].number, 1U);
}

TEST(CriuMessage, SkipsOverFieldsOfFixedSize) {
  auto const fields = parse_criu_message(
      "\x09"
      "12345678"
      "\x15"
      "1234"
      "\x08\x01"sv);
  ASSERT_TRUE(fields.ok());
  EXPECT_EQ(fields->back().number, 1U);
}

class Malformed : public testing::TestWithParam<std::string_view> {};
TEST_P(Malformed, IsAnError) { EXPECT_FALSE(parse_criu_message(GetParam()).ok()); }
INSTANTIATE_TEST_SUITE_P(Table, Malformed,
                         testing::Values("\x08"sv, "\x08\x80"sv, "\x12\x07test"sv, "\x00\x01"sv, "\x0b"sv,
                                         "\x12\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"sv, "\x09\x01\x02"sv));

}  // namespace
}  // namespace davit::runtime
