"""The runtime under its real callers: dockerd (with containerd's shim), podman (with conmon) and buildah of the peers' chroot.

Skipped where the peers are not installed. The dockerd is a second one, with its own data, sockets, containerd namespace and
cgroup parent; the runtime is copied into the chroot. Nothing of it is left at the end."""

import contextlib
import json
import os
import re
import shutil
import subprocess
import time

import pytest

from davitlib import CGROUP, RUNTIME, cgroup_directories, empty_cgroup, on_pty, read, read_terminal, remove_cgroup, umount, wait_for, write

CHROOT = "/opt/peers"
NAME = f"davit-callers-{os.getpid()}"
DATA = f"/opt/peers-data/{NAME}"  # the same path inside and outside
RUN = f"/run/{NAME}"
IMAGE = "/var/tmp/davit-peers/images/tiny.tar"
LIMITS = ["--ulimit", "nofile=20000:20000", "--ulimit", "nproc=20000:20000"]


def missing():
    for path in (f"{CHROOT}/usr/sbin/dockerd", f"{CHROOT}/usr/bin/podman", IMAGE, f"{CHROOT}/run/peer-docker.sock", "/run/peers/containerd.sock"):
        if not os.path.exists(path):
            return f"the peer engines are not up: no {path}"
    return None


pytestmark = [pytest.mark.skipif(missing() is not None, reason=str(missing())), pytest.mark.seconds(60)]


def inside(*words):
    """A command line that runs in the chroot."""
    return ["chroot", CHROOT, "env", "-i", "PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "TERM=dumb",
            "PODMAN_IGNORE_CGROUPSV1_WARNING=1", f"DOCKER_HOST=unix://{RUN}/docker.sock", *words]  # fmt: skip


def call(*words, **more):
    more.setdefault("stdin", subprocess.DEVNULL)
    return subprocess.run(inside(*words), capture_output=True, text=True, timeout=50, check=False, **more)


@pytest.fixture(scope="module")
def place(sandbox):
    """Directories, and the runtime's copy in the chroot; removes every trace afterwards."""
    runtime = f"/usr/local/bin/{NAME}"
    os.makedirs(DATA)
    os.makedirs(f"{CHROOT}{RUN}")
    shutil.copy(RUNTIME, CHROOT + runtime)
    runs = subprocess.run(["chroot", CHROOT, runtime, "--version"], capture_output=True, text=True, check=False)
    if runs.returncode == 0:
        yield runtime
    os.unlink(CHROOT + runtime)
    for line in reversed(read("/proc/self/mountinfo").splitlines()):
        if NAME in line.split()[4]:
            umount(line.split()[4])
    for directory in cgroup_directories(NAME):
        empty_cgroup(directory)
        remove_cgroup(directory)
    for namespace in (NAME, f"{NAME}-plugins"):
        call("ctr", "--address", "/run/peers/containerd.sock", "namespaces", "remove", namespace)
        with contextlib.suppress(OSError):
            os.rmdir(f"/run/peers/containerd-state/io.containerd.runtime.v2.task/{namespace}")
    shutil.rmtree(DATA, ignore_errors=True)
    shutil.rmtree(f"{CHROOT}{RUN}", ignore_errors=True)
    assert cgroup_directories(NAME) == []
    if runs.returncode != 0:
        pytest.skip(f"the runtime does not run in the peers' chroot (a dynamic build): {runs.stderr.strip()}")


@pytest.fixture(scope="module")
def engine(place):
    """A dockerd of our own that knows the runtime as "davit"; yields nothing, docker() talks to it."""
    with open(f"{DATA}/dockerd.log", "wb") as log:
        daemon = subprocess.Popen(
            inside("dockerd", "--data-root", f"{DATA}/docker", "--exec-root", f"{RUN}/exec", "-H", f"unix://{RUN}/docker.sock", "--pidfile",
                   f"{RUN}/docker.pid", "--containerd", "/run/peers/containerd.sock", "--containerd-namespace", NAME,
                   "--containerd-plugins-namespace", f"{NAME}-plugins", "--storage-driver", "overlay2", "--iptables=false", "--ip6tables=false",
                   "--bridge=none", "--exec-opt", "native.cgroupdriver=cgroupfs", "--cgroup-parent", f"/{NAME}", "--add-runtime", f"davit={place}"),
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)  # fmt: skip
    try:
        wait_for(lambda: call("docker", "version").returncode == 0, "dockerd to answer", 20)
        loaded = call("docker", "load", "-i", IMAGE)
        assert loaded.returncode == 0, loaded.stderr
        yield
        left = call("docker", "ps", "-aq").stdout.split()
        if left:
            call("docker", "rm", "-f", *left)
    finally:
        daemon.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            daemon.wait(20)
        if daemon.poll() is None:
            daemon.kill()
            daemon.wait()


