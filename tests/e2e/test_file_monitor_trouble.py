"""What is not a plain growing file, logcap's own files, standard input, and `--once` to the letter."""
import json
import os
import socket
import subprocess
import threading

import pytest

from conftest import wait_until
from test_file_monitor import follow, numbered, output, wait_lines, wait_output
from test_file_monitor_rotation import stats

COPY = '''
logcap.pipeline {
  name = "t", from = logcap.file_monitor { paths = { "%s" }, start = "beginning" %s },
  to = logcap.file_sink { path = "%s", format = "raw" %s } }
'''


def copy(lc, glob, to, from_options="", to_options=""):
    lc.pipeline(COPY % (glob, ", " + from_options if from_options else "", to, ", " + to_options if to_options else ""))
    return lc


# --- law 17: never what it wrote ---

def test_outputs_of_a_former_pipeline_are_not_read(lc):
    """The sink is another one now, and the old outputs match: rotated, compressed, renamed by hand."""
    lc.path("in").mkdir()
    lc.write("in/a.log", numbered(0, 3000))
    copy(lc, "in/a.log", "in/x/out.log", to_options='rotate = { size = "16KiB" }, compress = "gzip"').once()
    assert list(lc.path("in/x").glob("*.gz")), os.listdir(lc.path("in/x"))
    lc.path("in/x/out.log").rename(lc.path("in/x/renamed"))
    copy(lc, "in/**", "elsewhere.log")
    lc.once()
    lc.append("in/a.log", "one more\n")
    lc.once()
    assert lc.read("elsewhere.log") == (numbered(0, 3000) + "one more\n").encode()


def test_everything_of_its_own_in_one_folder(lc):
    """State, dead letters, standard output and error, and the outputs, all below the glob."""
    lc.state = lc.path("in/state")
    lc.path("in").mkdir()
    lc.pipeline('''
      local from = logcap.file_monitor { paths = { "in/**" }, start = "beginning", hidden = true }
      logcap.pipeline { name = "t", from = from,
        stages = { function(rec) if rec.message == "bad" then error("refused") end end },
        to = { logcap.stdout_sink { format = "raw" },
               logcap.file_sink { path = "in/out/out.log", format = "raw", rotate = { size = "4KiB" },
                                  compress = "zstd", retain = { files = 3 } } } }
    ''')
    lc.write("in/a.log", numbered(0, 1000) + "bad\n")
    for _ in range(3):
        with open(lc.path("in/stdout"), "ab") as stdout, open(lc.path("in/stderr"), "ab") as stderr:
            done = subprocess.run(lc.command("run", "--once", "--log-level", "debug", lc.file), cwd=lc.folder,
                                  stdout=stdout, stderr=stderr, timeout=60, check=False)
        assert done.returncode == 0, lc.read("in/stderr").decode()[-2000:]
    assert lc.read("in/stdout").decode() == numbered(0, 1000)
    assert [sink["read"] for sink in lc.audit()["ledger"]] == [1001, 1001]


# --- kinds, patterns, labels ---

def test_labels_exclude_and_hidden(lc):
    lc.path("in").mkdir()
    lc.pipeline('''
      logcap.pipeline { name = "t",
        from = logcap.file_monitor { paths = { "in/**/*.log" }, exclude = { "debug-*", "@FOLDER@/in/skip/**" },
                                     hidden = true, start = "beginning", labels = { team = "shop" } },
        to = logcap.file_sink { path = "out.log", metadata = true } }
    '''.replace("@FOLDER@", str(lc.folder)))
    for name in ("a.log", ".hidden.log", ".dir/b.log", "debug-1.log", "skip/c.log", "skip/deep/d.log", "e.log.gz"):
        lc.write(f"in/{name}", name + "\n")
    lc.once()
    records = [json.loads(line) for line in lc.read("out.log").splitlines()]
    assert sorted(record["message"] for record in records) == [".dir/b.log", ".hidden.log", "a.log"]
    assert all("shop" in json.dumps(record) and str(lc.path("in")) in json.dumps(record) for record in records)


