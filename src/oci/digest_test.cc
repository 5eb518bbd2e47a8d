#include "oci/digest.h"

#include <gtest/gtest.h>

#include <unordered_set>

namespace davit::oci {
namespace {

std::string repeat(std::string_view text, std::size_t count) {
  std::string out;
  for (std::size_t i = 0; i < count; ++i) out += text;
  return out;
}

struct Case {
  std::string_view name;
  std::string text;
  bool ok;
};

class DigestParse : public testing::TestWithParam<Case> {};

TEST_P(DigestParse, AcceptsSha256AndSha512InLowerCaseHexOnly) {
  auto const digest = Digest::parse(GetParam().text);
  ASSERT_EQ(digest.ok(), GetParam().ok);
  if (digest.ok()) {
    EXPECT_EQ(digest->text(), GetParam().text);
  } else {
    EXPECT_EQ(digest.error().code(), Errc::kInvalidArgument);
    EXPECT_LT(digest.error().message().size(), 300u);
  }
}

INSTANTIATE_TEST_SUITE_P(
    Table, DigestParse,
    testing::Values(
        Case{"sha256", "sha256:" + repeat("0a", 32), true}, Case{"sha512", "sha512:" + repeat("f9", 64), true},  //
        Case{"empty", "", false}, Case{"only_algorithm", "sha256", false}, Case{"no_digits", "sha256:", false},
        Case{"no_algorithm", ":" + repeat("a", 64), false}, Case{"bare_hex", repeat("a", 64), false},
        Case{"short", "sha256:" + repeat("a", 63), false}, Case{"long", "sha256:" + repeat("a", 65), false},
        Case{"upper_case", "sha256:" + repeat("A", 64), false},
        Case{"upper_case_algorithm", "SHA256:" + repeat("a", 64), false},
        Case{"not_hex", "sha256:" + repeat("g", 64), false},
        Case{"sha512_as_long_as_sha256", "sha512:" + repeat("a", 64), false},
        Case{"sha256_as_long_as_sha512", "sha256:" + repeat("a", 128), false},
        Case{"sha384", "sha384:" + repeat("a", 96), false}, Case{"md5", "md5:" + repeat("a", 32), false},
        Case{"path", "sha256:" + repeat("../", 21) + "a", false}, Case{"slash", "sha256/" + repeat("a", 64), false},
        Case{"nul", "sha256:" + repeat("a", 63) + std::string(1, '\0'), false},
        Case{"line_end", "sha256:" + repeat("a", 64) + "\n", false},
        Case{"huge", "sha256:" + repeat("a", 1 << 20), false}),
    [](auto const& info) { return std::string(info.param.name); });

TEST(Digest, GivesItsParts) {
  Digest const digest = Digest::sha256(repeat("0123456789abcdef", 4));
  EXPECT_EQ(digest.algorithm(), "sha256");
  EXPECT_EQ(digest.hex(), repeat("0123456789abcdef", 4));
  EXPECT_EQ(digest.short_hex(), "0123456789ab");
  EXPECT_EQ(digest, *Digest::parse("sha256:" + repeat("0123456789abcdef", 4)));
  std::unordered_set<Digest> const set{digest, digest};
  EXPECT_EQ(set.size(), 1u);
}

}  // namespace
}  // namespace davit::oci
