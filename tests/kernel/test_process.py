"""config.json's process: capabilities, ids, limits, scheduling, environment, program lookup."""

import os
import re

import pytest

from davitlib import CAPABILITIES, DEFAULT_CAPABILITIES, PEER, SANITIZED, bounding_set, capability_mask, differs, status_field, write

SETS = {"inheritable": "CapInh", "permitted": "CapPrm", "effective": "CapEff", "bounding": "CapBnd", "ambient": "CapAmb"}


def capability_sets(bundle):
    text = bundle.args("cat", "/proc/self/status").must()
    return {name: int(status_field(text, field), 16) for name, field in SETS.items()}


def test_default_capabilities_are_dockers(bundle):
    mask = capability_mask(*DEFAULT_CAPABILITIES)
    assert mask == 0xA80425FB  # what `docker run` shows in CapEff
    assert capability_sets(bundle) == {"inheritable": 0, "permitted": mask, "effective": mask, "bounding": mask, "ambient": 0}


@differs(runc="keeps the caller's own")
def test_no_capabilities_field_means_none(bundle):
    del bundle.process["capabilities"]
    sets = capability_sets(bundle)
    assert sets["effective"] == sets["permitted"] == sets["ambient"] == sets["inheritable"] == 0


A, B = "CAP_NET_ADMIN", "CAP_KILL"
CAPABILITY_ROWS = [
    ("empty", {}, {}),
    ("bounding_only", {"bounding": [A, B]}, {"bounding": [A, B]}),
    ("permitted_without_effective", {"bounding": [A], "permitted": [A]}, None),
    ("all_five", {name: [A, B] for name in SETS}, {name: [A, B] for name in SETS}),
    ("inheritable", {"bounding": [A], "permitted": [A], "effective": [A], "inheritable": [A]}, None),
]


@pytest.mark.parametrize("name, given, expected", CAPABILITY_ROWS, ids=[row[0] for row in CAPABILITY_ROWS])
def test_capability_sets_as_a_plain_user(bundle, name, given, expected):
    """A program without file capabilities, run by a user: permitted and effective come from the ambient set alone."""
    bundle.process["user"] = {"uid": 1000, "gid": 1000}
    bundle.capabilities(**given)
    sets = capability_sets(bundle)
    ambient = capability_mask(*given.get("ambient", []))
    assert sets["bounding"] == capability_mask(*given.get("bounding", []))
    assert sets["inheritable"] == capability_mask(*given.get("inheritable", []))
    assert sets["permitted"] == sets["effective"] == sets["ambient"] == ambient


def test_root_gets_the_bounding_set_on_exec(bundle):
    bundle.capabilities(bounding=[A, B], permitted=[A, B], effective=[B])
    sets = capability_sets(bundle)
    assert sets["permitted"] == capability_mask(A, B)


@pytest.mark.parametrize("name", CAPABILITIES)
def test_every_capability_name_is_known(bundle, name):
    if not bounding_set() >> CAPABILITIES.index(name) & 1:
        pytest.skip(f"this machine does not grant CAP_{name}")
    bundle.capabilities(**{kind: ["CAP_" + name] for kind in ("bounding", "permitted", "effective")})
    assert capability_sets(bundle)["effective"] == capability_mask(name)


@differs(runc="fails without naming it", crun="fails without naming it")
def test_a_capability_that_the_machine_lacks_is_left_out_or_named(bundle):
    missing = [name for index, name in enumerate(CAPABILITIES) if not bounding_set() >> index & 1]
    if not missing:
        pytest.skip("this machine grants every capability")
    bundle.capabilities(**{kind: ["CAP_" + name for name in CAPABILITIES] for kind in ("bounding", "permitted", "effective")})
    result = bundle.args("cat", "/proc/self/status").run()
    if result.returncode == 0:
        assert int(status_field(result.stdout, "CapEff"), 16) == int(status_field(result.stdout, "CapBnd"), 16) == bounding_set()
    else:
        assert missing[0] in result.stderr
        bundle.assert_gone()


