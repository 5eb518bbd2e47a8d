#!/usr/bin/env python3
"""After the tests: processes that still run a program of the given build folders, and mounts below davit's temporary
folders. Prints them and exits 1; exits 0 when there are none. It ends and unmounts nothing.
"""
import os
import sys
import time
from pathlib import Path

MOUNT_HINTS = ("/tmp/davit", "/var/tmp/davit-test", "/var/tmp/davit-quickstart")


def processes(folders: list[str]) -> list[str]:
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            program = os.readlink(entry / "exe")
            command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
        except OSError:
            continue
        if any(program.startswith(folder + "/") for folder in folders):
            found.append(f"process {entry.name}: {command}")
    return found


def mounts() -> list[str]:
    points = (line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines())
    return [f"mount {point}" for point in points if point.startswith(MOUNT_HINTS)]


def main() -> int:
    folders = [os.path.realpath(folder) for folder in sys.argv[1:]]
    deadline = time.monotonic() + 5  # a process that is just ending is no leftover
    while (found := processes(folders) + mounts()) and time.monotonic() < deadline:
        time.sleep(0.2)
    for line in found:
        print(f"   {line}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
