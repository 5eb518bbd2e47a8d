"""create, start, state, kill, delete, run, list, ps, pause, resume, events, spec, features: the states and their errors."""

import json
import os
import re
import signal
import socket
import subprocess
import threading

import pytest

from davitlib import PARENT, PEER, RUNTIME, alive, differs, read, wait_for

TRAP = "trap 'echo got-term; exit 7' TERM; echo ready; while :; do sleep 0.02; done"


def test_created_started_stopped_deleted(bundle):
    bundle.sh("echo hello").config["annotations"] = {"org.davit.test": "yes", "empty": ""}
    result = bundle.create("--pid-file", f"{bundle.path}/pid")
    assert result.returncode == 0, result.stderr
    state = bundle.state()
    assert state["status"] == "created"
    assert state["id"] == bundle.id
    assert state["bundle"] == bundle.path
    assert state["annotations"]["org.davit.test"] == "yes"
    assert re.match(r"1\.\d+\.\d+", state["ociVersion"])
    assert state["pid"] == int(read(f"{bundle.path}/pid")) > 0
    assert alive(state["pid"])
    assert bundle.output() == "", "the program ran before start"
    assert bundle.call("start", bundle.id).returncode == 0
    bundle.output("hello")
    bundle.wait_stopped()
    assert bundle.state()["pid"] == 0
    assert bundle.delete().returncode == 0
    assert bundle.leftovers() == []


@differs(crun="prints created and rootfs, but created is only in newer formats")
def test_state_has_the_fields_that_callers_of_runc_parse(bundle):
    bundle.args("sleep", "100").up()
    state = bundle.state()
    for field in ("ociVersion", "id", "pid", "status", "bundle", "rootfs", "created", "owner"):
        assert field in state, field
    assert state["rootfs"] == bundle.rootfs
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", state["created"])


def test_delete_of_a_created_container_needs_no_force(bundle):
    bundle.args("sleep", "100")
    assert bundle.create().returncode == 0
    pid = bundle.pid()
    assert bundle.delete().returncode == 0
    wait_for(lambda: not alive(pid), "the waiting process to end")
    bundle.assert_gone()


@pytest.mark.parametrize("code", [0, 1, 42, 255])
def test_run_answers_with_the_exit_code(bundle, code):
    assert bundle.sh(f"exit {code}").run().returncode == code
    bundle.assert_gone()


@pytest.mark.parametrize("number", [9, 15, 6])
def test_run_answers_128_plus_the_signal(bundle, number):
    assert bundle.sh(f"sh -c 'kill -{number} $$'; exit $?").run().returncode == 128 + number


def test_run_passes_stdin_stdout_stderr(bundle):
    result = bundle.sh("cat; echo oops >&2").run(input="line 1\nline 2\n")
    assert result.stdout == "line 1\nline 2\n"
    assert "oops" in result.stderr


def test_run_detached_leaves_the_container_running(bundle):
    bundle.save()
    bundle.sh("echo up; sleep 100").save()
    result = bundle.detached("run", "--detach", "--bundle", bundle.path, "--pid-file", f"{bundle.path}/pid", bundle.id)
    assert result.returncode == 0, result.stderr
    bundle.output("up")
    assert bundle.status() == "running"
    assert bundle.pid() == int(read(f"{bundle.path}/pid"))


def test_run_keep_leaves_the_stopped_container(bundle):
    assert bundle.sh("exit 3").run("--keep").returncode == 3
    assert bundle.status() == "stopped"
    assert bundle.delete().returncode == 0


def test_run_forwards_signals_to_the_container(bundle):
    bundle.sh(TRAP).save()
    with open(f"{bundle.path}/out", "wb") as out:
        process = subprocess.Popen(bundle.command("run", "--bundle", bundle.path, bundle.id), stdout=out, stdin=subprocess.DEVNULL)
        bundle.output("ready")
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 7
    assert "got-term" in bundle.output()


@pytest.mark.parametrize("name", ["TERM", "SIGTERM", "15"])
def test_kill_takes_names_and_numbers(bundle, name):
    bundle.sh(TRAP).up().output("ready")
    assert bundle.call("kill", bundle.id, name).returncode == 0
    bundle.output("got-term")
    bundle.wait_stopped()


