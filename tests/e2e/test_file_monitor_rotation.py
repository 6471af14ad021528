"""Rotation against the odds: order, late writes, stalled outputs, reused inodes, lost events."""
import json
import os
import resource
import signal

import pytest

from conftest import links, wait_until
from test_file_monitor import follow, numbered, output, wait_lines, wait_output

STALLED = '''
logcap.pipeline {
  name = "t", memory = "2MiB",
  from = logcap.file_monitor { paths = { "in/%(glob)s" }, start = "beginning" %(options)s },
  to = logcap.file_sink { path = "dest/out.log", format = "raw" },
}
'''


def stalled(lc, glob="*.log", options=""):
    """Its output cannot be written until let_go()."""
    lc.path("in").mkdir(exist_ok=True)
    lc.write("dest", "a file where a folder should be")
    lc.pipeline(STALLED % {"glob": glob, "options": ", " + options if options else ""})
    return lc


def let_go(lc):
    lc.path("dest").unlink()


def stats(lc, kind="file_monitor"):
    return next(entry for entry in lc.status()["resources"] if entry["kind"] == kind)["stats"]


def wait_stat(lc, name, value):
    wait_until(lambda: stats(lc)[name] >= value, what=f"{name} = {value}; {stats(lc)}")


def wait_sorted(lc, want, name="dest/out.log"):
    lines = sorted(want.encode().splitlines())

    def done():
        return lc.path(name).exists() and lc.read(name).count(b"\n") >= len(lines)
    wait_until(done, what=f"{len(lines)} lines")
    assert sorted(lc.read(name).splitlines()) == lines


# --- order ---

@pytest.mark.parametrize("glob", ["app.log", "app.log*"])
def test_the_next_generation_waits_for_the_one_before(lc, glob):
    """Renamed, and a little later made anew, twice, while the output is stalled: nothing overtakes."""
    stalled(lc, glob).write("in/app.log", numbered(0, 150000))
    daemon = lc.start().ready()
    wait_until(lambda: stats(lc, "file_sink").get("attempts", 0) > 0, what="the stall")
    for generation in range(1, 3):
        scans = stats(lc)["discovery"]["scans"]
        lc.path("in/app.log").rename(lc.path(f"in/app.log.{3 - generation}"))
        wait_until(lambda: stats(lc)["discovery"]["scans"] > scans, what="the rename to be seen")
        lc.write("in/app.log", numbered(150000 * generation, 150000 if generation == 1 else 10))
        wait_stat(lc, "found", generation + 1)
    let_go(lc)
    wait_until(lambda: lc.path("dest/out.log").exists() and lc.read("dest/out.log").count(b"\n") == 300010)
    assert lc.read("dest/out.log") == numbered(0, 300010).encode()
    lc.finish(daemon)


# --- what a writer does after a rename ---

def test_late_writes_to_a_renamed_file_come_before_those_to_the_next(lc):
    """Its writer has it open for a while: no event tells of what it writes, and the name is outside of the pattern."""
    follow(lc, "app.log").write("in/app.log", "1\n")
    daemon = lc.start()
    wait_output(lc, "1\n")
    with open(lc.path("in/app.log"), "ab", buffering=0) as writer:
        lc.path("in/app.log").rename(lc.path("in/app.log.1"))
        for line in (b"2\n", b"3\n"):
            before = stats(lc)["looks"]
            wait_until(lambda: stats(lc)["looks"] > before, what="a look at its end")
            writer.write(line)
            wait_until(lambda: output(lc).endswith(line))
        writer.write(b"4\n")
    lc.write("in/app.log", "5\n")
    wait_output(lc, "1\n2\n3\n4\n5\n")
    lc.finish(daemon)


def test_a_writer_that_comes_back_after_the_wait(lc):
    """It was taken for done; its lines are read all the same, also when it writes them while logcap is dead."""
    follow(lc, "app.log", options='rotated_wait = "50ms"').write("in/app.log", "1\n")
    daemon = lc.start()
    wait_output(lc, "1\n")
    lc.path("in/app.log").rename(lc.path("in/app.log.1"))
    lc.write("in/app.log", "new\n")
    wait_output(lc, "1\nnew\n")
    wait_stat(lc, "resting", 1)
    lc.append("in/app.log.1", "2\n")
    wait_output(lc, "1\nnew\n2\n")
    daemon.kill()
    lc.append("in/app.log.1", "3\n")
    lc.path("in/app.log.1").rename(lc.path("in/app.log.2"))
    daemon = lc.start()
    wait_output(lc, "1\nnew\n2\n3\n")

    def known():
        return [source["name"].split("/")[-1] for source in lc.json("positions")["sources"]]
    wait_until(lambda: sorted(known()) == ["app.log", "app.log.2"], what=f"both files; {known()}")
    lc.path("in/app.log.2").unlink()
    wait_until(lambda: known() == ["app.log"], what="the deleted file to be forgotten")
    lc.finish(daemon)


