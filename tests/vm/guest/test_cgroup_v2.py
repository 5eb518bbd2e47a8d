"""linux.resources on a host with cgroup v2 only: what the kernel's files say, devices, the freezer, out of memory, clean-up."""

import json
import os
import time

import pytest

from conftest import Bundle, Sandbox, alive, read, wait_for

CGROUP = "/sys/fs/cgroup"
MIB = 1 << 20
NULL_BLOCK = read("/sys/block/nullb0/dev", "").strip()

pytestmark = pytest.mark.skipif(not os.path.exists(CGROUP + "/cgroup.controllers"), reason="needs a host with cgroup v2 only")
needs_null_block = pytest.mark.skipif(not NULL_BLOCK, reason="needs the null block device")


@pytest.fixture(scope="module")
def sandbox():
    box = Sandbox()
    yield box
    box.close()


@pytest.fixture
def bundle(sandbox):
    made = Bundle(sandbox)
    yield made
    left = made.cleanup()
    assert left == []
    assert not os.path.exists(CGROUP + made.cgroups_path)


def knob(bundle, file):
    return read(f"{CGROUP}{bundle.cgroups_path}/{file}").strip()


# name, resources, file, expected contents
LIMITS = [
    ("memory_limit", {"memory": {"limit": 64 * MIB}}, "memory.max", str(64 * MIB)),
    ("memory_half_a_mebibyte", {"memory": {"limit": MIB // 2}}, "memory.max", str(MIB // 2)),
    ("memory_unlimited", {"memory": {"limit": -1}}, "memory.max", "max"),
    ("memory_reservation", {"memory": {"reservation": 32 * MIB}}, "memory.low", str(32 * MIB)),
    # swap is the sum in the specification, and swap alone in cgroup v2
    ("memory_and_swap", {"memory": {"limit": 64 * MIB, "swap": 96 * MIB}}, "memory.swap.max", str(32 * MIB)),
    ("memory_swap_same", {"memory": {"limit": 64 * MIB, "swap": 64 * MIB}}, "memory.swap.max", "0"),
    ("memory_swap_unlimited", {"memory": {"limit": 64 * MIB, "swap": -1}}, "memory.swap.max", "max"),
    ("cpu_quota", {"cpu": {"quota": 50000, "period": 100000}}, "cpu.max", "50000 100000"),
    ("cpu_quota_alone", {"cpu": {"quota": 50000}}, "cpu.max", "50000 100000"),
    ("cpu_period_alone", {"cpu": {"period": 50000}}, "cpu.max", "max 50000"),
    ("cpu_quota_unlimited", {"cpu": {"quota": -1}}, "cpu.max", "max 100000"),
    ("cpu_burst", {"cpu": {"quota": 50000, "period": 100000, "burst": 30000}}, "cpu.max.burst", "30000"),
    ("cpu_shares_default", {"cpu": {"shares": 1024}}, "cpu.weight", "100"),
    ("cpu_shares_least", {"cpu": {"shares": 2}}, "cpu.weight", "1"),
    ("cpu_shares_most", {"cpu": {"shares": 262144}}, "cpu.weight", "10000"),
    ("cpu_idle", {"cpu": {"idle": 1}}, "cpu.idle", "1"),
    ("cpuset_cpus", {"cpu": {"cpus": "0"}}, "cpuset.cpus", "0"),
    ("cpuset_mems", {"cpu": {"mems": "0"}}, "cpuset.mems", "0"),
    ("pids", {"pids": {"limit": 33}}, "pids.max", "33"),
    ("pids_unlimited", {"pids": {"limit": -1}}, "pids.max", "max"),
    ("hugetlb", {"hugepageLimits": [{"pageSize": "2MB", "limit": 4 * MIB}]}, "hugetlb.2MB.max", str(4 * MIB)),
    ("unified", {"unified": {"memory.high": str(48 * MIB)}}, "memory.high", str(48 * MIB)),
    ("unified_wins", {"memory": {"limit": 64 * MIB}, "unified": {"memory.max": str(32 * MIB)}}, "memory.max", str(32 * MIB)),
]


@pytest.mark.parametrize("name, resources, file, expected", LIMITS, ids=[row[0] for row in LIMITS])
def test_limit_is_set_and_gone_after_delete(bundle, name, resources, file, expected):
    bundle.resources(**resources).args("sleep", "100").up()
    assert knob(bundle, file) == expected
    bundle.stop()
    assert not os.path.exists(CGROUP + bundle.cgroups_path)


IO = [
    ("read_bps", "throttleReadBpsDevice", "rbps", 1048576),
    ("write_bps", "throttleWriteBpsDevice", "wbps", 2097152),
    ("read_iops", "throttleReadIOPSDevice", "riops", 10),
    ("write_iops", "throttleWriteIOPSDevice", "wiops", 20),
]


@needs_null_block
@pytest.mark.parametrize("name, field, key, rate", IO, ids=[row[0] for row in IO])
def test_io_limit_is_set(bundle, name, field, key, rate):
    major, minor = map(int, NULL_BLOCK.split(":"))
    bundle.resources(blockIO={field: [{"major": major, "minor": minor, "rate": rate}]}).args("sleep", "100").up()
    line = knob(bundle, "io.max")
    assert line.startswith(NULL_BLOCK) and f"{key}={rate}" in line.split()


REFUSED = [
    ("swappiness", {"memory": {"limit": 64 * MIB, "swappiness": 10}}, "swappiness"),
    ("oom_killer", {"memory": {"limit": 64 * MIB, "disableOOMKiller": True}}, "disableOOMKiller"),
    ("realtime", {"cpu": {"realtimeRuntime": 1000, "realtimePeriod": 1000000}}, "realtime"),
    ("class_id", {"network": {"classID": 1}}, "classID"),
    ("unknown_unified", {"unified": {"memory.nothing": "1"}}, "memory.nothing"),
    ("path_in_unified", {"unified": {"../cgroup.procs": "1"}}, "unified"),
    ("absent_page_size", {"hugepageLimits": [{"pageSize": "3MB", "limit": MIB}]}, "hugepageLimits"),
]


@pytest.mark.parametrize("name, resources, named", REFUSED, ids=[row[0] for row in REFUSED])
def test_what_version_2_lacks_is_an_error_that_names_the_field(bundle, name, resources, named):
    result = bundle.resources(**resources).run()
    assert result.returncode != 0
    assert named in result.stderr
    assert not os.path.exists(CGROUP + bundle.cgroups_path)


def test_the_container_sees_its_own_group_as_the_root(bundle):
    out = bundle.sh("cat /proc/self/cgroup; cat /sys/fs/cgroup/pids.max; ls /sys/fs/cgroup/cgroup.procs").resources(pids={"limit": 21}).must()
    assert out.splitlines() == ["0::/", "21", "/sys/fs/cgroup/cgroup.procs"]


def test_the_group_in_the_container_is_read_only(bundle):
    assert "Read-only" in bundle.sh("mkdir /sys/fs/cgroup/made 2>&1; true").must()


def test_without_a_cgroup_namespace_the_mount_still_shows_only_the_own_group(bundle):
    bundle.no_namespace("cgroup")
    out = bundle.sh("cat /proc/self/cgroup; cat /sys/fs/cgroup/pids.max").resources(pids={"limit": 21}).must()
    assert out.splitlines() == [f"0::{bundle.cgroups_path}", "21"]


def open_block_device(bundle):
    """What a container finds when it makes the null block device's node and reads from, then writes to it."""
    major, minor = NULL_BLOCK.split(":")
    bundle.mount("/tmp", "tmpfs", "tmpfs", ["dev"])
    bundle.sh(f"cat /dev/null && mknod /tmp/block b {major} {minor} || exit 9\n"
              "dd if=/tmp/block of=/dev/null bs=512 count=1 2>/dev/null && echo read || echo not read\n"
              "dd if=/dev/zero of=/tmp/block bs=512 count=1 conv=notrunc 2>/dev/null && echo written || echo not written")  # fmt: skip
    return bundle.must().splitlines()


@needs_null_block
def test_device_that_no_rule_allows_cannot_be_opened(bundle):
    assert open_block_device(bundle) == ["not read", "not written"]


@needs_null_block
@pytest.mark.parametrize("access, expected", [("r", ["read", "not written"]), ("rw", ["read", "written"]), ("w", ["not read", "written"])])
def test_device_can_be_opened_as_its_rule_says(bundle, access, expected):
    major, minor = map(int, NULL_BLOCK.split(":"))
    bundle.linux["resources"]["devices"].append({"allow": True, "type": "b", "major": major, "minor": minor, "access": access})
    assert open_block_device(bundle) == expected


def test_update_changes_limits_and_devices_stay_denied(bundle):
    bundle.resources(memory={"limit": 64 * MIB, "swap": 64 * MIB}, pids={"limit": 20}).args("sleep", "100").up()
    wanted = {"memory": {"limit": 128 * MIB, "swap": 160 * MIB}, "cpu": {"quota": 20000, "period": 50000}, "pids": {"limit": 40}}
    result = bundle.call("update", "--resources", "-", bundle.id, input=json.dumps(wanted))
    assert result.returncode == 0, result.stderr
    found = [knob(bundle, file) for file in ("memory.max", "memory.swap.max", "cpu.max", "pids.max")]
    assert found == [str(128 * MIB), str(32 * MIB), "20000 50000", "40"]
    assert bundle.exec("sh", "-c", "mknod /dev/port c 1 4 && cat /dev/port").returncode != 0


def test_pause_stops_and_resume_goes_on(bundle):
    bundle.sh("while :; do echo x; sleep 0.02; done").up()
    bundle.output("x")
    assert bundle.call("pause", bundle.id).returncode == 0
    assert bundle.status() == "paused"
    assert "frozen 1" in knob(bundle, "cgroup.events")
    before = bundle.output()
    time.sleep(0.3)
    assert bundle.output() == before
    assert bundle.call("resume", bundle.id).returncode == 0
    assert bundle.status() == "running"
    wait_for(lambda: len(bundle.output()) > len(before), "output after resume")


def test_paused_container_can_be_killed_and_deleted(bundle):
    bundle.args("sleep", "100").up()
    assert bundle.call("pause", bundle.id).returncode == 0
    pid = bundle.pid()
    bundle.stop()
    assert not alive(pid)


def test_out_of_memory_kills_and_is_counted(bundle):
    bundle.resources(memory={"limit": 16 * MIB, "swap": 16 * MIB})
    bundle.sh("sleep 0.2; (head -c 64m /dev/zero | tail >/dev/null); echo code $?; sleep 100").up()
    wait_for(lambda: "oom_kill 0" not in knob(bundle, "memory.events").splitlines(), "an out of memory kill")
    stats = json.loads(bundle.call("events", "--stats", bundle.id).stdout)
    assert stats["data"]["memory"]["usage"]["limit"] == 16 * MIB


def test_stats_are_plausible(bundle):
    bundle.resources(pids={"limit": 20}).sh("i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; echo done; sleep 100").up()
    bundle.output("done", 30)
    data = json.loads(bundle.call("events", "--stats", bundle.id).stdout)["data"]
    assert data["pids"]["current"] in (1, 2) and data["pids"]["limit"] == 20
    assert data["cpu"]["usage"]["total"] > 1_000_000
    assert data["memory"]["usage"]["usage"] > 4096


def test_kill_all_reaches_every_process_of_the_group(bundle):
    bundle.no_namespace("pid")
    bundle.sh("sleep 1000 & sleep 1000 & echo up; wait").up()
    bundle.output("up")
    pids = [int(line) for line in knob(bundle, "cgroup.procs").splitlines()]
    assert len(pids) == 3
    bundle.stop()
    assert not any(alive(pid) for pid in pids)


def test_processes_in_groups_below_are_removed_too(bundle):
    bundle.mount("/sys/fs/cgroup", "cgroup", "cgroup", ["rw", "nosuid", "noexec", "nodev"])
    bundle.config["mounts"] = [entry for entry in bundle.config["mounts"] if "ro" not in entry.get("options", []) or "cgroup" not in entry["destination"]]
    bundle.sh("mkdir /sys/fs/cgroup/below && (echo 0 >/sys/fs/cgroup/below/cgroup.procs; sleep 1000) & sleep 0.2; echo up; sleep 1000").up()
    bundle.output("up")
    assert knob(bundle, "below/cgroup.procs") != ""
    bundle.stop()
    assert not os.path.exists(CGROUP + bundle.cgroups_path)


def test_exec_joins_the_group(bundle):
    bundle.args("sleep", "100").up()
    assert bundle.exec("cat", "/proc/self/cgroup").stdout.strip() == "0::/"


def test_default_path_is_made_and_removed(bundle):
    del bundle.linux["cgroupsPath"]
    bundle.args("sleep", "100").up()
    line = read(f"/proc/{bundle.pid()}/cgroup").strip()
    assert line.startswith("0::/") and bundle.id in line
    path = CGROUP + line.removeprefix("0::")
    bundle.stop()
    assert not os.path.exists(path)
