"""linux.namespaces: new, joined by path, the host's; names, maps, time offsets, root file system propagation."""

import os
import re
import subprocess

import pytest

from davitlib import PEER, differs, read, status_field, wait_for

KINDS = {"pid": "pid", "network": "net", "ipc": "ipc", "uts": "uts", "mount": "mnt", "user": "user", "cgroup": "cgroup", "time": "time"}


def own(kind):
    return os.readlink(f"/proc/self/ns/{KINDS[kind]}")


def without_new_mounts(bundle):
    """What of the default bundle a container without its own namespaces of some kind cannot mount."""
    bundle.linux["maskedPaths"] = bundle.linux["readonlyPaths"] = []
    return bundle


@pytest.mark.parametrize("kind", ["pid", "network", "ipc", "uts", "mount", "cgroup", "time"])
def test_new_namespace(bundle, kind):
    bundle.namespace(kind)
    inside = bundle.args("readlink", f"/proc/self/ns/{KINDS[kind]}").must()
    assert re.fullmatch(KINDS[kind] + r":\[\d+\]", inside)
    assert inside != own(kind)


@pytest.mark.parametrize("kind", ["pid", "network", "ipc", "uts", "cgroup"])
def test_host_namespace(bundle, kind):
    bundle.no_namespace(kind)
    if kind == "uts":
        del bundle.config["hostname"]
    if kind == "ipc":
        bundle.drop_mount("/dev/mqueue")
    if kind == "network":
        bundle.drop_mount("/sys")
        bundle.drop_mount("/sys/fs/cgroup")
        bundle.linux["maskedPaths"] = []
    assert bundle.args("readlink", f"/proc/self/ns/{KINDS[kind]}").must() == own(kind)


@pytest.mark.parametrize("kind", ["pid", "network", "ipc", "uts", "cgroup", "time"])
def test_joined_namespace(bundle, bundles, kind):
    first = bundles()
    first.namespace(kind).args("sleep", "100").up()
    pid = first.pid()
    bundle.namespace(kind, f"/proc/{pid}/ns/{KINDS[kind]}")
    if kind == "uts":
        del bundle.config["hostname"]
    assert bundle.args("readlink", f"/proc/self/ns/{KINDS[kind]}").must() == os.readlink(f"/proc/{pid}/ns/{KINDS[kind]}")


def test_joined_pid_namespace_sees_the_other_container(bundle, bundles):
    first = bundles()
    first.args("sleep", "987").up()
    bundle.namespace("pid", f"/proc/{first.pid()}/ns/pid")
    assert "sleep 987" in bundle.args("ps").must()
    assert first.status() == "running"


def test_joined_user_namespace(bundle, bundles):
    first = bundles(copy_busybox=True)
    first.user_namespace().args("sleep", "100").up()
    bundle.namespace("user", f"/proc/{first.pid()}/ns/user")
    bundle.namespace("network")
    for directory, names, files in os.walk(bundle.rootfs):
        for name in [".", *names]:
            os.lchown(os.path.join(directory, name), 100000, 100000)
    result = bundle.args("readlink", "/proc/self/ns/user").run()
    assert result.stdout.strip() == os.readlink(f"/proc/{first.pid()}/ns/user"), result.stderr


def test_joined_mount_namespace(bundle, bundles):
    first = bundles()
    first.args("sleep", "100").up()
    bundle.namespace("mount", f"/proc/{first.pid()}/ns/mnt")
    bundle.config["mounts"] = []
    result = bundle.args("/bin/true").run()
    if result.returncode != 0:
        assert "mount" in result.stderr or "mnt" in result.stderr or "rootfs" in result.stderr


def test_missing_namespace_path_is_an_error_that_names_it(bundle):
    bundle.namespace("network", "/nosuch/namespace")
    result = bundle.run()
    assert result.returncode == 1
    assert "/nosuch/namespace" in result.stderr
    bundle.assert_gone()


