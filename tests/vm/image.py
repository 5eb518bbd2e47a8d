"""Makes the virtual machine's initial file system: busybox, python with pytest, and whatever files the caller adds.

Everything is taken from the machine that runs the tests; nothing is installed. The format is cpio "newc"
(kernel Documentation/driver-api/early-userspace/buffer-format.rst), which the kernel unpacks by itself.
"""

import os
import re
import stat
import subprocess

PYTHON = "/usr/bin/python3"
SKIPPED_FOLDERS = {"__pycache__", "test", "tests", "idlelib", "tkinter", "turtledemo", "ensurepip", "lib2to3", "distutils"}


def libraries(program):
    """The shared libraries of a program, its loader included; none for a static one."""
    result = subprocess.run(["ldd", program], capture_output=True, text=True, check=False)
    return re.findall(r"(?:=> )?(/\S+) \(0x", result.stdout) if result.returncode == 0 else []


def python_folders():
    """The standard library's folder, and the files and folders of pytest and what it imports."""
    code = (
        "import sys, sysconfig, pytest, _pytest.main, ctypes, json, socket, pty, fcntl\n"
        "print(sysconfig.get_path('stdlib'))\n"
        "tops = {name.split('.')[0] for name in sys.modules}\n"
        "for top in sorted(tops):\n"
        "    file = getattr(sys.modules.get(top), '__file__', None) or ''\n"
        "    if '-packages/' in file: print(file.removesuffix('/__init__.py'))\n"
    )
    return subprocess.run([PYTHON, "-I", "-c", code], capture_output=True, text=True, check=True).stdout.split()


class Image:
    """Files by their path in the machine; written as one archive."""

    def __init__(self):
        self.entries = {}  # path without the leading slash -> (mode, content)

    def add_folder(self, path, mode=0o755):
        path = path.strip("/")
        if not path or path in self.entries:
            return
        self.add_folder(os.path.dirname(path))
        self.entries[path] = (stat.S_IFDIR | mode, b"")

    def add_content(self, path, content, mode=0o755):
        self.add_folder(os.path.dirname(path))
        self.entries[path.strip("/")] = (stat.S_IFREG | mode, content)

    def add_link(self, path, target):
        self.add_folder(os.path.dirname(path))
        self.entries[path.strip("/")] = (stat.S_IFLNK | 0o777, target.encode())

    def add_file(self, source, path=None):
        """A file of this machine, through links, under its own path unless another is given; with its libraries."""
        with open(source, "rb") as file:
            content = file.read()
        path = path or source
        if path.strip("/") in self.entries:
            return
        self.add_content(path, content, os.stat(source).st_mode & 0o777)
        if content.startswith(b"\x7fELF"):
            for library in libraries(source):
                self.add_file(library)

    def add_tree(self, source, path=None):
        path = path or source
        if os.path.isfile(source):
            self.add_file(source, path)
            return
        for folder, below, files in os.walk(source):
            below[:] = [name for name in below if name not in SKIPPED_FOLDERS]
            for name in files:
                full = os.path.join(folder, name)
                if os.path.isfile(full):
                    self.add_file(full, os.path.join(path, os.path.relpath(full, source)))

    def add_python(self):
        self.add_file(PYTHON)
        for folder in python_folders():
            self.add_tree(folder)

    def write(self, path):
        with open(path, "wb") as out:
            for number, (name, (mode, content)) in enumerate(sorted(self.entries.items()), 1):
                self._write_entry(out, number, name, mode, content)
            self._write_entry(out, 0, "TRAILER!!!", 0, b"")

    @staticmethod
    def _write_entry(out, inode, name, mode, content):
        # magic, then thirteen numbers of eight hex digits: inode mode uid gid nlink mtime filesize devmajor devminor
        # rdevmajor rdevminor namesize check; the name and the content are padded to four bytes each.
        encoded = name.encode() + b"\0"
        fields = (inode, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(encoded), 0)
        header = b"070701" + b"".join(b"%08X" % field for field in fields) + encoded
        out.write(header + b"\0" * (-len(header) % 4))
        out.write(content + b"\0" * (-len(content) % 4))
