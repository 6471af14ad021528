"""What the end-to-end tests share: the program, a folder each, and runs that never outlive their test.

    def test_copies(lc):
        lc.write("in.log", "a\\nb\\n")
        lc.pipeline('''
          logcap.pipeline { name = "t", from = logcap.file_monitor { paths = { "in.log" }, start = "beginning" },
            to = logcap.file_sink { path = "out.log", format = "raw" } }
        ''')
        lc.once()
        assert lc.read("out.log") == b"a\\nb\\n"

The program is $LOGCAP, or build/logcap.
"""
import contextlib
import json
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import time

import pytest

TOP = pathlib.Path(__file__).resolve().parents[2]
PROGRAM = os.environ.get("LOGCAP", str(TOP / "build" / "logcap"))


# How long is waited for what must come: a busy machine is slow, and nothing waits longer than it has to.
PATIENCE = 60.0


def wait_until(condition, seconds=PATIENCE, what="the condition"):
    """Polls until condition() is true and returns its value; fails the test after `seconds`."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            pytest.fail(f"{what} did not come true within {seconds} s")
        time.sleep(0.01)


def links(pid):
    """Where the descriptors of a process lead; those that it closes meanwhile are left out."""
    for fd in os.listdir(f"/proc/{pid}/fd"):
        with contextlib.suppress(FileNotFoundError):
            yield os.readlink(f"/proc/{pid}/fd/{fd}")


class Daemon:
    """A running `logcap run`; its standard error is kept in a file."""

    def __init__(self, process, log_path):
        self.process, self.log_path = process, log_path

    def log(self):
        """logcap's own log lines, parsed."""
        lines = self.log_path.read_text(errors="replace").splitlines(keepends=True)
        return [json.loads(line) for line in lines if line.startswith("{") and line.endswith("\n")]

    def text(self):
        return self.log_path.read_text(errors="replace")

    def wait_log(self, message, seconds=PATIENCE):
        """Waits for a log line with this message and returns it; fails at once when logcap has ended without it."""
        def find():
            ended = self.process.poll() is not None
            for line in self.log():
                if line["message"] == message:
                    return line
            if ended:
                pytest.fail(f"logcap ended without logging {message!r}:\n{self.text()[-4000:]}")
            return None
        return wait_until(find, seconds, f"the log line {message!r}")

    def ready(self, seconds=PATIENCE):
        """Waits until it runs, with its control socket open; returns itself."""
        self.wait_log("started", seconds)
        return self

    def kill(self):
        self.process.kill()
        return self.process.wait()

    def stop(self, seconds=30.0):
        """A clean stop; returns the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            pytest.fail(f"logcap did not stop within {seconds} s:\n{self.log_path.read_text(errors='replace')[-4000:]}")

    def loop_seconds(self):
        """The processor time that its loop thread has used: what a busy machine takes from it does not count."""
        pid = self.process.pid
        return int(pathlib.Path(f"/proc/{pid}/task/{pid}/schedstat").read_text().split()[0]) / 1e9

    def descriptors(self):
        return os.listdir(f"/proc/{self.process.pid}/fd")


class Logcap:
    """A folder with a pipeline file, a state directory, and the program."""

    def __init__(self, folder):
        self.folder = folder
        self.state = folder / "state"
        self.file = folder / "pipeline.lua"
        self.program = PROGRAM
        self.running = []
        self.user = {}  # whose process it is, if not ours: the options of subprocess
        self.audit_at_end = True  # tests that damage the state directory say no

    def path(self, name):
        return self.folder / name

    def write(self, name, content, mode="w"):
        path = self.path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        data = content.encode() if isinstance(content, str) else content
        with open(path, mode + "b") as file:
            file.write(data)
        return path

    def append(self, name, content):
        return self.write(name, content, "a")

    def read(self, name):
        return self.path(name).read_bytes()

    def pipeline(self, lua):
        """Writes the pipeline file; `logcap` is there without a require."""
        return self.write("pipeline.lua", 'local logcap = require "logcap"\n' + lua)

    def command(self, verb, *arguments, state=True):
        options = ["--state-dir", str(self.state)] if state else []
        return [self.program, verb, *options, *map(str, arguments)]

    def call(self, verb, *arguments, state=True, timeout=120, **options):
        """Runs a command to its end; returns the CompletedProcess with text output."""
        return subprocess.run(self.command(verb, *arguments, state=state), cwd=self.folder, timeout=timeout, text=True,
                              capture_output=True, stdin=subprocess.DEVNULL, check=False, **self.user, **options)

    def once(self, *, code=0, timeout=120, **options):
        """`logcap run --once` over the pipeline file; checks the exit code."""
        done = self.call("run", "--once", self.file, timeout=timeout, **options)
        assert done.returncode == code, f"exit {done.returncode}\n{done.stderr[-6000:]}"
        return done

    def start(self, *arguments, stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL, **options):
        """Starts `logcap run`; it is killed at the end of the test at the latest."""
        log_path = self.path(f"logcap-{len(self.running)}.err")
        with open(log_path, "wb") as log:
            process = subprocess.Popen(self.command("run", *arguments, self.file), cwd=self.folder, stdin=stdin,
                                       stdout=stdout, stderr=log, **self.user, **options)
        daemon = Daemon(process, log_path)
        self.running.append(daemon)
        return daemon

    def json(self, verb, *arguments, code=0):
        """status, audit or positions, parsed."""
        done = self.call(verb, "--json", *arguments)
        assert done.returncode == code, f"exit {done.returncode}\n{done.stdout}{done.stderr}"
        return json.loads(done.stdout)

    def status(self):
        return self.json("status")

    def audit(self, code=0):
        """The ledgers, of the running logcap or as they were saved; code 1 when something is not well."""
        return self.json("audit", code=code)

    def positions(self):
        return self.json("positions")

    def wait_delivered(self, records, pipeline=None, seconds=PATIENCE):
        """Waits until each sink (of one pipeline) has had so many records delivered."""
        def delivered():
            entries = [e for e in self.status()["pipelines"] if pipeline in (None, e["name"])]
            return all(sink["delivered"] >= records for entry in entries for sink in entry["sinks"])
        wait_until(delivered, seconds, f"the delivery of {records} records")

    def finish(self, daemon):
        """A clean stop: exit 0, nothing in flight, every ledger balanced."""
        code = daemon.stop()
        assert code == 0, f"exit {code}\n{daemon.text()[-4000:]}"
        self.assert_balanced()

    def assert_balanced(self):
        done = self.call("audit", "--json")
        entries = json.loads(done.stdout)["ledger"] if done.stdout else pytest.fail(done.stderr)
        for entry in entries:
            assert entry["balanced"], entry

    def cleanup(self):
        for daemon in self.running:
            if daemon.process.poll() is None:
                daemon.kill()
        if self.audit_at_end and (self.state / "positions.db").exists():
            self.assert_balanced()


@pytest.fixture
def lc(tmp_path):
    folder = tmp_path
    if len(str(folder)) > 80:  # the path of a socket in it has 107 bytes at most
        folder = pathlib.Path(tempfile.mkdtemp(prefix="logcap-", dir="/tmp"))
    instance = Logcap(folder)
    yield instance
    instance.cleanup()
    if folder != tmp_path:
        shutil.rmtree(folder)


@pytest.fixture
def small_disk():
    """small_disk(folder, size) mounts a file system of its own there for the test; skips it where that is not allowed."""
    mounted = []

    def mount(folder, size):
        folder.mkdir(mode=0o700)
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size},mode=700", "tmpfs", folder], text=True,
                              capture_output=True, check=False)
        if done.returncode != 0:
            pytest.skip(f"mounting is not allowed here: {done.stderr.strip()}")
        mounted.append(folder)
    yield mount
    for folder in mounted:
        subprocess.run(["umount", "-l", folder], check=False)


@pytest.fixture
def nobody():
    """A Logcap whose program runs without root's powers, also when the tests run as root: from a copy, because nobody
    may have no way to where it was built."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix="logcap-nobody-"))
    instance = Logcap(folder)
    if os.geteuid() == 0:
        instance.program = shutil.copy(instance.program, folder / "logcap")
        os.chown(folder, 65534, 65534)
        instance.user = {"user": 65534, "group": 65534, "extra_groups": []}
    yield instance
    instance.cleanup()
    shutil.rmtree(folder)