def test_kill_sends_term_unless_told(bundle):
    bundle.sh(TRAP).up().output("ready")
    assert bundle.call("kill", bundle.id).returncode == 0
    bundle.output("got-term")


def test_kill_of_a_created_container(bundle):
    bundle.args("sleep", "100")
    bundle.create()
    assert bundle.call("kill", bundle.id, "KILL").returncode == 0
    bundle.wait_stopped()


def test_kill_all_reaches_every_process_without_a_pid_namespace(bundle):
    bundle.no_namespace("pid")
    bundle.sh("sleep 1000 & sleep 1000 & echo $!; wait").up()
    bundle.output("\n")
    pids = [int(pid) for pid in bundle.knob("pids", "cgroup.procs").split()]
    assert len(pids) == 3
    assert bundle.call("kill", "--all", bundle.id, "KILL").returncode == 0
    wait_for(lambda: not any(alive(pid) for pid in pids), "every process to end")


def test_delete_force_ends_every_process_without_a_pid_namespace(bundle):
    bundle.no_namespace("pid")
    bundle.sh("sleep 1000 & sleep 1000 & echo up; wait").up()
    bundle.output("up")
    pids = [int(pid) for pid in bundle.knob("pids", "cgroup.procs").split()]
    bundle.stop()
    wait_for(lambda: not any(alive(pid) for pid in pids), "every process to end")
    bundle.assert_gone()


def running(bundle):
    bundle.args("sleep", "100").up()


def stopped(bundle):
    bundle.args("true").up()
    bundle.wait_stopped()


def created(bundle):
    bundle.args("sleep", "100")
    bundle.create()


def paused(bundle):
    running(bundle)
    bundle.call("pause", bundle.id)


REFUSED = [
    ("start_twice", running, ["start", "ID"], ""),
    ("start_stopped", stopped, ["start", "ID"], ""),
    ("delete_running", running, ["delete", "ID"], ""),
    ("kill_stopped", stopped, ["kill", "ID", "KILL"], "not running"),
    ("pause_stopped", stopped, ["pause", "ID"], ""),
    ("resume_running", running, ["resume", "ID"], ""),
    ("exec_stopped", stopped, ["exec", "ID", "true"], ""),
    ("exec_paused", paused, ["exec", "ID", "true"], ""),
    ("unknown_signal", running, ["kill", "ID", "NOSUCH"], "NOSUCH"),
    ("ps_stopped_takes_no_file", running, ["ps", "--format", "yaml", "ID"], "format"),
]


@pytest.mark.parametrize("name, prepare, words, text", REFUSED, ids=[row[0] for row in REFUSED])
def test_command_in_the_wrong_state_is_refused(request, bundle, name, prepare, words, text):
    if PEER == "crun" and name in ("resume_running", "kill_stopped"):
        request.applymarker(pytest.mark.xfail(reason="crun: lenient, or another text"))
    prepare(bundle)
    before = bundle.status()
    result = bundle.call(*[bundle.id if word == "ID" else word for word in words])
    assert result.returncode != 0
    assert text.lower() in result.stderr.lower()
    assert bundle.status() == before


@pytest.mark.parametrize("command", ["state", "start", "kill", "delete", "exec", "ps", "pause", "resume", "update", "events"])
def test_unknown_id_does_not_exist(request, bundle, command):
    if PEER == "crun" and command in ("delete", "ps", "events", "exec"):
        request.applymarker(pytest.mark.xfail(reason="crun: another text or code"))
    more = {"exec": ["true"], "update": [], "kill": ["KILL"]}.get(command, [])
    flags = {"update": ["--pids-limit", "5"], "events": ["--stats"]}.get(command, [])
    result = bundle.call(command, *flags, "nosuch-" + bundle.id, *more)
    assert result.returncode == (255 if command == "exec" else 1)
    assert "does not exist" in result.stderr


