"""linux.resources on cgroups v1: what the kernel's files say, update, devices, the freezer, out of memory, clean-up."""

import json
import os
import subprocess

import pytest

from davitlib import CAPABILITIES, CGROUP, PARENT, PEER, SANITIZED, V1, alive, bounding_set, cgroup_directories, differs, read, wait_for, write

pytestmark = pytest.mark.skipif(not V1, reason="needs the cgroup v1 hierarchies")
MIB = 1 << 20
HUGE = "2MB" if os.path.exists("/sys/kernel/mm/hugepages/hugepages-2048kB") else None

# name, resources, controller, file, expected contents
LIMITS = [
    ("memory_limit", {"memory": {"limit": 64 * MIB}}, "memory", "memory.limit_in_bytes", str(64 * MIB)),
    ("memory_reservation", {"memory": {"reservation": 32 * MIB}}, "memory", "memory.soft_limit_in_bytes", str(32 * MIB)),
    ("memory_and_swap", {"memory": {"limit": 64 * MIB, "swap": 96 * MIB}}, "memory", "memory.memsw.limit_in_bytes", str(96 * MIB)),
    ("memory_swap_unlimited", {"memory": {"limit": 64 * MIB, "swap": -1}}, "memory", "memory.limit_in_bytes", str(64 * MIB)),
    ("memory_unlimited", {"memory": {"limit": -1}}, "memory", "memory.limit_in_bytes", "9223372036854771712"),
    ("memory_swappiness", {"memory": {"limit": 64 * MIB, "swappiness": 10}}, "memory", "memory.swappiness", "10"),
    ("oom_killer_disabled", {"memory": {"limit": 64 * MIB, "disableOOMKiller": True}}, "memory", "memory.oom_control", "oom_kill_disable 1"),
    ("cpu_shares", {"cpu": {"shares": 512}}, "cpu", "cpu.shares", "512"),
    ("cpu_quota", {"cpu": {"quota": 50000, "period": 100000}}, "cpu", "cpu.cfs_quota_us", "50000"),
    ("cpu_period", {"cpu": {"quota": 20000, "period": 50000}}, "cpu", "cpu.cfs_period_us", "50000"),
    ("cpu_period_alone", {"cpu": {"period": 50000}}, "cpu", "cpu.cfs_period_us", "50000"),
    ("cpu_quota_unlimited", {"cpu": {"quota": -1}}, "cpu", "cpu.cfs_quota_us", "-1"),
    ("cpu_burst", {"cpu": {"quota": 50000, "period": 100000, "burst": 30000}}, "cpu", "cpu.cfs_burst_us", "30000"),
    ("cpu_idle", {"cpu": {"idle": 1}}, "cpu", "cpu.idle", "1"),
    ("cpuset_cpus", {"cpu": {"cpus": "0"}}, "cpuset", "cpuset.cpus", "0"),
    ("cpuset_mems", {"cpu": {"mems": "0"}}, "cpuset", "cpuset.mems", "0"),
    ("pids", {"pids": {"limit": 33}}, "pids", "pids.max", "33"),
    ("pids_unlimited", {"pids": {"limit": -1}}, "pids", "pids.max", "max"),
    ("blkio_read_bps", {"blockIO": {"throttleReadBpsDevice": [{"major": 7, "minor": 0, "rate": 1048576}]}}, "blkio",
     "blkio.throttle.read_bps_device", "7:0 1048576"),
    ("blkio_write_bps", {"blockIO": {"throttleWriteBpsDevice": [{"major": 7, "minor": 0, "rate": 2097152}]}}, "blkio",
     "blkio.throttle.write_bps_device", "7:0 2097152"),
    ("blkio_read_iops", {"blockIO": {"throttleReadIOPSDevice": [{"major": 7, "minor": 0, "rate": 10}]}}, "blkio",
     "blkio.throttle.read_iops_device", "7:0 10"),
    ("blkio_write_iops", {"blockIO": {"throttleWriteIOPSDevice": [{"major": 7, "minor": 0, "rate": 20}]}}, "blkio",
     "blkio.throttle.write_iops_device", "7:0 20"),
    ("blkio_weight", {"blockIO": {"weight": 200}}, "blkio", "blkio.bfq.weight", "200"),
]  # fmt: skip


