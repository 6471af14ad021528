"""`logcap test` runs the specs of pipeline files."""
import os
import pathlib
import shutil
import signal
import subprocess

import pytest
from conftest import wait_until

TOP = pathlib.Path(__file__).resolve().parents[2]

PIPELINE = """
logcap.pipeline {
  name = "shop",
  from = logcap.file_monitor { paths = { "in/*.log" } },
  stages = { logcap.json {}, function(rec) return rec.level ~= "debug" end },
  to = logcap.file_sink { path = "out/shop.ndjson" },
}
"""
SPEC = """
local testing = require "logcap.testing"
describe("shop", function()
  local p
  before_each(function() p = testing.load "%s" end)
  after_each(function() p:close() end)
  it("drops debug lines", function()
    p:feed("shop", { { level = "debug" }, { level = "info" } })
    local out = p:drain()
    assert.same({ { level = "info" } }, out.records.file_sink)
    assert.same({ filtered = 1 }, out.dropped)
  end)
  it("keeps text", function()
    p:feed("shop", "text")
    assert.same({ '{"message":"text"}' }, p:drain().lines.file_sink)
  end)
end)
"""


def shop(lc, spec="spec/shop_spec.lua", path="../pipeline.lua"):
    lc.pipeline(PIPELINE)
    lc.write(spec, SPEC % path)
    return lc


def run(lc, *arguments, **options):
    return lc.call("test", *arguments, state=False, **options)


def files(lc):
    return sorted(str(p.relative_to(lc.folder)) for p in lc.folder.rglob("*") if p.is_file())


def test_passes_and_writes_nothing(lc, tmp_path_factory):
    shop(lc)
    scratch = tmp_path_factory.mktemp("scratch")
    done = run(lc, env={**os.environ, "TMPDIR": str(scratch), "HOME": str(scratch)})
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 successes / 0 failures / 0 errors" in done.stdout
    assert done.stderr == ""
    assert files(lc) == ["pipeline.lua", "spec/shop_spec.lua"]
    assert list(scratch.iterdir()) == []


def test_fails_when_the_pipeline_is_broken(lc):
    shop(lc)
    lc.pipeline(PIPELINE.replace("~=", "=="))
    done = run(lc)
    assert done.returncode == 1
    assert "1 success / 1 failure" in done.stdout or "0 successes / 2 failures" in done.stdout, done.stdout


@pytest.mark.parametrize("spec", ["pipeline_spec.lua", "spec/pipeline_spec.lua"])
def test_finds_the_spec_of_a_pipeline(lc, spec):
    shop(lc, spec, "pipeline.lua" if "/" not in spec else "../pipeline.lua")
    for argument in "pipeline.lua", str(lc.file), "./pipeline.lua":
        done = run(lc, argument)
        assert done.returncode == 0, done.stderr
        assert "2 successes" in done.stdout
    done = run(lc, "pipeline.lua", spec)  # as a glob would name both
    assert "2 successes" in done.stdout


def test_arguments_reach_busted(lc):
    shop(lc)
    assert "1 success /" in run(lc, "--filter", "keeps").stdout
    assert run(lc, "spec", "--", "--output=TAP", "--filter=keeps").stdout.splitlines() == [
        "ok 1 - shop keeps text", "1..1"]
    bad = run(lc, "--", "--no-such-option")
    assert bad.returncode == 1 and "no-such-option" in bad.stderr


def test_a_wrong_pipeline_says_where(lc):
    shop(lc)
    lc.pipeline(PIPELINE.replace("file_sink {", "file_sink { compres = 1,"))
    done = run(lc, "--", "--output=plainTerminal")
    assert done.returncode == 1
    assert 'pipeline.lua:7: file_sink: unknown option "compres"; did you mean "compress"?' in done.stdout


@pytest.mark.parametrize("arguments, why", [
    ([], "no spec is named, and there is no folder ./spec"),
    (["no.lua"], "cannot look at no.lua: No such file"),
    (["pipeline.lua"], "pipeline.lua has no spec: there is neither pipeline_spec.lua nor spec/pipeline_spec.lua"),
    (["text.txt"], "text.txt is neither a spec, a folder of specs, nor a pipeline file"),
])
def test_what_is_not_there(lc, arguments, why):
    lc.pipeline(PIPELINE)
    lc.write("text.txt", "")
    done = run(lc, *arguments)
    assert done.returncode == 1
    assert done.stderr.startswith("logcap: ") and why in done.stderr


def test_wrong_usage(lc):
    done = run(lc, "--fliter=x")
    assert done.returncode == 2 and 'did you mean "--filter"?' in done.stderr


