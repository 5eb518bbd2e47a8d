#include "runtime/cgroup/path.h"

#include <gtest/gtest.h>

namespace davit::runtime {
namespace {

struct Case {
  std::string_view name, cgroups_path;
  std::string_view directory;  // or the error's code
  CgroupHierarchy hierarchy;
  std::string_view own = "";  // /proc/self/cgroup
  bool systemd = false;
};

class GroupDirectory : public testing::TestWithParam<Case> {};

TEST_P(GroupDirectory, LiesHere) {
  Case const& c = GetParam();
  Cgroup::Options options;
  options.cgroups_path = c.cgroups_path;
  options.container_id = "ID";
  options.systemd_driver = c.systemd;
  Result<GroupPath> const group = parse_cgroups_path(options);
  std::string const got = group ? group_directory(c.hierarchy, *group, parse_proc_cgroup(c.own))
                                : std::string(errc_name(group.error().code()));
  EXPECT_EQ(got, c.directory);
}

CgroupHierarchy const kMemory{{"memory"}, "/sys/fs/cgroup/memory", "/", false};
CgroupHierarchy const kBound{{"memory"}, "/sys/fs/cgroup/memory", "/docker/outer", false};
CgroupHierarchy const kUnified{{""}, "/sys/fs/cgroup", "/", true};

INSTANTIATE_TEST_SUITE_P(
    Table, GroupDirectory,
    testing::Values(
        Case{"absolute", "/docker/ID", "/sys/fs/cgroup/memory/docker/ID", kMemory, "3:memory:/user\n"},
        Case{"relative", "pods/ID", "/sys/fs/cgroup/memory/user/a/pods/ID", kMemory, "3:memory:/user/a\n"},
        Case{"empty", "", "/sys/fs/cgroup/memory/user/davit/ID", kMemory, "3:memory:/user\n"},
        Case{"empty_in_the_root", "", "/sys/fs/cgroup/memory/davit/ID", kMemory, "3:memory:/\n"},
        Case{"untidy", "//a/./b//c/", "/sys/fs/cgroup/memory/a/b/c", kMemory},
        Case{"inside_a_bind_of_our_group", "x", "/sys/fs/cgroup/memory/x", kBound, "3:memory:/docker/outer\n"},
        Case{"below_a_bind_of_our_group", "x", "/sys/fs/cgroup/memory/init/x", kBound, "3:memory:/docker/outer/init\n"},
        Case{"beside_a_bind", "x", "/sys/fs/cgroup/memory/docker/outerX/x", kBound, "3:memory:/docker/outerX\n"},
        Case{"outside_the_namespace", "x", "/sys/fs/cgroup/memory/a/x", kMemory, "3:memory:/../a\n"},
        Case{"v2_absolute", "/docker/ID", "/sys/fs/cgroup/docker/ID", kUnified, "0::/user\n"},
        Case{"v2_beside_our_own", "x", "/sys/fs/cgroup/user/x", kUnified, "0::/user/session\n"},
        Case{"v2_in_the_root", "x", "/sys/fs/cgroup/x", kUnified, "0::/\n"},
        Case{"parent", "/a/../b", "invalid argument", kMemory}, Case{"root", "/", "invalid argument", kMemory},
        Case{"dot", ".", "invalid argument", kMemory}, Case{"newline", "/a\nb", "invalid argument", kMemory},
        Case{"systemd_path", "system.slice:docker:ID", "unimplemented", kMemory},
        Case{"systemd_driver", "system.slice:docker:ID", "unimplemented", kMemory, "", true},
        Case{"systemd_driver_without_path", "", "unimplemented", kMemory, "", true},
        Case{"systemd_driver_with_cgroupfs_path", "/docker/ID", "invalid argument", kMemory, "", true},
        Case{"systemd_no_slice", "system:docker:ID", "invalid argument", kMemory, "", true},
        Case{"colon_in_a_cgroupfs_path", "/a:b:c/d", "/sys/fs/cgroup/memory/a:b:c/d", kMemory}),
    [](auto const& info) { return std::string(info.param.name); });

constexpr std::string_view kHybrid =
    "22 1 0:5 / /proc rw - proc proc rw\n"
    "31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755\n"
    "46 45 0:30 / /opt/chroot/sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu,cpuacct\n"
    "32 31 0:29 / /sys/fs/cgroup/memory rw,relatime shared:9 - cgroup cgroup rw,memory\n"
    "33 31 0:30 / /sys/fs/cgroup/cpu\\040x rw,relatime shared:9 master:1 - cgroup cgroup rw,cpuacct,cpu\n"
    "40 31 0:37 /x /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,release_agent=/lib/x,name=systemd\n"
    "41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw,nsdelegate\n";

TEST(Mounts, HybridKeepsEachHierarchyOnceWhereEverybodyLooks) {
  CgroupHost const host = parse_cgroup_mounts(kHybrid);
  EXPECT_EQ(host.layout, CgroupLayout::kHybrid);
  ASSERT_EQ(host.hierarchies.size(), 4U);
  EXPECT_EQ(host.hierarchies[0].mount_point, "/sys/fs/cgroup/cpu x");
  EXPECT_EQ(host.hierarchies[0].controllers, (std::vector<std::string>{"cpu", "cpuacct"}));
  EXPECT_EQ(host.hierarchies[1].controllers, (std::vector<std::string>{"memory"}));
  EXPECT_EQ(host.hierarchies[2].controllers, (std::vector<std::string>{"name=systemd"}));
  EXPECT_EQ(host.hierarchies[2].mount_root, "/x");
  EXPECT_TRUE(host.hierarchies[3].v2);
}

TEST(Mounts, LayoutFollowsWhatIsMounted) {
  EXPECT_EQ(parse_cgroup_mounts("").layout, CgroupLayout::kNone);
  EXPECT_EQ(parse_cgroup_mounts("1 2 0:1 / /sys/fs/cgroup rw - cgroup2 cgroup rw\n").layout, CgroupLayout::kV2);
  EXPECT_EQ(parse_cgroup_mounts("1 2 0:1 / /c rw - cgroup cgroup rw,pids\n").layout, CgroupLayout::kV1);
  EXPECT_EQ(parse_cgroup_mounts("garbage - cgroup\n - cgroup cgroup rw,pids").layout, CgroupLayout::kNone);
}

}  // namespace
}  // namespace davit::runtime