@pytest.mark.parametrize("name, resources, controller, file, expected", LIMITS, ids=[row[0] for row in LIMITS])
def test_limit_is_set_and_gone_after_delete(bundle, name, resources, controller, file, expected):
    if not os.path.exists(f"{CGROUP}/{controller}/{file}") and not os.path.exists(f"{CGROUP}/{controller}/peers/{file}"):
        pytest.skip(f"this kernel has no {file}")
    if name.startswith("blkio_") and "throttle" in file and not os.path.exists("/sys/dev/block/7:0"):
        pytest.skip("needs block device 7:0")
    bundle.resources(**resources).args("sleep", "100").up()
    assert bundle.knob(controller, file).splitlines()[0] == expected
    bundle.stop()
    assert cgroup_directories(bundle.cgroups_path) == []


def test_all_limits_at_once(bundle):
    bundle.resources(memory={"limit": 64 * MIB, "swap": 64 * MIB, "reservation": 32 * MIB}, cpu={"shares": 2, "quota": 1000, "period": 1000,
                     "cpus": "0", "mems": "0"}, pids={"limit": 20})  # fmt: skip
    bundle.args("sleep", "100").up()
    assert bundle.knob("memory", "memory.memsw.limit_in_bytes") == str(64 * MIB)
    assert bundle.knob("cpu", "cpu.cfs_quota_us") == "1000"
    assert bundle.knob("pids", "pids.max") == "20"


def test_container_is_in_every_hierarchy(bundle):
    bundle.args("sleep", "100").up()
    lines = read(f"/proc/{bundle.pid()}/cgroup").splitlines()
    for line in lines:
        number, controllers, path = line.split(":", 2)
        if controllers and (PEER != "crun" or "=" not in controllers):
            assert path == bundle.cgroups_path, line


def test_hugetlb_limit(bundle):
    if not os.path.exists(f"{CGROUP}/hugetlb"):
        pytest.skip("this machine has no v1 hugetlb hierarchy")
    bundle.resources(hugepageLimits=[{"pageSize": HUGE, "limit": 4 * MIB}]).args("sleep", "100").up()
    assert bundle.knob("hugetlb", f"hugetlb.{HUGE}.limit_in_bytes") == str(4 * MIB)


def test_missing_cgroups_path_gets_a_default(bundle):
    del bundle.linux["cgroupsPath"]
    bundle.args("sleep", "100").up()
    path = next(line.split(":", 2)[2] for line in read(f"/proc/{bundle.pid()}/cgroup").splitlines() if ":pids:" in line)
    assert path.endswith(bundle.id)
    bundle.stop()
    assert not os.path.exists(f"{CGROUP}/pids{path}")


@pytest.mark.skipif(SANITIZED, reason="a build with AddressSanitizer needs more memory")
@differs(runc="its own init needs more")
def test_memory_limit_of_512_kib_starts(bundle):
    """What the issue promises; a container whose limit is so low runs /bin/true."""
    bundle.resources(memory={"limit": 512 << 10, "swap": 512 << 10})
    bundle.args("/bin/true")
    bundle.process.pop("oomScoreAdj", None)
    assert bundle.run().returncode == 0


def test_out_of_memory_kills_with_137(bundle, probe):
    bundle.resources(memory={"limit": 16 * MIB, "swap": 16 * MIB})
    result = bundle.args("/bin/probe", "eat", str(64 << 10)).run()
    assert result.returncode == 137
    assert "eaten" not in result.stdout
    bundle.assert_gone()


@differs(crun="has no events")
@pytest.mark.seconds(8)
def test_out_of_memory_is_an_event(bundle, probe):
    bundle.resources(memory={"limit": 16 * MIB, "swap": 16 * MIB})
    bundle.sh("while :; do /bin/probe eat 65536; usleep 50000; done").up()
    process = subprocess.Popen(bundle.command("events", "--interval", "10s", bundle.id), stdout=subprocess.PIPE, text=True)
    try:
        events = [json.loads(process.stdout.readline()) for _ in range(2)]  # one may be the first statistics
        assert ("oom", bundle.id) in [(event["type"], event["id"]) for event in events]
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def test_fork_above_the_pids_limit_fails(bundle):
    bundle.resources(pids={"limit": 3})
    result = bundle.sh("sleep 1 & sleep 1 & sleep 1 & echo no-limit").run()
    assert "no-limit" not in result.stdout


# ------------------------------------------------------------------------------------------------------------- devices


