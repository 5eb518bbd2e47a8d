"""linux.seccomp: every action, arguments, errnos, the listener, and the profile that dockerd hands to its runtime."""

import array
import contextlib
import fcntl
import json
import os
import select
import socket
import struct
import threading

import pytest

from davitlib import HERE, PEER, differs, read, status_field, wait_for

pytestmark = pytest.mark.skipif(os.uname().machine != "x86_64", reason="the system call numbers are those of x86_64")
GETPID, PERSONALITY, GETPGRP, UNAME = 39, 135, 111, 63
EPERM, ENOSYS = 1, 38


def filtered(bundle, *rules, default="SCMP_ACT_ALLOW", **more):
    bundle.linux["seccomp"] = {"defaultAction": default, "architectures": ["SCMP_ARCH_X86_64"], "syscalls": list(rules), **more}
    return bundle


def rule(name, action, **more):
    return {"names": [name], "action": action, **more}


def call(bundle, number, *arguments):
    """Makes the system call in the container; returns (result, errno)."""
    return tuple(map(int, bundle.args("/bin/probe", "call", str(number), *map(str, arguments)).must().split()))


@pytest.fixture(autouse=True)
def needs_probe(probe):
    return probe


ERRNOS = [(None, EPERM), (1, 1), (38, 38), (13, 13), (0, 0), (4094, 4094)]


@pytest.mark.parametrize("given, expected", ERRNOS)
def test_errno(bundle, given, expected):
    more = {} if given is None else {"errnoRet": given}
    filtered(bundle, rule("getpgrp", "SCMP_ACT_ERRNO", **more))
    result, error = call(bundle, GETPGRP)
    assert (result, error) == ((-1, expected) if expected else (0, 0))  # errno 0: the call "succeeds" without being made


def test_default_errno(bundle):
    filtered(bundle, {"names": sorted(set(allowed_names())), "action": "SCMP_ACT_ALLOW"}, default="SCMP_ACT_ERRNO", defaultErrnoRet=99)
    assert call(bundle, GETPGRP) == (-1, 99)


def allowed_names():
    profile = json.loads(read(f"{HERE}/testdata/docker_seccomp.json"))
    return [name for entry in profile["syscalls"] for name in entry["names"] if not entry.get("args") and name != "getpgrp"]


KILLS = [("SCMP_ACT_KILL", 159), ("SCMP_ACT_KILL_THREAD", 159), ("SCMP_ACT_KILL_PROCESS", 159), ("SCMP_ACT_TRAP", 159)]


@pytest.mark.parametrize("action, code", KILLS)
def test_kill_and_trap_end_with_sigsys(bundle, action, code):
    filtered(bundle, rule("getpgrp", action))
    assert bundle.sh(f"/bin/probe call {GETPGRP}; exit $?").run().returncode == code


def test_log_lets_the_call_through(bundle):
    filtered(bundle, rule("getpgrp", "SCMP_ACT_LOG"))
    assert call(bundle, GETPGRP)[1] == 0


def test_trace_without_a_tracer_is_enosys(bundle):
    filtered(bundle, rule("getpgrp", "SCMP_ACT_TRACE", errnoRet=7))
    assert call(bundle, GETPGRP) == (-1, ENOSYS)


OPERATORS = [
    ("SCMP_CMP_EQ", 5, 0, 5, True), ("SCMP_CMP_EQ", 5, 0, 6, False),
    ("SCMP_CMP_NE", 5, 0, 6, True), ("SCMP_CMP_NE", 5, 0, 5, False),
    ("SCMP_CMP_LT", 5, 0, 4, True), ("SCMP_CMP_LT", 5, 0, 5, False),
    ("SCMP_CMP_LE", 5, 0, 5, True), ("SCMP_CMP_LE", 5, 0, 6, False),
    ("SCMP_CMP_GT", 5, 0, 6, True), ("SCMP_CMP_GT", 5, 0, 5, False),
    ("SCMP_CMP_GE", 5, 0, 5, True), ("SCMP_CMP_GE", 5, 0, 4, False),
    ("SCMP_CMP_MASKED_EQ", 0xF0, 0x50, 0x5A, True), ("SCMP_CMP_MASKED_EQ", 0xF0, 0x50, 0x6A, False),
    ("SCMP_CMP_EQ", 0xFFFFFFFF00000001, 0, 0xFFFFFFFF00000001, True), ("SCMP_CMP_EQ", 0xFFFFFFFF00000001, 0, 1, False),
]  # fmt: skip


