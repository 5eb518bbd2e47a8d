#!/usr/bin/env python3
"""Private memory of idle monitors. Promise: at most 120 KB each, measured over 100 containers.

  bench/monitor_memory.py DAVIT_RUNTIME [--count 100] [--maps]

Every container has printed a line and sleeps. Private_Clean + Private_Dirty of smaps_rollup, which is what another
container would add; --maps shows where the pages of the median monitor are.
"""

import argparse
import os
import sys
import time

from real_containers import Bench


def private(pid):
    with open(f"/proc/{pid}/smaps_rollup", encoding="utf-8") as file:
        return sum(int(line.split()[1]) for line in file if line.startswith(("Private_Clean", "Private_Dirty")))


def show_maps(pid):
    name, size = "", 0
    with open(f"/proc/{pid}/smaps", encoding="utf-8") as file:
        for line in file:
            words = line.split()
            if not words[0].endswith(":"):
                name, size = f"{words[1]} {words[5] if len(words) > 5 else 'anonymous'}", 0
            elif words[0] in ("Private_Clean:", "Private_Dirty:"):
                size += int(words[1])
                if words[0] == "Private_Dirty:" and size:
                    print(f"  {size:5} KB  {name}")


def monitor_of(directory):
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/cmdline", "rb") as file:
                    words = file.read().split(b"\0")
            except OSError:
                continue
            if b"monitor" in words and directory.encode() in words:
                return int(entry)
    sys.exit(f"no monitor for {directory}")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("davit")
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--maps", action="store_true")
    options = parser.parse_args()
    with Bench(options.davit) as bench:
        directories = []
        for number in range(options.count):
            name = f"bench{number}"
            bundle = bench.bundle(name, "sh", "-c", "echo hello; sleep 1000000")
            started = bench.call("monitor", "--id", name, "--bundle", bundle, "--dir", bundle, "--detach", check=False)
            if started.returncode != 0:
                sys.exit(started.stderr)
            directories.append(bundle)
        time.sleep(3)  # buffers go a second after their last use
        sizes = sorted((private(pid), pid) for pid in map(monitor_of, directories))
        low, (middle, median), high = sizes[0][0], sizes[len(sizes) // 2], sizes[-1][0]
        print(f"private memory of {len(sizes)} idle monitors: min {low} KB, median {middle} KB, max {high} KB (promise: at most 120)")
        if options.maps:
            show_maps(median)


main()
