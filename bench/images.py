#!/usr/bin/env python3
"""Moving images: davit-image against docker 28.5, podman and skopeo, alternating in one run; prints ratios.

  bench/images.py build/release/bin/davit-image [--rounds N] [--image python --image ml ...] [--only pull,load,...]

Needs the peers (shared/peers/up.sh, images.sh). Every engine keeps its data on the peers' journaled ext4 (/opt/peers-data), uses the
same registry there and the same archives, and runs in the peers' cpu group. Each measured step begins with nothing of the image in that
engine and with everything synced. `ml` (python with scipy, pandas and matplotlib, more than 500 MB) is built once by docker.
Two floors are measured beside them: inflating the layers with isa-l on both cores, and `cp -a` of the unpacked layers.
"""
import argparse, glob, json, os, shutil, statistics, subprocess, sys, time

PEER = "/var/tmp/davit-peers/peer"
IMAGES = "/var/tmp/davit-peers/images"
DATA = "/opt/peers-data"
WORK = DATA + "/davit-bench"
REGISTRY = "127.0.0.1:5055"
GROUP = "/sys/fs/cgroup/cpu/peers/cgroup.procs"


def run(*argv, check=True, quiet=True):
    result = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if check and result.returncode != 0:
        sys.exit("failed: %s\n%s" % (" ".join(argv), result.stderr[-2000:]))
    return result.stdout


def peer(*argv, check=True):
    return run(PEER, *argv, check=check)


def timed(argv):
    """Whole process, fork to wait, in milliseconds; and its peak memory in KiB (of the client only, for docker)."""
    start = time.perf_counter()
    pid = os.fork()
    if pid == 0:
        try:
            with open(GROUP, "w") as f:
                f.write(str(os.getpid()))
        except OSError:
            pass
        null = os.open("/dev/null", os.O_RDWR)
        os.dup2(null, 1)
        os.execv(argv[0], argv)
    _, status, usage = os.wait4(pid, 0)
    took = (time.perf_counter() - start) * 1000
    if status != 0:
        sys.exit("failed: " + " ".join(argv))
    return took, usage.ru_maxrss


class Bench:
    def __init__(self, davit, rounds):
        self.davit, self.rounds = os.path.abspath(davit), rounds
        self.memory = 0

    def tool(self, root, *argv):
        return [self.davit, "-q", "--root", os.path.join(WORK, root), *argv]

    def alternate(self, what, contenders):
        """contenders: name -> (prepare(), argv). Prints medians and the ratio of davit to each other."""
        times = {name: [] for name in contenders}
        for _ in range(self.rounds):
            for name, (prepare, argv) in contenders.items():
                prepare()
                os.sync()
                took, memory = timed(argv)
                times[name].append(took)
                if name.startswith("davit"):
                    self.memory = max(self.memory, memory)
        median = {name: statistics.median(values) for name, values in times.items()}
        print("%s" % what)
        for name, values in times.items():
            ratio = "" if name == "davit" else "   davit is %.2f of it" % (median["davit"] / median[name])
            print("  %-22s %8.0f ms  [%.0f .. %.0f]%s" % (name, median[name], min(values), max(values), ratio))
        sys.stdout.flush()
        return median


def fresh(root):
    path = os.path.join(WORK, root)
    shutil.rmtree(path, ignore_errors=True)
    os.makedirs(path)


def docker_forget(name):
    peer("docker", "rmi", "-f", name, "%s/%s" % (REGISTRY, name), check=False)
    # images that are built on it keep its layers
    for other in ("ml", "python", "iperf", "debian"):
        peer("docker", "rmi", "-f", other, "%s/bench/%s" % (REGISTRY, other), check=False)
    peer("docker", "builder", "prune", "-af", check=False)


def registry_files():
    return glob.glob(DATA + "/registry/docker/registry/v2/*")


def empty_registry():
    for path in registry_files():
        shutil.rmtree(path, ignore_errors=True)
    for cache in glob.glob("/opt/peers/var/lib/containers/cache/blob-info-cache-v1*") + glob.glob(DATA + "/containers/storage/cache/blob-info*"):
        os.remove(cache)


