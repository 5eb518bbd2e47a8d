"""The classes of runc's past vulnerabilities. Each test tries the attack; the host must be unaffected, whether the runtime
refuses the container or runs it. Everything that is attacked (runtime binary, files outside) is the test's own copy."""

import contextlib
import ctypes
import hashlib
import os
import shutil
import signal
import stat
import subprocess

import pytest

from davitlib import CAPABILITIES, LIBC, PEER, RUNTIME, ConsoleSocket, capability_mask, differs, read, status_field, write

SECRET = "secret-of-the-host"
ALL = ("bounding", "effective", "permitted")


@pytest.fixture
def outside(bundle):
    """A directory of the host, beside the root file system, with a secret in it."""
    path = f"{bundle.path}/outside"
    write(f"{path}/secret", SECRET)
    return path


@pytest.fixture
def swapper():
    """Starts processes that exchange two paths as fast as they can, until the test ends."""
    children = []

    def start(first, second):
        pid = os.fork()
        if pid == 0:
            a, b = first.encode(), second.encode()
            with contextlib.suppress(BaseException):
                while True:
                    LIBC.renameat2(-100, a, -100, b, 2)  # AT_FDCWD, RENAME_EXCHANGE
            os._exit(0)
        children.append(pid)

    yield start
    for pid in children:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def digest(path):
    with open(path, "rb") as file:
        return hashlib.sha256(file.read()).hexdigest()


def untouched(outside):
    return os.listdir(outside) == ["secret"] and read(f"{outside}/secret") == SECRET


# ------------------------------------------------------------------------ CVE-2019-5736: the runtime's binary, reopened


@pytest.fixture
def own_runtime(bundle, monkeypatch):
    """A copy of the runtime that a successful attack may destroy."""
    import davitlib

    path = f"{bundle.path}/runtime"
    shutil.copy(RUNTIME, path)
    monkeypatch.setattr(davitlib, "RUNTIME", path)
    return path


@pytest.mark.parametrize("words", [["/proc/self/exe"], ["/proc/self/exe", "init"], ["/script"], ["/link"]], ids=["exe", "init", "script", "link"])
def test_runtime_as_the_entry_point_cannot_be_overwritten(bundles, own_runtime, words):
    bundle = bundles(copy_busybox=True)
    before = digest(own_runtime)
    write(f"{bundle.rootfs}/script", "#!/proc/self/exe\n", 0o755)
    os.symlink("/proc/self/exe", f"{bundle.rootfs}/link")
    bundle.args(*words)
    with contextlib.suppress(subprocess.TimeoutExpired):
        bundle.run(timeout=5)
    assert digest(own_runtime) == before


OVERWRITE = """
while ! test -e /go; do :; done
while ! test -e /stop; do
  for process in /proc/[0-9]*; do
    case $(readlink $process/exe) in *busybox*|*probe*|"") continue;; esac
    (
      exec 3<$process/exe || exit
      echo seen >> /log
      for try in 1 2 3 4 5 6 7 8; do
        echo overwritten 2>/dev/null >/proc/self/fd/3 && echo wrote >> /log
        usleep 20000
      done
    ) 2>/dev/null &
  done
done
"""


def test_runtime_entering_by_exec_cannot_be_overwritten(bundles, own_runtime):
    bundle = bundles(copy_busybox=True)
    before = digest(own_runtime)
    bundle.capabilities(**{kind: ["CAP_SYS_PTRACE", "CAP_DAC_OVERRIDE", "CAP_SYS_ADMIN"] for kind in ALL})
    bundle.sh(OVERWRITE).up()
    write(f"{bundle.rootfs}/go", "")
    for _ in range(15):
        bundle.exec("/bin/true")
    write(f"{bundle.rootfs}/stop", "")
    assert digest(own_runtime) == before
    assert os.access(own_runtime, os.X_OK)
    assert "wrote" not in read(f"{bundle.rootfs}/log", "")


