#!/usr/bin/env python3
"""The project's rules that a text search can hold (STYLE sections 2, 4, 6). Prints FILE:LINE for each breach; exits 1.

A line that must break a rule says so in a comment on it: "// rule: NAME because ...".
With --self-test each rule is shown a file that breaks it and must refuse it.
"""
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

SIZE_NOTE = 600  # lines; past this a file is listed, not refused (STYLE section 2)
README_LINES = 30


@dataclass
class Rule:
    name: str
    pattern: re.Pattern
    why: str
    applies: callable  # path as text -> bool


def in_cxx(path: str) -> bool:
    return path.startswith(("src/", "fuzz/", "bench/", "tests/")) and path.endswith((".h", ".cc"))


def product(path: str) -> bool:
    return path.startswith("src/") and path.endswith((".h", ".cc")) and not path.endswith("_test.cc") and "/testing/" not in path


def outside_sys(path: str) -> bool:
    return product(path) and not path.startswith("src/sys/") and path != "src/base/unique_fd.h"


def header(path: str) -> bool:
    return path.startswith("src/") and path.endswith(".h")


def json_header(path: str) -> bool:
    # codec/json.h is the one place that sees the library, and is included from .cc files only (the rule below).
    return header(path) and path != "src/codec/json.h"


RULES = [
    Rule("close", re.compile(r"(?<![\w.>:])(?:::)?close\((?!\)|'|char )"), "descriptors are closed by UniqueFd (R4)", outside_sys),
    Rule("mount", re.compile(r"(?<![\w>])::(?:mount|umount|umount2|pivot_root)\("),
         "system calls live in src/sys (R5)", outside_sys),
    Rule("syscall", re.compile(r"(?<![\w>:.])(?:::)?(?:syscall|v?fork)\("), "system calls live in src/sys (R5)", outside_sys),
    Rule("coroutine", re.compile(r"\bco_(?:await|yield|return)\b"), "no coroutines (docs/adr/0002)", in_cxx),
    Rule("header", re.compile(r"#\s*include\s*<(?:regex|iostream|filesystem|nlohmann/|google/protobuf|openssl/|nghttp2/|gtest/)"),
         "headers are cheap (R10)", lambda path: header(path) and "/testing/" not in path),
    Rule("json", re.compile(r'#\s*include\s*(?:<boost/json|"codec/json\.h")'), "no JSON in a header (R10)", json_header),
    Rule("json-library", re.compile(r"#\s*include\s*<boost/json"), "the library is seen through codec/json.h only",
         lambda path: in_cxx(path) and not path.startswith("src/codec/json")),
    Rule("include-lib", re.compile(r"#\s*include\s*<(?:format|generator|print)>"), "not in g++ 12 (R10)", in_cxx),
    Rule("todo", re.compile(r"TODO\(now\)"), "finish it or name its kind (R18)", in_cxx),
    Rule("todo-kind", re.compile(r"\bTODO(?!\((?:correctness|perf|cleanup|now)\):)"), "TODO(correctness|perf|cleanup): text (R18)",
         in_cxx),
    Rule("machine-path", re.compile(r"(?<![\w/.])/(?:work/(?:main|shared)|home/(?!user\b)\w+)"), "names a folder of one machine",
         lambda path: not path.endswith((".md", ".tsv")) or path.startswith("docs/")),
    Rule("add-test", re.compile(r"^\s*add_test\("), "register tests with davit_test (cmake/davit.cmake)",
         lambda path: path.endswith(("CMakeLists.txt", ".cmake")) and path != "cmake/davit.cmake"),
]
# Text that is about the rules themselves, or data where such words are part of an input.
EXEMPT = re.compile(r"^(tools/check_rules\.py|fuzz/corpus/|.*/testdata/)")


def code_part(path: str, line: str) -> str:
    """Without // comments, so that prose may name a function; TODO and paths are looked for in the whole line."""
    return re.sub(r'(?<!:)//(?![^"]*"[^"]*$).*', "", line) if path.endswith((".h", ".cc")) else line


WHOLE_LINE = {"todo", "todo-kind", "machine-path"}


def check_text(path: str, text: str) -> list[str]:
    problems = []
    rules = [rule for rule in RULES if rule.applies(path)] if not EXEMPT.match(path) else []
    for number, line in enumerate(text.splitlines(), 1):
        for rule in rules:
            if rule.pattern.search(line if rule.name in WHOLE_LINE else code_part(path, line)):
                if f"rule: {rule.name} because" not in line:
                    problems.append(f"{path}:{number}: {rule.why} [{rule.name}]: {line.strip()[:80]}")
    return problems