def test_devices_that_are_not_allowed_cannot_be_opened(bundle):
    script = "mknod /tmp/disk b 7 0 && cat /tmp/disk >/dev/null 2>&1; echo $?; mknod /tmp/mem c 1 1 && head -c1 /tmp/mem 2>&1 >/dev/null; mknod /tmp/n c 1 3 && echo x >/tmp/n && echo null-ok"
    answer = bundle.sh(script).run().stdout
    assert answer.startswith("1\n")
    assert "Operation not permitted" in answer
    assert answer.endswith("null-ok\n")


DEVICE_RULES = [
    ("read_only", [{"allow": True, "type": "c", "major": 10, "minor": 229, "access": "r"}], "read"),
    ("read_write", [{"allow": True, "type": "c", "major": 10, "minor": 229, "access": "rw"}], "read write"),
    ("any_minor", [{"allow": True, "type": "c", "major": 10, "access": "rwm"}], "read write"),
    ("other_type", [{"allow": True, "type": "b", "major": 10, "minor": 229, "access": "rwm"}], ""),
    ("allowed_then_denied", [{"allow": True, "type": "c", "major": 10, "minor": 229, "access": "rwm"},
                             {"allow": False, "type": "c", "major": 10, "minor": 229, "access": "w"}], "read"),
    ("everything", [{"allow": True, "access": "rwm"}], "read write"),
]  # fmt: skip


@pytest.mark.parametrize("name, rules, expected", DEVICE_RULES, ids=[row[0] for row in DEVICE_RULES])
def test_device_rules(bundle, name, rules, expected):
    """10:229 is /dev/fuse, which every process with the permission may open."""
    if not os.path.exists("/dev/fuse"):
        pytest.skip("needs /dev/fuse")
    bundle.linux["resources"]["devices"] += rules
    script = "mknod /tmp/f c 10 229; (exec 3</tmp/f) 2>/dev/null && echo read; (exec 3>/tmp/f) 2>/dev/null && echo write; true"
    assert bundle.sh(script).must().split() == expected.split()


def test_mknod_is_allowed_for_any_device_unless_denied(bundle):
    assert bundle.sh("mknod /tmp/x b 8 0 && mknod /tmp/y c 4 64 && echo made").must() == "made"


def test_no_device_rules_still_allow_the_default_nodes(bundle):
    bundle.linux["resources"] = {"devices": [{"allow": False, "access": "rwm"}]}
    assert bundle.sh("head -c 2 /dev/urandom | wc -c; echo x > /dev/null; head -c 2 /dev/zero | wc -c").must().split() == ["2", "2"]


# -------------------------------------------------------------------------------------------------------------- update

