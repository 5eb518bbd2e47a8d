"""Fixtures: one sandbox per test process, bundles that clean up after themselves, and the leak check at the end."""

import contextlib
import os
import signal

import pytest

from davitlib import HERE, PEER, Bundle, Sandbox, read, wait_for, why_not_here


def pytest_collection_modifyitems(items):
    reason = why_not_here()
    if reason:
        for item in items:
            item.add_marker(pytest.mark.skip(reason=reason))
    if PEER:
        expect_peer_differences(items)


def expect_peer_differences(items):
    """Only when the suite itself is being checked against runc or crun: peer_differences.txt says what they do otherwise."""
    for line in read(f"{HERE}/peer_differences.txt").splitlines():
        peer, _, rest = line.partition(" ")
        name, _, reason = rest.strip().partition("  ")
        if peer != PEER:
            continue
        for item in items:
            if item.nodeid.split("/")[-1].startswith(name):
                item.add_marker(pytest.mark.xfail(reason=f"{peer}: {reason.strip()}", strict=False))


def open_descriptors():
    return {fd: os.readlink(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{fd}")}


@pytest.fixture(scope="session")
def sandbox():
    """Fails the session when a container left anything behind, or when this process gained a descriptor."""
    before = open_descriptors()
    box = Sandbox()
    yield box
    with contextlib.suppress(AssertionError):
        wait_for(lambda: not box.leftovers(), "", 2)
    left = box.leftovers()
    box.close()
    gained = {fd: target for fd, target in open_descriptors().items() if fd not in before}
    assert left == []
    assert gained == {}


@pytest.fixture
def bundles(sandbox):
    """A factory of bundles; all are removed after the test, by the runtime first."""
    made = []

    def make(**options):
        made.append(Bundle(sandbox, **options))
        return made[-1]

    yield make
    left = [entry for bundle in made for entry in bundle.cleanup()]
    assert left == [], "delete --force left something behind"


@pytest.fixture
def bundle(bundles):
    return bundles()


@pytest.fixture
def probe(sandbox):
    if not sandbox.has_probe:
        pytest.skip("no C compiler that links statically: /bin/probe could not be built")


class TookTooLong(Exception):
    """A test that waits for something that will not happen."""


@pytest.fixture(autouse=True)
def time_limit(request):
    """Ends a hanging test, so that one of them does not take the whole file along. @pytest.mark.seconds(N) sets the limit."""

    def stop(*_):
        raise TookTooLong(f"{request.node.name} took too long")

    mark = request.node.get_closest_marker("seconds")
    previous = signal.signal(signal.SIGALRM, stop)
    signal.alarm(mark.args[0] if mark else 30)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, previous)


def pytest_configure(config):
    config.addinivalue_line("markers", "seconds(limit): the time limit of one test")