def test_library_path_in_the_container_is_not_the_runtimes(bundle):
    """LD_PRELOAD of the configuration must reach the program only, never the runtime's own stages."""
    write(f"{bundle.rootfs}/evil.so", "not a library", 0o755)
    bundle.process["env"] += ["LD_PRELOAD=/evil.so", "LD_LIBRARY_PATH=/"]
    assert bundle.sh("echo ok").must() == "ok"


# ---------------------------------------------------------------------- CVE-2024-21626: leaked descriptors and the cwd


@pytest.mark.parametrize("number", range(3, 16))
def test_cwd_through_a_leaked_descriptor(bundle, outside, probe, number):
    bundle.process["cwd"] = f"/proc/self/fd/{number}"
    result = bundle.args("/bin/probe", "escape", f"{outside}/secret").run()
    assert result.returncode != 0 or result.stdout.strip() == "contained"
    assert SECRET not in result.stdout


@pytest.mark.parametrize("depth", ["/../../..", "/..", "/../../../../.."])
def test_cwd_through_a_leaked_descriptor_and_up(bundle, outside, probe, depth):
    for number in (3, 7, 8, 9):
        bundle.process["cwd"] = f"/proc/self/fd/{number}{depth}"
        result = bundle.args("/bin/probe", "escape", f"{outside}/secret").run()
        assert result.returncode != 0 or result.stdout.strip() == "contained"


def test_exec_cwd_through_a_leaked_descriptor(bundle, outside, probe):
    for number in range(3, 13):
        os.symlink(f"/proc/self/fd/{number}", f"{bundle.rootfs}/link{number}")
    bundle.args("sleep", "100").up()
    for number in range(3, 13):
        for cwd in (f"/proc/self/fd/{number}", f"/link{number}"):
            result = bundle.exec_with(["--cwd", cwd], "/bin/probe", "escape", f"{outside}/secret")
            assert result.returncode != 0 or result.stdout.strip() == "contained"


def test_program_named_through_a_leaked_descriptor(bundle, outside):
    write(f"{outside}/tool", f"#!/bin/sh\necho {SECRET}\n", 0o755)
    for number in range(3, 13):
        result = bundle.args(f"/proc/self/fd/{number}/../../../../../../..{outside}/tool").run()
        assert result.returncode != 0
        assert SECRET not in result.stdout


LOOK = """
while ! test -e /stop; do
  for process in /proc/[0-9]*; do
    test $process = /proc/1 && continue
    for entry in $process/fd/* $process/cwd $process/root; do
      for up in . .. ../.. ../../.. ../../../.. ../../../../..; do
        test -e $entry/$up$OUTSIDE/secret && echo "$entry/$up" >> /log
      done
    done
  done
done 2>/dev/null
"""


def test_descriptors_of_a_runtime_entering_by_exec_lead_nowhere(bundle, outside):
    bundle.process["env"].append(f"OUTSIDE={outside}")
    bundle.capabilities(**{kind: ["CAP_SYS_PTRACE", "CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH"] for kind in ALL})
    bundle.sh(LOOK).up()
    for _ in range(15):
        assert bundle.exec("/bin/true").returncode == 0
    write(f"{bundle.rootfs}/stop", "")
    assert read(f"{bundle.rootfs}/log", "") == ""


def test_no_descriptor_of_the_runtime_stays_open_in_the_container(bundle, probe):
    for script in ("/bin/probe descriptors", "exec /bin/probe descriptors"):
        assert bundle.sh(script).must() == ""


# ------------------------------------------------------- CVE-2019-19921, CVE-2023-27561, CVE-2019-16884: what is at /proc


@pytest.mark.parametrize("name", ["proc", "sys"])
@pytest.mark.parametrize("target", ["/fake", "fake", "/etc", "../../outside", "/dev/shm"])
def test_linked_proc_and_sys(bundle, outside, name, target):
    os.rmdir(f"{bundle.rootfs}/{name}")
    for below in ("self/attr", "sys/kernel", "self/fd", "1", "kernel", "fs/cgroup"):
        os.makedirs(f"{bundle.rootfs}/fake/{below}", exist_ok=True)
    os.symlink(target, f"{bundle.rootfs}/{name}")
    result = bundle.sh(f"stat -f -c %T /{name}; grep ' /{name} ' /proc/self/mountinfo").run()
    assert untouched(outside)
    if result.returncode == 0:
        assert f" /{name} " in result.stdout, "the mount went elsewhere"
    bundle.assert_gone()


