#include "snapshot/apply.h"

#include <gtest/gtest.h>
#include <sys/mount.h>
#include <sys/wait.h>

#include <atomic>
#include <cstdlib>

#include "codec/testing/tar_parts.h"
#include "snapshot/testing/layers.h"
#include "sys/testing/temp_dir.h"

namespace davit::snapshot {
namespace {

using namespace testing;
using namespace codec::testing;
using codec::tar::kGid;
using codec::tar::kMode;
using codec::tar::kUid;
using sys::testing::TempDir;

#define NEEDS_ROOT() \
  if (!is_root()) GTEST_SKIP() << "only root can make files of any owner, devices and trusted attributes"

std::string with(std::string_view name, char type, std::uint64_t mode, std::uint64_t uid, std::uint64_t gid) {
  return RawHeader(name, type).octal(kMode, mode).octal(kUid, uid).octal(kGid, gid).block();
}

struct Case {
  std::string name, tar, tree;
  std::vector<std::string> implied = {};
};
class Applies : public ::testing::TestWithParam<Case> {};
TEST_P(Applies, ToThisTree) {
  NEEDS_ROOT();
  TempDir temp;
  for (std::size_t const chunk : {SIZE_MAX, std::size_t{100}}) {
    std::string const layer = temp / std::to_string(chunk);
    auto const applied = apply_tar(GetParam().tar + end_of_tar(), layer, {}, chunk);
    ASSERT_TRUE(applied.ok()) << applied.error().to_string();
    EXPECT_EQ(tree_text(layer), GetParam().tree);
    EXPECT_EQ(applied->implied_directories, GetParam().implied);
  }
}

std::vector<Case> cases() {
  return {
      {"file", file("a", "hello"), "a -0644 0:0 =hello\n"},
      {"empty_file", file("a", ""), "a -0644 0:0 =\n"},
      {"in_a_directory", directory("d/") + file("d/a", "x"), "d d0755 0:0\nd/a -0644 0:0 =x\n"},
      {"modes_and_owners",
       with("d", '5', 01777, 1, 2) + with("d/suid", '0', 04755, 3, 4) + with("none", '0', 0, 0, 0) +
           with("sgid", '0', 02711, 0, 0),
       "d d1777 1:2\nd/suid -4755 3:4 =\nnone -0000 0:0 =\nsgid -2711 0:0 =\n"},
      {"set_group_id_is_not_inherited",
       with("d", '5', 02775, 0, 8) + with("d/e", '5', 0755, 0, 0) + with("d/f", '0', 0644, 0, 0),
       "d d2775 0:8\nd/e d0755 0:0\nd/f -0644 0:0 =\n"},
      {"links", file("a", "x") + link("h", '1', "a") + link("s", '2', "/etc/passwd") + link("hs", '1', "s"),
       "a -0644 0:0 =x names=2\nh -0644 0:0 =x names=2\nhs l ->/etc/passwd names=2\ns l ->/etc/passwd names=2\n"},
      {"devices_and_fifo",
       RawHeader("null", '3').octal(kMode, 0666).octal(codec::tar::kMajor, 1).octal(codec::tar::kMinor, 3).block() +
           RawHeader("disk", '4').octal(codec::tar::kMajor, 259).octal(codec::tar::kMinor, 70000).block() +
           with("p", '6', 0600, 5, 5),
       "disk b0644 0:0 259:70000\nnull c0666 0:0 1:3\np p0600 5:5\n"},
      {"missing_parents",
       file("a/b/c", "x") + with("a", '5', 0700, 1, 1),
       "a d0700 1:1\na/b d0755 0:0\na/b/c -0644 0:0 =x\n",
       {"a/b"}},
      {"root_entry_changes_nothing", with("./", '5', 0700, 1, 1) + file("./a", ""), "a -0644 0:0 =\n"},
      {"absolute_and_unclean_names", file("/a", "1") + file("x/../b", "2"), "a -0644 0:0 =1\nb -0644 0:0 =2\n"},
      {"whiteouts", directory("d") + file("d/.wh.gone", "") + file(".wh.top", "") + file("d/.wh..wh..opq", ""),
       "d d0755 0:0 opaque\nd/gone whiteout\ntop whiteout\n"},
      {"whiteout_in_a_missing_directory", file("d/.wh.gone", ""), "d d0755 0:0\nd/gone whiteout\n", {"d"}},
      {"aufs_files_are_left_out",
       directory(".wh..wh.plnk") + file(".wh..wh.plnk/1.2", "xyz") + file(".wh..wh.aufs", "") + file("a", ""),
       "a -0644 0:0 =\n"},
      {"whiteout_of_what_the_layer_made", directory("d") + file("d/f", "x") + file(".wh.d", ""), "d whiteout\n"},
      {"file_in_place_of_a_whiteout", file(".wh.a", "") + file("a", "new"), "a -0644 0:0 =new\n"},
      {"directory_in_place_of_a_whiteout", file(".wh.d", "") + directory("d") + file("d/f", "x"),
       "d d0755 0:0 opaque\nd/f -0644 0:0 =x\n"},
      {"implied_directory_in_place_of_a_whiteout",
       file(".wh.d", "") + file("d/f", "x"),
       "d d0755 0:0 opaque\nd/f -0644 0:0 =x\n",
       {"d"}},
      {"later_file_holds", file("a", "longer one") + with("a", '0', 0600, 7, 7), "a -0600 7:7 =\n"},
      {"later_directory_merges", with("d", '5', 02700, 1, 1) + file("d/f", "x") + directory("d/"),
       "d d0755 0:0\nd/f -0644 0:0 =x\n"},
      {"file_over_directory", directory("d") + directory("d/e") + file("d/e/f", "x") + file("d", "now a file"),
       "d -0644 0:0 =now a file\n"},
      {"directory_over_file", file("d", "x") + directory("d"), "d d0755 0:0\n"},
      {"directory_over_link", directory("t") + link("d", '2', "t") + directory("d") + file("d/f", ""),
       "d d0755 0:0\nd/f -0644 0:0 =\nt d0755 0:0\n"},
      {"file_over_link_does_not_follow_it", file("t", "safe") + link("a", '2', "t") + file("a", "new"),
       "a -0644 0:0 =new\nt -0644 0:0 =safe\n"},
      {"link_over_file", file("a", "x") + link("a", '2', "b"), "a l ->b\n"},
      {"hard_link_to_itself", file("a", "x") + link("a", '1', "a"), "a -0644 0:0 =x\n"},
      {"hard_link_over_another_file", file("a", "x") + file("b", "y") + link("b", '1', "./a"),
       "a -0644 0:0 =x names=2\nb -0644 0:0 =x names=2\n"},
      {"through_a_link",
       directory("real") + link("alias", '2', "real") + file("alias/f", "x") + link("l", '1', "alias/f"),
       "alias l ->real\nl -0644 0:0 =x names=2\nreal d0755 0:0\nreal/f -0644 0:0 =x names=2\n"},
      {"through_an_absolute_link",
       directory("a/real") + link("a/alias", '2', "/a/real/../real") + file("a/alias/f", "x"),
       "a d0755 0:0\na/alias l ->/a/real/../real\na/real d0755 0:0\na/real/f -0644 0:0 =x\n",
       {"a"}},
      {"through_a_link_to_what_is_not_there",
       link("lib", '2', "usr/lib") + file("lib/x", "y"),
       "lib l ->usr/lib\nusr d0755 0:0\nusr/lib d0755 0:0\nusr/lib/x -0644 0:0 =y\n",
       {"usr", "usr/lib"}},
      {"link_above_the_root_stays_inside",
       link("up", '2', "../../../../tmp") + file("up/f", "x"),
       "tmp d0755 0:0\ntmp/f -0644 0:0 =x\nup l ->../../../../tmp\n",
       {"tmp"}},
      {"link_to_the_root", link("here", '2', "/") + file("here/f", "x"), "f -0644 0:0 =x\nhere l ->/\n"},
      {"xattrs",
       pax({{"SCHILY.xattr.user.a", "1"}, {"SCHILY.xattr.trusted.t", "2"}}) + file("f", "x") +
           pax({{"SCHILY.xattr.user.d", "3"}}) + directory("d") +
           pax({{"SCHILY.xattr.user.ignored", "4"}, {"SCHILY.xattr.trusted.l", "5"}}) + link("s", '2', "f"),
       "d d0755 0:0 [user.d=3]\nf -0644 0:0 =x [trusted.t=2] [user.a=1]\ns l ->f [trusted.l=5]\n"},
      {"sparse",
       pax({{"GNU.sparse.major", "1"},
            {"GNU.sparse.minor", "0"},
            {"GNU.sparse.realsize", "9"},
            {"GNU.sparse.name", "s"}}) +
           file("x", padded("2\n1\n2\n5\n3\n") + "abcde"),
       std::string("s -0644 0:0 =\0ab\0\0cde\0\n", 23)},
      {"a_real_zero_device_is_a_whiteout", RawHeader("z", '3').block(), "z whiteout\n"},
      {"deep", directory("a") + directory("a/b") + file("a/b/c/../c2", "x") + file("a/f", "y"),
       "a d0755 0:0\na/b d0755 0:0\na/b/c2 -0644 0:0 =x\na/f -0644 0:0 =y\n"},
  };
}
INSTANTIATE_TEST_SUITE_P(Table, Applies, ::testing::ValuesIn(cases()),
                         [](auto const& info) { return info.param.name; });

struct Hostile {
  std::string name, tar;
  Errc code = Errc::kInvalidArgument;
  ApplyOptions options = {};
};
class Refuses : public ::testing::TestWithParam<Hostile> {};
TEST_P(Refuses, AndNothingOutsideIsTouched) {
  NEEDS_ROOT();
  TempDir temp;
  UniqueFd const outside = open_dir(temp / "outside");
  ASSERT_TRUE(sys::replace_file_at(outside.get(), "file", "untouched", 0644, sys::Durability::kNone).ok());
  std::string const before = tree_text(temp / "outside", Times::kShow);
  auto const applied = apply_tar(GetParam().tar + end_of_tar(), temp / "layer", GetParam().options);
  ASSERT_FALSE(applied.ok());
  EXPECT_EQ(applied.error().code(), GetParam().code) << applied.error().to_string();
  EXPECT_EQ(tree_text(temp / "outside", Times::kShow), before);
}

std::vector<Hostile> hostile_cases() {
  std::string const ok = file("ok", "");
  return {
      {"name_above", file("../outside/file", "evil")},
      {"name_above_after_a_directory", directory("a") + file("a/../../outside/file", "evil")},
      {"hard_link_above", link("h", '1', "../outside/file")},
      {"hard_link_to_an_absolute_path", link("h", '1', "/etc/passwd")},
      {"hard_link_through_a_link", link("up", '2', "../outside") + link("h", '1', "up/file")},
      {"hard_link_to_nothing", link("h", '1', "missing")},
      {"hard_link_to_a_directory", directory("d") + link("h", '1', "d")},
      {"hard_link_to_the_root", link("h", '1', "/")},
      {"below_a_file", file("f", "x") + file("f/g", "y")},
      {"below_a_device", RawHeader("n", '3').octal(codec::tar::kMajor, 1).block() + file("n/g", "y")},
      {"link_loop", link("a", '2', "b") + link("b", '2', "a") + file("a/x", "y")},
      {"link_to_itself", link("a", '2', "a") + file("a/x", "y")},
      {"link_without_target", link("a", '2', ""), Errc::kNotFound},
      {"leaf_too_long", pax({{"path", std::string(300, 'n')}}) + file("x", "")},
      {"whiteout_of_parent", file("a/.wh...", "")},
      {"whiteout_where_nothing_is_below", file(".wh.a", ""), Errc::kInvalidArgument, {.whiteouts = Whiteouts::kRefuse}},
      {"opaque_where_nothing_is_below",
       file(".wh..wh..opq", ""),
       Errc::kInvalidArgument,
       {.whiteouts = Whiteouts::kRefuse}},
      {"root_as_file", file(".", "")},
      {"root_as_link", link("/", '2', "/etc")},
      {"device_number", RawHeader("d", '3').octal(codec::tar::kMajor, 4096).block()},
      {"too_many_bytes", file("a", "12345") + file("b", "123456"), Errc::kResourceExhausted, {.max_bytes = 10}},
      {"sparse_file_of_exabytes",
       pax({{"GNU.sparse.major", "1"}, {"GNU.sparse.minor", "0"}, {"GNU.sparse.realsize", "4000000000000000000"}}) +
           file("x", padded("0\n")),
       Errc::kResourceExhausted},
      {"unknown_attribute", pax({{"SCHILY.xattr.nosuch.a", "1"}}) + ok, Errc::kUnimplemented},
      {"too_many_entries", ok + ok + ok, Errc::kResourceExhausted, {.limits = {.max_entries = 2}}},
      {"cut_off", RawHeader("a", '0', 100'000).block() + std::string(512, 'x')},
  };
}
INSTANTIATE_TEST_SUITE_P(Table, Refuses, ::testing::ValuesIn(hostile_cases()),
                         [](auto const& info) { return info.param.name; });

TEST(Apply, GivesDirectoriesAndFilesTheirTimes) {
  NEEDS_ROOT();
  TempDir temp;
  std::string const tar = pax({{"mtime", "1.5"}}) + directory("d") + pax({{"mtime", "-1.5"}}) + file("d/old", "") +
                          pax({{"mtime", "5000000000.000000001"}}) + link("d/late", '2', "x") + file("i/f", "") +
                          end_of_tar();
  ASSERT_TRUE(apply_tar(tar, temp / "l").ok());
  EXPECT_EQ(tree_text(temp / "l", Times::kShow),
            "d d0755 0:0 @1.500000000\nd/late l ->x @5000000000.1\nd/old -0644 0:0 = @-2.500000000\n"
            "i d0755 0:0 @0.0\ni/f -0644 0:0 = @1600000000.0\n");
}

TEST(Apply, LeavesHolesInSparseFiles) {
  NEEDS_ROOT();
  TempDir temp;
  std::string const tar =
      pax({{"GNU.sparse.major", "1"}, {"GNU.sparse.minor", "0"}, {"GNU.sparse.realsize", "100000000"}}) +
      file("s", padded("1\n50000000\n4\n") + "data") + end_of_tar();
  auto const applied = apply_tar(tar, temp / "l");
  ASSERT_TRUE(applied.ok());
  EXPECT_EQ(applied->file_bytes, 100'000'000u);
  EXPECT_LT(disk_usage(open_dir(temp / "l").get())->disk_bytes, 1u << 20);
}

TEST(Apply, SetsCapabilitiesAfterOwners) {
  NEEDS_ROOT();
  TempDir temp;
  // VFS_CAP_REVISION_2, effective; cap_net_raw permitted (capabilities(7))
  std::string const capability("\1\0\0\2\0\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 20);
  std::string const tar = pax({{"SCHILY.xattr.security.capability", capability}}) +
                          RawHeader("ping", '0', 3).octal(kUid, 9).octal(kMode, 04755).block() + padded("elf") +
                          end_of_tar();
  ASSERT_TRUE(apply_tar(tar, temp / "l").ok());
  EXPECT_EQ(sys::read_xattrs(open_dir(temp / "l").get(), "ping")->at("security.capability"), capability);
}

TEST(Apply, DropsAttributesThatOverlayActsOn) {
  NEEDS_ROOT();
  TempDir temp;
  std::string const tar =
      pax({{"SCHILY.xattr.trusted.overlay.opaque", "y"}, {"SCHILY.xattr.trusted.overlay.redirect", "/etc"}}) +
      directory("d") + pax({{"SCHILY.xattr.user.overlay.metacopy", ""}}) + file("f", "") + end_of_tar();
  auto const applied = apply_tar(tar, temp / "l");
  ASSERT_TRUE(applied.ok());
  EXPECT_EQ(applied->dropped_xattrs, 3u);
  EXPECT_EQ(tree_text(temp / "l"), "d d0755 0:0\nf -0644 0:0 =\n");
  EXPECT_TRUE(sys::read_xattrs(open_dir(temp / "l").get(), "d")->empty());
}

TEST(Apply, TellsOfAnOpaqueRoot) {
  NEEDS_ROOT();
  TempDir temp;
  EXPECT_TRUE(apply_tar(file(".wh..wh..opq", "") + end_of_tar(), temp / "a")->root_is_opaque);
  EXPECT_FALSE(apply_tar(file("d/.wh..wh..opq", "") + end_of_tar(), temp / "b")->root_is_opaque);
}

TEST(Apply, DoesNotInheritFromTheStoresDirectory) {
  NEEDS_ROOT();
  TempDir temp;
  UniqueFd const store = open_dir(temp / "store");
  ASSERT_EQ(::fchown(store.get(), 0, 8), 0);
  ASSERT_EQ(::fchmod(store.get(), 02755), 0);
  ASSERT_TRUE(apply_tar(file("a", "") + directory("d") + end_of_tar(), temp / "store/layer").ok());
  // The group that the layer's own directory got is not a layer's matter, but its files' is.
  EXPECT_EQ(tree_text(temp / "store/layer"), "a -0644 0:0 =\nd d0755 0:0\n");
}

TEST(Apply, StopsWhenAsked) {
  TempDir temp;
  std::stop_source stop;
  stop.request_stop();
  EXPECT_EQ(apply_tar(file("a", "x") + end_of_tar(), temp / "l", {.stop = stop.get_token()}).error().code(),
            Errc::kCancelled);
}

TEST(Apply, LeavesTheUmaskOfOtherThreadsAlone) {
  TempDir temp;
  mode_t const before = ::umask(027);
  EXPECT_TRUE(apply_tar(directory("d") + end_of_tar(), temp / "l").ok());
  EXPECT_EQ(::umask(before), mode_t{027});
}

// More directories than descriptors are kept, in an order that the cache is worst at.
TEST(Apply, KeepsUpWithManyDirectories) {
  NEEDS_ROOT();
  TempDir temp("/dev/shm");  // thousands of files: a disk could be slow
  std::string tar;
  for (int round = 0; round < 2; ++round) {
    for (int i = 0; i < 300; ++i) tar += file("d" + std::to_string(i) + "/x/f" + std::to_string(round), "x");
  }
  auto const applied = apply_tar(tar + end_of_tar(), temp / "l");
  ASSERT_TRUE(applied.ok()) << applied.error().to_string();
  EXPECT_EQ(applied->implied_directories.size(), 600u);
  EXPECT_EQ(disk_usage(open_dir(temp / "l").get())->inodes, 1201u);
}

TEST(Apply, ReplacesTreesThatAreDeeperThanThereAreDescriptors) {
  NEEDS_ROOT();
  TempDir temp("/dev/shm");  // thousands of files: a disk could be slow
  std::string path = "d";
  while (path.size() < 3900) path += "/d";
  std::string const tar = pax({{"path", path + "/f"}}) + file("x", "deep") + file("d", "flat") + end_of_tar();
  auto const applied = apply_tar(tar, temp / "l");
  ASSERT_TRUE(applied.ok()) << applied.error().to_string();
  EXPECT_EQ(tree_text(temp / "l"), "d -0644 0:0 =flat\n");
}

// Somebody who can write into the layer swaps a directory of it for a link to another place while files are put into
// it.
TEST(Apply, NeverFollowsALinkThatIsSwappedIn) {
  NEEDS_ROOT();
  TempDir temp("/dev/shm");  // thousands of files: a disk could be slow
  UniqueFd const outside = open_dir(temp / "outside");
  UniqueFd const layer = open_dir(temp / "layer");
  ASSERT_EQ(::symlinkat((temp / "outside").c_str(), layer.get(), "link"), 0);
  ASSERT_EQ(::mkdirat(layer.get(), "d", 0755), 0);
  std::string tar;
  // The link that is made anew makes the directories that are known forgotten, so that they are looked up again and
  // again.
  for (int i = 0; i < 500; ++i) {
    std::string const number = std::to_string(i);
    tar += link("flip", '2', "x") + file("d/f" + number, "data") + directory("d/e" + number) +
           link("d/s" + number, '2', "t") + file("d/e" + number + "/g", "data") + link("flip", '2', "x") +
           link("h" + number, '1', "d/s" + number);
  }
  std::atomic<bool> end = false;
  std::atomic<int> swaps = 0;
  std::thread swapper([&] {
    for (; !end; ++swaps) ::syscall(SYS_renameat2, layer.get(), "d", layer.get(), "link", 2 /* RENAME_EXCHANGE */);
  });
  // A hard link may find its target gone; then the next round goes on.
  for (int round = 0; round < 20; ++round) (void)apply_tar(tar + end_of_tar(), temp / "layer").ok();
  end = true;
  swapper.join();
  EXPECT_GT(swaps, 100);
  EXPECT_EQ(tree_text(temp / "outside"), "");
  // Where the link led inside the layer: it was met at least once.
  EXPECT_NE(tree_text(temp / ("layer" + temp.path() + "/outside")), "");
}

TEST(Apply, MakesWhatGnuTarMakes) {
  NEEDS_ROOT();
  if (std::system("tar --version >/dev/null 2>&1") != 0) GTEST_SKIP() << "there is no tar program";
  TempDir temp;
  std::string const make =
      "cd " + temp.path() + " && mkdir -p src/d/e src/" + std::string(120, 'l') +
      " && echo hello > src/d/f && ln src/d/f src/h && ln -s d/f src/s &&"
      " chmod 4711 src/d/f && chown 12:34 src/d/e && chmod 2770 src/d/e && mkfifo src/p && mknod src/c c 1 3 &&"
      " truncate -s 3M src/holes && printf x | dd of=src/holes bs=1 seek=2000000 conv=notrunc 2>/dev/null &&"
      " echo long > src/" +
      std::string(120, 'l') + "/" + std::string(200, 'n') + " && touch -d @1234567890.123456789 src/d src/s";
  ASSERT_EQ(std::system(make.c_str()), 0);
  for (std::string const format : {"gnu", "pax", "ustar", "oldgnu", "v7"}) {
    SCOPED_TRACE(format);
    // ustar and v7 have no room for the long names; v7 none for devices.
    std::string const options = format == "ustar" ? " --exclude='lll*'"
                                : format == "v7"  ? " --exclude='lll*' --exclude=p --exclude=c"
                                                  : "";
    std::string const sparse = format == "gnu" || format == "pax" ? " --sparse" : "";
    std::string const archive = temp / format + ".tar", expected = temp / format + ".expected";
    ASSERT_EQ(std::system(("tar -C " + temp.path() + "/src --format=" + format + sparse + options + " -cf " + archive +
                           " . && mkdir " + expected + " && tar -xpf " + archive + " -C " + expected)
                              .c_str()),
              0);
    ASSERT_TRUE(apply_tar(*sys::read_file(archive, 64 << 20), temp / format).ok());
    EXPECT_EQ(tree_text(temp / format, Times::kShow), tree_text(expected, Times::kShow));
  }
}

// Runs in a child with a mount namespace of its own; the exit status tells.
TEST(Apply, MakesLayersThatOverlayShowsAsMeant) {
  NEEDS_ROOT();
  TempDir temp;
  std::string const lower = directory("keep") + file("keep/a", "1") + file("keep/b", "2") + directory("gone") +
                            file("gone/x", "3") + directory("fresh") + file("fresh/old", "4") + directory("again") +
                            file("again/old", "5") + file("file", "6");
  std::string const upper = directory("keep") + file("keep/.wh.a", "") + file(".wh.gone", "") + directory("fresh") +
                            file("fresh/.wh..wh..opq", "") + file("fresh/new", "7") + file(".wh.again", "") +
                            directory("again") + file("again/new", "8") + file("file", "9");
  ASSERT_TRUE(apply_tar(lower + end_of_tar(), temp / "lower").ok());
  ASSERT_TRUE(apply_tar(upper + end_of_tar(), temp / "upper").ok());
  UniqueFd const merged = open_dir(temp / "merged");
  pid_t const child = ::fork();
  if (child == 0) {
    std::string const options = "lowerdir=" + temp.path() + "/upper:" + temp.path() + "/lower";
    if (::unshare(CLONE_NEWNS) < 0 || ::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) < 0 ||
        ::mount("overlay", (temp / "merged").c_str(), "overlay", MS_RDONLY, options.c_str()) < 0) {
      ::_exit(77);
    }
    std::string const expected =
        "again d0755 0:0\nagain/new -0644 0:0 =8\nfile -0644 0:0 =9\nfresh d0755 0:0\nfresh/new -0644 0:0 =7\n"
        "keep d0755 0:0\nkeep/b -0644 0:0 =2\n";
    std::string const shown = tree_text(temp / "merged");
    if (shown != expected) std::fprintf(stderr, "%s", shown.c_str());
    ::_exit(shown == expected ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  if (WEXITSTATUS(status) == 77) GTEST_SKIP() << "this machine does not let us mount overlay";
  EXPECT_EQ(status, 0);
}

TEST(CopyDirectoryMetadata, TakesTheNearestThatShows) {
  NEEDS_ROOT();
  TempDir temp;
  auto const layer = [&](std::string const& name, std::string const& tar) {
    EXPECT_TRUE(apply_tar(tar + end_of_tar(), temp / name).ok());
    return open_dir(temp / name);
  };
  UniqueFd const bottom =
      layer("bottom", with("a", '5', 0700, 1, 1) + with("a/b", '5', 01770, 2, 2) + with("c", '5', 0711, 3, 3) +
                          pax({{"SCHILY.xattr.user.k", "v"}}) + with("only", '5', 02750, 4, 4) +
                          with("o", '5', 0711, 5, 5) + with("o/p", '5', 0711, 5, 5));
  UniqueFd const middle =
      layer("middle", with("a", '5', 0750, 9, 9) + file(".wh.c", "") + directory("o") + file("o/.wh..wh..opq", ""));
  UniqueFd const top =
      layer("top", file("a/b/f", "") + file("c/f", "") + file("only/f", "") + file("new/f", "") + file("o/p/f", ""));
  std::vector<int> const below{middle.get(), bottom.get()};
  EXPECT_TRUE(*copy_directory_metadata(top.get(), "a", below));
  EXPECT_TRUE(*copy_directory_metadata(top.get(), "a/b", below));
  EXPECT_TRUE(*copy_directory_metadata(top.get(), "only", below));
  EXPECT_FALSE(*copy_directory_metadata(top.get(), "c", below));
  EXPECT_FALSE(*copy_directory_metadata(top.get(), "new", below));
  EXPECT_FALSE(*copy_directory_metadata(top.get(), "o/p", below));
  EXPECT_EQ(
      tree_text(temp / "top"),
      "a d0750 9:9\na/b d1770 2:2\na/b/f -0644 0:0 =\nc d0755 0:0\nc/f -0644 0:0 =\nnew d0755 0:0\nnew/f -0644 0:0 =\n"
      "o d0755 0:0\no/p d0755 0:0\no/p/f -0644 0:0 =\nonly d2750 4:4 [user.k=v]\nonly/f -0644 0:0 =\n");
}

TEST(DiskUsage, CountsHardLinksOnce) {
  NEEDS_ROOT();
  TempDir temp;
  ASSERT_TRUE(
      apply_tar(file("a", std::string(100'000, 'x')) + link("b", '1', "a") + directory("d") + end_of_tar(), temp / "l")
          .ok());
  auto const usage = disk_usage(open_dir(temp / "l").get());
  EXPECT_EQ(usage->inodes, 3u);
  EXPECT_GE(usage->disk_bytes, 100'000u);
  EXPECT_LT(usage->disk_bytes, 150'000u);
}

}  // namespace
}  // namespace davit::snapshot
