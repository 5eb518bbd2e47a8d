"""Terminals: --console-socket, the foreground, sizes, /dev/console, hang-up."""

import os
import signal
import subprocess

import pytest

from davitlib import PEER, ConsoleSocket, on_pty, read_terminal, wait_for


@pytest.fixture
def tty(bundle):
    bundle.process["terminal"] = True
    return bundle


def start(bundle, console):
    result = bundle.create("--console-socket", console.path)
    assert result.returncode == 0, result.stderr
    console.accept()
    assert bundle.call("start", bundle.id).returncode == 0


def test_socket_gets_the_master(tty):
    tty.sh("tty; stat -c %F /dev/console; test -t 0 && test -t 1 && test -t 2 && echo all; sleep 100")
    with ConsoleSocket(tty.path) as console:
        start(tty, console)
        seen = console.read_until("all")
    assert "/dev/console" in seen or "/dev/pts/0" in seen
    assert "character special" in seen


def test_input_goes_in_and_is_echoed(tty):
    tty.sh("read line; echo got=$line; sleep 100")
    with ConsoleSocket(tty.path) as console:
        start(tty, console)
        os.write(console.master, b"typed\n")
        console.read_until("got=typed")


def test_size(tty):
    tty.process["consoleSize"] = {"height": 40, "width": 132}
    tty.sh("stty size; sleep 100")
    with ConsoleSocket(tty.path) as console:
        start(tty, console)
        console.read_until("40 132")


def test_is_the_controlling_terminal(tty):
    tty.sh("echo via-tty > /dev/tty; trap 'echo got-int' INT; echo ready; while :; do sleep 0.02; done")
    with ConsoleSocket(tty.path) as console:
        start(tty, console)
        assert "via-tty" in console.read_until("ready")
        os.write(console.master, b"\x03")
        console.read_until("got-int")


def test_resize_signals_the_program(tty):
    import fcntl
    import struct
    import termios

    tty.sh("trap 'stty size' WINCH; echo ready; while :; do sleep 0.02; done")
    with ConsoleSocket(tty.path) as console:
        start(tty, console)
        console.read_until("ready")
        fcntl.ioctl(console.master, termios.TIOCSWINSZ, struct.pack("HHHH", 11, 22, 0, 0))
        console.read_until("11 22")


def test_slave_belongs_to_the_containers_devpts(tty):
    tty.sh("stat -c %t:%T $(readlink /proc/self/fd/0); mount | grep -c /dev/console; ls /dev/pts; sleep 100")
    with ConsoleSocket(tty.path) as console:
        start(tty, console)
        seen = console.read_until("ptmx")
    assert "88:0" in seen  # pts major 136, first of its own instance


def test_user_owns_the_terminal(tty):
    tty.process["user"] = {"uid": 1000, "gid": 1000}
    tty.sh("stat -c %u $(readlink /proc/self/fd/0); echo done; sleep 100")
    with ConsoleSocket(tty.path) as console:
        start(tty, console)
        assert "1000" in console.read_until("done")


def test_works_in_a_user_namespace(bundles):
    bundle = bundles(copy_busybox=True)
    bundle.user_namespace()
    bundle.process["terminal"] = True
    bundle.sh("tty; echo done; sleep 100")
    with ConsoleSocket(bundle.path) as console:
        start(bundle, console)
        console.read_until("done")


def test_newline_translation_is_dockers(tty):
    """ONLCR stays on: the client sees CR LF."""
    tty.sh("echo line; sleep 100")
    with ConsoleSocket(tty.path) as console:
        start(tty, console)
        console.read_until("line\r\n")


def test_hang_up_ends_the_container(tty):
    tty.sh("trap 'exit 0' HUP; echo ready; while :; do sleep 0.02; done")
    with ConsoleSocket(tty.path) as console:
        start(tty, console)
        console.read_until("ready")
    tty.wait_stopped()


