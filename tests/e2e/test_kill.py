"""kill -9 at random moments, under load, with everything moving: afterwards each sink has exactly the input.

Short here; LOGCAP_KILLS=100 (scripts/kill-test) is the long form.
"""
import collections
import gzip
import json
import os
import random
import threading
import time

KILLS = int(os.environ.get("LOGCAP_KILLS", "8"))
SEED = int(os.environ.get("LOGCAP_SEED", str(random.randrange(10**6))))
SERVICES = ["cart", "pay", "ship", "mail", "auth"]

PIPELINE = """
local app = logcap.file_monitor { paths = { "in/app.log*" }, start = "beginning", rotated_wait = "100ms" }
logcap.pipeline {
  name = "kill", from = app,
  stages = { logcap.json {}, function(rec) rec.env = "prod" end },
  to = {
    logcap.file_sink { path = "out/{service}.ndjson", rotate = { size = "200KiB" }, compress = "gzip" },
    logcap.file_sink { path = "all/all.log", format = "raw", rotate = { size = "500KiB" } },
  },
}
"""


class Writer(threading.Thread):
    """Appends lines and rotates by rename: mostly to a name inside the glob, sometimes to one outside of it. Goes on to
    write to some of the renamed ones now and then."""

    def __init__(self, folder, rng):
        super().__init__(daemon=True)
        self.folder, self.rng = folder, rng
        self.count, self.rotations, self.left, self.late_lines, self.stopping = 0, 0, 0, 0, threading.Event()
        self.rotated = []
        self.late = {}  # those that are still written to: path, file
        self.seen = -1  # the rotation whose file logcap knows: only that may leave the glob while nobody looks
        self.file = open(folder / "app.log", "ab", buffering=0)

    def run(self):
        while not self.stopping.is_set():
            block = self.lines(self.rng.randrange(1, 200))
            cut = self.rng.randrange(len(block))  # lines arrive in pieces, too
            self.file.write(block[:cut])
            self.file.write(block[cut:])
            if self.rng.random() < 0.02:
                self.rotate()
            if self.late and self.rng.random() < 0.05:
                path = self.rng.choice(list(self.late))
                self.late[path].write(self.lines(1))
                self.late_lines += 1
                if self.rng.random() < 0.2:
                    self.late.pop(path).close()
            self.stopping.wait(0.005)

    def lines(self, count):
        lines = []
        for _ in range(count):
            lines.append(json.dumps({"service": self.rng.choice(SERVICES), "n": self.count,
                                     "pad": "x" * self.rng.randrange(0, 120)}, separators=(",", ":")) + "\n")
            self.count += 1
        return "".join(lines).encode()

    def rotate(self):
        name = f"app.log.{self.rotations}"
        if self.rng.random() < 0.4 and self.seen == self.rotations:
            name = f"archived-{self.rotations}"
            self.left += 1
        self.rotations += 1
        os.rename(self.folder / "app.log", self.folder / name)
        old, self.file = self.file, open(self.folder / "app.log", "ab", buffering=0)
        if self.rng.random() < 0.5:
            self.late[self.folder / name] = old
        else:
            old.close()
        self.rotated.append(self.folder / name)


def look(lc, writer):
    """Asks for the positions: which input logcap knows, and which rotated ones it has read. Deletes those that are saved
    under their new name as read to their end by all sinks; returns how many."""
    rotation = writer.rotations
    try:
        inode = os.stat(writer.folder / "app.log").st_ino
    except FileNotFoundError:  # it is being rotated
        return 0
    done = lc.call("positions", "--json")
    if done.returncode != 0:
        return 0
    answer = json.loads(done.stdout)
    if any(source["key"].startswith(f"{inode}:") and source["name"].endswith("/app.log") for source in answer["sources"]):
        writer.seen = rotation
    deleted = 0
    for source in answer["sources"]:
        path = lc.folder / source["name"]
        if path not in writer.rotated or path in writer.late or len(source["cursors"]) < 2:
            continue
        size = path.stat().st_size  # of a file that nobody writes to any more
        if all(cursor["position"] >= size and cursor["state"] != "active" for cursor in source["cursors"]):
            path.unlink()
            writer.rotated.remove(path)
            deleted += 1
    return deleted


def lines_of(folder):
    lines = []
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
            assert data == b"" or data.endswith(b"\n"), path
            lines += data.splitlines()
    return lines


def check(lines, count, what):
    seen = collections.Counter(json.loads(line)["n"] for line in lines)
    lost = [n for n in range(count) if seen[n] == 0]
    twice = [n for n, times in seen.items() if times > 1]
    assert not lost and not twice, f"{what} (seed {SEED}): {len(lost)} lost {lost[:5]}, {len(twice)} twice {twice[:5]}"


def stall(lc, on):
    """The second sink's folder cannot be made while a file stands in its place."""
    folder, aside = lc.path("all"), lc.path("all-aside")
    if on and folder.is_dir():
        folder.rename(aside)
        folder.write_text("in the way")
    elif not on and folder.is_file():
        folder.unlink()
        if aside.is_dir():
            aside.rename(folder)


def test_kill(lc):
    rng = random.Random(SEED)
    lc.path("in").mkdir()
    lc.pipeline(PIPELINE)
    writer = Writer(lc.path("in"), random.Random(SEED + 1))
    writer.start()
    deleted = 0
    for _ in range(KILLS):
        stall(lc, rng.random() < 0.3)
        daemon = lc.start()
        time.sleep(rng.uniform(0.02, 1.2))  # the moment is the input here
        if rng.random() < 0.5:
            daemon.ready()  # a question to a directory that nobody owns yet would own it for a moment
            deleted += look(lc, writer)
        assert daemon.process.poll() is None, daemon.log_path.read_text()[-4000:]
        daemon.kill()
        if rng.random() < 0.3:
            time.sleep(rng.uniform(0, 0.2))  # the writer goes on, and rotates, while nobody reads
    writer.stopping.set()
    writer.join()
    for file in writer.late.values():
        file.close()
    stall(lc, False)
    done = lc.once(timeout=120)
    check(lines_of(lc.path("out")), writer.count, "out")
    check(lines_of(lc.path("all")), writer.count, "all")
    assert all(json.loads(line)["env"] == "prod" for line in lines_of(lc.path("out"))[:1000])
    audit = lc.json("audit")
    assert audit["healthy"], (audit, done.stderr[-3000:])
    print(f"\n{writer.count} lines, {writer.rotations} rotations ({writer.left} out of the glob), {writer.late_lines} late lines, "
          f"{deleted} inputs deleted, {KILLS} kills, seed {SEED}")
