"""Fixtures of the image tests: stores that are removed again, registries, a private mount namespace, a time limit."""

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile

import pytest

import imagelib
import powercut
import registrylib

GIB = 1 << 30


def pytest_configure(config):
    config.addinivalue_line("markers", "seconds(limit): the time limit of one test")
    config.addinivalue_line("markers", "without_program: does not run davit-image")


def why_not_here():
    if imagelib.PROGRAM is None:
        return "no davit-image: set DAVIT_BIN or build the release or dev preset"
    if os.geteuid() != 0:
        return "needs root"
    return None


def pytest_collection_modifyitems(items):
    reason = why_not_here()
    for item in items:
        if reason and not item.get_closest_marker("without_program"):
            item.add_marker(pytest.mark.skip(reason=reason))


def mounts_below(path):
    with open("/proc/self/mountinfo", encoding="utf-8") as table:
        return [line.split()[4] for line in table if line.split()[4].startswith(path)]


def free_memory():
    with open("/proc/meminfo", encoding="utf-8") as facts:
        return next(int(line.split()[1]) for line in facts if line.startswith("MemAvailable")) << 10


@contextlib.contextmanager
def private_disk(folder):
    """An ext4 of our own in memory: what is synced there waits for nobody else's writes, and it goes with this process."""
    imagelib.mount("tmpfs", folder, "tmpfs", f"mode=0700,size={free_memory() // 2}")
    try:
        powercut.make_ext4(f"{folder}/disk", 6 * GIB, "-i", "8192", "-m", "0", "-E", "nodiscard,lazy_itable_init=1,lazy_journal_init=1")
        os.makedirs(f"{folder}/mnt")
        with powercut.mounted_image(f"{folder}/disk", f"{folder}/mnt", "discard") as where:
            yield where
    finally:
        imagelib.LIBC.umount2(folder.encode(), 2)


@pytest.fixture(scope="session", autouse=True)
def disk():
    """Where temporary files lie: $DAVIT_TEST_TMP, or a disk in memory where that is possible. Whatever is mounted goes
    with this process."""
    with contextlib.ExitStack() as stack:
        if os.geteuid() == 0:
            imagelib.private_mounts()
        if "DAVIT_TEST_TMP" in os.environ:
            tempfile.tempdir = os.environ["DAVIT_TEST_TMP"]
        elif os.geteuid() == 0 and os.path.exists("/dev/loop-control") and shutil.which("mkfs.ext4") and free_memory() > 4 * GIB:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="davit-image-"))
            tempfile.tempdir = stack.enter_context(private_disk(folder))
        stack.callback(setattr, tempfile, "tempdir", None)
        yield


@pytest.fixture
def work():
    """A folder for the test, removed afterwards; nothing may be mounted in it by then."""
    path = tempfile.mkdtemp(prefix="davit-image-")
    yield path
    left = mounts_below(path)
    for place in reversed(left):
        imagelib.LIBC.umount2(place.encode(), 2)
    shutil.rmtree(path)
    assert left == []


@pytest.fixture
def stores(work):
    """A factory of stores: stores() or stores("name"). Each is checked by fsck at the end of the test."""
    made = {}

    def make(name="", **environment):
        path = f"{work}/store-{name or len(made)}"
        made[path] = imagelib.Store(path, environment)
        return made[path]

    make.unchecked = set()
    yield make
    for path, store in made.items():
        if path not in make.unchecked:
            assert store.check() == ""


@pytest.fixture
def store(stores):
    return stores()


@pytest.fixture
def lab():
    if registrylib.PROGRAM is None:
        pytest.skip("needs docker-registry")
    with registrylib.Lab() as lab:
        yield lab


@pytest.fixture
def registry(lab):
    return lab.registry()


@pytest.fixture
def skopeo():
    """skopeo(WORD...): its output; fails the test when it fails."""
    if shutil.which("skopeo") is None:
        pytest.skip("needs skopeo")

    def call(*words):
        done = subprocess.run(["skopeo", "--insecure-policy", *words], capture_output=True, timeout=120, check=False)
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout

    return call


class TookTooLong(Exception):
    """A test that waits for something that will not happen."""


@pytest.fixture(autouse=True)
def time_limit(request):
    """Ends a hanging test, so that one of them does not take the whole file along. @pytest.mark.seconds(N) sets the limit."""

    def stop(*_):
        raise TookTooLong(f"{request.node.name} took too long")

    mark = request.node.get_closest_marker("seconds")
    previous = signal.signal(signal.SIGALRM, stop)
    signal.alarm(mark.args[0] if mark else 60)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, previous)