FAKE_PROC = ["/proc", "/proc/", "/./proc", "/sys/../proc", "/link", "/proc/self", "/proc/1/attr", "/proc/self/attr", "/proc/self/fd", "/proc/thread-self"]


@pytest.mark.parametrize("destination", FAKE_PROC)
def test_volume_over_proc_is_refused(bundle, destination):
    fake = f"{bundle.path}/fake"
    for below in ("self/attr", "1/attr", "self/fd", "sys/kernel"):
        os.makedirs(f"{fake}/{below}", exist_ok=True)
    os.symlink("/proc", f"{bundle.rootfs}/link")
    bundle.mount(destination, "bind", fake, ["bind"])
    result = bundle.sh("stat -f -c %T /proc/self/").run()
    assert result.returncode == 1
    assert "proc" in result.stderr
    bundle.assert_gone()


@pytest.mark.parametrize("kind", ["tmpfs", "overlay", "sysfs"])
def test_other_file_system_at_proc_is_refused(bundle, kind):
    bundle.drop_mount("/proc").mount("/proc", kind, kind)
    result = bundle.run()
    assert result.returncode == 1
    bundle.assert_gone()


@pytest.mark.parametrize("file", ["cpuinfo", "meminfo", "uptime", "stat", "loadavg"])
def test_harmless_files_of_proc_may_be_covered(bundle, file):
    """lxcfs does this."""
    write(f"{bundle.path}/fake", "covered\n")
    bundle.mount(f"/proc/{file}", "bind", f"{bundle.path}/fake", ["bind"])
    assert bundle.args("cat", f"/proc/{file}").must() == "covered"


# ------------------------------------------------------------------- CVE-2021-30465: destinations exchanged for links


@pytest.mark.parametrize("kind", ["bind", "tmpfs"])
def test_destination_exchanged_for_a_link_while_mounting(bundle, outside, swapper, kind):
    shared = f"{bundle.path}/shared"
    os.makedirs(f"{shared}/race")
    os.symlink("../" * 12 + outside[1:], f"{shared}/link")
    write(f"{bundle.path}/source/file", "x")
    bundle.mount("/volume", "bind", shared, ["bind"])
    bundle.mount("/volume/race/into", kind, f"{bundle.path}/source" if kind == "bind" else "tmpfs", ["bind"] if kind == "bind" else [])
    bundle.sh("true")
    swapper(f"{shared}/race", f"{shared}/link")
    for _ in range(25):
        bundle.run()
        assert untouched(outside)
    bundle.assert_gone()


def test_rootfs_directory_exchanged_for_a_link_while_mounting(bundle, outside, swapper):
    os.makedirs(f"{bundle.rootfs}/race")
    os.symlink("../../../../../../../../.." + outside, f"{bundle.rootfs}/link")
    bundle.mount("/race/a/b", "tmpfs", "tmpfs").mount("/race/file", "bind", f"{bundle.path}/config.json", ["bind"])
    swapper(f"{bundle.rootfs}/race", f"{bundle.rootfs}/link")
    for _ in range(25):
        bundle.run()
        assert untouched(outside)


@pytest.mark.parametrize("target", ["ABSOLUTE", "CLIMBING"])
def test_every_kind_of_target_through_a_link_out_of_the_rootfs(bundle, outside, target):
    link = outside if target == "ABSOLUTE" else "../" * 12 + outside[1:]
    os.symlink(link, f"{bundle.rootfs}/link")
    os.symlink(f"{link}/secret", f"{bundle.rootfs}/file")
    write(f"{bundle.path}/source/x", "x")
    bundle.mount("/link/bind", "bind", f"{bundle.path}/source", ["bind"])
    bundle.mount("/link/tmpfs", "tmpfs", "tmpfs", ["tmpcopyup"])
    bundle.mount("/file", "bind", f"{bundle.path}/source/x", ["bind"])
    bundle.linux["maskedPaths"] += ["/link/secret", "/file"]
    bundle.linux["readonlyPaths"] += ["/link"]
    bundle.linux["devices"] = [{"path": "/link/device", "type": "c", "major": 1, "minor": 3, "fileMode": 0o666}]
    bundle.process["cwd"] = "/link/cwd"
    result = bundle.sh("cat /link/secret /file; true").run()
    assert untouched(outside)
    assert SECRET not in result.stdout


