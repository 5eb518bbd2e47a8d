#!/usr/bin/env python3
"""Every header of src/ compiles by itself.

A header that some .cc file includes first is proven by that file's own compilation; the rest are compiled here, each
alone, syntax only. Usage: check_headers.py COMPILER [FLAG...]   (--self-test: shows that a bad header is refused)
"""
import concurrent.futures
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

QUOTED = re.compile(r'^\s*#\s*include\s*"([^"]+)"')
ANY = re.compile(r"^\s*#\s*include\b")


def proven(src: Path) -> set[str]:
    """Headers that are the first include of a source file."""
    found = set()
    for path in src.rglob("*.cc"):
        for line in path.read_text().splitlines():
            if ANY.match(line):
                match = QUOTED.match(line)
                if match:
                    found.add(match.group(1))
                break
    return found


def compile_alone(header: str, src: Path, compiler: list[str]) -> str:
    result = subprocess.run([*compiler, "-fsyntax-only", "-I", str(src), "-x", "c++", "-"],
                            input=f'#include "{header}"\n', capture_output=True, text=True)
    return "" if result.returncode == 0 else f"src/{header} does not stand alone:\n{result.stderr}"


def check(src: Path, compiler: list[str]) -> list[str]:
    headers = {str(path.relative_to(src)) for path in src.rglob("*.h")}
    alone = sorted(headers - proven(src))
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        return [text for text in pool.map(lambda header: compile_alone(header, src, compiler), alone) if text]


def self_test(compiler: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        src = Path(folder)
        (src / "good.h").write_text("#pragma once\n#include <string>\ninline std::string text;\n")
        assert not check(src, compiler)
        (src / "bad.h").write_text("#pragma once\ninline std::string text;\n")
        assert len(check(src, compiler)) == 1
        (src / "bad.cc").write_text('#include "bad.h"\n')  # its own compilation shows it
        assert not check(src, compiler)
    print("check_headers: self-test passed")


def main() -> int:
    arguments = [argument for argument in sys.argv[1:] if argument != "--self-test"]
    if not arguments:
        print("usage: check_headers.py [--self-test] COMPILER [FLAG...]", file=sys.stderr)
        return 2
    if "--self-test" in sys.argv:
        self_test(arguments)
        return 0
    problems = check(Path(__file__).resolve().parent.parent / "src", arguments)
    print("\n".join(problems) if problems else "headers: each stands alone")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
