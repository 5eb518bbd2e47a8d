"""config.json's mounts, devices, masked and read-only paths, as seen in the container's own mountinfo."""

import os
import stat

import pytest

from davitlib import PEER, differs, mount, mounts_below, read, umount, write

MS_BIND, MS_REC, MS_SHARED, MS_PRIVATE, MS_SLAVE = 4096, 16384, 1 << 20, 1 << 18, 1 << 19


class Table:
    """A parsed mountinfo: proc(5)."""

    def __init__(self, text):
        self.rows = []
        for line in text.splitlines():
            left, _, right = line.partition(" - ")
            fields, rest = left.split(), right.split()
            self.rows.append({"root": fields[3], "target": fields[4], "flags": set(fields[5].split(",")), "tags": fields[6:],
                              "type": rest[0], "source": rest[1], "super": set(rest[2].split(","))})  # fmt: skip

    def at(self, target):
        """The topmost mount there."""
        rows = [row for row in self.rows if row["target"] == target]
        assert rows, f"nothing is mounted at {target}"
        return rows[-1]


def table(bundle, *flags):
    return Table(bundle.args("cat", "/proc/self/mountinfo").must(*flags))


@pytest.fixture
def source(bundle):
    """A directory of the host with a file and a directory in it."""
    write(f"{bundle.path}/source/file", "content\n")
    write(f"{bundle.path}/source/sub/deep", "deep\n")
    return f"{bundle.path}/source"


@pytest.fixture
def tree(bundle, source):
    """A tmpfs of the host at source/sub of a source directory."""
    mount("tmpfs", f"{source}/sub", "tmpfs")
    write(f"{source}/sub/inner", "inner\n")
    yield source
    umount(f"{source}/sub")


# ------------------------------------------------------------------------------------------------------- default mounts

DEFAULTS = [
    ("/proc", "proc", {"nosuid", "noexec", "nodev"}),
    ("/dev", "tmpfs", {"nosuid"}),
    ("/dev/pts", "devpts", {"nosuid", "noexec"}),
    ("/dev/shm", "tmpfs", {"nosuid", "noexec", "nodev"}),
    ("/dev/mqueue", "mqueue", {"nosuid", "noexec", "nodev"}),
    ("/sys", "sysfs", {"ro", "nosuid", "noexec", "nodev"}),
]


def test_default_mounts(bundle):
    mounts = table(bundle)
    for target, kind, flags in DEFAULTS:
        row = mounts.at(target)
        assert row["type"] == kind, target
        assert flags <= row["flags"], target
    assert {"mode=755", "size=65536k"} <= mounts.at("/dev")["super"]
    assert {"gid=5", "mode=620", "ptmxmode=666"} <= mounts.at("/dev/pts")["super"]


def test_no_mount_of_the_host_is_visible(bundle):
    targets = {row["target"] for row in table(bundle).rows}
    assert not [target for target in targets if target.startswith(("/tmp", "/opt", "/run", "/var"))]


def test_dev_has_the_default_nodes_and_links(bundle):
    script = """
    for name in null zero full random urandom tty; do stat -c '%n %F %a %t:%T' /dev/$name; done
    for name in fd stdin stdout stderr ptmx; do echo $name $(readlink /dev/$name); done
    """
    lines = bundle.sh(script).must().splitlines()
    assert lines == [
        "/dev/null character special file 666 1:3", "/dev/zero character special file 666 1:5",
        "/dev/full character special file 666 1:7", "/dev/random character special file 666 1:8",
        "/dev/urandom character special file 666 1:9", "/dev/tty character special file 666 5:0",
        "fd /proc/self/fd", "stdin /proc/self/fd/0", "stdout /proc/self/fd/1", "stderr /proc/self/fd/2", "ptmx pts/ptmx",
    ]  # fmt: skip


def test_dev_holds_nothing_of_the_host(bundle):
    names = set(bundle.args("ls", "/dev").must().split())
    assert names <= {"core", "fd", "full", "mqueue", "null", "ptmx", "pts", "random", "shm", "stderr", "stdin", "stdout", "tty",
                     "urandom", "zero", "console"}  # fmt: skip


