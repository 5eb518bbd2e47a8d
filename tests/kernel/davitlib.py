"""Bundles, containers and checks for the end-to-end tests of the OCI runtime's command line.

The runtime under test is $DAVIT_RUNTIME, or the one of build/release or build/dev. To check the tests themselves, let
$DAVIT_RUNTIME name runc or crun and set DAVIT_TEST_PEER=runc|crun: the marks made by differs() are then expected failures.
"""

import contextlib
import copy
import ctypes
import glob
import json
import os
import pty
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time

import pytest

HERE = os.path.dirname(os.path.abspath(__file__))
PROJECT = os.path.dirname(os.path.dirname(HERE))
PEER = os.environ.get("DAVIT_TEST_PEER", "")
CGROUP = "/sys/fs/cgroup"
V1 = os.path.exists(CGROUP + "/memory/cgroup.procs")
PARENT = f"davit-test-{os.getpid()}"  # the cgroup that holds all cgroups of this test process
LIBC = ctypes.CDLL(None, use_errno=True)

DEFAULT_CAPABILITIES = [
    "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FSETID", "CAP_FOWNER", "CAP_MKNOD", "CAP_NET_RAW", "CAP_SETGID", "CAP_SETUID",
    "CAP_SETFCAP", "CAP_SETPCAP", "CAP_NET_BIND_SERVICE", "CAP_SYS_CHROOT", "CAP_KILL", "CAP_AUDIT_WRITE",
]  # fmt: skip
CAPABILITIES = [
    "CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "SETPCAP", "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE", "NET_BROADCAST", "NET_ADMIN", "NET_RAW", "IPC_LOCK", "IPC_OWNER", "SYS_MODULE", "SYS_RAWIO", "SYS_CHROOT",
    "SYS_PTRACE", "SYS_PACCT", "SYS_ADMIN", "SYS_BOOT", "SYS_NICE", "SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "MKNOD", "LEASE",
    "AUDIT_WRITE", "AUDIT_CONTROL", "SETFCAP", "MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG", "WAKE_ALARM", "BLOCK_SUSPEND", "AUDIT_READ",
    "PERFMON", "BPF", "CHECKPOINT_RESTORE",
]  # fmt: skip
MASKED = [
    "/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list",
    "/proc/timer_stats", "/proc/sched_debug", "/proc/scsi", "/sys/firmware", "/sys/devices/virtual/powercap",
]  # fmt: skip
READONLY = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"]
APPLETS = (
    "sh cat echo ls id sleep true false env mount umount grep head tail stat mkdir mknod rm touch test ln chmod chown pwd dd "
    "hostname dnsdomainname ps kill ip stty tty wc readlink cp mv tr cut sed sort od df date nproc taskset ionice nice unshare nc "
    "sysctl seq uname timeout mkfifo printenv find expr awk ping nsenter [ killall usleep dmesg sync ulimit tee yes printf rmdir"
).split()


def find_runtime():
    """The path of the runtime under test, or None."""
    named = os.environ.get("DAVIT_RUNTIME")
    candidates = [named] if named else [f"{PROJECT}/build/{preset}/bin/davit-runtime" for preset in ("release", "dev")]
    return next((path for path in candidates if path and os.access(path, os.X_OK)), None)


RUNTIME = find_runtime()


def is_sanitized():
    """True for a build with AddressSanitizer: it needs more memory and address space than some tests leave it."""
    if RUNTIME is None:
        return False
    with open(RUNTIME, "rb") as file:
        return b"__asan_init" in file.read()


SANITIZED = is_sanitized()


def differs(**reasons):
    """differs(runc="why", crun="why"): the peer is known to do this otherwise; Davit is meant to pass."""
    reason = reasons.get(PEER, "")
    return pytest.mark.xfail(bool(reason), reason=f"{PEER}: {reason}", strict=False)


def why_not_here():
    """Why no test of this folder can run here, or None."""
    if RUNTIME is None:
        return "no davit-runtime: set DAVIT_RUNTIME or build the release or dev preset"
    if os.geteuid() != 0:
        return "needs root"
    if find_busybox() is None:
        return "needs busybox-static"
    return None


def find_busybox():
    for path in ("/bin/busybox", "/usr/bin/busybox"):
        if os.path.exists(path) and subprocess.run(["ldd", path], capture_output=True, check=False).returncode != 0:
            return path
    return None


