#include "snapshot/recipe.h"

#include <gtest/gtest.h>

#include "codec/compression.h"
#include "codec/testing/tar_parts.h"
#include "snapshot/recipe_format.h"
#include "snapshot/testing/layers.h"
#include "sys/testing/temp_dir.h"

namespace davit::snapshot {
namespace {

using namespace testing;
using namespace codec::testing;
using sys::testing::TempDir;

Result<std::string> rebuild(std::string const& layer, std::string const& recipe, std::size_t chunk = SIZE_MAX) {
  codec::MemorySource source(recipe, chunk);
  UniqueFd const directory = open_dir(layer);
  auto const tar = rebuild_tar(directory.get(), source);
  return codec::read_all(*tar, std::size_t{1} << 30);
}

struct Case {
  std::string name, tar;
  bool complete = true;
};
class Recipes : public ::testing::TestWithParam<Case> {};
TEST_P(Recipes, GiveTheTarBack) {
  if (!is_root()) GTEST_SKIP() << "only root can unpack files of any owner";
  TempDir temp;
  std::string const layer = temp / "l";
  codec::StringSink recipe;
  auto const applied = apply_tar(GetParam().tar, layer, {.recipe = &recipe}, 1000);
  ASSERT_TRUE(applied.ok()) << applied.error().to_string();
  EXPECT_EQ(applied->recipe_complete, GetParam().complete);
  if (!applied->recipe_complete) return;
  for (std::size_t const chunk : {std::size_t{1}, SIZE_MAX}) {
    auto const tar = rebuild(layer, recipe.text(), chunk);
    ASSERT_TRUE(tar.ok()) << tar.error().to_string();
    EXPECT_TRUE(*tar == GetParam().tar);
  }
}
INSTANTIATE_TEST_SUITE_P(
    Table, Recipes,
    ::testing::Values(
        Case{"empty", end_of_tar()}, Case{"nothing", ""},
        Case{"files", directory("d") + file("d/a", "hello") + file("d/b", "") + file("d/c", std::string(700'000, 'c')) +
                          end_of_tar()},
        Case{"blocking_factor", file("a", "x") + std::string(9216, '\0')},
        Case{"garbage_after_the_end", file("a", "x") + end_of_tar() + "garbage"}, Case{"no_end", file("a", "x")},
        Case{"padding_that_is_not_zero", RawHeader("a", '0', 3).block() + "abc" + std::string(509, 'p') + end_of_tar()},
        Case{"links_and_extended_headers", pax({{"path", "long"}, {"comment", "kept"}}) + file("a", "data") +
                                               link("h", '1', "long") + link("s", '2', "long") + end_of_tar()},
        Case{"data_of_what_is_passed_over", file(".wh..wh.plnk/1", "aufs") + file("label", "text", 'A') + end_of_tar()},
        Case{"data_of_whiteouts", file(".wh.x", "odd") + end_of_tar()},
        Case{"through_links", directory("r") + link("l", '2', "r") + file("l/f", "data") + end_of_tar()},
        Case{"sparse", pax({{"GNU.sparse.major", "1"},
                            {"GNU.sparse.minor", "0"},
                            {"GNU.sparse.realsize", "1000000"},
                            {"GNU.sparse.name", "s"}}) +
                           file("x", padded("2\n10\n2\n500000\n3\n") + "abcde") + file("after", "y") + end_of_tar()},
        Case{"sparse_of_holes", pax({{"GNU.sparse.major", "1"},
                                     {"GNU.sparse.minor", "0"},
                                     {"GNU.sparse.realsize", "1000000"},
                                     {"GNU.sparse.name", "s"}}) +
                                    file("x", padded("0\n")) + end_of_tar()},
        Case{"directories_twice", directory("d") + file("d/f", "x") + directory("d") + end_of_tar()},
        Case{"file_over_whiteout", file(".wh.a", "") + file("a", "x") + end_of_tar()},
        Case{"file_twice", file("a", "x") + file("a", "y") + end_of_tar(), false},
        Case{"directory_removed", directory("d") + file("d/a", "x") + file(".wh.d", "") + end_of_tar(), false},
        Case{"link_replaced", directory("r") + link("l", '2', "r") + file("l/f", "x") + directory("l") + end_of_tar(),
             false}),
    [](auto const& info) { return info.param.name; });

TEST(Recipe, FitsOnlyTheDirectoryItWasMadeWith) {
  if (!is_root()) GTEST_SKIP() << "only root can unpack files of any owner";
  TempDir temp;
  codec::StringSink recipe;
  ASSERT_TRUE(apply_tar(file("d/a", "hello") + end_of_tar(), temp / "l", {.recipe = &recipe}).ok());
  UniqueFd const layer = open_dir(temp / "l"), other = open_dir(temp / "other");
  EXPECT_EQ(rebuild(temp / "other", recipe.text()).error().code(), Errc::kInvalidArgument);
  UniqueFd const directory = open_dir(temp / "l/d");
  ASSERT_TRUE(sys::replace_file_at(directory.get(), "a", "hello, longer", 0644, sys::Durability::kNone).ok());
  EXPECT_EQ(rebuild(temp / "l", recipe.text()).error().code(), Errc::kInvalidArgument);
  ASSERT_EQ(::unlinkat(directory.get(), "a", 0), 0);
  ASSERT_EQ(::mkfifoat(directory.get(), "a", 0600), 0);
  EXPECT_EQ(rebuild(temp / "l", recipe.text()).error().code(), Errc::kInvalidArgument);
  ASSERT_EQ(::unlinkat(directory.get(), "a", 0), 0);
  ASSERT_TRUE(sys::replace_file_at(layer.get(), "target", "hello", 0644, sys::Durability::kNone).ok());
  ASSERT_EQ(::symlinkat("../target", directory.get(), "a"), 0);
  EXPECT_EQ(rebuild(temp / "l", recipe.text()).error().code(), Errc::kInvalidArgument);
}

std::string number(std::uint64_t value) {
  std::string text;
  recipe::append_number(text, value);
  return text;
}
std::string compressed(std::string const& records) {
  codec::StringSink sink;
  codec::ZstdSink zstd(sink, 1);
  EXPECT_TRUE(zstd.write(records).ok());
  EXPECT_TRUE(zstd.finish().ok());
  return sink.take();
}

struct Bad {
  std::string name, records;
};
class DamagedRecipes : public ::testing::TestWithParam<Bad> {};
TEST_P(DamagedRecipes, AreRefused) {
  TempDir temp;
  auto const tar = rebuild(temp.path(), compressed(GetParam().records));
  ASSERT_FALSE(tar.ok());
  EXPECT_EQ(tar.error().code(), Errc::kInvalidArgument);
}
std::string const kStart(recipe::kMagic);
INSTANTIATE_TEST_SUITE_P(
    Table, DamagedRecipes,
    ::testing::Values(Bad{"another_version", "DVTRCP2\n" + std::string(2, '\0')}, Bad{"no_end", kStart},
                      Bad{"cut_in_raw", kStart + "\1" + number(9) + "abc"}, Bad{"cut_in_a_number", kStart + "\1\x80"},
                      Bad{"endless_number", kStart + "\1" + std::string(12, '\xff')},
                      Bad{"unknown_record", kStart + "\7"},
                      Bad{"long_path", kStart + "\2" + number(5000) + std::string(5000, 'a') + number(0)},
                      Bad{"no_path", kStart + "\2" + number(0) + number(0)},
                      Bad{"path_above", kStart + "\2" + number(4) + "a/.." + number(1)},
                      Bad{"path_outside", kStart + "\2" + number(13) + "../etc/passwd" + number(1)},
                      Bad{"absolute_path", kStart + "\2" + number(11) + "/etc/passwd" + number(1)},
                      Bad{"path_with_nul", kStart + "\2" + number(3) + std::string("a\0b", 3) + number(1)},
                      Bad{"too_many_extents", kStart + "\3" + number(1) + "a" + number(9) + number(2'000'000)},
                      Bad{"extent_past_the_end",
                          kStart + "\3" + number(1) + "a" + number(9) + number(1) + number(8) + number(2)},
                      Bad{"another_size", kStart + "\1" + number(1) + "x" + std::string(1, '\0') + number(2)}),
    [](auto const& info) { return info.param.name; });

TEST(Recipe, ThatIsCutOffIsRefused) {
  if (!is_root()) GTEST_SKIP() << "only root can unpack files of any owner";
  TempDir temp;
  codec::StringSink recipe;
  ASSERT_TRUE(apply_tar(file("a", "hello") + end_of_tar(), temp / "l", {.recipe = &recipe}).ok());
  for (std::size_t size = 0; size < recipe.text().size(); ++size) {
    EXPECT_FALSE(rebuild(temp / "l", recipe.text().substr(0, size)).ok()) << size;
  }
}

}  // namespace
}  // namespace davit::snapshot