UPDATES = [
    ("memory", ["--memory", "48000000"], "memory", "memory.limit_in_bytes", str(48000000 // 4096 * 4096)),
    ("memory_reservation", ["--memory-reservation", "20971520"], "memory", "memory.soft_limit_in_bytes", "20971520"),
    ("memory_and_swap", ["--memory", "134217728", "--memory-swap", "268435456"], "memory", "memory.memsw.limit_in_bytes", "268435456"),
    ("memory_suffix", ["--memory", "32M"], "memory", "memory.limit_in_bytes", str(32 * MIB)),
    ("cpu_share", ["--cpu-share", "300"], "cpu", "cpu.shares", "300"),
    ("cpu_quota", ["--cpu-quota", "70000"], "cpu", "cpu.cfs_quota_us", "70000"),
    ("cpu_period", ["--cpu-period", "200000"], "cpu", "cpu.cfs_period_us", "200000"),
    ("cpu_burst", ["--cpu-quota", "50000", "--cpu-burst", "10000"], "cpu", "cpu.cfs_burst_us", "10000"),
    ("cpu_idle", ["--cpu-idle", "1"], "cpu", "cpu.idle", "1"),
    ("cpuset_cpus", ["--cpuset-cpus", "1"], "cpuset", "cpuset.cpus", "1"),
    ("cpuset_mems", ["--cpuset-mems", "0"], "cpuset", "cpuset.mems", "0"),
    ("pids", ["--pids-limit", "12"], "pids", "pids.max", "12"),
    ("pids_unlimited", ["--pids-limit", "-1"], "pids", "pids.max", "max"),
    ("blkio_weight", ["--blkio-weight", "300"], "blkio", "blkio.bfq.weight", "300"),
]  # fmt: skip


@pytest.mark.parametrize("name, flags, controller, file, expected", UPDATES, ids=[row[0] for row in UPDATES])
def test_update_by_flag(bundle, name, flags, controller, file, expected):
    bundle.resources(memory={"limit": 64 * MIB, "swap": 64 * MIB} if "reservation" not in name else {"limit": 64 * MIB}, pids={"limit": 50},
                     cpu={"shares": 100, "quota": 60000, "period": 100000})  # fmt: skip
    bundle.args("sleep", "100").up()
    if not os.path.exists(bundle.cgroup(controller, file)):
        pytest.skip(f"this kernel has no {file}")
    if name == "cpuset_cpus" and os.cpu_count() < 2:
        pytest.skip("needs two processors")
    if name in ("memory", "memory_suffix"):
        flags = [*flags, "--memory-swap", "67108864"]
    result = bundle.call("update", *flags, bundle.id)
    assert result.returncode == 0, result.stderr
    assert bundle.knob(controller, file) == expected


def test_update_raises_memory_above_the_old_swap_limit(bundle):
    """memory.memsw must be raised first: the kernel refuses memory > memory+swap."""
    bundle.resources(memory={"limit": 32 * MIB, "swap": 32 * MIB}).args("sleep", "100").up()
    result = bundle.call("update", "--memory", str(128 * MIB), "--memory-swap", str(128 * MIB), bundle.id)
    assert result.returncode == 0, result.stderr
    result = bundle.call("update", "--memory", str(16 * MIB), "--memory-swap", str(16 * MIB), bundle.id)
    assert result.returncode == 0, result.stderr
    assert bundle.knob("memory", "memory.limit_in_bytes") == bundle.knob("memory", "memory.memsw.limit_in_bytes") == str(16 * MIB)


@pytest.mark.parametrize("how", ["stdin", "file"])
def test_update_by_resources(bundle, how):
    bundle.args("sleep", "100").up()
    text = json.dumps({"memory": {"limit": 40 * MIB}, "cpu": {"shares": 77, "quota": 30000, "period": 100000}, "pids": {"limit": 9}})
    where = "-" if how == "stdin" else write(f"{bundle.path}/resources.json", text)
    result = bundle.call("update", "--resources", where, bundle.id, input=text)
    assert result.returncode == 0, result.stderr
    assert bundle.knob("memory", "memory.limit_in_bytes") == str(40 * MIB)
    assert bundle.knob("cpu", "cpu.shares") == "77"
    assert bundle.knob("pids", "pids.max") == "9"


def test_update_leaves_devices_and_other_limits_alone(bundle):
    bundle.resources(memory={"limit": 64 * MIB}, cpu={"shares": 77}).sh("while ! test -e /go; do sleep 0.01; done; echo x > /dev/null && echo null-ok").up()
    devices = bundle.knob("devices", "devices.list")
    assert bundle.call("update", "--pids-limit", "30", bundle.id).returncode == 0
    assert bundle.knob("devices", "devices.list") == devices
    assert bundle.knob("cpu", "cpu.shares") == "77"
    assert bundle.knob("memory", "memory.limit_in_bytes") == str(64 * MIB)
    write(f"{bundle.rootfs}/go", "")
    bundle.output("null-ok")


BAD_UPDATES = [
    ("not_a_number", ["--memory", "lots"]),
    ("bad_cpuset", ["--cpuset-cpus", "9999"]),
    ("bad_json", ["--resources", "-"]),
    ("missing_file", ["--resources", "/nosuch/resources.json"]),
    ("quota_too_small", ["--cpu-quota", "1"]),
]


@pytest.mark.parametrize("name, flags", BAD_UPDATES, ids=[row[0] for row in BAD_UPDATES])
def test_bad_update_is_refused_and_the_container_goes_on(bundle, name, flags):
    bundle.args("sleep", "100").up()
    result = bundle.call("update", *flags, bundle.id, input="{ not json")
    assert result.returncode != 0
    assert result.stderr.strip()
    assert bundle.status() == "running"


def test_check_before_update_refuses_a_limit_below_the_usage(bundle, probe):
    bundle.resources(memory={"limit": 64 * MIB}).args("/bin/probe", "eat", "20480").up()
    bundle.output("eaten")
    text = json.dumps({"memory": {"limit": 4 * MIB, "checkBeforeUpdate": True}})
    result = bundle.call("update", "--resources", "-", bundle.id, input=text)
    assert result.returncode != 0
    assert bundle.knob("memory", "memory.limit_in_bytes") == str(64 * MIB)
    assert bundle.status() == "running"


def test_update_of_a_created_container(bundle):
    bundle.args("sleep", "100")
    bundle.create()
    assert bundle.call("update", "--pids-limit", "30", bundle.id).returncode == 0
    assert bundle.knob("pids", "pids.max") == "30"


# ----------------------------------------------------------------------------------------------------------- bad input

BAD_LIMITS = [
    ("memory_text", {"memory": {"limit": "much"}}, "memory"),
    ("cpuset", {"cpu": {"cpus": "4096"}}, "cpuset.cpus"),
    ("cpu_quota", {"cpu": {"quota": 1, "period": 100000}}, "cpu.cfs_quota_us"),
    ("swap_below_limit", {"memory": {"limit": 64 * MIB, "swap": 1 * MIB}}, "mem"),
    ("device_type", {"devices": [{"allow": True, "type": "x", "major": 1, "minor": 1, "access": "r"}]}, "dev"),
]


@pytest.mark.parametrize("name, resources, text", BAD_LIMITS, ids=[row[0] for row in BAD_LIMITS])
def test_limit_that_the_kernel_refuses_is_an_error_that_names_it(bundle, name, resources, text):
    bundle.resources(**resources)
    result = bundle.run()
    assert result.returncode == 1
    assert text in result.stderr, result.stderr
    bundle.assert_gone()


def test_cgroup_that_cannot_be_made_is_an_error_that_names_it(bundle):
    """Even root may not: a file of the parent group has that name."""
    bundle.linux["cgroupsPath"] = f"/{PARENT}/cgroup.procs/{bundle.id}"
    result = bundle.run()
    assert result.returncode == 1
    assert "cgroup.procs" in result.stderr
    bundle.assert_gone()


def test_cgroup_path_cannot_climb_out(bundle):
    bundle.linux["cgroupsPath"] = f"/../../..{bundle.cgroups_path}"
    bundle.args("sleep", "100")
    result = bundle.create()
    if result.returncode == 0:
        assert os.path.isdir(bundle.cgroup("pids"))
    assert not os.path.exists(bundle.cgroups_path)


@differs(crun="shares it")
def test_cgroup_in_use_by_another_container_is_refused(bundle, bundles):
    bundle.args("sleep", "100").up()
    other = bundles()
    other.linux["cgroupsPath"] = bundle.cgroups_path
    result = other.args("sleep", "100").create()
    assert result.returncode == 1
    assert bundle.status() == "running"


def test_systemd_path_without_systemd_is_refused_clearly(bundle):
    if os.path.isdir("/run/systemd/system"):
        pytest.skip("systemd runs here")
    bundle.linux["cgroupsPath"] = "user.slice:davit:test"
    result = bundle.run(before=("--systemd-cgroup",))
    assert result.returncode == 1
    assert "systemd" in result.stderr.lower()


def test_groups_below_the_containers_own_are_removed_too(bundle):
    entry = next(entry for entry in bundle.config["mounts"] if entry["type"] == "cgroup")
    entry["options"] = ["nosuid", "noexec", "nodev", "rw"]
    bundle.sh("mkdir -p /sys/fs/cgroup/pids/a/b /sys/fs/cgroup/memory/c && echo made; sleep 100").up()
    bundle.output("made")
    bundle.stop()
    assert cgroup_directories(bundle.cgroups_path) == []


def test_processes_in_groups_below_end_with_delete_force(bundle):
    entry = next(entry for entry in bundle.config["mounts"] if entry["type"] == "cgroup")
    entry["options"] = ["nosuid", "noexec", "nodev", "rw"]
    bundle.no_namespace("pid")
    bundle.sh("mkdir /sys/fs/cgroup/pids/below; sleep 1000 & echo $! > /sys/fs/cgroup/pids/below/cgroup.procs; echo ready; wait").up()
    bundle.output("ready")
    pid = int(read(bundle.cgroup("pids", "below/cgroup.procs")))
    bundle.stop()
    wait_for(lambda: not alive(pid), "the process in the group below")


def test_parent_groups_limits_apply(bundle):
    """A container's group is made below its parent, not beside it."""
    parent = bundle.cgroup("pids").rsplit("/", 1)[0]
    bundle.args("sleep", "100").up()
    assert os.path.isdir(parent)
    assert read(f"{parent}/cgroup.procs") == ""


def test_bounding_set_of_this_machine_is_known():
    assert bounding_set() < 1 << len(CAPABILITIES)
