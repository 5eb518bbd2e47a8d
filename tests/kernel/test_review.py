"""Holes that a review of the runtime found: each test tries the attack or the misuse, and failed before the fix."""

import os
import signal
import subprocess

import pytest

from davitlib import LIBC, PEER, mount, read, umount, wait_for, write

MS_RDONLY, MS_NOSUID, MS_NODEV, MS_BIND, MS_REMOUNT = 1, 2, 4, 4096, 32
ALL = ("bounding", "effective", "permitted")

pytestmark = pytest.mark.skipif(bool(PEER), reason="Davit's own holes")


@pytest.mark.parametrize("name", ["net.//.kernel.printk_ratelimit", "net/../kernel/printk_ratelimit", "net/./ipv4/ip_forward", "net..ipv4", "net.ipv4."])
def test_sysctl_that_walks_out_of_its_namespace_is_refused(bundle, name):
    before = read("/proc/sys/kernel/printk_ratelimit")
    bundle.linux["sysctl"] = {name: "7"}
    result = bundle.run()
    assert result.returncode == 1
    assert "linux.sysctl" in result.stderr
    assert read("/proc/sys/kernel/printk_ratelimit") == before
    bundle.assert_gone()


def descriptors(pid):
    found = {}
    for name in os.listdir(f"/proc/{pid}/fd"):
        try:
            found[int(name)] = os.readlink(f"/proc/{pid}/fd/{name}")
        except OSError:
            pass
    return found


def test_created_container_holds_nothing_of_the_host(bundle):
    bundle.args("sleep", "100").create()
    held = {fd: target for fd, target in descriptors(bundle.pid()).items() if fd > 2}
    assert all(target.startswith("socket:") for target in held.values()), held


@pytest.mark.parametrize("no_new_privileges", [True, False])
def test_created_container_has_given_up_its_capabilities(bundle, no_new_privileges):
    bundle.process["noNewPrivileges"] = no_new_privileges
    bundle.linux.pop("seccomp", None)
    bundle.capabilities(**{kind: ["CAP_KILL"] for kind in ALL})
    bundle.args("sleep", "100").create()
    status = read(f"/proc/{bundle.pid()}/status")
    effective = next(line for line in status.splitlines() if line.startswith("CapEff"))
    assert int(effective.split()[1], 16) == 1 << 5


def test_user_namespace_cannot_undo_the_hosts_mount_flags(bundle):
    """mount_namespaces(7): flags and covers of a more privileged mount namespace are locked."""
    source = f"{bundle.path}/source"
    os.makedirs(f"{source}/covered")
    write(f"{source}/covered/secret", "covered by the host")
    mount(source, source, None, MS_BIND)
    try:
        mount(None, source, None, MS_BIND | MS_REMOUNT | MS_RDONLY | MS_NOSUID | MS_NODEV)
        mount("tmpfs", f"{source}/covered", "tmpfs")
        bundle.user_namespace(host=0)  # root of the namespace is root: only the locks stand in its way
        bundle.capabilities(**{kind: ["CAP_SYS_ADMIN", "CAP_DAC_OVERRIDE"] for kind in ALL})
        bundle.mount("/data", "bind", source, ["rbind"])
        script = "mount -o remount,bind,rw /data; touch /data/written; umount /data/covered; cat /data/covered/secret; true"
        result = bundle.sh(script).run()
        assert result.returncode == 0, result.stderr
        assert "covered by the host" not in result.stdout
        assert not os.path.exists(f"{source}/written")
    finally:
        umount(f"{source}/covered")
        umount(source)


def test_exec_whose_supervisor_is_gone_does_not_run(bundle):
    bundle.linux["seccomp"] = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "listenerPath": f"{bundle.path}/nobody",
        "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"}],
    }
    quiet = dict(bundle.linux["seccomp"])
    del bundle.linux["seccomp"]
    bundle.args("sleep", "100").up()
    config = f"{bundle.sandbox.root}/{bundle.id}/config.json" if hasattr(bundle.sandbox, "root") else f"{bundle.sandbox.path}/state/{bundle.id}/config.json"
    import json

    with open(config, encoding="utf-8") as file:
        saved = json.load(file)
    saved["linux"]["seccomp"] = quiet
    with open(config, "w", encoding="utf-8") as file:
        json.dump(saved, file)
    result = bundle.exec("sh", "-c", "echo ran > /ran; sleep 50")
    assert result.returncode != 0
    assert "listenerPath" in result.stderr
    assert not os.path.exists(f"{bundle.rootfs}/ran")


def test_namespace_joined_by_path_that_is_the_hosts_is_the_hosts(bundle):
    """A hostname or sysctl for it would be set on the host."""
    bundle.namespace("uts", "/proc/self/ns/uts")
    bundle.config["hostname"] = "taken-over"
    before = os.uname().nodename
    result = bundle.run()
    assert os.uname().nodename == before
    assert result.returncode == 1
    assert "hostname" in result.stderr


def test_start_that_was_killed_leaves_a_running_container(bundle):
    """The socket's file stays behind; PID 1 listens no more."""
    bundle.args("sleep", "100").up()
    import socket

    stale = f"{bundle.sandbox.path}/state/{bundle.id}/start.sock"
    with socket.socket(socket.AF_UNIX) as gone:
        gone.bind(stale)
    assert bundle.status() == "running"
    assert bundle.delete().returncode == 1
    assert not os.path.exists(stale)


