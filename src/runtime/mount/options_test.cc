#include "runtime/mount/options.h"

#include <gtest/gtest.h>
#include <sys/mount.h>

#include "sys/abi/mount.h"

namespace davit::runtime {
namespace {

using namespace sys::abi;

struct Case {
  std::string_view name;
  std::vector<std::string> options;
  unsigned long flags = 0, clear = 0;
  std::uint64_t rec_set = 0, rec_clear = 0;
  std::string_view data = {};
};
class MountOptionsTable : public testing::TestWithParam<Case> {};

TEST_P(MountOptionsTable, BecomeKernelNumbers) {
  auto const options = parse_mount_options(GetParam().options);
  ASSERT_TRUE(options.ok()) << options.error().to_string();
  EXPECT_EQ(options->flags, GetParam().flags);
  EXPECT_EQ(options->clear, GetParam().clear);
  EXPECT_EQ(options->rec_set, GetParam().rec_set);
  EXPECT_EQ(options->rec_clear, GetParam().rec_clear);
  EXPECT_EQ(options->data, GetParam().data);
}

INSTANTIATE_TEST_SUITE_P(
    Table, MountOptionsTable,
    testing::Values(
        Case{"none", {}}, Case{"defaults", {"defaults"}}, Case{"empty_word", {""}}, Case{"ro", {"ro"}, MS_RDONLY},
        Case{"later_wins", {"ro", "rw"}, 0, MS_RDONLY}, Case{"later_wins_again", {"rw", "ro"}, MS_RDONLY, 0},
        Case{"tmpfs",
             {"nosuid", "strictatime", "mode=755", "size=65536k"},
             MS_NOSUID | MS_STRICTATIME,
             0,
             0,
             0,
             "mode=755,size=65536k"},
        Case{"rbind", {"rbind", "rprivate"}, MS_BIND | MS_REC}, Case{"bind", {"bind"}, MS_BIND},
        Case{"off_words",
             {"dev", "suid", "exec", "async", "symfollow", "loud", "nomand"},
             0,
             MS_NODEV | MS_NOSUID | MS_NOEXEC | MS_SYNCHRONOUS | MS_NOSYMFOLLOW | MS_SILENT | MS_MANDLOCK},
        Case{"rro", {"rro"}, 0, 0, kMountAttrRdonly}, Case{"rrw", {"rro", "rrw"}, 0, 0, 0, kMountAttrRdonly},
        Case{"rrw_rro", {"rrw", "rro"}, 0, 0, kMountAttrRdonly},
        Case{"rnoatime", {"rnoatime"}, 0, 0, kMountAttrNoatime, kMountAttrAtimeMask},
        Case{"time_replaced", {"rnoatime", "rstrictatime"}, 0, 0, kMountAttrStrictatime, kMountAttrAtimeMask},
        Case{"rrelatime", {"rnoatime", "rrelatime"}, 0, 0, 0, kMountAttrAtimeMask},
        Case{"ratime", {"rnoatime", "ratime"}, 0, 0, 0, kMountAttrAtimeMask},
        Case{"rnostrictatime", {"rnostrictatime"}, 0, 0, 0, kMountAttrAtimeMask},
        Case{"rnodiratime", {"rnodiratime"}, 0, 0, kMountAttrNodiratime},
        Case{"all_recursive",
             {"rnosuid", "rnodev", "rnoexec", "rnosymfollow"},
             0,
             0,
             kMountAttrNosuid | kMountAttrNodev | kMountAttrNoexec | kMountAttrNosymfollow},
        Case{"all_recursive_off",
             {"rsuid", "rdev", "rexec", "rsymfollow", "rdiratime"},
             0,
             0,
             0,
             kMountAttrNosuid | kMountAttrNodev | kMountAttrNoexec | kMountAttrNosymfollow | kMountAttrNodiratime}),
    [](auto const& row) { return std::string(row.param.name); });

TEST(MountOptions, PropagationKeepsItsOrder) {
  auto const options = parse_mount_options({"rbind", "rslave", "shared", "runbindable"});
  ASSERT_TRUE(options.ok());
  EXPECT_EQ(options->propagation, (std::vector<unsigned long>{MS_SLAVE | MS_REC, MS_SHARED, MS_UNBINDABLE | MS_REC}));
  EXPECT_TRUE(options->bind);
  EXPECT_TRUE(options->recursive_bind);
}

TEST(MountOptions, ExtensionsAreFlags) {
  auto const copy = parse_mount_options({"tmpcopyup"});
  EXPECT_TRUE(copy->tmpcopyup);
  EXPECT_FALSE(copy->bind);
  auto const mapped = parse_mount_options({"bind", "idmap"});
  EXPECT_TRUE(mapped->idmap);
  EXPECT_FALSE(mapped->recursive_idmap);
  EXPECT_TRUE(parse_mount_options({"rbind", "ridmap"})->recursive_idmap);
}

TEST(MountOptions, UnknownWordsOnABindMountAreRefused) {
  auto const options = parse_mount_options({"bind", "ro", "rnosuidd"});
  ASSERT_FALSE(options.ok());
  EXPECT_EQ(options.error().code(), Errc::kInvalidArgument);
  EXPECT_NE(options.error().to_string().find("options[2]"), std::string::npos);
  EXPECT_NE(options.error().to_string().find("\"rnosuid\""), std::string::npos);
}

// What runc 1.3 lists, and the specification's idmap and ridmap.
TEST(MountOptions, EveryNameOfTheSpecificationIsKnown) {
  EXPECT_EQ(mount_option_names().size(), 62u);
  for (std::string_view const name : mount_option_names()) {
    auto const options = parse_mount_options({std::string(name)});
    ASSERT_TRUE(options.ok());
    EXPECT_EQ(options->data, "") << name;
  }
}

}  // namespace
}  // namespace davit::runtime
