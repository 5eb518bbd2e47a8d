#include "snapshot/diff.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "codec/testing/tar_parts.h"
#include "snapshot/testing/layers.h"
#include "sys/raw_tree.h"
#include "sys/testing/temp_dir.h"

namespace davit::snapshot {
namespace {

using namespace testing;
using namespace codec::testing;
using sys::testing::TempDir;

#define NEEDS_ROOT() \
  if (!is_root()) GTEST_SKIP() << "only root can make files of any owner, devices and trusted attributes"

Result<std::string> diff(std::string const& upper, DiffOptions const& options = {}) {
  codec::StringSink sink;
  TRY(diff_upper(open_dir(upper).get(), sink, options));
  return sink.take();
}

std::string sample() {
  return directory("d") + RawHeader("d/f", '0', 5).octal(codec::tar::kMode, 04750).octal(codec::tar::kUid, 5).block() +
         padded("hello") + link("h", '1', "d/f") + link("s", '2', "d/f") + link("t", '1', "s") +
         file("d/.wh.gone", "") + file(".wh.top", "") + directory("o") + file("o/.wh..wh..opq", "") +
         file("o/new", "") + pax({{"mtime", "1.5"}, {"SCHILY.xattr.user.a", "b"}}) +
         file("x", std::string(300'000, 'x')) +
         RawHeader("null", '3').octal(codec::tar::kMajor, 1).octal(codec::tar::kMinor, 3).block() +
         RawHeader("p", '6').block() + end_of_tar();
}

std::vector<std::string> names(std::string const& tar) {
  codec::MemorySource source(tar);
  codec::TarReader reader(source);
  codec::TarEntry entry;
  std::vector<std::string> found;
  while (*reader.next(entry)) found.push_back(entry.name);
  return found;
}

TEST(Diff, GivesBackTheLayer) {
  NEEDS_ROOT();
  TempDir temp;
  ASSERT_TRUE(apply_tar(sample(), temp / "a").ok());
  auto const tar = diff(temp / "a");
  ASSERT_TRUE(tar.ok()) << tar.error().to_string();
  EXPECT_EQ(names(*tar), (std::vector<std::string>{".wh.top", "d", "d/.wh.gone", "d/f", "h", "null", "o",
                                                   "o/.wh..wh..opq", "o/new", "p", "s", "t", "x"}));
  ASSERT_TRUE(apply_tar(*tar, temp / "b").ok());
  EXPECT_EQ(tree_text(temp / "b"), tree_text(temp / "a"));
  EXPECT_EQ(*diff(temp / "b"), *tar);
}

TEST(Diff, IsTheSameWhateverTheOrderOfMaking) {
  NEEDS_ROOT();
  TempDir temp("/dev/shm");  // hundreds of files: a disk could be slow
  std::string forwards, backwards;
  for (int i = 0; i < 300; ++i) {
    std::string const one = file("f" + std::to_string(i * 7919 % 300), std::to_string(i * 7919 % 300));
    forwards += one;
    backwards = one + backwards;
  }
  ASSERT_TRUE(apply_tar(forwards + end_of_tar(), temp / "a").ok());
  ASSERT_TRUE(apply_tar(backwards + end_of_tar(), temp / "b").ok());
  EXPECT_EQ(*diff(temp / "a"), *diff(temp / "b"));
}

TEST(Diff, ClampsTimes) {
  NEEDS_ROOT();
  TempDir temp;
  ASSERT_TRUE(
      apply_tar(pax({{"mtime", "5.5"}}) + file("early", "") + file("late", "") + end_of_tar(), temp / "a").ok());
  auto const tar = diff(temp / "a", {.clamp_mtime = codec::TarTime{100, 0}});
  codec::MemorySource source(*tar);
  codec::TarReader reader(source);
  codec::TarEntry entry;
  ASSERT_TRUE(*reader.next(entry));
  EXPECT_EQ(entry.mtime, (codec::TarTime{5, 500'000'000}));
  ASSERT_TRUE(*reader.next(entry));
  EXPECT_EQ(entry.mtime, (codec::TarTime{100, 0}));
}

TEST(Diff, LeavesOutSocketsAndOverlaysOwnAttributes) {
  NEEDS_ROOT();
  TempDir temp;
  ASSERT_TRUE(apply_tar(directory("d") + end_of_tar(), temp / "a").ok());
  UniqueFd const layer = open_dir(temp / "a");
  ASSERT_EQ(::mknodat(layer.get(), "socket", S_IFSOCK | 0600, 0), 0);
  for (char const* const name :
       {"trusted.overlay.origin", "trusted.overlay.impure", "user.overlay.x", "trusted.kept"}) {
    ASSERT_EQ(sys::raw::lsetxattr(sys::proc_path(layer.get(), "d").c_str(), name, "y", 1), 0) << name;
  }
  auto const tar = diff(temp / "a");
  codec::MemorySource source(*tar);
  codec::TarReader reader(source);
  codec::TarEntry entry;
  ASSERT_TRUE(*reader.next(entry));
  EXPECT_EQ(entry.xattrs, (std::map<std::string, std::string>{{"trusted.kept", "y"}}));
  EXPECT_FALSE(*reader.next(entry));
}

TEST(Diff, ReadsWhiteoutsInAttributeForm) {
  NEEDS_ROOT();
  TempDir temp;
  ASSERT_TRUE(apply_tar(directory("d") + file("d/gone", "") + file("d/kept", "") + end_of_tar(), temp / "a").ok());
  UniqueFd const directory_fd = open_dir(temp / "a/d");
  ASSERT_EQ(sys::raw::setxattr(sys::proc_path(directory_fd.get(), "").c_str(), kOpaqueXattr, "x", 1), 0);
  ASSERT_EQ(sys::raw::lsetxattr(sys::proc_path(directory_fd.get(), "gone").c_str(), kWhiteoutXattr, "y", 1), 0);
  EXPECT_EQ(names(*diff(temp / "a")), (std::vector<std::string>{"d", "d/.wh.gone", "d/kept"}));
}

struct Mark {
  std::string name;
  char const* xattr;
};
class DiffRefuses : public ::testing::TestWithParam<Mark> {};
TEST_P(DiffRefuses, WhatLiesElsewhere) {
  NEEDS_ROOT();
  TempDir temp;
  ASSERT_TRUE(apply_tar(directory("d") + end_of_tar(), temp / "a").ok());
  ASSERT_EQ(sys::raw::lsetxattr(sys::proc_path(open_dir(temp / "a").get(), "d").c_str(), GetParam().xattr, "/x", 2), 0);
  EXPECT_EQ(diff(temp / "a").error().code(), Errc::kConflict);
}
INSTANTIATE_TEST_SUITE_P(Table, DiffRefuses,
                         ::testing::Values(Mark{"redirect", kRedirectXattr}, Mark{"metacopy", kMetacopyXattr}),
                         [](auto const& info) { return info.param.name; });

TEST(Diff, RefusesANameThatWouldBeAWhiteout) {
  TempDir temp;
  UniqueFd const layer = open_dir(temp / "a");
  ASSERT_TRUE(sys::replace_file_at(layer.get(), ".wh.x", "", 0644, sys::Durability::kNone).ok());
  EXPECT_EQ(diff(temp / "a").error().code(), Errc::kInvalidArgument);
}

TEST(Export, KeepsEverythingAsItIs) {
  NEEDS_ROOT();
  TempDir temp;
  std::string const tree =
      directory("d") + file("d/f", "x") + link("h", '1', "d/f") + link("s", '2', "nowhere") + end_of_tar();
  ASSERT_TRUE(apply_tar(tree, temp / "a").ok());
  codec::StringSink sink;
  ASSERT_TRUE(export_tree(open_dir(temp / "a").get(), sink, {}).ok());
  ASSERT_TRUE(apply_tar(sink.text(), temp / "b", {.whiteouts = Whiteouts::kRefuse}).ok());
  EXPECT_EQ(tree_text(temp / "b", Times::kShow), tree_text(temp / "a", Times::kShow));
}

TEST(Changes, AreWhatDockerDiffPrints) {
  NEEDS_ROOT();
  TempDir temp;
  std::string const bottom = directory("etc") + directory("etc/apt") + file("etc/apt/list", "") +
                             directory("etc/apt/sub") + file("etc/apt/sub/x", "") + file("etc/same", "") +
                             file("etc/edited", "old") + file("etc/issue", "") + directory("srv") + directory("var") +
                             directory("var/lib") + file("hidden", "");
  std::string const middle = file(".wh.hidden", "") + directory("etc") + file("etc/middle", "");
  std::string const upper =
      directory("etc") + directory("etc/apt") + file("etc/apt/.wh..wh..opq", "") + file("etc/apt/q", "") +
      file("etc/edited", "newer") + file("etc/.wh.issue", "") + file("etc/same", "") + file("etc/.wh.never", "") +
      RawHeader("srv", '5').octal(codec::tar::kMode, 0700).block() + directory("new") + file("new/f", "") +
      directory("var") + directory("var/lib") + file("hidden", "again") + file("etc/.wh.middle", "");
  ASSERT_TRUE(apply_tar(bottom + end_of_tar(), temp / "bottom").ok());
  ASSERT_TRUE(apply_tar(middle + end_of_tar(), temp / "middle").ok());
  ASSERT_TRUE(apply_tar(upper + end_of_tar(), temp / "upper").ok());
  UniqueFd const upper_fd = open_dir(temp / "upper"), middle_fd = open_dir(temp / "middle"),
                 bottom_fd = open_dir(temp / "bottom");
  auto const found = changes(upper_fd.get(), {middle_fd.get(), bottom_fd.get()});
  ASSERT_TRUE(found.ok()) << found.error().to_string();
  std::string text;
  for (Change const& change : *found) text += std::string(1, change.kind) + " " + change.path + "\n";
  EXPECT_EQ(
      text,
      "C /etc\nC /etc/apt\nD /etc/apt/list\nA /etc/apt/q\nD /etc/apt/sub\nC /etc/edited\nD /etc/issue\nD /etc/middle\n"
      "A /hidden\nA /new\nA /new/f\nC /srv\n");
}

}  // namespace
}  // namespace davit::snapshot
