"""Health goes red for each cause that can be provoked, and alerts are raised once and cleared once, to everybody."""
import http.server
import json
import os
import shutil
import signal
import threading

import pytest

from admin import Admin, port_of
from conftest import wait_until

MONITOR = 'logcap.resource_monitor {{ interval = "100ms", {} }}\n'
STALL = 'stall = "300ms"'


def pipeline(name="t", stages="", sink='logcap.file_sink { path = "out.log" }', source="in/*.log"):
    return f'''logcap.pipeline {{ name = "{name}",
      from = logcap.file_monitor {{ paths = {{ "{source}" }}, start = "beginning" }},
      stages = {{ {stages} }}, to = {sink} }}\n'''


def start(lc, *parts, monitor="", **options):
    lc.pipeline('logcap.admin { listen = "127.0.0.1:0" }\n' + MONITOR.format(monitor) + "".join(parts))
    daemon = lc.start(**options).ready()
    return daemon, Admin(port_of(daemon))


def wait_red(admin, words, cause):
    """Waits for this reason, and no other; /metrics and the alert say the same."""
    def red():
        reasons = admin.health()["reasons"]
        return len(reasons) == 1 and words in reasons[0]
    wait_until(red, what=f"red health for {cause}")
    active = {dict(labels)["alert"] for (name, labels), value in admin.series().items()
              if name == "logcap_alert_active" and value == 1}
    assert active == {cause}
    assert admin.value("logcap_healthy") == 0
    assert admin.value("logcap_alerts_raised_total", alert=cause) == 1


def wait_green(admin, cause):
    wait_until(lambda: admin.health()["status"] == "healthy", what="green health")
    assert admin.value("logcap_alert_active", alert=cause) == 0
    assert admin.value("logcap_healthy") == 1


def alerts(daemon, name):
    return [line["message"] for line in daemon.log() if line["component"] == "alert" and line.get("alert") == name]


def test_stalled_sink(lc):
    lc.write("blocked", "a file where a folder shall be")
    daemon, admin = start(lc, pipeline(sink='logcap.file_sink { path = "blocked/out.log", format = "raw" }'),
                          monitor=STALL)
    assert admin.health()["status"] == "healthy"
    lc.write("in/a.log", "x\n")
    wait_red(admin, "t -> file_sink:", "sink_stalled")
    assert "has taken nothing for" in admin.health()["reasons"][0]
    assert admin.value("logcap_sink_stalled_seconds") > 0.3
    assert admin.value("logcap_resource_errors_total", kind="file_sink") > 0
    lc.path("blocked").unlink()
    wait_green(admin, "sink_stalled")
    assert admin.value("logcap_sink_stalled_seconds") < 0.3
    assert alerts(daemon, "sink_stalled") == ["raised", "cleared"]
    lc.finish(daemon)
    assert lc.read("blocked/out.log") == b"x\n"


def test_quiet_sink_does_not_stall(lc):
    daemon, admin = start(lc, pipeline(), monitor=STALL)
    lc.write("in/a.log", "x\n")
    lc.wait_delivered(1)
    looks = admin.json("/resources")["resources"]
    before = next(res for res in looks if res["kind"] == "resource_monitor")["stats"]["looks"]
    wait_until(lambda: next(res for res in admin.json("/resources")["resources"]
                            if res["kind"] == "resource_monitor")["stats"]["looks"] > before + 5, what="half a second")
    assert admin.value("logcap_sink_stalled_seconds") == 0
    assert admin.health()["status"] == "healthy"
    lc.finish(daemon)


def test_stopped_pipeline(lc):
    stage = 'logcap.stage { function(rec) error("no") end, on_error = "stop" }'
    daemon, admin = start(lc, pipeline("fails", stage, source="bad/*.log"), pipeline("works", sink="logcap.null_sink {}"))
    lc.write("bad/a.log", "x\n")
    wait_red(admin, "fails: the pipeline stopped", "pipeline_stopped")
    assert admin.value("logcap_pipeline_failed", pipeline="fails") == 1
    assert admin.value("logcap_pipeline_failed", pipeline="works") == 0
    lc.write("in/a.log", "x\n")
    lc.wait_delivered(1, "works")
    assert daemon.stop() == 1


