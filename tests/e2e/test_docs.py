"""Every example in the documentation loads, and the quickstart does what the README says."""
import json
import pathlib
import re

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
