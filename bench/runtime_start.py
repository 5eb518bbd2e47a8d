#!/usr/bin/env python3
"""run and exec of a busybox bundle: davit-runtime against crun and runc, alternating in one run; prints ratios.

  bench/runtime_start.py DAVIT_RUNTIME [--rounds N] [--peer NAME=PATH ...]

The bundle has pid, mount, uts, ipc, cgroup and network namespaces, memory, cpu and pids limits and Docker's default
seccomp profile (src/oci/testdata). crun refuses hybrid cgroup hosts: run this inside the peers' chroot (bench/peers.sh),
where the v2 mount is hidden, so that all three see the same layout. Times are whole processes, posix_spawn to wait.
"""
import argparse, json, os, shutil, statistics, sys, tempfile, time

HERE = os.path.dirname(os.path.abspath(__file__))


def make_bundle(directory, profile):
    rootfs = os.path.join(directory, "rootfs")
    for name in ("bin", "proc", "sys", "dev", "etc", "tmp"):
        os.makedirs(os.path.join(rootfs, name))
    busybox = next(p for p in ("/bin/busybox", "/usr/bin/busybox") if os.path.exists(p))
    shutil.copy(busybox, os.path.join(rootfs, "bin/busybox"))
    for name in ("sh", "true", "sleep"):
        os.symlink("busybox", os.path.join(rootfs, "bin", name))
    caps = ["CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FSETID", "CAP_FOWNER", "CAP_MKNOD", "CAP_NET_RAW", "CAP_SETGID",
            "CAP_SETUID", "CAP_SETFCAP", "CAP_SETPCAP", "CAP_NET_BIND_SERVICE", "CAP_SYS_CHROOT", "CAP_KILL", "CAP_AUDIT_WRITE"]
    with open(profile) as f:
        seccomp = json.load(f)["linux"]["seccomp"]
    mount = lambda d, t, s, *o: {"destination": d, "type": t, "source": s, "options": list(o)}
    return {
        "ociVersion": "1.0.2", "hostname": "bench", "root": {"path": "rootfs", "readonly": True},
        "process": {"user": {"uid": 0, "gid": 0}, "args": ["true"], "cwd": "/", "env": ["PATH=/bin"],
                    "capabilities": {k: caps for k in ("bounding", "effective", "permitted")}},
        "mounts": [mount("/proc", "proc", "proc", "nosuid", "noexec", "nodev"),
                   mount("/dev", "tmpfs", "tmpfs", "nosuid", "strictatime", "mode=755", "size=65536k"),
                   mount("/dev/pts", "devpts", "devpts", "nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"),
                   mount("/dev/shm", "tmpfs", "shm", "nosuid", "noexec", "nodev", "mode=1777", "size=65536k"),
                   mount("/dev/mqueue", "mqueue", "mqueue", "nosuid", "noexec", "nodev"),
                   mount("/sys", "sysfs", "sysfs", "nosuid", "noexec", "nodev", "ro"),
                   mount("/sys/fs/cgroup", "cgroup", "cgroup", "nosuid", "noexec", "nodev", "ro")],
        "linux": {"cgroupsPath": "/davit-bench/x", "seccomp": seccomp,
                  "namespaces": [{"type": t} for t in ("pid", "network", "ipc", "uts", "mount", "cgroup")],
                  "resources": {"memory": {"limit": 64 << 20}, "pids": {"limit": 100}, "cpu": {"shares": 512},
                                "devices": [{"allow": False, "access": "rwm"}]},
                  "maskedPaths": ["/proc/acpi", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list",
                                  "/proc/timer_stats", "/proc/sched_debug", "/proc/scsi", "/sys/firmware"],
                  "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"]}}


def timed(argv):
    start = time.perf_counter()
    pid = os.posix_spawn(argv[0], argv, {"PATH": "/usr/bin:/bin"})
    _, status = os.waitpid(pid, 0)
    took = time.perf_counter() - start
    if status != 0:
        sys.exit("failed: %s (status %s)" % (" ".join(argv), os.waitstatus_to_exitcode(status)))
    return took * 1000


def report(what, times, peer_first):
    for name, values in times.items():
        q = statistics.quantiles(values, n=20)
        print("%-5s %-8s median %6.2f ms   p5 %6.2f   p95 %6.2f   n=%d" % (what, name, statistics.median(values), q[0], q[18], len(values)))
    ours = statistics.median(times["davit"])
    for name in times:
        if name != "davit":
            print("%-5s davit/%s = %.2f" % (what, name, ours / statistics.median(times[name])))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("davit")
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--peer", action="append", default=[])
    parser.add_argument("--profile", default=os.path.join(HERE, "../src/oci/testdata/docker.json"))
    options = parser.parse_args()
    runtimes = {"davit": options.davit}
    for peer in options.peer or ["crun=/usr/bin/crun", "runc=/usr/sbin/runc"]:
        name, path = peer.split("=", 1)
        if os.path.exists(path):
            runtimes[name] = path
        else:
            print("no %s at %s: left out" % (name, path))
    work = tempfile.mkdtemp(prefix="davit-bench-")
    config = make_bundle(work, options.profile)

    def write(name):
        config["linux"]["cgroupsPath"] = "/davit-bench/" + name
        with open(work + "/config.json", "w") as f:
            json.dump(config, f)
    try:
        times = {name: [] for name in runtimes}
        for round_number in range(-3, options.rounds):  # the first three warm caches
            for name, path in runtimes.items():
                write(name)
                took = timed([path, "--root", work + "/state-" + name, "run", "-b", work, "bench-" + name])
                if round_number >= 0:
                    times[name].append(took)
        report("run", times, "crun")

        config["process"]["args"] = ["sleep", "1000"]
        for name, path in runtimes.items():
            write(name)
            timed([path, "--root", work + "/state-" + name, "run", "-d", "-b", work, "bench-" + name])
        times = {name: [] for name in runtimes}
        for round_number in range(-3, options.rounds):
            for name, path in runtimes.items():
                took = timed([path, "--root", work + "/state-" + name, "exec", "bench-" + name, "true"])
                if round_number >= 0:
                    times[name].append(took)
        report("exec", times, "crun")
    finally:
        for name, path in runtimes.items():
            os.system("%s --root %s delete -f bench-%s >/dev/null 2>&1" % (path, work + "/state-" + name, name))
        for hierarchy in os.listdir("/sys/fs/cgroup"):
            try:
                os.rmdir("/sys/fs/cgroup/%s/davit-bench" % hierarchy)
            except OSError:
                pass
        shutil.rmtree(work, ignore_errors=True)


main()