def test_deleted_while_the_output_stalls(lc):
    """Unlinked with most of it unread, by a writer that goes on: everything comes once the output is back."""
    stalled(lc, options='rotated_wait = "200ms"').write("in/a.log", numbered(0, 100000))
    daemon = lc.start().ready()
    wait_until(lambda: stats(lc, "file_sink").get("attempts", 0) > 0, what="the stall")
    with open(lc.path("in/a.log"), "ab") as writer:
        lc.path("in/a.log").unlink()
        writer.write(numbered(100000, 10).encode() + b"unfinished")
    lc.write("in/late.log", "late\n")  # discovery never pauses
    wait_stat(lc, "found", 2)
    let_go(lc)
    wait_sorted(lc, numbered(0, 100010) + "unfinished\nlate\n")
    lc.finish(daemon)


def test_truncated_while_the_output_stalls_is_counted(lc):
    """What was never read of it is gone: counted in bytes, and red."""
    stalled(lc).write("in/a.log", numbered(0, 100000))
    daemon = lc.start().ready()
    wait_until(lambda: stats(lc, "file_sink").get("attempts", 0) > 0, what="the stall")
    lc.write("in/a.log", "after\n")
    let_go(lc)
    wait_until(lambda: lc.path("dest/out.log").exists() and lc.read("dest/out.log").endswith(b"after\n"))
    size = len(lc.read("dest/out.log")) - len("after\n")
    assert lc.read("dest/out.log") == numbered(0, 100000).encode()[:size] + b"after\n"
    lost = wait_until(lambda: json.loads(lc.call("audit", "--json").stdout)["ledger"][0]["abandoned_bytes"])
    assert lost == len(numbered(0, 100000)) - size
    assert not lc.audit(code=1)["healthy"]
    assert daemon.stop() == 0


def test_a_deleted_file_frees_the_disk(lc):
    """Read and committed, its descriptor is closed though nothing else happens."""
    follow(lc, options='rotated_wait = "100ms"').write("in/a.log", "a\n")
    daemon = lc.start()
    wait_output(lc, "a\n")
    lc.path("in/a.log").unlink()

    def held():
        return [link for link in links(daemon.process.pid) if "(deleted)" in link]
    wait_until(lambda: not held() and stats(lc)["files"] == 0, what=f"no descriptor; {held()}")
    lc.finish(daemon)


# --- while it is down ---

def test_rotations_while_down_keep_their_order(lc):
    """Three rotations, in and out of the glob: the known generation first, then the others."""
    follow(lc, "app.log*").write("in/app.log", numbered(0, 5))
    lc.once()
    lc.append("in/app.log", numbered(5, 5))
    lc.path("in/app.log").rename(lc.path("in/app.log.1"))
    lc.write("in/app.log", numbered(10, 5))
    lc.once()
    assert output(lc) == numbered(0, 15).encode()
    lc.append("in/app.log", numbered(15, 1))
    lc.path("in/app.log").rename(lc.path("in/elsewhere"))
    lc.write("in/app.log", numbered(16, 1))
    lc.once()
    assert output(lc) == numbered(0, 17).encode()


def test_inode_reused_while_down(lc):
    """A new file in the inode of one that was read is read whole, however it begins."""
    follow(lc).write("in/a.log", numbered(0, 10))
    lc.once()
    inode = lc.path("in/a.log").stat().st_ino
    lc.path("in/a.log").unlink()
    for n in range(50):
        path = lc.write(f"in/try{n}", numbered(0, 10) + "more\n")
        if path.stat().st_ino == inode:
            break
    path.rename(lc.path("in/a.log"))
    lc.once()
    assert output(lc) == (numbered(0, 10) * 2 + "more\n").encode()


def test_rewritten_in_place_while_down(lc):
    """The same inode, the same birth, longer than it was read: only the content tells."""
    follow(lc).write("in/a.log", numbered(0, 5000))
    lc.once()
    lc.write("in/a.log", numbered(0, 300) + numbered(7000, 8000))  # and it has the same head
    lc.once()
    assert output(lc) == (numbered(0, 5000) + numbered(0, 300) + numbered(7000, 8000)).encode()


