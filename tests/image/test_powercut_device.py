"""The device whose power can be cut, checked by itself: no copy shows a later write without an earlier one that was flushed."""

import os
import random
import struct
import subprocess
import threading
import time

import pytest

import powercut
from imagelib import mount

pytestmark = pytest.mark.without_program
MIB = 1 << 20


@pytest.fixture
def place(work):
    """Memory, so that the machine's disk does not set the pace."""
    if os.geteuid() != 0 or not os.path.exists("/dev/fuse") or not os.path.exists("/dev/loop-control"):
        pytest.skip("needs root, /dev/fuse and /dev/loop-control")
    mount("tmpfs", work, "tmpfs", "size=2g")
    yield work
    powercut.check(powercut.LIBC.umount2(work.encode(), powercut.MNT_DETACH), "unmount")


def make_device(place, size=64 * MIB):
    image = f"{place}/image"
    powercut.make_ext4(image, size)
    os.makedirs(f"{place}/mnt", exist_ok=True)
    return powercut.Device(place, image)


def fsck_after_replay(path):
    """e2fsck replays the journal; what it then finds is damage. Exit status 1 is the replay itself."""
    done = subprocess.run(["e2fsck", "-p", "-E", "journal_only", path], capture_output=True, check=False)
    assert done.returncode <= 1, done.stdout
    done = subprocess.run(["e2fsck", "-f", "-n", path], capture_output=True, check=False)
    assert done.returncode == 0, done.stdout.decode()


class Writer(threading.Thread):
    """work(n) for n = 1, 2, ... until stopped."""

    def __init__(self, work):
        super().__init__(daemon=True)
        self.work, self.count, self.ending, self.error = work, 0, threading.Event(), None
        self.start()

    def run(self):
        try:
            while not self.ending.is_set():
                self.work(self.count + 1)
                self.count += 1
        except Exception as error:  # noqa: BLE001, shown by finish()
            self.error = error

    def finish(self):
        self.ending.set()
        self.join()
        assert self.error is None, self.error


def wait_a_moment(chance):
    time.sleep(chance.random() * 0.02)


@pytest.mark.parametrize("mode", ["all", "none", "some"])
def test_ordered_records(place, mode):
    """File b gets a number only after a has it and was flushed: in no cut is b ahead of a, nor a behind what was flushed."""
    chance = random.Random(1)
    with make_device(place) as device, device.mounted(f"{place}/mnt") as mnt:
        files = [os.open(f"{mnt}/{name}", os.O_RDWR | os.O_CREAT) for name in "ab"]
        flushed = [0]

        def work(number):
            for file in files:
                os.pwrite(file, struct.pack("<Q", number), 0)
                os.fdatasync(file)
            flushed[0] = number

        work(1)
        os.sync()
        writer = Writer(work)
        seen = set()
        for attempt in range(25):
            wait_a_moment(chance)
            least = flushed[0]
            device.cut(f"{place}/cut", mode, attempt)
            most = writer.count + 2
            os.makedirs(f"{place}/mnt2", exist_ok=True)
            with powercut.mounted_image(f"{place}/cut", f"{place}/mnt2"):
                a, b = (struct.unpack("<Q", open(f"{place}/mnt2/{name}", "rb").read())[0] for name in "ab")
            assert b <= a <= b + 1 and least <= b and a <= most, (a, b, least, most)
            seen.add(a)
        writer.finish()
        for file in files:
            os.close(file)
        assert len(seen) > 10  # the cuts fell at different moments


def test_one_write_is_never_seen_in_part(place):
    """Raw device, direct I/O, one page per write: each page of a cut is of one write, and the pages are in order."""
    image = f"{place}/image"
    with open(image, "wb") as file:
        file.truncate(MIB)
    pages = 64
    with powercut.Device(place, image) as device:
        name, keep = powercut.attach_loop(device.path)
        disk = os.open(name, os.O_RDWR | os.O_DIRECT)
        import mmap

        buffer = mmap.mmap(-1, 4096)  # direct I/O wants it aligned

        def work(number):
            buffer[:] = struct.pack("<Q", number) * 512
            os.pwritev(disk, [buffer], (number % pages) * 4096)

        writer = Writer(work)
        chance = random.Random(2)
        for _ in range(50):
            wait_a_moment(chance)
            before = writer.count
            device.cut(f"{place}/cut", "all")
            after = writer.count + 1
            data = open(f"{place}/cut", "rb").read()
            numbers = [struct.unpack_from("<512Q", data, page * 4096) for page in range(pages)]
            assert all(len(set(page)) == 1 for page in numbers)
            newest = max(page[0] for page in numbers)
            assert before <= newest <= after
            held = {page[0] for page in numbers if page[0]}
            assert held == set(range(max(1, newest - pages + 1), newest + 1))
        writer.finish()
        os.close(disk)
        os.close(keep)


@pytest.mark.parametrize("mode", ["all", "none", "some"])
def test_the_file_system_stays_whole(place, mode):
    """Many files made, renamed and removed: every cut is a sound ext4 after its journal was replayed."""
    chance = random.Random(3)
    with make_device(place) as device, device.mounted(f"{place}/mnt", "commit=1") as mnt:

        def work(number):
            path = f"{mnt}/{number % 50}"
            with open(path + ".new", "wb") as file:
                file.write(os.urandom(20000))
                if number % 7 == 0:
                    os.fsync(file.fileno())
            os.rename(path + ".new", path)
            if number % 5 == 0:
                os.unlink(path)

        writer = Writer(work)
        for attempt in range(6):
            time.sleep(chance.random() * 0.1)
            device.cut(f"{place}/cut", mode, attempt)
            fsck_after_replay(f"{place}/cut")
        writer.finish()


def test_without_flush_a_write_may_be_lost(place):
    """The modes do differ: what was written and not flushed is in "all" and not in "none"."""
    image = f"{place}/image"
    with open(image, "wb") as file:
        file.truncate(MIB)
    with powercut.Device(place, image) as device:
        name, keep = powercut.attach_loop(device.path)
        disk = os.open(name, os.O_RDWR | os.O_DIRECT)
        import mmap

        buffer = mmap.mmap(-1, 65536)
        buffer[:] = b"x" * 65536
        os.pwritev(disk, [buffer], 0)
        counts = {}
        for mode in ("all", "some", "none"):
            device.cut(f"{place}/cut", mode, 5)
            counts[mode] = open(f"{place}/cut", "rb").read().count(b"x")
        assert counts["all"] == 65536 and counts["none"] == 0 and 0 < counts["some"] < 65536
        os.fsync(disk)
        device.cut(f"{place}/cut", "none")
        assert open(f"{place}/cut", "rb").read().count(b"x") == 65536
        os.close(disk)
        os.close(keep)