def test_only_one_of_two_starts_succeeds(bundle):
    bundle.args("sleep", "100").create()
    both = [subprocess.Popen(bundle.command("start", bundle.id), stderr=subprocess.PIPE) for _ in range(2)]
    codes = sorted(process.wait(10) for process in both)
    for process in both:
        process.stderr.close()
    assert codes == [0, 1]


def test_frozen_leftover_group_does_not_hold_the_container(bundle):
    path = f"/sys/fs/cgroup/freezer{bundle.cgroups_path}"
    if not os.path.isdir("/sys/fs/cgroup/freezer"):
        pytest.skip("needs the v1 freezer")
    os.makedirs(path)
    write(f"{path}/freezer.state", "FROZEN")
    assert bundle.args("echo", "ran").must() == "ran"


def test_run_gives_up_when_it_is_told_to_end(bundle):
    bundle.config["hooks"] = {"createRuntime": [{"path": "/bin/sleep", "args": ["sleep", "100"]}]}
    bundle.save()
    process = subprocess.Popen(bundle.command("run", "--bundle", bundle.path, bundle.id), stderr=subprocess.PIPE, text=True)
    wait_for(lambda: os.path.exists(f"{bundle.sandbox.path}/state/{bundle.id}"), "the container")
    import time

    time.sleep(0.3)
    process.send_signal(signal.SIGTERM)
    assert process.wait(5) == 1
    assert "interrupted" in process.stderr.read()
    process.stderr.close()
    bundle.assert_gone()


@pytest.mark.parametrize("timeout", [0, -1])
def test_hook_timeout_that_is_no_time_is_refused(bundle, timeout):
    bundle.config["hooks"] = {"poststop": [{"path": "/bin/true", "timeout": timeout}]}
    result = bundle.run()
    assert result.returncode == 1
    assert "timeout" in result.stderr


def test_long_hook_timeout_does_not_wrap(bundle):
    bundle.config["hooks"] = {"createRuntime": [{"path": "/bin/true", "timeout": 4294968}]}
    assert bundle.args("echo", "ran").must() == "ran"


@pytest.mark.parametrize("field", ["readonly", "devices", "rootfsPropagation", "maskedPaths"])
def test_what_needs_a_mount_namespace_is_refused_without_one(bundle, field):
    bundle.no_namespace("mount")
    bundle.config["mounts"] = []
    for name in ("maskedPaths", "readonlyPaths", "devices", "rootfsPropagation"):
        bundle.linux.pop(name, None)
    if field == "readonly":
        bundle.config["root"]["readonly"] = True
    else:
        bundle.linux[field] = {"devices": [{"path": "/dev/x", "type": "c", "major": 1, "minor": 3}], "rootfsPropagation": "slave", "maskedPaths": ["/proc/kcore"]}[field]
    result = bundle.run()
    assert result.returncode == 1
    assert field in result.stderr


def test_root_that_is_a_link_works_with_hooks(bundle):
    os.symlink("rootfs", f"{bundle.path}/link")
    bundle.config["root"]["path"] = "link"
    bundle.config["hooks"] = {"createRuntime": [{"path": "/bin/true"}]}
    assert bundle.args("echo", "ran").must() == "ran"


def test_affinity_for_exec_is_not_that_of_the_container(bundle):
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("needs two CPUs")
    bundle.process["execCPUAffinity"] = {"initial": "0", "final": "0"}
    bundle.sh("grep Cpus_allowed_list /proc/self/status; sleep 100").up()
    assert bundle.output("Cpus_allowed").split()[1] != "0"
    assert bundle.exec("grep", "Cpus_allowed_list", "/proc/self/status").stdout.split()[1] == "0"


def test_no_pivot_leaves_no_procfs_of_the_host_below(bundle):
    """With one, the kernel lets the container mount a procfs without the masks."""
    bundle.linux.pop("maskedPaths", None)
    script = "cat /proc/self/mountinfo | grep -c ' - proc '"
    with_pivot = int(bundle.sh(script).must())
    assert int(bundle.sh(script).must("--no-pivot")) == with_pivot




def test_exec_does_not_bring_the_callers_keys(bundle, probe):
    """The caller has a session keyring with a key in it; the program in the container must not find it."""
    join_session, add_key = 1, 248  # KEYCTL_JOIN_SESSION_KEYRING; add_key(2) on x86_64
    if os.uname().machine != "x86_64" or not os.path.exists("/proc/keys"):
        pytest.skip("needs keyrings and x86_64's numbers")
    bundle.linux.pop("seccomp", None)
    bundle.args("sleep", "100").up()

    def take_key():
        LIBC.syscall(250, join_session, b"davit-test")
        assert LIBC.syscall(add_key, b"user", b"davit-secret", b"x", 1, -3) > 0

    words = bundle.command("exec", bundle.id, "/bin/probe", "key", "davit-secret")
    done = subprocess.run(words, preexec_fn=take_key, capture_output=True, text=True, timeout=10, check=True)
    assert done.stdout.strip() == "absent"
