#!/usr/bin/env python3
"""Containers one after another. Promise: no growth in time per start, nothing left behind.

  bench/many_starts.py DAVIT_RUNTIME [--count 1000] [--monitor]

--monitor: each under a monitor instead of `run`. Counts what is on the machine before and after; other work on the
machine shows in those counts, too.
"""

import argparse
import os
import statistics
import subprocess
import sys
import time

from real_containers import Bench


def machine():
    with open("/proc/mounts", encoding="utf-8") as file:
        mounts = len(file.readlines())
    with open("/proc/sys/fs/file-nr", encoding="utf-8") as file:
        descriptors = int(file.read().split()[0])
    return {
        "mounts": mounts,
        "cgroups": sum(1 for _ in os.walk("/sys/fs/cgroup")),
        "processes": sum(entry.isdigit() for entry in os.listdir("/proc")),
        "open files (file-nr)": descriptors,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("davit")
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--monitor", action="store_true")
    options = parser.parse_args()
    with Bench(options.davit) as bench:
        bundle = bench.bundle("bench", "true")

        def start(name):
            command = bench.command("run", "--bundle", bundle, name)
            if options.monitor:
                command = bench.command("monitor", "--id", name, "--bundle", bundle, "--dir", bundle)
            begin = time.perf_counter()
            subprocess.run(command, stdin=subprocess.DEVNULL, check=True)
            took = time.perf_counter() - begin
            if options.monitor:
                bench.call("delete", name)
            return took * 1000

        for number in range(5):
            start(f"warm{number}")
        before = machine()
        times = [start(f"c{number}") for number in range(options.count)]
        time.sleep(1)  # the kernel frees cgroups and namespaces in the background
        after = machine()
        left = [name for name in os.listdir(bench.root) if name[0] not in "~."]
        tenth = max(options.count // 10, 1)
        medians = [statistics.median(times[at : at + tenth]) for at in range(0, options.count, tenth)]
        print(f"{options.count} starts, median ms in each tenth: " + " ".join(f"{value:.2f}" for value in medians))
        print(f"last tenth / first tenth = {medians[-1] / medians[0]:.2f}")
        for what, count in before.items():
            print(f"{what:22} before {count:6}  after {after[what]:6}")
        print(f"state directories left: {len(left)}")
        if left or after["mounts"] > before["mounts"]:
            sys.exit("something was left behind")


main()