class Container:
    def __init__(self, identity):
        self.id = identity

    def inspect(self, template):
        return docker("inspect", "--format", template, self.id).stdout.strip()

    def exec(self, *words):
        return docker("exec", self.id, *words)

    def cgroup(self, controller, file):
        return read(f"{CGROUP}/{controller}/{NAME}/{self.id}/{file}").strip()


def docker(*words, **more):
    return call("docker", *words, **more)


def docker_run(*words):
    return docker("run", "--rm", "--network", "none", "--runtime", "davit", *words)


@pytest.fixture
def detached(engine):
    """A factory of containers in the background; all are removed after the test."""
    made = []

    def make(*words):
        result = docker("run", "-d", "--network", "none", "--runtime", "davit", *words)
        assert result.returncode == 0, result.stderr
        made.append(Container(result.stdout.strip()))
        return made[-1]

    yield make
    for container in made:
        docker("rm", "-f", container.id)
        assert not os.path.exists(f"{CGROUP}/pids/{NAME}/{container.id}")


# -------------------------------------------------------------------------------------------------------------- dockerd


@pytest.mark.parametrize("code", [0, 3, 255])
def test_docker_run_output_and_exit_code(engine, code):
    result = docker_run("tiny", "sh", "-c", f"echo out; echo err >&2; exit {code}")
    assert (result.returncode, result.stdout, result.stderr) == (code, "out\n", "err\n")


# docker's own exit codes: it reads the runtime's error text (moby, daemon/start.go, translateContainerdStartErr)
REFUSED = [("nosuchprogram", 127), ("/nosuch/program", 127), ("/etc", 126), ("/", 126)]


@pytest.mark.parametrize("program, code", REFUSED)
def test_docker_run_of_a_program_that_cannot_be_executed(engine, program, code):
    result = docker_run("tiny", program)
    assert result.returncode == code, result.stderr
    assert "OCI runtime" in result.stderr


def test_docker_run_stdin(engine):
    result = docker("run", "--rm", "-i", "--network", "none", "--runtime", "davit", "tiny", "cat", input="through\n", stdin=None)
    assert result.stdout == "through\n"


def test_docker_run_tty(engine):
    with on_pty(inside("docker", "run", "--rm", "-it", "--network", "none", "--runtime", "davit", "tiny", "sh", "-c", "tty; stty size; exit 4"), (33, 99)) as (process, master):
        seen = read_terminal(master, seconds=20)
        assert process.wait(10) == 4
    assert "/dev/" in seen
    assert "33 99" in seen


def test_docker_user_workdir_env_hostname(engine):
    result = docker_run("--user", "1000:1000", "--workdir", "/made/here", "--env", "A=b c", "--hostname", "inside", "tiny", "sh", "-c", "id -u; pwd; echo $A; hostname")
    assert result.stdout.split("\n")[:4] == ["1000", "/made/here", "b c", "inside"], result.stderr


def test_docker_volumes(engine):
    os.makedirs(f"{DATA}/volume", exist_ok=True)
    write(f"{DATA}/volume/file", "content\n")
    result = docker_run("-v", f"{DATA}/volume:/data", "-v", f"{DATA}/volume:/fixed:ro", "--tmpfs", "/scratch:size=1m", "tiny", "sh", "-c",
                        "cat /data/file; echo new > /data/made; touch /fixed/x 2>/dev/null || echo read-only; df /scratch | tail -1")  # fmt: skip
    assert result.stdout.startswith("content\nread-only\n"), result.stderr
    assert "1024" in result.stdout
    assert read(f"{DATA}/volume/made") == "new\n"


def test_docker_read_only_and_init_and_privileged(engine):
    assert docker_run("--read-only", "tiny", "touch", "/x").returncode == 1
    assert docker_run("--cap-drop", "ALL", "tiny", "grep", "CapEff:\t0000000000000000", "/proc/self/status").returncode == 0
    result = docker_run("--cap-add", "NET_ADMIN", "--security-opt", "no-new-privileges", "tiny", "cat", "/proc/self/status")
    assert re.search(r"NoNewPrivs:\s*1", result.stdout) and re.search(r"Seccomp:\s*2", result.stdout), result.stderr