USERS = [
    ("root", {"uid": 0, "gid": 0}, "uid=0(root) gid=0(root)"),
    ("user", {"uid": 1000, "gid": 1000}, "uid=1000(user) gid=1000(user)"),
    ("unknown", {"uid": 12345, "gid": 54321}, "uid=12345 gid=54321"),
    ("groups", {"uid": 1000, "gid": 1000, "additionalGids": [5, 77]}, "uid=1000(user) gid=1000(user) groups=1000(user),5,77"),
    ("largest", {"uid": 4294967294, "gid": 4294967294}, "uid=4294967294 gid=4294967294"),
]


@pytest.mark.parametrize("name, user, expected", USERS, ids=[row[0] for row in USERS])
def test_user(bundle, name, user, expected):
    bundle.process["user"] = user
    answer = bundle.args("id").must().replace("groups=0(root)", "").strip()
    assert answer.startswith(expected) or ("groups=5,77" in answer and name == "groups"), answer


def test_additional_groups_are_exact(bundle):
    bundle.process["user"] = {"uid": 1, "gid": 2, "additionalGids": [10, 20, 30]}
    groups = status_field(bundle.args("cat", "/proc/self/status").must(), "Groups").split()
    assert {int(group) for group in groups} in ({10, 20, 30}, {2, 10, 20, 30})


def test_no_groups_of_the_caller_are_kept(bundle):
    groups = status_field(bundle.args("cat", "/proc/self/status").must(preexec_fn=lambda: os.setgroups([4, 24])), "Groups")
    assert set(groups.split()) <= {"0"}


@pytest.mark.parametrize("given, expected", [(None, "0022"), (0o077, "0077"), (0, "0000"), (0o27, "0027")])
def test_umask(bundle, given, expected):
    if given is not None:
        bundle.process["user"]["umask"] = given
    assert bundle.sh("umask").must(preexec_fn=lambda: os.umask(0o022)) == expected


HOMES = [
    ("root", 0, [], "/root"),
    ("user", 1000, [], "/home/user"),
    ("unknown", 4242, [], "/"),
    ("given", 1000, ["HOME=/elsewhere"], "/elsewhere"),
    ("given_empty", 1000, ["HOME="], "/home/user"),
]


@pytest.mark.parametrize("name, uid, env, expected", HOMES, ids=[row[0] for row in HOMES])
def test_home(request, bundle, name, uid, env, expected):
    if PEER == "crun" and name == "given_empty":
        request.applymarker(pytest.mark.xfail(reason="keeps the empty one", strict=False))
    bundle.process["user"]["uid"] = uid
    bundle.process["env"] += env
    assert bundle.sh("echo $HOME").must() == expected


def test_environment_is_exactly_the_configured_one(bundle):
    bundle.process["env"] = ["PATH=/bin", "A=1", "B=two words", "C==", "D=ä"]
    lines = bundle.args("/bin/env").must(env={"SECRET": "leak", "PATH": "/bin:/usr/bin"}).splitlines()
    assert set(lines) - {"HOME=/root"} == {"PATH=/bin", "A=1", "B=two words", "C==", "D=ä"}


def test_last_of_two_equal_variables_wins(bundle):
    bundle.process["env"] += ["X=1", "X=2"]
    lines = bundle.args("/bin/env").must().splitlines()
    assert [line for line in lines if line.startswith("X=")] == ["X=2"]


CWDS = [("existing", "/etc", "/etc"), ("root", "/", "/"), ("missing", "/not/there/yet", "/not/there/yet")]


@pytest.mark.parametrize("name, cwd, expected", CWDS, ids=[row[0] for row in CWDS])
def test_cwd(bundle, name, cwd, expected):
    bundle.process["cwd"] = cwd
    assert bundle.args("pwd").must() == expected