@pytest.mark.parametrize("operator, value, second, given, match", OPERATORS)
def test_argument_comparisons(bundle, operator, value, second, given, match):
    """getpgrp takes no arguments, so any value may be passed in its first register."""
    filtered(bundle, rule("getpgrp", "SCMP_ACT_ERRNO", errnoRet=77, args=[{"index": 0, "value": value, "valueTwo": second, "op": operator}]))
    assert (call(bundle, GETPGRP, given) == (-1, 77)) == match


def test_two_arguments_must_both_match(bundle):
    both = [{"index": 0, "value": 1, "op": "SCMP_CMP_EQ"}, {"index": 3, "value": 2, "op": "SCMP_CMP_EQ"}]
    filtered(bundle, rule("getpgrp", "SCMP_ACT_ERRNO", errnoRet=77, args=both))
    assert call(bundle, GETPGRP, 1, 0, 0, 2) == (-1, 77)
    assert call(bundle, GETPGRP, 1, 0, 0, 3) != (-1, 77)


def test_same_argument_twice_means_either(bundle):
    """runc's reading: conditions on one index cannot all hold, so each makes a rule of its own."""
    either = [{"index": 0, "value": value, "op": "SCMP_CMP_EQ"} for value in (1, 2)]
    filtered(bundle, rule("getpgrp", "SCMP_ACT_ERRNO", errnoRet=77, args=either))
    assert call(bundle, GETPGRP, 1) == call(bundle, GETPGRP, 2) == (-1, 77)
    assert call(bundle, GETPGRP, 3) != (-1, 77)


def test_unknown_calls_are_ignored(bundle):
    filtered(bundle, rule("no_such_call_anywhere", "SCMP_ACT_ERRNO"), rule("getpgrp", "SCMP_ACT_ERRNO", errnoRet=5))
    assert call(bundle, GETPGRP) == (-1, 5)


@differs(crun="answers the default action: EPERM")
def test_calls_newer_than_the_profile_are_enosys(bundle):
    """So that programs fall back: a number above the newest the profile knows is ENOSYS, not EPERM (moby#42680)."""
    names = sorted(set(allowed_names()))
    filtered(bundle, {"names": names, "action": "SCMP_ACT_ALLOW"}, default="SCMP_ACT_ERRNO", defaultErrnoRet=1)
    assert call(bundle, 100000) == (-1, ENOSYS)


FLAGS = ["SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_SPEC_ALLOW", "SECCOMP_FILTER_FLAG_TSYNC"]


@pytest.mark.parametrize("flag", FLAGS)
def test_flags(bundle, flag):
    filtered(bundle, rule("getpgrp", "SCMP_ACT_ERRNO", errnoRet=5), flags=[flag])
    assert call(bundle, GETPGRP) == (-1, 5)


def test_other_architectures_may_be_listed(bundle):
    filtered(bundle, rule("getpgrp", "SCMP_ACT_ERRNO", errnoRet=5))
    bundle.linux["seccomp"]["architectures"] = ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"]
    assert call(bundle, GETPGRP) == (-1, 5)


def test_no_architectures_means_the_native_one(bundle):
    filtered(bundle, rule("getpgrp", "SCMP_ACT_ERRNO", errnoRet=5))
    del bundle.linux["seccomp"]["architectures"]
    assert call(bundle, GETPGRP) == (-1, 5)


def test_filter_is_there_with_and_without_no_new_privileges(bundle):
    for given in (True, False):
        bundle.process["noNewPrivileges"] = given
        filtered(bundle, rule("getpgrp", "SCMP_ACT_ERRNO"))
        text = bundle.args("cat", "/proc/self/status").must()
        assert status_field(text, "Seccomp") == "2"
        assert status_field(text, "NoNewPrivs") == str(int(given))