def test_docker_limits(detached):
    container = detached("--memory", "64m", "--memory-swap", "96m", "--cpus", "0.5", "--pids-limit", "40", "--cpu-shares", "300", "--cpuset-cpus", "0", "tiny", "sleep", "1000")
    assert container.cgroup("memory", "memory.limit_in_bytes") == str(64 << 20)
    assert container.cgroup("memory", "memory.memsw.limit_in_bytes") == str(96 << 20)
    assert container.cgroup("cpu", "cpu.cfs_quota_us") == "50000"
    assert container.cgroup("cpu", "cpu.shares") == "300"
    assert container.cgroup("cpuset", "cpuset.cpus") == "0"
    assert container.cgroup("pids", "pids.max") == "40"


def test_docker_update(detached):
    container = detached("--memory", "64m", "--memory-swap", "64m", "tiny", "sleep", "1000")
    result = docker("update", "--memory", "128m", "--memory-swap", "128m", "--cpus", "0.25", "--pids-limit", "30", container.id)
    assert result.returncode == 0, result.stderr
    assert container.cgroup("memory", "memory.limit_in_bytes") == str(128 << 20)
    assert container.cgroup("cpu", "cpu.cfs_quota_us") == "25000"
    assert container.cgroup("pids", "pids.max") == "30"


def test_docker_exec(detached):
    container = detached("tiny", "sleep", "1000")
    result = container.exec("sh", "-c", "echo out; echo err >&2; exit 9")
    assert (result.returncode, result.stdout, result.stderr) == (9, "out\n", "err\n")
    assert container.exec("nosuchprogram").returncode == 127
    assert container.exec("/etc").returncode == 126
    flags = docker("exec", "-u", "1000", "-w", "/etc", "-e", "X=y", container.id, "sh", "-c", "id -u; pwd; echo $X")
    assert flags.stdout.split() == ["1000", "/etc", "y"]
    assert docker("exec", "-i", container.id, "cat", input="in\n", stdin=None).stdout == "in\n"
    with on_pty(inside("docker", "exec", "-it", container.id, "sh", "-c", "tty; exit 6")) as (process, master):
        assert "/dev/pts" in read_terminal(master, seconds=20)
        assert process.wait(10) == 6


def test_docker_exec_many_at_once(detached):
    import concurrent.futures

    container = detached("tiny", "sleep", "1000")
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda number: container.exec("sh", "-c", f"exit {number}").returncode, range(8)))
    assert results == list(range(8))


def test_docker_stop_kill_and_restart(detached):
    container = detached("tiny", "sh", "-c", "trap 'echo got-term; exit 5' TERM; while :; do sleep 0.05; done")
    start = time.monotonic()
    assert docker("stop", container.id).returncode == 0
    assert time.monotonic() - start < 8
    assert container.inspect("{{.State.ExitCode}}") == "5"
    assert "got-term" in docker("logs", container.id).stdout
    assert docker("start", container.id).returncode == 0
    assert container.inspect("{{.State.Running}}") == "true"
    assert docker("kill", "-s", "KILL", container.id).returncode == 0
    wait_for(lambda: container.inspect("{{.State.Running}}") == "false", "the kill")
    assert container.inspect("{{.State.ExitCode}}") == "137"


def test_docker_pause(detached):
    container = detached("tiny", "sh", "-c", "while :; do echo x; sleep 0.01; done")
    assert docker("pause", container.id).returncode == 0
    assert container.inspect("{{.State.Status}}") == "paused"
    assert container.cgroup("freezer", "freezer.state") == "FROZEN"
    assert docker("unpause", container.id).returncode == 0
    assert container.inspect("{{.State.Status}}") == "running"


def test_docker_out_of_memory(detached):
    container = detached("--memory", "12m", "--memory-swap", "12m", "tiny", "sh", "-c", "sleep 0.3; head -c 100m /dev/zero | tail | cat; echo survived")
    wait_for(lambda: container.inspect("{{.State.Running}}") == "false", "the container to end", 20)
    assert container.inspect("{{.State.OOMKilled}}") == "true"


def test_docker_top_stats_and_inspect(detached):
    container = detached("tiny", "sleep", "1000")
    assert "sleep 1000" in docker("top", container.id).stdout
    stats = json.loads(docker("stats", "--no-stream", "--format", "{{json .}}", container.id).stdout)
    assert stats["PIDs"] == "1"
    assert container.inspect("{{.HostConfig.Runtime}}") == "davit"
    assert int(container.inspect("{{.State.Pid}}")) > 1


