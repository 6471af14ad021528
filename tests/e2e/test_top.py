"""`logcap top` shows what the running logcap does, and leaves the terminal as it was."""
import contextlib
import fcntl
import itertools
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time

import pytest
from conftest import links, wait_until

PIPELINE = """
logcap.pipeline {
  name = "shop",
  from = logcap.file_monitor { paths = { "in.log" }, start = "beginning" },
  stages = { function(rec)
    if rec.message == "bad" then error "bad" end
    return rec.message ~= "drop"
  end },
  to = logcap.file_sink { path = "out.log" },
}
"""
ENTER, LEAVE = "\033[?1049h\033[?25l", "\033[?25h\033[?1049l"


@pytest.fixture
def running(lc):
    lc.pipeline(PIPELINE)
    lc.write("in.log", "line\n" * 900 + "drop\n" * 80 + "bad\n" * 20)
    daemon = lc.start().ready()
    lc.wait_delivered(900)
    return daemon


def set_size(fd, rows, columns):
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


class Terminal:
    """logcap top on a terminal of its own, as its session's leader."""

    def __init__(self, lc, *arguments):
        self.main, self.side = pty.openpty()
        set_size(self.side, 24, 100)
        self.before = termios.tcgetattr(self.side)
        self.text = ""
        self.errors = lc.path("top.err")
        with open(self.errors, "wb") as errors:
            self.process = subprocess.Popen(
                lc.command("top", "--interval", "100ms", *arguments), cwd=lc.folder, stdin=self.side, stdout=self.side,
                stderr=errors, start_new_session=True,
                preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0))

    def read(self):
        while select.select([self.main], [], [], 0)[0]:
            try:
                self.text += os.read(self.main, 65536).decode()
            except OSError:
                break
        return self.text

    def wait_for(self, pattern):
        return wait_until(lambda: re.search(pattern, self.read()), what=f"{pattern} on the screen")

    def press(self, keys):
        os.write(self.main, keys.encode())

    def ended(self):
        """Its exit code; the terminal must be as it was before."""
        wait_until(lambda: (self.read(), self.process.poll() is not None)[1], what="the end of top")
        assert self.read().endswith(LEAVE)
        assert self.text.count(ENTER) == self.text.count(LEAVE)
        assert termios.tcgetattr(self.side) == self.before
        return self.process.returncode

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self.main)
        os.close(self.side)


@pytest.fixture
def terminal(lc):
    with contextlib.ExitStack() as stack:
        def open_terminal(*arguments):
            made = Terminal(lc, *arguments)
            stack.callback(made.close)
            return made
        yield open_terminal


def test_one_sample_for_scripts(lc, running):
    before = time.monotonic()
    done = lc.call("top", "--interval", "300ms")
    assert done.returncode == 0 and done.stderr == ""
    assert time.monotonic() - before >= 0.3
    assert "\033" not in done.stdout
    lines = done.stdout.splitlines()
    assert lines[0].startswith(f"logcap 0.1.0  pid {running.process.pid}  up 0d 00:00:")
    assert lines[3].startswith("shop  running  sources 1  batches 0, ")
    assert re.fullmatch(r" +0 +0 B +0 +0 +0 +0 +0 +20  file_sink:.*/out.log", lines[4])
    assert re.fullmatch(r" +0 +20  lua function at .*pipeline.lua:\d+", lines[-1])