def test_dead_letters_cannot_be_written(lc):
    daemon, admin = start(lc, pipeline(stages='function(rec) error("no") end'))
    (lc.state / "dlq").write_text("a file where a folder shall be")
    lc.write("in/a.log", "x\n")
    wait_red(admin, "dead letters cannot be written", "dead_letters")
    assert admin.value("logcap_dead_letter_failures_total") > 0
    (lc.state / "dlq").unlink()
    wait_green(admin, "dead_letters")
    assert admin.value("logcap_dead_letters_written_total") == 1
    assert admin.value("logcap_dead_letter_files") == 1
    assert admin.value("logcap_dead_letter_stored_bytes") == sum(f.stat().st_size for f in (lc.state / "dlq").iterdir())
    assert admin.value("logcap_records_dead_lettered_total") == 1
    lc.finish(daemon)


def test_positions_cannot_be_saved(lc, small_disk):
    small_disk(lc.state, "1m")
    lc.audit_at_end = False
    daemon, admin = start(lc, pipeline())
    lc.write("in/a.log", "x\n")
    lc.wait_delivered(1)
    filler = os.open(lc.state / "filler", os.O_WRONLY | os.O_CREAT)
    with pytest.raises(OSError):
        while True:
            os.write(filler, b"x" * 4096)
    os.close(filler)
    for number in range(100):  # each is a new row, until the log of the database has to grow
        lc.write(f"in/new-{number}.log", "x\n")
    wait_red(admin, "positions cannot be saved", "commits")
    assert admin.value("logcap_commit_failures_total") > 0
    os.unlink(lc.state / "filler")
    wait_green(admin, "commits")
    assert alerts(daemon, "commits") == ["raised", "cleared"]
    lc.finish(daemon)


def test_abandoned_bytes(lc):
    """A file that is cut while its sink waits: what was never read of it is gone."""
    lc.write("blocked", "a file where a folder shall be")
    lc.write("in/a.log", "".join(f"line {i}\n" for i in range(1000000)))
    daemon, admin = start(lc, pipeline(sink='logcap.file_sink { path = "blocked/out.log", format = "raw" }'),
                          monitor=STALL)
    wait_red(admin, "the sink has taken nothing", "sink_stalled")
    lc.write("in/a.log", "after\n")
    lc.path("blocked").unlink()
    wait_red(admin, "bytes of sources vanished before they were read", "abandoned")
    assert admin.value("logcap_abandoned_bytes_total") > 1000000
    assert daemon.stop() == 0
    lc.audit(code=1)


def test_many_descriptors(lc):
    """Thirty idle clients are beyond the limit, none is not."""
    daemon, admin = start(lc, pipeline(), monitor="descriptors = 45")
    assert admin.health()["status"] == "healthy"
    clients = [admin.connection() for _ in range(30)]
    for client in clients:
        client.connect()
    wait_red(admin, "open descriptors at ", "descriptors")
    assert "most is held by admin" in admin.health()["reasons"][0]
    for client in clients:
        client.close()
    wait_green(admin, "descriptors")
    assert alerts(daemon, "descriptors") == ["raised", "cleared"]
    lc.finish(daemon)


def test_much_memory(lc):
    daemon, admin = start(lc, pipeline(), monitor='memory = "2MiB"')
    wait_red(admin, "resident memory at ", "memory")
    lc.finish(daemon)


def test_much_lua_memory(lc):
    """A function that keeps what it sees: the Lua heap grows beyond its limit, which resident memory is beyond already."""
    stage = 'function(rec) kept[#kept + 1] = (rec.message .. "x"):rep(200000) end'
    daemon, admin = start(lc, "kept = {}\n", pipeline(stages=stage), monitor='memory = "4MiB", growth = false')
    wait_red(admin, "resident memory at ", "memory")
    lc.write("in/a.log", "".join(f"line {i}\n" for i in range(5)))
    reasons = wait_until(lambda: admin.health()["reasons"][1:], what="the second reason")
    assert reasons[0].startswith("the Lua heap at "), reasons
    assert admin.value("logcap_lua_heap_bytes") > 4 << 20
    lc.finish(daemon)


