"""`davit-runtime monitor`: real containers under it, asked by its control socket (docs/wire/monitor-control.md)."""

import json
import os
import signal
import socket
import struct
import subprocess
import time

import pytest

from davitlib import PEER, find_runtime, is_sanitized, read, wait_for, write

pytestmark = pytest.mark.skipif(bool(PEER), reason="the peer has no monitor")

STATE, START, SIGNAL, PAUSE, RESUME, RESIZE, STATS, WAIT, ATTACH, EXEC, EXEC_WAIT = range(1, 12)
SUBSCRIBE = 15
EXEC_ID, SIGNAL_TAG, WIDTH, HEIGHT, STREAMS, FLAGS, DETACH_KEYS, LEFTOVER, PATH = range(4, 13)
RAW, TERMINAL, ALL, PROCESS_FD, CLIENT = 1, 2, 4, 8, 16


class Control:
    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.socket.settimeout(20)
        self.socket.connect(path)

    def send(self, kind, fields=None, fds=()):
        packet = struct.pack("<BBHI", 1, kind, 0, 7)
        for tag, value in (fields or {}).items():
            value = struct.pack("<I", value) if isinstance(value, int) else value
            packet += struct.pack("<BBH", tag, 0, len(value)) + value
        socket.send_fds(self.socket, [packet], list(fds))

    def receive(self):
        packet = self.socket.recv(65536)
        fields, at = {}, 8
        while at < len(packet):
            size = struct.unpack_from("<H", packet, at + 2)[0]
            fields[packet[at]] = packet[at + 4 : at + 4 + size]
            at += 4 + size
        return fields

    def ask(self, kind, fields=None, fds=()):
        self.send(kind, fields, fds)
        answer = self.receive()
        assert answer[1] == b"\0", answer
        return json.loads(answer[3]) if 3 in answer else None

    def exit_code(self):
        return json.loads(self.receive()[3])["exit_code"]

    def attach(self, kind, fields):
        ours, theirs = socket.socketpair()
        ours.settimeout(20)
        answer = self.ask(kind, fields, [theirs.fileno()])
        theirs.close()
        return ours, answer

    def close(self):
        self.socket.close()


def read_all(connection):
    data = b""
    while chunk := connection.recv(65536):
        data += chunk
    connection.close()
    return data


class Monitored:
    """A bundle under a monitor in the background."""

    def __init__(self, bundle, *flags):
        bundle.save()
        self.bundle = bundle
        self.dir = f"{bundle.path}/monitor"
        os.makedirs(self.dir)
        command = [find_runtime(), "monitor", "--root", bundle.root, "--id", bundle.id, "--bundle", bundle.path, "--dir", self.dir]
        started = subprocess.run([*command, "--detach", *flags], capture_output=True, text=True, timeout=20)
        assert started.returncode == 0, started.stderr
        self.controls = []

    def control(self):
        self.controls.append(Control(f"{self.dir}/control.sock"))
        return self.controls[-1]

    def waiter(self):
        """A connection that waits already: a monitor whose container has ended leaves when it has answered who waited."""
        control = self.control()
        control.send(WAIT)
        return control

    def record(self):
        wait_for(lambda: os.path.exists(f"{self.dir}/exit.json"), "the exit record")
        return json.loads(read(f"{self.dir}/exit.json"))

    def ended(self):
        record = self.record()
        wait_for(lambda: not os.path.exists(f"{self.dir}/control.sock"), "the monitor's end")
        return record

    def log(self):
        return "".join(json.loads(line)["log"] for line in read(f"{self.dir}/container.log").splitlines())

    def pid(self):
        for entry in os.listdir("/proc"):
            if entry.isdigit() and self.dir.encode() in (read_bytes(f"/proc/{entry}/cmdline") or b""):
                return int(entry)
        raise AssertionError("no monitor")


def read_bytes(path):
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError:
        return None


@pytest.fixture
def monitored(bundles):
    """A factory; connections are closed and containers killed after the test."""
    made = []

    def make(script, *flags, bundle=None, **changes):
        bundle = (bundle or bundles()).sh(script)
        bundle.process.update(changes)
        made.append(Monitored(bundle, *flags))
        return made[-1]

    yield make
    for one in made:
        for control in one.controls:
            control.close()
        if not os.path.exists(f"{one.dir}/exit.json"):
            one.bundle.call("kill", one.bundle.id, "KILL")
        one.ended()


def test_log_and_exit_code(monitored):
    one = monitored("echo out; echo err >&2; exit 7")
    record = one.ended()
    assert (record["exit_code"], record["signal"], record["oom_killed"]) == (7, 0, False)
    assert sorted(one.log().splitlines()) == ["err", "out"]


def test_a_failed_creation_says_why(bundle, tmp_path):
    bundle.args("/no/such/program").save()
    command = [find_runtime(), "monitor", "--root", bundle.root, "--id", bundle.id, "--bundle", bundle.path, "--dir", str(tmp_path), "--detach"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=20)
    assert result.returncode == 1
    assert "/no/such/program" in result.stderr
    assert not os.path.exists(tmp_path / "control.sock")


def test_create_then_start(monitored):
    one = monitored("echo started", "--create-only")
    control = one.control()
    assert control.ask(STATE)["status"] == "created"
    waiter = one.waiter()
    control.ask(START)
    assert waiter.exit_code() == 0
    assert one.log() == "started\n"