def test_foreground_run_on_a_terminal(tty):
    tty.sh("tty; stty size; exit 9").save()
    with on_pty(tty.command("run", "--bundle", tty.path, tty.id), size=(31, 77)) as (process, master):
        seen = read_terminal(master)
        assert process.wait(10) == 9
    assert "31 77" in seen
    assert "/dev/" in seen
    tty.assert_gone()


def test_foreground_input(tty):
    tty.sh("echo ready; read line; echo got=$line").save()
    with on_pty(tty.command("run", "--bundle", tty.path, tty.id)) as (process, master):
        read_terminal(master, "ready")
        os.write(master, b"typed\n")
        read_terminal(master, "got=typed")
        assert process.wait(10) == 0


def test_foreground_control_c_reaches_the_container(tty):
    tty.sh("trap 'echo got-int; exit 4' INT; echo ready; while :; do sleep 0.02; done").save()
    with on_pty(tty.command("run", "--bundle", tty.path, tty.id)) as (process, master):
        read_terminal(master, "ready")
        os.write(master, b"\x03")
        read_terminal(master, "got-int")
        assert process.wait(10) == 4


def test_foreground_restores_the_callers_terminal(tty):
    import termios

    tty.sh("true").save()
    with on_pty(["sh", "-c", 'stty -a > "$0"; "$@"; stty -a > "$0.after"; echo over; read x', f"{tty.path}/modes",
                 *tty.command("run", "--bundle", tty.path, tty.id)]) as (process, master):  # fmt: skip
        read_terminal(master, "over")
        assert process.poll() is None
        assert termios.tcgetattr(master)
    with open(f"{tty.path}/modes", encoding="ascii") as before, open(f"{tty.path}/modes.after", encoding="ascii") as after:
        assert before.read() == after.read()


def test_foreground_resize_is_passed_on(tty):
    import fcntl
    import struct
    import termios

    tty.sh("trap 'stty size' WINCH; echo ready; while :; do sleep 0.02; done").save()
    with on_pty(tty.command("run", "--bundle", tty.path, tty.id)) as (process, master):
        read_terminal(master, "ready")
        fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", 12, 34, 0, 0))
        process.send_signal(signal.SIGWINCH)
        read_terminal(master, "12 34")


def test_detached_with_terminal_needs_a_console_socket(tty):
    result = tty.create()
    assert result.returncode != 0
    assert "console" in result.stderr.lower() or "terminal" in result.stderr.lower()
    tty.assert_gone()


def test_console_socket_without_a_terminal_is_refused(bundle):
    with ConsoleSocket(bundle.path) as console:
        result = bundle.create("--console-socket", console.path)
        if PEER != "crun":
            assert result.returncode != 0
            bundle.assert_gone()


def test_console_socket_that_nobody_listens_at(tty):
    result = tty.create("--console-socket", f"{tty.path}/nosuch.sock")
    assert result.returncode != 0
    assert "nosuch.sock" in result.stderr or "no such file" in result.stderr.lower()
    tty.assert_gone()


def test_foreground_without_a_terminal_of_its_own_still_runs(tty):
    """docker run -t from cron: stdin is no terminal."""
    tty.sh("tty; exit 3").save()
    result = subprocess.run(tty.command("run", "--bundle", tty.path, tty.id), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=15, check=False)
    assert result.returncode in (3, 1)
    tty.assert_gone()


def test_no_terminal_no_console(bundle):
    assert bundle.sh("test -e /dev/console && echo yes || echo no; tty").run().stdout.split("\n")[0] == "no"


def test_output_is_complete_when_the_container_ends(tty):
    tty.sh("seq 1 20000").save()
    with on_pty(tty.command("run", "--bundle", tty.path, tty.id)) as (process, master):
        seen = read_terminal(master)
        wait_for(lambda: process.poll() is not None, "the runtime to end")
    assert seen.split()[-1] == "20000"
    assert len(seen.split()) == 20000
