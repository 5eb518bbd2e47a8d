"""Pull, load, remove and gc on a device whose power is cut at random moments: after it every image is there and right, or
absent and can be pulled. powercut.md says how. $DAVIT_POWER_CUTS sets how many, $DAVIT_CRASH_SEED repeats a run.
"""

import contextlib
import os
import random
import signal
import subprocess
import threading
import time

import pytest

import powercut
from imagelib import Failed, Image, Store, contents, file, folder, hardlink, is_sanitized, mount, symlink, tar_tree, write_docker_archive

MIB = 1 << 20
CUTS = int(os.environ.get("DAVIT_POWER_CUTS", 200 if os.environ.get("DAVIT_ALL") else 20))
SEED = int(os.environ.get("DAVIT_CRASH_SEED", random.getrandbits(32)))
MODES = ("all", "none", "some")
pytestmark = pytest.mark.seconds(60 + CUTS * (40 if is_sanitized() else 10))


def layer(name, files, size, chance):
    """A layer of `files` small files and one of `size` bytes that do not compress."""
    entries = [folder(name), file(f"{name}/large", chance.randbytes(size))]
    for number in range(files):
        entries.append(file(f"{name}/{number}", chance.randbytes(chance.randrange(3000)), uid=number % 5, mode=0o640))
    return entries + [symlink(f"{name}/link", "large"), hardlink(f"{name}/hard", f"{name}/large")]


class Workload:
    """Commands on a store, one after the other, until stopped; knows what each image must look like."""

    def __init__(self, store, registry, archive_folder, chance):
        self.store, self.chance = store, chance
        base = layer("base", 200, 2 * MIB, chance)
        parts = {"a": [base, layer("a", 50, MIB, chance)], "b": [base, layer("b", 300, 10000, chance), layer("b2", 3, 3 * MIB, chance)],
                 "c": [layer("c", 20, 5 * MIB, chance)]}  # fmt: skip
        compression = {"a": "gzip", "b": "zstd", "c": "none"}
        self.images = {name: Image(*layers, compression=compression[name]) for name, layers in parts.items()}
        self.references = {registry.push(name, image): image for name, image in self.images.items()}
        loaded = Image(base, layer("loaded", 100, MIB, chance))
        self.archive = write_docker_archive(f"{archive_folder}/loaded.tar", (loaded, ["loaded:1"]))
        self.images["loaded"] = loaded
        self.expected = {**self.references, "loaded:1": loaded}
        self.ending, self.error, self.commands, self.running = threading.Event(), None, 0, None
        self.thread = threading.Thread(target=self.run, daemon=True)

    def words(self):
        name = self.chance.choice(list(self.expected))
        if self.chance.random() < 0.25:
            return ["rm", "-f", name] if self.chance.random() < 0.7 else ["gc"]
        return ["load", "-i", self.archive] if name == "loaded:1" else ["pull", name]

    def run(self):
        while not self.ending.is_set():
            words = self.words()
            try:
                self.store.run(*words)
            except Failed as error:
                if words[0] != "rm":  # which may name what is not there
                    self.error = self.error or f"{words}: {error}"
                    return
            except Exception as error:  # noqa: BLE001, shown by finish()
                self.error = error
                return
            self.commands += 1

    def finish(self):
        self.ending.set()
        self.thread.join()
        assert self.error is None, self.error


def check_image(store, name, image):
    assert store.inspect(name)["Id"] == image.id, name
    exported = tar_tree(store.export(name))
    wanted = contents(image)
    assert exported.keys() == wanted.keys(), name
    for path, (kind, mode, uid, gid, content) in wanted.items():
        if kind == b"1":  # which of two linked names carries the content is the exporter's choice
            continue
        if exported[path][0] == b"1":
            continue
        assert exported[path] == (kind, mode, uid, gid, content), f"{name}: {path}"