def test_a_folder_under_the_name_and_a_file_later(lc):
    """What stands there is no file: said, and followed once it is one."""
    follow(lc, "a.log")
    lc.path("in/a.log").mkdir()
    lc.write("in/b.log", "never\n")
    daemon = lc.start("--log-level", "debug").ready()
    wait_until(lambda: "it is a folder" in daemon.text())
    lc.path("in/a.log").rmdir()
    os.mkfifo(lc.path("in/a.log"))
    wait_until(lambda: "named pipe" in daemon.text())
    lc.path("in/a.log").unlink()
    lc.path("in/a.log").symlink_to("nowhere")
    wait_until(lambda: "link to nothing" in daemon.text())
    lc.write("in/nowhere", "here now\n")
    wait_output(lc, "here now\n")
    lc.finish(daemon)


def test_a_link_that_is_turned(lc):
    """`current.log` leads to another file each day; the one before is read to its end first."""
    follow(lc, "current.log")
    lc.write("day1", "1\n")
    lc.path("in/current.log").symlink_to(lc.path("day1"))
    daemon = lc.start()
    wait_output(lc, "1\n")
    lc.append("day1", "2\n")
    lc.write("day2", "3\n")
    lc.path("in/new").symlink_to(lc.path("day2"))
    lc.path("in/new").rename(lc.path("in/current.log"))
    wait_output(lc, "1\n2\n3\n")
    lc.finish(daemon)


def test_memory_is_bounded_whatever_comes(lc):
    """Lines and groups without an end, and thousands of files: the peak stays where it was."""
    follow(lc, "**", options='multiline = { start = "^S" }')
    with open(lc.path("in/long"), "wb") as file:
        for _ in range(32):
            file.write(b"x" * (1 << 20))
    with open(lc.path("in/group"), "wb") as file:
        file.write(b"S\n" + b" continued and continued\n" * (1 << 19))
    for n in range(1500):
        lc.write(f"in/{n}.log", f"S{n}\n")
    daemon = lc.start().ready()
    wait_until(lambda: stats(lc)["files"] == 1502 and stats(lc)["bytes"] > 40 << 20, what=f"all read; {stats(lc)}")
    peak = next(int(line.split()[1]) for line in open(f"/proc/{daemon.process.pid}/status") if line.startswith("VmHWM"))
    maps = open(f"/proc/{daemon.process.pid}/maps").read()
    if "libasan" not in maps and "libtsan" not in maps:  # a sanitizer's own memory is many times as much
        assert peak < 40 << 10, f"{peak} KiB"
    lc.finish(daemon)
    lc.once()
    assert output(lc).count(b"S") == 1501


# --- groups ---

def test_group_limits_and_a_stop_in_the_middle(lc):
    follow(lc, options='multiline = { start = "^S", max_lines = 3, timeout = "1h" }')
    lc.pipeline(lc.read("pipeline.lua").decode().replace('local logcap = require "logcap"\n', "").replace(
        'to =', 'stages = { function(rec) rec.message = rec.message:gsub("\\n", "|") end }, to ='))
    lc.write("in/a.log", "S1\n 2\n 3\n 4\n 5\nS2\n 2\n")
    daemon = lc.start()
    wait_output(lc, "S1| 2| 3\n 4| 5\n")
    lc.finish(daemon)  # the open group is not given out half
    lc.append("in/a.log", " 3\nS3\n")
    lc.once()
    assert output(lc) == b"S1| 2| 3\n 4| 5\nS2| 2| 3\nS3\n"


def test_groups_of_files_do_not_mix_and_end_with_their_file(lc):
    follow(lc, "*.log", options='multiline = { start = "^S", timeout = "1h" }, rotated_wait = "100ms"')
    lc.pipeline(lc.read("pipeline.lua").decode().replace('local logcap = require "logcap"\n', "").replace(
        'to =', 'stages = { function(rec) rec.message = rec.message:gsub("\\n", "|") end }, to ='))
    daemon = lc.start().ready()
    for n in range(5):
        for name in "ab":
            lc.append(f"in/{name}.log", f"S{name}\n" if n == 0 else f" {name}{n}\n")

    def all_were_opened():
        figures = stats(lc)
        return figures["files"] == 2 and figures["waiting"] == figures["jobs_running"] == 0
    wait_until(all_were_opened)
    lc.path("in/a.log").rename(lc.path("in/a.log.1"))  # outside of the pattern
    lc.path("in/b.log").unlink()
    wait_lines(lc, 2)
    assert sorted(output(lc).splitlines()) == [b"Sa| a1| a2| a3| a4", b"Sb| b1| b2| b3| b4"]
    lc.finish(daemon)