# ---------------------------------------------------------------------------------------------------------- small tools


def wait_for(check, what, seconds=10.0):
    """Polls until check() is true and returns its value."""
    end = time.monotonic() + seconds
    while True:
        value = check()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"waited {seconds:g} s for {what}")
        time.sleep(0.005)


def read(path, default=None):
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        if default is None:
            raise
        return default


def write(path, text, mode=None):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    if mode is not None:
        os.chmod(path, mode)
    return path


def mount(source, target, kind=None, flags=0, data=None):
    """mount(2) on the host, for a test that prepares a source file system; undone by the sandbox."""
    encode = lambda text: None if text is None else text.encode()  # noqa: E731
    if LIBC.mount(encode(source), encode(target), encode(kind), flags, encode(data)) != 0:
        raise OSError(ctypes.get_errno(), f"mount {target}: {os.strerror(ctypes.get_errno())}")


def umount(target):
    return LIBC.umount2(target.encode(), 2) == 0  # MNT_DETACH


def alive(pid):
    """True while pid runs: a zombie counts as gone."""
    text = read(f"/proc/{pid}/stat", "")
    return bool(text) and text.rpartition(")")[2].split()[0] not in "ZX"


def capability_mask(*names):
    return sum(1 << CAPABILITIES.index(name.removeprefix("CAP_")) for name in names)


def bounding_set():
    """The capabilities this machine grants at all."""
    return int(status_field("/proc/self/status", "CapBnd"), 16)


def status_field(path_or_text, field):
    text = read(path_or_text) if path_or_text.startswith("/") else path_or_text
    return next(line.split(":", 1)[1].strip() for line in text.splitlines() if line.startswith(field + ":"))


def mounts_below(prefix):
    return [line.split()[4] for line in read("/proc/self/mountinfo").splitlines() if line.split()[4].startswith(prefix)]


def processes_naming(text):
    """Processes other than this one whose command line contains text."""
    found = []
    for path in glob.glob("/proc/[0-9]*/cmdline"):
        pid = int(path.split("/")[2])
        if pid != os.getpid() and text in read(path, "").replace("\0", " ") and alive(pid):
            found.append(pid)
    return found


def cgroup_directories(path):
    return [found for found in glob.glob(f"{CGROUP}/*/{path.strip('/')}") if os.path.isdir(found)]


def remove_cgroup(directory):
    for below, _, _ in os.walk(directory, topdown=False):
        with contextlib.suppress(OSError):
            os.rmdir(below)


def empty_cgroup(directory):
    """Kills what still runs in a cgroup of ours."""
    for below, _, _ in os.walk(directory):
        for pid in read(below + "/cgroup.procs", "").split():
            with contextlib.suppress(OSError):
                os.kill(int(pid), signal.SIGKILL)
        with contextlib.suppress(AssertionError):
            wait_for(lambda path=below: not read(path + "/cgroup.procs", ""), "", 1)


class ConsoleSocket:
    """The unix socket that a runtime sends a pseudo-terminal's master to (--console-socket)."""

    def __init__(self, directory):
        self.path = f"{directory}/console-{random.getrandbits(32):x}.sock"
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.bind(self.path)
        self.socket.listen(4)
        self.socket.settimeout(10)
        self.master = -1

    def accept(self):
        """Receives one master; returns it. It is closed with this object."""
        connection, _ = self.socket.accept()
        with connection:
            connection.settimeout(10)
            _, descriptors, _, _ = socket.recv_fds(connection, 4096, 1)
        self.master = descriptors[0]
        return self.master

    def read_until(self, text, seconds=10):
        return read_terminal(self.master, text, seconds)

    def close(self):
        self.socket.close()
        if self.master >= 0:
            os.close(self.master)
            self.master = -1
        os.unlink(self.path)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def read_terminal(master, text=None, seconds=10):
    """Reads a pty master until text was seen (or, without text, until the other side is closed)."""
    seen, end = "", time.monotonic() + seconds
    os.set_blocking(master, False)
    while time.monotonic() < end and (text is None or text not in seen):
        try:
            block = os.read(master, 4096)
            if not block:
                break
            seen += block.decode(errors="replace")
        except BlockingIOError:
            time.sleep(0.005)
        except OSError:  # EIO: no process holds the slave any more
            break
    if text is not None and text not in seen:
        raise AssertionError(f"the terminal showed {seen!r}, not {text!r}")
    return seen


