"""What the tests inside the virtual machine share with the kernel tier: its bundles and its small tools."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))), "kernel"))

from davitlib import Bundle, Sandbox, alive, read, wait_for  # noqa: E402, F401