# --- where reading starts ---

def test_start_at_the_end_of_a_file_that_looks_like_a_copy(lc):
    """It waits to see whether it is one; what is appended meanwhile is new all the same."""
    head = "the same head of all files, written by the same program\n" * 100
    lc.path("in").mkdir()
    lc.pipeline('''
      logcap.pipeline { name = "t", from = logcap.file_monitor { paths = { "in/*.log" } },
        to = logcap.file_sink { path = "out.log", format = "raw" } }
    ''')
    lc.write("in/a.log", head)
    lc.once()
    lc.write("in/b.log", head + "old\n")
    daemon = lc.start().ready()
    wait_until(lambda: stats(lc)["held"] == 1, what="the wait of what looks like a copy")
    lc.append("in/b.log", "new\n")
    wait_output(lc, "new\n")
    lc.finish(daemon)


# --- the clock ---

CLOCK = r'''
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
int clock_gettime(clockid_t clock, struct timespec *now) {
  int rc = (int)syscall(SYS_clock_gettime, clock, now);
  if (clock != CLOCK_REALTIME) return rc;
  char text[32] = {0};
  int fd = open(getenv("CLOCK_OFFSET"), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return rc;
  if (read(fd, text, sizeof text - 1) > 0) now->tv_sec += atol(text);
  close(fd);
  return rc;
}
'''


def test_a_clock_that_jumps(lc):
    """Years forward and back, also while down: everything goes on, once, and no timer waits for the old time."""
    source, shim, offset = lc.write("clock.c", CLOCK), lc.path("clock.so"), lc.write("offset", "0")
    subprocess.run(["cc", "-shared", "-fPIC", "-o", shim, source], check=True)
    env = dict(os.environ, LD_PRELOAD=str(shim), CLOCK_OFFSET=str(offset), ASAN_OPTIONS="verify_asan_link_order=0")
    follow(lc, options='multiline = { start = "^S", timeout = "50ms" }, rotated_wait = "50ms"')
    text = ""
    for i, jump in enumerate([10 * 365 * 86400, -20 * 365 * 86400, 0, -3600]):
        if i % 2 == 0:
            daemon = lc.start(env=env).ready()
        looks = stats(lc)["looks"]
        lc.append("in/a.log", f"S{i}\n x\n")
        wait_until(lambda: stats(lc)["looks"] > looks, what="an open group")
        offset.write_text(str(jump))  # while timers run
        text += f"S{i}\n x\n"
        wait_output(lc, text)
        if i % 2 == 1:
            lc.path("in/a.log").rename(lc.path(f"in/a.{i}"))
            wait_until(lambda: stats(lc)["files"] == 0, what="the end of the renamed file")
            lc.finish(daemon)


# --- standard input ---

STDIN = '''
logcap.pipeline { name = "t", from = logcap.stdin_monitor { %s },
  to = logcap.file_sink { path = "out.log", format = "raw" } }
'''


def run_stdin(lc, *arguments, code=0, **options):
    lc.pipeline(STDIN % "")
    done = subprocess.run(lc.command("run", *arguments, lc.file), cwd=lc.folder, capture_output=True, timeout=60,
                          check=False, **options)
    assert done.returncode == code, done.stderr.decode()
    return done.stderr.decode()


@pytest.mark.parametrize("arguments", [[], ["--once"]])
def test_stdin_of_each_kind(lc, arguments):
    run_stdin(lc, *arguments, input=b"pipe\nunfinished")
    lc.write("file", "skipped\nfile\n")
    with open(lc.path("file"), "rb", buffering=0) as file:
        file.readline()
        run_stdin(lc, *arguments, stdin=file)
    run_stdin(lc, *arguments, stdin=subprocess.DEVNULL)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.sendall(b"socket\n")
        ours.shutdown(socket.SHUT_WR)
        run_stdin(lc, *arguments, stdin=theirs)
    assert output(lc) == b"pipe\nunfinished\nfile\nsocket\n"
    lc.assert_balanced()


