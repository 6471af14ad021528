"""One large file to one file: cat, rsyslog and logcap in turn, on the same input, several times."""
import filecmp
import subprocess

from common import Failed, count_lines, medians, say, table, verdict

RSYSLOG = """
global(workDirectory="{work}" maxMessageSize="64k")
module(load="imfile" mode="inotify")
template(name="raw" type="string" string="%msg%\\n")
ruleset(name="copy") {{ action(type="omfile" file="{dst}" template="raw") }}
input(type="imfile" file="{src}" tag="bench" ruleset="copy" reopenOnTruncate="off")
"""


class Throughput:
    """The scenarios raw, json and lua share one input and interleave their runs."""

    def __init__(self, bench, names):
        self.bench, self.names = bench, names
        self.src, self.out = bench.folder / "in.json", bench.folder / "out"
        self.dst = self.out / "out.json"
        self.expected = {}  # what each shape's output must be: checked after each run

    def prepare(self):
        say(f"making {self.bench.lines} lines")
        with open(self.src, "wb") as file:
            subprocess.run([self.bench.tool("make_lines"), str(self.bench.lines)], stdout=file, check=True)
        debug = 0
        with open(self.src, "rb") as file:
            for line in file:
                debug += b'"level":"debug"' in line
        self.expected = {"json": self.bench.lines - debug, "fixed": self.bench.lines, "scripted": self.bench.lines}

    def variants(self):
        """Names and functions of what to run in each round."""
        runs = {"cat": self.cat}
        if "raw" in self.names or "json" in self.names:
            runs["rsyslog"] = self.rsyslog
        if "raw" in self.names:
            runs["raw"] = lambda: self.run_logcap("raw")
        if "json" in self.names:
            runs["json"] = lambda: self.run_logcap("json")
        if "lua" in self.names:
            runs["fixed"] = lambda: self.run_logcap("fixed")
            runs["scripted"] = lambda: self.run_logcap("scripted")
        return runs

    def cat(self):
        return self.bench.measure(["sh", "-c", 'exec cat "$0" >"$1"', self.src, self.dst])

    def rsyslog(self):
        work = self.bench.fresh("rsyslog")
        config = work / "rsyslog.conf"
        config.write_text(RSYSLOG.format(work=work, src=self.src, dst=self.dst))
        figures = self.bench.measure(["rsyslogd", "-n", "-f", config, "-i", work / "pid"],
                                     until=(self.dst, self.src.stat().st_size))
        # Its queue may write lines in another order: all of them must be there.
        if self.dst.stat().st_size != self.src.stat().st_size or count_lines(self.dst) != self.bench.lines:
            raise Failed("rsyslog's output differs from the input")
        return figures

    def run_logcap(self, shape):
        command = self.bench.run_command(f"{shape}.lua", "--once")
        figures = self.bench.measure(command, env={"BENCH_SRC": str(self.src), "BENCH_DST": str(self.dst)})
        if shape == "raw":
            good = filecmp.cmp(self.src, self.dst, shallow=False)
        else:
            good = count_lines(self.dst) == self.expected[shape]
        if not good:
            raise Failed(f"logcap's output of {shape}.lua is not what it should be")
        if shape == "json":
            with open(self.dst, "rb") as file:
                if not all(b'"env":"prod"' in file.readline() for _ in range(1000)):
                    raise Failed("the field that Lua set is missing")
        return figures

    def run(self):
        self.prepare()
        self.bench.fresh("out")
        self.cat()  # unmeasured: the first use of so much memory costs more than all later ones
        runs = {name: [] for name in self.variants()}
        for number in range(self.bench.rounds):
            for name, function in self.variants().items():
                self.bench.fresh("out")
                figures = function()
                runs[name].append(figures)
                say(f"round {number + 1} {name}: {figures['cpu_s']:.3f} s CPU, {figures['wall_s']:.3f} s, "
                    f"{figures['peak_kib'] / 1024:.1f} MiB")
        self.src.unlink()
        return self.report({name: medians(each) for name, each in runs.items()})

    LABELS = {
        "cat": ("`cat SRC > DST`", None),
        "rsyslog": ("rsyslog, imfile to omfile", None),
        "raw": ("logcap raw, file to file", (1.8, 1.5)),
        "json": ("logcap json, drop debug, set a field in Lua, JSON out", (3.0, 2.5)),
        "fixed": ("logcap json, JSON out", None),
        "scripted": ("the same with a Lua function that reads one field", None),
    }

    def report(self, results):
        base = results["cat"]
        rows = []
        for name, figures in results.items():
            label, limits = self.LABELS[name]
            cpu, wall = figures["cpu_s"] / base["cpu_s"], figures["wall_s"] / base["wall_s"]
            peak = figures["peak_kib"] / 1024
            limit = f"{limits[0]} x / {limits[1]} x / 40 MB" if limits else "40 MB" if name in self.expected else ""
            marks = [] if name in ("cat", "rsyslog") else [peak * 2**20 <= 40e6]
            if limits:
                marks += [cpu <= limits[0], wall <= limits[1]]
            rows.append([label, f"{figures['cpu_s']:.3f}", f"{cpu:.2f} x", f"{figures['wall_s']:.3f}", f"{wall:.2f} x",
                         f"{peak * 1.048576:.1f}", limit, ("ok" if all(marks) else "**missed**") if marks else ""])
        text = f"{self.bench.lines:,} JSON lines of about 220 bytes; medians of {self.bench.rounds} runs, taken in turn.\n\n"
        text += table(["work", "CPU s", "of cat", "wall s", "of cat", "peak MB", "at most (CPU / wall / peak)", ""], rows)
        if "scripted" in results:
            extra = (results["scripted"]["cpu_s"] - results["fixed"]["cpu_s"]) / self.bench.lines * 1e6
            text += "\n" + table(["work", "measured", "at most", ""], [
                ["a Lua function that reads one field, per record", f"{extra:.3f} µs", "0.15 µs", verdict(extra, 0.15)]])
        return text
