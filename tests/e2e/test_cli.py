"""The command: exit codes, messages, what a wrong pipeline file does, signals, and asking a running logcap."""
import contextlib
import fcntl
import json
import os
import pathlib
import pty
import re
import resource
import signal
import socket
import sqlite3
import subprocess
import termios
import time

import pytest
from conftest import wait_until
from repl_session import connect

COPY = '''
logcap.pipeline {
  name = "copy",
  from = logcap.file_monitor { paths = { "in/*.log" }, start = "beginning" },
  to = logcap.file_sink { path = "out/copy.log", format = "raw" },
}
'''
VERBS = ["run", "check", "status", "audit", "positions", "stop", "top", "test", "version", "help"]


def copying(lc, lines=100):
    lc.pipeline(COPY)
    lc.write("in/a.log", "".join(f"line {i}\n" for i in range(lines)))
    return lc


def give_to_nobody(lc):
    for path in lc.folder.rglob("*"):
        if lc.user:
            os.chown(path, 65534, 65534)


def everything_below(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


# --- help and usage ---

@pytest.mark.parametrize("verb", VERBS)
def test_help_of_each_verb(lc, verb):
    done = lc.call(verb, "--help", state=False)
    assert done.returncode == 0
    assert f"Usage: logcap {verb}" in done.stdout
    assert "Example" in done.stdout
    assert done.stderr == ""
    assert lc.call("help", verb, state=False).stdout == done.stdout


def test_help_lists_all_verbs(lc):
    for words in (["--help"], ["-h"], ["help"]):
        done = lc.call(*words, state=False)
        assert done.returncode == 0
        assert all(f"  {verb} " in done.stdout for verb in VERBS)


def test_the_helps_pipeline_is_right(lc):
    text = lc.call("help", "run", state=False).stdout
    lines = text[text.index("A pipeline file to start with:"):].split("\n\n")[0].splitlines()[1:]
    lc.write("pipeline.lua", "\n".join(lines))
    assert lc.call("check", lc.file, state=False).returncode == 0


@pytest.mark.parametrize("words, says", [
    ([], "Usage: logcap VERB"),
    (["frobnicate"], 'unknown command "frobnicate"'),
    (["chek", "a.lua"], 'did you mean "check"?'),
    (["run"], "needs a pipeline file"),
    (["run", "--onec", "a.lua"], 'did you mean "--once"?'),
    (["run", "a.lua", "--state-dir"], "needs a value"),
    (["run", "--log-level", "loud", "a.lua"], '--log-level cannot be "loud"'),
    (["status", "--once"], 'unknown option --once of "status"'),
    (["stop", "now"], 'does not take "now"'),
])
def test_wrong_usage(lc, words, says):
    done = subprocess.run([lc.program, *words], cwd=lc.folder, text=True, capture_output=True, timeout=60, check=False)
    assert done.returncode == 2
    assert says in done.stderr
    assert done.stdout == ""
    assert everything_below(lc.folder) == []


# --- pipeline files that are wrong ---

WRONG_FILES = [
    ('local x = = 1\n', 1, "unexpected symbol"),
    ('local logcap = require "logcap"\nlogcap.file_monitor { pathes = { "a" } }\n', 2, "paths"),
    ('local logcap = require "logcap"\n\nlogcap.file_monitor { paths = 7 }\n', 3, "paths"),
    ('local logcap = require "logcap"\nlogcap.file_monitor { paths = { "a" }, max_open_files = 0 }\n', 2, "max_open_files"),
    ('local logcap = require "logcap"\nlogcap.file_sink {}\n', 2, "path"),
    ('local logcap = require "logcap"\nlogcap.dedup { ttl = "10 parsecs" }\n', 2, "ttl"),
    ('local logcap = require "logcap"\nlogcap.fil_monitor {}\n', 2, "file_monitor"),
    ('error("on purpose")\n', 1, "on purpose"),
    ('local x = nil\nlocal y = x.field\n', 2, "nil"),
]


@pytest.mark.parametrize("verb", ["check", "run"])
@pytest.mark.parametrize("lua, line, says", WRONG_FILES)
def test_wrong_files_name_the_line(lc, verb, lua, line, says):
    lc.write("pipeline.lua", lua)
    done = lc.call(verb, "pipeline.lua", state=verb == "run")
    assert done.returncode == 1
    assert re.search(rf"^logcap: .*pipeline\.lua:{line}:", done.stderr), done.stderr
    assert says in done.stderr
    assert everything_below(lc.folder) == ["pipeline.lua"], "nothing is made on disk"


@pytest.mark.parametrize("verb", ["check", "run"])
def test_no_pipeline_at_all(lc, verb):
    lc.write("pipeline.lua", 'local logcap = require "logcap"\nlogcap.file_monitor { paths = { "a" } }\n')
    done = lc.call(verb, "pipeline.lua", state=verb == "run")
    assert done.returncode == 1
    assert "pipeline.lua" in done.stderr and "logcap.pipeline" in done.stderr
    assert everything_below(lc.folder) == ["pipeline.lua"]


@pytest.mark.parametrize("verb", ["check", "run"])
def test_unreadable_files(lc, verb):
    (lc.folder / "folder.lua").mkdir()
    for name in ("missing.lua", "folder.lua"):
        done = lc.call(verb, name, state=verb == "run")
        assert done.returncode == 1
        assert name in done.stderr
    assert everything_below(lc.folder) == ["folder.lua"]


def test_file_without_permission(nobody):
    nobody.pipeline(COPY).chmod(0)
    give_to_nobody(nobody)
    done = nobody.call("check", nobody.file, state=False)
    assert done.returncode == 1 and "Permission denied" in done.stderr


def test_one_wrong_file_of_two(lc):
    copying(lc)
    lc.write("b.lua", "oops(\n")
    done = lc.call("run", "--once", lc.file, "b.lua")
    assert done.returncode == 1 and "b.lua:" in done.stderr
    assert not lc.state.exists() and not (lc.folder / "out").exists()


def test_check_is_fine_and_makes_nothing(lc):
    copying(lc)
    before = everything_below(lc.folder)
    done = lc.call("check", lc.file, state=False)
    assert done.returncode == 0, done.stderr
    assert "1 pipeline" in done.stdout
    assert everything_below(lc.folder) == before


# --- runs ---

def test_once_says_what_it_did(lc):
    done = copying(lc).once()
    assert lc.read("out/copy.log") == lc.read("in/a.log")
    last = json.loads(done.stderr.splitlines()[-1])
    assert (last["message"], last["read"], last["delivered"], last["health"]) == ("done", 100, 100, "fine")


def test_last_words_are_of_this_run_and_of_each_sink(lc):
    lc.write("in/a.log", "a\nb\n")
    lc.pipeline("""
      logcap.pipeline { name = "two", from = logcap.file_monitor { paths = { "in/*.log" }, start = "beginning" },
        to = { logcap.file_sink { path = "out/copy.log", format = "raw" }, logcap.null_sink {} } }
    """)
    for added, read in (("", 2), ("c\n", 1), ("", 0)):
        lc.append("in/a.log", added)
        last = [json.loads(line) for line in lc.once().stderr.splitlines()[-2:]]
        assert [(entry["message"], entry["pipeline"], entry["read"], entry["delivered"]) for entry in last] == [
            ("done", "two", read, read)] * 2
        assert sorted(entry["sink"] for entry in last) == [f"file_sink:{lc.folder}/out/copy.log", "null_sink"]


def test_print_goes_to_the_log_with_its_line(lc):
    copying(lc)
    lc.append("pipeline.lua", 'print("so many:", 2)\n')
    logged = [json.loads(line) for line in lc.once().stderr.splitlines()]
    said = next(entry for entry in logged if entry["message"] == "so many:\t2")
    line = lc.file.read_text().splitlines().index('print("so many:", 2)') + 1
    assert said["at"] == f"{lc.file}:{line}"


def test_log_formats_and_levels(lc):
    copying(lc)
    text = lc.call("run", "--once", "--log-format", "text", lc.file).stderr
    assert re.search(r"^20\S+Z info +run: done pipeline=\S+ sink=\S+ read=100 delivered=100 ", text, re.MULTILINE)
    assert lc.call("run", "--once", "--log-level", "error", lc.file).stderr == ""


def test_state_dir_from_the_environment(lc):
    copying(lc)
    state = lc.folder / "elsewhere"
    done = lc.call("run", "--once", lc.file, state=False, env={**os.environ, "LOGCAP_STATE_DIR": str(state)})
    assert done.returncode == 0, done.stderr
    assert (state / "positions.db").exists()
    assert state.stat().st_mode & 0o777 == 0o700
    assert (state / "positions.db").stat().st_mode & 0o777 == 0o600


def test_two_files_in_one_process(lc):
    copying(lc)
    lc.write("b.lua", COPY.replace('"copy"', '"second"').replace("out/copy.log", "out/second.log")
             .replace("in/", "in2/").join(['local logcap = require "logcap"\n', ""]))
    lc.write("in2/b.log", "b\n")
    done = lc.call("run", "--once", lc.file, "b.lua")
    assert done.returncode == 0, done.stderr
    assert lc.read("out/copy.log") == lc.read("in/a.log")
    assert lc.read("out/second.log") == b"b\n"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_stop_cleanly(lc, number):
    daemon = copying(lc).start().ready()
    lc.wait_delivered(100)
    daemon.process.send_signal(number)
    assert daemon.process.wait(60) == 0, daemon.text()
    assert lc.read("out/copy.log") == lc.read("in/a.log")
    assert not (lc.state / "control.sock").exists()


def test_hangup_reloads(lc):
    daemon = copying(lc).start().ready()
    daemon.process.send_signal(signal.SIGHUP)
    assert daemon.wait_log("done")["generation"] == 2
    lc.wait_delivered(100)
    lc.finish(daemon)


def test_a_closed_terminal_stops_it(lc):
    copying(lc)
    terminal, slave = pty.openpty()
    process = subprocess.Popen(lc.command("run", lc.file), cwd=lc.folder, stdin=slave, stdout=subprocess.DEVNULL,
                               stderr=open(lc.path("err"), "wb"), start_new_session=True,
                               preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0))
    os.close(slave)
    try:
        wait_until(lambda: b"started" in lc.read("err"))
        lc.wait_delivered(100)
        os.close(terminal)  # the kernel sends SIGHUP
        assert process.wait(60) == 0, lc.read("err")
    finally:
        process.kill()
        process.wait()
    assert b"its terminal was closed" in lc.read("err")


