#include "codec/base64.h"

#include <gtest/gtest.h>

namespace davit::codec {
namespace {

struct Case {
  std::string_view name, bytes, text;
};
class Base64 : public testing::TestWithParam<Case> {};

TEST_P(Base64, EncodesAndDecodesWithAndWithoutPadding) {
  EXPECT_EQ(base64_encode(GetParam().bytes), GetParam().text);
  EXPECT_EQ(base64_decode(GetParam().text).value(), GetParam().bytes);
  std::string bare(GetParam().text);
  while (bare.ends_with('=')) bare.pop_back();
  EXPECT_EQ(base64_decode(bare).value(), GetParam().bytes);
  EXPECT_EQ(base64_decode(base64url_encode(GetParam().bytes)).value(), GetParam().bytes);
}

// RFC 4648, section 10
INSTANTIATE_TEST_SUITE_P(Table, Base64,
                         testing::Values(Case{"empty", "", ""}, Case{"f", "f", "Zg=="}, Case{"fo", "fo", "Zm8="},
                                         Case{"foo", "foo", "Zm9v"}, Case{"foob", "foob", "Zm9vYg=="},
                                         Case{"fooba", "fooba", "Zm9vYmE="}, Case{"foobar", "foobar", "Zm9vYmFy"},
                                         Case{"high", "\xfb\xff\xfe", "+//+"}),
                         [](auto const& info) { return std::string(info.param.name); });

TEST(Base64Url, UsesItsOwnAlphabetWithPadding) {
  EXPECT_EQ(base64url_encode("\xfb\xff\xfe"), "-__-");
  EXPECT_EQ(base64url_encode("f"), "Zg==");
}

class Base64Damaged : public testing::TestWithParam<std::string_view> {};

TEST_P(Base64Damaged, IsInvalidArgument) {
  auto const decoded = base64_decode(GetParam());
  ASSERT_FALSE(decoded.ok());
  EXPECT_EQ(decoded.error().code(), Errc::kInvalidArgument);
}

INSTANTIATE_TEST_SUITE_P(Table, Base64Damaged,
                         testing::Values("Z", "Zg=", "Zg===", "=", "====", "Zm9v=", "Zm9v====", "Zm 9v", "Zm9v\n",
                                         "Zg==Zg==", "Z\xc3\xa4==", std::string_view("Zg\0=", 4), "Zm9vY"));

TEST(Base64, RoundTripsEveryByte) {
  std::string bytes;
  for (int i = 0; i < 256; ++i) bytes += static_cast<char>(i);
  EXPECT_EQ(base64_decode(base64_encode(bytes)).value(), bytes);
  EXPECT_EQ(base64_decode(base64url_encode(bytes)).value(), bytes);
}

}  // namespace
}  // namespace davit::codec