# -------------------------------------------------------------------------------------------------------------- bundles


def default_config():
    """A config.json like the one dockerd makes for `docker run`, without its seccomp profile."""
    return {
        "ociVersion": "1.2.0",
        "process": {
            "user": {"uid": 0, "gid": 0},
            "args": ["/bin/true"],
            "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
            "cwd": "/",
            "capabilities": {name: list(DEFAULT_CAPABILITIES) for name in ("bounding", "effective", "permitted")},
            "oomScoreAdj": 0,
        },
        "root": {"path": "rootfs"},
        "hostname": "davit-test",
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc", "options": ["nosuid", "noexec", "nodev"]},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs",
             "options": ["nosuid", "strictatime", "mode=755", "size=65536k"]},
            {"destination": "/dev/pts", "type": "devpts", "source": "devpts",
             "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]},
            {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["nosuid", "noexec", "nodev", "ro"]},
            {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": ["ro", "nosuid", "noexec", "nodev"]},
            {"destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue", "options": ["nosuid", "noexec", "nodev"]},
            {"destination": "/dev/shm", "type": "tmpfs", "source": "shm",
             "options": ["nosuid", "noexec", "nodev", "mode=1777", "size=67108864"]},
        ],
        "linux": {
            "resources": {"devices": [
                {"allow": False, "access": "rwm"},
                {"allow": True, "type": "c", "major": 1, "minor": 5, "access": "rwm"},
                {"allow": True, "type": "c", "major": 1, "minor": 3, "access": "rwm"},
                {"allow": True, "type": "c", "major": 1, "minor": 9, "access": "rwm"},
                {"allow": True, "type": "c", "major": 1, "minor": 8, "access": "rwm"},
                {"allow": True, "type": "c", "major": 5, "minor": 0, "access": "rwm"},
                {"allow": True, "type": "c", "major": 5, "minor": 1, "access": "rwm"},
            ]},
            "namespaces": [{"type": kind} for kind in ("mount", "network", "uts", "pid", "ipc", "cgroup")],
            "maskedPaths": list(MASKED),
            "readonlyPaths": list(READONLY),
        },
    }  # fmt: skip


