"""Older kernels: the runtime under a seccomp filter that answers ENOSYS (enosys.c).

What has a fallback works all the same; what is required gives one line that names the call and the kernel that has it, and
leaves nothing behind.
"""

import os
import shutil
import signal
import subprocess

import pytest

from davitlib import HERE, PEER, wait_for

pytestmark = pytest.mark.skipif(bool(PEER), reason="the fallbacks are Davit's")


@pytest.fixture(scope="module")
def enosys(sandbox):
    """Runs a command without some system calls."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler")
    program = f"{sandbox.path}/enosys"
    made = subprocess.run([compiler, "-O1", "-static", "-o", program, f"{HERE}/enosys.c"], capture_output=True, text=True, check=False)
    if made.returncode != 0:
        pytest.skip(f"enosys.c could not be built: {made.stderr[:200]}")

    def without(calls, command):
        return subprocess.run([program, calls, "--", *command], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=20, check=False)

    return without


def run_command(bundle):
    bundle.save()
    return bundle.command("run", "--bundle", bundle.path, bundle.id)


# Sets up what a case needs beyond the plain bundle.
def with_sysctl(bundle):
    bundle.linux["sysctl"] = {"net.ipv4.ip_forward": "1"}


def with_hook(bundle):
    bundle.config["hooks"] = {"createContainer": [{"path": "/bin/true"}]}


# ---------------------------------------------------------------------------------------------------------- fallbacks


@pytest.mark.parametrize("calls", ["faccessat2", "keyctl", "statx", "pidfd_getfd", "memfd_create", "pidfd_send_signal"])
def test_a_container_runs_without(enosys, bundle, calls):
    result = enosys(calls, run_command(bundle.sh("echo ok")))
    assert (result.returncode, result.stdout) == (0, "ok\n"), result.stderr
    bundle.assert_gone()


def test_without_faccessat2_the_effective_ids_still_decide(enosys, bundle):
    bundle.args("not-there")
    result = enosys("faccessat2", run_command(bundle))
    assert result.returncode == 1
    assert "executable file not found" in result.stderr


# The binary's copy in memory, where its mount cannot be copied; before Linux 6.3 without MFD_EXEC.
@pytest.mark.parametrize("calls", ["open_tree", "mount_setattr", "mount_setattr,mfd_exec", "faccessat2", "keyctl"])
def test_exec_without(enosys, bundle, calls):
    bundle.args("sleep", "1000").up()
    result = enosys(calls, bundle.command("exec", bundle.id, "echo", "ok"))
    assert (result.returncode, result.stdout) == (0, "ok\n"), result.stderr


def test_the_copy_in_memory_cannot_be_written(enosys, bundle):
    """What the fallback is for: a process of the container that opens the runtime's binary by /proc/PID/exe."""
    bundle.args("sleep", "1000").up()
    before = os.stat(bundle.command("x")[0])
    attack = "for p in /proc/[0-9]*; do echo x 2>/dev/null > $p/exe; done; true"
    assert enosys("mount_setattr", bundle.command("exec", bundle.id, "sh", "-c", attack)).returncode == 0
    after = os.stat(bundle.command("x")[0])
    assert (before.st_size, before.st_mtime_ns) == (after.st_size, after.st_mtime_ns)


@pytest.mark.parametrize("calls", ["openat2", "open_tree", "mount_setattr", "clone3", "close_range", "execveat", "memfd_create"])
def test_state_kill_and_delete_without(enosys, bundle, calls):
    bundle.sh("trap 'exit 3' TERM; while :; do usleep 10000; done").up()
    assert enosys(calls, bundle.command("state", bundle.id)).returncode == 0
    assert enosys(calls, bundle.command("kill", bundle.id, "TERM")).returncode == 0
    bundle.wait_stopped()
    assert enosys(calls, bundle.command("delete", bundle.id)).returncode == 0
    bundle.assert_gone()


@pytest.mark.parametrize("calls", ["pidfd_open", "pidfd_send_signal"])
def test_delete_by_force_without(enosys, bundle, calls):
    bundle.args("sleep", "1000").up()
    pid = bundle.pid()
    result = enosys(calls, bundle.command("delete", "--force", bundle.id))
    assert result.returncode == 0, result.stderr
    bundle.assert_gone()
    with pytest.raises(ProcessLookupError):
        wait_for(lambda: os.kill(pid, signal.SIGCONT), "its end", 2)


# ----------------------------------------------------------------------------------------------------- required calls


def assert_names(result, call, kernel, status=1):
    assert result.returncode == status
    lines = result.stderr.splitlines()
    assert len(lines) == 1, lines
    assert f"{call} (Linux {kernel})" in lines[0]


REQUIRED = [
    ("openat2", "5.6", None),
    ("open_tree", "5.2", None),
    ("move_mount", "5.2", None),
    ("mount_setattr", "5.12", None),
    ("clone3", "5.7", None),
    ("close_range", "5.11", None),
    ("execveat", "3.19", None),
    ("fsopen", "5.2", with_sysctl),
    ("fsconfig", "5.2", with_sysctl),
    ("fsmount", "5.2", with_sysctl),
    ("clone3", "5.7", with_hook),
    ("memfd_create", "3.17", with_hook),
]


@pytest.mark.parametrize(("call", "kernel", "prepare"), REQUIRED)
@pytest.mark.parametrize("command", ["run", "create", "monitor"])
def test_a_required_call_is_named_with_its_kernel(enosys, bundle, call, kernel, prepare, command):
    if prepare is not None:
        prepare(bundle)
    bundle.sh("echo no")
    words = run_command(bundle)
    if command == "create":
        words[words.index("run")] = "create"
    elif command == "monitor":
        words = bundle.command("monitor", "--id", bundle.id, "--bundle", bundle.path)
    assert_names(enosys(call, words), call, kernel)
    bundle.assert_gone()


@pytest.mark.parametrize(("call", "kernel", "status"), [("clone3", "5.7", 255), ("close_range", "5.11", 255), ("pidfd_open", "5.3", 255)])
def test_exec_names_the_missing_call(enosys, bundle, call, kernel, status):
    bundle.args("sleep", "1000").up()
    assert_names(enosys(call, bundle.command("exec", bundle.id, "true")), call, kernel, status)
    assert bundle.status() == "running"


@pytest.mark.parametrize(("call", "kernel"), [("pidfd_open", "5.3"), ("pidfd_send_signal", "5.1")])
def test_kill_names_the_missing_call(enosys, bundle, call, kernel):
    bundle.args("sleep", "1000").up()
    assert_names(enosys(call, bundle.command("kill", bundle.id, "KILL")), call, kernel)
    assert bundle.status() == "running"
