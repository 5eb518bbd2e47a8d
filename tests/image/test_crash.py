"""kill -9 of davit-image, 200 times at random moments and before chosen system calls: whatever it was doing, the store
opens, every image is whole or absent, what is absent can be fetched, and in the end nothing is left behind.
$DAVIT_CRASH_SEED repeats a run, $DAVIT_KILLS sets how many there are.
"""

import os
import random
import shutil
import subprocess
import time

import pytest

import imagelib
from imagelib import Image, Layer, contents, differences, disk_blocks, file, folder, hardlink, symlink, tar, tar_tree, write_docker_archive

SEED = int(os.environ.get("DAVIT_CRASH_SEED", random.getrandbits(32)))
KILLS = int(os.environ.get("DAVIT_KILLS", 200))
FOLDERS = ("blobs/sha256", "layers", "ingest", "tmp", "trash")
# How many of the kills hit which command.
SHARES = {"pull": 0.35, "load": 0.2, "import": 0.15, "rm": 0.12, "prune": 0.09, "gc": 0.09}
pytestmark = pytest.mark.seconds(120 + KILLS)


def layer(name, chance, files, size, compression="gzip"):
    entries = [folder(name), file(f"{name}/large", chance.randbytes(size)), symlink(f"{name}/link", "large"),
               hardlink(f"{name}/hard", f"{name}/large")]  # fmt: skip
    for number in range(files):
        if number % 10 == 0:
            entries.append(folder(f"{name}/{number}", mode=0o750))
        entries.append(file(f"{name}/{number - number % 10}/f", chance.randbytes(500), uid=number % 3, mode=0o640))
    return Layer(tar(*entries), compression)


class Scene:
    """Images in a registry and in files, and the commands that bring them into a store and take them out again."""

    def __init__(self, work, registry):
        chance = random.Random(1)
        base = layer("base", chance, 20, 200_000)
        self.images = {"keep": Image(base, layer("keep", chance, 5, 1000), labels={"keep": "1"}),
                       "a": Image(base, layer("a", chance, 30, 1_000_000), layer("a2", chance, 5, 300_000, "zstd")),
                       "b": Image(base, layer("b", chance, 60, 50_000, "none")),
                       "c": Image(layer("c", chance, 5, 3_000_000))}  # fmt: skip
        self.names = {name: registry.push(name, image) for name, image in self.images.items()}
        loaded = {f"l{number}:1": Image(base, layer(f"l{number}", chance, 30, 500_000)) for number in (1, 2)}
        self.archive = write_docker_archive(f"{work}/l.tar", *[(image, [name]) for name, image in loaded.items()])
        self.tar = f"{work}/i.tar"
        with open(self.tar, "wb") as out:
            out.write(layer("i", chance, 30, 1_000_000, "none").data)
        self.imported = tar_tree(open(self.tar, "rb").read())
        self.wanted = {**{self.names[name]: contents(image) for name, image in self.images.items()},
                       **{name: contents(image) for name, image in loaded.items()}, "i:1": self.imported}  # fmt: skip
        self.ids = {**{self.names[name]: image.id for name, image in self.images.items()},
                    **{name: image.id for name, image in loaded.items()}}  # fmt: skip
        self.removable = [name for name in self.wanted if name != self.names["keep"]]

    def fetch(self, name):
        """The command that brings the image."""
        return ["import", self.tar, "i:1"] if name == "i:1" else ["pull", name] if name in self.names.values() else ["load", "-i", self.archive]

    def prepare(self, store, victim, chance, there):
        """Makes what must be there for the command, given the images that are; returns the command that is to be killed."""
        if victim in ("pull", "load", "import"):
            name = {"pull": self.names[chance.choice("abc")], "load": "l1:1", "import": "i:1"}[victim]
            gone = {name, "l2:1"} & there if victim == "load" else {name} & there
            if gone:
                store.run("rm", "-f", *gone)
            return self.fetch(name)
        name = chance.choice(self.removable)
        if name not in there:
            store.run(*self.fetch(name))
        if victim == "gc":
            store.run("rm", "-f", "--no-prune", name)
            return ["gc"]
        return ["rm", "-f", name] if victim == "rm" else ["prune", "-a", "--filter", "label!=keep"]

    def check(self, store, where):
        """The store opens without a loss, and every image that it lists is whole, by fsck and by looking at its files."""
        code, _, error = store.call("fsck")
        assert (code, error) == (0, ""), f"fsck: exit {code}: {error}"
        there = store.images()
        for name, entry in there.items():
            shown = self.wanted.get(name, self.imported)  # only imports lose their names, to the next import
            assert name.startswith("<none>") or entry["Id"] == self.ids.get(name, entry["Id"])
            with store.mounted(name if name in self.wanted else entry["Id"], where) as tree:
                assert differences(shown, tree) == "", name
            shutil.rmtree(f"{where}.l")
        return set(there) & set(self.wanted)

    def check_again(self, store, words, where):
        """The same command, not killed."""
        store.run(*words)
        there = self.check(store, where)
        if words[0] in ("pull", "load"):
            assert words[-1] in there or words[0] == "load" and {"l1:1", "l2:1"} <= there
        if words[0] == "rm":
            assert words[-1] not in there
        return there

    def check_empty(self, store, work):
        """After everything was removed nothing is left: as small as a store that never had an image."""
        store.run("prune", "-a")
        store.run("gc")
        left = {place: os.listdir(f"{store.root}/{place}") for place in FOLDERS}
        assert not any(left.values()), left
        fresh = imagelib.Store(f"{work}/fresh")
        fresh.run("gc")
        assert disk_blocks(store.root) <= disk_blocks(fresh.root) + 200_000  # the database keeps pages that it used
        shutil.rmtree(fresh.root)