# ------------------------------------------------ CVE-2025-31133, CVE-2025-52565: /dev/null and /dev/console exchanged


@pytest.mark.parametrize("target", ["/proc/sys/kernel/core_pattern", "/proc/sysrq-trigger", "/etc/target"])
def test_masks_do_not_use_the_containers_dev_null(bundle, target):
    """/dev is a volume of the attacker's in which null is a link: a mask made of it would show its target, writable."""
    # (what is written starts with h: to sysrq-trigger that only means help)
    pattern = read("/proc/sys/kernel/core_pattern")
    dev = f"{bundle.path}/dev"
    os.mkdir(dev)
    os.symlink(target, f"{dev}/null")
    write(f"{bundle.rootfs}/etc/target", "decoy")
    write(f"{bundle.rootfs}/etc/masked", "to be hidden")
    bundle.drop_mount("/dev").mount("/dev", "bind", dev, ["bind"])
    for name in ("/dev/pts", "/dev/shm", "/dev/mqueue"):
        bundle.drop_mount(name)
    bundle.linux["maskedPaths"] = ["/etc/masked", "/proc/kcore"]
    result = bundle.sh("cat /etc/masked; echo hello > /etc/masked; echo '|/evil' > /proc/kcore; true").run()
    assert read("/proc/sys/kernel/core_pattern") == pattern
    assert read(f"{bundle.rootfs}/etc/target") == "decoy"
    assert "to be hidden" not in result.stdout
    assert "decoy" not in result.stdout
    assert pattern.strip() not in result.stdout or not pattern.strip()


def test_dev_null_exchanged_while_masking(bundle, swapper):
    pattern = read("/proc/sys/kernel/core_pattern")
    dev = f"{bundle.path}/dev"
    os.mkdir(dev)
    os.mknod(f"{dev}/null", 0o666 | stat.S_IFCHR, os.makedev(1, 3))
    os.symlink("/proc/sys/kernel/core_pattern", f"{dev}/link")
    bundle.drop_mount("/dev").mount("/dev", "bind", dev, ["bind"])
    for name in ("/dev/pts", "/dev/shm", "/dev/mqueue"):
        bundle.drop_mount(name)
    swapper(f"{dev}/null", f"{dev}/link")
    for _ in range(15):
        result = bundle.sh("grep -q core_pattern /proc/self/mountinfo && echo escaped; true").run()
        assert "escaped" not in result.stdout
    assert read("/proc/sys/kernel/core_pattern") == pattern


@pytest.mark.parametrize("target", ["/proc/sysrq-trigger", "OUTSIDE", "/etc/decoy"])
def test_console_is_not_bound_over_a_link(bundle, outside, target):
    dev = f"{bundle.path}/dev"
    os.mkdir(dev)
    os.mkdir(f"{dev}/pts")
    os.symlink(f"{outside}/console" if target == "OUTSIDE" else target, f"{dev}/console")
    write(f"{bundle.rootfs}/etc/decoy", "decoy")
    bundle.drop_mount("/dev").mount("/dev", "bind", dev, ["bind"])
    bundle.config["mounts"] = [entry for entry in bundle.config["mounts"] if entry["destination"] not in ("/dev/shm", "/dev/mqueue")]
    order = {"/dev": 0, "/dev/pts": 1}
    bundle.config["mounts"].sort(key=lambda entry: order.get(entry["destination"], 0 if entry["destination"] == "/dev" else -1))
    bundle.process["terminal"] = True
    bundle.sh("grep -E 'sysrq|decoy' /proc/self/mountinfo && echo redirected; echo over; sleep 100")
    with ConsoleSocket(bundle.path) as console:
        result = bundle.create("--console-socket", console.path)
        if result.returncode == 0:
            console.accept()
            bundle.call("start", bundle.id)
            assert "redirected" not in console.read_until("over").replace("echo redirected", "")
    assert untouched(outside)
    assert read(f"{bundle.rootfs}/etc/decoy") == "decoy"


