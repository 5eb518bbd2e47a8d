"""Many containers one after another: nothing may grow and nothing may stay. DAVIT_ALL=1 makes it a thousand."""

import os
import time

import pytest

from davitlib import PARENT, cgroup_directories, mounts_below, processes_naming, read

COUNT = 1000 if os.environ.get("DAVIT_ALL") else 100


def machine():
    """Figures of the machine that a leak would move, whatever else runs on it."""
    return {
        "mounts": len(mounts_below("/tmp/" + PARENT)),
        "cgroups": sum(len(os.listdir(path)) for path in cgroup_directories(PARENT)),
        "descriptors": len(os.listdir("/proc/self/fd")),
    }


@pytest.mark.seconds(600)
def test_containers_one_after_another_leave_nothing(bundle, sandbox):
    bundle.resources(memory={"limit": 64 << 20}, pids={"limit": 20}, cpu={"shares": 100})
    bundle.args("/bin/true")
    assert bundle.run().returncode == 0
    before, times = machine(), []
    for number in range(COUNT):
        bundle.id = f"soak-{os.getpid()}-{number}"
        bundle.linux["cgroupsPath"] = bundle.cgroups_path = f"/{PARENT}/{bundle.id}"
        start = time.monotonic()
        result = bundle.run()
        times.append(time.monotonic() - start)
        assert result.returncode == 0, result.stderr
        assert cgroup_directories(bundle.cgroups_path) == []
    assert machine() == before
    assert [name for name in os.listdir(sandbox.root) if name[0] not in ".~"] == []
    assert processes_naming(bundle.path) == []
    tenth = max(COUNT // 10, 1)
    first, last = sorted(times[:tenth])[tenth // 2], sorted(times[-tenth:])[tenth // 2]
    print(f"{COUNT} runs: median of the first tenth {first * 1000:.1f} ms, of the last {last * 1000:.1f} ms")


@pytest.mark.seconds(300)
def test_created_started_killed_deleted_again_and_again(bundle, sandbox):
    bundle.args("sleep", "1000")
    for _ in range(COUNT // 5):
        bundle.up()
        assert bundle.call("kill", bundle.id, "KILL").returncode == 0
        bundle.wait_stopped()
        assert bundle.delete().returncode == 0
    bundle.assert_gone()


@pytest.mark.seconds(300)
def test_exec_again_and_again_in_one_container(bundle):
    bundle.args("sleep", "1000").up()
    pid = bundle.pid()
    descriptors = len(os.listdir(f"/proc/{pid}/fd"))
    mounts = len(read(f"/proc/{pid}/mountinfo").splitlines())
    for number in range(COUNT // 2):
        assert bundle.exec("/bin/sh", "-c", f"exit {number % 250}").returncode == number % 250
    assert len(os.listdir(f"/proc/{pid}/fd")) == descriptors
    assert len(read(f"/proc/{pid}/mountinfo").splitlines()) == mounts
    assert bundle.knob("pids", "pids.current") == "1" if os.path.exists(bundle.cgroup("pids")) else True


@pytest.mark.seconds(120)
def test_many_at_the_same_time(bundles):
    import concurrent.futures

    made = [bundles() for _ in range(16)]
    for number, bundle in enumerate(made):
        bundle.sh(f"echo {number}; exit {number}")
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda bundle: bundle.run(), made))
    assert [(result.returncode, result.stdout.strip()) for result in results] == [(number, str(number)) for number in range(16)]
    for bundle in made:
        bundle.assert_gone()
