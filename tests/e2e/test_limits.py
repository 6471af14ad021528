"""Scripts cannot hurt: loops and memory without an end cost a record, then their stage, never the others."""
import json
import os
import subprocess
import threading

import pytest
from conftest import wait_until

LATE = 0.05  # how far beyond its limit a function may get, in seconds of CPU

BODIES = {
    "plain": "while true do end",
    "counting": "local n = 0 while true do n = n + 1 end",
    "pcall": "while true do pcall(function() while true do end end) end",
    "nested pcall": "pcall(function() pcall(function() while true do end end) while true do end end) while true do end",
    "xpcall": "while true do xpcall(function() while true do end end, function() while true do end end) end",
    "inside a coroutine": "coroutine.wrap(function() while true do end end)()",
    "resumed coroutine": "local co = coroutine.wrap(function() while true do coroutine.yield() end end)"
                         " while true do co() end",
    "sort": "local t = {} for i = 1, 3000 do t[i] = i * 7 % 3001 end"
            " while true do table.sort(t, function(a, b) return a * 31 % 97 < b * 31 % 97 end) end",
    "garbage": "while true do local t = {} for i = 1, 100 do t[i] = { tostring(i) } end end",
    "record": "while true do rec.x = rec.message end",
    "pattern": "local s = ('a'):rep(200000) s:find('.-b')",
    "substitution": "local s = ('(a'):rep(100000) s:gsub('%b()', '')",
    "message": "error(setmetatable({}, { __tostring = function() while true do end end }))",
}


def dead_letters(lc):
    lines = []
    for path in sorted((lc.state / "dlq").glob("*")):
        lines += [json.loads(line) for line in path.read_text().splitlines(keepends=True)
                  if line.endswith("\n")]
    return lines


def pipeline(body, options="", top=""):
    return f"""
      {top}
      logcap.pipeline {{ name = "t", from = logcap.file_monitor {{ paths = {{ "in.log" }}, start = "beginning" }},
        {options}
        stages = {{ function(rec)
          if rec.message == "bad" then {body} end
          rec.ok = true
        end }},
        to = logcap.file_sink {{ path = "out.ndjson" }} }}
    """


def seconds_in(reason):
    words = reason.split()
    for before, word, unit in zip(words, words[1:], words[2:]):
        if before in ("for", "taken") and unit.startswith("s,"):
            return float(word)
    raise AssertionError(reason)


@pytest.mark.parametrize("name", BODIES)
def test_endless_functions_cost_their_record(lc, name):
    """The limit counts processor time. A virtual machine counts what its host takes: so once in three is enough."""
    lc.pipeline(pipeline(BODIES[name], 'limits = { time = "300ms" },'))
    for attempt in range(1, 4):
        lc.append("in.log", "a\nbad\nb\n")
        lc.once()
        assert [json.loads(line)["message"] for line in lc.read("out.ndjson").splitlines()] == ["a", "b"] * attempt
        dead = dead_letters(lc)[-1]
        assert dead["message"] == "bad" and len(dead_letters(lc)) == attempt
        assert "pipeline.lua:7: this record has been in hand for" in dead["reason"]
        assert 0.3 <= seconds_in(dead["reason"])
        if seconds_in(dead["reason"]) <= 0.3 + LATE:
            return
    pytest.fail(dead["reason"])