@pytest.fixture
def scene(work, registry):
    return Scene(work, registry)


def duration(store, scene, victim):
    """Of the command when nobody kills it, in seconds; the shortest of three."""
    found = []
    for number in range(3):
        words = scene.prepare(store, victim, random.Random(number), set(store.images()))
        begun = time.monotonic()
        store.run(*words)
        found.append(time.monotonic() - begun)
    return min(found)


def killed(store, words, seconds):
    """Whether it was killed; it may have been done by then."""
    process = store.start(*words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(seconds)
    process.kill()
    return process.wait() != 0


@pytest.mark.parametrize("victim", SHARES)
def test_killed_at_random_moments(work, stores, scene, victim):
    print(f"DAVIT_CRASH_SEED={SEED}")
    chance, store, keep = random.Random(SEED), stores(), scene.names["keep"]
    store.run("pull", keep)
    whole = duration(store, scene, victim)
    there = set(store.images())
    kills = tries = again = 0
    while kills < KILLS * SHARES[victim]:
        tries += 1
        assert tries < 20 + 4 * KILLS, "it is always done before it is killed"
        words = scene.prepare(store, victim, chance, there)
        was_killed = killed(store, words, chance.random() * whole * 1.1)
        kills += was_killed
        there = scene.check(store, f"{work}/m")
        assert keep in there
        possible = words[0] != "rm" or words[-1] in there
        if was_killed and possible and chance.random() < 0.5:
            again += 1
            there = scene.check_again(store, words, f"{work}/m")
    print(f"{victim}: {kills} kills within {whole * 1000:.0f} ms, {tries - kills} too late, {again} times repeated in full")
    for name in scene.removable:
        store.run(*scene.fetch(name))
    assert scene.check(store, f"{work}/m") == set(scene.wanted)
    scene.check_empty(store, work)


# ---------------------------------------------------------------------------------------- before chosen system calls


def killed_before(store, call, number, words):
    """Killed by strace as a thread enters the call for the given time; False: it ends without having made so many."""
    watch = ["strace", "-f", "-o", "/dev/null", "-e", f"trace={call}", "-e", f"inject={call}:signal=KILL:when={number}"]
    done = subprocess.run([*watch, imagelib.PROGRAM, "--root", store.root, *words], capture_output=True, timeout=60, check=False)
    assert done.returncode in (0, -9, 137), done.stderr
    return done.returncode != 0


def numbers():
    """1 to 8 and then ever more seldom."""
    number = 1
    while number < 500:
        yield number
        number = max(number + 1, number * 5 // 4)


CALLS = {"pull": ("mkdirat", "renameat2", "syncfs", "fdatasync", "unlinkat"), "load": ("renameat2", "fdatasync"), "import": ("renameat2", "syncfs"),
         "rm": ("renameat2", "fdatasync", "unlinkat")}  # fmt: skip


@pytest.mark.parametrize("victim, call", [(victim, call) for victim, calls in CALLS.items() for call in calls])
def test_killed_before_a_call(work, scene, victim, call):
    """Each time in a store of its own that does not exist before, so its making is interrupted as well."""
    if shutil.which("strace") is None:
        pytest.skip("needs strace")
    words = scene.prepare(imagelib.Store(f"{work}/other"), victim, random.Random(2), set())
    reached = 0
    for number in numbers():
        store = imagelib.Store(f"{work}/store")
        if victim == "rm":
            subprocess.run(["cp", "-a", f"{work}/other/.", store.root], check=True)
        hit = killed_before(store, call, number, words)
        scene.check(store, f"{work}/m")
        if not hit:
            break
        reached = number
        if words[0] != "rm" or words[-1] in store.images():
            scene.check_again(store, words, f"{work}/m")
        scene.check_empty(store, work)
        shutil.rmtree(store.root)
    print(f"{victim}: killed before up to {reached} of {call}")
    assert reached > 0