def test_stop_at_any_moment_of_the_start(lc):
    copying(lc, 20000)
    for delay in (0, 0.002, 0.005, 0.01, 0.02, 0.04):
        daemon = lc.start()
        time.sleep(delay)  # the moment is the point
        daemon.process.send_signal(signal.SIGTERM)
        assert daemon.process.wait(60) in (0, -signal.SIGTERM), daemon.text()
    lc.once()
    assert lc.read("out/copy.log") == lc.read("in/a.log")


def test_a_second_signal_ends_a_function_that_never_returns(lc):
    lc.pipeline("logcap.limits { time = 0 }\n" + COPY.replace(
        "to =", "stages = { function() print 'in' while true do end end },\n  to ="))
    lc.write("in/a.log", "a\n")
    daemon = lc.start()
    wait_until(lambda: any(e["message"] == "in" for e in daemon.log()))
    begin = time.monotonic()
    while daemon.process.poll() is None and time.monotonic() < begin + 25:
        daemon.process.send_signal(signal.SIGTERM)
        time.sleep(0.05)
    assert daemon.process.poll() == 1
    assert "its main thread did not come back" in daemon.text()
    lc.pipeline(COPY)
    lc.once()
    assert lc.read("out/copy.log") == b"a\n"


def test_a_second_signal_stops_at_once(lc):
    """The sink's folder cannot be written to: a clean stop would wait for the deadline."""
    lc.pipeline(COPY)
    lc.write("in/a.log", "a\n")
    lc.write("out", "a file is in the way")
    daemon = lc.start()
    if daemon.process.poll() is None:
        wait_until(lambda: daemon.process.poll() is not None or any(e["message"] == "started" for e in daemon.log()))
    daemon.process.send_signal(signal.SIGTERM)
    time.sleep(0.3)  # it must still be there, trying
    begin = time.monotonic()
    while daemon.process.poll() is None and time.monotonic() < begin + 25:
        daemon.process.send_signal(signal.SIGTERM)
        time.sleep(0.05)
    assert daemon.process.poll() is not None, "a second signal did not stop it"
    assert time.monotonic() - begin < 25  # long before the deadline
    (lc.folder / "out").unlink()
    lc.once()
    assert lc.read("out/copy.log") == b"a\n"


