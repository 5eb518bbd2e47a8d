#!/usr/bin/env python3
"""Boots a Debian kernel in a virtual machine that has cgroup v2 only, and runs pytest files with davit-runtime in it.

usage: run_vm.py RUNTIME CACHE-FOLDER [FILE [PYTEST-ARGUMENT...]]
Without FILE: every tests/vm/guest/test_*.py. The kernel comes from Debian's package, downloaded by apt and unpacked into the
cache folder, not installed. It is emulated; DAVIT_VM_ACCEL=kvm is faster where KVM works. Exit 77: cannot run here, with the reason.
"""

import glob
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile

from image import PYTHON, Image

HERE = os.path.dirname(os.path.abspath(__file__))
PROJECT = os.path.dirname(os.path.dirname(HERE))
MODULES = ("overlay", "null_blk", "veth")
PROGRAMS = ("cgroup_kernel_test",)  # GoogleTest programs that look at the machine's cgroups
TIME_LIMIT = 300  # seconds, boot included; the emulated boot takes about 10


def skip(reason):
    print(f"SKIPPED vm: {reason}")
    sys.exit(77)


def download_kernel(cache):
    """Debian's kernel for virtual machines, unpacked; its folder."""
    meta = f"linux-image-cloud-{ {'x86_64': 'amd64'}[platform.machine()] }"
    depends = subprocess.run(["apt-cache", "depends", meta], capture_output=True, text=True, check=False).stdout
    match = re.search(r"Depends: (linux-image-\S+)", depends)
    if not match:
        existing = glob.glob(f"{cache}/linux-image-*/boot/vmlinuz-*")
        return os.path.dirname(os.path.dirname(existing[0])) if existing else skip(f"apt knows no {meta}")
    folder = f"{cache}/{match.group(1)}"
    if not glob.glob(f"{folder}/boot/vmlinuz-*"):
        with tempfile.TemporaryDirectory(dir=cache) as work:
            get = subprocess.run(["apt-get", "download", "-qq", match.group(1)], cwd=work, capture_output=True, text=True, check=False)
            packages = glob.glob(f"{work}/*.deb")
            if get.returncode != 0 or not packages:
                skip(f"apt-get download {match.group(1)}: {get.stderr.strip().splitlines()[-1:]}")
            subprocess.run(["dpkg-deb", "-x", packages[0], f"{work}/unpacked"], check=True)
            shutil.rmtree(folder, ignore_errors=True)
            os.rename(f"{work}/unpacked", folder)
    return folder


def module_files(kernel):
    """The modules and those that they need, each after what it needs."""
    found = {}

    def visit(name):
        # A file's name may have - where the module's has _.
        pattern = re.sub("[-_]", "[-_]", name)
        for file in glob.glob(f"{kernel}/**/{pattern}.ko", recursive=True):
            with open(file, "rb") as module:
                needs = re.search(rb"\0depends=([^\0]*)\0", module.read())
            for needed in (needs.group(1).decode().split(",") if needs and needs.group(1) else []):
                visit(needed)
            found.setdefault(name, file)

    for name in MODULES:
        visit(name)
    return list(found.values())


def make_image(runtime, kernel, tests, path):
    image = Image()
    busybox = next((file for file in ("/bin/busybox", "/usr/bin/busybox") if os.path.exists(file)), None)
    if busybox is None or subprocess.run(["ldd", busybox], capture_output=True, check=False).returncode == 0:
        skip("needs busybox-static")
    image.add_file(busybox, "/bin/busybox")
    image.add_python()
    # Enough for "is busybox static?", which the kernel tier asks of its machine.
    image.add_content("/usr/bin/ldd", b"#!/bin/sh\nexit 1\n")
    for number, module in enumerate(module_files(kernel)):
        image.add_file(module, f"/modules/{number:02}-{os.path.basename(module)}")
    for name in ("davit-runtime", "davit-init", *PROGRAMS):
        program = os.path.join(os.path.dirname(runtime), name)
        if os.path.exists(program):
            image.add_file(program, f"/davit/bin/{name}")
    for folder in ("tools", "tests/kernel", "tests/vm/guest"):
        for file in glob.glob(f"{PROJECT}/{folder}/*"):
            if os.path.isfile(file):
                image.add_file(file, f"/davit/{folder}/{os.path.basename(file)}")
    image.add_content("/davit/list", "".join(f"{line}\n" for line in tests).encode(), 0o644)
    image.add_content("/etc/passwd", b"root:x:0:0:root:/root:/bin/sh\n", 0o644)
    image.add_content("/etc/group", b"root:x:0:\n", 0o644)
    image.add_file(f"{HERE}/guest_init.sh", "/init")
    image.entries["init"] = (image.entries["init"][0] | 0o755, image.entries["init"][1])
    image.write(path)


def boot(kernel, image, results):
    """Runs the machine until it powers off; returns what its console said."""
    # Emulated unless asked for otherwise: the tests take seconds either way, and a KVM nested in another virtual machine
    # was seen to hang in its first instructions.
    command = [
        "qemu-system-x86_64", "-nodefaults", "-display", "none", "-no-reboot", "-m", "1536", "-smp", "2", "-cpu", "max",
        "-accel", os.environ.get("DAVIT_VM_ACCEL", "tcg"), "-kernel", glob.glob(f"{kernel}/boot/vmlinuz-*")[0],
        "-initrd", image, "-append", "console=ttyS0 quiet loglevel=4 panic=-1", "-serial", "stdio", "-serial", f"file:{results}",
    ]  # fmt: skip
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace",
                              timeout=TIME_LIMIT, check=False)  # fmt: skip
        return done.stdout + done.stderr
    except subprocess.TimeoutExpired as expired:
        return (expired.stdout or b"").decode(errors="replace") + f"\nstopped after {TIME_LIMIT} s"


def main():
    if len(sys.argv) < 3:
        print(__doc__, file=sys.stderr)
        return 2
    runtime, cache = os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2])
    if platform.machine() != "x86_64":
        skip("written for x86_64")
    if not shutil.which("qemu-system-x86_64"):
        skip("needs qemu-system-x86 (./check installs it)")
    if subprocess.run([PYTHON, "-c", "import pytest"], capture_output=True, check=False).returncode != 0:
        skip("needs python3-pytest")
    if not os.access(runtime, os.X_OK):
        skip(f"no {runtime}")
    os.makedirs(cache, exist_ok=True)
    kernel = download_kernel(cache)
    tests = [" ".join([os.path.relpath(sys.argv[3], PROJECT), *sys.argv[4:]])] if sys.argv[3:] else sorted(
        os.path.relpath(file, PROJECT) for file in glob.glob(f"{HERE}/guest/test_*.py")) + [
        f"bin/{name}" for name in PROGRAMS if os.path.exists(os.path.join(os.path.dirname(runtime), name))]
    with tempfile.TemporaryDirectory(prefix="davit-vm-", dir="/var/tmp") as work:
        make_image(runtime, kernel, tests, f"{work}/image")
        console = boot(kernel, f"{work}/image", f"{work}/results")
        with open(f"{work}/results", encoding="utf-8", errors="replace") as file:
            output = file.read().replace("\r", "")
    print(output)
    match = re.search(r"^DAVIT-VM exit (\d+)$", output, re.M)
    if not match:
        print("the machine did not finish; its console said:\n" + console[-6000:])
        return 1
    return int(match.group(1))


if __name__ == "__main__":
    sys.exit(main())
