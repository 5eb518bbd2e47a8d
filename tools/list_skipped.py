#!/usr/bin/env python3
"""Lists the skipped cases of a ctest log (LastTest.log) with their reasons.

Understands "SKIPPED case: reason" (tools/run_python_test.py and scripts) and GoogleTest's "[  SKIPPED ]" lines,
before which GTEST_SKIP prints "file:line: Skipped" and the reason.
"""
import re
import sys
from pathlib import Path


def skipped(log: str) -> list[str]:
    found, test, reason, expect_reason = [], "?", "", False
    for line in log.splitlines():
        begin = re.match(r"\d+/\d+ Testing: (.+)", line)
        own = re.match(r"SKIPPED (.+)", line)
        case = re.match(r"\[  SKIPPED \] (\S+) \(\d+ ms\)", line)
        if begin:
            test, reason, expect_reason = begin.group(1), "", False
        elif own:
            found.append(f"{test}: {own.group(1)}")
        elif case:
            found.append(f"{test}: {case.group(1)}: {reason or 'no reason given'}")
            reason = ""
        elif re.search(r": Skipped$", line):
            expect_reason = True
        elif expect_reason:
            reason, expect_reason = line.strip(), False
    return found


def grouped(lines: list[str]) -> list[str]:
    """One line for all cases of one test with one reason."""
    groups: dict[tuple[str, str], list[str]] = {}
    for line in lines:
        test, rest = line.split(": ", 1)
        case, _, reason = rest.partition(": ")
        groups.setdefault((test, reason or case), []).append(case)
    return [f"{test}: {cases[0] if len(cases) == 1 else f'{len(cases)} cases'}: {reason}" for (test, reason), cases in groups.items()]


def self_test() -> None:
    log = """1/3 Testing: unit.sys
[ RUN      ] A.B
/x/a_test.cc:7: Skipped
needs root

[  SKIPPED ] A.B (0 ms)
[  SKIPPED ] 1 test, listed below:
[  SKIPPED ] A.B
2/3 Testing: kernel.run
SKIPPED test_run.py::test_tty: no pty here
"""
    assert skipped(log) == ["unit.sys: A.B: needs root", "kernel.run: test_run.py::test_tty: no pty here"], skipped(log)
    assert grouped(["a: x: why", "a: y: why", "b: z: no"]) == ["a: 2 cases: why", "b: z: no"]
    print("list_skipped: self-test passed")


def main() -> int:
    if "--self-test" in sys.argv:
        self_test()
        return 0
    lines = grouped(skipped(Path(sys.argv[1]).read_text(errors="replace")))
    print("\n".join(f"   {line}" for line in lines) if lines else "   none")
    return 0


if __name__ == "__main__":
    sys.exit(main())