def check_seconds(lc):
    """Runs `logcap check`; returns its standard error, and the processor time that it took."""
    with open(lc.path("check.err"), "w+b") as err:
        process = subprocess.Popen(lc.command("check", lc.file, state=False), cwd=lc.folder, stderr=err,
                                   stdin=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        assert process.returncode == 1
        err.seek(0)
        return err.read().decode(), usage.ru_utime + usage.ru_stime


@pytest.mark.parametrize("name", [name for name in BODIES if name not in ("record", "xpcall", "message")])
def test_endless_files_are_not_loaded(lc, name):
    """The limit counts time on the wall. Where others have the processor meanwhile it is noticed late, but what the file
    had of the processor is no more all the same."""
    lc.audit_at_end = False
    lc.pipeline("error 'at once'")
    least = min(check_seconds(lc)[1] for _ in range(3))
    lc.pipeline('logcap.limits { load = "300ms" }\n' + BODIES[name])
    text, used = check_seconds(lc)
    assert "pipeline.lua:3: it has been loading for" in text
    assert 0.3 <= seconds_in(text)
    assert seconds_in(text) <= 0.3 + LATE or used <= least + 0.3 + LATE, (text, used, least)


def test_memory_without_an_end(lc):
    lc.write("in.log", "a\nbad\nb\n")
    body = "local t = {} while true do t[#t + 1] = { #t } end"
    lc.pipeline(pipeline(body, top='logcap.limits { memory = "32MiB", time = "20s" }'))
    lc.once()
    assert [json.loads(line)["message"] for line in lc.read("out.ndjson").splitlines()] == ["a", "b"]
    (dead,) = dead_letters(lc)
    assert "pipeline.lua:7: the memory of the Lua functions is at its limit of 32 MiB" in dead["reason"]


def test_memory_that_is_kept_puts_its_stage_into_quarantine(lc):
    lc.write("in.log", "".join(f"{i}\n" for i in range(30000)))
    lc.pipeline("""
      logcap.limits { memory = "16MiB", time = "20s" }
      local kept = {}
      logcap.pipeline { name = "t", from = logcap.file_monitor { paths = { "in.log" }, start = "beginning" },
        stages = {
          logcap.stage { function(rec)
            local t = {}
            for i = 1, 200 do t[i] = rec.message .. i end
            rec.n = #t
          end, name = "innocent" },
          logcap.stage { function(rec) kept[#kept + 1] = rec.message:rep(1000) end, name = "leaks",
            quarantine = "pass" },
        },
        to = logcap.file_sink { path = "out.ndjson" } }
    """)
    done = lc.once()
    quarantined = [json.loads(line) for line in done.stderr.splitlines() if "quarantined" in line]
    assert [line["stage"] for line in quarantined] == ["leaks"]
    assert "mend the file and reload" in quarantined[0]["message"]
    lines = [json.loads(line) for line in lc.read("out.ndjson").splitlines()]
    dead = dead_letters(lc)
    assert len(lines) + len(dead) == 30000 and len(dead) <= 1
    assert all(line["n"] == 200 for line in lines)


@pytest.mark.parametrize("policy,out,dead,code", [("dlq", 1, 19, 0), ("pass", 15, 5, 0), ("drop", 1, 5, 0),
                                                  ("stop", None, 5, 1)])
def test_quarantine(lc, policy, out, dead, code):
    lc.write("in.log", "a\n" + "bad\n" * 19)
    lc.pipeline(pipeline("while true do end", f'limits = {{ time = "50ms" }}, quarantine = "{policy}",'))
    lc.once(code=code)
    if out is not None:
        assert len(lc.read("out.ndjson").splitlines()) == out
        assert len(dead_letters(lc)) == dead
        assert sum("is quarantined" in entry["reason"] for entry in dead_letters(lc)) == dead - 5


def test_other_pipelines_go_on(lc):
    """While one pipeline trips again and again, another one waits no longer than for one trip at a time: counted in CPU
    time of the loop thread, because the machine may be busy."""
    lc.write("quiet.log", "")
    lc.write("in.log", "")
    lc.pipeline(pipeline("while true do end", 'limits = { time = "500ms" },') + """
      logcap.pipeline { name = "quiet", from = logcap.file_monitor { paths = { "quiet.log" }, start = "beginning" },
        to = logcap.file_sink { path = "quiet.out", format = "raw" } }
    """)
    daemon = lc.start().ready()
    gaps, ended = [], threading.Event()

    def measure():
        n = 0
        while not ended.is_set():
            n += 1
            began = daemon.loop_seconds()
            lc.append("quiet.log", f"{n}\n")
            wait_until(lambda: lc.path("quiet.out").exists() and lc.read("quiet.out").endswith(f"{n}\n".encode()))
            gaps.append(daemon.loop_seconds() - began)

    thread = threading.Thread(target=measure)
    thread.start()
    wait_until(lambda: len(gaps) > 5)
    for i in range(3):
        lc.append("in.log", "bad\n")
        wait_until(lambda: len(dead_letters(lc)) == i + 1)
        passed = len(gaps)
        wait_until(lambda: len(gaps) > passed + 1)  # or two trips could follow each other
    ended.set()
    thread.join()
    gaps.sort()  # the host of a virtual machine may have taken something from one of them
    assert 0.3 < gaps[-1] and gaps[-2] < 0.5 + LATE, gaps[-3:]
    assert lc.status()["pipelines"]
    lc.finish(daemon)


def test_a_reload_mends_a_stage_in_quarantine(lc):
    """And the limits hold in the new generation."""
    lc.write("in.log", "bad\n" * 5)
    lc.pipeline(pipeline("while true do end", 'limits = { time = "50ms" },'))
    daemon = lc.start().ready()
    assert "reload" in daemon.wait_log("a stage is quarantined: its function is not called any more; mend the file and "
                                       "reload")["message"]
    lc.append("in.log", "a\n")
    wait_until(lambda: len(dead_letters(lc)) == 6)
    assert "the stage is quarantined: " in dead_letters(lc)[5]["reason"]
    lc.pipeline("\n" + pipeline("local n = 0 while true do n = n + 1 end", 'limits = { time = "60ms" },'))
    assert lc.call("reload").returncode == 0
    lc.append("in.log", "b\nbad\nc\n")
    lc.wait_delivered(2)
    assert [json.loads(line)["message"] for line in lc.read("out.ndjson").splitlines()] == ["b", "c"]
    assert "pipeline.lua:8: this record has been in hand for" in dead_letters(lc)[6]["reason"]
    lc.finish(daemon)


def test_limits_are_checked(lc):
    lc.audit_at_end = False
    for text, message in {
        "logcap.limits { memory = 1 }": 'limits: option "memory" must be at least "4MiB", or 0 for no limit',
        'logcap.limits { time = "1ms" }': 'limits: option "time" must be at least "50ms", or 0 for no limit',
        'logcap.limits { tine = 1 }': 'limits: unknown option "tine"; did you mean "time"?',
        'logcap.limits { time = 1 }\nlogcap.limits { time = 2 }':
            'limits: option "time" has another value at pipeline.lua:2; the files of one run share it',
        'logcap.stage { function() end, limits = { time = "1ms" } }':
            'stage: option "limits.time" must be at least "50ms", or 0 for no limit',
        'logcap.stage { function() end, limits = { time = 1, memory = 2 } }':
            'stage: unknown option "limits.memory"',
        'logcap.stage { function() end, quarantine = "dlg" }': 'did you mean "dlq"?',
    }.items():
        lc.pipeline(text)
        done = lc.call("check", "pipeline.lua", state=False)
        assert done.returncode == 1
        assert message in done.stderr, done.stderr