@differs(runc="says only: invalid argument", crun="says only: invalid argument")
def test_namespace_path_of_another_kind_is_an_error(bundle):
    bundle.namespace("network", "/proc/self/ns/uts")
    result = bundle.run()
    assert result.returncode == 1
    assert "/proc/self/ns/uts" in result.stderr
    bundle.assert_gone()


@differs(crun="takes the first")
def test_namespace_given_twice_is_refused(bundle):
    bundle.linux["namespaces"].append({"type": "pid"})
    result = bundle.run()
    assert result.returncode == 1
    assert "pid" in result.stderr.lower()


def test_unknown_namespace_is_refused(bundle):
    bundle.linux["namespaces"].append({"type": "nosuchspace"})
    result = bundle.run()
    assert result.returncode == 1
    assert "nosuchspace" in result.stderr


def test_hostname_and_domainname(bundle):
    bundle.config.update(hostname="inside", domainname="example.test")
    before = os.uname().nodename
    answer = bundle.sh("hostname; cat /proc/sys/kernel/domainname").must()
    assert answer.split() == ["inside", "example.test"]
    assert os.uname().nodename == before


@pytest.mark.parametrize("field", ["hostname", "domainname"])
def test_names_without_a_uts_namespace_are_refused(bundle, field):
    if PEER == "crun" and field == "domainname":
        pytest.xfail("crun: sets the machine's")
    bundle.no_namespace("uts")
    bundle.config.pop("hostname", None)
    bundle.config[field] = "intruder"
    result = bundle.run()
    assert result.returncode == 1
    assert field in result.stderr.lower() or "uts" in result.stderr.lower()
    assert os.uname().nodename != "intruder"
    assert read("/proc/sys/kernel/domainname").strip() != "intruder"


def test_network_namespace_has_loopback_up(bundle):
    lines = bundle.sh("ip addr show lo; ls /sys/class/net").must()
    assert "127.0.0.1/8" in lines
    assert "UP" in lines
    assert "eth0" not in lines


def test_user_namespace_maps_ids(bundles):
    bundle = bundles(copy_busybox=True)
    bundle.user_namespace(host=123456, size=1000)
    bundle.sh("cat /proc/self/uid_map /proc/self/gid_map; id -u; id -g; stat -c '%u %g' /bin; touch /tmp/made")
    words = bundle.must().split()
    assert words == ["0", "123456", "1000"] * 2 + ["0", "0", "0", "0"]
    made = os.stat(f"{bundle.rootfs}/tmp/made")
    assert (made.st_uid, made.st_gid) == (123456, 123456)


def test_user_namespace_with_several_ranges_and_a_plain_user(bundles):
    bundle = bundles(copy_busybox=True)
    bundle.user_namespace(host=200000, size=1000)
    ranges = [{"containerID": 0, "hostID": 200000, "size": 1000}, {"containerID": 1000, "hostID": 300000, "size": 10}]
    bundle.linux["uidMappings"] = bundle.linux["gidMappings"] = ranges
    bundle.process["user"] = {"uid": 1000, "gid": 1000}
    bundle.args("sleep", "100").up()
    assert status_field(f"/proc/{bundle.pid()}/status", "Uid").split()[0] == "300000"
    assert bundle.exec("id", "-u").stdout.strip() == "1000"


def test_user_namespace_gives_no_power_over_the_host(bundles):
    bundle = bundles(copy_busybox=True)
    bundle.user_namespace()
    bundle.capabilities(**{kind: ["CAP_SYS_ADMIN", "CAP_DAC_OVERRIDE", "CAP_MKNOD"] for kind in ("bounding", "effective", "permitted")})
    result = bundle.sh("mknod /tmp/null c 1 3 2>&1; cat /proc/kcore 2>&1 | head -c 1 | wc -c; ls -ln /proc/self/ns/user >/dev/null && echo ok").run()
    assert "ok" in result.stdout
    assert not os.path.exists(f"{bundle.rootfs}/tmp/null")


def test_user_namespace_has_devices_sysfs_and_pts(bundles):
    bundle = bundles(copy_busybox=True)
    bundle.user_namespace()
    answer = bundle.sh("echo x >/dev/null && head -c 4 /dev/urandom | wc -c; ls /sys/class/net; ls -d /dev/pts/ptmx").must().split()
    assert answer[0] == "4" and "lo" in answer and "/dev/pts/ptmx" in answer


