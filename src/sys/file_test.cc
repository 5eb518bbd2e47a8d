#include "sys/file.h"

#include <gtest/gtest.h>
#include <linux/magic.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <string>

#include "sys/testing/temp_dir.h"

namespace davit::sys {
namespace {

using testing::TempDir;

void write_file(std::string const& path, std::string_view data) {
  Result<UniqueFd> file = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
  ASSERT_TRUE(file.ok()) << file.error().to_string();
  ASSERT_TRUE(write_all(file->get(), data).ok());
}

UniqueFd open_directory(std::string const& path) { return open(path, O_RDONLY | O_DIRECTORY).value(); }

TEST(Open, SetsCloseOnExecAndNamesThePathWhenItFails) {
  TempDir dir;
  EXPECT_TRUE(::fcntl(open_directory(dir.path()).get(), F_GETFD) & FD_CLOEXEC);
  Result<UniqueFd> missing = open(dir / "missing", O_RDONLY);
  ASSERT_FALSE(missing.ok());
  EXPECT_EQ(missing.error().code(), Errc::kNotFound);
  EXPECT_EQ(missing.error().error_number(), ENOENT);
  EXPECT_NE(missing.error().to_string().find(dir / "missing"), std::string::npos);
}

TEST(Openat2, StaysInsideTheRoot) {
  TempDir dir;
  ASSERT_TRUE(mkdir(dir / "root", 0700).ok());
  write_file(dir / "outside", "secret");
  write_file(dir / "root/inside", "x");
  ASSERT_EQ(::symlink("../outside", (dir / "root/relative").c_str()), 0);
  ASSERT_EQ(::symlink("/inside", (dir / "root/absolute").c_str()), 0);
  UniqueFd const root = open_directory(dir / "root");
  auto resolve = [&root](char const* path) { return openat2(root.get(), path, O_RDONLY, abi::kResolveInRoot); };
  EXPECT_EQ(resolve("../outside").error().code(), Errc::kNotFound);
  EXPECT_EQ(resolve("relative").error().code(), Errc::kNotFound);
  EXPECT_EQ(read_all(resolve("absolute").value().get(), 10).value(), "x");
  EXPECT_FALSE(openat2(root.get(), "absolute", O_RDONLY, abi::kResolveBeneath).ok());
}

class ReadAll : public ::testing::TestWithParam<std::size_t> {};
TEST_P(ReadAll, GivesEveryByteUpToTheLimit) {
  TempDir dir;
  std::string const data(GetParam(), 'x');
  write_file(dir / "file", data);
  EXPECT_EQ(read_file(dir / "file", data.size()).value(), data);
  if (data.empty()) return;
  EXPECT_EQ(read_file(dir / "file", data.size() - 1).error().code(), Errc::kResourceExhausted);
}
INSTANTIATE_TEST_SUITE_P(Sizes, ReadAll, ::testing::Values(0, 1, 4095, 4096, 4097, 100'000));

TEST(ReadFile, ReadsFilesThatHaveNoSize) {
  EXPECT_NE(read_file("/proc/self/status").value().find("Pid:"), std::string::npos);
}

TEST(ReplaceFile, PutsTheNewContentInPlaceOfTheOld) {
  TempDir dir;
  UniqueFd const directory = open_directory(dir.path());
  for (Durability const durability : {Durability::kNone, Durability::kSync}) {
    for (std::string const text : {"first, longer", "second"}) {
      ASSERT_TRUE(replace_file_at(directory.get(), "state", text, 0640, durability).ok());
      EXPECT_EQ(read_file(dir / "state").value(), text);
    }
  }
  EXPECT_EQ(list_directory(directory.get()).value(), std::vector<std::string>{"state"});
  struct stat const info = fstat(open(dir / "state", O_RDONLY)->get()).value();
  EXPECT_EQ(info.st_mode & 07777, 0640U);
}

TEST(ReplaceFile, LeavesTheOldContentWhenItCannotWrite) {
  TempDir dir;
  UniqueFd const directory = open_directory(dir.path());
  ASSERT_TRUE(replace_file_at(directory.get(), "state", "old", 0600, Durability::kNone).ok());
  ASSERT_TRUE(mkdir(dir / "state.new", 0700).ok());  // the temporary name is taken by something else
  EXPECT_FALSE(replace_file_at(directory.get(), "state", "new", 0600, Durability::kNone).ok());
  EXPECT_EQ(read_file(dir / "state").value(), "old");
}

TEST(WriteKnob, NeedsAnExistingFileAndNamesIt) {
  TempDir dir;
  UniqueFd const directory = open_directory(dir.path());
  Result<void> missing = write_knob(directory.get(), "memory.max", "1");
  ASSERT_FALSE(missing.ok());
  EXPECT_EQ(missing.error().code(), Errc::kNotFound);
  EXPECT_FALSE(exists(dir / "memory.max"));
  write_file(dir / "memory.max", "");
  EXPECT_TRUE(write_knob(directory.get(), "memory.max", "4096").ok());
  EXPECT_EQ(read_file_at(directory.get(), "memory.max").value(), "4096");
}

TEST(MkdirAll, MakesParentsAndAcceptsWhatExists) {
  TempDir dir;
  EXPECT_TRUE(mkdir_all(dir / "a/b/c", 0755).ok());
  EXPECT_TRUE(mkdir_all(dir / "a/b/c", 0755).ok());
  EXPECT_TRUE(exists(dir / "a/b/c"));
  EXPECT_EQ(mkdir(dir / "a", 0755).error().code(), Errc::kAlreadyExists);
  write_file(dir / "file", "");
  EXPECT_FALSE(mkdir_all(dir / "file/below", 0755).ok());
}

TEST(RemoveTree, RemovesEverythingButFollowsNoLink) {
  TempDir dir;
  ASSERT_TRUE(mkdir_all(dir / "tree/a/b", 0755).ok());
  ASSERT_TRUE(mkdir(dir / "kept", 0755).ok());
  write_file(dir / "kept/file", "x");
  write_file(dir / "tree/a/file", "x");
  ASSERT_EQ(::symlink("../kept", (dir / "tree/link").c_str()), 0);
  EXPECT_TRUE(remove_tree(dir / "tree").ok());
  EXPECT_FALSE(exists(dir / "tree"));
  EXPECT_TRUE(exists(dir / "kept/file"));
  EXPECT_TRUE(remove_tree(dir / "tree").ok());  // a missing one is fine
}

TEST(ListDirectory, LeavesTheBorrowedDescriptorAlone) {
  TempDir dir;
  write_file(dir / "x", "");
  write_file(dir / "y", "");
  UniqueFd const directory = open_directory(dir.path());
  for (int round = 0; round < 2; ++round) {
    std::vector<std::string> names = list_directory(directory.get()).value();
    std::sort(names.begin(), names.end());
    EXPECT_EQ(names, (std::vector<std::string>{"x", "y"}));
  }
}

TEST(FsMagic, TellsProcApart) { EXPECT_EQ(fs_magic(open_directory("/proc").get()).value(), PROC_SUPER_MAGIC); }

struct CleanCase {
  std::string_view name, path, clean;
};
class CleanPath : public ::testing::TestWithParam<CleanCase> {};
TEST_P(CleanPath, IsAbsoluteWithoutDots) { EXPECT_EQ(clean_path(GetParam().path), GetParam().clean); }
INSTANTIATE_TEST_SUITE_P(Table, CleanPath,
                         ::testing::Values(CleanCase{"plain", "/a/b", "/a/b"}, CleanCase{"root", "/", "/"},
                                           CleanCase{"empty", "", "/"}, CleanCase{"relative", "a/b", "/a/b"},
                                           CleanCase{"dots", "/a/./b/../c", "/a/c"},
                                           CleanCase{"above_root", "/../../a", "/a"},
                                           CleanCase{"slashes", "//a///b/", "/a/b"},
                                           CleanCase{"three_dots", "/.../a", "/.../a"}),
                         [](auto const& info) { return std::string(info.param.name); });

}  // namespace
}  // namespace davit::sys
