"""A block device whose power can be cut: the backing file of a loop device, served by FUSE, that can be copied between
two writes. How and why: powercut.md.

    with Device(folder, size) as device:
        with device.mounted(where): ...; device.cut(path, "all", seed)
"""

import contextlib
import ctypes
import errno
import fcntl
import os
import random
import socket
import struct
import subprocess
import sys
import time

LIBC = ctypes.CDLL(None, use_errno=True)

# FUSE messages (fuse.h, struct fuse_in_header and the bodies of the few requests that a loop device makes).
IN_HEADER = struct.Struct("<IIQQIIIHH")  # len, opcode, unique, nodeid, uid, gid, pid, extension, padding
OUT_HEADER = struct.Struct("<IiQ")
LOOKUP, FORGET, GETATTR, SETATTR, OPEN, READ, WRITE, RELEASE, FSYNC, FLUSH, INIT, BATCH_FORGET = (
    1, 2, 3, 4, 14, 15, 16, 18, 20, 25, 26, 42)  # fmt: skip
ROOT, FILE = 1, 2
MAX_WRITE = 1 << 20
INIT_MAX_PAGES = 1 << 22
INIT_BIG_WRITES = 1 << 5
FOPEN_DIRECT_IO = 1

LOOP_CTL_GET_FREE, LOOP_CONFIGURE, LOOP_CLR_FD = 0x4C82, 0x4C0A, 0x4C01
LO_FLAGS_READ_ONLY, LO_FLAGS_AUTOCLEAR = 1, 4
MNT_DETACH = 2


def check(result, what):
    if result != 0:
        raise OSError(ctypes.get_errno(), what + ": " + os.strerror(ctypes.get_errno()))


def mount(source, target, kind, flags=0, data=""):
    check(LIBC.mount(source.encode(), target.encode(), kind.encode(), flags, data.encode()), f"mount {target}")


def attach_loop(path):
    """A loop device on path, detached by the kernel when its last user is gone: (name, descriptor that keeps it)."""
    backing = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        with open("/dev/loop-control", "rb") as control:
            for _ in range(50):
                number = fcntl.ioctl(control, LOOP_CTL_GET_FREE)
                name = f"/dev/loop{number}"
                device = os.open(name, os.O_RDWR | os.O_CLOEXEC)
                # struct loop_config: fd, block size, struct loop_info64 (flags at offset 52 of it)
                config = bytearray(304)
                struct.pack_into("<II", config, 0, backing, 0)
                struct.pack_into("<I", config, 8 + 52, LO_FLAGS_AUTOCLEAR)
                try:
                    fcntl.ioctl(device, LOOP_CONFIGURE, bytes(config))
                    return name, device
                except OSError as error:
                    os.close(device)
                    if error.errno != errno.EBUSY:
                        raise
                    time.sleep(0.01 * random.random())  # another process took it
        raise OSError(errno.EBUSY, "no free loop device")
    finally:
        os.close(backing)


@contextlib.contextmanager
def mounted_image(path, where, options=""):
    """The ext4 in the file `path`, mounted at `where` by a loop device. Its journal is replayed."""
    name, device = attach_loop(path)
    try:
        mount(name, where, "ext4", 0, options)
    finally:
        os.close(device)
    try:
        yield where
    finally:
        check(LIBC.umount2(where.encode(), 0), f"unmount {where}")


def make_ext4(path, size, *options):
    with open(path, "wb") as file:
        file.truncate(size)
    subprocess.run(["mkfs.ext4", "-q", "-F", "-E", "nodiscard,lazy_itable_init=0,lazy_journal_init=0", *options, path], check=True)


# ------------------------------------------------------------------------------------------------- the FUSE server


