"""That the virtual machine is what the other tests of this folder take it for: a host with cgroup v2 only."""

import os


def read(path):
    with open(path, encoding="utf-8") as file:
        return file.read()


def test_the_only_hierarchy_is_version_2():
    assert [line for line in read("/proc/self/mountinfo").splitlines() if " - cgroup " in line] == []
    assert "0::/init.scope" in read("/proc/self/cgroup")


def test_every_controller_is_handed_down():
    wanted = {"cpu", "cpuset", "io", "memory", "pids", "hugetlb"}
    assert wanted <= set(read("/sys/fs/cgroup/cgroup.subtree_control").split())


def test_limits_can_be_written():
    path = "/sys/fs/cgroup/probe"
    os.mkdir(path)
    try:
        for name, value in (("memory.max", "4194304"), ("pids.max", "7"), ("cpu.max", "50000 100000")):
            with open(f"{path}/{name}", "w", encoding="utf-8") as file:
                file.write(value)
            assert read(f"{path}/{name}").strip() == value
    finally:
        os.rmdir(path)


def test_the_root_can_be_pivoted():
    assert " / / " in next(line for line in read("/proc/self/mountinfo").splitlines() if line.split()[4] == "/")
    assert next(line for line in read("/proc/self/mountinfo").splitlines() if line.split()[4] == "/").split(" - ")[1].startswith("tmpfs")
