// Control groups on the real kernel, in /davit-test-PID/ of every hierarchy. Needs root.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <functional>

#include "base/text.h"
#include "runtime/cgroup/cgroup.h"
#include "runtime/cgroup/devices.h"
#include "runtime/cgroup/path.h"
#include "runtime/cgroup/tree.h"
#include "sys/bpf.h"
#include "sys/file.h"
#include "sys/raw.h"

namespace davit::runtime {
namespace {

// A child in the given groups; killed and reaped at the end.
class Child {
 public:
  Child(Cgroup const& cgroup, std::function<int()> body) {
    std::vector<UniqueFd> const files = cgroup.open_join_files().value();
    pid_ = ::fork();
    if (pid_ == 0) {
      for (UniqueFd const& file : files) {
        if (sys::raw::write(file.get(), "0", 1) < 0) sys::raw::exit_now(99);
      }
      sys::raw::exit_now(body());
    }
  }
  Child(Child const&) = delete;
  Child& operator=(Child const&) = delete;
  ~Child() {
    if (pid_ > 0) ::kill(pid_, SIGKILL);
    if (pid_ > 0) wait();
  }
  int pid() const { return pid_; }
  // The exit code, or minus the signal.
  int wait() {
    int status = 0;
    ::waitpid(pid_, &status, 0);
    pid_ = 0;
    return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
  }

 private:
  int pid_ = 0;
};

int sleep_forever() {
  for (;;) ::pause();
}

class CgroupKernel : public testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "needs root";
    host_ = CgroupHost::probe().value();
    if (host_.layout == CgroupLayout::kNone) GTEST_SKIP() << "no control groups here";
    static std::atomic<int> counter = 0;
    base_ = "/davit-test-" + std::to_string(::getpid()) + "-" + std::to_string(counter++);
  }
  void TearDown() override {
    for (CgroupHierarchy const& hierarchy : host_.hierarchies) {
      EXPECT_TRUE(remove_group_tree(hierarchy.mount_point + base_, std::chrono::milliseconds(2000)).ok());
    }
  }
  Cgroup create(std::string const& name = "a") {
    Cgroup::Options options;
    options.cgroups_path = base_ + "/" + name;
    options.container_id = "a";
    Result<Cgroup> made = Cgroup::create(host_, options);
    EXPECT_TRUE(made.ok()) << (made ? "" : made.error().to_string());
    return std::move(made).value();
  }
  static std::string read(Cgroup const& cgroup, std::string_view controller, std::string const& file) {
    return std::string(trim(sys::read_file(cgroup.path_of(controller) + "/" + file).value_or("(none)")));
  }
  bool has_v1(std::string_view controller) const {
    for (CgroupHierarchy const& h : host_.hierarchies) {
      for (std::string const& name : h.controllers) {
        if (!h.v2 && name == controller) return true;
      }
    }
    return false;
  }
  bool has_v2() const { return host_.layout == CgroupLayout::kV2 || host_.layout == CgroupLayout::kHybrid; }

  CgroupHost host_;
  std::string base_;
};

#define EXPECT_OK(expression)                                                       \
  do {                                                                              \
    auto const result_ = (expression);                                              \
    EXPECT_TRUE(result_.ok()) << (result_.ok() ? "" : result_.error().to_string()); \
  } while (false)

TEST_F(CgroupKernel, TheQuickProbeFindsWhatTheMountTableShows) {
  std::optional<CgroupHost> quick = find_usual_mounts(*sys::read_file("/proc/self/cgroup"));
  if (!quick) GTEST_SKIP() << "hierarchies are not mounted at the usual places here";
  CgroupHost slow = CgroupHost::probe_mounts("/proc/self/mountinfo").value();
  EXPECT_EQ(quick->layout, slow.layout);
  auto const text = [](CgroupHost const& host) {
    std::map<std::string, std::string> found;
    for (CgroupHierarchy const& h : host.hierarchies) {
      for (std::string const& name : h.controllers)
        found[name] = h.mount_point + " " + h.mount_root + (h.v2 ? " v2" : "");
    }
    return found;
  };
  EXPECT_EQ(text(*quick), text(slow));
  EXPECT_FALSE(find_usual_mounts("9:davit-no-such:/\n0::/\n"));
}