def test_delete_force_of_an_unknown_id_succeeds(bundle):
    assert bundle.call("delete", "--force", "nosuch-" + bundle.id).returncode == 0


def test_taken_id_is_refused_and_the_first_container_stays(bundle, bundles):
    bundle.args("sleep", "100").up()
    other = bundles()
    other.id = bundle.id
    result = other.run()
    assert result.returncode == 1
    assert "exist" in result.stderr
    assert bundle.status() == "running"


BAD_IDS = ["a/b", "../x", "/", ".", "..", "a b", "a\nb", "ä"]


@pytest.mark.parametrize("bad", BAD_IDS, ids=[ascii(text) for text in BAD_IDS])
def test_bad_id_is_refused(bundle, bad):
    bundle.save()
    result = bundle.call("run", "--bundle", bundle.path, bad)
    assert result.returncode == 1
    assert "id" in result.stderr.lower()


def test_list_shows_containers_as_table_json_and_quiet(bundle):
    bundle.args("sleep", "100").up()
    pid = bundle.pid()
    entry = next(row for row in json.loads(bundle.call("list", "--format", "json").stdout) if row["id"] == bundle.id)
    assert (entry["status"], entry["pid"], entry["bundle"]) == ("running", pid, bundle.path)
    lines = bundle.call("list").stdout.splitlines()
    assert re.split(r"\s{2,}", lines[0].strip())[:4] in (["ID", "PID", "STATUS", "BUNDLE"], ["NAME", "PID", "STATUS", "BUNDLE PATH"])
    row = next(line for line in lines if line.startswith(bundle.id)).split()
    assert row[:4] == [bundle.id, str(pid), "running", bundle.path]
    assert bundle.id in bundle.call("list", "--quiet").stdout.split()


def test_ps_lists_processes_as_json_and_table(bundle):
    bundle.sh("sleep 1000 & echo up; wait").up()
    bundle.output("up")
    pids = json.loads(bundle.call("ps", "--format", "json", bundle.id).stdout)
    assert len(pids) == 2 and bundle.pid() in pids
    table = bundle.call("ps", bundle.id).stdout
    assert "PID" in table.splitlines()[0]
    if PEER != "crun":  # it prints pids only
        assert "sleep 1000" in table
        assert len(table.splitlines()) == 3


@differs(crun="prints pids only, and takes no ps options")
def test_ps_passes_options_to_ps(bundle):
    bundle.args("sleep", "1000").up()
    lines = bundle.call("ps", bundle.id, "-o", "pid,comm").stdout.splitlines()
    assert lines[0].split() == ["PID", "COMMAND"]
    assert lines[1].split() == [str(bundle.pid()), "sleep"]


def test_pause_and_resume(bundle):
    bundle.sh("while :; do echo x; sleep 0.01; done").up()
    bundle.output("x")
    assert bundle.call("pause", bundle.id).returncode == 0
    assert bundle.status() == "paused"
    size = os.path.getsize(f"{bundle.path}/out")
    for _ in range(5):
        bundle.state()
    assert os.path.getsize(f"{bundle.path}/out") == size
    assert bundle.call("resume", bundle.id).returncode == 0
    assert bundle.status() == "running"
    wait_for(lambda: os.path.getsize(f"{bundle.path}/out") > size, "output after resume")


def test_delete_force_of_a_paused_container(bundle):
    paused(bundle)
    bundle.stop()
    bundle.assert_gone()


@differs(crun="not in its state of a killed paused container")
def test_kill_of_a_paused_container_ends_it(bundle):
    paused(bundle)
    assert bundle.call("kill", bundle.id, "KILL").returncode == 0
    bundle.wait_stopped()


@differs(crun="has no events command")
def test_events_stats_has_runcs_shape(bundle):
    bundle.resources(memory={"limit": 64 << 20}, pids={"limit": 50}).args("sleep", "100").up()
    result = bundle.call("events", "--stats", bundle.id)
    assert result.returncode == 0, result.stderr
    event = json.loads(result.stdout)
    assert event["type"] == "stats" and event["id"] == bundle.id
    data = event["data"]
    assert data["cpu"]["usage"]["total"] > 0
    for field in ("kernel", "user", "percpu"):
        assert field in data["cpu"]["usage"]
    assert "throttling" in data["cpu"]
    assert data["memory"]["usage"]["limit"] == 64 << 20
    assert data["memory"]["usage"]["usage"] > 0
    assert data["memory"]["raw"]
    assert data["pids"] == {"current": 1, "limit": 50}
    assert "blkio" in data and "hugetlb" in data