def test_missing_cwd_is_made_inside_the_rootfs_through_its_links(bundle):
    os.symlink("/var", f"{bundle.rootfs}/link")
    bundle.process["cwd"] = "/link/deep"
    assert bundle.args("/bin/readlink", "/proc/self/cwd").must() == "/var/deep"


def test_cwd_readable_only_by_the_user(bundle):
    os.mkdir(f"{bundle.rootfs}/private", 0o700)
    os.chown(f"{bundle.rootfs}/private", 1000, 1000)
    bundle.process.update(cwd="/private", user={"uid": 1000, "gid": 1000})
    bundle.capabilities()
    assert bundle.args("pwd").must() == "/private"


RLIMITS = [
    ("RLIMIT_NOFILE", 1000, 2000, "Max open files"),
    ("RLIMIT_NPROC", 100, 200, "Max processes"),
    ("RLIMIT_CORE", 0, 0, "Max core file size"),
    ("RLIMIT_AS", 1 << 30, 1 << 31, "Max address space"),
    ("RLIMIT_CPU", 50, 60, "Max cpu time"),
    ("RLIMIT_DATA", 1 << 29, 1 << 30, "Max data size"),
    ("RLIMIT_FSIZE", 4096, 8192, "Max file size"),
    ("RLIMIT_LOCKS", 1, 2, "Max file locks"),
    ("RLIMIT_MEMLOCK", 4096, 8192, "Max locked memory"),
    ("RLIMIT_MSGQUEUE", 4096, 8192, "Max msgqueue size"),
    ("RLIMIT_NICE", 0, 0, "Max nice priority"),
    ("RLIMIT_RSS", 1 << 20, 1 << 21, "Max resident set"),
    ("RLIMIT_RTPRIO", 0, 0, "Max realtime priority"),
    ("RLIMIT_RTTIME", 1000000, 2000000, "Max realtime timeout"),
    ("RLIMIT_SIGPENDING", 10, 20, "Max pending signals"),
    ("RLIMIT_STACK", 1 << 20, 1 << 22, "Max stack size"),
]


def limits(text):
    return {m[1].strip(): (m[2], m[3]) for m in re.finditer(r"^(Max [a-z ]+?)\s{2,}(\S+)\s+(\S+)", text, re.M)}


@pytest.mark.parametrize("kind, soft, hard, line", RLIMITS, ids=[row[0] for row in RLIMITS])
def test_rlimit(bundle, kind, soft, hard, line):
    if SANITIZED and kind == "RLIMIT_AS":
        pytest.skip("a build with AddressSanitizer needs more address space")
    bundle.process["rlimits"] = [{"type": kind, "soft": soft, "hard": hard}]
    assert limits(bundle.args("cat", "/proc/self/limits").must())[line] == (str(soft), str(hard))


def test_rlimit_above_what_the_machine_allows_is_an_error_that_names_it(bundle):
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if bounding_set() >> CAPABILITIES.index("SYS_RESOURCE") & 1 or hard == resource.RLIM_INFINITY:
        pytest.skip("this machine may raise any limit")
    bundle.process["rlimits"] = [{"type": "RLIMIT_NOFILE", "soft": hard + 1, "hard": hard + 1}]
    result = bundle.run()
    assert result.returncode == 1
    if PEER != "runc":
        assert "RLIMIT_NOFILE" in result.stderr
    bundle.assert_gone()


@pytest.mark.parametrize("given, expected", [(None, "0"), (False, "0"), (True, "1")])
def test_no_new_privileges(bundle, given, expected):
    if given is not None:
        bundle.process["noNewPrivileges"] = given
    assert status_field(bundle.args("cat", "/proc/self/status").must(), "NoNewPrivs") == expected