def test_extra_devices(bundle):
    bundle.linux["devices"] = [
        {"path": "/dev/mine", "type": "c", "major": 1, "minor": 3, "fileMode": 0o640, "uid": 12, "gid": 34},
        {"path": "/dev/deep/er/zero", "type": "c", "major": 1, "minor": 5, "fileMode": 0o666, "uid": 0, "gid": 0},
        {"path": "/dev/block", "type": "b", "major": 7, "minor": 200, "fileMode": 0o600},
        {"path": "/dev/pipe", "type": "p", "fileMode": 0o600},
    ]
    lines = bundle.sh("stat -c '%n %F %a %u:%g %t:%T' /dev/mine /dev/deep/er/zero /dev/block /dev/pipe; echo x > /dev/mine").must().splitlines()
    assert lines == ["/dev/mine character special file 640 12:34 1:3", "/dev/deep/er/zero character special file 666 0:0 1:5",
                     "/dev/block block special file 600 0:0 7:c8", "/dev/pipe fifo 600 0:0 0:0"]  # fmt: skip


def test_extra_device_with_a_default_devices_name(bundle):
    bundle.linux["devices"] = [{"path": "/dev/null", "type": "c", "major": 1, "minor": 3, "fileMode": 0o666, "uid": 0, "gid": 0}]
    assert bundle.sh("echo x > /dev/null && stat -c %t:%T /dev/null").must() == "1:3"


# --------------------------------------------------------------------------------------------------------------- binds


@pytest.mark.parametrize("kind", ["bind", "none", None])
def test_bind_of_a_directory(bundle, source, kind):
    bundle.mount("/mnt", kind, source, ["bind"])
    assert bundle.sh("cat /mnt/file; echo new > /mnt/made").must() == "content"
    assert read(f"{source}/made") == "new\n"


def test_bind_of_a_file_makes_the_missing_target(bundle, source):
    bundle.mount("/not/there/file", "bind", f"{source}/file", ["bind", "ro"])
    assert bundle.sh("cat /not/there/file; echo x 2>&1 > /not/there/file; true").must().startswith("content")
    assert read(f"{source}/file") == "content\n"


def test_bind_makes_the_missing_directory(bundle, source):
    bundle.mount("/not/there/either", "bind", source, ["rbind"])
    assert bundle.args("cat", "/not/there/either/file").must() == "content"


def test_relative_bind_source_is_below_the_bundle(bundle, source):
    bundle.mount("/mnt", "bind", "source", ["bind"])
    assert bundle.args("cat", "/mnt/file").must() == "content"


def test_bind_of_a_socket(bundle):
    import socket

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"{bundle.path}/socket")
        bundle.mount("/run/service.sock", "bind", f"{bundle.path}/socket", ["bind"])
        assert bundle.sh("stat -c %F /run/service.sock").must() == "socket"


FLAGS = [
    (["ro"], {"ro"}, set()),
    (["rw"], {"rw"}, {"ro"}),
    (["nosuid"], {"nosuid"}, set()),
    (["nodev"], {"nodev"}, set()),
    (["noexec"], {"noexec"}, set()),
    (["ro", "nosuid", "nodev", "noexec"], {"ro", "nosuid", "nodev", "noexec"}, set()),
    (["ro", "rw"], {"rw"}, {"ro"}),
    (["noexec", "exec"], set(), {"noexec"}),
    (["noatime"], {"noatime"}, set()),
    (["nodiratime"], {"nodiratime"}, set()),
    (["nosymfollow"], {"nosymfollow"}, set()),
]


@pytest.mark.parametrize("how", ["bind", "tmpfs"])
@pytest.mark.parametrize("options, present, absent", FLAGS, ids=["+".join(row[0]) for row in FLAGS])
def test_mount_flags(bundle, source, how, options, present, absent):
    if how == "bind":
        bundle.mount("/mnt", "bind", source, ["bind", *options])
    else:
        bundle.mount("/mnt", "tmpfs", "tmpfs", options)
    flags = table(bundle).at("/mnt")["flags"]
    assert present <= flags
    assert not absent & flags


