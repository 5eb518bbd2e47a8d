"""The fixtures of tests/kernel, for the tests that kill programs half-way."""

import importlib.util
import os
import sys

KERNEL = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "kernel")
sys.path.insert(0, KERNEL)
_spec = importlib.util.spec_from_file_location("kernel_conftest", f"{KERNEL}/conftest.py")
_kernel = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_kernel)

# pytest finds fixtures and hooks by their names in this module.
sandbox, bundles, bundle, time_limit = _kernel.sandbox, _kernel.bundles, _kernel.bundle, _kernel.time_limit
pytest_collection_modifyitems = _kernel.pytest_collection_modifyitems
pytest_configure = _kernel.pytest_configure