def test_signal_pause_stats(monitored):
    one = monitored("trap 'exit 4' TERM; while :; do sleep 0.05; done")
    control = one.control()
    control.ask(PAUSE)
    assert control.ask(STATE)["status"] == "paused"
    assert one.bundle.status() == "paused"
    control.ask(RESUME)
    stats = control.ask(STATS)
    assert stats["memory"]["usage"] > 0 and stats["pids"]["current"] >= 1
    waiter = one.waiter()
    control.ask(SIGNAL, {SIGNAL_TAG: signal.SIGTERM})
    assert waiter.exit_code() == 4


def test_attach_to_a_terminal(monitored):
    one = monitored("stty -echo; read x; stty size; echo bye $x", "--terminal", "--stdin", "open", terminal=True)
    control = one.control()
    connection, _ = control.attach(ATTACH, {STREAMS: 7})
    control.ask(RESIZE, {WIDTH: 77, HEIGHT: 22})
    time.sleep(0.3)
    connection.sendall(b"joe\n")
    assert read_all(connection).endswith(b"22 77\r\nbye joe\r\n")
    assert one.ended()["exit_code"] == 0


def test_many_execs_at_once(monitored):
    one = monitored("sleep 30")
    control = one.control()
    process = {**one.bundle.process, "args": ["sh", "-c", "cat; exit 9"]}
    path = write(f"{one.dir}/process.json", json.dumps(process)).encode()
    sessions = [control.attach(EXEC, {EXEC_ID: b"e%d" % i, PATH: path, FLAGS: RAW | CLIENT, STREAMS: 7}) for i in range(20)]
    for i, (connection, _) in enumerate(sessions):
        connection.sendall(b"hello %d" % i)
        connection.shutdown(socket.SHUT_WR)
    for i, (connection, _) in enumerate(sessions):
        assert read_all(connection) == b"hello %d" % i
        assert control.ask(EXEC_WAIT, {EXEC_ID: b"e%d" % i})["exit_code"] == 9
    waiter = one.waiter()
    control.ask(SIGNAL, {SIGNAL_TAG: signal.SIGKILL})
    assert waiter.exit_code() == 137


def test_oom_is_recorded_and_told(monitored, bundles):
    bundle = bundles().resources(memory={"limit": 16 << 20, "swap": 16 << 20})
    one = monitored("sleep 0.5; tail /dev/zero; exit 1", bundle=bundle)
    control = one.control()
    control.ask(SUBSCRIBE)
    events = []
    while "exit" not in events:
        events.append(json.loads(control.receive()[3])["event"])
    assert "oom" in events
    assert one.ended()["oom_killed"] is True


@pytest.mark.parametrize("delay", [0, 0.02, 0.1, 0.4])
def test_killing_the_monitors_parent_loses_nothing(bundle, delay):
    bundle.sh("for i in 1 2 3 4 5 6; do echo line $i; sleep 0.1; done; exit 6").save()
    directory = f"{bundle.path}/monitor"
    os.makedirs(directory)
    monitor = f"{find_runtime()} monitor --root {bundle.root} --id {bundle.id} --bundle {bundle.path} --dir {directory}"
    parent = subprocess.Popen(["sh", "-c", f"{monitor} & echo $!; wait"], stdout=subprocess.PIPE, start_new_session=True)
    parent.stdout.readline()
    wait_for(lambda: os.path.exists(f"{directory}/control.sock"), "the control socket")
    time.sleep(delay)
    parent.kill()
    parent.wait()
    parent.stdout.close()
    wait_for(lambda: os.path.exists(f"{directory}/exit.json"), "the exit record")
    assert json.loads(read(f"{directory}/exit.json"))["exit_code"] == 6
    wait_for(lambda: not os.path.exists(f"{directory}/control.sock"), "the monitor's end")
    lines = [json.loads(line)["log"] for line in read(f"{directory}/container.log").splitlines()]
    assert lines == [f"line {i}\n" for i in range(1, 7)]


def test_an_idle_monitor_is_small(monitored):
    if is_sanitized():
        pytest.skip("a sanitizer's shadow memory is not the monitor's")
    ones = [monitored("echo hello; sleep 30") for _ in range(3)]
    wait_for(lambda: all(read(f"{one.dir}/container.log") for one in ones), "the logs")
    time.sleep(2.5)  # buffers go after a second without use
    rollup = read(f"/proc/{ones[-1].pid()}/smaps_rollup")
    private = sum(int(line.split()[1]) for line in rollup.splitlines() if line.startswith(("Private_Clean", "Private_Dirty")))
    print(f"private memory of an idle monitor: {private} kB")
    assert private <= 120


def test_a_hanging_hook_does_not_hold_the_monitor(bundle):
    bundle.config["hooks"] = {"createRuntime": [{"path": "/bin/sleep", "args": ["sleep", "100"]}]}
    bundle.save()
    os.makedirs(f"{bundle.path}/monitor")
    words = [find_runtime(), "monitor", "--root", bundle.root, "--id", bundle.id, "--bundle", bundle.path, "--dir", f"{bundle.path}/monitor"]
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True) as process:
        wait_for(lambda: bundle.call("state", bundle.id).returncode == 0, "the container")
        time.sleep(0.2)
        process.send_signal(signal.SIGTERM)
        assert process.wait(5) == 1
        assert "interrupted" in process.stderr.read()
    bundle.assert_gone()


def test_a_pause_by_command_line_is_seen_by_the_monitor(monitored):
    one = monitored("sleep 100")
    assert one.bundle.call("pause", one.bundle.id).returncode == 0
    control = one.control()
    assert control.ask(STATE)["status"] == "paused"
    control.ask(RESUME)
    assert one.bundle.status() == "running"
