#include "sys/durable.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sys/file.h"
#include "sys/testing/temp_dir.h"

namespace davit::sys {
namespace {

using testing::TempDir;

UniqueFd folder(TempDir const& dir) { return open(dir.path(), O_RDONLY | O_DIRECTORY).value(); }

void write_file(std::string const& path, std::string_view text) {
  UniqueFd const file = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644).value();
  ASSERT_TRUE(write_all(file.get(), text).ok());
}

TEST(RenameAt, MovesBetweenFoldersAndKeepsOrReplacesWhatIsThere) {
  TempDir from, to;
  UniqueFd const source = folder(from), target = folder(to);
  write_file(from / "a", "new");
  write_file(to / "b", "old");
  Result<void> const kept = rename_at(source.get(), "a", target.get(), "b", Existing::kKeep);
  ASSERT_FALSE(kept.ok());
  EXPECT_EQ(kept.error().code(), Errc::kAlreadyExists);
  EXPECT_EQ(read_file(to / "b").value(), "old");
  EXPECT_TRUE(rename_at(source.get(), "a", target.get(), "b", Existing::kReplace).ok());
  EXPECT_EQ(read_file(to / "b").value(), "new");
  EXPECT_FALSE(exists(from / "a"));
  EXPECT_EQ(rename_at(source.get(), "a", target.get(), "c", Existing::kKeep).error().code(), Errc::kNotFound);
}

TEST(RenameAt, KeepsADirectoryEvenWhenItIsEmpty) {
  TempDir dir;
  ASSERT_TRUE(mkdir(dir / "a", 0755).ok());
  ASSERT_TRUE(mkdir(dir / "b", 0755).ok());
  UniqueFd const here = folder(dir);
  EXPECT_EQ(rename_at(here.get(), "a", here.get(), "b", Existing::kKeep).error().code(), Errc::kAlreadyExists);
}

TEST(LockFile, IsHeldByOneOpenFileUntilThatIsClosed) {
  TempDir dir;
  UniqueFd first = open(dir / "lock", O_RDWR | O_CREAT, 0600).value();
  UniqueFd const second = open(dir / "lock", O_RDWR).value();
  EXPECT_TRUE(lock_file(first.get()).ok());
  EXPECT_TRUE(lock_file(first.get()).ok());  // its own
  EXPECT_EQ(lock_file(second.get()).error().code(), Errc::kConflict);
  { UniqueFd const third = open(dir / "lock", O_RDWR).value(); }  // closing another one frees nothing
  EXPECT_EQ(lock_file(second.get()).error().code(), Errc::kConflict);
  first.reset();
  EXPECT_TRUE(lock_file(second.get()).ok());
}

TEST(EntryInfo, DescribesTheEntryItselfAndNotWhatALinkNames) {
  TempDir dir;
  write_file(dir / "file", "12345");
  ASSERT_EQ(::symlink("missing", (dir / "link").c_str()), 0);
  struct timespec const times[2] = {{.tv_sec = 1, .tv_nsec = 0}, {.tv_sec = 7, .tv_nsec = 9}};
  ASSERT_EQ(::utimensat(AT_FDCWD, (dir / "file").c_str(), times, 0), 0);
  UniqueFd const here = folder(dir);
  std::optional<EntryInfo> const file = entry_info(here.get(), "file").value();
  ASSERT_TRUE(file);
  EXPECT_EQ(file->size, 5U);
  EXPECT_EQ(file->modified_ns, 7'000'000'009);
  EXPECT_TRUE(S_ISREG(file->mode));
  std::optional<EntryInfo> const link = entry_info(here.get(), "link").value();
  ASSERT_TRUE(link);
  EXPECT_TRUE(S_ISLNK(link->mode));
  EXPECT_FALSE(entry_info(here.get(), "missing").value());
  EXPECT_FALSE(entry_info(here.get(), "file/below").ok());
}

TEST(Sync, WritesAFileOrAWholeFilesystem) {
  TempDir dir("/dev/shm");
  write_file(dir / "file", "x");
  UniqueFd const file = open(dir / "file", O_RDWR).value();
  EXPECT_TRUE(sync_file(file.get()).ok());
  EXPECT_TRUE(sync_filesystem(file.get()).ok());
  EXPECT_FALSE(sync_file(-1).ok());
  EXPECT_FALSE(sync_filesystem(-1).ok());
}

TEST(FilesystemSpace, IsConsistent) {
  TempDir dir;
  UniqueFd const here = folder(dir);
  Space const space = filesystem_space(here.get()).value();
  EXPECT_GT(space.total_bytes, 0U);
  EXPECT_LE(space.free_bytes, space.total_bytes);
  EXPECT_LE(space.available_bytes, space.free_bytes);
  EXPECT_FALSE(filesystem_space(-1).ok());
}

TEST(BootId, IsTheSameWhileTheMachineRuns) {
  std::string const id = boot_id().value();
  EXPECT_EQ(id.size(), 36U);
  EXPECT_EQ(boot_id().value(), id);
}

}  // namespace
}  // namespace davit::sys