class Hook(http.server.BaseHTTPRequestHandler):
    """Keeps what is posted; refuses the first one once."""

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.asked += 1
        if self.server.asked == 1:
            self.send_error(503)
            return
        self.server.got.append((self.path, self.headers["Content-Type"], json.loads(body)))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture
def hook():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hook)
    server.asked, server.got = 0, []
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def no_proxy():
    return {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}


def test_alert_is_told_once_to_everybody(lc, hook):
    """To the log, to Lua, to the webhook, which at first refuses it; a Lua function that fails hurts nobody."""
    port = hook.server_address[1]
    lua = '''
      local seen = 0
      logcap.on_alert(function() error("a mistake") end)
      logcap.on_alert(function(alert)
        seen = seen + 1
        print(("%d %s %s %s %s %s"):format(seen, alert.name, alert.state, alert.value, alert.limit, alert.message))
        assert(math.abs(alert.time - os.time()) < 60)
      end)
    '''
    daemon, admin = start(lc, lua, pipeline(),
                          monitor=f'descriptors = 45, webhook = "http://127.0.0.1:{port}/hook?key=secret"', env=no_proxy())
    clients = [admin.connection() for _ in range(30)]
    for client in clients:
        client.connect()
    wait_until(lambda: alerts(daemon, "descriptors") == ["raised"], what="the alert")
    for client in clients:
        client.close()
    wait_until(lambda: alerts(daemon, "descriptors") == ["raised", "cleared"], what="its end")
    wait_until(lambda: len(hook.got) == 2, what="both messages at the webhook")
    raised, cleared = (body for _, _, body in hook.got)
    assert {(path, kind) for path, kind, _ in hook.got} == {("/hook?key=secret", "application/json")}
    assert (raised["alert"], raised["state"], raised["limit"]) == ("descriptors", "raised", 45)
    assert raised["value"] >= 45 and raised["message"].startswith("open descriptors at ")
    assert (cleared["alert"], cleared["state"], cleared["message"]) == ("descriptors", "cleared", raised["message"])
    assert cleared["value"] < 45 and cleared["time"] > raised["time"]
    printed = [line["message"] for line in daemon.log() if line["component"] == "lua"]
    assert [line.split()[:3] for line in printed] == [["1", "descriptors", "raised"], ["2", "descriptors", "cleared"]]
    failures = [line["error"] for line in daemon.log() if line["message"] == "a function given to on_alert failed"]
    assert len(failures) == 2 and "pipeline.lua:6: a mistake" in failures[0]

    def counts():
        webhook = next(res for res in admin.json("/resources")["resources"] if res["kind"] == "webhook")
        return webhook["stats"]["sent"], webhook["stats"]["lost"], webhook["errors"]
    wait_until(lambda: counts() == (2, 0, 1), what="the answer to the last one")
    assert "secret" not in daemon.text() + admin.get("/resources").text + admin.get("/metrics").text
    lc.finish(daemon)


def test_growth_is_a_warning(lc):
    """A function that keeps what it sees, fed evenly; then it rests."""
    stage = "function(rec) kept[#kept + 1] = (rec.message .. #kept):rep(3000) end"
    daemon, admin = start(lc, "kept = {}\n", pipeline(stages=stage),
                          monitor='growth = { samples = 8, memory = "64KiB", descriptors = 1000 }')
    lines = 0

    def warned():
        nonlocal lines
        lines += 1
        lc.append("in/a.log", f"line {lines}\n")
        return [warning for warning in admin.health()["warnings"] if warning.startswith("the Lua heap grew within 0.7 s by")]
    wait_until(warned, what="the warning")
    assert admin.health()["status"] == "healthy"
    assert admin.value("logcap_alert_active", alert="lua_memory_growth") == 1
    wait_until(lambda: admin.value("logcap_alert_active", alert="lua_memory_growth") == 0, what="its end")
    assert alerts(daemon, "lua_memory_growth") == ["raised", "cleared"]
    lc.finish(daemon)


