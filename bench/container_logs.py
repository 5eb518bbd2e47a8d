#!/usr/bin/env python3
"""A container that prints 1,000,000 lines of 100 bytes under the monitor's logs, against a plain pipe to a reader that
discards. Promise: at most 1.3 times.

  bench/container_logs.py DAVIT_RUNTIME [--rounds 7] [--program NAME ...] [--log NAME ...]

awk: busybox awk, which writes 4 KiB at a time. stdio: a C program that does nothing but print (print_lines.c), the hardest
case. Rounds alternate; medians. whole: from starting the runtime until it has ended, the log complete and the exit
recorded. printing: what the C program took itself.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time

from real_containers import Bench

HERE = os.path.dirname(os.path.abspath(__file__))
LOGS = {
    "json-file": ["--log-driver", "json-file"],
    "json-file 10m x 3": ["--log-driver", "json-file", "--log-opt", "max-size=10m", "--log-opt", "max-file=3"],
    "local": ["--log-driver", "local"],
    "cri": ["--log-driver", "cri"],
    "none": ["--log-driver", "none"],
}
AWK = 'BEGIN { line = sprintf("%99s", ""); gsub(" ", "x", line); for (i = 0; i < 1000000; i++) print line }'
LINE_BYTES, LINES = 100, 1_000_000


def discard(command):
    """Runs the command with its output into a pipe that is read and thrown away."""
    reading, writing = os.pipe()
    reader = os.fork()
    if reader == 0:
        os.close(writing)
        total = 0
        while block := os.read(reading, 65536):
            total += len(block)
        os._exit(0 if total == LINE_BYTES * LINES else 1)
    os.close(reading)
    begin = time.perf_counter()
    subprocess.run(command, stdin=subprocess.DEVNULL, stdout=writing, check=True)
    taken = time.perf_counter() - begin
    os.close(writing)
    if os.waitpid(reader, 0)[1] != 0:
        sys.exit("the reader did not get everything")
    return taken * 1000


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("davit")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--program", action="append", choices=["awk", "stdio"])
    parser.add_argument("--log", action="append", choices=list(LOGS))
    options = parser.parse_args()
    with Bench(options.davit) as bench:
        subprocess.run(["gcc", "-O2", "-static", "-o", f"{bench.rootfs}/bin/print_lines", f"{HERE}/print_lines.c"], check=True)
        programs = {"awk": ["awk", AWK], "stdio": ["print_lines"]}
        for program in options.program or programs:
            bundle = bench.bundle(program, *programs[program])
            os.makedirs(f"{bench.rootfs}/time", exist_ok=True)
            with open(f"{bundle}/config.json", encoding="utf-8") as file:
                config = json.load(file)
            config["mounts"].append({"destination": "/time", "type": "bind", "source": bundle, "options": ["rbind", "rw"]})
            with open(f"{bundle}/config.json", "w", encoding="utf-8") as file:
                json.dump(config, file)

            def printing(bundle=bundle):
                try:
                    with open(f"{bundle}/taken", encoding="utf-8") as file:
                        return float(file.read())
                except OSError:
                    return 0.0

            def monitored(log, bundle=bundle):
                name = "logs"
                directory = f"{bundle}/monitor"
                os.makedirs(directory, exist_ok=True)
                for old in os.listdir(directory):
                    os.unlink(f"{directory}/{old}")
                os.sync()  # the last round's log is not written to disk during this one
                command = bench.command("monitor", "--id", name, "--bundle", bundle, "--dir", directory, *LOGS[log])
                begin = time.perf_counter()
                subprocess.run(command, stdin=subprocess.DEVNULL, check=True)
                taken = (time.perf_counter() - begin) * 1000
                bench.call("delete", name)
                return taken

            names = options.log or list(LOGS)
            whole = {name: [] for name in ["pipe", *names]}
            own = {name: [] for name in whole}
            for number in range(-1, options.rounds):  # the first one warms caches
                for name in whole:
                    taken = discard(bench.command("run", "--bundle", bundle, "logs")) if name == "pipe" else monitored(name)
                    if number >= 0:
                        whole[name].append(taken)
                        own[name].append(printing())
            base, base_own = statistics.median(whole["pipe"]), statistics.median(own["pipe"])
            for name in whole:
                median = statistics.median(whole[name])
                text = f"{program:6} {name:18} whole {median:7.1f} ms  ratio {median / base:.2f}"
                if base_own:
                    median = statistics.median(own[name])
                    text += f"   printing {median:7.1f} ms  ratio {median / base_own:.2f}"
                print(text, flush=True)


main()