# --- asking a running logcap ---

def test_status(lc):
    daemon = copying(lc).start().ready()
    lc.wait_delivered(100)
    status = lc.status()
    assert status["pid"] == daemon.process.pid
    assert status["state_dir"] == str(lc.state)
    assert not status["stopping"] and not status["once"]
    assert [p["name"] for p in status["pipelines"]] == ["copy"]
    kinds = {r["kind"] for r in status["resources"]}
    assert {"file_monitor", "file_sink", "pipeline", "control"} <= kinds
    assert all(r["made_at"].endswith(("pipeline.lua:4", "pipeline.lua:5", "pipeline.lua:2", ""))
               for r in status["resources"])
    assert status["resident_bytes"] < 40e6
    assert status["open_descriptors"] <= len(daemon.descriptors()) + 1
    text = lc.call("status")
    assert text.returncode == 0
    assert f"pid {daemon.process.pid}" in text.stdout and "pipeline copy: running, 1 sources" in text.stdout
    lc.finish(daemon)


def test_audit_and_positions_with_and_without_a_daemon(lc):
    daemon = copying(lc).start().ready()
    lc.wait_delivered(100)
    running = lc.audit()
    assert running["running"] and running["healthy"]
    wait_until(lambda: lc.positions()["sources"], what="a committed position")
    length = len(lc.read("in/a.log"))
    wait_until(lambda: lc.positions()["sources"][0]["cursors"][0]["position"] == length, what="the last commit")
    live = lc.positions()
    assert live["running"]
    lc.finish(daemon)

    rest = lc.audit()
    assert not rest["running"] and rest["healthy"]
    for here, there in zip(running["ledger"], rest["ledger"]):
        assert here["pipeline"] == there["pipeline"] == "copy"
        assert {k: v for k, v in here.items() if isinstance(v, int)}.items() >= \
               {k: v for k, v in there.items() if isinstance(v, int)}.items()
    stored = lc.positions()
    assert not stored["running"]
    assert stored["sources"][0]["name"] == str(lc.path("in/a.log"))
    assert stored["sources"][0]["cursors"][0]["position"] == length
    assert stored["outputs"][0]["length"] == length
    assert "balanced" in lc.call("audit").stdout
    assert str(lc.path("in/a.log")) in lc.call("positions").stdout


