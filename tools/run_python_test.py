#!/usr/bin/env python3
"""Runs one pytest file for ctest: exit 0 passed, 1 failed, 77 when every case was skipped.

Each skipped case is printed as "SKIPPED case: reason", which ./check gathers (tools/list_skipped.py).
Arguments after the file go to pytest: run_python_test.py FILE -k name
"""
import sys
import tempfile

try:
    import pytest
except ImportError:
    print("SKIPPED all: python3-pytest is not installed (./check installs it)")
    sys.exit(77)


class Counter:
    def __init__(self):
        self.ran = 0
        self.skipped = []

    def pytest_runtest_logreport(self, report):
        if report.skipped:
            # (file, line, "Skipped: why") from skip(); an expected failure has the reason elsewhere.
            why = report.longrepr[2] if isinstance(report.longrepr, tuple) else getattr(report, "wasxfail", "expected failure")
            self.skipped.append((report.nodeid, why.removeprefix("Skipped: ")))
        elif report.when == "call":
            self.ran += 1

    def pytest_collectreport(self, report):
        if report.skipped:
            self.skipped.append((report.nodeid, report.longrepr[2].removeprefix("Skipped: ")))


def main() -> int:
    if len(sys.argv) < 2:
        print("usage: run_python_test.py FILE [PYTEST-ARGUMENT...]", file=sys.stderr)
        return 2
    counter = Counter()
    # -p no:cacheprovider: nothing is written into the source tree; several build trees run at the same time.
    sys.dont_write_bytecode = True
    with tempfile.TemporaryDirectory(prefix="davit-pytest-") as folder:
        code = pytest.main(["-p", "no:cacheprovider", "-v", "--durations=5", f"--basetemp={folder}/t", *sys.argv[1:]], [counter])
    for case, reason in counter.skipped:
        print(f"SKIPPED {case.rsplit('/', 1)[-1]}: {reason}")
    if code == pytest.ExitCode.NO_TESTS_COLLECTED and counter.skipped:
        return 77
    if code != pytest.ExitCode.OK:
        return 1
    return 77 if counter.ran == 0 and counter.skipped else 0


if __name__ == "__main__":
    sys.exit(main())