@pytest.mark.parametrize("given, expected", [(None, "300"), (0, "300"), (500, "500"), (1000, "1000")])
def test_oom_score_adj(bundle, given, expected):
    """The caller's own is 300; without CAP_SYS_RESOURCE nobody may go below it, so 0 is asked for only where it works."""
    if given == 0:
        pytest.skip("lowering needs CAP_SYS_RESOURCE in the initial user namespace")
    bundle.process.pop("oomScoreAdj")
    if given is not None:
        bundle.process["oomScoreAdj"] = given

    def own_score():
        with open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:
            file.write("300")

    assert bundle.args("cat", "/proc/self/oom_score_adj").must(preexec_fn=own_score) == expected


SCHEDULERS = [
    ("batch", {"policy": "SCHED_BATCH", "nice": 5}, "policy=3 flags=0 nice=5 priority=0"),
    ("idle", {"policy": "SCHED_IDLE"}, "policy=5 flags=0 nice=0 priority=0"),
    ("other", {"policy": "SCHED_OTHER", "nice": 7}, "policy=0 flags=0 nice=7 priority=0"),
    ("fifo", {"policy": "SCHED_FIFO", "priority": 3}, "policy=1 flags=0 nice=0 priority=3"),
    ("round_robin_reset", {"policy": "SCHED_RR", "priority": 2, "flags": ["SCHED_FLAG_RESET_ON_FORK"]},
     "policy=2 flags=1 nice=0 priority=2"),
]  # fmt: skip


@pytest.mark.parametrize("name, given, expected", SCHEDULERS, ids=[row[0] for row in SCHEDULERS])
def test_scheduler(bundle, probe, name, given, expected):
    bundle.process["scheduler"] = given
    result = bundle.args("/bin/probe", "scheduler").run()
    if result.returncode != 0 and "permitted" in result.stderr:
        pytest.skip("the cgroup or machine has no real-time budget: " + result.stderr.strip())
    assert result.stdout.strip() == expected


IO_PRIORITIES = [("IOPRIO_CLASS_BE", 3, "2 3"), ("IOPRIO_CLASS_IDLE", 0, "3 0"), ("IOPRIO_CLASS_RT", 1, "1 1")]


@pytest.mark.parametrize("kind, priority, expected", IO_PRIORITIES)
def test_io_priority(bundle, probe, kind, priority, expected):
    bundle.process["ioPriority"] = {"class": kind, "priority": priority}
    assert bundle.args("/bin/probe", "ioprio").must() == expected


@differs(crun="does not know execCPUAffinity in this version")
def test_cpu_affinity_of_exec(bundle):
    if os.cpu_count() < 2:
        pytest.skip("needs two processors")
    bundle.process["execCPUAffinity"] = {"initial": "0", "final": "1"}
    bundle.args("sleep", "100").up()
    assert status_field(bundle.exec("cat", "/proc/self/status").stdout, "Cpus_allowed_list") == "1"


PERSONALITIES = [("LINUX", "x86_64"), ("LINUX32", "i686")]


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="knows the names of x86 only")
@pytest.mark.parametrize("domain, machine", PERSONALITIES)
def test_personality(bundle, domain, machine):
    bundle.linux["personality"] = {"domain": domain}
    assert bundle.args("uname", "-m").must() == machine


LOOKUPS = [
    ("absolute", ["/bin/echo", "x"], None, "x"),
    ("by_path", ["echo", "x"], ["PATH=/bin"], "x"),
    ("second_directory", ["echo", "x"], ["PATH=/nosuch:/etc:/bin"], "x"),
    ("relative_to_cwd", ["./echo", "x"], ["PATH=/nosuch"], "x"),
    ("skips_what_is_not_executable", ["tool"], ["PATH=/etc:/opt"], "right"),
    ("arguments_with_blanks", ["echo", "a  b", "", "c'\"d"], ["PATH=/bin"], "a  b  c'\"d"),
]


