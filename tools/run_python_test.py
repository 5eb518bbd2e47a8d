#!/usr/bin/env python3
"""Runs one unittest file for ctest: exit 0 passed, 1 failed, 77 when every case was skipped.

Each skipped case is printed as "SKIPPED file: case: reason", which ./check gathers (tools/list_skipped.py).
"""
import importlib.util
import os
import sys
import unittest


def load(path: str):
    sys.path.insert(0, os.path.dirname(os.path.abspath(path)))
    name = os.path.splitext(os.path.basename(path))[0]
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except unittest.SkipTest as reason:
        print(f"SKIPPED {name}: all: {reason}")
        sys.exit(77)
    return module


def main() -> int:
    if len(sys.argv) < 2:
        print("usage: run_python_test.py FILE [CASE...]", file=sys.stderr)
        return 2
    module = load(sys.argv[1])
    loader = unittest.defaultTestLoader
    suite = loader.loadTestsFromNames(sys.argv[2:], module) if sys.argv[2:] else loader.loadTestsFromModule(module)
    result = unittest.TextTestRunner(stream=sys.stdout, verbosity=2).run(suite)
    for case, reason in result.skipped:
        print(f"SKIPPED {module.__name__}: {case.id().split('.', 1)[-1]}: {reason}")
    if not result.wasSuccessful():
        return 1
    if result.testsRun == 0:
        print(f"{sys.argv[1]}: holds no test", file=sys.stderr)
        return 1
    return 77 if result.testsRun == len(result.skipped) else 0


if __name__ == "__main__":
    sys.exit(main())