def test_relatime_is_kept_by_a_read_only_bind(bundle, source):
    bundle.mount("/mnt", "bind", source, ["bind", "ro"])
    assert not {"noatime", "nodiratime"} & table(bundle).at("/mnt")["flags"]


def test_noexec_and_nosuid_take_effect(bundle, source):
    write(f"{source}/tool", "#!/bin/sh\necho ran\n", 0o755)
    bundle.mount("/mnt", "bind", source, ["bind", "noexec"])
    assert "ran" not in bundle.sh("/mnt/tool 2>&1; true").must()


@pytest.mark.parametrize("option, deep", [("bind", False), ("rbind", True)])
def test_rbind_takes_mounts_below_along(bundle, tree, option, deep):
    bundle.mount("/mnt", "bind", tree, [option])
    assert bundle.sh("test -e /mnt/sub/inner && echo yes || echo no").must() == ("yes" if deep else "no")


@pytest.mark.parametrize("option, deep", [("ro", False), ("rro", True)])
def test_rro_reaches_mounts_below(bundle, tree, option, deep):
    bundle.mount("/mnt", "bind", tree, ["rbind", option])
    result = bundle.sh("touch /mnt/x 2>/dev/null && echo top; touch /mnt/sub/x 2>/dev/null && echo below; true").must()
    assert result == ("" if deep else "below")


RECURSIVE = ["rnosuid", "rnodev", "rnoexec", "rnoatime", "rnodiratime", "rstrictatime", "rnosymfollow"]


@pytest.mark.parametrize("option", RECURSIVE)
def test_recursive_attributes(bundle, tree, option):
    bundle.mount("/mnt", "bind", tree, ["rbind", option])
    mounts = table(bundle)
    for target in ("/mnt", "/mnt/sub"):
        if option == "rstrictatime":
            assert not {"relatime", "noatime"} & mounts.at(target)["flags"]
        else:
            assert option[1:] in mounts.at(target)["flags"], target


PROPAGATION = [("shared", "shared:"), ("rshared", "shared:"), ("slave", ""), ("rslave", ""), ("private", ""), ("rprivate", ""),
               ("unbindable", "unbindable"), ("runbindable", "unbindable")]  # fmt: skip


@pytest.mark.parametrize("option, tag", PROPAGATION)
def test_propagation_of_a_bind(bundle, source, option, tag):
    bundle.mount("/mnt", "bind", source, ["bind", option])
    tags = table(bundle).at("/mnt")["tags"]
    assert any(entry.startswith(tag) for entry in tags) if tag else not any(entry.startswith("shared") for entry in tags)


@pytest.fixture
def shared_source(source):
    mount(source, source, None, MS_BIND)
    mount(None, source, None, MS_SHARED)
    yield source
    while umount(source):
        pass


def test_slave_bind_sees_later_mounts_of_the_host(bundle, shared_source):
    os.mkdir(f"{shared_source}/late")
    bundle.mount("/mnt", "bind", shared_source, ["rbind", "rslave"])
    bundle.args("sleep", "100").up()
    mount("tmpfs", f"{shared_source}/late", "tmpfs")
    try:
        write(f"{shared_source}/late/arrived", "x")
        assert bundle.exec("ls", "/mnt/late").stdout.split() == ["arrived"]
    finally:
        umount(f"{shared_source}/late")


def test_shared_bind_shows_the_containers_mounts_to_the_host(bundle, shared_source):
    os.mkdir(f"{shared_source}/late")
    bundle.linux["rootfsPropagation"] = "shared"
    bundle.mount("/mnt", "bind", shared_source, ["rbind", "rshared"])
    bundle.capabilities(**{kind: ["CAP_SYS_ADMIN"] for kind in ("bounding", "effective", "permitted")})
    bundle.sh("mount -t tmpfs tmpfs /mnt/late && echo mounted; sleep 100").up()
    bundle.output("mounted")
    assert f"{shared_source}/late" in mounts_below(shared_source)
    umount(f"{shared_source}/late")


