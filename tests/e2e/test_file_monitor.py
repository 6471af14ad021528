"""Files as they are in the wild: rotation in every way, odd bytes, odd kinds of files, and what is not to be had."""
import os
import resource
import shutil
import subprocess
import time

import pytest
from conftest import PATIENCE, links, wait_until

PIPELINE = '''
logcap.pipeline {
  name = "t",
  from = logcap.file_monitor { paths = { "in/%(glob)s" }, start = "beginning" %(options)s },
  to = logcap.file_sink { path = "out.log", format = "raw" },
}
'''


def follow(lc, glob="*.log", options=""):
    lc.path("in").mkdir(exist_ok=True)
    lc.pipeline(PIPELINE % {"glob": glob, "options": ", " + options if options else ""})
    return lc


def output(lc):
    return lc.read("out.log") if lc.path("out.log").exists() else b""


def wait_output(lc, content, seconds=PATIENCE):
    data = content.encode() if isinstance(content, str) else content
    wait_until(lambda: output(lc) == data, seconds, f"the output {data[-200:]!r}; it is {output(lc)[-200:]!r}")


def wait_lines(lc, count, seconds=PATIENCE):
    wait_until(lambda: output(lc).count(b"\n") >= count, seconds, f"{count} lines")
    assert output(lc).count(b"\n") == count


def numbered(first, count):
    return "".join(f"this is line number {n} of its file\n" for n in range(first, first + count))


def messages(done):
    return done.stderr


# --- bytes ---

def test_bytes_leave_as_they_came(lc):
    odd = b"plain\nwith cr\r\n\n\n\0nul\0\n\xff\xfe not utf-8 \xc3\n  spaces  \n" + b"unfinished"
    follow(lc).write("in/a.log", odd)
    lc.once()
    assert output(lc) == odd + b"\n"


def test_a_line_of_100_mb(lc):
    follow(lc)
    with open(lc.path("in/a.log"), "wb") as file:
        file.write(b"before\n")
        for _ in range(100):
            file.write(b"x" * (1 << 20))
        file.write(b"\nafter\n")
    lc.once()
    assert output(lc) == b"before\n" + b"x" * (256 << 10) + b"\nafter\n"


def test_a_longer_limit(lc):
    line = b"y" * (1 << 20)
    follow(lc, options='max_line = "2MiB"').write("in/a.log", line + b"\n" + b"z" * (3 << 20) + b"\nend\n")
    lc.once()
    assert output(lc) == line + b"\n" + b"z" * (2 << 20) + b"\nend\n"


def test_sparse_file(lc):
    follow(lc)
    with open(lc.path("in/a.log"), "wb") as file:
        file.write(b"first\n")
        file.seek(64 << 20)
        file.write(b"\nlast\n")
    lc.once()
    assert output(lc) == b"first\n" + b"\0" * (256 << 10) + b"\nlast\n"


def test_empty_and_tiny_files(lc):
    follow(lc)
    for n in range(50):
        lc.write(f"in/empty{n}.log", "")
        lc.write(f"in/tiny{n}.log", "x\n")
    lc.once()
    assert output(lc) == b"x\n" * 50
    for n in range(50):
        lc.append(f"in/empty{n}.log", "y\n")
    lc.once()
    assert sorted(output(lc)) == sorted(b"x\n" * 50 + b"y\n" * 50)


# --- groups ---

TRACE = "ERROR a\n  at one\n  at two\nINFO b\nERROR c\n  at three\n"


def test_groups(lc):
    lc.path("in").mkdir()
    lc.pipeline('''
      logcap.pipeline {
        name = "t",
        from = logcap.file_monitor { paths = { "in/*.log" }, start = "beginning", multiline = { start = "^[A-Z]" } },
        stages = { function(rec) rec.lines = select(2, rec.message:gsub("\\n", "")) + 1 end },
        to = logcap.file_sink { path = "out.log" },
      }
    ''')
    lc.write("in/a.log", TRACE)
    lc.write("in/b.log", TRACE)
    lc.once()
    counts = sorted(line.split(b'"lines":')[1][:1] for line in output(lc).splitlines())
    assert counts == [b"1", b"1", b"2", b"2", b"3", b"3"]


def test_an_open_group_is_flushed_by_time_and_resumed_after_a_kill(lc):
    follow(lc, options='multiline = { start = "^S", timeout = "1h" }')
    lc.write("in/a.log", "S1\n a\n")
    daemon = lc.start()
    daemon.ready()
    time.sleep(0.3)  # the group is open: nothing may come of it yet
    assert output(lc) == b""
    daemon.kill()
    lc.file.write_text(lc.file.read_text().replace('"1h"', '"300ms"'))
    daemon = lc.start()
    wait_output(lc, "S1\n a\n")
    lc.append("in/a.log", "S2\n")
    wait_output(lc, "S1\n a\nS2\n")
    lc.finish(daemon)