def test_user_namespace_without_maps_is_refused(bundle):
    bundle.namespace("user")
    result = bundle.run()
    if PEER == "crun":
        return  # it maps root to itself
    assert result.returncode == 1
    assert "mapping" in result.stderr.lower()


@differs(runc="ignores them")
def test_maps_without_a_user_namespace_are_refused(bundle):
    bundle.linux["uidMappings"] = [{"containerID": 0, "hostID": 1000, "size": 1}]
    result = bundle.run()
    if PEER == "crun":
        return
    assert result.returncode == 1
    assert "user namespace" in result.stderr.lower() or "mapping" in result.stderr.lower()


def test_user_outside_the_map_is_an_error(bundles):
    bundle = bundles(copy_busybox=True)
    bundle.user_namespace(size=100)
    bundle.process["user"] = {"uid": 5000, "gid": 0}
    result = bundle.run()
    assert result.returncode != 0
    bundle.assert_gone()


def test_time_offsets(bundle, probe):
    bundle.namespace("time")
    bundle.linux["timeOffsets"] = {"monotonic": {"secs": 86400, "nanosecs": 5}, "boottime": {"secs": 172800}}
    before = float(read("/proc/uptime").split()[0])
    monotonic, boottime = map(int, bundle.args("/bin/probe", "clocks").must().split())
    assert 86390 < monotonic - before < 86460
    assert 172790 < boottime - before < 172860


def test_time_offsets_are_seen_by_exec(bundle, probe):
    bundle.namespace("time")
    bundle.linux["timeOffsets"] = {"boottime": {"secs": 172800}}
    bundle.args("sleep", "100").up()
    before = float(read("/proc/uptime").split()[0])
    assert 172790 < float(bundle.exec("cat", "/proc/uptime").stdout.split()[0]) - before < 172860


def test_time_offsets_without_a_time_namespace_are_refused(bundle):
    bundle.linux["timeOffsets"] = {"monotonic": {"secs": 5}}
    result = bundle.run()
    if PEER == "crun":
        return
    assert result.returncode == 1
    assert "time" in result.stderr.lower()


PROPAGATIONS = [("", "slave"), ("rprivate", "private"), ("private", "private"), ("rslave", "slave"), ("slave", "slave"),
                ("rshared", "shared"), ("shared", "shared"), ("unbindable", "unbindable")]  # fmt: skip


@pytest.mark.parametrize("given, expected", PROPAGATIONS)
def test_rootfs_propagation(bundle, given, expected):
    if PEER == "crun" and given in ("unbindable", "shared", "rshared", "slave"):
        pytest.xfail("crun: private in the end")
    if given:
        bundle.linux["rootfsPropagation"] = given
    root = next(line for line in bundle.args("cat", "/proc/self/mountinfo").must().splitlines() if line.split()[4] == "/")
    tags = root.split(" - ")[0].split()[6:]
    if expected == "shared":
        assert any(tag.startswith("shared:") for tag in tags), root
    elif expected == "unbindable":
        assert "unbindable" in tags, root
    else:
        assert not any(tag.startswith("shared:") for tag in tags), root


def test_unknown_rootfs_propagation_is_refused(bundle):
    bundle.linux["rootfsPropagation"] = "sideways"
    result = bundle.run()
    assert result.returncode == 1
    assert "sideways" in result.stderr or "propagation" in result.stderr.lower()
    bundle.assert_gone()


def test_mounts_inside_are_not_seen_outside(bundle):
    bundle.mount("/mnt", "tmpfs", "tmpfs").sh("echo up; sleep 100").up()
    bundle.output("up")
    text = read("/proc/self/mountinfo")
    assert bundle.path not in text