def test_reload_changes_limits_in_place(lc):
    daemon, admin = start(lc, pipeline(), monitor="descriptors = 1000")
    assert admin.health()["status"] == "healthy"
    text = lc.file.read_text()
    lc.file.write_text(text.replace("descriptors = 1000", "descriptors = 2"))
    assert admin.request("POST", "/reload").status == 200
    wait_red(admin, "open descriptors at ", "descriptors")
    lc.file.write_text(text)
    daemon.process.send_signal(signal.SIGHUP)
    wait_green(admin, "descriptors")
    monitors = [res for res in admin.json("/resources")["resources"] if res["kind"] == "resource_monitor"]
    assert len(monitors) == 1 and monitors[0]["made_at"] == f"{lc.file}:3"
    lc.finish(daemon)


def test_figures_are_logged(lc):
    """With nothing said about it there is a resource monitor; at the level debug it logs what is held."""
    lc.pipeline(MONITOR.format("") + pipeline())
    daemon = lc.start("--log-level", "debug").ready()
    line = daemon.wait_log("process")
    assert line["component"] == "resources" and line["threads"] >= 1 and line["descriptors"] > 5
    assert line["resident_bytes"] > 1 << 20 and line["lua_bytes"] > 1000
    wait_until(lambda: any(line["message"] == "holds" and line["kind"] == "control" and line["descriptors"] == 1
                           for line in daemon.log()), what="what the control socket holds")
    lc.finish(daemon)


def test_monitor_needs_no_name(lc):
    lc.pipeline(pipeline())
    daemon = lc.start().ready()
    assert [res["kind"] for res in lc.status()["resources"]].count("resource_monitor") == 1
    lc.finish(daemon)


@pytest.mark.parametrize("options, message", [
    ('{ interval = "1ms" }', 'option "interval" must be at least 0.1 seconds'),
    ("{ descriptors = 0 }", 'option "descriptors" must be at least 1, got 0'),
    ('{ memory = "much" }', 'option "memory" is wrong'),
    ("{ growth = 7 }", 'option "growth" must be true, false or a table, got a number'),
    ("{ growth = { sample = 30 } }", 'growth: unknown option "sample"; did you mean "samples"?'),
    ("{ growth = { samples = 2 } }", 'option "samples" must be from 5 to 360, got 2'),
    ('{ webhook = "ftp://example.org" }', "is no http or https URL"),
    ('{ webhook = "example.org" }', "is no http or https URL"),
    ("{ threshold = 1 }", 'unknown option "threshold"'),
    ("{} logcap.resource_monitor {}", "there is one already"),
])
def test_refused_at_load(lc, options, message):
    lc.pipeline("\nlogcap.resource_monitor " + options + pipeline())
    done = lc.call("check", lc.file, state=False)
    assert done.returncode == 1
    assert f"{lc.file}:3: " in done.stderr and message in done.stderr, done.stderr


@pytest.mark.parametrize("call, message", [
    ("logcap.on_alert()", "on_alert takes a function, got a no value"),
    ('logcap.on_alert("x")', "on_alert takes a function, got a string"),
    ("for i = 1, 17 do logcap.on_alert(function() end) end", "more than 16 functions"),
])
def test_on_alert_refused(lc, call, message):
    lc.pipeline("\n" + call + "\n" + pipeline())
    done = lc.call("check", lc.file, state=False)
    assert done.returncode == 1 and f"{lc.file}:3: " in done.stderr and message in done.stderr, done.stderr


def test_once_with_everything(lc):
    """A run that ends by itself closes the admin server and the resource monitor, too."""
    lc.write("in/a.log", "x\n")
    lc.pipeline('logcap.admin { listen = "unix:admin.sock" }\n'
                + MONITOR.format('webhook = "http://127.0.0.1:1/"') + pipeline())
    lc.once()
    assert not lc.path("admin.sock").exists()
    shutil.rmtree(lc.state)