def test_stop_command(lc):
    daemon = copying(lc).start().ready()
    lc.wait_delivered(100)
    done = lc.call("stop")
    assert done.returncode == 0 and f"(pid {daemon.process.pid}) stopped" in done.stdout
    assert daemon.process.wait(60) == 0
    assert lc.read("out/copy.log") == lc.read("in/a.log")
    lc.assert_balanced()


@pytest.mark.parametrize("verb, says", [("status", "no logcap runs on"), ("stop", "no logcap runs on"),
                                        ("audit", "state"), ("positions", "state")])
def test_nobody_runs_and_nothing_is_stored(lc, verb, says):
    done = lc.call(verb)
    assert done.returncode == 1
    assert done.stderr.startswith("logcap: ") and says in done.stderr and str(lc.state) in done.stderr
    assert not lc.state.exists(), "a question makes nothing"


def test_audit_of_an_unbalanced_ledger_fails(lc):
    copying(lc).once()
    with contextlib.closing(sqlite3.connect(lc.state / "positions.db", isolation_level=None)) as db:
        tables = [row[0] for row in db.execute("select name from sqlite_master where type = 'table'")]
        table = next(t for t in tables if "count" in t)
        columns = [row[1] for row in db.execute(f"pragma table_info({table})")]
        changed = db.execute(f"update {table} set {columns[1]} = {columns[1]} - 1 "
                             f"where {columns[0]} like '%/delivered'").rowcount
    assert changed == 1
    done = lc.call("audit")
    assert done.returncode == 1
    assert "DOES NOT BALANCE" in done.stdout and "NOT healthy" in done.stdout
    lc.audit_at_end = False


