"""Disks that are too small: an error that names the space, nothing left of the attempt, a store that works on, and the same
command succeeds once there is space again.
"""

import contextlib
import os
import random
import subprocess

import pytest

import imagelib
import powercut
from imagelib import Failed, Image, Layer, contents, differences, disk_blocks, file, folder, tar, tar_tree, write_docker_archive

MIB = 1 << 20
DISK = 32 * MIB
# What is left of the disk when the command begins. The image takes about 8 MB, with its blobs 14.
LEFT = [12, 8, 6, 4, 3, 2, 1.5, 1, 0.5, 0.25, 0.1, 0.02, 0]


def has_space_problem(text):
    return "No space left on device" in text or "is full" in text


def free(where):
    facts = os.statvfs(where)
    return facts.f_bfree * facts.f_frsize


class Disk:
    """A small file system with a store on it and a file that takes the rest of the space."""

    def __init__(self, where):
        self.where, self.ballast = where, f"{where}/ballast"
        self.store = imagelib.Store(f"{where}/store")

    def fill(self, left):
        """But for `left` bytes."""
        with open(self.ballast, "wb", buffering=0) as out, contextlib.suppress(OSError):
            while free(self.where) > left:
                piece = min(256 << 10, free(self.where) - left)
                with contextlib.suppress(OSError):
                    if out.write(b"x" * piece) > 4096:
                        continue
                out.write(b"x" * 4096)

    def make_room(self):
        os.unlink(self.ballast)


@contextlib.contextmanager
def small_disk(work, kind, *options):
    where = f"{work}/small"
    os.makedirs(where, exist_ok=True)
    with contextlib.ExitStack() as stack:
        if kind == "tmpfs":
            imagelib.mount("tmpfs", where, "tmpfs", f"size={DISK}")
            stack.callback(imagelib.LIBC.umount2, where.encode(), 2)
        else:
            powercut.make_ext4(f"{work}/disk", DISK, "-m", "0", "-O", "^has_journal", *options)
            stack.enter_context(powercut.mounted_image(f"{work}/disk", where))
        yield Disk(where)


@pytest.fixture(params=["ext4", "tmpfs"])
def disk_kind(request):
    if request.param == "ext4" and not os.path.exists("/dev/loop-control"):
        pytest.skip("needs /dev/loop-control")
    return request.param


class Goods:
    """An image that does not fit, by each of the ways it can come, and one that does."""

    def __init__(self, work, registry):
        chance = random.Random(1)
        layers = [Layer(tar(folder(name), file(f"{name}/large", chance.randbytes(2 * MIB)), *[
            file(f"{name}/{number}", chance.randbytes(2000)) for number in range(400)])) for name in ("a", "b")]  # fmt: skip
        self.image = Image(*layers)
        self.name = registry.push("x", self.image)
        self.small = Image([file("s", chance.randbytes(10000))])
        self.small_name = registry.push("small", self.small)
        self.archive = write_docker_archive(f"{work}/x.tar", (self.image, ["x:1"]))
        self.words = {"pull": ["pull", self.name], "load": ["load", "-i", self.archive], "import": ["import", f"{work}/i.tar", "x:1"]}
        with open(f"{work}/i.tar", "wb") as out:
            out.write(layers[0].data)
        self.wanted = {"pull": contents(self.image), "load": contents(self.image), "import": tar_tree(layers[0].data)}

    def check(self, store, name, wanted, scratch):
        with store.mounted(name, scratch) as tree:
            assert differences(wanted, tree) == ""


@pytest.fixture
def goods(work, registry):
    return Goods(work, registry)


def check_nothing_left(store, before):
    """No part of what failed, but the database may have grown."""
    for place in ("tmp", "trash", "ingest"):
        assert os.listdir(f"{store.root}/{place}") == [], place
    assert disk_blocks(store.root) <= before + 100_000


