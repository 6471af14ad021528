"""What the budgets of Lua functions cost: json.lua with and without them, in interleaved pairs."""
import statistics
import subprocess

from common import Failed, count_lines, say, table, verdict

PAIRS = 20
MOST = 1.03  # times the CPU without budgets


def limits(bench):
    src, out = bench.folder / "in.json", bench.folder / "out"
    with open(src, "wb") as file:
        subprocess.run([bench.tool("make_lines"), str(bench.lines)], stdout=file, check=True)

    def run(pipeline):
        bench.fresh("out")
        figures = bench.measure(bench.run_command(pipeline, "--once"),
                                env={"BENCH_SRC": str(src), "BENCH_DST": str(out / "out.json")})
        return figures["cpu_s"], count_lines(out / "out.json")

    run("json.lua")  # unmeasured: the first use of so much memory costs more than all later ones
    pairs = []
    for number in range(PAIRS):
        names = ["json.lua", "unlimited.lua"]
        first, second = names if number % 2 == 0 else names[::-1]
        results = {first: run(first), second: run(second)}
        if results["json.lua"][1] != results["unlimited.lua"][1]:
            raise Failed("the two pipelines delivered different numbers of lines")
        pairs.append((results["json.lua"][0], results["unlimited.lua"][0]))
        say(f"pair {number + 1}: {pairs[-1][0]:.3f} s with, {pairs[-1][1]:.3f} s without")
    src.unlink()
    ratio = statistics.median(bounded / free for bounded, free in pairs)
    rows = [["CPU with budgets, of CPU without, median of the pairs", f"{ratio:.3f} x", f"{MOST} x", verdict(ratio, MOST)],
            ["median CPU with", f"{statistics.median(pair[0] for pair in pairs):.3f} s", "", ""],
            ["median CPU without", f"{statistics.median(pair[1] for pair in pairs):.3f} s", "", ""]]
    return table([f"time and memory budgets, json.lua, {PAIRS} interleaved pairs", "measured", "at most", ""], rows)