def test_console_pts_directory_that_is_a_link(bundle, outside):
    """/dev/pts/ptmx chosen by the image: no devpts is mounted, so the runtime may not take what it finds there."""
    bundle.drop_mount("/dev").drop_mount("/dev/pts").drop_mount("/dev/shm").drop_mount("/dev/mqueue")
    os.symlink(outside, f"{bundle.rootfs}/dev/pts")
    bundle.process["terminal"] = True
    with ConsoleSocket(bundle.path) as console:
        result = bundle.sh("sleep 100").create("--console-socket", console.path)
        if result.returncode == 0:
            console.accept()
    assert untouched(outside)


# ------------------------------------------------------------------------- CVE-2025-52881: writes to /proc, redirected


def test_sysctl_is_written_to_a_real_proc_only(bundle):
    """/proc/sys comes from a volume whose files are links: a write there would land in another file."""
    fake = f"{bundle.path}/fake"
    os.makedirs(f"{fake}/net/ipv4")
    os.symlink("/etc/decoy", f"{fake}/net/ipv4/ip_forward")
    write(f"{bundle.rootfs}/etc/decoy", "decoy")
    bundle.mount("/proc/sys", "bind", fake, ["bind"])
    bundle.linux["sysctl"] = {"net.ipv4.ip_forward": "1"}
    result = bundle.sh("cat /etc/decoy").run()
    assert read(f"{bundle.rootfs}/etc/decoy") == "decoy"
    assert "1\n" not in result.stdout


@pytest.mark.parametrize("source", ["/proc/sysrq-trigger", "/proc/sys/kernel/panic"])
def test_sysctl_redirected_to_another_file_of_proc(bundle, source):
    before = read("/proc/sys/kernel/panic")
    bundle.mount("/proc/sys/net/ipv4/ip_forward", "bind", source, ["bind"])
    bundle.linux["sysctl"] = {"net.ipv4.ip_forward": "1"}
    bundle.args("/bin/true").run()
    assert read("/proc/sys/kernel/panic") == before


def test_tmpfs_over_parts_of_proc_is_refused_or_harmless(bundle):
    bundle.mount("/proc/self", "tmpfs", "tmpfs")
    result = bundle.run()
    assert result.returncode == 1
    bundle.assert_gone()


def test_oom_score_of_the_host_is_not_redirected(bundle):
    """oom_score_adj is written through /proc as well; a covered /proc/self must not swallow or redirect it."""
    write(f"{bundle.path}/fake", "decoy")
    bundle.process["oomScoreAdj"] = 500
    bundle.mount("/proc/self/oom_score_adj", "bind", f"{bundle.path}/fake", ["bind"])
    result = bundle.args("/bin/true").run()
    assert read(f"{bundle.path}/fake") == "decoy"
    if result.returncode != 0:
        bundle.assert_gone()


# ---------------------------------------------------------------------------------------- CVE-2022-29162 and privileges


def test_no_inheritable_capabilities_by_default_nor_by_exec_cap(bundle):
    bundle.args("sleep", "100").up()
    for flags in ([], ["--cap", "CAP_NET_ADMIN"], ["--user", "1000"]):
        result = bundle.exec_with(flags, "cat", "/proc/self/status")
        assert int(status_field(result.stdout, "CapInh"), 16) == 0, flags
        assert int(status_field(result.stdout, "CapAmb"), 16) == 0, flags