@pytest.mark.seconds(240)
@pytest.mark.parametrize("how", ["pull", "load", "import"])
def test_too_little_space(work, goods, disk_kind, how):
    outcomes = []
    for left in LEFT:
        with small_disk(work, disk_kind) as disk:
            store = disk.store
            store.run("pull", goods.small_name)
            before = disk_blocks(store.root)
            disk.fill(int(left * MIB))
            try:
                store.run(*goods.words[how])
                outcomes.append(True)
            except Failed as error:
                outcomes.append(False)
                assert has_space_problem(error.text), f"{left} MiB left: {error.text}"
                assert set(store.images()) == {goods.small_name}, "the store can be read on a full disk"
                check_nothing_left(store, before)
                assert store.check() == ""
            disk.make_room()
            store.run(*goods.words[how])
            scratch = f"{work}/m{left}"
            goods.check(store, goods.name if how == "pull" else "x:1", goods.wanted[how], scratch)
            goods.check(store, goods.small_name, contents(goods.small), scratch + "s")
            assert store.check() == ""
    assert outcomes == sorted(outcomes, reverse=True), "with less space it does not get better"
    assert not outcomes[-1] and False in outcomes[2:]


def test_no_space_for_a_store(work, goods, disk_kind):
    with small_disk(work, disk_kind) as disk:
        disk.fill(0)
        with pytest.raises(Failed) as error:
            disk.store.run("pull", goods.name)
        assert has_space_problem(error.value.text) and disk.store.root in error.value.text
        disk.make_room()
        disk.store.run("pull", goods.name)
        assert disk.store.check() == ""


def test_a_full_disk_can_be_cleaned(work, goods, disk_kind):
    """Removing needs space in the database; it is kept in reserve."""
    with small_disk(work, disk_kind) as disk:
        disk.store.run("pull", goods.name)
        disk.fill(0)
        disk.store.run("rm", goods.name)
        assert disk.store.images() == {}
        disk.store.run("gc")
        assert free(disk.where) > 8 * MIB
        disk.store.run("pull", goods.small_name)
        assert disk.store.check() == ""


def test_tag_and_untag_on_a_full_disk(work, goods, disk_kind):
    """Either it is done or it says why, and the image stays as it was."""
    with small_disk(work, disk_kind) as disk:
        disk.store.run("pull", goods.small_name)
        disk.fill(0)
        try:
            disk.store.run("tag", goods.small_name, "other:1")
        except Failed as error:
            assert has_space_problem(error.text)
        assert goods.small_name in disk.store.images()
        disk.store.run("rm", goods.small_name)
        assert goods.small_name not in disk.store.images()


@pytest.mark.parametrize("form", [["-o"], None], ids=["file", "output"])
def test_save_to_a_full_disk(work, goods, disk_kind, stores, form):
    store = stores()
    store.run("pull", goods.name)
    for left in (4, 1, 0):
        with small_disk(work, disk_kind) as disk:
            disk.fill(left * MIB)
            target = f"{disk.where}/out.tar"
            if form:
                with pytest.raises(Failed) as error:
                    store.run("save", "-o", target, goods.name)
                assert has_space_problem(error.value.text) and sorted(os.listdir(disk.where)) == sorted(
                    {"ballast", "store"} | ({"lost+found"} if disk_kind == "ext4" else set()))  # fmt: skip
                continue
            with open(target, "wb") as out:
                process = store.start("save", goods.name, stdout=out, stderr=subprocess.PIPE)
                message = process.communicate(timeout=60)[1].decode()
            assert process.returncode == 1 and has_space_problem(message)
    assert store.check() == ""


def test_an_older_file_survives_a_failed_save(work, goods, stores):
    store = stores()
    store.run("pull", goods.name)
    with small_disk(work, "tmpfs") as disk:
        target = f"{disk.where}/out.tar"
        with open(target, "wb") as out:
            out.write(b"older")
        disk.fill(MIB)
        with pytest.raises(Failed):
            store.run("save", "-o", target, goods.name)
        with open(target, "rb") as kept:
            assert kept.read() == b"older"


@pytest.mark.parametrize("how", ["pull", "load", "import"])
def test_no_inodes(work, goods, how):
    """df shows free space, but files cannot be made: the same error, the same cleaning up."""
    if not os.path.exists("/dev/loop-control"):
        pytest.skip("needs /dev/loop-control")
    with small_disk(work, "ext4", "-N", "300") as disk:
        store = disk.store
        store.run("pull", goods.small_name)
        before = disk_blocks(store.root)
        with pytest.raises(Failed) as error:
            store.run(*goods.words[how])
        assert has_space_problem(error.value.text)
        assert set(store.images()) == {goods.small_name} and store.check() == ""
        check_nothing_left(store, before)
        store.run("rm", goods.small_name)
        store.run("pull", goods.small_name)
        assert store.check() == ""
