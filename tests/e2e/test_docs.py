"""Every example in the documentation loads, and those in pipelines/ do what they say."""
import json
import pathlib
import re
import shutil
import subprocess

import pytest

TOP = pathlib.Path(__file__).resolve().parents[2]


def examples():
    """The Lua blocks of the documentation that are whole pipeline files."""
    for path in [TOP / "README.md", *sorted((TOP / "docs").glob("*.md"))]:
        blocks = re.findall(r"^```lua\n(.*?)^```", path.read_text(), re.M | re.S)
        for number, block in enumerate(blocks, 1):
            if "require \"logcap\"" in block and "logcap.pipeline" in block:
                yield pytest.param(block, id=f"{path.name}-{number}")


@pytest.mark.parametrize("block", examples())
def test_example_loads(lc, block):
    lc.write("pipeline.lua", block)
    done = lc.call("check", lc.file, state=False)
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in lc.folder.iterdir()) == ["pipeline.lua"]


@pytest.mark.parametrize("path", sorted((TOP / "pipelines").glob("*.lua")), ids=lambda path: path.name)
def test_pipeline_loads(lc, path):
    done = lc.call("check", path, state=False)
    assert done.returncode == 0, done.stderr


def test_quickstart_shows_and_writes(lc):
    text = (TOP / "pipelines" / "quickstart.lua").read_text()
    lc.write("pipeline.lua", text.replace("/var/log/", f"{lc.folder}/var-log/"))
    lc.write("var-log/dpkg.log", "2026-11-23 startup archives unpack\n")
    lc.write("logcap-data/generated/shop.log", '{"level":"info","order":7}\n{"level":"debug","order":8}\n')
    done = lc.once(env={"PATH": "/bin", "LOGCAP_DATA": str(lc.path("logcap-data"))})
    outputs = list(lc.path("logcap-data/out").iterdir())
    assert len(outputs) == 1
    written = [json.loads(line) for line in outputs[0].read_text().splitlines()]
    assert sorted(str(record.get("order")) for record in written) == ["7", "None"]
    assert all(record["collected_by"] == "logcap" for record in written)
    assert "archives unpack" in done.stdout and '"order":8' not in done.stdout


def run_example(lc, name, inputs):
    """Runs pipelines/NAME.lua over these inputs in a folder of its own; returns its outputs by name."""
    shutil.copy(TOP / "pipelines" / f"{name}.lua", lc.file)
    for path, content in inputs.items():
        lc.write(path, content)
    lc.once()
    files = (path for path in lc.path("out").rglob("*") if path.is_file())
    return {str(path.relative_to(lc.path("out"))): path.read_text() for path in files}


def records(text):
    return [json.loads(line) for line in text.splitlines()]


def test_filter_example(lc):
    outputs = run_example(lc, "filter", {"in/a.ndjson": (
        '{"level":"debug","id":1}\n{"level":"info","id":2,"user":{"name":"ann","password":"x"},"took_ms":1500}\n'
        '{"level":"warn","id":12345678901234567890,"email":"ann@example.org"}\nno json\n')})
    assert list(outputs) == ["filtered.ndjson"]
    assert records(outputs["filtered.ndjson"]) == [
        {"level": "info", "id": 2, "user": {"name": "ann"}, "took_ms": 1500, "slow": True, "team": "shop"},
        {"level": "warn", "id": 12345678901234567890, "email": "***@example.org", "team": "shop"}]
    (letter,) = records(next((lc.state / "dlq").iterdir()).read_text())
    assert letter["message"] == "no json" and letter["pipeline"] == "filter"


def test_traces_example(lc):
    outputs = run_example(lc, "traces", {"in/shop/app.log": (
        "2026-11-23 10:00:00,001 INFO org.shop.Cart: put\n"
        "2026-11-23 10:00:01,002 ERROR org.shop.Cart: cannot pay\njava.lang.IllegalStateException: closed\n"
        "\tat org.shop.Cart.pay(Cart.java:10)\n\tat org.shop.Main.main(Main.java:5)\n"
        "2026-11-23 10:00:02,003 INFO org.shop.Cart: put\n")})
    (error,) = records(outputs["errors.ndjson"])
    assert error["message"].count("\n") == 3 and error["message"].endswith("Main.java:5)")
    assert error["exception"] == "java.lang.IllegalStateException"
    assert (error["date"], error["level"], error["logger"]) == ("2026-11-23 10:00:01,002", "ERROR", "org.shop.Cart")
    assert error["@source"].endswith("/in/shop/app.log")


def test_dedup_example(lc):
    line = '{{"host":"{}","message":"{}","n":{}}}\n'
    outputs = run_example(lc, "dedup", {"in/a.ndjson": "".join(
        line.format(host, message, n) for n in range(3) for host in "ab" for message in ("up", "down"))})
    assert sorted((r["host"], r["message"], r["n"]) for r in records(outputs["once.ndjson"])) == [
        ("a", "down", 0), ("a", "up", 0), ("b", "down", 0), ("b", "up", 0)]


def test_services_example(lc):
    text = (TOP / "pipelines" / "services.lua").read_text().replace('"1GiB"', '"1KiB"')  # whatever disk the tests have
    lc.write("services.lua", text.replace('size = "100MiB"', 'size = "1KiB"'))
    lc.file = lc.path("services.lua")
    lc.write("in/debug-a.ndjson", '{"service":"cart","id":"no"}\n')
    lc.write("in/a.ndjson", "".join(f'{{"service":"{s}","id":{i}}}\n' for i in range(100) for s in ("cart", "pay"))
             + '{"id":100}\n')
    lc.once()
    for service in ("cart", "pay"):
        finished = sorted(lc.path(f"out/{service}").glob("*.zst"))
        assert finished
        lines = b"".join(subprocess.run(["zstd", "-dcq", path], check=True, capture_output=True).stdout
                         for path in finished)
        for path in lc.path(f"out/{service}").glob("*.ndjson"):
            lines += path.read_bytes()
        assert sorted(record["id"] for record in records(lines.decode())) == list(range(100))
    (unknown,) = lc.path("out/unknown").iterdir()
    assert records(unknown.read_text()) == [{"id": 100}]