TEST_F(CgroupKernel, MakesAndRemovesADirectoryInEveryHierarchy) {
  Cgroup cgroup = create();
  EXPECT_FALSE(cgroup.paths().empty());
  for (auto const& [controller, path] : cgroup.paths()) EXPECT_TRUE(sys::exists(path)) << path;
  EXPECT_OK(cgroup.remove());
  for (auto const& [controller, path] : cgroup.paths()) EXPECT_FALSE(sys::exists(path)) << path;
  EXPECT_OK(cgroup.remove());
  EXPECT_OK(Cgroup::from_paths(cgroup.paths()).remove());
}

TEST_F(CgroupKernel, AGroupWithProcessesIsAConflictAndAnEmptyOneIsReused) {
  Cgroup cgroup = create();
  Cgroup again = create();
  EXPECT_EQ(again.paths(), cgroup.paths());
  Child const child(cgroup, sleep_forever);
  Cgroup::Options options;
  options.cgroups_path = base_ + "/a";
  // The child joins after fork; the last directory that it joins is the last that create looks at.
  for (auto const& [controller, path] : cgroup.paths()) {
    while (processes_below(path).value().empty()) ::usleep(1000);
  }
  Result<Cgroup> const taken = Cgroup::create(host_, options);
  ASSERT_FALSE(taken.ok());
  EXPECT_EQ(taken.error().code(), Errc::kConflict);
  EXPECT_TRUE(sys::exists(cgroup.paths().begin()->second));
}

TEST_F(CgroupKernel, AFailureLeavesNothing) {
  CgroupHost host = host_;
  host.hierarchies.push_back({{"nonsense"}, "/proc/davit-no-such-place", "/", false});
  Cgroup::Options options;
  options.cgroups_path = base_ + "/deep/er/a";
  EXPECT_FALSE(Cgroup::create(host, options).ok());
  for (CgroupHierarchy const& hierarchy : host_.hierarchies) EXPECT_FALSE(sys::exists(hierarchy.mount_point + base_));
}

TEST_F(CgroupKernel, NewCpusetsTakeTheirParentsValues) {
  if (!has_v1("cpuset")) GTEST_SKIP() << "no v1 cpuset";
  Cgroup const cgroup = create("b/c");
  std::string const root = cgroup.path_of("cpuset").substr(0, cgroup.path_of("cpuset").find(base_));
  EXPECT_EQ(read(cgroup, "cpuset", "cpuset.cpus"), trim(*sys::read_file(root + "/cpuset.cpus")));
  EXPECT_EQ(read(cgroup, "cpuset", "cpuset.mems"), trim(*sys::read_file(root + "/cpuset.mems")));
}

TEST_F(CgroupKernel, LimitsReachTheKernelV1) {
  if (!has_v1("memory") || !has_v1("cpu") || !has_v1("pids")) GTEST_SKIP() << "no v1 memory, cpu and pids";
  Cgroup cgroup = create();
  EXPECT_OK(
      cgroup.apply(oci::parse_resources(R"({"cpu":{"shares":512,"quota":50000,"period":100000,"cpus":"0","mems":"0"},
      "memory":{"limit":524288,"swap":1048576,"reservation":262144,"swappiness":10,"disableOOMKiller":true},
      "pids":{"limit":77}})")
                       .value()));
  EXPECT_EQ(read(cgroup, "cpu", "cpu.shares"), "512");
  EXPECT_EQ(read(cgroup, "cpu", "cpu.cfs_quota_us"), "50000");
  EXPECT_EQ(read(cgroup, "cpuset", "cpuset.cpus"), "0");
  EXPECT_EQ(read(cgroup, "memory", "memory.limit_in_bytes"), "524288");
  EXPECT_EQ(read(cgroup, "memory", "memory.memsw.limit_in_bytes"), "1048576");
  EXPECT_EQ(read(cgroup, "memory", "memory.soft_limit_in_bytes"), "262144");
  EXPECT_EQ(read(cgroup, "memory", "memory.swappiness"), "10");
  EXPECT_EQ(read(cgroup, "pids", "pids.max"), "77");
  CgroupStats const stats = cgroup.stats().value();
  EXPECT_EQ(stats.memory_limit, 524288U);
  EXPECT_EQ(stats.pids_limit, 77U);
}

