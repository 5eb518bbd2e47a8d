"""What the benchmarks of real containers share: a busybox bundle, its removal, and the machine's load."""

import glob
import json
import os
import shutil
import subprocess
import tempfile
import time


class Bench:
    """One root file system and state directory for many containers; a context manager."""

    def __init__(self, runtime):
        self.runtime = os.path.abspath(runtime)
        self.path = tempfile.mkdtemp(prefix="davit-bench-", dir="/var/tmp")
        self.root = f"/run/{os.path.basename(self.path)}"  # as in real use, on a tmpfs
        self.group = f"/davit-bench-{os.getpid()}"
        self.rootfs = f"{self.path}/rootfs"
        for name in ("bin", "proc", "sys", "dev", "etc", "tmp"):
            os.makedirs(f"{self.rootfs}/{name}")
        shutil.copy(next(p for p in ("/bin/busybox", "/usr/bin/busybox") if os.path.exists(p)), f"{self.rootfs}/bin/busybox")
        for name in ("sh", "true", "sleep", "awk"):
            os.symlink("busybox", f"{self.rootfs}/bin/{name}")

    def __enter__(self):
        print("load of the machine: %.1f %.1f %.1f (%d cores)" % (*os.getloadavg(), os.cpu_count()))
        return self

    def __exit__(self, *_):
        for name in os.listdir(self.root) if os.path.isdir(self.root) else []:
            if name[0] not in "~.":
                self.call("delete", "--force", name, check=False)
        self.wait_for_monitors()
        for hierarchy in os.listdir("/sys/fs/cgroup"):
            try:
                os.rmdir(f"/sys/fs/cgroup/{hierarchy}{self.group}")
            except OSError:
                pass
        shutil.rmtree(self.root, ignore_errors=True)
        shutil.rmtree(self.path, ignore_errors=True)

    def wait_for_monitors(self):
        """They write their exit records, for which the directory must be there, and end."""
        end = time.monotonic() + 10
        while time.monotonic() < end and glob.glob(f"{self.path}/*/control.sock"):
            time.sleep(0.02)

    def bundle(self, name, *args):
        """Writes a bundle with Docker's mounts and limits; returns its directory."""
        directory = f"{self.path}/{name}"
        os.makedirs(directory, exist_ok=True)
        mount = lambda d, t, s, *o: {"destination": d, "type": t, "source": s, "options": list(o)}  # noqa: E731
        config = {
            "ociVersion": "1.0.2", "hostname": "bench", "root": {"path": self.rootfs, "readonly": True},
            "process": {"user": {"uid": 0, "gid": 0}, "args": list(args), "cwd": "/", "env": ["PATH=/bin"]},
            "mounts": [mount("/proc", "proc", "proc", "nosuid", "noexec", "nodev"),
                       mount("/dev", "tmpfs", "tmpfs", "nosuid", "strictatime", "mode=755", "size=65536k"),
                       mount("/sys", "sysfs", "sysfs", "nosuid", "noexec", "nodev", "ro")],
            "linux": {"cgroupsPath": f"{self.group}/{name}",
                      "namespaces": [{"type": t} for t in ("pid", "network", "ipc", "uts", "mount", "cgroup")],
                      "resources": {"memory": {"limit": 256 << 20}, "pids": {"limit": 100}, "cpu": {"shares": 512},
                                    "devices": [{"allow": False, "access": "rwm"}]}},
        }  # fmt: skip
        with open(f"{directory}/config.json", "w", encoding="utf-8") as file:
            json.dump(config, file)
        return directory

    def command(self, *words):
        return [self.runtime, "--root", self.root, *words]

    def call(self, *words, check=True):
        return subprocess.run(self.command(*words), stdin=subprocess.DEVNULL, check=check, capture_output=True, text=True)
