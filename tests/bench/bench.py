"""Measures logcap beside cat and rsyslog. scripts/bench builds what it needs and calls it."""
import argparse
import sys
import time

import common
import scale
from limits import limits
from throughput import Throughput

TOGETHER = ("raw", "json", "lua")  # interleaved, over one input
ALONE = {"idle": scale.idle, "many": scale.many, "latency": scale.latency, "dedup": scale.dedup,
         "limits": limits}


def parse(arguments):
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join([*TOGETHER, *ALONE])}; default: all")
    parser.add_argument("--folder", default="/dev/shm", help="where the files lie (default %(default)s)")
    parser.add_argument("--rounds", type=int, default=7, help="runs of each throughput figure (default %(default)s)")
    parser.add_argument("--lines", type=int, default=1_000_000, help="lines of input (default %(default)s)")
    parser.add_argument("--seconds", type=int, default=60, help="how long to be idle (default %(default)s)")
    parser.add_argument("--build", default="build", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    unknown = [name for name in options.names if name not in TOGETHER and name not in ALONE]
    if unknown:
        parser.error(f"no scenario {unknown[0]}: choose from {', '.join([*TOGETHER, *ALONE])}")
    options.names = options.names or [*TOGETHER, *ALONE]
    return options


def scenarios(bench, names):
    """Functions that each return a table."""
    together = [name for name in names if name in TOGETHER]
    if together:
        yield "+".join(together), Throughput(bench, together).run
    for name in names:
        if name in ALONE:
            yield name, lambda name=name: ALONE[name](bench)


def main():
    options = parse(sys.argv[1:])
    bench = common.Bench(options)
    failed = False
    try:
        print(f"Measured on {time.strftime('%Y-%m-%d')}: {common.machine()}; files on "
              f"{common.filesystem(bench.folder)}.\n", flush=True)
        for name, run in scenarios(bench, options.names):
            try:
                print(run(), flush=True)
            except (common.Failed, OSError) as error:
                failed = True
                print(f"{name}: failed: {error}\n", flush=True)
    finally:
        bench.close()
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