struct Step {
  std::int64_t limit, swap;
};

TEST_F(CgroupKernel, MemoryAndSwapAreRaisedAndLoweredInTheOrderThatWorks) {
  if (!has_v1("memory")) GTEST_SKIP() << "no v1 memory";
  Cgroup cgroup = create();
  for (Step const step : {Step{1 << 20, 2 << 20}, Step{64 << 20, 64 << 20}, Step{1 << 20, 1 << 20}, Step{-1, -1},
                          Step{8 << 20, 9 << 20}, Step{-1, 0}, Step{4 << 20, 4 << 20}}) {
    oci::Resources resources;
    resources.memory.emplace();
    resources.memory->limit = step.limit;
    resources.memory->swap = step.swap;
    EXPECT_OK(cgroup.update(resources));
    if (step.limit > 0) {
      EXPECT_EQ(read(cgroup, "memory", "memory.limit_in_bytes"), std::to_string(step.limit));
      EXPECT_EQ(read(cgroup, "memory", "memory.memsw.limit_in_bytes"), std::to_string(step.swap));
    }
  }
}

TEST_F(CgroupKernel, BandwidthIsRaisedAndLoweredInTheOrderThatWorks) {
  if (!has_v1("cpu")) GTEST_SKIP() << "no v1 cpu";
  Cgroup cgroup = create();
  for (char const* json :
       {R"({"cpu":{"quota":50000,"period":100000,"burst":50000}})", R"({"cpu":{"quota":2000,"burst":1000}})",
        R"({"cpu":{"quota":90000,"burst":80000}})", R"({"cpu":{"quota":1000,"period":5000,"burst":0}})",
        R"({"cpu":{"quota":-1}})", R"({"cpu":{"idle":1,"shares":100}})", R"({"cpu":{"idle":0,"shares":100}})"}) {
    EXPECT_OK(cgroup.update(oci::parse_resources(json).value()));
  }
  EXPECT_EQ(read(cgroup, "cpu", "cpu.shares"), "100");
  EXPECT_EQ(cgroup.update(oci::parse_resources(R"({"cpu":{"quota":10}})").value()).error().code(),
            Errc::kInvalidArgument);
}

// A child that holds `bytes` of memory until it is killed.
std::function<int()> hold(std::size_t bytes, int ready) {
  return [bytes, ready] {
    void* const memory =
        ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    if (memory == MAP_FAILED) return 1;
    ::mlock(memory, bytes);
    sys::raw::write(ready, "x", 1);
    return sleep_forever();
  };
}

TEST_F(CgroupKernel, AMemoryLimitBelowWhatIsInUseIsAConflict) {
  if (!has_v1("memory")) GTEST_SKIP() << "no v1 memory";
  Cgroup cgroup = create();
  int pipe[2];
  ASSERT_EQ(::pipe2(pipe, O_CLOEXEC), 0);
  UniqueFd const reader(pipe[0]), writer(pipe[1]);
  Child const child(cgroup, hold(16 << 20, writer.get()));
  char byte;
  ASSERT_EQ(sys::raw::read(reader.get(), &byte, 1), 1);
  oci::Resources resources;
  resources.memory.emplace();
  resources.memory->limit = 1 << 20;
  resources.memory->check_before_update = true;
  EXPECT_EQ(cgroup.update(resources).error().code(), Errc::kConflict);
  EXPECT_GE(cgroup.stats().value().memory_usage, 16U << 20);
  resources.memory->check_before_update = false;
  if (std::string_view(read(cgroup, "memory", "memory.stat")).find("unevictable 0") == std::string_view::npos) {
    Result<void> const lowered = cgroup.update(resources);
    ASSERT_FALSE(lowered.ok());
    EXPECT_EQ(lowered.error().code(), Errc::kConflict) << lowered.error().to_string();
  }
}