def make_ml():
    """python with scipy, pandas and matplotlib: more than 500 MB unpacked."""
    archive = IMAGES + "/ml.tar"
    if os.path.exists(archive):
        return
    peer("docker", "load", "-qi", IMAGES + "/python.tar")
    work = DATA + "/imgwork/ml"
    os.makedirs(work, exist_ok=True)
    with open(work + "/Dockerfile", "w") as f:
        f.write("FROM python\nRUN --mount=type=secret,id=apt,target=/etc/apt/sources.list "
                "--mount=type=secret,id=conf,target=/etc/apt/apt.conf.d/99x apt-get update -qq && apt-get install -y -qq "
                "--no-install-recommends python3-scipy python3-pandas python3-matplotlib >/dev/null && "
                "rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/log/*\n")
    secret = DATA + "/bench-secret"
    os.makedirs(secret, exist_ok=True)
    try:
        lines, uris, suites = [], "", []
        for line in open("/etc/apt/sources.list.d/debian.sources"):
            key, _, value = line.strip().partition(": ")
            if key == "URIs":
                uris = value
            elif key == "Suites":
                suites = value.split()
            elif key == "Components":
                lines += ["deb [trusted=yes] %s %s %s" % (uris, suite, value) for suite in suites]
        open(secret + "/apt", "w").write("\n".join(lines) + "\n")
        open(secret + "/conf", "w").write("".join(open(p).read() for p in glob.glob("/etc/apt/apt.conf.d/99*")))
        peer("docker", "build", "-q", "-t", "ml", "--secret", "id=apt,src=" + secret + "/apt",
             "--secret", "id=conf,src=" + secret + "/conf", work)
    finally:
        shutil.rmtree(secret, ignore_errors=True)
    peer("docker", "save", "-o", archive, "ml")


def floors(bench, layers_root):
    """Milliseconds to inflate all kept gzip blobs with two processes of igzip, and to copy the layers with cp -a (and sync)."""
    blobs = [p for p in glob.glob(layers_root + "/blobs/sha256/*") if open(p, "rb").read(2) == b"\x1f\x8b"]
    blobs.sort(key=os.path.getsize, reverse=True)
    halves = [[], []]
    for blob in blobs:
        min(halves, key=lambda half: sum(map(os.path.getsize, half))).append(blob)
    script = " & ".join("igzip -dc %s >/dev/null" % " ".join(half) for half in halves if half) + " & wait"
    copy = WORK + "/copy"

    def clean():
        shutil.rmtree(copy, ignore_errors=True)
    return {
        "floor: inflate": (lambda: None, ["/bin/bash", "-c", script]),
        "floor: cp -a": (clean, ["/bin/cp", "-a", layers_root + "/layers", copy]),
        "floor: cp -a, synced": (clean, ["/bin/bash", "-c", "cp -a %s/layers %s && sync -f %s" % (layers_root, copy, copy)]),
    }


def bench_image(bench, image, only):
    name = "bench/%s" % image
    full = "%s/%s" % (REGISTRY, name)
    archive = "%s/%s.tar" % (IMAGES, image)
    print("\n== %s: archive of %.0f MB" % (image, os.path.getsize(archive) / 1e6))

    if "load" in only:
        bench.alternate("load of an archive, nothing present", {
            "davit": (lambda: fresh("load"), bench.tool("load", "load", "-i", archive)),
            "docker": (lambda: docker_forget(image), [PEER, "docker", "load", "-qi", archive]),
            "podman": (lambda: peer("podman", "rmi", "-af", check=False), [PEER, "podman", "load", "-qi", archive]),
        })
    fresh("main")
    run(*bench.tool("main", "load", "-i", archive))
    run(*bench.tool("main", "tag", image, full))
    peer("docker", "load", "-qi", archive)
    peer("docker", "tag", image, full)
    peer("podman", "load", "-qi", archive)
    if "save" in only:
        def remove(path):
            if os.path.exists(path):
                os.remove(path)
        bench.alternate("save to a file", {
            "davit": (lambda: remove(WORK + "/s.tar"), bench.tool("main", "save", "-o", WORK + "/s.tar", image)),
            "docker": (lambda: remove(WORK + "/s.tar"), [PEER, "docker", "save", "-o", WORK + "/s.tar", image]),
            "podman": (lambda: remove(WORK + "/s.tar"), [PEER, "podman", "save", "-q", "-o", WORK + "/s.tar", image]),
        })
        remove(WORK + "/s.tar")
    if "push" in only:
        sizes = {}

        previous = [None]

        def prepare(now):
            def step():
                if previous[0]:
                    sizes[previous[0]] = int(run("du", "-sb", DATA + "/registry").split()[0])
                empty_registry()
                previous[0] = now
                if now == "davit":  # a form that was pushed before is remembered; each push must compress anew
                    fresh("push")
                    run(*bench.tool("push", "load", "-i", archive))
                    run(*bench.tool("push", "tag", image, full))
            return step
        bench.alternate("push to an empty registry", {
            "davit": (prepare("davit"), bench.tool("push", "push", full)),
            "docker": (prepare("docker"), [PEER, "docker", "push", "-q", full]),
            "podman": (prepare("podman"), [PEER, "podman", "push", "-q", "--tls-verify=false", "docker.io/library/" + image, full]),
            "skopeo": (prepare("skopeo"), [PEER, "skopeo", "copy", "-q", "--dest-tls-verify=false", "docker-archive:" + archive, "docker://" + full]),
        })
        sizes[previous[0]] = int(run("du", "-sb", DATA + "/registry").split()[0])
        print("  sizes at the registry: " + ", ".join("%s %.1f MB" % (k, v / 1e6) for k, v in sizes.items() if k) +
              "; davit's is %.3f of docker's" % (sizes["davit"] / sizes["docker"]))
    if "pull" in only:
        empty_registry()
        peer("docker", "push", "-q", full)
        fresh("floor")
        run(*bench.tool("floor", "pull", full))
        contenders = {
            "davit": (lambda: fresh("pull"), bench.tool("pull", "pull", full)),
            "davit --drop-blobs": (lambda: fresh("pull"), [bench.davit, "-q", "--drop-blobs", "--root", WORK + "/pull", "pull", full]),
            "docker": (lambda: docker_forget(name), [PEER, "docker", "pull", "-q", full]),
            "podman": (lambda: peer("podman", "rmi", "-af", check=False), [PEER, "podman", "pull", "-q", "--tls-verify=false", full]),
        }
        contenders.update(floors(bench, WORK + "/floor"))
        bench.alternate("pull (gzip by docker), nothing present", contenders)
        kept = int(run("du", "-s", "--block-size=1", WORK + "/floor").split()[0])
        layers = int(run("du", "-s", "--block-size=1", WORK + "/floor/layers").split()[0])
        print("  on disk: %.1f MB, of it layers %.1f MB" % (kept / 1e6, layers / 1e6))
        usage = json.loads(run(*bench.tool("floor", "df")))
        print("  df says %.1f MB: %.4f of what the file system says" % ((usage["LayersBytes"] + usage["BlobsBytes"]) / 1e6,
                                                                       (usage["LayersBytes"] + usage["BlobsBytes"]) / kept))
    if "import" in only:
        rootfs = IMAGES + "/debian-rootfs.tar"
        bench.alternate("import of a root file system of %.0f MB" % (os.path.getsize(rootfs) / 1e6), {
            "davit": (lambda: fresh("import"), bench.tool("import", "import", rootfs, "imp")),
            "docker": (lambda: docker_forget("imp"), [PEER, "docker", "import", rootfs, "imp"]),
        })