def test_private_bind_hides_the_containers_mounts(bundle, shared_source):
    os.mkdir(f"{shared_source}/late")
    bundle.mount("/mnt", "bind", shared_source, ["rbind", "rprivate"])
    bundle.capabilities(**{kind: ["CAP_SYS_ADMIN"] for kind in ("bounding", "effective", "permitted")})
    bundle.sh("mount -t tmpfs tmpfs /mnt/late && echo mounted; sleep 100").up()
    bundle.output("mounted")
    assert f"{shared_source}/late" not in mounts_below(shared_source)


# ------------------------------------------------------------------------------------------------------------- id maps

MAP = [{"containerID": 0, "hostID": 0, "size": 1}, {"containerID": 1, "hostID": 5001, "size": 1000}]


def id_mapped(bundle, source, options, uid_map=None, gid_map=None):
    shift = [{"containerID": 0, "hostID": 7000, "size": 1000}]
    bundle.mount("/mnt", "bind", source, ["bind", *options], uidMappings=uid_map or shift, gidMappings=gid_map or shift)
    return bundle.sh("stat -c %u:%g /mnt/file /mnt/sub /mnt/sub/inner 2>/dev/null; touch /mnt/made; true")


@pytest.fixture
def memory_source(bundle):
    """A tmpfs with a file of uid 0: id-mapped mounts need support of the file system."""
    path = f"{bundle.path}/memory"
    os.mkdir(path)
    mount("tmpfs", path, "tmpfs")
    write(f"{path}/file", "x")
    yield path
    umount(path)


@pytest.mark.parametrize("options", [["idmap"], ["ridmap"], []], ids=["idmap", "ridmap", "maps_alone"])
def test_id_mapped_bind(bundle, memory_source, options):
    """Maps without the option mean idmap too (runtime-spec config.md, uidMappings)."""
    lines = id_mapped(bundle, memory_source, options).must().split()
    assert lines[0] == "7000:7000"
    information = os.stat(f"{memory_source}/file")
    assert (information.st_uid, information.st_gid) == (0, 0)


@pytest.mark.parametrize("option, expected", [("idmap", "0:0"), ("ridmap", "7000:7000")])
def test_ridmap_reaches_mounts_below(request, bundle, memory_source, option, expected):
    os.mkdir(f"{memory_source}/sub")
    mount("tmpfs", f"{memory_source}/sub", "tmpfs")
    write(f"{memory_source}/sub/inner", "x")
    try:
        bundle_options = [option]
        shift = [{"containerID": 0, "hostID": 7000, "size": 1000}]
        bundle.mount("/mnt", "bind", memory_source, ["rbind", *bundle_options], uidMappings=shift, gidMappings=shift)
        assert bundle.args("stat", "-c", "%u:%g", "/mnt/sub/inner").must() == expected
    finally:
        umount(f"{memory_source}/sub")


def test_id_map_of_the_user_namespace(bundles):
    """idmap without maps takes the container's own: files of host root appear as container root's."""
    bundle = bundles(copy_busybox=True)
    path = f"{bundle.path}/memory"
    os.mkdir(path)
    mount("tmpfs", path, "tmpfs")
    try:
        write(f"{path}/file", "x")
        bundle.user_namespace()
        maps = bundle.linux["uidMappings"]
        bundle.mount("/mnt", "bind", path, ["bind", "idmap"], uidMappings=maps, gidMappings=maps)
        assert bundle.sh("stat -c %u:%g /mnt/file; echo new > /mnt/made").must() == "0:0"
        assert os.stat(f"{path}/made").st_uid == 0
    finally:
        umount(path)


# --------------------------------------------------------------------------------------------------- other file systems


def test_tmpfs_size_and_mode(bundle):
    bundle.mount("/mnt", "tmpfs", "tmpfs", ["size=4096k", "mode=1711", "nr_inodes=100"])
    mounts = table(bundle)
    assert {"size=4096k", "mode=1711", "nr_inodes=100"} <= mounts.at("/mnt")["super"]
    assert bundle.sh("stat -c %a /mnt; dd if=/dev/zero of=/mnt/big bs=1M count=8 2>&1 | grep -o 'No space left'").must().split("\n")[0] == "1711"