TEST_F(CgroupKernel, AnOomKillIsCounted) {
  if (!has_v1("memory")) GTEST_SKIP() << "no v1 memory";
  Cgroup cgroup = create();
  oci::Resources resources;
  resources.memory.emplace();
  resources.memory->limit = resources.memory->swap = 4 << 20;
  EXPECT_OK(cgroup.apply(resources));
  EXPECT_EQ(cgroup.oom_kill_count().value(), 0U);
  UniqueFd const null = sys::open("/dev/null", O_WRONLY).value();
  Child child(cgroup, hold(64 << 20, null.get()));
  EXPECT_EQ(child.wait(), -SIGKILL);
  EXPECT_EQ(cgroup.oom_kill_count().value(), 1U);
  EXPECT_EQ(cgroup.stats().value().oom_kills, 1U);
}

TEST_F(CgroupKernel, WhatTheHostLacksIsUnimplementedByName) {
  Cgroup cgroup = create();
  for (char const* json :
       {R"({"network":{"classID":1}})", R"({"unified":{"no.such.knob":"1"}})", R"({"rdma":{"x":{"hcaHandles":1}}})"}) {
    if (std::string_view(json).find("classID") != std::string_view::npos && has_v1("net_cls")) continue;
    bool const v2_rdma =
        sys::read_file("/sys/fs/cgroup/cgroup.controllers").value_or("").find("rdma") != std::string::npos;
    if (std::string_view(json).find("rdma") != std::string_view::npos && (has_v1("rdma") || v2_rdma)) continue;
    Result<void> const applied = cgroup.apply(oci::parse_resources(json).value());
    ASSERT_FALSE(applied.ok()) << json;
    EXPECT_EQ(applied.error().code(), Errc::kUnimplemented) << applied.error().to_string();
  }
}

TEST_F(CgroupKernel, UnifiedKnobsReachTheV2Directory) {
  if (!has_v2()) GTEST_SKIP() << "no v2 hierarchy";
  Cgroup cgroup = create();
  oci::Resources resources;
  resources.unified = {{"cgroup.max.depth", "3"}};
  EXPECT_OK(cgroup.apply(resources));
  EXPECT_EQ(read(cgroup, "", "cgroup.max.depth"), "3");
}

TEST_F(CgroupKernel, DeviceListsHoldWhatWasAsked) {
  if (!has_v1("devices")) GTEST_SKIP() << "no v1 devices";
  Cgroup cgroup = create();
  oci::Resources resources;
  resources.devices = {{false, "a", {}, {}, "rwm"}, {true, "c", 10, 229, "rw"}};
  EXPECT_OK(cgroup.apply(resources));
  DeviceList list = parse_device_list(read(cgroup, "devices", "devices.list")).value();
  EXPECT_EQ(list.exceptions.size(), 13U);
  // /dev/mem is out of reach, /dev/null is not.
  Child child(cgroup, [] {
    if (sys::raw::openat(AT_FDCWD, "/dev/null", O_RDWR) < 0) return 1;
    return sys::raw::openat(AT_FDCWD, "/dev/kmsg", O_RDONLY) == -EPERM ? 0 : 2;
  });
  EXPECT_EQ(child.wait(), 0);
  resources.devices = {{true, "c", 1, 11, "r"}};
  EXPECT_OK(cgroup.update(resources));
  Child second(cgroup, [] { return sys::raw::openat(AT_FDCWD, "/dev/kmsg", O_RDONLY) < 0 ? 1 : 0; });
  EXPECT_EQ(second.wait(), 0);
  resources.devices = {{true, "a", {}, {}, "rwm"}};
  EXPECT_OK(cgroup.update(resources));
  EXPECT_EQ(read(cgroup, "devices", "devices.list"), "a *:* rwm");
}

