"""Fixtures of the image tests: stores that are removed again, registries, a private mount namespace, a time limit."""

import os
import shutil
import signal
import subprocess
import tempfile

import pytest

import imagelib
import registrylib


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


@pytest.fixture(scope="session", autouse=True)
def namespace():
    """Whatever is mounted goes with this process."""
    if os.geteuid() == 0:
        imagelib.private_mounts()


@pytest.fixture
def work():
    """A folder for the test, removed afterwards; nothing may be mounted in it by then."""
    path = tempfile.mkdtemp(prefix="davit-image-", dir=os.environ.get("DAVIT_TEST_TMP"))
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