def test_the_folder_moves_while_down(lc):
    """All files have other paths: what was read is not read again, and what was added is."""
    lc.path("logs/app").mkdir(parents=True)
    lc.pipeline('''
      logcap.pipeline { name = "t", from = logcap.file_monitor { paths = { "logs/**/*.log" }, start = "beginning" },
        to = logcap.file_sink { path = "out.log", format = "raw" } }
    ''')
    lc.write("logs/app/a.log", "1\n")
    lc.once()
    lc.append("logs/app/a.log", "2\n")
    lc.path("logs/app").rename(lc.path("logs/old"))
    lc.once()
    assert output(lc) == b"1\n2\n"
    assert lc.audit()["healthy"]


# --- lost events ---

def test_more_events_than_the_kernel_queues(lc):
    follow(lc)
    lc.write("in/a.log", "a\n")
    daemon = lc.start()
    wait_lines(lc, 1)
    daemon.process.send_signal(signal.SIGSTOP)
    limit = int(open("/proc/sys/fs/inotify/max_queued_events").read())
    with open(lc.path("in/b.log"), "ab", buffering=0) as b, open(lc.path("in/c.log"), "ab", buffering=0) as c:
        for _ in range(limit // 2 + 10):  # in turn: equal events in a row are one
            b.write(b"b\n")
            c.write(b"c\n")
    lc.append("in/a.log", "lost event\n")
    lc.path("in/a.log").rename(lc.path("in/moved.log"))
    lc.write("in/a.log", "new\n")
    daemon.process.send_signal(signal.SIGCONT)
    wait_lines(lc, 2 * (limit // 2 + 10) + 3)
    assert stats(lc)["discovery"]["overflows"] >= 1
    lc.finish(daemon)


@pytest.mark.parametrize("kind", ["watches", "instances"])
def test_no_watches_to_be_had(lc, kind):
    """Polls instead, and names the sysctl."""
    follow(lc).write("in/a.log", "1\n")
    plain = lc.command
    limit = f"echo {2 if kind == 'watches' else 0} > /proc/sys/user/max_inotify_{kind} && exec \"$0\" \"$@\""
    if os.system("unshare -Ur true 2>/dev/null") != 0:
        pytest.skip("no user namespaces here; test_discovery and test_inotify do the same inside the process")
    lc.command = lambda verb, *rest, **options: (
        ["unshare", "-Ur", "sh", "-c", limit, *plain(verb, *rest, **options)] if verb == "run"
        else plain(verb, *rest, **options))
    daemon = lc.start()
    wait_output(lc, "1\n")
    assert f"max_user_{kind}" in daemon.text()
    lc.append("in/a.log", "2\n")
    wait_output(lc, "1\n2\n")
    lc.path("in/a.log").rename(lc.path("in/a.log.1"))
    lc.append("in/a.log.1", "3\n")
    lc.write("in/a.log", "4\n")
    wait_output(lc, "1\n2\n3\n4\n")
    lc.command = plain
    lc.finish(daemon)


def test_no_descriptors_while_it_runs(lc):
    """A scan that fails changes nothing: what was read stays known, and the rest comes when there are some again."""
    follow(lc, "**/*.log")
    for n in range(20):
        lc.write(f"in/{n}/a.log", f"{n}\n")
    daemon = lc.start()
    wait_lines(lc, 20)
    pid = daemon.process.pid
    usual = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (3, usual[1]))
    for n in range(20):
        lc.append(f"in/{n}/a.log", f"again {n}\n")
        lc.write(f"in/new{n}/a.log", f"new {n}\n")
    wait_until(lambda: "Too many open files" in daemon.text(), what="a message about descriptors")
    resource.prlimit(pid, resource.RLIMIT_NOFILE, usual)
    lc.write("in/last/a.log", "last\n")  # what is found now does not make up for what was not
    wait_lines(lc, 61)
    lc.finish(daemon)
    lc.once()
    assert output(lc).count(b"\n") == 61


# --- copytruncate ---

def test_a_copy_that_is_seen_while_it_is_made(lc):
    """It is empty at first, and looked at: later it is still known for a copy."""
    follow(lc, "a.log*").write("in/a.log", numbered(0, 1000))
    daemon = lc.start().ready()
    wait_lines(lc, 1000)
    with open(lc.path("in/a.log.1"), "wb", buffering=0) as copy:
        wait_until(lambda: stats(lc)["found"] == 2 and stats(lc)["jobs_running"] == 0, what="a look at the copy")
        copy.write(numbered(0, 500).encode())
        wait_until(lambda: stats(lc)["held"] == 1, what="the suspicion")
        copy.write(numbered(500, 500).encode())
        os.truncate(lc.path("in/a.log"), 0)
        wait_until(lambda: stats(lc)["copies"] == 1, what="the copy known for one")
    lc.append("in/a.log", "after\n")
    wait_lines(lc, 1001)
    assert output(lc) == (numbered(0, 1000) + "after\n").encode()
    lc.finish(daemon)
