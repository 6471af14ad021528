"""What the benchmark's scenarios share: the machine, folders, measured runs."""
import json
import os
import pathlib
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent


def say(text):
    print(text, file=sys.stderr, flush=True)


def machine():
    """One line: processor, cores, memory, kernel."""
    cpu = "unknown processor"
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            cpu = line.split(":", 1)[1].strip()
            break
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{cpu}, {os.cpu_count()} cores, {memory:.0f} GiB of memory, Linux {platform.release()}"


def filesystem(folder):
    """The kind of file system that `folder` is on."""
    done = subprocess.run(["stat", "-f", "-c", "%T", str(folder)], capture_output=True, text=True, check=True)
    return done.stdout.strip()


class Failed(Exception):
    """A run did not do its work: its figures would mean nothing."""


class Bench:
    """One invocation: where the programs and the files are."""

    def __init__(self, options):
        self.build = pathlib.Path(options.build)
        self.logcap = self.build / "logcap"
        self.rounds = options.rounds
        self.lines = options.lines
        self.seconds = options.seconds
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="logcap-bench-", dir=options.folder))

    def close(self):
        shutil.rmtree(self.folder, ignore_errors=True)

    def tool(self, name):
        return str(self.build / "bench" / name)

    def fresh(self, name):
        """An empty folder of that name."""
        path = self.folder / name
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir(parents=True)
        return path

    def measure(self, command, until=None, env=None):
        """Runs `command` to its end, or until (path, bytes) is reached; returns cpu_s, wall_s, peak_kib."""
        result = self.folder / "result.json"
        log = self.folder / "log"
        arguments = [self.tool("measure"), str(result)]
        if until:
            arguments += ["--until", str(until[0]), str(until[1])]
        with open(log, "wb") as err:
            done = subprocess.run([*arguments, *map(str, command)], env={**os.environ, **(env or {})}, stdout=err,
                                  stderr=err, stdin=subprocess.DEVNULL, check=False)
        figures = json.loads(result.read_text()) if done.returncode == 0 else {"status": done.returncode}
        if figures["status"] != 0:
            raise Failed(f"{command[0]} ended with {figures['status']}:\n{log.read_text(errors='replace')[-3000:]}")
        return figures

    def run_command(self, pipeline, *options):
        return [self.logcap, "run", *options, "--state-dir", self.fresh("state"), HERE / pipeline]


def medians(runs):
    """The median of each figure over several runs."""
    return {key: statistics.median(run[key] for run in runs) for key in ("cpu_s", "wall_s", "peak_kib")}


def count_lines(path):
    """How many lines a file has."""
    lines = 0
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            lines += block.count(b"\n")
    return lines


def table(headings, rows):
    """A markdown table."""
    rows = [headings, ["---"] * len(headings), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in row) + " |" for row in rows) + "\n"


def verdict(value, limit):
    return "ok" if value <= limit else "**missed**"
