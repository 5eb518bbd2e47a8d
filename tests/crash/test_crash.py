"""kill -9 at random moments: of whoever started a monitor, of the runtime's commands, of the monitor itself.

$DAVIT_CRASH_SEED repeats a run's moments; DAVIT_ALL=1 tries more of them.
"""

import concurrent.futures
import contextlib
import json
import os
import random
import signal
import subprocess
import time

import pytest

from davitlib import PEER, alive, find_runtime, is_sanitized, processes_naming, read, wait_for
from test_monitor import WAIT, Control

pytestmark = pytest.mark.skipif(bool(PEER), reason="the promises are Davit's")

ALL = bool(os.environ.get("DAVIT_ALL"))
SEED = int(os.environ.get("DAVIT_CRASH_SEED", random.getrandbits(32)))
WORKERS = 4
# A sanitized program takes that much longer to do the same.
SLOWNESS = 10 if is_sanitized() else 1


@pytest.fixture
def moments():
    """A random source whose seed a failing test shows."""
    print(f"DAVIT_CRASH_SEED={SEED}")
    return random.Random(SEED)


def at_once(work, cases):
    """work(case) for every case, a few at a time; the first failure is raised with its case."""

    def one(case):
        try:
            return work(case)
        except BaseException as error:
            raise AssertionError(f"{case}: {error}") from error

    with concurrent.futures.ThreadPoolExecutor(WORKERS) as pool:
        return list(pool.map(one, cases))


def kill_after(process, delay):
    time.sleep(delay)
    process.kill()
    process.wait()


def monitor_command(bundle, *flags):
    bundle.save()
    directory = f"{bundle.path}/monitor"
    os.makedirs(directory, exist_ok=True)
    words = ["monitor", "--id", bundle.id, "--bundle", bundle.path, "--dir", directory, *flags]
    return bundle.command(*words), directory


def logged(directory):
    return [json.loads(line)["log"] for line in read(f"{directory}/container.log", "").splitlines()]


# ------------------------------------------------------------------------------------------------ the monitor's parent

LINES = 25
PRINTING = f"i=0; while [ $i -lt {LINES} ]; do i=$((i+1)); echo line $i; usleep 8000; done; exit 7"


def check_whole_life(bundle, directory):
    wait_for(lambda: os.path.exists(f"{directory}/exit.json"), "the exit record", 20)
    record = json.loads(read(f"{directory}/exit.json"))
    assert (record["exit_code"], record["signal"]) == (7, 0), record
    wait_for(lambda: not os.path.exists(f"{directory}/control.sock"), "the monitor's end")
    assert logged(directory) == [f"line {i}\n" for i in range(1, LINES + 1)]
    assert bundle.status() == "stopped"


@pytest.mark.seconds(400)
def test_killing_the_monitors_parent_at_any_moment_loses_nothing(bundles, moments):
    def life(case):
        bundle, delay = case
        command, directory = monitor_command(bundle.sh(PRINTING))
        # The monitor of a shell in a session of its own; the pipe tells that it was forked, the earliest of all moments.
        script = '"$@" & echo started; wait'
        parent = subprocess.Popen(["sh", "-c", script, "sh", *command], stdout=subprocess.PIPE, start_new_session=True)
        parent.stdout.readline()
        kill_after(parent, delay)
        parent.stdout.close()
        check_whole_life(bundle, directory)

    count = 200 if ALL else 40
    # Most of a life's events are at its beginning: a third of the moments fall into the first 20 ms.
    delays = [moments.uniform(0, 0.02 if i % 3 == 0 else 0.5) for i in range(count)]
    at_once(life, [(bundles(), delay) for delay in delays])


@pytest.mark.seconds(400)
def test_killing_the_front_of_a_detached_monitor_starts_it_wholly_or_not_at_all(bundles, moments):
    def life(case):
        bundle, delay = case
        command, directory = monitor_command(bundle.sh(PRINTING), "--detach")
        front = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        kill_after(front, delay)
        if not os.path.exists(f"{bundle.root}/{bundle.id}") and not processes_naming(bundle.id):
            assert not os.path.exists(f"{directory}/exit.json")
            return 0
        check_whole_life(bundle, directory)
        return 1

    count = 60 if ALL else 16
    lives = at_once(life, [(bundles(), moments.uniform(0, 0.03 * SLOWNESS)) for _ in range(count)])
    assert sum(lives) > 0


# -------------------------------------------------------------------------------------------------- the exit record


@pytest.mark.seconds(120)
def test_the_exit_record_is_on_disk_before_a_waiter_is_told(bundles):
    for code in range(12):
        bundle = bundles().sh(f"usleep {30000 * SLOWNESS}; exit {code}")
        command, directory = monitor_command(bundle, "--detach")
        assert subprocess.run(command, check=False).returncode == 0
        control = Control(f"{directory}/control.sock")
        control.send(WAIT)
        answer = control.receive()
        # Renamed into place, so it is whole when it is there (docs/disk/exit-record.md).
        on_disk = read(f"{directory}/exit.json")
        control.close()
        assert json.loads(on_disk) == json.loads(answer[3])
        assert json.loads(on_disk)["exit_code"] == code
        assert not os.path.exists(f"{directory}/exit.json.new")


# ------------------------------------------------------------------------------------------------ the runtime's commands


def waits_for_ever(bundle):
    """A container whose command line names it, for the search for what is left."""
    return bundle.sh(f"sleep 1000; : {bundle.id}")


