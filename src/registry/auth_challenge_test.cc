#include "registry/auth_challenge.h"

#include <gtest/gtest.h>

namespace davit::registry {
namespace {

TEST(Challenges, BearerWithQuotedCommasAndEscapes) {
  auto const list = parse_challenges(
      R"(Bearer realm="https://auth.example/token",service="registry \"one\"",scope="repository:a/b:pull,push")");
  ASSERT_EQ(list.size(), 1U);
  EXPECT_EQ(list[0].scheme, "bearer");
  EXPECT_EQ(list[0].parameter("realm"), "https://auth.example/token");
  EXPECT_EQ(list[0].parameter("service"), "registry \"one\"");
  EXPECT_EQ(list[0].parameter("scope"), "repository:a/b:pull,push");
  EXPECT_EQ(list[0].parameter("error"), "");
}

TEST(Challenges, SeveralInOneHeader) {
  auto const list = parse_challenges(R"(Negotiate, Basic realm="a, b" , BEARER Realm = https://x/y?z=1,service=s)");
  ASSERT_EQ(list.size(), 3U);
  EXPECT_EQ(list[0].scheme, "negotiate");
  EXPECT_EQ(list[1].parameter("realm"), "a, b");
  EXPECT_EQ(list[2].scheme, "bearer");
  EXPECT_EQ(list[2].parameter("realm"), "https://x/y?z=1");
  EXPECT_EQ(list[2].parameter("service"), "s");
}

TEST(Challenges, TheFirstOfTwoEqualParametersCounts) {
  auto const list = parse_challenges(R"(Bearer realm="https://good",realm="https://bad")");
  ASSERT_EQ(list.size(), 1U);
  EXPECT_EQ(list[0].parameter("realm"), "https://good");
}

struct BadCase {
  std::string_view name, text;
  std::size_t schemes;
};
class BadChallenges : public testing::TestWithParam<BadCase> {};
TEST_P(BadChallenges, EndTheList) { EXPECT_EQ(parse_challenges(GetParam().text).size(), GetParam().schemes); }
INSTANTIATE_TEST_SUITE_P(Table, BadChallenges,
                         testing::Values(BadCase{"empty", "", 0}, BadCase{"spaces", " , ", 0},
                                         BadCase{"parameter_first", "realm=\"x\"", 0}, BadCase{"quote", "\"x\"", 0},
                                         BadCase{"open_quote", "Bearer realm=\"x", 1},
                                         BadCase{"escape_at_end", "Bearer realm=\"x\\", 1},
                                         BadCase{"odd_character", "Basic realm=\"a\", (Bearer", 1}),
                         [](auto const& info) { return std::string(info.param.name); });

TEST(Scopes, AreMergedAndSorted) {
  Scopes scopes = Scopes::pull("a/b");
  scopes.add("repository:a/b:push,pull repository:c:pull registry:catalog:*");
  EXPECT_EQ(scopes.text(), "registry:catalog:* repository:a/b:pull,push repository:c:pull");
  EXPECT_EQ(Scopes::pull("a/b").merged(Scopes::push("a/b")), Scopes::push("a/b"));
}

TEST(Scopes, NamesMayHoldColons) {
  EXPECT_EQ(Scopes().add("repository:host:5000/a:pull").list(),
            std::vector<std::string>{"repository:host:5000/a:pull"});
  EXPECT_TRUE(Scopes().add("nonsense one:two").empty());
}

}  // namespace
}  // namespace davit::registry