def test_busted_is_missing(lc):
    shop(lc)
    done = run(lc, env={**os.environ, "LUA_PATH": "/nowhere/?.lua"})
    assert done.returncode == 1
    assert done.stderr == "logcap: busted, which runs specs, is not there: install the package lua-busted\n"


def test_what_was_not_closed_fails(lc):
    lc.pipeline(PIPELINE)
    lc.write("spec/shop_spec.lua", """
      local testing = require "logcap.testing"
      it("forgets", function() testing.load "../pipeline.lua" end)
    """)
    done = run(lc)
    assert done.returncode == 1
    assert "spec/shop_spec.lua:3: what was loaded here was not closed" in done.stderr


def test_allow_grants_names(lc):
    lc.pipeline('assert(io.open("/dev/null")):close()' + PIPELINE)
    lc.write("spec/shop_spec.lua", SPEC % "../pipeline.lua")
    refused = run(lc)
    assert refused.returncode == 1 and "--allow io" in refused.stdout
    assert run(lc, "--allow", "io").returncode == 0


def test_print_shows_with_the_log(lc):
    shop(lc)
    lc.pipeline('print "hello from the file"' + PIPELINE)
    assert "hello from the file" not in run(lc).stderr
    assert "hello from the file" in run(lc, "--log-level", "info").stderr


BREAKS = [
    ("filter", "< minimum.info", "< minimum.debug"),
    ("filter", "or 3)", "or 0)"),
    ("filter", 'on_error = "dlq"', 'on_error = "pass"'),
    ("filter", 'rec:remove("user", "password")', ""),
    ("filter", 'gsub("^[^@]+"', 'gsub("^[^@]"'),
    ("filter", "> 1000", ">= 1000"),
    ("filter", "or nil ", "or false "),
    ("dedup", '"host", "message"', '"message"'),
    ("dedup", '"host", "message"', '"host"'),
    ("dedup", 'ttl = "1m"', 'ttl = "61s"'),
    ("dedup", 'ttl = "1m"', 'ttl = "59s"'),
    ("services", "out/{service}/", "out/"),
    ("services", "%Y-%m-%d", "%Y-%m"),
    ("services", 'missing = "unknown"', 'missing = "none"'),
    ("services", "logcap.json {}", "logcap.json {}, function(rec) rec.z = rec.z end"),
    ("traces", 'timeout = "2s"', 'timeout = "3s"'),
    ("traces", 'timeout = "2s"', 'timeout = "1s"'),
    ("traces", "multiline = ", "labels = { a = 'b' } or "),
    ("traces", "return false", "return true"),
    ("traces", 'or rest:match("\\n([%w%.$]+Error)")', ""),
    ("traces", "rec.logger = date, level, logger", "rec.logger = date, level, date"),
    ("traces", "metadata = true", "metadata = false"),
    ("quickstart", "return false", "return true"),
    ("quickstart", 'rec.collected_by = "logcap"', ""),
    ("quickstart", "%Y-%m-%d", "%Y-%m"),
    ("quickstart", "logcap.json {},", ""),
]


@pytest.mark.parametrize("name, part, broken", BREAKS)
def test_specs_of_the_examples_can_fail(lc, name, part, broken):
    shutil.copytree(TOP / "pipelines", lc.path("pipelines"))
    text = lc.path(f"pipelines/{name}.lua").read_text()
    assert part in text
    lc.write(f"pipelines/{name}.lua", text.replace(part, broken))
    done = run(lc, f"pipelines/{name}.lua")
    assert done.returncode == 1 and "Failure ->" in done.stdout, done.stdout


def test_specs_of_the_examples_pass(lc):
    shutil.copytree(TOP / "pipelines", lc.path("pipelines"))
    done = run(lc, "pipelines")
    assert done.returncode == 0, done.stdout


def test_every_example_has_a_spec():
    examples = {path.stem for path in (TOP / "pipelines").glob("*.lua")}
    assert examples == {path.stem.replace("_spec", "") for path in (TOP / "pipelines" / "spec").glob("*.lua")}


def test_interrupt_ends_it(lc):
    lc.write("spec/slow_spec.lua", 'it("waits", function() io.open("ready", "w"):close() while true do end end)')
    process = subprocess.Popen(lc.command("test", state=False), cwd=lc.folder, stdout=subprocess.DEVNULL,
                               preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))  # a shell's & ignores it
    try:
        wait_until(lambda: lc.path("ready").exists())
        process.send_signal(signal.SIGINT)
        assert process.wait(60) != 0
    finally:
        process.kill()
        process.wait()