@differs(crun="has no events command", runc="goes on until the container is deleted")
@pytest.mark.seconds(8)
def test_events_stream_prints_one_object_per_interval_until_the_container_ends(bundle):
    bundle.args("sleep", "100").up()
    process = subprocess.Popen(bundle.command("events", "--interval", "50ms", bundle.id), stdout=subprocess.PIPE, text=True)
    try:
        for _ in range(2):
            assert json.loads(process.stdout.readline())["type"] == "stats"
        bundle.call("kill", bundle.id, "KILL")
        process.stdout.read()
        assert process.wait(10) == 0
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def test_spec_makes_a_config_that_runs(bundle):
    os.makedirs(f"{bundle.path}/new")
    os.symlink(bundle.rootfs, f"{bundle.path}/new/rootfs")
    result = bundle.call("spec", "--bundle", f"{bundle.path}/new") if PEER != "crun" else bundle.call("spec", "--bundle", bundle.path + "/new")
    assert result.returncode == 0, result.stderr
    config = json.loads(read(f"{bundle.path}/new/config.json"))
    assert config["process"]["args"] == ["sh"] and config["process"]["terminal"] is True
    config["process"].update(terminal=False, args=["echo", "from spec"])
    config["linux"]["cgroupsPath"] = bundle.cgroups_path
    config["root"]["path"] = bundle.rootfs
    bundle.config = config
    assert bundle.must() == "from spec"
    again = bundle.call("spec", "--bundle", f"{bundle.path}/new")
    assert again.returncode != 0, "spec overwrote a config.json"


@differs(crun="leaves the maps out")
def test_spec_rootless_has_a_user_namespace(bundle):
    os.makedirs(f"{bundle.path}/new")
    assert bundle.call("spec", "--rootless", "--bundle", f"{bundle.path}/new").returncode == 0
    config = json.loads(read(f"{bundle.path}/new/config.json"))
    assert "user" in [entry["type"] for entry in config["linux"]["namespaces"]]
    assert config["linux"]["uidMappings"][0]["containerID"] == 0


def test_features_describes_the_runtime(bundle):
    result = bundle.call("features")
    assert result.returncode == 0, result.stderr
    features = json.loads(result.stdout)
    assert features["ociVersionMin"].startswith("1.0")
    assert features["ociVersionMax"].startswith("1.")
    assert set(features["hooks"]) == {"prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"}
    assert {"bind", "rbind", "ro", "nosuid", "noexec", "rro"} <= set(features["mountOptions"])
    linux = features["linux"]
    assert {"pid", "network", "mount", "ipc", "uts", "user", "cgroup", "time"} <= set(linux["namespaces"])
    assert "CAP_SYS_ADMIN" in linux["capabilities"]
    assert linux["cgroup"]["v1"] is True and linux["cgroup"]["v2"] is True
    assert linux["seccomp"]["enabled"] is True
    assert "SCMP_ACT_NOTIFY" in linux["seccomp"]["actions"]
    assert "SCMP_ARCH_X86_64" in linux["seccomp"]["archs"]


def test_version_and_help():
    version = subprocess.run([RUNTIME, "--version"], capture_output=True, text=True, check=False)
    assert version.returncode == 0
    assert re.search(r"version \d+\.\d+", version.stdout)
    assert "spec: 1." in version.stdout
    usage = subprocess.run([RUNTIME, "--help"], capture_output=True, text=True, check=False)
    assert usage.returncode == 0
    for command in ("create", "start", "state", "kill", "delete", "exec", "run", "list"):
        assert command in usage.stdout


