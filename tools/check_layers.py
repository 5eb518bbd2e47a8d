#!/usr/bin/env python3
"""Walks every #include of src/ and compares it with layers.txt (STYLE section 1).

A file may include its own module and modules of a lower level; never another module of the same level, never a higher
one. Prints each breach as FILE:LINE and exits 1. With --self-test it checks itself on made-up trees.
"""
import re
import sys
import tempfile
from pathlib import Path

INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')


def read_levels(path: Path) -> dict[str, int]:
    levels = {}
    for line in path.read_text().splitlines():
        words = line.split("#")[0].split()
        if words:
            levels[words[0]] = int(words[1])
    return levels


def check_file(path: Path, src: Path, levels: dict[str, int]) -> list[str]:
    module = path.relative_to(src).parts[0]
    problems = []
    for number, line in enumerate(path.read_text().splitlines(), 1):
        match = INCLUDE.match(line)
        if not match:
            continue
        kind, target = match.groups()
        other = target.split("/")[0]
        where = f"{path.relative_to(src.parent)}:{number}"
        if kind == "<":
            if "/" in target and other in levels and (src / target).exists():
                problems.append(f"{where}: <{target}> is ours: write \"{target}\"")
            continue
        if not (src / target).is_file():
            # "codec/json.h", not "json.h" or "../codec/json.h": otherwise the module would not show.
            problems.append(f"{where}: \"{target}\" is not a path below src/")
        elif other not in levels:
            problems.append(f"{where}: module '{other}' is not in layers.txt")
        elif other != module and levels[other] >= levels[module]:
            problems.append(f"{where}: {module} (level {levels[module]}) includes {other} (level {levels[other]})")
    return problems


def check(root: Path) -> list[str]:
    src = root / "src"
    levels = read_levels(root / "layers.txt")
    problems = []
    for path in sorted(src.rglob("*")):
        if path.suffix not in (".h", ".cc") or not path.is_file():
            continue
        module = path.relative_to(src).parts[0]
        if module not in levels:
            problems.append(f"{path.relative_to(root)}: module '{module}' is not in layers.txt")
            continue
        problems += check_file(path, src, levels)
    return problems


def self_test() -> None:
    cases = [  # name, file of module "mid" (level 1), number of problems
        ("own module and lower", '#include "mid/b.h"\n#include "low/a.h"\n#include <vector>\n', 0),
        ("a higher one", '#include "high/c.h"\n', 1),
        ("one of the same level", '#include "peer/d.h"\n', 1),
        ("not below src", '#include "b.h"\n#include "../low/a.h"\n', 2),
        ("ours in angle brackets", "#include <low/a.h>\n", 1),
        ("in a comment", '// #include "high/c.h"\n', 0),
    ]
    for name, text, expected in cases:
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder)
            (root / "layers.txt").write_text("# levels\nlow 0\nmid 1\npeer 1\nhigh 2\n")
            for file in ("low/a.h", "mid/b.h", "high/c.h", "peer/d.h"):
                (root / "src" / file).parent.mkdir(parents=True, exist_ok=True)
                (root / "src" / file).write_text("#pragma once\n")
            (root / "src/mid/x.cc").write_text(text)
            problems = check(root)
            assert len(problems) == expected, (name, problems)
            (root / "src/unknown").mkdir()
            (root / "src/unknown/e.h").write_text("")
            assert len(check(root)) == expected + 1, name
    print("check_layers: self-test passed")


def main() -> int:
    if "--self-test" in sys.argv:
        self_test()
        return 0
    root = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parent.parent
    problems = check(root)
    print("\n".join(problems) if problems else "layers: every include goes down")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