def test_the_socket_withstands_babble(lc):
    daemon = copying(lc).start().ready()
    path = lc.state / "control.sock"
    assert os.stat(path).st_mode & 0o777 == 0o600
    for babble in (b"", b"\n", b"\0\n", b"status", b"x" * 100000, os.urandom(5000), b"frobnicate\n",
                   b"status\nstatus\n"):
        with socket.socket(socket.AF_UNIX) as client:
            connect(client, path)
            try:
                client.sendall(babble)
            except OSError:
                pass  # it was hung up on
    clients = [socket.socket(socket.AF_UNIX) for _ in range(40)]
    for client in clients:
        client.settimeout(60)
        with contextlib.suppress(BlockingIOError):  # so many wait already
            connect(client, path)
    for client in clients:
        client.close()
    wait_until(lambda: lc.call("status").returncode == 0, what="an answer after the babble")
    control = next(r for r in lc.status()["resources"] if r["kind"] == "control")
    assert control["stats"]["clients"] == 1 and control["descriptors"] == 2
    lc.finish(daemon)


def test_unknown_request(lc):
    daemon = copying(lc).start().ready()
    with socket.socket(socket.AF_UNIX) as client:
        connect(client, lc.state / "control.sock")
        client.sendall(b"frobnicate\n")
        answer = json.loads(client.makefile().read())
    assert answer["ok"] is False and "unknown request" in answer["error"]
    lc.finish(daemon)


# --- the state directory ---

def test_second_daemon_is_refused(lc):
    daemon = copying(lc).start().ready()
    done = lc.call("run", lc.file)
    assert done.returncode == 1
    assert f"pid {daemon.process.pid}" in done.stderr and "--state-dir" in done.stderr
    assert lc.call("status").returncode == 0, "the first one goes on"
    lc.finish(daemon)


def test_corrupt_positions(lc):
    copying(lc).once()
    database = lc.state / "positions.db"
    good = database.read_bytes()
    database.write_bytes(good[:100] + os.urandom(len(good) - 100))
    for words in (["run", "--once", lc.file], ["audit"], ["positions"]):
        done = lc.call(*words)
        assert done.returncode == 1
        assert "positions.db" in done.stderr, done.stderr
    assert lc.read("out/copy.log") == lc.read("in/a.log"), "nothing was written again"
    database.write_bytes(good)
    lc.once()
    assert lc.read("out/copy.log") == lc.read("in/a.log")


def test_unwritable_state_dir(nobody):
    copying(nobody)
    nobody.state.mkdir()
    give_to_nobody(nobody)
    nobody.state.chmod(0o500)
    done = nobody.call("run", "--once", nobody.file)
    assert done.returncode == 1 and str(nobody.state) in done.stderr
    assert not (nobody.folder / "out").exists()


def test_unwritable_positions(nobody):
    copying(nobody)
    give_to_nobody(nobody)
    assert nobody.call("run", "--once", nobody.file).returncode == 0
    output = nobody.read("out/copy.log")
    (nobody.state / "positions.db").chmod(0o400)
    nobody.append("in/a.log", "more\n")
    done = nobody.call("run", "--once", nobody.file)
    assert done.returncode == 1 and "positions.db" in done.stderr
    assert nobody.read("out/copy.log") == output, "nothing is written that cannot be accounted for"
    (nobody.state / "positions.db").chmod(0o600)
    assert nobody.call("run", "--once", nobody.file).returncode == 0
    assert nobody.read("out/copy.log") == nobody.read("in/a.log")
    nobody.audit_at_end = False  # root may not look into another user's state


def test_state_dir_is_a_file(lc):
    copying(lc)
    lc.write("state", "not a folder")
    done = lc.call("run", "--once", lc.file)
    assert done.returncode == 1 and str(lc.state) in done.stderr
    assert not (lc.folder / "out").exists()


