"""checkpoint and restore by CRIU: what they say without it, and, where it works, containers that go on as if nothing had been."""

import glob
import json
import os
import shutil
import signal
import subprocess

import pytest

from davitlib import PEER, ConsoleSocket, alive, read, wait_for, write

pytestmark = pytest.mark.skipif(PEER != "", reason="the peers' own tests are their matter")

COUNT = "i=0; while :; do i=$((i+1)); echo $i > /dev/shm/count; sleep 0.05; done"


def why_no_criu():
    """Why nothing can be checkpointed on this machine, or ""."""
    if shutil.which("criu") is None:
        return "criu is not installed"
    check = subprocess.run(["criu", "check"], capture_output=True, text=True, check=False)
    if check.returncode == 0:
        return ""
    errors = [line for line in (check.stderr + check.stdout).splitlines() if "Error" in line and "exited" not in line]
    return "criu check: " + (errors or ["failed"])[0]


WHY_NO_CRIU = why_no_criu()
needs_criu = pytest.mark.skipif(WHY_NO_CRIU != "", reason=WHY_NO_CRIU)


def quiet(bundle, *words):
    """A command whose container has /dev/null as its streams: a regular file there would have to keep its size (CRIU checks it)."""
    bundle.save()
    log = f"{bundle.path}/log"
    null = subprocess.DEVNULL
    done = subprocess.run(bundle.command(*words, flags=("--log", log)), stdin=null, stdout=null, stderr=null, timeout=20, check=False)
    assert done.returncode == 0, read(log, "")


def up(bundle):
    quiet(bundle, "run", "--detach", "--bundle", bundle.path, bundle.id)
    return bundle


def count(bundle):
    return int(read(f"/proc/{bundle.pid()}/root/dev/shm/count", "").strip() or 0)


def checkpoint(bundle, *flags):
    return bundle.call("checkpoint", "--image-path", bundle.images, *flags, bundle.id)


def checkpoint_and_delete(bundle, *flags):
    result = checkpoint(bundle, *flags)
    assert result.returncode == 0, result.stderr
    bundle.wait_stopped()
    assert bundle.delete().returncode == 0
    bundle.assert_gone()


def restore(bundle, *flags):
    quiet(bundle, "restore", "--detach", "--bundle", bundle.path, "--image-path", bundle.images, *flags, bundle.id)


@pytest.fixture
def counting(bundle):
    """A container that counts in a tmpfs of its own."""
    bundle.sh(COUNT)
    bundle.images = f"{bundle.path}/images"
    return bundle


@pytest.fixture
def fake_criu(bundle, monkeypatch):
    """A criu that fails as real ones do on a kernel that is too new for them."""
    write(f"{bundle.path}/path/criu", "#!/bin/sh\necho 'Error (criu/kerndat.c:7): no such kernel' >&2\nexit 1\n", 0o755)
    monkeypatch.setenv("PATH", f"{bundle.path}/path:{os.environ['PATH']}")


# ---------------------------------------------------------------------------------------------------- without a good CRIU


def test_without_criu_the_package_is_named(counting):
    up(counting)
    hide = 'for file in /usr/local/sbin /usr/local/bin /usr/sbin /usr/bin; do [ -e $file/criu ] && mount --bind /dev/null $file/criu; done; exec "$@"'
    command = ["unshare", "-m", "sh", "-c", hide, "sh", *counting.command("checkpoint", "--image-path", counting.images, counting.id)]
    environment = {**os.environ, "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
    result = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=20, check=False)
    assert result.returncode == 1
    assert "criu is not installed" in result.stderr
    assert not os.path.exists(counting.images)
    assert counting.status() == "running"


@pytest.mark.usefixtures("fake_criu")
def test_criu_that_fails_is_quoted_and_the_container_goes_on(counting):
    up(counting)
    result = checkpoint(counting)
    assert result.returncode == 1
    assert "no such kernel" in result.stderr
    assert not os.path.exists(counting.images), "a directory was left behind"
    assert counting.status() == "running"
    before = count(counting)
    wait_for(lambda: count(counting) > before, "the container to go on")