@pytest.mark.parametrize("flags", [[], ["--no-pivot"]], ids=["pivot", "no_pivot"])
def test_host_files_are_out_of_reach(bundle, flags, probe):
    marker = f"{bundle.path}/marker"
    with open(marker, "w", encoding="ascii") as file:
        file.write("outside")
    assert bundle.args("/bin/probe", "escape", marker).must(*flags) == "contained"
    bundle.capabilities(**{kind: ["CAP_SYS_CHROOT"] for kind in ("bounding", "effective", "permitted")})
    script = f"mkdir -p /tmp/jail; cat {marker} 2>&1; cat /proc/1/root{marker} 2>&1; cat /proc/1/cwd/../../../..{marker} 2>&1; true"
    assert "outside" not in bundle.sh(script).must(*flags)


def test_no_pivot_runs_on_the_initial_ramfs_layout(bundle):
    """--no-pivot: the root is moved, not pivoted, so it works where pivot_root cannot."""
    answer = bundle.sh("ls /; mount | grep -c ' on /proc '").must("--no-pivot").split()
    assert "bin" in answer and answer[-1] == "1"


def test_readonly_rootfs(bundle):
    bundle.config["root"]["readonly"] = True
    result = bundle.sh("touch /x 2>&1; echo $?; touch /dev/shm/y && echo shm-writable").run()
    assert "Read-only file system" in result.stdout
    assert "shm-writable" in result.stdout


@pytest.mark.parametrize("absolute", [True, False])
def test_rootfs_path_absolute_and_relative(bundle, absolute):
    bundle.config["root"]["path"] = bundle.rootfs if absolute else "./rootfs"
    assert bundle.args("echo", "x").must() == "x"


def test_sysctls(bundle):
    bundle.linux["sysctl"] = {"net.ipv4.ip_forward": "1", "kernel.shmmax": "65536", "net/ipv4/ping_group_range": "0 0"}
    before = read("/proc/sys/net/ipv4/ip_forward")
    answer = bundle.sh("cat /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/shmmax /proc/sys/net/ipv4/ping_group_range").must()
    assert answer.split() == ["1", "65536", "0", "0"]
    assert read("/proc/sys/net/ipv4/ip_forward") == before


SYSCTLS_REFUSED = [
    ("host_network", "network", "net.ipv4.ip_forward", "namespace"),
    ("host_ipc", "ipc", "kernel.shmmax", "namespace"),
    ("not_namespaced", None, "kernel.panic", "kernel.panic"),
    ("vm", None, "vm.swappiness", "vm.swappiness"),
    ("hostname_of_the_host", "uts", "kernel.domainname", "kernel.domainname"),
    ("missing", None, "net.nosuch.thing", "nosuch"),
    ("climbs", None, "net.ipv4.../../../kernel/panic", ""),
]


@pytest.mark.parametrize("name, without, key, text", SYSCTLS_REFUSED, ids=[row[0] for row in SYSCTLS_REFUSED])
def test_sysctl_that_is_not_the_containers_own_is_refused(bundle, name, without, key, text):
    if without:
        bundle.no_namespace(without)
    if without == "uts":
        del bundle.config["hostname"]
    watched = ["/proc/sys/kernel/panic", "/proc/sys/vm/swappiness", "/proc/sys/net/ipv4/ip_forward", "/proc/sys/kernel/shmmax",
               "/proc/sys/kernel/domainname"]  # fmt: skip
    before = [read(path) for path in watched]
    bundle.linux["sysctl"] = {key: "17"}
    result = bundle.run()
    assert [read(path) for path in watched] == before
    assert result.returncode == 1
    assert text in result.stderr
    bundle.assert_gone()


def test_joined_network_namespace_made_by_another_program(bundle, sandbox):
    holder = subprocess.Popen(["unshare", "-n", "sleep", "100"])
    try:
        wait_for(lambda: os.readlink(f"/proc/{holder.pid}/ns/net") != own("network"), "unshare")
        bundle.namespace("network", f"/proc/{holder.pid}/ns/net")
        expected = os.readlink(f"/proc/{holder.pid}/ns/net")
        assert bundle.args("readlink", "/proc/self/ns/net").must() == expected
    finally:
        holder.kill()
        holder.wait()