def test_state_dir_of_everybody(lc):
    copying(lc)
    lc.state.mkdir()
    lc.state.chmod(0o777)
    done = lc.call("run", "--once", lc.file)
    assert done.returncode == 1 and "chmod 700" in done.stderr


def test_a_socket_of_a_killed_run_is_replaced(lc):
    daemon = copying(lc).start().ready()
    lc.wait_delivered(100)
    daemon.kill()
    assert (lc.state / "control.sock").exists()
    assert lc.call("status").returncode == 1
    daemon = lc.start().ready()
    assert lc.status()["pid"] == daemon.process.pid
    lc.finish(daemon)
    assert lc.read("out/copy.log") == lc.read("in/a.log")


# --- the process ---

def test_own_output_is_never_collected(lc):
    """Standard error goes to a file that the glob finds."""
    lc.pipeline(COPY.replace("in/*.log", "*.err"))
    daemon = lc.start("--log-level", "debug").ready()
    lc.write("other.err", "other\n")
    lc.wait_delivered(1)
    lc.finish(daemon)
    assert lc.read("out/copy.log") == b"other\n"


def test_few_descriptors_are_left_open(lc):
    daemon = copying(lc).start().ready()
    lc.wait_delivered(100)
    for _ in range(5):
        lc.status()
    before = len(daemon.descriptors())
    for _ in range(30):
        lc.status()
        lc.audit()
        lc.positions()
    wait_until(lambda: len(daemon.descriptors()) <= before, what="as few descriptors as before")
    lc.finish(daemon)


def test_runs_within_a_small_descriptor_limit(lc):
    copying(lc)

    def limit():
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
    daemon = lc.start(preexec_fn=limit).ready()
    lc.wait_delivered(100)
    lc.finish(daemon)


def test_a_closed_pipe_is_no_death(lc):
    """`logcap status | head -0`, and a run whose standard output has gone."""
    daemon = copying(lc).start(stdout=subprocess.PIPE).ready()
    daemon.process.stdout.close()
    lc.wait_delivered(100)
    lc.finish(daemon)


def test_version_matches_the_build(lc):
    cmake = (pathlib.Path(__file__).resolve().parents[2] / "CMakeLists.txt").read_text()
    version = re.search(r"project\(logcap VERSION (\S+)", cmake).group(1)
    for words in (["version"], ["--version"]):
        assert lc.call(*words, state=False).stdout == f"logcap {version}\n"


@pytest.mark.parametrize("stages, expected", [
    ("", {"file_monitor": (0, 100), "file_sink": (100, 100)}),  # read and written by one job
    ("logcap.json { on_error = 'drop' }, function(rec) if rec.n >= 50 then return false end end, "
     "logcap.dedup { fields = { 'k' } }",
     {"file_monitor": (0, 100), "json": (100, 100), "lua": (100, 50), "dedup": (50, 10), "file_sink": (10, 10)}),
])
def test_status_counts_the_records_of_every_resource(lc, stages, expected):
    lc.pipeline(COPY.replace("to =", f"stages = {{ {stages} }}, to ="))
    lc.write("in/a.log", "".join(f'{{"n":{i},"k":{i % 10}}}\n' for i in range(100)))
    daemon = lc.start().ready()

    def counts():
        return {r["kind"]: (r["records_in"], r["records_out"]) for r in lc.status()["resources"] if r["kind"] in expected}
    wait_until(lambda: counts() == expected, what=f"{expected}, last {counts()}")
    lc.finish(daemon)


@pytest.mark.parametrize("spelling", ["./pipeline.lua", "sub/../pipeline.lua", "sub/.././/pipeline.lua"])
def test_dots_in_the_path_of_a_pipeline_file(lc, spelling):
    lc.write("sub/x", "")
    lc.write("in.log", "a\n")
    lc.pipeline("""
      logcap.pipeline { name = "t", from = logcap.file_monitor { paths = { "in.log" }, start = "beginning" },
        to = logcap.file_sink { path = "out.log", format = "raw" } }
    """)
    done = lc.call("run", "--once", spelling)
    assert done.returncode == 0, done.stderr
    assert lc.read("out.log") == b"a\n"
