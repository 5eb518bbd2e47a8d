#include "snapshot/entry_name.h"

#include <gtest/gtest.h>

namespace davit::snapshot {
namespace {

struct Case {
  std::string name, text;
  NameKind kind;
  std::string parent, leaf;
};
class EntryNames : public ::testing::TestWithParam<Case> {};
TEST_P(EntryNames, AreCleanedAsDockerDoes) {
  EntryName name;
  ASSERT_TRUE(parse_entry_name(GetParam().text, name).ok());
  EXPECT_EQ(name.kind, GetParam().kind);
  if (name.kind == NameKind::kNothing) return;
  EXPECT_EQ(name.parent, GetParam().parent);
  if (name.kind != NameKind::kOpaque) {
    EXPECT_EQ(name.leaf, GetParam().leaf);
  }
}
using enum NameKind;
INSTANTIATE_TEST_SUITE_P(
    Table, EntryNames,
    ::testing::Values(
        Case{"plain", "a/b", kEntry, "a", "b"}, Case{"top", "a", kEntry, "", "a"},
        Case{"dot_slash", "./a", kEntry, "", "a"}, Case{"slash_at_the_end", "a/b/", kEntry, "a", "b"},
        Case{"absolute", "//a/b", kEntry, "a", "b"}, Case{"doubled", "a//./b", kEntry, "a", "b"},
        Case{"up_inside", "a/../b", kEntry, "", "b"}, Case{"up_twice", "a/b/../../c", kEntry, "", "c"},
        Case{"dots_are_a_name", "...", kEntry, "", "..."}, Case{"root", "./", kRoot, "", ""},
        Case{"slash", "/", kRoot, "", ""}, Case{"empty", "", kRoot, "", ""}, Case{"up_to_root", "a/..", kRoot, "", ""},
        Case{"whiteout", "a/.wh.b", kWhiteout, "a", "b"}, Case{"whiteout_top", ".wh.b", kWhiteout, "", "b"},
        Case{"whiteout_of_hidden", ".wh..b", kWhiteout, "", ".b"}, Case{"opaque", "a/.wh..wh..opq", kOpaque, "a", ""},
        Case{"opaque_root", ".wh..wh..opq", kOpaque, "", ""}, Case{"aufs_links", ".wh..wh.plnk/1.2", kNothing, "", ""},
        Case{"aufs", ".wh..wh.aufs", kNothing, "", ""}, Case{"orphans", "a/.wh..wh.orph", kNothing, "", ""},
        Case{"not_a_prefix", "a.wh.b", kEntry, "", "a.wh.b"}, Case{"no_dot_after", ".wh", kEntry, "", ".wh"}),
    [](auto const& info) { return info.param.name; });

struct Bad {
  std::string name, text;
};
class HostileNames : public ::testing::TestWithParam<Bad> {};
TEST_P(HostileNames, AreRefused) {
  EntryName name;
  EXPECT_EQ(parse_entry_name(GetParam().text, name).error().code(), Errc::kInvalidArgument);
}
INSTANTIATE_TEST_SUITE_P(Table, HostileNames,
                         ::testing::Values(Bad{"up", ".."}, Bad{"up_and_down", "../a"}, Bad{"absolute_up", "/../a"},
                                           Bad{"late", "a/../../b"}, Bad{"whiteout_of_nothing", "a/.wh."},
                                           Bad{"whiteout_of_dot", ".wh.."}, Bad{"whiteout_of_dot_dot", "a/.wh..."},
                                           Bad{"whiteout_as_directory", ".wh.a/b"}),
                         [](auto const& info) { return info.param.name; });

}  // namespace
}  // namespace davit::snapshot