@pytest.mark.usefixtures("fake_criu")
def test_criu_that_fails_leaves_the_callers_directory_as_it_was(counting):
    up(counting)
    write(f"{counting.images}/mine", "kept")
    assert checkpoint(counting).returncode == 1
    assert [name for name in os.listdir(counting.images) if not name.endswith(".log")] == ["mine"]


@pytest.mark.usefixtures("fake_criu")
def test_restore_that_fails_leaves_nothing(counting):
    counting.save()
    flags = ("--bundle", counting.path, "--image-path", counting.images)
    result = counting.call("restore", *flags, counting.id)
    assert result.returncode == 1
    assert "no complete checkpoint" in result.stderr
    counting.assert_gone()
    empty = {"version": 1, "descriptors": [], "mounts": [], "namespaces": []}
    write(f"{counting.images}/davit-checkpoint.json", json.dumps(empty))
    result = counting.call("restore", *flags, counting.id)
    assert result.returncode == 1
    assert "no such kernel" in result.stderr
    counting.assert_gone()


@pytest.mark.usefixtures("fake_criu")
@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("{", "davit-checkpoint.json"),
        ('{"version": 2}', "version 2"),
        ('{"version": 1, "mounts": [{"mountPoint": "/x", "destination": "/x"}]}', "/x"),
        ('{"version": 1, "descriptors": [{"number": 7, "key": "pipe:[1]"}]}', "number"),
        ('{"version": 1, "namespaces": [{"type": "network", "inode": "1"}]}', "network"),
    ],
)
def test_bad_descriptions_of_a_checkpoint(counting, text, complaint):
    counting.save()
    write(f"{counting.images}/davit-checkpoint.json", text)
    result = counting.call("restore", "--bundle", counting.path, "--image-path", counting.images, counting.id)
    assert result.returncode == 1
    assert complaint in result.stderr
    counting.assert_gone()


@pytest.mark.usefixtures("fake_criu")
@pytest.mark.parametrize(
    ("command", "flags", "complaint"),
    [
        ("checkpoint", ["--empty-ns", "pid"], "--empty-ns"),
        ("checkpoint", ["--page-server", "nowhere"], "--page-server"),
        ("checkpoint", ["--parent-path", "/absolute"], "--parent-path"),
        ("checkpoint", ["--parent-path", "../none"], "--parent-path"),
        ("checkpoint", ["--manage-cgroups-mode", "odd"], "--manage-cgroups-mode"),
        ("checkpoint", ["--status-fd", "-1"], "--status-fd"),
        ("checkpoint", ["--detach"], "--detach"),
        ("restore", ["--no-pivot"], "--no-pivot"),
        ("restore", ["--leave-running"], "--leave-running"),
        ("restore", ["--console-socket", "/none"], "--console-socket"),
    ],
)
def test_flags_that_cannot_be_followed_are_refused_by_name(counting, command, flags, complaint):
    if command == "checkpoint":
        up(counting)
    else:
        counting.save()
        write(f"{counting.images}/davit-checkpoint.json", '{"version": 1}')
        flags = [*flags, "--bundle", counting.path]
    result = counting.call(command, "--image-path", counting.images, *flags, counting.id)
    assert result.returncode == 1
    assert complaint in result.stderr
    if command == "checkpoint":
        assert counting.status() == "running"
    else:
        counting.assert_gone()


def test_only_what_runs_can_be_checkpointed(counting):
    result = checkpoint(counting)
    assert result.returncode == 1
    assert "does not exist" in result.stderr
    assert counting.create().returncode == 0
    result = checkpoint(counting)
    assert result.returncode == 1
    assert "created" in result.stderr
    counting.call("kill", counting.id, "KILL")
    counting.wait_stopped()
    assert "stopped" in checkpoint(counting).stderr
    assert not os.path.exists(counting.images)