TEST_F(CgroupKernel, DeviceProgramsAreObeyedAndReplaced) {
  if (!has_v2()) GTEST_SKIP() << "no v2 hierarchy";
  Cgroup const cgroup = create();
  std::map<std::string, std::string> const only_v2 = {{"", cgroup.path_of("")}};
  Cgroup v2 = Cgroup::from_paths(only_v2);
  auto const try_open = [&] {
    Child child(v2, [] {
      if (sys::raw::openat(AT_FDCWD, "/dev/null", O_RDWR) < 0) return 1;
      return sys::raw::openat(AT_FDCWD, "/dev/kmsg", O_RDONLY) == -EPERM ? 2 : 0;
    });
    return child.wait();
  };
  auto const programs = [&] { return sys::bpf_query_cgroup_device(v2.open_v2_directory().value().get()).value(); };
  EXPECT_EQ(try_open(), 0);
  EXPECT_OK(v2.apply({}));
  EXPECT_EQ(try_open(), 2);
  ASSERT_EQ(programs().size(), 1U);
  oci::Resources resources;
  resources.devices = {{true, "c", 1, 11, "r"}};
  EXPECT_OK(v2.update(resources));
  EXPECT_EQ(try_open(), 0);
  EXPECT_EQ(programs().size(), 1U);
  resources.devices = {{true, "a", {}, {}, "rwm"}, {false, "c", 1, 11, "w"}};
  EXPECT_OK(v2.update(resources));
  EXPECT_EQ(try_open(), 0);
  resources.devices = {{true, "a", {}, {}, "rwm"}, {false, "c", 1, 11, "rw"}, {true, "b", {}, 7, "m"}};
  EXPECT_OK(v2.update(resources));
  EXPECT_EQ(try_open(), 2);
  EXPECT_EQ(programs().size(), 1U);
}

TEST_F(CgroupKernel, FreezesAndThaws) {
  Cgroup cgroup = create();
  Child const child(cgroup, sleep_forever);
  while (cgroup.processes().value().empty()) ::usleep(1000);
  std::vector<Cgroup> views;
  views.push_back(Cgroup::from_paths(cgroup.paths()));
  if (has_v2()) views.push_back(Cgroup::from_paths({{"", cgroup.path_of("")}}));
  for (Cgroup& view : views) {
    while (view.processes().value().empty()) ::usleep(1000);
    EXPECT_FALSE(view.frozen().value());
    EXPECT_OK(view.freeze());
    EXPECT_TRUE(view.frozen().value());
    EXPECT_OK(view.thaw());
    for (int i = 0; i < 1000 && view.frozen().value(); ++i) ::usleep(1000);
    EXPECT_FALSE(view.frozen().value());
  }
}

