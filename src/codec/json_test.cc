#include "codec/json.h"

#include <gtest/gtest.h>

#include "codec/json_writer.h"

namespace davit::json {
namespace {

struct BadText {
  std::string_view name, text, place;
};
class JsonSyntax : public testing::TestWithParam<BadText> {};

TEST_P(JsonSyntax, RefusesTextNamingLineAndColumn) {
  auto const document = Document::parse(GetParam().text, {.max_bytes = 1000, .max_depth = 4});
  ASSERT_FALSE(document.ok());
  EXPECT_EQ(document.error().code(), Errc::kInvalidArgument);
  EXPECT_NE(document.error().message().find(GetParam().place), std::string::npos) << document.error().message();
}

INSTANTIATE_TEST_SUITE_P(Table, JsonSyntax,
                         testing::Values(BadText{"empty", "", "line 1, column 1:"},
                                         BadText{"bare_word", "{\n  \"a\": nope\n}", "line 2, column 8"},
                                         BadText{"unfinished", "{\"a\": 1", "line 1, column 8"},
                                         BadText{"trailing_comma", "[1,\n2,\n]", "line 3, column 1"},
                                         BadText{"text_after", "{}\n{}", "line 2, column 1"},
                                         BadText{"bad_utf8", "[\"\xff\"]", "line 1, column 3"},
                                         BadText{"too_deep", "[[[[[1]]]]]", "line 1, column 5"},
                                         BadText{"control_character", "[\"\x01\"]", "line 1, column 3"}),
                         [](auto const& row) { return std::string(row.param.name); });

TEST(Json, RefusesTextOverTheSizeLimit) {
  EXPECT_FALSE(Document::parse("[1, 2, 3]", {.max_bytes = 8}).ok());
  EXPECT_TRUE(Document::parse("[1, 2, 3]", {.max_bytes = 9}).ok());
}

TEST(Json, LaterOfTwoEqualKeysWinsAndCaseMatters) {
  auto const document = Document::parse(R"({"a": 1, "b": 2, "A": 3, "a": 4})");
  ASSERT_TRUE(document.ok());
  Field const root = document->root();
  int value = 0;
  ASSERT_TRUE(read(root["a"], value).ok());
  EXPECT_EQ(value, 4);
  ASSERT_TRUE(read(root["A"], value).ok());
  EXPECT_EQ(value, 3);
}

TEST(Json, NullIsTheSameAsAbsent) {
  auto const document = Document::parse(R"({"list": null, "number": null, "text": null, "map": null, "object": null})");
  ASSERT_TRUE(document.ok());
  Field const root = document->root();
  std::vector<std::string> list{"kept"};
  std::optional<int> number;
  std::string text = "kept";
  std::map<std::string, std::string> map;
  EXPECT_TRUE(read(root["list"], list).ok());
  EXPECT_TRUE(read(root["number"], number).ok());
  EXPECT_TRUE(read(root["text"], text).ok());
  EXPECT_TRUE(read(root["map"], map).ok());
  EXPECT_TRUE(root["object"].expect_object().ok());
  EXPECT_EQ(list.size(), 1u);
  EXPECT_FALSE(number);
  EXPECT_EQ(text, "kept");
  EXPECT_FALSE(root["object"].expect_present().ok());
}

TEST(Json, NumbersAreCheckedAgainstTheirType) {
  auto const document = Document::parse(
      R"({"big": 18446744073709551615, "over": 18446744073709551616, "neg": -1, "i64": -9223372036854775808, "real": 1.5})");
  ASSERT_TRUE(document.ok());
  Field const root = document->root();
  std::uint64_t u64 = 0;
  std::int64_t i64 = 0;
  std::uint16_t u16 = 0;
  std::int8_t i8 = 0;
  EXPECT_TRUE(read(root["big"], u64).ok());
  EXPECT_EQ(u64, 18446744073709551615u);
  EXPECT_FALSE(read(root["over"], u64).ok());
  EXPECT_FALSE(read(root["neg"], u64).ok());
  EXPECT_TRUE(read(root["neg"], i8).ok());
  EXPECT_EQ(i8, -1);
  EXPECT_TRUE(read(root["i64"], i64).ok());
  EXPECT_EQ(i64, std::numeric_limits<std::int64_t>::min());
  EXPECT_FALSE(read(root["big"], i64).ok());
  EXPECT_FALSE(read(root["big"], u16).ok());
  EXPECT_FALSE(read(root["real"], u64).ok());
}

TEST(Json, ErrorsNameTheFieldTheRangeAndWhatWasFound) {
  auto const document = Document::parse(R"({"user": {"uid": "x"}, "list": [{"n": 1}, {"n": true}]})");
  ASSERT_TRUE(document.ok());
  Field const root = document->root("process");
  Field const user = root["user"];
  std::uint32_t uid = 0;
  auto const first = read(user["uid"], uid);
  ASSERT_FALSE(first.ok());
  EXPECT_EQ(first.error().to_string(), "process.user.uid: expected a number from 0 to 4294967295, found a string");
  Field const list = root["list"];
  Field const second_item = list.element(1);
  auto const second = read(second_item["n"], uid);
  ASSERT_FALSE(second.ok());
  EXPECT_EQ(second.error().to_string(), "process.list[1].n: expected a number from 0 to 4294967295, found a boolean");
}

TEST(Json, StringsWithNulAreRefused) {
  auto const document = Document::parse(R"({"path": "/a\u0000b"})");
  ASSERT_TRUE(document.ok());
  Field const root = document->root();
  std::string path;
  EXPECT_FALSE(read(root["path"], path).ok());
}

struct Quoted {
  std::string_view name, text, json;
};
class JsonQuote : public testing::TestWithParam<Quoted> {};

TEST_P(JsonQuote, IsAlwaysValidUtf8) {
  std::string out;
  append_quoted(out, GetParam().text);
  EXPECT_EQ(out, GetParam().json);
  EXPECT_TRUE(Document::parse(out).ok());
}

INSTANTIATE_TEST_SUITE_P(
    Table, JsonQuote,
    testing::Values(Quoted{"plain", "a b", "\"a b\""}, Quoted{"escapes", "\"\\\n\t\x01", R"("\"\\\n\t\u0001")"},
                    Quoted{"nul", std::string_view("a\0b", 3), R"("a\u0000b")"}, Quoted{"del", "\x7f", R"("\u007f")"},
                    Quoted{"two_three_four", "\u00e9\u20ac\U0001F600", "\"\u00e9\u20ac\U0001F600\""},
                    Quoted{"stray", "a\x80z", "\"a\uFFFDz\""}, Quoted{"overlong", "\xC0\x80", "\"\uFFFD\uFFFD\""},
                    Quoted{"surrogate", "\xED\xA0\x80", "\"\uFFFD\uFFFD\uFFFD\""},
                    Quoted{"cut", "\xE2\x82", "\"\uFFFD\uFFFD\""}),
    [](auto const& row) { return std::string(row.param.name); });

TEST(JsonWriter, WritesCompactAndIndented) {
  for (bool const pretty : {false, true}) {
    Writer writer(pretty ? "  " : "");
    writer.begin_object();
    writer.field("a", 1).field("b", std::vector<std::string>{"x", "y"}).field("c", std::vector<int>{});
    writer.key("d").begin_object().end_object();
    writer.field("e", true).key("f").null();
    writer.end_object();
    EXPECT_EQ(writer.text(),
              pretty ? "{\n  \"a\": 1,\n  \"b\": [\n    \"x\",\n    \"y\"\n  ],\n  \"c\": [],\n  \"d\": {},\n"
                       "  \"e\": true,\n  \"f\": null\n}"
                     : R"({"a":1,"b":["x","y"],"c":[],"d":{},"e":true,"f":null})");
    EXPECT_TRUE(Document::parse(writer.text()).ok());
  }
}

}  // namespace
}  // namespace davit::json