@pytest.mark.parametrize("command", ["checkpoint", "restore"])
def test_help_answers_podmans_question_whether_this_runtime_can(bundle, command):
    result = bundle.call(command, "--help")
    assert result.returncode == 0
    assert "--image-path" in result.stdout


# ------------------------------------------------------------------------------------------------------------- with CRIU


@needs_criu
def test_goes_on_where_it_stopped(counting):
    up(counting)
    wait_for(lambda: count(counting) >= 5, "a few counts")
    pid = counting.pid()
    before = count(counting)
    checkpoint_and_delete(counting)
    assert not alive(pid)
    restore(counting, "--pid-file", f"{counting.path}/pid")
    assert counting.status() == "running"
    assert counting.pid() == int(read(f"{counting.path}/pid"))
    assert count(counting) >= before
    now = count(counting)
    wait_for(lambda: count(counting) > now, "the container to go on")
    assert counting.exec("hostname").stdout.strip() == "davit-test"
    assert counting.call("kill", counting.id, "KILL").returncode == 0
    counting.wait_stopped()
    assert counting.delete().returncode == 0
    counting.assert_gone()


@needs_criu
def test_leave_running_and_restore_under_another_id(bundles):
    first, second = bundles(), bundles()
    first.images = second.images = f"{first.path}/images"
    for bundle in (first, second):
        bundle.sh(COUNT).resources(memory={"limit": 64 << 20}, pids={"limit": 40})
    up(first)
    pid = first.pid()
    result = checkpoint(first, "--leave-running")
    assert result.returncode == 0, result.stderr
    assert first.status() == "running"
    assert first.pid() == pid
    restore(second)
    assert second.cgroups_path in read(f"/proc/{second.pid()}/cgroup")
    assert first.cgroups_path not in read(f"/proc/{second.pid()}/cgroup")
    now = count(second)
    wait_for(lambda: count(second) > now, "the copy to go on")
    if os.path.exists(second.cgroup("pids")):
        assert second.knob("pids", "pids.max") == "40"


@needs_criu
def test_paused_container_stays_paused(counting):
    up(counting)
    assert counting.call("pause", counting.id).returncode == 0
    result = checkpoint(counting, "--leave-running")
    assert result.returncode == 0, result.stderr
    assert counting.status() == "paused"
    assert counting.call("resume", counting.id).returncode == 0


@needs_criu
def test_bind_mounts_come_from_the_new_bundle(counting):
    for name in ("one", "two"):
        write(f"{counting.path}/{name}/file", name)
    os.symlink("/tmp/there", f"{counting.rootfs}/link")
    counting.mount("/link", "bind", f"{counting.path}/one", ["rbind", "ro"])
    up(counting)
    assert counting.exec("cat", "/tmp/there/file").stdout == "one"
    checkpoint_and_delete(counting)
    counting.config["mounts"][-1]["source"] = f"{counting.path}/two"
    restore(counting)
    assert counting.exec("cat", "/tmp/there/file").stdout == "two"
    assert counting.exec("touch", "/tmp/there/new").returncode != 0
    assert counting.exec("cat", "/proc/keys").stdout == ""


@needs_criu
def test_a_bind_mount_that_the_new_bundle_lacks_is_named(counting):
    write(f"{counting.path}/one/file", "one")
    counting.mount("/tmp/there", "bind", f"{counting.path}/one", ["bind"])
    up(counting)
    checkpoint_and_delete(counting)
    counting.drop_mount("/tmp/there").save()
    result = counting.call("restore", "--bundle", counting.path, "--image-path", counting.images, counting.id)
    assert result.returncode == 1
    assert "/tmp/there" in result.stderr
    counting.assert_gone()