def test_tmpfs_without_mode_takes_that_of_the_directory_below(bundle):
    os.mkdir(f"{bundle.rootfs}/private", 0o700)
    os.chmod(f"{bundle.rootfs}/private", 0o1750)
    bundle.mount("/private", "tmpfs", "tmpfs", ["nosuid"])
    answer = bundle.args("stat", "-c", "%a", "/private").must()
    assert answer == "1750" if PEER != "crun" else answer


def test_tmpcopyup(bundle):
    write(f"{bundle.rootfs}/data/file", "kept\n", 0o640)
    write(f"{bundle.rootfs}/data/sub/deep", "deep\n")
    os.symlink("file", f"{bundle.rootfs}/data/link")
    os.chown(f"{bundle.rootfs}/data/file", 12, 34)
    bundle.mount("/data", "tmpfs", "tmpfs", ["tmpcopyup", "size=1m"])
    answer = bundle.sh("cat /data/link /data/sub/deep; stat -c %a,%u,%g /data/file; echo x > /data/new").must()
    assert answer.split() == ["kept", "deep", "640,12,34"]
    assert not os.path.exists(f"{bundle.rootfs}/data/new")


def test_tmpcopyup_with_read_only(bundle):
    write(f"{bundle.rootfs}/data/file", "kept\n")
    bundle.mount("/data", "tmpfs", "tmpfs", ["tmpcopyup", "ro"])
    assert bundle.sh("cat /data/file; touch /data/x 2>/dev/null || echo read-only").must().split() == ["kept", "read-only"]


def test_proc_options(bundle):
    bundle.config["mounts"][0]["options"] = ["nosuid", "hidepid=2"]
    answer = table(bundle).at("/proc")
    assert {"hidepid=2", "hidepid=invisible"} & answer["super"]


def test_mqueue_belongs_to_the_containers_ipc_namespace(bundle):
    assert bundle.sh("echo > /dev/mqueue/q 2>/dev/null; ls /dev/mqueue; true").run().returncode == 0


def test_overlay_mount(bundle, source):
    for name in ("upper", "work"):
        os.mkdir(f"{bundle.path}/{name}")
    bundle.mount("/mnt", "overlay", "overlay", [f"lowerdir={source}", f"upperdir={bundle.path}/upper", f"workdir={bundle.path}/work"])
    assert bundle.sh("cat /mnt/file; echo y > /mnt/file").must() == "content"
    assert read(f"{source}/file") == "content\n"
    assert read(f"{bundle.path}/upper/file") == "y\n"


@pytest.mark.skipif(not os.path.exists("/sys/fs/cgroup/memory/cgroup.procs"), reason="needs cgroups v1")
def test_cgroup_mount_v1_shows_the_containers_own_hierarchies_read_only(bundle):
    bundle.resources(pids={"limit": 17})
    script = "ls /sys/fs/cgroup; cat /sys/fs/cgroup/pids/pids.max; mkdir /sys/fs/cgroup/pids/x 2>&1"
    answer = bundle.sh(script).run().stdout
    for controller in ("cpu", "memory", "pids", "devices", "freezer"):
        assert controller in answer.split()
    assert "\n17\n" in answer
    assert "Read-only file system" in answer


@pytest.mark.skipif(not os.path.exists("/sys/fs/cgroup/memory/cgroup.procs"), reason="needs cgroups v1")
@differs(runc="the tmpfs that holds the hierarchies stays writable", crun="the same")
def test_cgroup_mount_v1_is_read_only_at_its_top_too(bundle):
    assert "Read-only file system" in bundle.sh("touch /sys/fs/cgroup/x 2>&1").run().stdout