def bench_many(bench):
    """tag, inspect and list with 1,000 images in the store: whole processes, of which an empty `gc --help`-like start is the base."""
    fresh("many")
    tar = WORK + "/one.tar"
    os.makedirs(WORK + "/one", exist_ok=True)
    open(WORK + "/one/file", "w").write("x")
    run("tar", "-C", WORK + "/one", "-cf", tar, ".")
    for i in range(1000):
        run(*bench.tool("many", "import", "-m", "image %d" % i, tar, "many:%d" % i))
    times = {}
    for _ in range(max(9, bench.rounds)):
        for what, argv in (("tag", ["tag", "many:500", "other:1"]), ("inspect", ["inspect", "many:500"]), ("list", ["list"])):
            times.setdefault(what, []).append(timed(bench.tool("many", *argv))[0])
    print("\n== 1,000 images: whole processes, opening and sweeping the store included")
    for what, values in times.items():
        print("  %-10s %6.1f ms  [%.1f .. %.1f]" % (what, statistics.median(values), min(values), max(values)))


def bench_files(bench):
    """250,000 small files in one layer against cp -a of the same tree."""
    tree = WORK + "/tree"
    archive = WORK + "/tree.tar"
    if not os.path.exists(archive):
        shutil.rmtree(tree, ignore_errors=True)
        for d in range(1000):
            folder = "%s/%02d/%03d" % (tree, d % 50, d)
            os.makedirs(folder)
            for i in range(250):
                with open("%s/file-%03d" % (folder, i), "w") as f:
                    f.write("%d %d " % (d, i) * 20)
        run("tar", "--sort=name", "-C", tree, "-cf", archive, ".")
    copy = WORK + "/tree-copy"
    print()
    bench.alternate("250,000 files of about 140 bytes in one layer", {
        "davit": (lambda: fresh("files"), bench.tool("files", "import", archive, "files")),
        "cp -a": (lambda: shutil.rmtree(copy, ignore_errors=True), ["/bin/cp", "-a", tree, copy]),
        "cp -a, synced": (lambda: shutil.rmtree(copy, ignore_errors=True), ["/bin/bash", "-c", "cp -a %s %s && sync -f %s" % (tree, copy, copy)]),
        "tar -x": (lambda: fresh("tree-copy"), ["/bin/tar", "-C", copy, "-xf", archive]),
    })


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("davit_image")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--image", action="append")
    parser.add_argument("--only", default="load,save,push,pull,import,many,files")
    options = parser.parse_args()
    only = options.only.split(",")
    if not os.path.exists(PEER):
        sys.exit("the peers are not up: run shared/peers/up.sh and images.sh")
    os.makedirs(WORK, exist_ok=True)
    bench = Bench(options.davit_image, options.rounds)
    try:
        for image in options.image or ["python", "ml"]:
            if image == "ml":
                make_ml()
            if {"load", "save", "push", "pull", "import"} & set(only):
                bench_image(bench, image, only)
        if "many" in only:
            bench_many(bench)
        if "files" in only:
            bench_files(bench)
        print("\npeak memory of davit-image over all of it: %.1f MB" % (bench.memory / 1024))
    finally:
        shutil.rmtree(WORK, ignore_errors=True)


if __name__ == "__main__":
    main()