def test_stdin_that_cannot_be_read_is_an_error(lc):
    folder = os.open("/", os.O_RDONLY)
    try:
        assert "Is a directory" in run_stdin(lc, "--once", code=1, stdin=folder)
    finally:
        os.close(folder)


def test_closed_stdin_is_an_empty_one(lc):
    """And no descriptor of logcap's own takes its number."""
    lc.pipeline(STDIN % "")
    done = subprocess.run(["sh", "-c", 'exec "$0" "$@" <&-', *lc.command("run", lc.file)], cwd=lc.folder,
                          capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert output(lc) == b""


@pytest.mark.parametrize("kind", ["pipe", "socket"])
def test_stdin_that_stays_open(lc, kind):
    """A group is closed by its timeout; a stop does not wait for the writer, and gives out what was taken."""
    lc.pipeline(STDIN % 'multiline = { start = "^S", timeout = "100ms" }')
    ours, theirs = socket.socketpair() if kind == "socket" else (None, None)
    reader, writer = (theirs.fileno(), ours.fileno()) if kind == "socket" else os.pipe()
    daemon = lc.start(stdin=reader).ready()
    os.write(writer, b"S1\n x\n")
    wait_output(lc, "S1\n x\n")
    os.write(writer, b"S2\n y\nunfinished")
    wait_output(lc, "S1\n x\nS2\n y\n")
    assert daemon.stop(25) == 0
    assert output(lc) == b"S1\n x\nS2\n y\nunfinished\n"
    lc.assert_balanced()
    if kind == "pipe":
        os.close(reader), os.close(writer)


# --- once, to the letter ---

def test_once_through_renames(lc):
    """All files are renamed, out of the pattern, while it runs."""
    follow(lc, options="max_open_files = 1")
    for n in range(1500):
        lc.write(f"in/{n}.log", f"{n}\n" * 20)
    daemon = lc.start("--once")
    wait_until(lambda: output(lc), what="the first lines")
    for n in range(1500):
        lc.path(f"in/{n}.log").rename(lc.path(f"in/{n}.old"))
    assert daemon.process.wait(60) == 0, daemon.text()
    assert sorted(output(lc).splitlines()) == sorted(f"{n}".encode() for n in range(1500) for _ in range(20))


def test_once_names_what_stayed_unread(lc):
    """Deleted before they were read: exit 1, each is named, and all others are there."""
    follow(lc, options="max_open_files = 1")
    for n in range(1500):
        lc.write(f"in/{n}.log", f"{n}\n" * 20)
    daemon = lc.start("--once")
    wait_until(lambda: output(lc), what="the first lines")
    for n in range(1500):
        lc.path(f"in/{n}.log").unlink()
    code = daemon.process.wait(60)
    read = {int(line) for line in output(lc).splitlines()}
    assert output(lc).count(b"\n") == 20 * len(read)
    unread = set(range(1500)) - read
    named = {int(entry["path"].rsplit("/", 1)[1][:-4]) for entry in daemon.log()
             if entry["message"] == "file stayed unread"}
    assert named == unread and code == (1 if unread else 0)


def test_once_reads_to_the_size_that_it_found(lc):
    """A writer that never ends does not keep it."""
    follow(lc).write("in/a.log", numbered(0, 200000))
    ended = threading.Event()

    def write():
        with open(lc.path("in/a.log"), "ab", buffering=0) as file:
            while not ended.wait(0.0005):
                file.write(b"more and more and more and more and more\n" * 200)
    writer = threading.Thread(target=write)
    writer.start()
    try:
        lc.once()
    finally:
        ended.set()
        writer.join()
    assert output(lc).startswith(numbered(0, 200000).encode())


def test_once_without_anything_to_read(lc):
    """Nothing is an error there, but a pattern that finds nothing is said."""
    follow(lc, "nothing-*.log")
    done = lc.once()
    assert "nothing-*.log" in done.stderr