def typical(action):
    """How long a command takes here and now, so that the moments cover all of it."""
    start = time.monotonic()
    action()
    return time.monotonic() - start


def check_forced_removal(bundle):
    """delete --force leaves nothing, and the id is free again."""
    removed = bundle.delete("--force")
    assert removed.returncode == 0, removed.stderr
    with contextlib.suppress(AssertionError):  # a process that is just exiting gets a moment
        wait_for(lambda: not bundle.leftovers(), "", 2)
    left = bundle.leftovers()
    assert left == [], f"left: {left}"
    again = bundle.sh("echo again").run()
    assert (again.returncode, again.stdout) == (0, "again\n"), again.stderr
    bundle.assert_gone()


def start_quietly(bundle, *words):
    bundle.save()
    return subprocess.Popen(bundle.command(*words), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


@pytest.mark.seconds(300)
@pytest.mark.parametrize("command", ["create", "run", "run --detach"])
def test_a_killed_start_is_removed_by_force(bundles, moments, command):
    words = command.split()
    whole = typical(lambda: bundles().sh("true").run())

    def attempt(case):
        bundle, delay = case
        process = start_quietly(waits_for_ever(bundle), *words, "--bundle", bundle.path, bundle.id)
        kill_after(process, delay)
        check_forced_removal(bundle)

    count = 150 if ALL else 30
    at_once(attempt, [(bundles(), moments.uniform(0, whole * 1.5)) for _ in range(count)])


@pytest.mark.seconds(300)
def test_a_killed_exec_leaves_the_container_as_it_was(bundles, moments):
    made = [waits_for_ever(bundles()).up() for _ in range(WORKERS)]
    whole = typical(lambda: made[0].exec("true"))

    def attempt(case):
        bundle, count = case
        for delay in [moments.uniform(0, whole * 1.5) for _ in range(count)]:
            kill_after(start_quietly(bundle, "exec", bundle.id, "sleep", "1000"), delay)
            assert bundle.status() == "running"
        again = bundle.exec("echo", "again")
        assert (again.returncode, again.stdout) == (0, "again\n"), again.stderr
        check_forced_removal(bundle)

    at_once(attempt, [(bundle, 30 if ALL else 8) for bundle in made])


@pytest.mark.seconds(300)
def test_a_killed_delete_can_be_repeated(bundles, moments):
    first = waits_for_ever(bundles()).up()
    whole = typical(lambda: first.delete("--force"))

    def attempt(case):
        bundle, delay = case
        kill_after(start_quietly(waits_for_ever(bundle).up(), "delete", "--force", bundle.id), delay)
        check_forced_removal(bundle)

    count = 100 if ALL else 20
    at_once(attempt, [(bundles(), moments.uniform(0, whole * 1.5)) for _ in range(count)])


# --------------------------------------------------------------------------------------------------- the monitor itself


def monitor_pid(directory):
    for pid in processes_naming(directory):
        if read(f"/proc/{pid}/cmdline", "").split("\0")[3:4] == ["monitor"]:
            return pid
    return None


def killed_monitor(bundle, *flags):
    command, directory = monitor_command(bundle, "--detach", *flags)
    started = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    assert started.returncode == 0, started.stderr
    pid = wait_for(lambda: monitor_pid(directory), "the monitor")
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: not alive(pid), "the monitor's end")
    return directory


def test_a_container_that_prints_nothing_outlives_its_monitor(bundle):
    directory = killed_monitor(bundle.sh("trap 'exit 3' TERM; while :; do usleep 20000; done"))
    assert bundle.status() == "running"
    assert bundle.exec("echo", "alive").stdout == "alive\n"
    assert bundle.call("kill", bundle.id, "TERM").returncode == 0
    bundle.wait_stopped()
    assert not os.path.exists(f"{directory}/exit.json")  # nobody was there to see it
    assert bundle.delete().returncode == 0
    bundle.assert_gone()


def test_a_container_that_prints_gets_sigpipe_without_its_monitor(bundle):
    killed_monitor(bundle.sh("while :; do echo line; usleep 20000; done"))
    # sh sees a failing write and goes on, or dies of SIGPIPE; both are the program's own choice. It is never stuck.
    assert bundle.status() in ("running", "stopped")
    check_forced_removal(bundle)


@pytest.mark.seconds(300)
def test_a_monitor_killed_at_any_moment_leaves_what_force_removes(bundles, moments):
    def attempt(case):
        bundle, delay = case
        command, _ = monitor_command(waits_for_ever(bundle))
        monitor = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        kill_after(monitor, delay)

        # A creation that was under way goes on or fails by itself, and then there is nothing but the container.
        def creators():
            return [pid for pid in processes_naming(bundle.id) if "davit-runtime" in read(f"/proc/{pid}/cmdline", "")]

        wait_for(lambda: not creators(), "the end of the creation")
        check_forced_removal(bundle)

    count = 100 if ALL else 24
    at_once(attempt, [(bundles(), moments.uniform(0, 0.04)) for _ in range(count)])


@pytest.mark.seconds(120)
def test_a_program_that_ends_before_its_creator_has_looked_at_it_is_recorded(bundles):
    """The monitor reaps its child while the helper that made it still reads about it."""

    def life(case):
        bundle, code = case
        command, directory = monitor_command(bundle.sh(f"exit {code}"))
        result = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
        assert result.returncode == 0, result.stderr
        assert json.loads(read(f"{directory}/exit.json"))["exit_code"] == code

    at_once(life, [(bundles(), code) for code in range(200 if ALL else 40)])