def test_docker_shared_namespaces(detached):
    first = detached("tiny", "sleep", "987")
    both = docker("run", "--rm", "--network", f"container:{first.id}", "--pid", f"container:{first.id}", "--ipc", "none", "--runtime", "davit", "tiny", "ps")
    assert "sleep 987" in both.stdout, both.stderr
    host = docker("run", "--rm", "--network", "host", "--pid", "host", "--uts", "host", "--runtime", "davit", "tiny", "readlink", "/proc/self/ns/net")
    assert host.stdout.strip() == os.readlink("/proc/self/ns/net"), host.stderr


def test_docker_failed_start_leaves_nothing(engine):
    before = set(os.listdir(f"{CGROUP}/pids/{NAME}")) if os.path.isdir(f"{CGROUP}/pids/{NAME}") else set()
    for _ in range(3):
        assert docker_run("tiny", "nosuchprogram").returncode == 127
    now = set(os.listdir(f"{CGROUP}/pids/{NAME}")) if os.path.isdir(f"{CGROUP}/pids/{NAME}") else set()
    assert {name for name in now - before if len(name) == 64} == set()


# ------------------------------------------------------------------------------------------------------ podman, buildah


def store(program):
    return [program, "--root", f"{DATA}/containers", "--runroot", f"{RUN}/containers", "--storage-driver", "overlay"]


@pytest.fixture(scope="module")
def podman(place):
    """podman(words...) with the runtime and storage of its own."""

    def talk(*words, **more):
        return call(*store("podman"), "--runtime", place, "--cgroup-manager", "cgroupfs", *words, **more)

    loaded = talk("load", "-q", "-i", IMAGE)
    assert loaded.returncode == 0, loaded.stderr
    yield talk
    talk("rm", "-af", "-t", "0")


def podman_run(podman, *words, **more):
    return podman("run", "--rm", "--network", "none", "--cgroup-parent", f"/{NAME}", *LIMITS, *words, **more)


@pytest.mark.parametrize("code", [0, 7])
def test_podman_run(podman, code):
    result = podman_run(podman, "tiny", "sh", "-c", f"echo out; exit {code}")
    assert (result.returncode, result.stdout) == (code, "out\n"), result.stderr


@pytest.mark.parametrize("program, code", [("nosuchprogram", 127), ("/etc", 126)])
def test_podman_run_of_a_program_that_cannot_be_executed(podman, program, code):
    """podman's exit codes come from the texts 'executable file not found' and 'permission denied' in the runtime's log."""
    result = podman_run(podman, "tiny", program)
    assert result.returncode == code, result.stderr


def test_podman_tty(place, podman):
    words = [*store("podman"), "--runtime", place, "--cgroup-manager", "cgroupfs", "run", "--rm", "-it", "--network", "none", "--cgroup-parent", f"/{NAME}", *LIMITS]
    with on_pty(inside(*words, "tiny", "sh", "-c", "tty; exit 8")) as (process, master):
        seen = read_terminal(master, seconds=20)
        assert process.wait(10) == 8
    assert "/dev/" in seen


@pytest.fixture
def podman_container(podman):
    result = podman("run", "-d", "--network", "none", "--cgroup-parent", f"/{NAME}", *LIMITS, "--memory", "64m", "--pids-limit", "40", "tiny", "sleep", "1000")
    assert result.returncode == 0, result.stderr
    identity = result.stdout.strip()
    yield identity
    podman("rm", "-f", "-t", "0", identity)


def podman_cgroup(podman, identity, controller, file):
    pid = podman("inspect", "--format", "{{.State.Pid}}", identity).stdout.strip()
    path = next(line.split(":", 2)[2] for line in read(f"/proc/{pid}/cgroup").splitlines() if line.split(":")[1] == controller)
    return read(f"{CGROUP}/{controller}{path}/{file}").strip()


