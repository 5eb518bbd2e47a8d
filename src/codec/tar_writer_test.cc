#include <gtest/gtest.h>

#include "codec/tar.h"
#include "codec/tar_block.h"
#include "codec/tar_pax.h"

namespace davit::codec {
namespace {

std::string write(TarEntry const& entry, std::string_view data) {
  StringSink sink;
  TarWriter writer(sink);
  EXPECT_TRUE(writer.entry(entry).ok());
  EXPECT_TRUE(writer.data(data).ok());
  EXPECT_TRUE(writer.finish().ok());
  return sink.take();
}

struct Case {
  std::string name;
  TarEntry entry;
  std::string data;
  bool pax;  // whether it takes an extended header
};

class TarRoundTrip : public ::testing::TestWithParam<Case> {};
TEST_P(TarRoundTrip, GivesTheSameEntry) {
  Case const& c = GetParam();
  std::string const archive = write(c.entry, c.data);
  EXPECT_EQ(archive.size() % 512, 0u);
  EXPECT_EQ(archive, write(c.entry, c.data));
  EXPECT_EQ(archive[156] == 'x', c.pax);
  MemorySource source(archive);
  TarReader reader(source);
  TarEntry entry;
  ASSERT_TRUE(*reader.next(entry));
  EXPECT_EQ(entry.type, c.entry.type);
  EXPECT_EQ(entry.name, c.entry.name);
  EXPECT_EQ(entry.target, c.entry.target);
  EXPECT_EQ(entry.mode, c.entry.mode);
  EXPECT_EQ(entry.uid, c.entry.uid);
  EXPECT_EQ(entry.gid, c.entry.gid);
  EXPECT_EQ(entry.size, c.entry.size);
  EXPECT_EQ(entry.mtime, c.entry.mtime);
  EXPECT_EQ(entry.device_major, c.entry.device_major);
  EXPECT_EQ(entry.device_minor, c.entry.device_minor);
  EXPECT_EQ(entry.xattrs, c.entry.xattrs);
  EXPECT_EQ(entry.user, c.entry.user);
  EXPECT_EQ(entry.is_sparse, c.entry.is_sparse);
  std::string data;
  for (;;) {
    auto const piece = reader.data();
    ASSERT_TRUE(piece.ok());
    if (piece->empty()) break;
    data += *piece;
  }
  EXPECT_EQ(data, c.data);
  EXPECT_FALSE(*reader.next(entry));
}

std::vector<Case> cases() {
  using enum TarType;
  std::string const dir90(90, 'd'), dir150(150, 'd');
  return {
      {"file", {.name = "a", .mode = 04755, .uid = 1, .gid = 2, .size = 3, .mtime = {5, 0}}, "abc", false},
      {"whole_block", {.name = "a", .size = 512}, std::string(512, 'x'), false},
      {"directory", {.type = kDirectory, .name = "a/b", .mode = 0755}, "", false},
      {"symlink", {.type = kSymlink, .name = "a", .target = "../b", .mode = 0777}, "", false},
      {"long_symlink", {.type = kSymlink, .name = "a", .target = std::string(101, 't')}, "", true},
      {"hard_link", {.type = kHardLink, .name = "a", .target = "b"}, "", false},
      {"device", {.type = kCharDevice, .name = "a", .device_major = 4095, .device_minor = 1048575}, "", false},
      {"fifo", {.type = kFifo, .name = "a"}, "", false},
      {"name_of_100", {.name = std::string(100, 'n')}, "", false},
      {"name_of_101", {.name = std::string(101, 'n')}, "", true},
      {"name_in_prefix", {.name = dir90 + "/" + dir90}, "", false},
      {"directory_in_prefix", {.type = kDirectory, .name = dir90 + "/" + dir90}, "", false},
      {"prefix_too_long", {.name = dir150 + "/" + dir150}, "", true},
      {"longest_prefix", {.name = dir150 + "/dddd/" + std::string(100, 'n')}, "", false},
      {"name_not_ascii", {.name = "ä"}, "", true},
      {"nanoseconds", {.name = "a", .mtime = {1, 1}}, "", true},
      {"before_1970", {.name = "a", .mtime = {-2, 500'000'000}}, "", true},
      {"after_2242", {.name = "a", .mtime = {std::int64_t{1} << 40, 0}}, "", true},
      {"big_uid", {.name = "a", .uid = 02000000 * 8}, "", true},
      {"largest_octal_uid", {.name = "a", .uid = 07777777}, "", false},
      {"xattrs", {.name = "a", .xattrs = {{"user.x", std::string("\0\n=", 3)}, {"user.empty", ""}}}, "", true},
      {"long_user", {.name = "a", .user = std::string(40, 'u')}, "", true},
      {"sparse", {.name = "a", .size = 100'000, .sparse = {{1000, 3}, {50'000, 2}}, .is_sparse = true}, "abcde", true},
      {"sparse_of_holes", {.name = "a", .size = 100'000, .is_sparse = true}, "", true},
  };
}
INSTANTIATE_TEST_SUITE_P(Table, TarRoundTrip, ::testing::ValuesIn(cases()),
                         [](auto const& info) { return info.param.name; });

TEST(TarWriter, SaysSizesPastEightGibibytesInPax) {
  StringSink sink;
  TarWriter writer(sink);
  ASSERT_TRUE(writer.entry({.name = "big", .size = std::uint64_t{1} << 33}).ok());
  EXPECT_NE(sink.text().find("size=8589934592\n"), std::string::npos);
}

struct TimeCase {
  std::string name, text;
  TarTime time;
};
class PaxTime : public ::testing::TestWithParam<TimeCase> {};
TEST_P(PaxTime, IsWrittenAndReadBack) {
  EXPECT_EQ(tar::pax_time(GetParam().time), GetParam().text);
  EXPECT_EQ(tar::parse_pax_time(GetParam().text), GetParam().time);
}
INSTANTIATE_TEST_SUITE_P(Table, PaxTime,
                         ::testing::Values(TimeCase{"whole", "7", {7, 0}}, TimeCase{"nanos", "7.000000001", {7, 1}},
                                           TimeCase{"tenth", "7.1", {7, 100'000'000}},
                                           TimeCase{"minus_half", "-0.5", {-1, 500'000'000}},
                                           TimeCase{"minus_one", "-1", {-1, 0}},
                                           TimeCase{"minus_one_and_a_half", "-1.5", {-2, 500'000'000}}),
                         [](auto const& info) { return info.param.name; });

}  // namespace
}  // namespace davit::codec
