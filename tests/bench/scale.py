"""Many files, and lines on their way: what a running daemon costs and how late it is."""
import contextlib
import json
import os
import pathlib
import re
import signal
import statistics
import subprocess
import time

from common import Failed, count_lines, say, table, verdict

FILES = 10_000


@contextlib.contextmanager
def daemon(bench, pipeline, src, dst):
    """A running logcap; stopped cleanly at the end."""
    log = bench.folder / "log"
    env = {**os.environ, "BENCH_SRC": str(src), "BENCH_DST": str(dst)}
    command = [str(part) for part in bench.run_command(pipeline)]
    with open(log, "wb") as err:
        process = subprocess.Popen(command, env=env, stdout=err, stderr=err, stdin=subprocess.DEVNULL)
    try:
        yield process
        process.send_signal(signal.SIGTERM)
        if process.wait(40) != 0:
            raise Failed(f"logcap ended with {process.returncode}:\n{log.read_text(errors='replace')[-3000:]}")
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def cpu_seconds(process):
    """CPU time of all its threads, in the scheduler's nanoseconds."""
    total = 0
    for task in pathlib.Path(f"/proc/{process.pid}/task").iterdir():
        with contextlib.suppress(FileNotFoundError):
            total += int((task / "schedstat").read_text().split()[0])
    return total / 1e9


def memory_mb(process, field):
    for line in pathlib.Path(f"/proc/{process.pid}/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024 / 1e6
    raise Failed(f"no {field} in /proc: logcap is gone")


def descriptors(process):
    return len(os.listdir(f"/proc/{process.pid}/fd"))


def wait_for(condition, process, seconds, what, pause=0.05):
    deadline = time.monotonic() + seconds
    while not condition():
        if process.poll() is not None:
            raise Failed(f"logcap ended with {process.returncode} before {what}")
        if time.monotonic() > deadline:
            raise Failed(f"not within {seconds} s: {what}")
        time.sleep(pause)


def make_files(bench):
    src = bench.fresh("many")
    for number in range(FILES):
        (src / f"f{number:05}.log").write_text(f'{{"name":"n{number:05}","level":"info","message":"one line"}}\n')
    return src


def idle(bench):
    """10,000 files, all read, nothing happens for a minute."""
    src, dst = make_files(bench), bench.fresh("out") / "all.ndjson"
    with daemon(bench, "fixed.lua", src / "*.log", dst) as process:
        wait_for(lambda: dst.exists() and count_lines(dst) == FILES, process, 60, "all lines are written")
        time.sleep(5)  # the last commits
        most, before, began = 0, cpu_seconds(process), time.monotonic()
        while time.monotonic() - began < bench.seconds:
            most = max(most, descriptors(process))
            time.sleep(1)
        cpu = (cpu_seconds(process) - before) / (time.monotonic() - began) * 100
        memory = memory_mb(process, "VmRSS")
    say(f"idle: {cpu:.4f} % of a core, {memory:.1f} MB, {most} descriptors")
    return table(["10,000 files, all idle", "measured", "at most", ""], [
        ["CPU, of one core", f"{cpu:.3f} %", "0.1 %", verdict(cpu, 0.1)],
        ["resident memory", f"{memory:.1f} MB", "64 MB", verdict(memory, 64)],
        ["descriptors", most, "200", verdict(most, 200)]])


def outputs_done(folder, size):
    """Whether there are FILES outputs, each of `size` bytes."""
    names = os.listdir(folder) if folder.exists() else []
    if len(names) < FILES:
        return False
    return all(os.stat(folder / name).st_size == size for name in names)


def many_once(bench):
    src, dst = make_files(bench), bench.fresh("outs")
    size = (src / "f00000.log").stat().st_size
    most = [0]
    began = time.monotonic()
    with daemon(bench, "many.lua", src / "*.log", dst) as process:
        def done():
            most[0] = max(most[0], descriptors(process))
            return outputs_done(dst, size)
        wait_for(done, process, 120, "all outputs are written", pause=0.02)
        seconds = time.monotonic() - began
        peak = memory_mb(process, "VmHWM")
    say(f"many: {seconds:.2f} s, {most[0]} descriptors, {peak:.1f} MB")
    return seconds, most[0], peak


def many(bench):
    """10,000 files of one line, found and written to 10,000 outputs."""
    runs = sorted(many_once(bench) for _ in range(3))
    seconds, most = runs[1][0], max(run[1] for run in runs)
    return table(["10,000 files with one line each, to 10,000 outputs", "measured", "at most", ""], [
        ["from the start until all are written", f"{seconds:.2f} s", "5 s", verdict(seconds, 5)],
        ["descriptors, in and out together", most, "200", verdict(most, 200)],
        ["peak memory", f"{max(run[2] for run in runs):.1f} MB", "", ""]])


def latency(bench):
    """50,000 lines a second into one file that rotates every second."""
    src, dst = bench.fresh("live") / "app.log", bench.fresh("out") / "out.log"
    src.touch()
    with daemon(bench, "raw.lua", src, dst) as process:
        time.sleep(1)  # started and watching
        before, began = cpu_seconds(process), time.monotonic()
        done = subprocess.run([bench.tool("latency"), str(src), str(dst), "50000", "20", "1"], capture_output=True,
                              text=True, check=False)
        cpu = (cpu_seconds(process) - before) / (time.monotonic() - began) * 100
    if not done.stdout:
        raise Failed(done.stderr)
    figures = json.loads(done.stdout)
    say(f"latency: {done.stdout.strip()}")
    wrong = figures["lost"] + figures["twice"] + figures["foreign"]
    return table(["50,000 lines/s appended to one file that rotates every second", "measured", "at most", ""], [
        ["appended until in the output, median", f"{figures['p50_ms']:.2f} ms", "", ""],
        ["99th percentile", f"{figures['p99_ms']:.2f} ms", "20 ms", verdict(figures["p99_ms"], 20)],
        ["99.9th percentile", f"{figures['p999_ms']:.2f} ms", "", ""],
        ["worst", f"{figures['max_ms']:.2f} ms", "", ""],
        [f"lost, twice or garbled of {figures['lines']:,} lines", wrong, "0", verdict(wrong, 0)],
        ["CPU of logcap, of one core", f"{cpu:.1f} %", "", ""]])


DEDUP_LINE = re.compile(r"logcap\s+([\d.]+) M/s distinct.*?([\d.]+) M/s repeating\s+([\d.]+) MB filled\s+([\d.]+) MB at")


def dedup(bench):
    """The dedup cache alone, measured by its own program."""
    runs = []
    for _ in range(3):
        done = subprocess.run([bench.tool("bench_dedup")], capture_output=True, text=True, check=False)
        match = DEDUP_LINE.search(done.stdout)
        if done.returncode != 0 or not match:
            raise Failed(f"bench_dedup ended with {done.returncode}:\n{done.stdout}{done.stderr}")
        say(f"dedup: {match.group(0)}")
        runs.append([float(figure) for figure in match.groups()])
    distinct, repeating, filled, end = (statistics.median(column) for column in zip(*runs))
    return table(["dedup: 1,000,000 entries, 60-byte keys, one core", "measured", "wanted", ""], [
        ["distinct keys, an eviction each", f"{distinct:.1f} M/s", "4 M/s", verdict(4, distinct)],
        ["repeating keys", f"{repeating:.1f} M/s", "15 M/s", verdict(15, repeating)],
        ["memory when full", f"{filled:.1f} MB", "32 MB", verdict(filled, 32)],
        ["memory after ten times as many keys", f"{end:.1f} MB", "32 MB", verdict(end, 32)]])