def test_podman_exec_limits_pause_update_stop(podman, podman_container):
    identity = podman_container
    result = podman("exec", identity, "sh", "-c", "echo out; exit 9")
    assert (result.returncode, result.stdout) == (9, "out\n"), result.stderr
    assert podman("exec", identity, "nosuchprogram").returncode == 127
    assert podman_cgroup(podman, identity, "memory", "memory.limit_in_bytes") == str(64 << 20)
    assert podman_cgroup(podman, identity, "pids", "pids.max") == "40"
    assert podman("pause", identity).returncode == 0
    assert podman("inspect", "--format", "{{.State.Status}}", identity).stdout.strip() == "paused"
    assert podman("unpause", identity).returncode == 0
    updated = podman("update", "--memory", "32m", "--memory-swap", "64m", identity)
    assert updated.returncode == 0, updated.stderr
    assert podman_cgroup(podman, identity, "memory", "memory.limit_in_bytes") == str(32 << 20)
    assert podman("kill", identity).returncode == 0
    wait_for(lambda: podman("inspect", "--format", "{{.State.Status}}", identity).stdout.strip() == "exited", "the kill")
    assert podman("inspect", "--format", "{{.State.ExitCode}}", identity).stdout.strip() == "137"


def test_podman_stop_sends_term(podman):
    result = podman("run", "-d", "--network", "none", "--cgroup-parent", f"/{NAME}", *LIMITS, "tiny", "sh", "-c", "trap 'exit 5' TERM; while :; do sleep 0.05; done")
    identity = result.stdout.strip()
    assert podman("stop", "-t", "8", identity).returncode == 0
    assert podman("inspect", "--format", "{{.State.ExitCode}}", identity).stdout.strip() == "5"
    assert podman("rm", identity).returncode == 0


def test_podman_user_namespace(place, podman):
    """In a chroot the kernel makes no user namespaces, so podman gets a mount namespace whose root the peers' tree is."""
    pivot = "cd /opt/peers && mkdir -p mnt && pivot_root . mnt && umount -l /mnt && exec \"$@\""
    words = inside(*store("podman"), "--runtime", place, "--cgroup-manager", "cgroupfs", "run", "--rm", "--network", "none", "--cgroup-parent", f"/{NAME}", *LIMITS,
                   "--uidmap", "0:100000:2000", "--gidmap", "0:100000:2000", "tiny", "sh", "-c",
                   "cat /proc/self/uid_map; id -u; touch /made && stat -c %u /made")[2:]  # fmt: skip
    result = subprocess.run(["unshare", "-m", "--propagation", "private", "sh", "-c", pivot, "sh", *words], stdin=subprocess.DEVNULL, capture_output=True,
                            text=True, timeout=30, check=False)  # fmt: skip
    assert result.stdout.split() == ["0", "100000", "2000", "0", "0"], result.stderr


def test_podman_pod_shares_namespaces(podman):
    first = podman("run", "-d", "--network", "none", "--cgroup-parent", f"/{NAME}", *LIMITS, "tiny", "sleep", "976").stdout.strip()
    result = podman("run", "--rm", "--network", f"container:{first}", "--pid", f"container:{first}", "--cgroup-parent", f"/{NAME}", *LIMITS, "tiny", "ps")
    assert "sleep 976" in result.stdout, result.stderr
    assert podman("rm", "-f", "-t", "0", first).returncode == 0


def test_podman_out_of_memory(podman):
    result = podman("run", "--network", "none", "--name", f"oom-{os.getpid()}", "--cgroup-parent", f"/{NAME}", *LIMITS, "--memory", "12m", "--memory-swap", "12m",
                    "tiny", "sh", "-c", "head -c 100m /dev/zero | tail | cat >/dev/null; exit $?")  # fmt: skip
    assert result.returncode in (137, 0)
    podman("rm", "-f", "-t", "0", f"oom-{os.getpid()}")


@pytest.mark.parametrize("isolation", ["oci"])
def test_buildah_run_steps(place, podman, isolation):
    write(f"{DATA}/context/Dockerfile", "FROM tiny\nRUN echo built > /made && id -u\nUSER 1000\nWORKDIR /work\nRUN cat /made; pwd; id -u\n")
    result = call(*store("buildah"), "bud", "--pull=never", "--isolation", isolation, "--runtime", place, "--network", "host", "--cgroup-parent", f"/{NAME}/build", *LIMITS,
                  "-t", f"made-{os.getpid()}", f"{DATA}/context")  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert "built\n/work\n1000\n" in result.stdout
    assert podman_run(podman, f"made-{os.getpid()}", "cat", "/made").stdout == "built\n"


def test_buildah_failing_step(place, podman):
    write(f"{DATA}/failing/Dockerfile", "FROM tiny\nRUN exit 23\n")
    result = call(*store("buildah"), "bud", "--pull=never", "--isolation", "oci", "--runtime", place, "--network", "host", "--cgroup-parent", f"/{NAME}/build", *LIMITS, f"{DATA}/failing")
    assert result.returncode != 0
    assert "23" in result.stderr
