#include "snapshot/directory_log.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include "codec/testing/tar_parts.h"
#include "snapshot/layer_tree.h"
#include "snapshot/testing/layers.h"
#include "sys/testing/temp_dir.h"

namespace davit::snapshot {
namespace {

using namespace testing;
using namespace codec::testing;

// Written out after each record, after some, never.
class DirectoryLogOf : public ::testing::TestWithParam<std::size_t> {};
INSTANTIATE_TEST_SUITE_P(Sizes, DirectoryLogOf, ::testing::Values(1, 100, 1 << 20));

TEST_P(DirectoryLogOf, TheLaterRecordHolds) {
  sys::testing::TempDir temp;
  UniqueFd const layer = open_dir(temp / "layer");
  DirectoryLog log(layer.get(), GetParam());
  constexpr int kDirectories = 40;
  for (int round = 0; round < 2; ++round) {
    for (int i = 0; i < kDirectories; ++i) {
      std::string const name = "d" + std::to_string(i);
      (void)open_dir(temp / "layer/" + name);
      DirectoryLog::Xattrs const xattrs{{"user.round", std::to_string(round)}, {"user.empty", ""}};
      ASSERT_TRUE(log.add(name, {round * 1000 + i, 5}, 0700 + round, xattrs).ok());
    }
  }
  LayerTree tree(layer.get());
  auto const finished = log.finish(tree);
  if (!finished.ok() && finished.error().error_number() == ENOTSUP) GTEST_SKIP() << finished.error().to_string();
  ASSERT_TRUE(finished.ok()) << finished.error().to_string();
  for (int i = 0; i < kDirectories; ++i) {
    struct stat info {};
    ASSERT_EQ(::stat((temp / "layer/d" + std::to_string(i)).c_str(), &info), 0);
    EXPECT_EQ(info.st_mtim.tv_sec, 1000 + i);
    EXPECT_EQ(info.st_mode & 07777, 0701u);
    EXPECT_EQ(sys::read_xattrs(layer.get(), "d" + std::to_string(i))->at("user.round"), "1");
  }
}

TEST(Apply, RefusesTooManyDirectoriesWithoutEntries) {
  if (!is_root()) GTEST_SKIP() << "only root can make files of any owner";
  sys::testing::TempDir temp;
  std::string base;
  for (int i = 0; i < 15; ++i) base += std::string(250, 'p') + "/";
  std::string tar;
  for (int i = 0; i < 4500; ++i) tar += pax({{"path", base + std::to_string(i) + "/f"}}) + file("f", "");
  auto const applied = apply_tar(tar + end_of_tar(), temp / "layer");
  ASSERT_FALSE(applied.ok());
  EXPECT_EQ(applied.error().code(), Errc::kResourceExhausted);
}

}  // namespace
}  // namespace davit::snapshot