def check_cut(where, workload):
    """How many of the images were there."""
    store = Store(f"{where}/davit")
    assert store.check() == ""
    names = store.images()
    there = [name for name in workload.expected if any(short(name) == short(found) for found in names)]
    for name in there:
        check_image(store, name, workload.expected[name])
    for name, image in workload.expected.items():
        if name not in there:
            store.run(*(["load", "-i", workload.archive] if name == "loaded:1" else ["pull", name]))
            check_image(store, name, image)
    store.run("gc")
    assert store.check() == ""
    return len(there)


def short(name):
    return name.removeprefix("docker.io/library/")


@pytest.fixture
def place(work):
    """Memory, so that the machine's disk does not set the pace."""
    if os.geteuid() != 0 or not os.path.exists("/dev/fuse") or not os.path.exists("/dev/loop-control"):
        pytest.skip("needs root, /dev/fuse and /dev/loop-control")
    mount("tmpfs", work, "tmpfs", "size=4g")
    yield work
    powercut.check(powercut.LIBC.umount2(work.encode(), powercut.MNT_DETACH), "unmount")


@contextlib.contextmanager
def device_and_store(place):
    image = f"{place}/image"
    powercut.make_ext4(image, 768 * MIB)
    for name in ("mnt", "mnt2"):
        os.makedirs(f"{place}/{name}")
    with powercut.Device(place, image) as device:
        os.unlink(image)  # the server holds its own copies
        with device.mounted(f"{place}/mnt", "commit=1") as where:
            yield device, Store(f"{where}/davit")


def test_images_survive_power_cuts(place, lab, registry):
    print(f"DAVIT_CRASH_SEED={SEED}")
    chance = random.Random(SEED)
    found = []
    with device_and_store(place) as (device, store):
        workload = Workload(store, registry, lab.path("archives"), random.Random(SEED + 1))
        workload.thread.start()
        for number in range(CUTS):
            time.sleep(chance.random() ** 2 * 1.5)
            mode = MODES[number % len(MODES)]
            assert workload.error is None, workload.error
            device.cut(f"{place}/cut", mode, number)
            try:
                with powercut.mounted_image(f"{place}/cut", f"{place}/mnt2") as where:
                    found.append(check_cut(where, workload))
            except BaseException as error:
                raise AssertionError(f"cut {number} of mode {mode}: {error}") from error
        workload.finish()
    print(f"{CUTS} cuts during {workload.commands} commands; images there after a cut: {sorted(found)}")
    assert CUTS < 20 or len(set(found)) > 1  # the cuts fell at different moments


def test_a_pull_that_said_done_is_there(place, registry):
    """Once the program has ended with success, the image is on the disk, whatever the disk does with unflushed writes."""
    image = Image(layer("x", 100, MIB, random.Random(1)))
    reference = registry.push("x", image)
    with device_and_store(place) as (device, store):
        store.run("pull", reference)
        device.cut(f"{place}/cut", "none")
        with powercut.mounted_image(f"{place}/cut", f"{place}/mnt2") as where:
            after = Store(f"{where}/davit")
            check_image(after, reference, image)
            assert after.check() == ""


@pytest.mark.parametrize("victim", ["pull", "load"])
def test_killed_and_cut(place, lab, registry, victim):
    """kill -9 in the middle and then a cut: what the next start finds on the copy is sound as well."""
    chance = random.Random(SEED)
    with device_and_store(place) as (device, store):
        workload = Workload(store, registry, lab.path("archives"), chance)
        words = ["load", "-i", workload.archive] if victim == "load" else ["pull", list(workload.references)[1]]
        for number in range(max(2, CUTS // 10)):
            process = store.start(*words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            time.sleep(chance.random() * 0.5)
            process.send_signal(signal.SIGKILL)
            process.wait()
            device.cut(f"{place}/cut", MODES[number % 3], number)
            with powercut.mounted_image(f"{place}/cut", f"{place}/mnt2") as where:
                check_cut(where, workload)