class Bundle:
    """One container's bundle. Change `config` before the first command; every command writes config.json when it changed."""

    def __init__(self, sandbox, copy_busybox=False):
        self.sandbox = sandbox
        self.id = f"t{os.getpid()}-{random.getrandbits(40):x}"
        self.path = f"{sandbox.path}/{self.id}"
        self.rootfs = f"{self.path}/rootfs"
        self.root = sandbox.root
        self.config = copy.deepcopy(default_config())
        self.cgroups_path = f"/{PARENT}/{self.id}"
        self.config["linux"]["cgroupsPath"] = self.cgroups_path
        self.written = None
        sandbox.fill_rootfs(self.rootfs, copy_busybox)

    # ---- editing

    @property
    def process(self):
        return self.config["process"]

    @property
    def linux(self):
        return self.config["linux"]

    def args(self, *words):
        self.process["args"] = list(words)
        return self

    def sh(self, script):
        return self.args("/bin/sh", "-c", script)

    def mount(self, destination, kind=None, source=None, options=(), **more):
        entry = {"destination": destination, **more}
        if kind is not None:
            entry["type"] = kind
        if source is not None:
            entry["source"] = source
        if options:
            entry["options"] = list(options)
        self.config["mounts"].append(entry)
        return self

    def drop_mount(self, destination):
        self.config["mounts"] = [entry for entry in self.config["mounts"] if entry["destination"] != destination]
        return self

    def namespace(self, kind, path=None):
        """Sets (a new one, or the one at path) or adds a namespace."""
        self.no_namespace(kind)
        self.linux["namespaces"].append({"type": kind, **({"path": path} if path else {})})
        return self

    def no_namespace(self, kind):
        self.linux["namespaces"] = [entry for entry in self.linux["namespaces"] if entry["type"] != kind]
        return self

    def user_namespace(self, host=100000, size=65536):
        """A user namespace, with the root file system owned by its root."""
        self.namespace("user")
        self.linux["uidMappings"] = self.linux["gidMappings"] = [{"containerID": 0, "hostID": host, "size": size}]
        for directory, names, files in os.walk(self.rootfs):
            for name in [".", *names, *files]:
                os.lchown(os.path.join(directory, name), host, host)
        return self

    def resources(self, **fields):
        self.linux["resources"].update(fields)
        return self

    def capabilities(self, **sets):
        self.process["capabilities"] = {name: list(values) for name, values in sets.items()}
        return self

    def save(self):
        text = self.config if isinstance(self.config, str) else json.dumps(self.config)
        if text != self.written:
            write(f"{self.path}/config.json", text)
            self.written = text

    # ---- commands

    def command(self, *words, flags=()):
        return [RUNTIME, "--root", self.root, *flags, *words]

    def call(self, *words, flags=(), input=None, timeout=20, **more):
        """Runs a command of the runtime that does not start a container; text output is captured."""
        if input is None:
            more.setdefault("stdin", subprocess.DEVNULL)
        else:
            more["input"] = input
        return subprocess.run(self.command(*words, flags=flags), capture_output=True, text=True, errors="replace", timeout=timeout,
                              check=False, **more)  # fmt: skip

    def run(self, *flags, input=None, timeout=20, before=(), **more):
        """`run` in the foreground. before: global flags."""
        self.save()
        return self.call("run", "--bundle", self.path, *flags, self.id, flags=before, input=input, timeout=timeout, **more)

    def must(self, *flags, **more):
        """`run` that has to succeed; returns what the container printed, stripped."""
        result = self.run(*flags, **more)
        assert result.returncode == 0, f"exit code {result.returncode}: {result.stderr}{result.stdout}"
        return result.stdout.strip()

    def create(self, *flags, before=(), timeout=20, **more):
        """`create`; the container's output goes to the files out and err of the bundle."""
        self.save()
        return self.detached("create", "--bundle", self.path, *flags, self.id, before=before, timeout=timeout, **more)

    def detached(self, *words, before=(), timeout=20, out="out", **more):
        """A command whose container outlives it, so its output cannot be a pipe that we read to its end."""
        with open(f"{self.path}/{out}", "w+b") as stdout, open(f"{self.path}/{out}.err", "w+b") as stderr:
            more.setdefault("stdin", subprocess.DEVNULL)
            result = subprocess.run(self.command(*words, flags=before), stdout=stdout, stderr=stderr, timeout=timeout, check=False, **more)
            stderr.seek(0)
            stdout.seek(0)
            return subprocess.CompletedProcess(words, result.returncode, stdout.read().decode(errors="replace"),
                                               stderr.read().decode(errors="replace"))  # fmt: skip

    def up(self, *flags, **more):
        """create and start; the container must be running then."""
        result = self.create(*flags, **more)
        assert result.returncode == 0, result.stderr
        result = self.call("start", self.id)
        assert result.returncode == 0, result.stderr
        return self

    def output(self, text=None, seconds=10):
        """What a created container has printed; waits until it contains text."""
        if text is None:
            return read(f"{self.path}/out")
        return wait_for(lambda: (lambda now: now if text in now else None)(read(f"{self.path}/out")), f"{text!r} in the output", seconds)

    def state(self):
        result = self.call("state", self.id)
        assert result.returncode == 0, result.stderr
        return json.loads(result.stdout)

    def status(self):
        return self.state()["status"]

    def pid(self):
        return self.state()["pid"]

    def wait_stopped(self, seconds=10):
        wait_for(lambda: self.status() == "stopped", f"{self.id} to stop", seconds)

    def exec(self, *words, **more):
        return self.call("exec", self.id, *words, **more)

    def exec_with(self, flags, *words, **more):
        return self.call("exec", *flags, self.id, *words, **more)

    def delete(self, *flags):
        return self.call("delete", *flags, self.id)

    def stop(self):
        result = self.delete("--force")
        assert result.returncode == 0, result.stderr

    # ---- looking

    def cgroup(self, controller, file=""):
        return f"{CGROUP}/{controller}{self.cgroups_path}/{file}".rstrip("/")

    def knob(self, controller, file):
        return read(self.cgroup(controller, file)).strip()

    def leftovers(self):
        """What of this container is still on the machine: [] when it is gone altogether."""
        found = [f"state {self.id}"] if os.path.exists(f"{self.root}/{self.id}") else []
        found += [f"cgroup {path}" for path in cgroup_directories(self.cgroups_path)]
        found += [f"mount {path}" for path in mounts_below(self.path + "/rootfs")]
        return found + [f"process {pid}: {read(f'/proc/{pid}/cmdline', '')}" for pid in processes_naming(self.id)]

    def assert_gone(self):
        """Asserts that nothing is left (a process that is just exiting gets a moment)."""
        with contextlib.suppress(AssertionError):
            wait_for(lambda: not self.leftovers(), "", 2)
        assert self.leftovers() == []

    def cleanup(self):
        """Removes everything, and returns what the runtime's own delete --force left behind."""
        for _ in range(2):
            if os.path.exists(f"{self.root}/{self.id}"):
                self.call("delete", "--force", self.id)
        with contextlib.suppress(AssertionError):
            wait_for(lambda: not self.leftovers(), "", 2)
        left = self.leftovers()
        for directory in cgroup_directories(self.cgroups_path):
            empty_cgroup(directory)
            remove_cgroup(directory)
        for path in reversed(mounts_below(self.path)):
            umount(path)
        shutil.rmtree(self.path, ignore_errors=True)
        shutil.rmtree(f"{self.root}/{self.id}", ignore_errors=True)
        return left