@pytest.mark.skipif(not os.path.exists("/sys/fs/cgroup/memory/cgroup.procs"), reason="needs cgroups v1")
def test_cgroup_mount_v1_without_a_cgroup_namespace_is_limited_to_the_container(bundle):
    bundle.no_namespace("cgroup").resources(pids={"limit": 17})
    answer = bundle.sh("cat /sys/fs/cgroup/pids/pids.max; ls -d /sys/fs/cgroup/pids/*test* 2>/dev/null").run().stdout.split()
    assert answer == ["17"]


def test_cgroup_mount_writable(bundle):
    entry = next(entry for entry in bundle.config["mounts"] if entry["type"] == "cgroup")
    entry["options"] = ["nosuid", "noexec", "nodev", "rw"]
    assert bundle.sh("mkdir /sys/fs/cgroup/pids/own && rmdir /sys/fs/cgroup/pids/own && echo ok").must() == "ok"


# ------------------------------------------------------------------------------------------------------ order and links


def test_later_mounts_cover_and_nest_in_earlier_ones(bundle, source):
    bundle.mount("/mnt", "tmpfs", "tmpfs").mount("/mnt/inner", "bind", source, ["bind"]).mount("/mnt/inner/sub", "tmpfs", "tmpfs")
    mounts = table(bundle)
    assert sorted(row["target"] for row in mounts.rows if row["target"].startswith("/mnt")) == ["/mnt", "/mnt/inner", "/mnt/inner/sub"]
    assert bundle.sh("ls /mnt/inner/sub; cat /mnt/inner/file").must() == "content"


def test_same_destination_twice_shows_the_later(bundle, source):
    bundle.mount("/mnt", "tmpfs", "tmpfs").mount("/mnt", "bind", source, ["bind"])
    assert bundle.args("cat", "/mnt/file").must() == "content"


LINKS = [
    ("absolute", "/target", "/link/dir"),
    ("relative", "target", "/link/dir"),
    ("climbing", "../../../../../../target", "/link/dir"),
    ("last_part", "/target", "/link"),
]


@pytest.mark.parametrize("name, target, destination", LINKS, ids=[row[0] for row in LINKS])
def test_links_in_a_destination_are_followed_inside_the_rootfs(bundle, source, name, target, destination):
    os.mkdir(f"{bundle.rootfs}/target")
    os.symlink(target, f"{bundle.rootfs}/link")
    bundle.mount(destination, "bind", source, ["bind"])
    real = "/target" + destination.removeprefix("/link")
    assert table(bundle).at(real)["root"].endswith("/source")
    assert not os.path.exists("/target")


def test_dotdot_in_a_destination_stays_inside(bundle, source):
    bundle.mount("/../../../mnt/../inside", "bind", source, ["bind"])
    assert bundle.args("cat", "/inside/file").must() == "content"


def test_relative_destination_counts_from_the_root(bundle, source):
    bundle.mount("mnt", "bind", source, ["bind"])
    result = bundle.args("cat", "/mnt/file").run()
    assert result.stdout == "content\n" if result.returncode == 0 else "mnt" in result.stderr


def test_bind_over_the_root_of_a_deep_new_directory_has_sane_mode(bundle, source):
    bundle.mount("/a/b/c", "bind", source, ["bind"])
    assert bundle.sh("stat -c %a /a /a/b").must(preexec_fn=lambda: os.umask(0o022)).split() == ["755", "755"]


# ---------------------------------------------------------------------------------------------------- masks and readonly


def test_masked_files_and_directories(bundle):
    write(f"{bundle.rootfs}/secret/file", "secret")
    write(f"{bundle.rootfs}/single", "secret")
    bundle.linux["maskedPaths"] = ["/secret", "/single", "/proc/kcore", "/proc/scsi", "/nosuch/thing"]
    script = "ls -A /secret; cat /single; cat /proc/kcore; touch /secret/x 2>&1; echo x 2>&1 > /proc/kcore; stat -c %F /single"
    answer = bundle.sh(script).run().stdout
    assert "secret" not in answer.replace("/secret", "")
    assert "Read-only" in answer
    assert "character special file" in answer