@needs_criu
def test_restore_in_the_foreground_waits_and_answers_with_the_exit_code(counting):
    counting.sh("trap 'echo got-term; exit 7' TERM; echo ready; while :; do sleep 0.02; done").save()
    with subprocess.Popen(counting.command("run", "--bundle", counting.path, counting.id), stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as first:  # fmt: skip
        assert first.stdout.readline() == "ready\n"
        result = checkpoint(counting)
        assert result.returncode == 0, result.stderr
        assert first.wait(10) == 137
    counting.assert_gone()
    with subprocess.Popen(counting.command("restore", "--bundle", counting.path, "--image-path", counting.images, counting.id),
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as second:  # fmt: skip
        wait_for(lambda: glob.glob(f"{counting.root}/{counting.id}/state.json"), "the restored state")
        counting.call("kill", counting.id, "TERM")
        assert second.stdout.readline() == "got-term\n"
        assert second.wait(10) == 7
    counting.assert_gone()


@needs_criu
def test_terminal_is_handed_over(counting):
    counting.process["terminal"] = True
    counting.sh("trap 'echo got-int' INT; echo ready; while :; do sleep 0.02; done")
    with ConsoleSocket(counting.path) as console:
        quiet(counting, "run", "--detach", "--bundle", counting.path, "--console-socket", console.path, counting.id)
        console.accept()
        console.read_until("ready")
        checkpoint_and_delete(counting)
    with ConsoleSocket(counting.path) as console:
        restore(counting, "--console-socket", console.path)
        console.accept()
        os.write(console.master, b"\x03")
        console.read_until("got-int")
        assert counting.delete("--force").returncode == 0


@needs_criu
def test_hooks_run_and_a_failing_one_undoes_the_restore(counting):
    up(counting)
    checkpoint_and_delete(counting)
    seen = f"{counting.path}/seen"
    hook = lambda script: [{"path": "/bin/sh", "args": ["sh", "-c", script]}]  # noqa: E731
    counting.config["hooks"] = {"createRuntime": hook(f"cat > {seen}"), "poststart": hook(f"touch {seen}.started")}
    restore(counting)
    assert json.loads(read(seen))["pid"] == counting.pid()
    assert os.path.exists(seen + ".started")
    counting.stop()
    counting.config["hooks"] = {"createRuntime": hook("exit 3")}
    counting.save()
    result = counting.call("restore", "--bundle", counting.path, "--image-path", counting.images, counting.id)
    assert result.returncode == 1
    assert "hooks.createRuntime[0]" in result.stderr
    counting.assert_gone()


@needs_criu
def test_restore_refuses_an_id_that_is_taken(counting):
    up(counting)
    assert checkpoint(counting, "--leave-running").returncode == 0
    result = counting.call("restore", "--bundle", counting.path, "--image-path", counting.images, counting.id)
    assert result.returncode == 1
    assert "already exists" in result.stderr
    assert counting.status() == "running"


@needs_criu
def test_joined_network_namespace_is_joined_again(counting):
    holder = subprocess.Popen(["unshare", "-n", "sleep", "100"])
    try:
        own = os.readlink("/proc/self/ns/net")
        wait_for(lambda: os.readlink(f"/proc/{holder.pid}/ns/net") != own, "the namespace")
        counting.namespace("network", f"/proc/{holder.pid}/ns/net")
        up(counting)
        checkpoint_and_delete(counting)
        restore(counting)
        assert os.readlink(f"/proc/{counting.pid()}/ns/net") == os.readlink(f"/proc/{holder.pid}/ns/net")
        counting.stop()
    finally:
        holder.send_signal(signal.SIGKILL)
        holder.wait()


@needs_criu
def test_user_namespace(bundles):
    bundle = bundles(copy_busybox=True)
    bundle.images = f"{bundle.path}/images"
    bundle.user_namespace().sh(COUNT)
    up(bundle)
    result = checkpoint(bundle)
    assert result.returncode == 0, result.stderr
    bundle.wait_stopped()
    assert bundle.delete().returncode == 0
    restore(bundle)
    now = count(bundle)
    wait_for(lambda: count(bundle) > now, "the container to go on")
    assert read(f"/proc/{bundle.pid()}/uid_map").split() == ["0", "100000", "65536"]