def test_plain_user_gains_nothing_from_a_set_user_id_program(bundles):
    bundle = bundles(copy_busybox=True)
    shutil.copy(f"{bundle.rootfs}/bin/busybox", f"{bundle.rootfs}/bin/suid")
    os.chmod(f"{bundle.rootfs}/bin/suid", 0o4755)
    bundle.process.update(user={"uid": 1000, "gid": 1000}, noNewPrivileges=True)
    assert bundle.args("/bin/suid", "id", "-u").run().stdout.strip() in ("1000", "")


def test_mknod_without_the_capability_and_devices_behind_the_rules(bundle):
    bundle.capabilities(**{kind: ["CAP_CHOWN"] for kind in ALL})
    result = bundle.sh("mknod /tmp/disk b 7 0 2>&1; mknod /tmp/mem c 1 1 2>&1").run()
    assert result.stdout.count("not permitted") == 2


def test_processes_of_the_host_cannot_be_signalled_or_seen(bundle):
    victim = subprocess.Popen(["sleep", "1000"])
    try:
        result = bundle.sh(f"kill -9 {victim.pid} 2>&1; ls -d /proc/{victim.pid} 2>&1; true").run()
        assert victim.poll() is None
        assert "sleep" not in result.stdout
    finally:
        victim.kill()
        victim.wait()


def test_no_capability_beyond_those_granted_in_a_stage_before_the_program(bundle):
    """startContainer hooks and the program itself run with the configured bounding set at most."""
    bundle.capabilities(**{kind: ["CAP_KILL"] for kind in ALL})
    text = bundle.args("cat", "/proc/self/status").must()
    assert int(status_field(text, "CapBnd"), 16) == capability_mask("KILL")
    assert len(CAPABILITIES) == 41


def test_device_nodes_given_as_stdio_keep_their_owner(bundle):
    """CVE-2016-3697's neighbour: handing stdio to a plain user must not chown the host's /dev/null."""
    before = os.stat("/dev/null")
    bundle.process["user"] = {"uid": 1000, "gid": 1000}
    bundle.args("/bin/true").run()
    after = os.stat("/dev/null")
    assert (before.st_uid, before.st_gid, before.st_mode) == (after.st_uid, after.st_gid, after.st_mode)


def test_numeric_user_names_in_passwd_do_not_change_the_user(bundle):
    """CVE-2016-3697: a user called 1000 with uid 0."""
    os.unlink(f"{bundle.rootfs}/etc/passwd")
    write(f"{bundle.rootfs}/etc/passwd", "1000:x:0:0::/root:/bin/sh\nroot:x:0:0::/root:/bin/sh\n")
    bundle.process["user"] = {"uid": 1000, "gid": 1000}
    assert bundle.args("id", "-u").must() == "1000"


# ------------------------------------------------------------------------- files of the image that the runtime itself reads


@differs(runc="waits for ever", crun="waits for ever")
@pytest.mark.seconds(8)
@pytest.mark.parametrize("name", ["passwd", "group"])
def test_pipe_in_place_of_etc_passwd_does_not_hang_the_runtime(bundle, name):
    os.unlink(f"{bundle.rootfs}/etc/{name}")
    os.mkfifo(f"{bundle.rootfs}/etc/{name}")
    result = bundle.args("/bin/echo", "ok").run(timeout=4)
    assert result.returncode in (0, 1)


@pytest.mark.parametrize("target", ["/proc/kmsg", "OUTSIDE", "/dev/zero"])
@pytest.mark.seconds(10)
def test_etc_passwd_that_is_a_link(request, bundle, outside, target):
    if PEER and target == "/dev/zero":
        request.applymarker(pytest.mark.xfail(reason="reads without end", strict=False))
    write(f"{outside}/passwd", "root:x:0:0::/stolen:/bin/sh\n")
    os.unlink(f"{bundle.rootfs}/etc/passwd")
    os.symlink(f"{outside}/passwd" if target == "OUTSIDE" else target, f"{bundle.rootfs}/etc/passwd")
    if target == "/proc/kmsg":
        return
    result = bundle.sh("echo $HOME").run(timeout=5)
    assert "/stolen" not in result.stdout


def test_the_library_call_used_by_the_races_exists():
    assert isinstance(LIBC.renameat2, ctypes._CFuncPtr)
