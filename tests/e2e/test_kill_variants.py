"""kill -9 with other pipelines than test_kill's: one sink that read jobs write to on the spot, fsync, rotation by age,
zstd, dedup, a null sink beside, many sources, one of which cannot be read again.

Short here; LOGCAP_KILLS=25 is a longer form.
"""
import collections
import json
import os
import random
import subprocess
import threading
import time

import pytest

from conftest import wait_until
from test_kill import SERVICES

KILLS = int(os.environ.get("LOGCAP_KILLS", "3"))
SEED = int(os.environ.get("LOGCAP_SEED", str(random.randrange(10**6))))

HEAD = 'local app = logcap.file_monitor { paths = { "in/*.log*" }, start = "beginning" }\n'
VARIANTS = {
    "lent": 'to = logcap.file_sink { path = "out/all.log", format = "raw", rotate = { size = "300KiB" } }',
    "lent_json": 'stages = { logcap.json { on_error = "dlq" } }, to = logcap.file_sink { path = "out/{service}.log" }',
    "lent_age": 'to = logcap.file_sink { path = "out/all.log", format = "raw", rotate = { age = "1s" }, compress = "zstd" }',
    "fsync": 'stages = { logcap.json {} }, to = logcap.file_sink { path = "out/{service}.log", fsync = true, '
             'rotate = { size = "100KiB" }, compress = "zstd" }',
    "null": 'to = { logcap.null_sink {}, logcap.file_sink { path = "out/all.log", rotate = { size = "200KiB" }, '
            'compress = "gzip" } }',
    "dedup": 'stages = { logcap.json {}, logcap.dedup { ttl = "10s", max_entries = 1000 } }, '
             'to = logcap.file_sink { path = "out/%Y/{service}.log", max_open_files = 2 }',
}


class Writer(threading.Thread):
    """Appends numbered lines to several files, now and then one that is no JSON, and rotates by rename."""

    def __init__(self, folder, rng, files, broken):
        super().__init__(daemon=True)
        self.folder, self.rng, self.broken = folder, rng, broken
        self.names = [f"app{i}" for i in range(files)]
        self.files = [open(folder / f"{name}.log", "ab", buffering=0) for name in self.names]
        self.count, self.rotations, self.bad, self.stopping = 0, 0, 0, threading.Event()

    def run(self):
        while not self.stopping.is_set():
            lines = []
            for _ in range(self.rng.randrange(1, 400)):
                pad = "x" * self.rng.randrange(0, 120)
                lines.append(json.dumps({"service": self.rng.choice(SERVICES), "n": self.count, "pad": pad}))
                self.count += 1
            if self.broken and self.rng.random() < 0.3:
                lines.append("no json")
                self.bad += 1
            at = self.rng.randrange(len(self.files))
            block = ("\n".join(lines) + "\n").encode()
            cut = self.rng.randrange(len(block))
            self.files[at].write(block[:cut])
            self.files[at].write(block[cut:])
            if self.rng.random() < 0.02:
                path = self.folder / f"{self.names[at]}.log"
                path.rename(f"{path}.{self.rotations}")
                self.rotations += 1
                old, self.files[at] = self.files[at], open(path, "ab", buffering=0)
                old.close()
            self.stopping.wait(0.003)


def numbers(folder):
    """How often each numbered line is there."""
    seen = collections.Counter()
    for path in sorted(folder.rglob("*")):
        if not path.is_file():
            continue
        unpack = {".gz": ["gzip", "-dc"], ".zst": ["zstd", "-dc"]}.get(path.suffix)
        data = subprocess.run([*unpack, path], check=True, capture_output=True).stdout if unpack else path.read_bytes()
        assert data == b"" or data.endswith(b"\n"), path
        for line in data.splitlines():
            record = json.loads(line)
            seen[record["n"] if "n" in record else json.loads(record["message"])["n"]] += 1
    return seen


def check(seen, count, exact=True):
    lost = [n for n in range(count) if seen[n] == 0]
    twice = [n for n, times in seen.items() if times > 1]
    assert not lost, f"seed {SEED}: {len(lost)} lost {lost[:5]}"
    assert not twice or not exact, f"seed {SEED}: {len(twice)} twice {twice[:5]}"


def live(lc, writer, rng, **options):
    """Some short lives, each ended by kill -9."""
    for _ in range(KILLS):
        daemon = lc.start(**options)
        time.sleep(rng.uniform(0.02, 1.3))  # the moment is the input here
        assert daemon.process.poll() is None, daemon.text()[-4000:]
        daemon.kill()
        if rng.random() < 0.3:
            time.sleep(rng.uniform(0, 0.2))
    writer.stopping.set()
    writer.join()


@pytest.mark.parametrize("variant", VARIANTS)
def test_kill(lc, variant):
    rng = random.Random(f"{SEED} {variant}")
    lc.path("in").mkdir()
    lc.pipeline(HEAD + 'logcap.pipeline { name = "kill", from = app, ' + VARIANTS[variant] + " }")
    writer = Writer(lc.path("in"), rng, files=3, broken=variant == "lent_json")
    writer.start()
    live(lc, writer, rng)
    done = lc.once(timeout=120)
    check(numbers(lc.path("out")), writer.count)
    audit = lc.json("audit")
    assert audit["healthy"], (audit, done.stderr[-3000:])


def test_kill_beside_a_source_that_cannot_be_read_again(lc):
    rng = random.Random(SEED)
    lc.path("in").mkdir()
    lc.pipeline(HEAD + """
      local feed = logcap.stdin_monitor {}
      logcap.pipeline { name = "kill", from = { app, feed },
        to = logcap.file_sink { path = "out/all.log", format = "raw" } }""")
    writer = Writer(lc.path("in"), rng, files=2, broken=False)
    writer.start()
    talker = subprocess.Popen(["sh", "-c", "i=0; while :; do i=$((i+1)); echo '{\"n\":-1}'; sleep 0.001; done"],
                              stdout=subprocess.PIPE)
    try:
        live(lc, writer, rng, stdin=talker.stdout)
        done = lc.once(timeout=120)
    finally:
        talker.kill()
        talker.wait()
    seen = numbers(lc.path("out"))
    assert seen.pop(-1) > 0
    check(seen, writer.count, exact=False)  # a tail that standard input may have a part in is not cut
