#include "oci/runtime_spec.h"

#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

namespace davit::oci {
namespace {

std::string testdata(std::string const& name) {
  std::ifstream file(std::string(DAVIT_TESTDATA) + "/" + name);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

TEST(RuntimeSpec, ReadsWhatDockerWrites) {
  auto const spec = parse_spec(testdata("docker.json"));
  ASSERT_TRUE(spec.ok()) << spec.error().to_string();
  EXPECT_EQ(spec->oci_version, "1.2.1");
  EXPECT_EQ(spec->hostname, "48555bf84d87");
  Process const& process = *spec->process;
  EXPECT_TRUE(process.terminal);
  EXPECT_EQ(process.args, (Strings{"/sbin/docker-init", "--", "sleep", "60"}));
  EXPECT_EQ(process.user.additional_gids, std::vector<std::uint32_t>{0});
  EXPECT_EQ(process.capabilities->bounding.size(), 15u);
  EXPECT_TRUE(process.capabilities->ambient.empty());
  EXPECT_EQ(process.rlimits.at(0).hard, 200u);
  EXPECT_EQ(process.oom_score_adj, 0);
  Linux const& section = *spec->linux;
  EXPECT_EQ(section.sysctl.at("net.core.somaxconn"), "64");
  EXPECT_EQ(section.resources->memory->limit, 67108864);
  EXPECT_EQ(section.resources->cpu->quota, 150000);
  EXPECT_EQ(section.resources->pids_limit, 50);
  EXPECT_EQ(section.resources->block_io->throttle_read_bps.at(0).rate, 1048576u);
  EXPECT_EQ(section.seccomp->default_action, "SCMP_ACT_ERRNO");
  EXPECT_EQ(section.seccomp->default_errno_ret, 1u);
  EXPECT_GT(section.seccomp->syscalls.at(0).names.size(), 300u);
  EXPECT_EQ(section.masked_paths.size(), 12u);
}

TEST(RuntimeSpec, ReadsWhatPodmanWrites) {
  auto const spec = parse_spec(testdata("podman.json"));
  ASSERT_TRUE(spec.ok()) << spec.error().to_string();
  EXPECT_EQ(spec->process->args, (Strings{"sleep", "10"}));
  EXPECT_FALSE(spec->annotations.empty());
  EXPECT_EQ(spec->linux->resources->memory->limit, 32 << 20);
}

TEST(RuntimeSpec, ReadsItsOwnDefault) {
  for (bool const rootless : {false, true}) {
    auto const spec = parse_spec(default_spec_json(rootless));
    ASSERT_TRUE(spec.ok()) << spec.error().to_string();
    EXPECT_EQ(spec->process->args, Strings{"sh"});
    EXPECT_EQ(spec->root->path, "rootfs");
    EXPECT_EQ(spec->mounts.size(), 7u);
    EXPECT_EQ(spec->linux->namespaces.size(), 5u);
    EXPECT_EQ(spec->linux->uid_mappings.size(), rootless ? 1u : 0u);
  }
}

// Every field the header has, once, with a value that is not its default.
constexpr std::string_view kFull = R"({
  "ociVersion": "1.2.0", "unknown": {"x": [1]}, "hostname": "h", "domainname": "d", "annotations": {"a": "b"},
  "root": {"path": "rootfs", "readonly": true},
  "process": {"terminal": true, "consoleSize": {"height": 24, "width": 80},
    "user": {"uid": 1, "gid": 2, "umask": 18, "additionalGids": [3, 4294967295]},
    "args": ["a"], "env": ["A=", "B=c=d"], "cwd": "/w",
    "capabilities": {"bounding": ["CAP_A"], "effective": ["CAP_B"], "inheritable": ["CAP_C"], "permitted": ["CAP_D"],
                     "ambient": ["CAP_E"]},
    "rlimits": [{"type": "RLIMIT_CORE", "hard": 18446744073709551615, "soft": 1}], "noNewPrivileges": true,
    "apparmorProfile": "ap", "oomScoreAdj": -5, "selinuxLabel": "se",
    "scheduler": {"policy": "SCHED_DEADLINE", "nice": -3, "priority": 1, "flags": ["F"], "runtime": 1, "deadline": 2,
                  "period": 3},
    "ioPriority": {"class": "IOPRIO_CLASS_BE", "priority": 4}, "execCPUAffinity": {"initial": "0-1", "final": "2"}},
  "mounts": [{"destination": "x", "type": "bind", "source": "/s", "options": ["ro"],
              "uidMappings": [{"containerID": 1, "hostID": 2, "size": 3}],
              "gidMappings": [{"containerID": 4, "hostID": 5, "size": 6}]}],
  "hooks": {"prestart": [{"path": "/1", "args": ["x"], "env": ["y"], "timeout": 9}], "createRuntime": [{"path": "/2"}],
    "createContainer": [{"path": "/3"}], "startContainer": [{"path": "/4"}], "poststart": [{"path": "/5"}],
    "poststop": [{"path": "/6"}]},
  "linux": {"uidMappings": [{"containerID": 0, "hostID": 1000, "size": 1}],
    "gidMappings": [{"containerID": 0, "hostID": 1001, "size": 1}], "sysctl": {"kernel.x": "1"}, "cgroupsPath": "/c",
    "namespaces": [{"type": "pid", "path": "/proc/1/ns/pid"}, {"type": "time"}],
    "devices": [{"path": "/dev/f", "type": "c", "major": 1, "minor": 2, "fileMode": 438, "uid": 7, "gid": 8}],
    "rootfsPropagation": "rslave", "maskedPaths": ["/m"], "readonlyPaths": ["/r"], "mountLabel": "ml",
    "intelRdt": {"closID": "c", "l3CacheSchema": "l", "memBwSchema": "m", "enableCMT": true, "enableMBM": true},
    "personality": {"domain": "LINUX32", "flags": ["f"]}, "timeOffsets": {"monotonic": {"secs": -1, "nanosecs": 2}},
    "seccomp": {"defaultAction": "SCMP_ACT_KILL", "defaultErrnoRet": 5, "architectures": ["A"], "flags": ["F"],
      "listenerPath": "/l", "listenerMetadata": "lm", "syscalls": [{"names": ["n"], "action": "SCMP_ACT_ERRNO",
      "errnoRet": 6, "args": [{"index": 5, "value": 18446744073709551615, "valueTwo": 8, "op": "SCMP_CMP_EQ"}]}]}}})";

TEST(RuntimeSpec, ReadsEveryFieldOfTheProcess) {
  auto const spec = parse_spec(kFull);
  ASSERT_TRUE(spec.ok()) << spec.error().to_string();
  Process const& process = *spec->process;
  EXPECT_EQ(process.console_size->height, 24);
  EXPECT_EQ(process.console_size->width, 80);
  EXPECT_EQ(process.user.uid, 1u);
  EXPECT_EQ(process.user.gid, 2u);
  EXPECT_EQ(process.user.umask, 18u);
  EXPECT_EQ(process.user.additional_gids.at(1), 4294967295u);
  EXPECT_EQ(process.env, (Strings{"A=", "B=c=d"}));
  EXPECT_EQ(process.cwd, "/w");
  EXPECT_EQ(process.capabilities->bounding, Strings{"CAP_A"});
  EXPECT_EQ(process.capabilities->effective, Strings{"CAP_B"});
  EXPECT_EQ(process.capabilities->inheritable, Strings{"CAP_C"});
  EXPECT_EQ(process.capabilities->permitted, Strings{"CAP_D"});
  EXPECT_EQ(process.capabilities->ambient, Strings{"CAP_E"});
  EXPECT_EQ(process.rlimits.at(0).hard, 18446744073709551615u);
  EXPECT_TRUE(process.no_new_privileges);
  EXPECT_EQ(process.apparmor_profile, "ap");
  EXPECT_EQ(process.oom_score_adj, -5);
  EXPECT_EQ(process.selinux_label, "se");
  EXPECT_EQ(process.scheduler->nice, -3);
  EXPECT_EQ(process.scheduler->period, 3u);
  EXPECT_EQ(process.scheduler->flags, Strings{"F"});
  EXPECT_EQ(process.io_priority->priority, 4);
  EXPECT_EQ(process.exec_cpu_affinity->initial, "0-1");
  EXPECT_EQ(process.exec_cpu_affinity->final_set, "2");
}

TEST(RuntimeSpec, ReadsEveryOtherField) {
  auto const spec = parse_spec(kFull);
  ASSERT_TRUE(spec.ok()) << spec.error().to_string();
  EXPECT_EQ(spec->domainname, "d");
  EXPECT_EQ(spec->annotations.at("a"), "b");
  EXPECT_TRUE(spec->root->readonly);
  EXPECT_EQ(spec->mounts.at(0).destination, "/x");
  EXPECT_EQ(spec->mounts.at(0).uid_mappings.at(0).host_id, 2u);
  EXPECT_EQ(spec->mounts.at(0).gid_mappings.at(0).size, 6u);
  EXPECT_EQ(spec->hooks.prestart.at(0).timeout_seconds, 9);
  EXPECT_EQ(spec->hooks.create_runtime.at(0).path, "/2");
  EXPECT_EQ(spec->hooks.create_container.at(0).path, "/3");
  EXPECT_EQ(spec->hooks.start_container.at(0).path, "/4");
  EXPECT_EQ(spec->hooks.poststart.at(0).path, "/5");
  EXPECT_EQ(spec->hooks.poststop.at(0).path, "/6");
  Linux const& section = *spec->linux;
  EXPECT_EQ(section.uid_mappings.at(0).host_id, 1000u);
  EXPECT_EQ(section.gid_mappings.at(0).host_id, 1001u);
  EXPECT_EQ(section.namespaces.at(0).path, "/proc/1/ns/pid");
  EXPECT_EQ(section.devices.at(0).file_mode, 438u);
  EXPECT_EQ(section.devices.at(0).gid, 8u);
  EXPECT_EQ(section.rootfs_propagation, "rslave");
  EXPECT_EQ(section.masked_paths, Strings{"/m"});
  EXPECT_EQ(section.readonly_paths, Strings{"/r"});
  EXPECT_EQ(section.mount_label, "ml");
  EXPECT_TRUE(section.intel_rdt->enable_mbm);
  EXPECT_EQ(section.personality_domain, "LINUX32");
  EXPECT_EQ(section.personality_flags, Strings{"f"});
  EXPECT_EQ(section.time_offsets.at("monotonic").secs, -1);
  EXPECT_EQ(section.seccomp->listener_metadata, "lm");
  EXPECT_TRUE(section.seccomp->flags_given);
  EXPECT_EQ(section.seccomp->syscalls.at(0).errno_ret, 6u);
  EXPECT_EQ(section.seccomp->syscalls.at(0).args.at(0).value, 18446744073709551615u);
  EXPECT_EQ(section.seccomp->syscalls.at(0).args.at(0).value_two, 8u);
}

// Resources with every field; printing what was read gives the same text.
constexpr std::string_view kResources =
    R"({"devices":[{"allow":true,"type":"c","major":1,"minor":3,"access":"rw"}],)"
    R"("memory":{"limit":-1,"reservation":2,"swap":3,"kernel":4,"kernelTCP":5,"swappiness":6,"disableOOMKiller":true,)"
    R"("useHierarchy":false,"checkBeforeUpdate":true},)"
    R"("cpu":{"shares":1,"quota":-1,"burst":3,"period":4,"realtimeRuntime":5,"realtimePeriod":6,"cpus":"0-1","mems":"0",)"
    R"("idle":1},"pids":{"limit":-1},"blockIO":{"weight":10,"leafWeight":11,)"
    R"("weightDevice":[{"major":8,"minor":0,"weight":5,"leafWeight":6}],)"
    R"("throttleReadBpsDevice":[{"major":8,"minor":1,"rate":1}],"throttleWriteBpsDevice":[{"major":8,"minor":2,"rate":2}],)"
    R"("throttleReadIOPSDevice":[{"major":8,"minor":3,"rate":3}],"throttleWriteIOPSDevice":[{"major":8,"minor":4,"rate":4}]},)"
    R"("hugepageLimits":[{"pageSize":"2MB","limit":9}],"network":{"classID":1048577,)"
    R"("priorities":[{"name":"eth0","priority":5}]},"rdma":{"mlx":{"hcaHandles":1,"hcaObjects":2}},)"
    R"("unified":{"memory.high":"1"}})";

TEST(RuntimeSpec, PrintsTheResourcesItRead) {
  auto const resources = parse_resources(kResources);
  ASSERT_TRUE(resources.ok()) << resources.error().to_string();
  EXPECT_EQ(print_resources(*resources), kResources);
  EXPECT_EQ(print_resources({}), "{}");
}

struct BadSpec {
  std::string_view name;
  std::string_view from, to;  // replaced in kFull
  std::string_view field;     // what the error begins with
};
class RuntimeSpecBad : public testing::TestWithParam<BadSpec> {};

TEST_P(RuntimeSpecBad, NamesTheField) {
  std::string text(kFull);
  std::size_t const at = text.find(GetParam().from);
  ASSERT_NE(at, std::string::npos);
  text.replace(at, GetParam().from.size(), GetParam().to);
  auto const spec = parse_spec(text);
  ASSERT_FALSE(spec.ok());
  EXPECT_EQ(spec.error().code(), Errc::kInvalidArgument);
  EXPECT_TRUE(spec.error().to_string().starts_with(std::string(GetParam().field) + ": ")) << spec.error().to_string();
}

INSTANTIATE_TEST_SUITE_P(
    Table, RuntimeSpecBad,
    testing::Values(
        BadSpec{"no_version", R"("ociVersion": "1.2.0",)", "", "ociVersion"},
        BadSpec{"version_2", R"("1.2.0")", R"("2.0.0")", "ociVersion"},
        BadSpec{"version_word", R"("1.2.0")", R"("1.x")", "ociVersion"},
        BadSpec{"version_number", R"("1.2.0")", "1.2", "ociVersion"},
        BadSpec{"no_root", R"("root": {"path": "rootfs", "readonly": true},)", "", "root"},
        BadSpec{"no_root_path", R"("path": "rootfs", )", "", "root.path"},
        BadSpec{"root_is_text", R"({"path": "rootfs", "readonly": true})", R"("x")", "root"},
        BadSpec{"hostname_number", R"("hostname": "h")", R"("hostname": 1)", "hostname"},
        BadSpec{"annotation_number", R"({"a": "b"})", R"({"a": 1})", "annotations.a"},
        BadSpec{"terminal_text", R"("terminal": true)", R"("terminal": "yes")", "process.terminal"},
        BadSpec{"uid_text", R"("uid": 1)", R"("uid": "root")", "process.user.uid"},
        BadSpec{"uid_negative", R"("uid": 1)", R"("uid": -1)", "process.user.uid"},
        BadSpec{"uid_big", R"("uid": 1)", R"("uid": 4294967296)", "process.user.uid"},
        BadSpec{"uid_real", R"("uid": 1)", R"("uid": 1.5)", "process.user.uid"},
        BadSpec{"umask_big", R"("umask": 18)", R"("umask": 512)", "process.user.umask"},
        BadSpec{"gid_in_list", "[3, 4294967295]", "[3, false]", "process.user.additionalGids[1]"},
        BadSpec{"console_big", R"("height": 24)", R"("height": 65536)", "process.consoleSize.height"},
        BadSpec{"no_args", R"("args": ["a"], )", "", "process.args"},
        BadSpec{"empty_args", R"("args": ["a"])", R"("args": [])", "process.args"},
        BadSpec{"args_text", R"("args": ["a"])", R"("args": "a")", "process.args"},
        BadSpec{"args_nul", R"("args": ["a"])", R"("args": ["a\u0000b"])", "process.args[0]"},
        BadSpec{"env_without_equals", R"("B=c=d")", R"("B")", "process.env[1]"},
        BadSpec{"env_without_name", R"("B=c=d")", R"("=B")", "process.env[1]"},
        BadSpec{"no_cwd", R"("cwd": "/w",)", "", "process.cwd"},
        BadSpec{"relative_cwd", R"("cwd": "/w")", R"("cwd": "w")", "process.cwd"},
        BadSpec{"capability_list", R"(["CAP_B"])", R"("CAP_B")", "process.capabilities.effective"},
        BadSpec{"rlimit_type", R"("RLIMIT_CORE")", R"("CORE")", "process.rlimits[0].type"},
        BadSpec{"rlimit_soft_over_hard", R"("hard": 18446744073709551615)", R"("hard": 0)", "process.rlimits[0].soft"},
        BadSpec{"rlimit_no_hard", R"("hard": 18446744073709551615, )", "", "process.rlimits[0].hard"},
        BadSpec{"rlimit_twice", R"("soft": 1}])", R"("soft": 1}, {"type": "RLIMIT_CORE", "hard": 1, "soft": 1}])",
                "process.rlimits[1].type"},
        BadSpec{"oom_score", R"("oomScoreAdj": -5)", R"("oomScoreAdj": -1001)", "process.oomScoreAdj"},
        BadSpec{"scheduler_policy", "SCHED_DEADLINE", "SCHED_X", "process.scheduler.policy"},
        BadSpec{"nice", R"("nice": -3)", R"("nice": 20)", "process.scheduler.nice"},
        BadSpec{"io_class", "IOPRIO_CLASS_BE", "BE", "process.ioPriority.class"},
        BadSpec{"io_priority", R"("priority": 4)", R"("priority": 8)", "process.ioPriority.priority"},
        BadSpec{"no_destination", R"("destination": "x", )", "", "mounts[0].destination"},
        BadSpec{"mount_option", R"(["ro"])", "[1]", "mounts[0].options[0]"},
        BadSpec{"mount_mapping", R"("hostID": 2, "size": 3)", R"("hostID": 2)", "mounts[0].uidMappings[0].size"},
        BadSpec{"hook_relative", R"("/2")", R"("2")", "hooks.createRuntime[0].path"},
        BadSpec{"hook_no_path", R"({"path": "/6"})", "{}", "hooks.poststop[0].path"},
        BadSpec{"hook_timeout", R"("timeout": 9)", R"("timeout": 0)", "hooks.prestart[0].timeout"},
        BadSpec{"mapping_zero", R"("hostID": 1000, "size": 1)", R"("hostID": 1000, "size": 0)",
                "linux.uidMappings[0].size"},
        BadSpec{"mapping_wraps", R"("hostID": 1001, "size": 1)", R"("hostID": 4294967295, "size": 1)",
                "linux.gidMappings[0].size"},
        BadSpec{"namespace_unknown", R"({"type": "time"})", R"({"type": "net"})", "linux.namespaces[1].type"},
        BadSpec{"namespace_twice", R"({"type": "time"})", R"({"type": "pid"})", "linux.namespaces[1].type"},
        BadSpec{"namespace_missing", R"({"type": "time"})", "null", "linux.namespaces[1].type"},
        BadSpec{"namespace_path", R"("/proc/1/ns/pid")", R"("proc")", "linux.namespaces[0].path"},
        BadSpec{"device_type", R"("type": "c")", R"("type": "x")", "linux.devices[0].type"},
        BadSpec{"device_path", R"("/dev/f")", R"("")", "linux.devices[0].path"},
        BadSpec{"device_major", R"("major": 1)", R"("major": -1)", "linux.devices[0].major"},
        BadSpec{"propagation", R"("rslave")", R"("slaves")", "linux.rootfsPropagation"},
        BadSpec{"personality", R"("LINUX32")", R"("BSD")", "linux.personality.domain"},
        BadSpec{"clock", R"({"monotonic")", R"({"realtime")", "linux.timeOffsets"},
        BadSpec{"nanos", R"("nanosecs": 2)", R"("nanosecs": 1000000000)", "linux.timeOffsets.monotonic.nanosecs"},
        BadSpec{"seccomp_no_default", R"("defaultAction": "SCMP_ACT_KILL", )", "", "linux.seccomp.defaultAction"},
        BadSpec{"seccomp_no_names", R"("names": ["n"], )", "", "linux.seccomp.syscalls[0].names"},
        BadSpec{"seccomp_index", R"("index": 5)", R"("index": 6)", "linux.seccomp.syscalls[0].args[0].index"},
        BadSpec{"sysctl_number", R"("kernel.x": "1")", R"("kernel.x": 1)", "linux.sysctl.kernel.x"}),
    [](auto const& row) { return std::string(row.param.name); });

struct BadText {
  std::string_view name, text, field;
};
class ResourcesBad : public testing::TestWithParam<BadText> {};

TEST_P(ResourcesBad, NamesTheField) {
  auto const resources = parse_resources(GetParam().text);
  ASSERT_FALSE(resources.ok());
  EXPECT_EQ(resources.error().code(), Errc::kInvalidArgument);
  EXPECT_TRUE(resources.error().to_string().starts_with(GetParam().field)) << resources.error().to_string();
}

INSTANTIATE_TEST_SUITE_P(
    Table, ResourcesBad,
    testing::Values(
        BadText{"empty", "", "JSON line 1"}, BadText{"null", "null", "resources: "},
        BadText{"list", "[]", "resources: "},
        BadText{"limit", R"({"memory": {"limit": "1g"}})", "resources.memory.limit: "},
        BadText{"shares", R"({"cpu": {"shares": -1}})", "resources.cpu.shares: "},
        BadText{"pids", R"({"pids": 5})", "resources.pids: "},
        BadText{"access", R"({"devices": [{"access": "x"}]})", "resources.devices[0].access: "},
        BadText{"type", R"({"devices": [{"type": "p"}]})", "resources.devices[0].type: "},
        BadText{"weight", R"({"blockIO": {"weight": 65536}})", "resources.blockIO.weight: "},
        BadText{"page", R"({"hugepageLimits": [{"pageSize": "../x"}]})", "resources.hugepageLimits[0].pageSize: "},
        BadText{"page_number", R"({"hugepageLimits": [{"pageSize": "12"}]})", "resources.hugepageLimits[0].pageSize: "},
        BadText{"unified", R"({"unified": {"../x.y": "1"}})", "resources.unified.../x.y: "},
        BadText{"rdma", R"({"rdma": {"a": {"hcaHandles": -1}}})", "resources.rdma.a.hcaHandles: "}),
    [](auto const& row) { return std::string(row.param.name); });

TEST(RuntimeSpec, ProcessAloneNamesItsFields) {
  EXPECT_TRUE(parse_process(R"({"args": ["x"], "cwd": "/"})").ok());
  auto const process = parse_process(R"({"args": ["x"], "cwd": "/", "user": {"gid": true}})");
  ASSERT_FALSE(process.ok());
  EXPECT_TRUE(process.error().to_string().starts_with("process.user.gid: "));
}

TEST(RuntimeSpec, NullIsAbsentEverywhere) {
  auto const spec = parse_spec(R"({"ociVersion": "1.0.2-dev", "root": {"path": "r"}, "process": null, "mounts": null,
    "hooks": null, "annotations": null, "linux": {"resources": {"devices": null, "memory": null, "cpu": {"cpus": ""},
    "pids": null, "unified": null}, "namespaces": null, "seccomp": null, "personality": null, "timeOffsets": null}})");
  ASSERT_TRUE(spec.ok()) << spec.error().to_string();
  EXPECT_FALSE(spec->process);
  EXPECT_FALSE(spec->linux->resources->cpu->cpus);
}

}  // namespace
}  // namespace davit::oci
