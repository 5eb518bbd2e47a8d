#include "oci/image_ref.h"

#include <gtest/gtest.h>

namespace davit::oci {
namespace {

std::string const kHex(64, 'a');
std::string const kSha = "@sha256:" + kHex;

std::string letters(std::size_t count) { return std::string(count, 'a'); }

// The tables are the answers of dockerd 28.5 to `docker tag` and `docker image ls`, with three exceptions, see "Apart
// from Docker" below.
struct Case {
  std::string_view name;
  std::string text, full, familiar;  // full and familiar: with tag and digest as given
};

class ImageRefParse : public testing::TestWithParam<Case> {};

TEST_P(ImageRefParse, NormalisesAsDockerDoes) {
  auto const ref = ImageRef::parse(GetParam().text);
  ASSERT_TRUE(ref.ok()) << ref.error().to_string();
  EXPECT_EQ(ref->to_string(), GetParam().full);
  EXPECT_EQ(ref->familiar(), GetParam().familiar);
  for (std::string const& text : {ref->to_string(), ref->familiar()}) {
    auto const again = ImageRef::parse(text);
    ASSERT_TRUE(again.ok()) << text;
    EXPECT_EQ(*again, *ref);
  }
}

INSTANTIATE_TEST_SUITE_P(
    Table, ImageRefParse,
    testing::Values(
        Case{"word", "nginx", "docker.io/library/nginx", "nginx"},
        Case{"tag", "nginx:1", "docker.io/library/nginx:1", "nginx:1"},
        Case{"library", "library/nginx", "docker.io/library/nginx", "nginx"},
        Case{"user", "foo/bar", "docker.io/foo/bar", "foo/bar"},
        Case{"domain_and_word", "docker.io/nginx", "docker.io/library/nginx", "nginx"},
        Case{"everything", "docker.io/library/nginx:latest" + kSha, "docker.io/library/nginx:latest" + kSha,
             "nginx:latest" + kSha},
        Case{"index", "index.docker.io/nginx", "docker.io/library/nginx", "nginx"},
        Case{"index_library", "index.docker.io/library/nginx:v1", "docker.io/library/nginx:v1", "nginx:v1"},
        Case{"three_parts", "docker.io/foo/bar/baz", "docker.io/foo/bar/baz", "foo/bar/baz"},
        Case{"below_library", "library/a/b", "docker.io/library/a/b", "library/a/b"},
        Case{"localhost", "localhost/foo", "localhost/foo", "localhost/foo"},
        Case{"localhost_port", "localhost:5000/a/b:v1", "localhost:5000/a/b:v1", "localhost:5000/a/b:v1"},
        Case{"localhost_upper", "LOCALHOST/foo", "LOCALHOST/foo", "LOCALHOST/foo"},
        Case{"localhost_alone", "localhost", "docker.io/library/localhost", "localhost"},
        Case{"localhost_with_tag", "localhost:5000", "docker.io/library/localhost:5000", "localhost:5000"},
        Case{"upper_is_domain", "Foo/bar", "Foo/bar", "Foo/bar"}, Case{"dot_is_domain", "a.b/c", "a.b/c", "a.b/c"},
        Case{"dot_in_upper", "a.B/c", "a.B/c", "a.B/c"},
        Case{"dot_without_slash", "a.b", "docker.io/library/a.b", "a.b"},
        Case{"docker_io_alone", "docker.io", "docker.io/library/docker.io", "docker.io"},
        Case{"port_is_domain", "a:5000/c", "a:5000/c", "a:5000/c"},
        Case{"port_without_slash_is_tag", "a:5000", "docker.io/library/a:5000", "a:5000"},
        Case{"absurd_port", "a:99999/c", "a:99999/c", "a:99999/c"},
        Case{"other_port", "docker.io:443/foo", "docker.io:443/foo", "docker.io:443/foo"},
        Case{"host", "registry-1.docker.io/foo", "registry-1.docker.io/foo", "registry-1.docker.io/foo"},
        Case{"ipv4", "1.2.3.4/x", "1.2.3.4/x", "1.2.3.4/x"},
        Case{"ipv4_port", "1.2.3.4:5/x", "1.2.3.4:5/x", "1.2.3.4:5/x"}, Case{"ipv6", "[::1]/x", "[::1]/x", "[::1]/x"},
        Case{"ipv6_port", "[::1]:5000/x:t", "[::1]:5000/x:t", "[::1]:5000/x:t"},
        Case{"ipv6_upper", "[FE80::1]/x", "[FE80::1]/x", "[FE80::1]/x"},
        Case{"underscores", "foo__bar", "docker.io/library/foo__bar", "foo__bar"},
        Case{"hyphens", "foo---bar/baz", "docker.io/foo---bar/baz", "foo---bar/baz"},
        Case{"all_separators", "x/foo.bar-baz_q", "docker.io/x/foo.bar-baz_q", "x/foo.bar-baz_q"},
        Case{"separators", "a.b:80/c.d/e_f__g:1.2", "a.b:80/c.d/e_f__g:1.2", "a.b:80/c.d/e_f__g:1.2"},
        Case{"tag_underscore", "foo:_x", "docker.io/library/foo:_x", "foo:_x"},
        Case{"tag_upper", "foo:V1.2-RC_3", "docker.io/library/foo:V1.2-RC_3", "foo:V1.2-RC_3"},
        Case{"longest_tag", "foo:" + letters(128), "docker.io/library/foo:" + letters(128), "foo:" + letters(128)},
        Case{"digest", "foo" + kSha, "docker.io/library/foo" + kSha, "foo" + kSha},
        Case{"tag_and_digest", "foo:x" + kSha, "docker.io/library/foo:x" + kSha, "foo:x" + kSha},
        Case{"sha512", "foo@sha512:" + kHex + kHex, "docker.io/library/foo@sha512:" + kHex + kHex,
             "foo@sha512:" + kHex + kHex},
        Case{"digest_like", "sha256:" + kHex, "docker.io/library/sha256:" + kHex, "sha256:" + kHex},
        Case{"id_as_second_part", "b/" + kHex, "docker.io/b/" + kHex, "b/" + kHex},
        Case{"one_short_of_an_id", letters(63), "docker.io/library/" + letters(63), letters(63)},
        Case{"longest", letters(247), "docker.io/library/" + letters(247), letters(247)},
        Case{"longest_elsewhere", "x.y/" + letters(255), "x.y/" + letters(255), "x.y/" + letters(255)},
        Case{"scratch", "scratch", "docker.io/library/scratch", "scratch"},
        // Apart from Docker: the short form of these would be read back as another image's name.
        Case{"short_form_is_a_host", "docker.io/localhost/x", "docker.io/localhost/x", "docker.io/localhost/x"},
        Case{"short_form_is_a_host_too", "docker.io/a.b/x", "docker.io/a.b/x", "docker.io/a.b/x"},
        Case{"short_form_is_an_id", "library/" + kHex, "docker.io/library/" + kHex, "docker.io/library/" + kHex}),
    [](auto const& info) { return std::string(info.param.name); });

struct BadCase {
  std::string_view name;
  std::string text;
};

class ImageRefRefuse : public testing::TestWithParam<BadCase> {};

TEST_P(ImageRefRefuse, WithAShortMessage) {
  auto const ref = ImageRef::parse(GetParam().text);
  ASSERT_FALSE(ref.ok()) << ref->to_string();
  EXPECT_EQ(ref.error().code(), Errc::kInvalidArgument);
  EXPECT_LT(ref.error().message().size(), 600u);
  EXPECT_EQ(ref.error().message().find('\n'), std::string::npos);
}

INSTANTIATE_TEST_SUITE_P(
    Table, ImageRefRefuse,
    testing::Values(
        BadCase{"empty", ""}, BadCase{"spaces", "  "}, BadCase{"space", "foo bar"}, BadCase{"line_end", "foo\n"},
        BadCase{"nul", std::string("fo\0o", 4)}, BadCase{"umlaut", "\xc3\xbcn"}, BadCase{"upper", "Foo"},
        BadCase{"upper_with_tag", "FOO:latest"}, BadCase{"upper_in_path", "foo/Bar"},
        BadCase{"upper_in_library", "library/Foo"}, BadCase{"upper_with_digest", "Foo" + kSha},
        BadCase{"upper_id", std::string(64, 'A')}, BadCase{"id", kHex}, BadCase{"scheme", "http://nginx"},
        BadCase{"scheme_and_host", "https://docker.io/nginx"}, BadCase{"docker_scheme", "docker://nginx"},
        BadCase{"leading_slash", "/foo"}, BadCase{"trailing_slash", "foo/"}, BadCase{"double_slash", "foo//bar"},
        BadCase{"host_only", "docker.io/"}, BadCase{"two_dots", "foo..bar"}, BadCase{"parent", "../etc"},
        BadCase{"parent_inside", "a/../b"}, BadCase{"three_underscores", "foo___bar"},
        BadCase{"mixed_separators", "foo._bar"}, BadCase{"leading_hyphen", "-foo"}, BadCase{"trailing_hyphen", "foo-"},
        BadCase{"leading_underscore", "_foo"}, BadCase{"trailing_underscore", "foo_"}, BadCase{"trailing_dot", "foo."},
        BadCase{"plus", "foo+bar"}, BadCase{"empty_tag", "foo:"}, BadCase{"tag_hyphen", "foo:-x"},
        BadCase{"tag_dot", "foo:.x"}, BadCase{"tag_plus", "foo:a+b"}, BadCase{"tag_slash", "foo:a/b"},
        BadCase{"two_tags", "foo:v:w"}, BadCase{"long_tag", "foo:" + letters(129)}, BadCase{"empty_digest", "foo@"},
        BadCase{"short_digest", "foo@sha256:" + letters(63)},
        BadCase{"upper_digest", "foo@sha256:" + std::string(64, 'A')}, BadCase{"md5", "foo@md5:" + letters(32)},
        BadCase{"word_digest", "foo@sha256:short"}, BadCase{"plus_digest", "foo@sha256+b64u:" + kHex},
        BadCase{"tag_after_digest", "foo" + kSha + ":tag"}, BadCase{"two_digests", "foo" + kSha + kSha},
        BadCase{"long_path", letters(248)}, BadCase{"long_path_elsewhere", "x.y/" + letters(256)},
        BadCase{"huge", letters(1 << 20)}, BadCase{"bare_ipv6", "::1/x"},
        BadCase{"ipv6_zone", "[fe80::1%25eth0]:5000/x"}, BadCase{"ipv6_open", "[::1/x"}, BadCase{"ipv6_empty", "[]/x"},
        BadCase{"port_word", "a:b/c"}, BadCase{"port_empty", "a.b:/c"}, BadCase{"host_hyphen", "-a.b/c"},
        BadCase{"host_label_hyphen", "a-.b/c"}, BadCase{"host_dots", "a..b/c"}, BadCase{"at_alone", "@"},
        BadCase{"only_digest", kSha}, BadCase{"only_tag", ":tag"},
        // Apart from Docker, which takes it for a name without a registry that can be tagged and never be pushed or
        // pulled ("no Host in request URL").
        BadCase{"host_underscore", "a_b.c/d"}),
    [](auto const& info) { return std::string(info.param.name); });

TEST(ImageRef, DefaultsToLatestUnlessADigestSaysMore) {
  EXPECT_EQ(ImageRef::parse("a")->with_default_tag().tag(), "latest");
  EXPECT_EQ(ImageRef::parse("a:b")->with_default_tag().tag(), "b");
  EXPECT_EQ(ImageRef::parse("a" + kSha)->with_default_tag().tag(), "");
}

TEST(ImageRef, ChangesOnePart) {
  ImageRef const ref = *ImageRef::parse("x.y/z:1");
  EXPECT_EQ(ref.domain(), "x.y");
  EXPECT_EQ(ref.path(), "z");
  EXPECT_EQ(ref.name(), "x.y/z");
  EXPECT_EQ(ref.with_tag("2").to_string(), "x.y/z:2");
  EXPECT_EQ(ref.with_digest(Digest::sha256(kHex)).to_string(), "x.y/z:1" + kSha);
  EXPECT_EQ(ref.with_digest(Digest::sha256(kHex)).without_digest(), ref);
}

struct QueryCase {
  std::string_view name;
  std::string text, reference, id_prefix;
};

class ImageQueryParse : public testing::TestWithParam<QueryCase> {};

TEST_P(ImageQueryParse, TellsNamesFromIds) {
  auto const query = parse_image_query(GetParam().text);
  ASSERT_TRUE(query.ok()) << query.error().to_string();
  EXPECT_EQ(query->reference ? query->reference->familiar() : "", GetParam().reference);
  EXPECT_EQ(query->id_prefix, GetParam().id_prefix);
}

INSTANTIATE_TEST_SUITE_P(Table, ImageQueryParse,
                         testing::Values(QueryCase{"name", "nginx:1", "nginx:1", ""},
                                         QueryCase{"word_of_hex_letters", "cafe", "cafe", "cafe"},
                                         QueryCase{"id_prefix", "501c49b5f959", "501c49b5f959", "501c49b5f959"},
                                         QueryCase{"id", kHex, "", kHex},
                                         QueryCase{"full_id", "sha256:" + kHex, "", kHex},
                                         QueryCase{"algorithm_and_prefix", "sha256:ab12", "sha256:ab12", "ab12"},
                                         QueryCase{"digest", "a" + kSha, "a" + kSha, ""},
                                         QueryCase{"hex_with_tag", "cafe:1", "cafe:1", ""}),
                         [](auto const& info) { return std::string(info.param.name); });

TEST(ImageQuery, RefusesWhatIsNeither) {
  EXPECT_FALSE(parse_image_query("").ok());
  EXPECT_FALSE(parse_image_query("ABCDEF").ok());
  EXPECT_FALSE(parse_image_query("sha256:").ok());
}

}  // namespace
}  // namespace davit::oci