def test_unknown_command_and_flag_fail(bundle):
    assert bundle.call("nosuchcommand").returncode != 0
    assert bundle.call("run", "--nosuchflag", bundle.id).returncode != 0
    assert bundle.call("start").returncode != 0
    assert bundle.call("state", "a", "b").returncode != 0 or PEER == "crun"


@differs(crun="needs file: before the path, and writes other fields")
def test_log_file_json(bundle):
    log = f"{bundle.path}/log.json"
    bundle.args("/nosuch")
    result = bundle.run(before=("--log", log, "--log-format", "json"))
    assert result.returncode != 0
    entries = [json.loads(line) for line in read(log).splitlines()]
    last = entries[-1]
    assert last["level"] == "error"
    assert "/nosuch" in last["msg"]
    assert re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", last["time"])


@differs(crun="writes text")
def test_log_file_json_keeps_quotes_and_newlines_valid(bundle):
    log = f"{bundle.path}/log.json"
    bundle.args('/no"such\n\\')
    assert bundle.run(before=("--log", log, "--log-format", "json")).returncode != 0
    for line in read(log).splitlines():
        assert json.loads(line)["level"] in ("error", "warning", "info", "debug")


def test_log_file_text(bundle):
    log = f"{bundle.path}/log.txt"
    bundle.args("/nosuch")
    assert bundle.run(before=("--log", log, "--log-format", "text")).returncode != 0
    assert "/nosuch" in read(log)
    if PEER != "crun":
        assert "level=error" in read(log)


def test_log_is_appended_and_debug_says_more(bundle):
    log = f"{bundle.path}/log.json"
    bundle.args("/nosuch").run(before=("--log", log, "--log-format", "json"))
    first = len(read(log).splitlines())
    bundle.run(before=("--debug", "--log", log, "--log-format", "json"))
    assert len(read(log).splitlines()) > first


def test_bad_log_format_is_refused(bundle):
    result = bundle.run(before=("--log", f"{bundle.path}/log", "--log-format", "xml"))
    assert result.returncode != 0
    assert "xml" in result.stderr


def test_state_survives_another_working_directory_and_relative_bundle(bundle):
    bundle.args("sleep", "100").save()
    with open(f"{bundle.path}/out", "wb") as out:
        done = subprocess.run(bundle.command("create", "--bundle", ".", bundle.id), cwd=bundle.path, stdout=out, stderr=out,
                              stdin=subprocess.DEVNULL, check=False, timeout=10)  # fmt: skip
    assert done.returncode == 0
    assert bundle.state()["bundle"] == bundle.path
    assert bundle.call("start", bundle.id).returncode == 0


def test_bundle_defaults_to_the_working_directory(bundle):
    bundle.sh("echo here").save()
    assert bundle.call("run", bundle.id, cwd=bundle.path).stdout == "here\n"


def test_root_option_separates_containers(bundle, sandbox):
    bundle.args("sleep", "100").up()
    other = subprocess.run([RUNTIME, "--root", sandbox.path + "/elsewhere", "state", bundle.id], capture_output=True, text=True, check=False)
    assert other.returncode == 1
    assert "does not exist" in other.stderr


def test_descriptors_of_the_caller_do_not_reach_the_container(bundle, probe):
    read_end, write_end = os.pipe()
    os.set_inheritable(write_end, True)
    try:
        assert bundle.args("/bin/probe", "descriptors").must(close_fds=False) == ""
    finally:
        os.close(read_end)
        os.close(write_end)


@pytest.mark.parametrize("how", ["flag", "listen_fds"])
def test_preserved_descriptors_reach_the_container(request, bundle, how):
    if PEER == "crun" and how == "listen_fds":
        request.applymarker(pytest.mark.xfail(reason="crun: sets no LISTEN_PID"))
    read_end, write_end = os.pipe()
    script = "echo via $LISTEN_FDS $LISTEN_PID >&3"
    flags = ["--preserve-fds", "1"] if how == "flag" else []
    # socket activation names the process that is meant: the runtime
    wrapper = ["sh", "-c", 'LISTEN_FDS=1 LISTEN_PID=$$ exec "$@"', "sh"] if how == "listen_fds" else []
    bundle.sh(script).save()
    words = bundle.command("run", "--bundle", bundle.path, *flags, bundle.id)
    try:
        done = subprocess.run(wrapper + words, preexec_fn=lambda: os.dup2(write_end, 3), close_fds=False,
                              stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=20, check=False)  # fmt: skip
        assert done.returncode == 0, done.stderr
    finally:
        os.close(write_end)
    with os.fdopen(read_end) as pipe:
        assert pipe.read().strip() == ("via" if how == "flag" else "via 1 1")


