#include "runtime/seccomp/cache.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <fstream>

#include "sys/file.h"

namespace davit::runtime {
namespace {

class SeccompCache : public testing::Test {
 protected:
  void SetUp() override {
    char path[] = "/tmp/davit-seccomp-XXXXXX";
    ASSERT_NE(mkdtemp(path), nullptr);
    base_ = path;
    directory_ = base_ + "/a/cache";
    profile_ = default_seccomp_profile({});
  }
  void TearDown() override { EXPECT_TRUE(sys::remove_tree(base_).ok()); }

  bool cached() const { return load_cached_seccomp(directory_, seccomp_cache_key(profile_)).has_value(); }
  void fill() const { ASSERT_TRUE(compile_seccomp(profile_, directory_).ok()); }
  std::string file() const {
    auto const directory = sys::open(directory_, O_RDONLY | O_DIRECTORY);
    auto const names = sys::list_directory(directory->get());
    return names->size() == 1 ? directory_ + "/" + names->front() : "";
  }

  std::string base_, directory_;
  oci::Seccomp profile_;
};

bool equal(SeccompFilter const& a, SeccompFilter const& b) {
  return a.flags == b.flags && a.notify == b.notify && a.program.size() == b.program.size() &&
         std::memcmp(a.program.data(), b.program.data(), a.program.size() * sizeof(sock_filter)) == 0;
}

TEST_F(SeccompCache, TheSecondCompileReadsTheFirst) {
  EXPECT_FALSE(cached());
  auto const first = compile_seccomp(profile_, directory_);
  ASSERT_TRUE(first.ok());
  ASSERT_TRUE(cached());
  auto const second = compile_seccomp(profile_, directory_);
  ASSERT_TRUE(second.ok());
  EXPECT_TRUE(equal(*first, *second));
  struct stat info {};
  ASSERT_EQ(::stat(directory_.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0700u);
  ASSERT_EQ(::stat(file().c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600u);
}

TEST_F(SeccompCache, EveryByteThatIsDamagedIsNoticed) {
  fill();
  std::string const path = file();
  std::string const good = *sys::read_file(path);
  for (std::size_t i = 0; i < good.size(); i += i < 64 ? 1 : 97) {
    std::string bad = good;
    bad[i] = static_cast<char>(bad[i] ^ 0x10);
    std::ofstream(path, std::ios::binary | std::ios::trunc) << bad;
    EXPECT_FALSE(cached()) << "byte " << i;
  }
  for (std::size_t const size : {std::size_t{0}, std::size_t{7}, std::size_t{39}, good.size() - 8, good.size() - 1}) {
    std::ofstream(path, std::ios::binary | std::ios::trunc) << good.substr(0, size);
    EXPECT_FALSE(cached()) << "size " << size;
  }
  fill();  // writes it anew
  EXPECT_TRUE(cached());
}

TEST_F(SeccompCache, WhatOthersCouldHaveWrittenIsNotUsed) {
  fill();
  ASSERT_EQ(::chmod(file().c_str(), 0666), 0);
  EXPECT_FALSE(cached());
  fill();
  EXPECT_TRUE(cached());
  ASSERT_EQ(::chmod(directory_.c_str(), 0777), 0);
  EXPECT_FALSE(cached());
  ASSERT_EQ(::chmod(directory_.c_str(), 0700), 0);
  if (::geteuid() != 0) GTEST_SKIP() << "changing a file's owner needs root";
  ASSERT_EQ(::chown(file().c_str(), 65534, 65534), 0);
  EXPECT_FALSE(cached());
  fill();
  EXPECT_TRUE(cached());
}

TEST_F(SeccompCache, ADirectoryThatCannotBeMadeOnlyCostsTime) {
  std::ofstream(base_ + "/a") << "a file";
  EXPECT_TRUE(compile_seccomp(profile_, directory_).ok());
}

TEST_F(SeccompCache, KeysDifferWhereProgramsMay) {
  std::string const key = seccomp_cache_key(profile_);
  auto const differs = [&](void (*change)(oci::Seccomp&)) {
    oci::Seccomp other = profile_;
    change(other);
    return seccomp_cache_key(other) != key;
  };
  EXPECT_TRUE(differs([](oci::Seccomp& p) { p.default_action = "SCMP_ACT_KILL"; }));
  EXPECT_TRUE(differs([](oci::Seccomp& p) { p.default_errno_ret.reset(); }));
  EXPECT_TRUE(differs([](oci::Seccomp& p) { p.default_errno_ret = 0; }));
  EXPECT_TRUE(differs([](oci::Seccomp& p) { p.architectures.pop_back(); }));
  EXPECT_TRUE(differs([](oci::Seccomp& p) { p.flags.push_back("SECCOMP_FILTER_FLAG_LOG"); }));
  EXPECT_TRUE(differs([](oci::Seccomp& p) { p.flags_given = true; }));
  EXPECT_TRUE(differs([](oci::Seccomp& p) { p.listener_path = "/x"; }));
  EXPECT_TRUE(differs([](oci::Seccomp& p) { p.syscalls[0].names.pop_back(); }));
  EXPECT_TRUE(differs([](oci::Seccomp& p) { p.syscalls[0].errno_ret = 0; }));
  EXPECT_TRUE(differs([](oci::Seccomp& p) { p.syscalls.back().args.push_back({}); }));
  EXPECT_FALSE(differs([](oci::Seccomp& p) { p.listener_metadata = "x"; }));
}

}  // namespace
}  // namespace davit::runtime