TEST_F(CgroupKernel, KillsEverythingBelowEvenFrozen) {
  Cgroup cgroup = create();
  std::vector<std::map<std::string, std::string>> views = {cgroup.paths()};
  std::map<std::string, std::string> v1 = cgroup.paths();
  v1.erase("");
  if (!v1.empty()) views.push_back(v1);
  if (has_v2()) views.push_back({{"", cgroup.path_of("")}});
  for (auto const& paths : views) {
    Cgroup view = Cgroup::from_paths(paths);
    std::map<std::string, std::string> below = paths;
    for (auto& [controller, path] : below) ASSERT_EQ(::mkdir((path += "/x").c_str(), 0755), 0);
    if (below.contains("cpuset")) {
      for (char const* knob : {"/cpuset.cpus", "/cpuset.mems"}) {
        EXPECT_OK(sys::write_knob(AT_FDCWD, below["cpuset"] + knob, *sys::read_file(paths.at("cpuset") + knob)));
      }
    }
    Child first(view, sleep_forever);
    Child second(Cgroup::from_paths(below), sleep_forever);
    while (view.processes().value().size() < 2) ::usleep(1000);
    EXPECT_OK(view.freeze());
    EXPECT_OK(view.signal_all(SIGKILL));
    EXPECT_EQ(first.wait(), -SIGKILL);
    EXPECT_EQ(second.wait(), -SIGKILL);
    EXPECT_TRUE(view.processes().value().empty());
    EXPECT_OK(view.remove());
    for (auto const& [controller, path] : paths) EXPECT_FALSE(sys::exists(path));
    cgroup = create();
  }
}

TEST_F(CgroupKernel, SignalsReachEveryProcess) {
  Cgroup cgroup = create();
  Child first(cgroup, sleep_forever);
  Child second(cgroup, sleep_forever);
  while (cgroup.processes().value().size() < 2) ::usleep(1000);
  EXPECT_OK(cgroup.signal_all(SIGTERM));
  EXPECT_EQ(first.wait(), -SIGTERM);
  EXPECT_EQ(second.wait(), -SIGTERM);
}

TEST_F(CgroupKernel, RemoveSaysWhichProcessIsInTheWay) {
  Cgroup cgroup = create();
  Child const child(cgroup, sleep_forever);
  while (cgroup.processes().value().empty()) ::usleep(1000);
  Result<void> const removed = cgroup.remove();
  ASSERT_FALSE(removed.ok());
  EXPECT_EQ(removed.error().code(), Errc::kConflict);
}

TEST_F(CgroupKernel, AddProcessMovesAnotherProcess) {
  Cgroup cgroup = create();
  Child const child(Cgroup::from_paths({}), sleep_forever);
  EXPECT_OK(cgroup.add_process(child.pid()));
  EXPECT_EQ(cgroup.processes().value(), std::vector<int>{child.pid()});
}

TEST_F(CgroupKernel, ReadsAndRemovesATreeOfAnyDepth) {
  Cgroup cgroup = create();
  // Deeper than a path may be long (PATH_MAX 4096).
  constexpr int kDepth = 600;
  for (auto const& [controller, path] : cgroup.paths()) {
    if (controller != "freezer" && controller != "pids") continue;
    UniqueFd dir = sys::open(path, O_RDONLY | O_DIRECTORY).value();
    for (int i = 0; i < kDepth; ++i) {
      ASSERT_EQ(sys::raw::mkdirat(dir.get(), "some-name", 0755), 0);
      dir = sys::openat(dir.get(), "some-name", O_RDONLY | O_DIRECTORY).value();
    }
  }
  EXPECT_TRUE(cgroup.processes().value().empty());
  EXPECT_OK(cgroup.remove());
}

TEST_F(CgroupKernel, RelativePathsLieBelowOurOwnGroup) {
  Cgroup::Options options;
  options.cgroups_path = base_.substr(1) + "/a";
  Cgroup cgroup = Cgroup::create(host_, options).value();
  OwnGroups const own = parse_proc_cgroup(*sys::read_file("/proc/self/cgroup"));
  for (auto const& [controller, path] : cgroup.paths()) {
    std::string const& below = own.at(controller);
    if (controller.empty() || below == "/") continue;
    EXPECT_NE(path.find(below + base_), std::string::npos) << path;
  }
  EXPECT_OK(cgroup.remove());
  for (auto const& [controller, path] : cgroup.paths())
    EXPECT_EQ(::rmdir(path.substr(0, path.rfind('/')).c_str()), 0) << path;
}

}  // namespace
}  // namespace davit::runtime