def tracked(root: Path) -> list[str]:
    try:
        out = subprocess.run(["git", "-C", str(root), "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
                             capture_output=True)
        if out.returncode == 0:
            return [name for name in out.stdout.decode().split("\0") if name and (root / name).is_file()]
    except FileNotFoundError:
        pass  # no git here: an unpacked archive has only what it shipped
    return [str(path.relative_to(root)) for path in root.rglob("*") if path.is_file() and path.relative_to(root).parts[0] not in ("build", ".git")]


def check_readmes(root: Path) -> list[str]:
    problems = []
    for folder in sorted((root / "src").iterdir()):
        if not folder.is_dir() or not any(folder.rglob("*.cc")):
            continue
        readme = folder / "README.md"
        if not readme.is_file():
            problems.append(f"src/{folder.name}: has no README.md")
        elif len(readme.read_text().splitlines()) > README_LINES:
            problems.append(f"src/{folder.name}/README.md: longer than {README_LINES} lines")
    return problems


def check(root: Path) -> tuple[list[str], list[str]]:
    problems, notes = check_readmes(root), []
    for name in tracked(root):
        try:
            text = (root / name).read_text()
        except UnicodeDecodeError:
            continue  # binary: a corpus file
        problems += check_text(name, text)
        lines = text.count("\n")
        if name.startswith("src/") and name.endswith((".h", ".cc")) and lines > SIZE_NOTE:
            notes.append(f"{name}: {lines} lines; which two things is it?")
    return problems, notes


def self_test() -> None:
    bad = {  # rule: (path, line that breaks it, line that does not)
        "close": ("src/runtime/a.cc", "  close(fd);", "  stream.close(); raw::close(fd); close('}'); // close(fd)"),
        "mount": ("src/runtime/a.cc", "  ::mount(a, b, c, 0, d);", "  raw::mount(a, b, c, 0, d); plan_mount(x);"),
        "syscall": ("src/monitor/a.cc", "  ::syscall(SYS_gettid);", "  raw::call(SYS_gettid);"),
        "coroutine": ("src/loop/a.cc", "  co_await x;", "  // co_await is refused"),
        "header": ("src/loop/a.h", "#include <regex>", "#include <vector>"),
        "json": ("src/oci/a.h", '#include "codec/json.h"', '#include "codec/sha256.h"'),
        "json-library": ("src/oci/a.cc", "#include <boost/json.hpp>", '#include "codec/json.h"'),
        "include-lib": ("src/oci/a.cc", "#include <format>", "#include <fmt/format.h>"),
        "todo": ("src/oci/a.cc", "// TODO(now): x", "// TODO(perf): x"),
        "todo-kind": ("src/oci/a.cc", "// TODO: x", "// TODO(cleanup): x"),
        "machine-path": ("docs/a.md", "see /work/main/x", "see /proc/1/work/main and /home/user"),
        "add-test": ("tests/CMakeLists.txt", "  add_test(NAME x)", "  davit_test(x)"),
    }
    assert set(bad) == {rule.name for rule in RULES}, "every rule needs a case here"
    for name, (path, wrong, right) in bad.items():
        assert any(f"[{name}]" in problem for problem in check_text(path, wrong)), (name, "did not refuse", wrong)
        assert not any(f"[{name}]" in problem for problem in check_text(path, right)), (name, "refused", right)
        excused = f"{wrong}  // rule: {name} because it is a test"
        assert not any(f"[{name}]" in problem for problem in check_text(path, excused)), (name, "no excuse taken")
    assert not check_text("src/sys/file.cc", "  ::close(fd); ::mount(a, b, c, 0, d);")
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        (root / "src/loop").mkdir(parents=True)
        (root / "src/loop/a.cc").write_text("\n" * (SIZE_NOTE + 1))
        problems, notes = check(root)
        assert problems == ["src/loop: has no README.md"] and len(notes) == 1, (problems, notes)
        (root / "src/loop/README.md").write_text("x\n" * (README_LINES + 1))
        assert len(check(root)[0]) == 1
        (root / "src/loop/README.md").write_text("x\n")
        assert not check(root)[0]
    print("check_rules: self-test passed")


def main() -> int:
    if "--self-test" in sys.argv:
        self_test()
        return 0
    root = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parent.parent
    problems, notes = check(root)
    for note in notes:
        print(f"note: {note}")
    print("\n".join(problems) if problems else "rules: kept")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