def test_preserve_fds_refuses_a_descriptor_that_is_not_open(bundle):
    result = bundle.run("--preserve-fds", "50")
    if PEER == "crun":
        return
    assert result.returncode != 0
    assert "fd" in result.stderr.lower() or "descriptor" in result.stderr.lower()


@pytest.fixture
def notified(bundle):
    """A service manager: the list of datagrams that reached its socket. It closes descriptors at once, as BARRIER=1 asks."""
    messages = []
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as host:
        host.bind(f"{bundle.path}/notify.host")

        def serve():
            while True:
                text, descriptors, _, _ = socket.recv_fds(host, 4096, 4)
                for descriptor in descriptors:
                    os.close(descriptor)
                if text == b"END":
                    return
                messages.append(text.decode())

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield messages
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as client:
            client.sendto(b"END", f"{bundle.path}/notify.host")
        thread.join(5)


@differs(crun="gives the container the caller's own socket, and passes everything on")
@pytest.mark.seconds(10)
def test_notify_socket_passes_readiness_on(bundle, notified, probe):
    """sd_notify(3): the container gets a socket of its own, and only READY=1 (with MAINPID) reaches the caller's."""
    bundle.sh("/bin/probe notify 'STATUS=secret'; /bin/probe notify READY=1; echo $? $NOTIFY_SOCKET")
    result = bundle.run(env=dict(os.environ, NOTIFY_SOCKET=f"{bundle.path}/notify.host"), timeout=8)
    assert result.stdout.split()[0] == "0", result.stderr
    assert bundle.path not in result.stdout
    wait_for(lambda: "READY=1" in "\n".join(notified).split("\n"), "READY=1")
    assert "secret" not in "\n".join(notified)


@pytest.mark.parametrize("command", ["checkpoint", "restore"])
def test_checkpoint_without_criu_says_why_not(bundle, command):
    import shutil

    if shutil.which("criu"):
        pytest.skip("CRIU is installed")
    bundle.args("sleep", "100").up()
    result = bundle.call(command, "--image-path", f"{bundle.path}/image", bundle.id)
    assert result.returncode != 0
    assert "criu" in result.stderr.lower() or PEER
    assert bundle.status() == "running"


@pytest.mark.parametrize("flag", ["--rootless=false", "--rootless=auto", "--debug"])
def test_global_flags_of_runc_are_accepted(bundle, flag):
    if PEER == "crun" and flag.startswith("--rootless"):
        pytest.skip("crun has no such flag")
    assert bundle.args("echo", "ok").run(before=(flag,)).stdout.strip().endswith("ok")


@pytest.mark.parametrize("flags", [["--no-subreaper"], ["--no-new-keyring"], ["--no-pivot"], ["--preserve-fds", "0"], ["--keep"]], ids=lambda flags: flags[0])
def test_flags_of_run_are_accepted(bundle, flags):
    assert bundle.args("echo", "ok").must(*flags) == "ok"


def test_kill_9_of_the_foreground_runtime_leaves_a_container_that_can_be_deleted(bundle):
    bundle.sh("echo ready; sleep 1000").save()
    with open(f"{bundle.path}/out", "wb") as out:
        process = subprocess.Popen(bundle.command("run", "--bundle", bundle.path, bundle.id), stdout=out, stdin=subprocess.DEVNULL)
    bundle.output("ready")
    process.kill()
    process.wait()
    bundle.stop()
    bundle.assert_gone()


def test_parent_cgroup_name_is_private_to_this_process(bundle):
    assert bundle.cgroups_path.startswith(f"/{PARENT}/")