# --- rotation ---

def test_rename_and_delete(lc):
    follow(lc, "app.log")
    lc.write("in/app.log", numbered(0, 10))
    daemon = lc.start()
    wait_lines(lc, 10)
    for n in range(10, 100, 10):
        lc.append("in/app.log", numbered(n, 9))
        lc.path("in/app.log").rename(lc.path("in/app.log.1"))
        lc.append("in/app.log.1", numbered(n + 9, 1))  # the writer had it open
        lc.write("in/app.log", "")
        wait_lines(lc, n + 10)
    wait_output(lc, numbered(0, 100))
    lc.finish(daemon)


def test_rotated_while_down(lc):
    follow(lc, "app.log")
    lc.write("in/app.log", numbered(0, 10))
    lc.once()
    lc.append("in/app.log", numbered(10, 5))
    lc.path("in/app.log").rename(lc.path("in/archived-somewhere"))
    lc.write("in/app.log", numbered(15, 5))
    lc.once()
    assert output(lc) == numbered(0, 20).encode()


def test_rotated_out_of_sight_is_red(lc):
    follow(lc, "app.log")
    lc.write("in/app.log", numbered(0, 10))
    lc.once()
    lc.append("in/app.log", numbered(10, 5))
    lc.path("in/app.log").rename(lc.path("lost"))
    lc.write("in/app.log", "new\n")
    done = lc.once()
    assert "file is gone" in messages(done)
    assert output(lc) == numbered(0, 10).encode() + b"new\n"
    assert not lc.audit(code=1)["healthy"]


def test_deleted_after_it_was_read_is_not(lc):
    follow(lc)
    lc.write("in/a.log", numbered(0, 10))
    lc.once()
    lc.path("in/a.log").unlink()
    lc.once()
    assert lc.audit()["healthy"]


def test_truncated(lc):
    follow(lc)
    lc.write("in/a.log", numbered(0, 10))
    daemon = lc.start()
    wait_lines(lc, 10)
    lc.write("in/a.log", "short\n")
    wait_lines(lc, 11)
    lc.write("in/a.log", numbered(100, 50))  # longer than what stood there
    wait_lines(lc, 61)
    assert output(lc) == (numbered(0, 10) + "short\n" + numbered(100, 50)).encode()
    lc.finish(daemon)


@pytest.mark.parametrize("down", [False, True])
def test_copytruncate(lc, down):
    follow(lc, "a.log*")
    lc.write("in/a.log", numbered(0, 1000))
    daemon = None if down else lc.start()
    if down:
        lc.once()
    wait_lines(lc, 1000)
    lc.append("in/a.log", numbered(1000, 10))
    shutil.copy(lc.path("in/a.log"), lc.path("in/a.log.1"))
    os.truncate(lc.path("in/a.log"), 0)
    lc.append("in/a.log", numbered(5000, 2000 if down else 10))  # when down, also longer than the old offset
    if down:
        lc.once()
    else:
        wait_lines(lc, 1020)
        time.sleep(1.5)  # the copy is not read a second time
        lc.finish(daemon)
    want = numbered(0, 1010) + numbered(5000, 2000 if down else 10)
    assert sorted(output(lc).splitlines()) == sorted(want.encode().splitlines())


def test_shrinks_while_it_is_read(lc):
    follow(lc)
    lc.write("in/a.log", numbered(0, 200000))
    lc.write("in/b.log", "other\n")
    daemon = lc.start()
    wait_until(lambda: len(output(lc)) > 0)
    os.truncate(lc.path("in/a.log"), 1000)
    lc.append("in/a.log", "\nafterwards\n")
    wait_until(lambda: b"\nafterwards\n" in output(lc) and b"other\n" in output(lc))
    assert daemon.process.poll() is None
    daemon.stop()


def test_replaced_by_rename(lc):
    """As editors do: a new file takes the name of the old one, which has no name then."""
    follow(lc)
    lc.write("in/a.log", "old\n")
    daemon = lc.start()
    wait_output(lc, "old\n")
    lc.write("new", "new one\n")
    lc.path("new").rename(lc.path("in/a.log"))
    wait_output(lc, "old\nnew one\n")
    lc.finish(daemon)


# --- what is no plain file, or not to be had ---

def test_odd_kinds(lc):
    follow(lc, "*")
    lc.write("in/a", "a\n")
    os.mkfifo(lc.path("in/fifo"))
    lc.path("in/folder").mkdir()
    lc.path("in/dangling").symlink_to("nowhere")
    lc.path("in/loop").symlink_to("loop")
    lc.path("in/same").symlink_to("a")
    lc.write("in/.hidden", "hidden\n")
    lc.once()
    assert output(lc) == b"a\n"


def test_symlinks(lc):
    lc.write("target", "t\n")
    follow(lc, options="follow_symlinks = false")
    lc.path("in/link.log").symlink_to(lc.path("target"))
    lc.once()
    assert output(lc) == b""
    follow(lc)
    lc.once()
    assert output(lc) == b"t\n"


