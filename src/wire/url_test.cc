#include "wire/url.h"

#include <gtest/gtest.h>

namespace davit::wire {
namespace {

struct ParseCase {
  std::string_view name, text;
  std::string_view canonical;  // "": refused
  std::uint16_t port = 0;
};

class UrlParse : public ::testing::TestWithParam<ParseCase> {};

TEST_P(UrlParse, GivesTheCanonicalFormOrRefuses) {
  Result<Url> const url = Url::parse(GetParam().text);
  if (GetParam().canonical.empty()) {
    ASSERT_FALSE(url.ok()) << url->to_string();
    EXPECT_EQ(url.error().code(), Errc::kInvalidArgument);
    EXPECT_EQ(url.error().to_string().find("secret"), std::string::npos);
    return;
  }
  ASSERT_TRUE(url.ok()) << url.error().to_string();
  EXPECT_EQ(url->to_string(), GetParam().canonical);
  EXPECT_EQ(url->port, GetParam().port);
}

INSTANTIATE_TEST_SUITE_P(
    Table, UrlParse,
    ::testing::Values(ParseCase{"plain", "http://a.example/x", "http://a.example/x", 80},
                      ParseCase{"no_path", "https://a.example", "https://a.example/", 443},
                      ParseCase{"query_without_path", "http://a?b=c", "http://a/?b=c", 80},
                      ParseCase{"fragment", "http://a/b?c#d", "http://a/b?c", 80},
                      ParseCase{"upper_case", "HTTPS://A.Example:443/P", "https://a.example/P", 443},
                      ParseCase{"port", "http://localhost:5000/v2/", "http://localhost:5000/v2/", 5000},
                      ParseCase{"empty_port", "http://a:/", "http://a/", 80},
                      ParseCase{"ipv6", "http://[::1]:5000/", "http://[::1]:5000/", 5000},
                      ParseCase{"userinfo", "http://u:secret@a/", "http://a/", 80},
                      ParseCase{"at_in_password", "http://u:p@q@a/", "http://a/", 80},
                      ParseCase{"utf8_path", "http://a/\xc3\xa4", "http://a/%C3%A4", 80},
                      ParseCase{"underscore", "http://my_host/", "http://my_host/", 80}, ParseCase{"empty", "", ""},
                      ParseCase{"no_scheme", "a.example/x", ""}, ParseCase{"other_scheme", "ftp://a/", ""},
                      ParseCase{"no_host", "http:///x", ""}, ParseCase{"only_port", "http://:80/", ""},
                      ParseCase{"one_slash", "http:/a", ""}, ParseCase{"port_zero", "http://a:0/", ""},
                      ParseCase{"port_large", "http://a:65536/", ""}, ParseCase{"port_text", "http://a:x/", ""},
                      ParseCase{"port_sign", "http://a:+80/", ""}, ParseCase{"space", "http://a/b c", ""},
                      ParseCase{"line_end", "http://a/b\r\nX: y", ""},
                      ParseCase{"nul", std::string_view("http://a/\0", 10), ""},
                      ParseCase{"delete", "http://a/\x7f", ""}, ParseCase{"bad_ipv6", "http://[::g]/", ""},
                      ParseCase{"open_bracket", "http://[::1/", ""}, ParseCase{"after_bracket", "http://[::1]x/", ""},
                      ParseCase{"backslash", "http://a\\@b/", ""}, ParseCase{"percent_host", "http://a%2eb/", ""},
                      ParseCase{"two_ports", "http://a:1:2/", ""},
                      ParseCase{"bad_userinfo", "http://secret:%zz@a/", ""},
                      ParseCase{"secret_kept", "http://u:secret@/", ""}),
    [](auto const& info) { return std::string(info.param.name); });

TEST(Url, DecodesUserAndPassword) {
  Url const url = Url::parse("http://us%40er:p%3Aw@proxy:3128").value();
  EXPECT_EQ(url.user, "us@er");
  EXPECT_EQ(url.password, "p:w");
  EXPECT_EQ(url.host_header(), "proxy:3128");
}

struct ResolveCase {
  std::string_view name, reference, result;
};

class UrlResolve : public ::testing::TestWithParam<ResolveCase> {};

TEST_P(UrlResolve, FollowsRfc3986) {
  Url const base = Url::parse("http://a:8080/b/c/d?q").value();
  Result<Url> const url = base.resolve(GetParam().reference);
  EXPECT_EQ(url.ok() ? url->to_string() : "", GetParam().result);
}

INSTANTIATE_TEST_SUITE_P(
    Table, UrlResolve,
    ::testing::Values(
        ResolveCase{"absolute", "https://x/y?z", "https://x/y?z"}, ResolveCase{"host", "//x/y", "http://x/y"},
        ResolveCase{"path", "/v2/u?s=1", "http://a:8080/v2/u?s=1"}, ResolveCase{"relative", "g", "http://a:8080/b/c/g"},
        ResolveCase{"relative_query", "g?y", "http://a:8080/b/c/g?y"}, ResolveCase{"dot", "./g", "http://a:8080/b/c/g"},
        ResolveCase{"dot_dot", "../g", "http://a:8080/b/g"}, ResolveCase{"above_root", "../../../g", "http://a:8080/g"},
        ResolveCase{"ends_dot_dot", "..", "http://a:8080/b/"}, ResolveCase{"ends_dot", ".", "http://a:8080/b/c/"},
        ResolveCase{"query", "?y", "http://a:8080/b/c/d?y"}, ResolveCase{"fragment", "#s", "http://a:8080/b/c/d?q"},
        ResolveCase{"empty", "", "http://a:8080/b/c/d?q"},
        ResolveCase{"dots_in_query", "/x?a/../b", "http://a:8080/x?a/../b"},
        ResolveCase{"colon_in_path", "./u:1", "http://a:8080/b/c/u:1"}, ResolveCase{"other_scheme", "ftp://x/", ""},
        ResolveCase{"line_end", "/a\r\nb", ""}),
    [](auto const& info) { return std::string(info.param.name); });

TEST(Url, ADroppedOriginDropsItsUser) {
  Url const base = Url::parse("http://u:p@a/b").value();
  EXPECT_EQ(base.resolve("/c")->user, "u");
  EXPECT_EQ(base.resolve("http://evil/")->user, "");
  EXPECT_EQ(base.resolve("//evil/")->user, "");
}

TEST(Url, EncodesWhatIsNotUnreserved) { EXPECT_EQ(percent_encode("a/b:c ~\xff"), "a%2Fb%3Ac%20~%FF"); }

}  // namespace
}  // namespace davit::wire
