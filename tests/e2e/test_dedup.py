"""Dedup in a running pipeline: what is dropped, that it is counted, and that memory is what was reserved."""
import json

from conftest import wait_until


def pipeline(lc, dedup, before=""):
    lc.pipeline(f'''
logcap.pipeline {{
  name = "dedup",
  from = logcap.file_monitor {{ paths = {{ "in/*.log" }}, start = "beginning" }},
  stages = {{ {before} logcap.dedup {dedup} }},
  to = logcap.file_sink {{ path = "out.log", format = "raw" }},
}}
''')


def lines(lc):
    return lc.read("out.log").decode().splitlines()


def dedup_stats(lc):
    return next(r["stats"] for r in lc.status()["resources"] if r["kind"] == "dedup")


def test_whole_lines(lc):
    pipeline(lc, '{ ttl = "1h" }')
    lc.write("in/a.log", "".join(f"line {i % 10}\n" for i in range(1000)))
    lc.once()
    assert lines(lc) == [f"line {i}" for i in range(10)]
    entry = lc.audit()["ledger"][0]
    assert (entry["read"], entry["delivered"], entry["dropped_duplicate"]) == (1000, 10, 990)


def test_chosen_fields_per_source(lc):
    pipeline(lc, '{ ttl = "1h", fields = { "user", "code" }, per_source = true }', "logcap.json {},")
    for name in ("a", "b"):
        lc.write(f"in/{name}.log", "".join(
            json.dumps({"time": i, "user": f"u{i % 3}", "code": i % 2, "from": name}) + "\n" for i in range(600)))
    lc.once()
    seen = [json.loads(line) for line in lines(lc)]
    assert sorted((r["from"], r["user"], r["code"]) for r in seen) == sorted(
        (name, f"u{u}", c) for name in "ab" for u in range(3) for c in range(2))
    assert all(record["time"] < 6 for record in seen), "the first ones are kept"


def test_ttl_counts_from_the_first_sight(lc):
    """A line that comes all the time passes again and again, once for each time to live."""
    pipeline(lc, '{ ttl = "300ms" }')
    lc.write("in/a.log", "")
    daemon = lc.start().ready()

    def passed_again():
        lc.append("in/a.log", "tick\n")
        return lc.path("out.log").exists() and len(lines(lc)) >= 4
    wait_until(passed_again, what="the fourth tick")
    stats = dedup_stats(lc)
    assert stats["hits"] > 0 and stats["expired"] >= 3 and stats["entries"] <= 1
    lc.finish(daemon)


def test_memory_is_reserved_and_bounded(lc):
    pipeline(lc, '{ ttl = "1h", max_entries = 1000 }')
    lc.write("in/a.log", "".join(f"line {i}\n" for i in range(50000)))
    daemon = lc.start().ready()
    lc.wait_delivered(50000)
    stats = dedup_stats(lc)
    assert (stats["checks"], stats["hits"], stats["entries"], stats["evictions"]) == (50000, 0, 1000, 49000)
    assert stats["bytes"] < 40000
    lc.append("in/a.log", "line 49999\nline 0\n")  # remembered, forgotten
    lc.wait_delivered(50001)
    wait_until(lambda: dedup_stats(lc)["hits"] == 1, what="the hit")
    assert lines(lc)[-1] == "line 0"
    lc.finish(daemon)