def test_hard_links_are_one_file(lc):
    follow(lc)
    lc.write("in/a.log", "a\n")
    os.link(lc.path("in/a.log"), lc.path("in/b.log"))
    daemon = lc.start()
    wait_output(lc, "a\n")
    lc.path("in/a.log").unlink()
    lc.append("in/b.log", "b\n")
    wait_output(lc, "a\nb\n")
    lc.finish(daemon)


def test_unreadable(nobody):
    lc = follow(nobody)
    lc.write("in/a.log", "a\n").chmod(0)
    lc.write("in/b.log", "b\n")
    done = lc.once(code=1)
    assert output(lc) == b"b\n"
    assert "a.log" in messages(done) and "Permission denied" in messages(done)
    daemon = lc.start()
    daemon.wait_log("cannot read file: it will be tried again")
    lc.path("in/a.log").chmod(0o644)
    wait_output(lc, "b\na\n")
    lc.finish(daemon)


def test_few_descriptors(lc):
    """The system gives no more descriptors: it is said, tried again, and nothing is lost."""
    follow(lc)
    for n in range(300):
        lc.write(f"in/{n}.log", f"{n}\n")
    daemon = lc.start(preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40)))
    wait_lines(lc, 300)
    for n in range(300):
        lc.append(f"in/{n}.log", f"again {n}\n")
    wait_lines(lc, 600)
    lc.finish(daemon)


def test_max_open_files(lc):
    follow(lc, options="max_open_files = 5")
    for n in range(200):
        lc.write(f"in/{n}.log", f"{n}\n")
    daemon = lc.start()
    wait_lines(lc, 200)
    assert len([path for path in links(daemon.process.pid) if path.startswith(str(lc.path("in")) + "/")]) <= 5
    lc.finish(daemon)


def test_own_output_is_never_read(lc):
    lc.path("in").mkdir()
    lc.pipeline('''
      logcap.pipeline { name = "t", from = logcap.file_monitor { paths = { "in/**" }, start = "beginning" },
        to = logcap.file_sink { path = "in/out.log", format = "raw", rotate = { size = "64KiB" }, compress = "gzip" } }
    ''')
    lc.write("in/a.log", numbered(0, 10000))
    lc.once()
    lc.once()
    lc.once()
    assert lc.audit()["ledger"][0]["read"] == 10000


# --- labels, starts, many ---

def test_start_at_the_end_then_everything(lc):
    lc.path("in").mkdir()
    lc.pipeline('''
      logcap.pipeline { name = "t", from = logcap.file_monitor { paths = { "in/*.log" } },
        to = logcap.file_sink { path = "out.log", format = "raw" } }
    ''')
    lc.write("in/a.log", "old\n")
    daemon = lc.start()
    daemon.ready()
    wait_until(lambda: "a.log" in lc.call("positions").stdout)
    lc.append("in/a.log", "one\n")
    lc.write("in/late.log", "two\n")
    wait_lines(lc, 2)
    daemon.kill()
    lc.append("in/a.log", "three\n")
    daemon = lc.start()
    wait_lines(lc, 3)
    assert b"old" not in output(lc)
    lc.finish(daemon)


def test_stdin(lc):
    lc.pipeline('''
      logcap.pipeline { name = "t", from = logcap.stdin_monitor {},
        to = logcap.file_sink { path = "out.log", format = "raw" } }
    ''')
    done = subprocess.run(lc.command("run", lc.path("pipeline.lua")), cwd=lc.folder, input=b"a\n\nb\r\nunfinished",
                          capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert output(lc) == b"a\n\nb\r\nunfinished\n"


def test_exclude_below_any_folder(lc):
    lc.pipeline('''
      logcap.pipeline { name = "x", from = logcap.file_monitor { paths = { "in/**/*.log" }, start = "beginning",
          exclude = { "**/old/*", "in/b.log", "c.*" } },
        to = logcap.file_sink { path = "out.log", format = "raw" } }
    ''')
    for name in ("a.log", "b.log", "sub/b.log", "sub/c.log", "old/d.log", "sub/old/e.log"):
        lc.write(f"in/{name}", f"{name}\n")
    lc.once()
    assert sorted(lc.read("out.log").decode().split()) == ["a.log", "sub/b.log"]


def test_the_watching_counts_as_a_descriptor(lc):
    """Also while there is nothing to read: what is held is in the registry."""
    lc.path("in").mkdir()
    lc.pipeline('logcap.pipeline { name = "t", from = logcap.file_monitor { paths = { "in/*.log" } }, to = logcap.null_sink {} }')
    daemon = lc.start().ready()
    daemon.wait_log("no file matches yet: nothing to read")
    assert [r["descriptors"] for r in lc.status()["resources"] if r["kind"] == "file_monitor"] == [1]
    lc.finish(daemon)