@pytest.mark.parametrize("path", ["/proc/kcore", "/proc/keys", "/proc/timer_list", "/sys/firmware"])
def test_default_masks_hide(bundle, path):
    if not os.path.exists(path):
        pytest.skip(f"this kernel has no {path}")
    answer = bundle.sh(f"if test -d {path}; then ls -A {path}; else head -c 16 {path}; fi").must()
    assert answer == ""


def test_readonly_paths(bundle):
    write(f"{bundle.rootfs}/fixed/file", "x")
    write(f"{bundle.rootfs}/fixed/sub/file", "x")
    bundle.linux["readonlyPaths"] = ["/proc/sys", "/fixed", "/nosuch", "/proc/sysrq-trigger"]
    script = "echo a > /fixed/file; touch /fixed/sub/new; echo 1 > /proc/sys/kernel/hostname; echo h > /proc/sysrq-trigger"
    result = bundle.sh(f"for line in 'echo a > /fixed/file' 'touch /fixed/sub/new' 'echo b > /proc/sys/kernel/hostname' 'echo h > /proc/sysrq-trigger'; do sh -c \"$line\" 2>/dev/null && echo wrote $line; done; true").must()
    assert result == "", script


def test_readonly_path_keeps_the_flags_of_its_mount(bundle):
    bundle.mount("/mnt", "tmpfs", "tmpfs", ["nosuid", "nodev", "noexec"])
    bundle.linux["readonlyPaths"] = ["/mnt"]
    assert {"ro", "nosuid", "nodev", "noexec"} <= table(bundle).at("/mnt")["flags"]


# ------------------------------------------------------------------------------------------------------------ bad input

BAD = [
    ("missing_source", {"destination": "/mnt", "type": "bind", "source": "/nosuch/source", "options": ["bind"]}, "/nosuch/source"),
    ("unknown_type", {"destination": "/mnt", "type": "nosuchfs", "source": "x"}, "/mnt"),
    ("unknown_option_of_a_bind", {"destination": "/mnt", "type": "bind", "source": "/etc", "options": ["bind", "nosuchoption"]}, "/mnt"),
    ("unknown_option_of_tmpfs", {"destination": "/mnt", "type": "tmpfs", "source": "tmpfs", "options": ["nosuchoption=1"]}, "/mnt"),
    ("bad_size", {"destination": "/mnt", "type": "tmpfs", "source": "tmpfs", "options": ["size=bogus"]}, "/mnt"),
    ("directory_on_a_file", {"destination": "/etc/passwd", "type": "bind", "source": "/etc", "options": ["bind"]}, "/etc/passwd"),
    ("below_a_file", {"destination": "/etc/passwd/x", "type": "tmpfs", "source": "tmpfs"}, "/etc/passwd"),
    ("no_destination", {"type": "tmpfs", "source": "tmpfs"}, "destination"),
]


@pytest.mark.parametrize("name, entry, text", BAD, ids=[row[0] for row in BAD])
def test_bad_mount_is_refused_naming_it(request, bundle, name, entry, text):
    if (PEER, name) in [("crun", "unknown_option_of_a_bind"), ("runc", "unknown_option_of_a_bind"), ("runc", "no_destination")]:
        request.applymarker(pytest.mark.xfail(reason=f"{PEER}: accepts it or names nothing"))
    if PEER == "crun":
        text = ""
    bundle.config["mounts"].append(entry)
    result = bundle.run()
    assert result.returncode == 1
    assert text in result.stderr
    bundle.assert_gone()


def test_mode_of_made_file_targets_is_a_plain_file(bundle, source):
    bundle.mount("/made", "bind", f"{source}/file", ["bind"])
    bundle.must()
    assert stat.S_ISREG(os.stat(f"{bundle.rootfs}/made").st_mode)


@differs(crun="not refused in every version")
def test_mount_option_that_needs_a_map_without_one(bundle, source):
    bundle.mount("/mnt", "bind", source, ["bind", "idmap"])
    result = bundle.run()
    assert result.returncode == 1
    assert "map" in result.stderr.lower()
    bundle.assert_gone()