@pytest.mark.parametrize("name, args, env, expected", LOOKUPS, ids=[row[0] for row in LOOKUPS])
def test_program_lookup_uses_the_containers_path(bundle, name, args, env, expected):
    write(f"{bundle.rootfs}/opt/tool", "#!/bin/sh\necho right\n", 0o755)
    write(f"{bundle.rootfs}/etc/tool", "#!/bin/sh\necho wrong\n", 0o644)
    bundle.process["cwd"] = "/bin"
    if env:
        bundle.process["env"] = env
    assert bundle.args(*args).must() == expected


NO_PROGRAM = [
    ("missing_by_path", ["nosuchprogram"], "executable file not found in $PATH"),
    ("missing_absolute", ["/nosuch/program"], "no such file or directory"),
    ("not_executable", ["/etc/passwd"], "permission denied"),
    ("directory", ["/etc"], "permission denied"),
    ("missing_interpreter", ["/opt/broken"], "no such file or directory"),
    ("not_a_program", ["/opt/garbage"], "exec format error"),
]


@pytest.mark.parametrize("command", ["run", "create"])
@pytest.mark.parametrize("name, args, text", NO_PROGRAM, ids=[row[0] for row in NO_PROGRAM])
def test_program_that_cannot_be_executed(bundle, command, name, args, text):
    """dockerd and podman turn these texts into exit codes 126 and 127."""
    write(f"{bundle.rootfs}/opt/broken", "#!/nosuch/interpreter\n", 0o755)
    write(f"{bundle.rootfs}/opt/garbage", "garbage\0\1\2", 0o755)
    bundle.args(*args)
    if command == "create" and name in ("missing_interpreter", "not_a_program", "directory"):
        pytest.skip("shows only when it is executed, at start")
    result = bundle.run() if command == "run" else bundle.create()
    assert result.returncode != 0
    if PEER == "crun" and name in ("directory", "missing_by_path", "not_executable"):
        pytest.xfail("crun: another text")
    if name == "directory" and "is a directory" in result.stderr:
        return
    assert text in result.stderr.lower().replace("$path", "$PATH"), result.stderr
    if args[0].startswith("/") or name == "missing_by_path":
        assert os.path.basename(args[0]) in result.stderr
    bundle.assert_gone()


def test_session_keyring_is_new_unless_refused(bundle, probe):
    keyctl_describe = "250 6 -3"  # keyctl(KEYCTL_DESCRIBE...) of the session keyring fails without one
    fresh = bundle.args("/bin/probe", "call", "250", "0", "-3", "0").must()  # KEYCTL_GET_KEYRING_ID
    assert int(fresh.split()[0]) != 0, keyctl_describe
    assert bundle.run("--no-new-keyring").returncode == 0


def test_process_is_a_session_leader_and_pid_1(bundle):
    fields = bundle.args("cat", "/proc/self/stat").must().split()
    assert fields[0] == "1"
    assert fields[5] == "1", "not its own session"


def test_signal_mask_and_ignored_signals_are_clean(bundle):
    text = bundle.args("cat", "/proc/self/status").must()
    assert int(status_field(text, "SigBlk"), 16) == 0
    assert int(status_field(text, "SigIgn"), 16) == 0


@differs(crun="ignores it")
def test_apparmor_profile_is_refused_clearly_where_the_kernel_has_none(bundle):
    if os.path.exists("/sys/kernel/security/apparmor"):
        pytest.skip("this kernel has AppArmor")
    bundle.process["apparmorProfile"] = "docker-default"
    result = bundle.run()
    assert result.returncode != 0
    assert "apparmor" in result.stderr.lower()
    bundle.assert_gone()


@differs(runc="built without selinux: ignores it", crun="ignores it")
def test_selinux_label_is_refused_clearly_where_the_kernel_has_none(bundle):
    if os.path.exists("/sys/fs/selinux/enforce"):
        pytest.skip("this kernel has SELinux")
    bundle.process["selinuxLabel"] = "system_u:system_r:container_t:s0"
    result = bundle.run()
    assert result.returncode != 0
    assert "selinux" in result.stderr.lower()