def test_plain_user_is_filtered(bundle):
    bundle.process.update(user={"uid": 1000, "gid": 1000}, noNewPrivileges=True)
    bundle.capabilities()
    filtered(bundle, rule("getpgrp", "SCMP_ACT_ERRNO", errnoRet=5))
    assert call(bundle, GETPGRP) == (-1, 5)


BAD = [
    ("action", {"defaultAction": "SCMP_ACT_NOSUCH", "syscalls": []}, "NOSUCH"),
    ("no_default", {"syscalls": []}, ""),
    ("rule_action", {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_WRONG"}]}, "WRONG"),
    ("architecture", {"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_NOSUCH"], "syscalls": []}, "NOSUCH"),
    ("operator", {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
        {"names": ["mkdir"], "action": "SCMP_ACT_ERRNO", "args": [{"index": 0, "value": 1, "op": "SCMP_CMP_NOSUCH"}]}]}, "NOSUCH"),
    ("index", {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
        {"names": ["mkdir"], "action": "SCMP_ACT_ERRNO", "args": [{"index": 9, "value": 1, "op": "SCMP_CMP_EQ"}]}]}, ""),
    ("flag", {"defaultAction": "SCMP_ACT_ALLOW", "flags": ["SECCOMP_FILTER_FLAG_NOSUCH"], "syscalls": []}, "NOSUCH"),
    ("notify_without_listener", {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"}]}, "listener"),
]  # fmt: skip


@pytest.mark.parametrize("name, profile, text", BAD, ids=[row[0] for row in BAD])
def test_bad_profile_is_refused_naming_the_word(request, bundle, name, profile, text):
    if (PEER, name) in [("runc", "no_default"), ("crun", "notify_without_listener")]:
        request.applymarker(pytest.mark.xfail(reason="accepts it"))
    if PEER == "crun":
        text = ""
    bundle.linux["seccomp"] = profile
    result = bundle.run()
    assert result.returncode != 0
    assert text.lower() in result.stderr.lower()
    bundle.assert_gone()


# ------------------------------------------------------------------------------------------------------ docker's profile

# number, arguments, blocked: what a plain `docker run` container may and may not do (without CAP_SYS_ADMIN)
DOCKER = [
    ("getpid", GETPID, [], False), ("personality_default", PERSONALITY, ["0xffffffff"], False), ("personality_odd", PERSONALITY, ["0x1234"], True),
    ("mount", 165, ["=a", "=b", "=c", "0", "0"], True), ("unshare_user", 272, ["0x10000000"], True), ("keyctl", 250, ["0", "-3", "0"], True),
    ("bpf", 321, ["0", "0", "0"], True), ("userfaultfd", 323, ["0"], True), ("kexec_load", 246, ["0", "0", "0", "0"], True),
    ("init_module", 175, ["0", "0", "0"], True), ("setns", 308, ["-1", "0"], True), ("open_by_handle_at", 304, ["0", "0", "0"], True),
    ("clone_new_user", 56, ["0x10000000", "0", "0", "0", "0"], True), ("io_uring_setup", 425, ["0", "0"], True),
    ("uname", UNAME, ["0"], False), ("chroot", 161, ["=/nosuch"], False), ("clone3", 435, ["0", "0"], True),
    ("ptrace", 101, ["99", "0"], False), ("reboot", 169, ["0", "0", "0"], True), ("swapon", 167, ["=x", "0"], True),
]  # fmt: skip


@pytest.mark.parametrize("name, number, arguments, blocked", DOCKER, ids=[row[0] for row in DOCKER])
def test_profile_of_docker(bundle, name, number, arguments, blocked):
    bundle.linux["seccomp"] = json.loads(read(f"{HERE}/testdata/docker_seccomp.json"))
    result, error = call(bundle, number, *arguments)
    refused = result == -1 and error == (ENOSYS if name == "clone3" else EPERM)
    assert refused == blocked, (result, error)


# ---------------------------------------------------------------------------------------------------------- the listener

NOTIF_RECV, NOTIF_SEND = 0xC0502100, 0xC0182101  # seccomp_unotify(2)


class Listener(threading.Thread):
    """Receives the notification descriptor and answers every call with errno 66, until stopped."""

    def __init__(self, path):
        super().__init__(daemon=True)
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.bind(path)
        self.socket.listen(4)
        self.state = None
        self.answered = 0
        self.wake_read, self.wake_write = os.pipe()

    def run(self):
        with contextlib.suppress(OSError):
            self.serve()

    def serve(self):
        self.socket.settimeout(10)
        connection, _ = self.socket.accept()
        descriptors = array.array("i")
        text = b""
        with connection:
            connection.settimeout(10)
            while True:
                block, fds, _, _ = socket.recv_fds(connection, 65536, 8)
                descriptors.extend(fds)
                text += block
                if not block:
                    break
                with contextlib.suppress(ValueError):
                    self.state = json.loads(text)
                    break
        self.answer(descriptors)
        for descriptor in descriptors:
            os.close(descriptor)

    def answer(self, descriptors):
        poll = select.poll()
        poll.register(descriptors[0], select.POLLIN)
        poll.register(self.wake_read, select.POLLIN)
        while True:
            ready = dict(poll.poll(10000))
            if not ready or self.wake_read in ready or ready.get(descriptors[0], 0) & select.POLLHUP:
                return
            request = bytearray(80)
            with contextlib.suppress(OSError):
                fcntl.ioctl(descriptors[0], NOTIF_RECV, request)
                identity = struct.unpack_from("Q", request)[0]
                fcntl.ioctl(descriptors[0], NOTIF_SEND, struct.pack("QqiI", identity, 0, -66, 0))
                self.answered += 1

    def wait_state(self):
        return wait_for(lambda: self.state, "the state to arrive at the listener")

    def close(self):
        os.write(self.wake_write, b"x")
        self.join(15)
        self.socket.close()
        os.close(self.wake_read)
        os.close(self.wake_write)


@pytest.fixture
def listener(bundle):
    thread = Listener(f"{bundle.path}/notify.sock")
    thread.start()
    yield thread
    thread.close()


def test_listener_gets_the_descriptor_and_the_state(bundle, listener):
    filtered(bundle, rule("getpgrp", "SCMP_ACT_NOTIFY"), listenerPath=f"{bundle.path}/notify.sock", listenerMetadata="some=thing")
    assert call(bundle, GETPGRP) == (-1, 66)
    assert listener.answered >= 1
    assert "seccompFd" in listener.state["fds"]
    assert listener.state["metadata"] == "some=thing"
    assert listener.state["pid"] > 0
    assert listener.state["state"]["id"] == bundle.id
    assert listener.state["state"]["status"] in ("creating", "created")


def test_exec_has_a_listener_of_its_own(bundle, listener):
    path = f"{bundle.path}/notify.sock"
    filtered(bundle, rule("getpgrp", "SCMP_ACT_NOTIFY"), listenerPath=path)
    bundle.args("/bin/sleep", "100").up()
    first = listener.wait_state()
    os.unlink(path)
    second = Listener(path)
    second.start()
    try:
        assert bundle.exec("/bin/probe", "call", str(GETPGRP)).stdout.split() == ["-1", "66"]
        assert second.state["pid"] != first["pid"]
    finally:
        second.close()


def test_listener_that_is_not_there_is_an_error_that_names_it(bundle):
    filtered(bundle, rule("getpgrp", "SCMP_ACT_NOTIFY"), listenerPath=f"{bundle.path}/nosuch.sock")
    result = bundle.run()
    assert result.returncode != 0
    assert "nosuch.sock" in result.stderr or "seccomp" in result.stderr
    bundle.assert_gone()


def test_write_may_not_be_notified(bundle):
    """The runtime itself needs write(2) after the filter is loaded; runc refuses such a profile."""
    filtered(bundle, rule("write", "SCMP_ACT_NOTIFY"), listenerPath=f"{bundle.path}/nosuch.sock")
    result = bundle.run()
    assert result.returncode != 0
    bundle.assert_gone()