def test_counts_what_flows(lc, running):
    asked = itertools.count(1)

    def answered():  # by the daemon, to others
        control = next(r for r in lc.status()["resources"] if r["kind"] == "control")
        return control["stats"]["answered"] - next(asked)
    before, began = answered(), time.monotonic()
    top = subprocess.Popen(lc.command("top", "--once", "--interval", "2s"), cwd=lc.folder, text=True,
                           stdout=subprocess.PIPE)
    try:
        wait_until(lambda: answered() > before)  # it has its first sample; the second comes 2 s after it
        lc.append("in.log", "line\n" * 300 + "drop\n" * 200 + "bad\n" * 100)
        out, _ = top.communicate(timeout=60)
    finally:
        top.kill()
    numbers = out.splitlines()[4].split()
    assert 600 / (time.monotonic() - began) <= float(numbers[0]) <= 600 / 2 * 1.01  # the second sample may come late
    seconds = 600 / float(numbers[0])
    expected = [n / seconds for n in (5 * 300 + 5 * 200 + 4 * 100, 300, 200, 100)]
    assert numbers[2] == "KiB" or numbers[2] == "B"
    size = float(numbers[1]) * (1024 if numbers[2] == "KiB" else 1)
    assert size == pytest.approx(expected[0], rel=0.1)
    assert [float(n) for n in numbers[3:6]] == pytest.approx(expected[1:], rel=0.1)
    assert numbers[8] == "120"


@pytest.mark.parametrize("key", ["q", "Q"])
def test_q_ends_it(running, terminal, key):
    top = terminal()
    top.wait_for(r"shop  running")
    assert top.text.startswith(ENTER)
    assert termios.tcgetattr(top.side) != top.before
    top.press("x" + key)
    assert top.ended() == 0


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_it(running, terminal, how):
    top = terminal()
    top.wait_for(r"shop  running")
    top.process.send_signal(how)
    assert top.ended() == 0


def test_control_c_ends_it(running, terminal):
    top = terminal()
    top.wait_for(r"shop  running")
    top.press("\x03")
    assert top.ended() == 0


def test_fits_a_terminal_that_is_resized(running, terminal):
    top = terminal("--interval", "1h")  # only the resize makes it draw again
    top.wait_for(r"shop  running")
    assert "READ/s" in top.text
    seen = len(top.read())
    set_size(top.side, 2, 20)
    top.process.send_signal(signal.SIGWINCH)  # the kernel tells only the foreground group
    wait_until(lambda: len(top.read()) > seen)
    frame = top.text[seen:]
    assert frame.count("\033[K") <= 4 and "READ/s" not in frame.split("\033[H")[-1]
    assert re.search(r"\033\[Hlogcap 0\.1\.0  pid \d{1,4}", frame)
    top.press("q")
    assert top.ended() == 0


def test_control_z_gives_the_terminal_back_meanwhile(running, terminal):
    top = terminal()
    top.wait_for(r"shop  running")
    os.kill(top.process.pid, signal.SIGTSTP)
    wait_until(lambda: open(f"/proc/{top.process.pid}/stat").read().split()[2] == "T")
    assert termios.tcgetattr(top.side) == top.before and top.read().endswith(LEAVE)
    top.process.send_signal(signal.SIGCONT)
    wait_until(lambda: top.read().count(ENTER) == 2)
    top.press("q")
    assert top.ended() == 0


def test_the_end_of_logcap_ends_it(lc, running, terminal):
    top = terminal()
    top.wait_for(r"shop  running")
    running.stop()
    assert top.ended() == 1
    assert "logcap: no logcap runs on state directory" in top.errors.read_text() \
        or "starting or stopping" in top.errors.read_text() or "the running logcap" in top.errors.read_text()


def test_a_daemon_that_hangs_does_not_keep_q_from_working(running, terminal):
    top = terminal()
    top.wait_for(r"shop  running")
    running.process.send_signal(signal.SIGSTOP)
    try:
        wait_until(lambda: any(link.startswith("socket:") for link in links(top.process.pid)))
        top.press("q")
        assert top.ended() == 0
    finally:
        running.process.send_signal(signal.SIGCONT)


def test_nobody_runs(lc, terminal):
    done = lc.call("top")
    assert done.returncode == 1
    assert done.stderr == f"logcap: no logcap runs on state directory {lc.state}\n"
    top = terminal()
    wait_until(lambda: top.process.poll() is not None)
    assert top.process.returncode == 1 and top.read() == ""


@pytest.mark.parametrize("interval, why", [("soon", "is not a duration"), ("1ms", "is not between 100ms and 1d"),
                                           ("8d", "is not between")])
def test_wrong_intervals(lc, interval, why):
    done = lc.call("top", "--interval", interval)
    assert done.returncode == 2 and why in done.stderr