class Sandbox:
    """One test process's directory: the template of root file systems, the state directory, and the bundles."""

    def __init__(self):
        self.path = tempfile.mkdtemp(prefix=PARENT + "-", dir=os.environ.get("DAVIT_TEST_DIR", "/tmp"))
        os.chmod(self.path, 0o755)
        self.root = f"{self.path}/state"
        self.template = f"{self.path}/template"
        os.mkdir(self.root, 0o711)
        self.has_probe = False
        self.make_template()

    def make_template(self):
        for name in ("bin", "etc", "proc", "sys", "dev", "tmp", "root", "run", "var"):
            os.makedirs(f"{self.template}/{name}")
        shutil.copy(find_busybox(), f"{self.template}/bin/busybox")
        for name in APPLETS:
            os.symlink("busybox", f"{self.template}/bin/{name}")
        write(f"{self.template}/etc/passwd", "root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000:user:/home/user:/bin/sh\n")
        write(f"{self.template}/etc/group", "root:x:0:\nuser:x:1000:\n")
        compiler = shutil.which("cc") or shutil.which("gcc")
        if compiler:
            made = subprocess.run([compiler, "-O1", "-static", "-o", f"{self.template}/bin/probe", f"{HERE}/probe.c"],
                                  capture_output=True, check=False)  # fmt: skip
            self.has_probe = made.returncode == 0

    def fill_rootfs(self, target, copy_files):
        """Hard links where the files are shared by all bundles; copies where a test changes owners or contents."""
        for directory, names, files in os.walk(self.template):
            there = target + directory[len(self.template):]
            os.makedirs(there, exist_ok=True)
            for name in files:
                if copy_files:
                    shutil.copy2(f"{directory}/{name}", f"{there}/{name}", follow_symlinks=False)
                else:
                    os.link(f"{directory}/{name}", f"{there}/{name}", follow_symlinks=False)

    def leftovers(self):
        found = [f"state {name}" for name in os.listdir(self.root) if name[0] not in ".~"]  # not ids: caches of the runtime
        found += [f"mount {path}" for path in mounts_below(self.path)]
        found += [f"process {pid}" for pid in processes_naming(self.path)]
        for top in cgroup_directories(PARENT):
            found += [f"cgroup {path}" for path, _, _ in os.walk(top) if path != top]
        return found

    def close(self):
        for path in reversed(mounts_below(self.path)):
            umount(path)
        for directory in cgroup_directories(PARENT):
            empty_cgroup(directory)
            remove_cgroup(directory)
        shutil.rmtree(self.path, ignore_errors=True)


@contextlib.contextmanager
def on_pty(command, size=(24, 80)):
    """Starts a command on a new pseudo-terminal; yields (process, master)."""
    import fcntl
    import struct
    import termios

    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", *size, 0, 0))

    def take_terminal():
        os.setsid()
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)

    process = subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave, preexec_fn=take_terminal)
    os.close(slave)
    try:
        yield process, master
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        os.close(master)