class Server:
    """Serves one file from memory, one request at a time; a cut happens between two requests.

    `now` is what the device was sent, `safe` what it held when it last answered a flush, `dirty` what was written since.
    """

    def __init__(self, fuse, control, image):
        self.fuse, self.control = fuse, control
        self.size = os.path.getsize(image)
        self.now, self.safe = os.memfd_create("now"), os.memfd_create("safe")
        for copy in (self.now, self.safe):
            os.ftruncate(copy, self.size)
            with open(image, "rb") as source:
                copy_data(source.fileno(), copy)
        self.dirty = []  # (offset, length), in the order of the writes
        self.writes = self.flushes = 0

    def run(self):
        import select

        self.control.send(b"ready")
        poll = select.poll()
        poll.register(self.fuse, select.POLLIN)
        poll.register(self.control, select.POLLIN)
        buffer = bytearray(MAX_WRITE + 4096)
        while True:
            for descriptor, _ in poll.poll():
                if descriptor == self.control.fileno():
                    if not self.command():
                        return
                elif not self.request(buffer):
                    return

    def request(self, buffer):
        try:
            length = os.readv(self.fuse, [buffer])
        except OSError as error:
            return error.errno in (errno.EINTR, errno.EAGAIN, errno.ENOENT)  # ENODEV: unmounted
        _, opcode, unique, node, *_ = IN_HEADER.unpack_from(buffer)
        body = memoryview(buffer)[IN_HEADER.size : length]
        if opcode in (FORGET, BATCH_FORGET):
            return True
        try:
            answer, error = self.answer(opcode, node, body), 0
        except OSError as problem:
            answer, error = b"", -problem.errno
        with contextlib.suppress(FileNotFoundError):  # ENOENT: the request was interrupted
            os.writev(self.fuse, [OUT_HEADER.pack(OUT_HEADER.size + len(answer), error, unique), answer])
        return True

    def answer(self, opcode, node, body):
        if opcode == INIT:
            _, _, readahead, flags = struct.unpack_from("<IIII", body)
            want = flags & (INIT_MAX_PAGES | INIT_BIG_WRITES)
            return struct.pack("<IIIIHHIIHHI28x", 7, 31, readahead, want, 16, 12, MAX_WRITE, 1, MAX_WRITE // 4096, 0, 0)
        if opcode == WRITE:
            _, offset, size = struct.unpack_from("<QQI", body)
            os.pwrite(self.now, body[40 : 40 + size], offset)
            self.dirty.append((offset, size))
            self.writes += 1
            return struct.pack("<II", size, 0)
        if opcode == READ:
            _, offset, size = struct.unpack_from("<QQI", body)
            return os.pread(self.now, size, offset)
        if opcode == FSYNC:
            for offset, size in self.dirty:
                os.pwrite(self.safe, os.pread(self.now, size, offset), offset)
            self.dirty.clear()
            self.flushes += 1
            return b""
        if opcode == GETATTR:
            return struct.pack("<QII", 3600, 0, 0) + self.attributes(node)
        if opcode == LOOKUP:
            if bytes(body).rstrip(b"\0") != b"disk":
                raise OSError(errno.ENOENT, "")
            return struct.pack("<QQQQII", FILE, 0, 3600, 3600, 0, 0) + self.attributes(FILE)
        if opcode == OPEN:
            return struct.pack("<QII", 0, FOPEN_DIRECT_IO, 0)
        if opcode in (RELEASE, FLUSH):
            return b""
        raise OSError(errno.ENOSYS, "")  # fallocate among them, so the loop device offers no discard

    def attributes(self, node):
        mode, size = (0o40700, 0) if node == ROOT else (0o100600, self.size)
        return struct.pack("<QQQQQQIIIIIIIIII", node, size, size // 512, 0, 0, 0, 0, 0, 0, mode, 1, 0, 0, 0, 4096, 0)

    def command(self):
        words = self.control.recv(4096).decode().split("\n")
        if words[0] == "cut":
            self.cut(words[1], words[2], int(words[3]))
            self.control.send(f"{self.writes} {self.flushes} {len(self.dirty)}".encode())
        return words[0] == "cut"

    def cut(self, path, mode, seed):
        """all: every write that was sent is there; none: those since the last flush are lost; some: a random part is."""
        chance = random.Random(seed)
        out = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
        os.ftruncate(out, self.size)
        copy_data(self.safe, out)
        for offset, size in self.dirty if mode != "none" else ():
            if mode == "all":
                os.pwrite(out, os.pread(self.now, size, offset), offset)
                continue
            # A disk keeps or loses sectors, not requests; a page is the unit that file systems count on.
            for start in range(offset, offset + size, 4096):
                if chance.random() < 0.5:
                    part = min(4096, offset + size - start)
                    os.pwrite(out, os.pread(self.now, part, start), start)
        os.close(out)


def copy_data(source, target):
    """The data of a sparse file into an empty one of the same size."""
    end, position = os.fstat(source).st_size, 0
    while position < end:
        try:
            position = os.lseek(source, position, os.SEEK_DATA)
        except OSError:  # ENXIO: no data behind
            return
        stop = os.lseek(source, position, os.SEEK_HOLE)
        while position < stop:
            piece = os.pread(source, min(4 << 20, stop - position), position)
            os.pwrite(target, piece, position)
            position += len(piece)


class Device:
    """The FUSE mount at FOLDER/fuse and its server process. The caller is in a mount namespace of its own."""

    def __init__(self, folder, image):
        self.folder = f"{folder}/fuse"
        os.makedirs(self.folder, exist_ok=True)
        self.path = f"{self.folder}/disk"
        self.control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        fuse = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
        mount("powercut", self.folder, "fuse", 0, f"fd={fuse},rootmode=40000,user_id=0,group_id=0,max_read={MAX_WRITE}")
        # A process, not a thread: the kernel calls it back in the middle of our own system calls.
        words = [sys.executable, os.path.abspath(__file__), str(fuse), str(theirs.fileno()), image]
        self.server = subprocess.Popen(words, pass_fds=[fuse, theirs.fileno()])
        os.close(fuse)
        theirs.close()
        if self.control.recv(100) != b"ready":  # it has read the image by then
            raise RuntimeError("the server of the device did not start")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.control.close()
        LIBC.umount2(self.folder.encode(), MNT_DETACH)
        try:
            self.server.wait(10)
        except subprocess.TimeoutExpired:
            self.server.kill()
            self.server.wait()

    def mounted(self, where, options=""):
        return mounted_image(self.path, where, options)

    def cut(self, path, mode="all", seed=0):
        """What the device would hold were the power cut now, as a file. (writes, flushes, unflushed writes) so far."""
        self.control.send(f"cut\n{path}\n{mode}\n{seed}".encode())
        return tuple(int(word) for word in self.control.recv(100).split())


if __name__ == "__main__":
    Server(int(sys.argv[1]), socket.socket(fileno=int(sys.argv[2])), sys.argv[3]).run()
