"""The admin server: every endpoint, who may ask, clients that misbehave, and what a reload makes of it."""
import json
import os
import socket
import stat
import subprocess
import time

import pytest

from admin import Admin, port_of
from conftest import wait_until

PIPELINE = '''
  logcap.pipeline { name = "shop",
    from = logcap.file_monitor { paths = { "in/*.log" }, start = "beginning" },
    stages = { logcap.json {}, logcap.json {}, function(rec) if rec.drop then return false end end },
    to = { logcap.file_sink { path = "out.ndjson" }, logcap.null_sink { name = 'say "hi"\\\\' } } }
'''


def start(lc, admin='logcap.admin { listen = "127.0.0.1:0" }', pipeline=PIPELINE, token=None):
    lc.pipeline(admin + pipeline)
    daemon = lc.start().ready()
    return daemon, Admin(port_of(daemon), token)


def write_lines(lc):
    lc.write("in/a.log", '{"a":1}\n{"a":2,"drop":true}\n{"a":3}\n')
    lc.wait_delivered(2)


def test_endpoints(lc):
    daemon, admin = start(lc)
    write_lines(lc)
    response = admin.get("/metrics")
    assert response.getheader("Content-Type") == "text/plain; version=0.0.4; charset=utf-8"
    assert admin.health() == {"status": "healthy", "reasons": [], "warnings": []}
    assert admin.json("/ready") == {"ready": True}
    status = admin.json("/status")
    assert status["pid"] == daemon.process.pid and status["pipelines"][0]["sinks"][0]["delivered"] == 2
    kinds = {res["kind"] for res in admin.json("/resources")["resources"]}
    assert {"admin", "resource_monitor", "file_monitor", "file_sink", "json", "lua", "control"} <= kinds
    head = admin.request("HEAD", "/health")
    assert head.status == 200 and head.text == ""
    assert json.loads(admin.get("/nothing", 404).text)["error"].startswith("there are /metrics")
    for path, method, allow in (("/health", "POST", "GET, HEAD"), ("/metrics", "DELETE", "GET, HEAD"),
                                ("/reload", "GET", "POST")):
        refused = admin.request(method, path)
        assert (refused.status, refused.getheader("Allow")) == (405, allow)
    lc.finish(daemon)


def test_metrics(lc):
    daemon, admin = start(lc)
    write_lines(lc)
    text = admin.get("/metrics").text
    checked = subprocess.run(["promtool", "check", "metrics"], input=text, text=True, capture_output=True, check=False)
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")
    sink = f"file_sink:{lc.folder}/out.ndjson"
    assert admin.value("logcap_records_read_total", pipeline="shop", sink=sink) == 3
    assert admin.value("logcap_records_delivered_total", pipeline="shop", sink=sink) == 2
    assert admin.value("logcap_records_dropped_total", sink=sink, reason="filtered") == 1
    assert admin.value("logcap_read_bytes_total", sink=sink) == os.path.getsize(lc.path("in/a.log"))
    assert admin.value("logcap_ledger_balanced", sink=sink) == 1
    assert admin.value("logcap_resource_records_in_total", kind="json", name="json") == 6  # two stages of one name
    assert admin.value("logcap_resource_records_out_total", kind="null_sink", name='say \\"hi\\"\\\\') == 2
    wait_until(lambda: admin.value("logcap_process_open_descriptors") == len(daemon.descriptors()) + 1,
               what="the same number of descriptors, with this connection")
    assert admin.value("logcap_process_threads") == len(os.listdir(f"/proc/{daemon.process.pid}/task"))
    statm = int(open(f"/proc/{daemon.process.pid}/statm", encoding="ascii").read().split()[1]) * os.sysconf("SC_PAGESIZE")
    assert 0.8 < admin.value("logcap_process_resident_memory_bytes") / statm < 1.25
    assert admin.value("logcap_process_max_descriptors") >= 1024
    assert 10e3 < admin.value("logcap_lua_heap_bytes") < 10e6
    assert abs(admin.value("logcap_process_start_time_seconds") - time.time()) < 60
    assert admin.value("logcap_process_cpu_seconds_total") > 0
    assert admin.value("logcap_commits_total") >= 1
    assert admin.value("logcap_batch_memory_limit_bytes", pipeline="shop") == 16 << 20
    assert admin.value("logcap_healthy") == 1
    assert admin.value("logcap_metrics_series_dropped") == 0
    lc.finish(daemon)


def test_series_are_bounded(lc):
    pipelines = "\n".join(f'''logcap.pipeline {{ name = "p{i}", from = logcap.file_monitor {{ paths = {{ "in/{i}.log" }} }},
        to = logcap.file_sink {{ path = "out/{i}.log" }} }}''' for i in range(150))
    daemon, admin = start(lc, pipeline=pipelines)
    series = admin.series()
    left_out = admin.value("logcap_metrics_series_dropped")
    assert len(series) == 2001 and left_out > 500
    assert admin.value("logcap_process_threads") > 0  # the most important are there
    lc.finish(daemon)


def test_token(lc):
    lc.write("admin.token", "correct-horse\nsecond line\n")
    daemon, admin = start(lc, 'logcap.admin { listen = "0.0.0.0:0", token_file = "admin.token" }')
    admin.at = ("127.0.0.1", admin.at[1])
    for path in ("/metrics", "/health", "/ready", "/status", "/resources", "/nothing"):
        refused = admin.request("GET", path)
        assert (refused.status, refused.getheader("WWW-Authenticate")) == (401, "Bearer")
    assert admin.request("POST", "/reload", headers={"Authorization": "Bearer correct-hors"}).status == 401
    admin.token = "correct-horse"
    assert admin.health()["status"] == "healthy"
    assert "correct-horse" not in admin.get("/status").text + daemon.text()
    lc.finish(daemon)


def test_unix_socket(lc):
    lc.pipeline('logcap.admin { listen = "unix:admin.sock" }' + PIPELINE)
    path = lc.path("admin.sock")
    for _ in range(2):  # the second start finds what a kill left
        daemon = lc.start().ready()
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert Admin(path).json("/ready") == {"ready": True}
        daemon.kill()
        assert path.exists()
    daemon = lc.start().ready()
    lc.finish(daemon)
    assert not path.exists()


@pytest.mark.parametrize("options, message", [
    ('{ listen = "0.0.0.0:9600" }', 'other machines reach "0.0.0.0:9600", so it needs a token'),
    ('{ listen = "[::]:9600" }', "so it needs a token"),
    ('{ listen = "localhost:9600" }', 'names are not looked up; write "127.0.0.1:9600"'),
    ('{ listen = ":9600" }', "no address with a port"),
    ('{ listen = 9600 }', 'option "listen" must be a string'),
    ('{}', 'option "listen" is missing; write listen = "127.0.0.1:9600"'),
    ('{ listen = "127.0.0.1:9600", tokenfile = "x" }', 'did you mean "token_file"?'),
    ('{ listen = "127.0.0.1:9600", token = "short" }', "a token has from 8 to 1024 characters, this one has 5"),
    ('{ listen = "127.0.0.1:9600", token = "with blanks" }', "no blanks"),
    ('{ listen = "127.0.0.1:9600", token = "long-enough", token_file = "x" }', "one of them is enough"),
    ('{ listen = "127.0.0.1:9600", token_file = "missing" }', "cannot read the token from"),
    ('{ listen = "unix:/' + 110 * "x" + '" }', "at most 107 bytes"),
    ('{ listen = "127.0.0.1:9600" } logcap.admin { listen = "127.0.0.1:9601" }', "there is one already, made at"),
    ('{ listen = "127.0.0.1:9600" }:close()', "this admin is closed"),
])
def test_refused_at_load(lc, options, message):
    lc.pipeline("\nlogcap.admin " + options + PIPELINE)
    done = lc.call("check", lc.file, state=False)
    assert done.returncode == 1
    assert f"{lc.file}:3: " in done.stderr and message in done.stderr, done.stderr


def test_file_of_its_own(lc):
    lc.pipeline(PIPELINE)
    lc.write("admin.lua", 'require("logcap").admin { listen = "127.0.0.1:0" }')
    assert lc.call("check", lc.path("admin.lua"), lc.file, state=False).returncode == 0
    alone = lc.call("check", lc.path("admin.lua"), state=False)
    assert alone.returncode == 1 and "no pipeline is made, here or in another file" in alone.stderr


def test_port_in_use(lc):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        lc.pipeline(f'logcap.admin {{ listen = "127.0.0.1:{taken.getsockname()[1]}" }}' + PIPELINE)
        done = lc.call("run", lc.file)
    assert done.returncode == 1
    assert f"admin made at {lc.file}:2: cannot listen at 127.0.0.1:" in done.stderr
    assert "Address already in use" in done.stderr


def test_large_requests(lc):
    daemon, admin = start(lc)
    assert admin.request("GET", "/health", headers={"X-Large": 100000 * "x"}).status == 431
    assert admin.request("POST", "/reload", body=100000 * b"x").status == 413
    assert admin.health()["status"] == "healthy"
    lc.finish(daemon)


def test_slow_clients_hurt_nobody(lc):
    """A hundred clients that never end their request: others are answered, lines flow, nothing of them stays."""
    daemon, admin = start(lc)
    write_lines(lc)
    before = len(daemon.descriptors())
    slow = []
    for _ in range(100):
        client = socket.create_connection(admin.at)
        client.sendall(b"GET /health HTTP/1.1\r\nX-Slow: ")
        slow.append(client)
    lc.append("in/a.log", '{"a":4}\n')
    lc.wait_delivered(3)
    for _ in range(20):
        assert admin.health()["status"] == "healthy"
    assert len(daemon.descriptors()) <= before + 70
    for client in slow:
        client.close()
    wait_until(lambda: len(daemon.descriptors()) <= before + 1, what="the end of all connections")
    lc.finish(daemon)


def test_dripping_client_is_cut_off(lc):
    """A byte now and then buys no time beyond the ten seconds."""
    daemon, admin = start(lc)
    with socket.create_connection(admin.at) as client:
        began = time.monotonic()
        client.sendall(b"GET /health HTTP/1.1\r\nX-Slow: ")
        client.settimeout(0.2)
        while time.monotonic() - began < 60:
            try:
                client.sendall(b"x")
                if client.recv(100) == b"":
                    break
            except TimeoutError:
                pass
            except OSError:
                break
        assert 9 < time.monotonic() - began < 45  # and the machine may be busy
    lc.finish(daemon)


def test_many_requests_leave_nothing(lc):
    daemon, admin = start(lc)
    admin.get("/metrics")
    before = len(daemon.descriptors())
    for _ in range(300):
        admin.get("/metrics")
    wait_until(lambda: len(daemon.descriptors()) <= before, what="the end of all connections")
    assert admin.value("logcap_resource_descriptors", kind="admin") == 4
    lc.finish(daemon)


def test_not_ready_while_it_stops(lc):
    lc.write("blocked", "a file where a folder shall be")
    daemon, admin = start(lc, pipeline='''
      logcap.pipeline { name = "t", from = logcap.file_monitor { paths = { "in/*.log" }, start = "beginning" },
        to = logcap.file_sink { path = "blocked/out.log", format = "raw" } }''')
    assert admin.json("/ready") == {"ready": True}
    lc.write("in/a.log", "a line\n")
    wait_until(lambda: admin.value("logcap_records_in_flight") == 1, what="a record in flight")
    daemon.process.terminate()
    wait_until(lambda: admin.request("GET", "/ready").status == 503, what="the end of readiness")
    assert admin.json("/ready", 503) == {"ready": False}
    daemon.process.terminate()
    assert daemon.process.wait(60) in (0, 1)


# --- reload ---

def reload(admin):
    response = admin.request("POST", "/reload")
    return response.status, json.loads(response.text)


def test_reload_over_http(lc):
    daemon, admin = start(lc)
    write_lines(lc)
    assert admin.value("logcap_generation") == 1
    status, answer = reload(admin)
    assert (status, answer["generation"]) == (200, 2)
    assert admin.value("logcap_generation") == 2
    assert admin.value("logcap_reloads_total", result="success") == 1
    assert admin.request("POST", "/reload", headers={"Origin": "http://example.org"}).status == 403
    lc.pipeline('logcap.admin { listen = "127.0.0.1:0" }\nlogcap.nonsense()' + PIPELINE)
    status, answer = reload(admin)
    assert status == 422 and f"{lc.file}:3: there is no logcap.nonsense" in answer["error"]
    health = admin.health()
    assert health["status"] == "healthy"
    assert "the last reload failed, generation 2 runs on" in health["warnings"][0]
    assert admin.value("logcap_alert_active", alert="reload_failed") == 1
    assert admin.value("logcap_reloads_total", result="failure") == 1
    lc.finish(daemon)


def test_reload_takes_a_new_token_over(lc):
    lc.write("admin.token", "first-token")
    daemon, admin = start(lc, 'logcap.admin { listen = "127.0.0.1:0", token_file = "admin.token" }', token="first-token")
    lc.write("admin.token", "second-token")
    assert reload(admin)[0] == 200
    assert admin.request("GET", "/health").status == 401
    admin.token = "second-token"
    assert admin.health()["status"] == "healthy"
    assert [res["state"] for res in admin.json("/resources")["resources"] if res["kind"] == "admin"] == ["open"]
    assert len([line for line in daemon.log() if line["message"] == "listens"]) == 1
    lc.finish(daemon)


def test_reload_moves_the_server(lc):
    """The answer to the request that moves it comes from where it was; then nobody is there any more."""
    daemon, admin = start(lc)
    lc.pipeline('logcap.admin { listen = "unix:admin.sock" }' + PIPELINE)
    assert reload(admin)[0] == 200
    there = Admin(lc.path("admin.sock"))
    assert there.json("/ready") == {"ready": True}
    wait_until(lambda: len([r for r in there.json("/resources")["resources"] if r["kind"] == "admin"]) == 1,
               what="the end of the former server")
    with pytest.raises(ConnectionRefusedError):
        admin.get("/health")
    lc.pipeline(PIPELINE)  # and now without one
    assert reload(there)[0] == 200
    wait_until(lambda: not lc.path("admin.sock").exists(), what="the end of the socket")
    assert not any(res["kind"] == "admin" for res in lc.status()["resources"])
    lc.finish(daemon)


def test_reload_fails_when_the_new_address_is_taken(lc):
    daemon, admin = start(lc)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        lc.pipeline(f'logcap.admin {{ listen = "127.0.0.1:{taken.getsockname()[1]}" }}'
                    + PIPELINE.replace("out.ndjson", "other.ndjson"))
        status, answer = reload(admin)
    assert status == 422 and "Address already in use" in answer["error"]
    write_lines(lc)
    assert lc.path("out.ndjson").exists() and not lc.path("other.ndjson").exists()
    assert admin.health()["status"] == "healthy"
    lc.finish(daemon)


def test_reloads_leave_nothing(lc):
    daemon, admin = start(lc)
    assert reload(admin)[0] == 200
    admin.get("/health")
    before = len(daemon.descriptors())
    for i in range(20):
        monitor = f'logcap.resource_monitor {{ interval = "{i + 1}s" }}' if i % 2 else ""
        lc.pipeline(monitor + 'logcap.admin { listen = "127.0.0.1:0" }' + PIPELINE)
        assert reload(admin)[0] == 200
    wait_until(lambda: len(daemon.descriptors()) <= before + 1, what="as many descriptors as before")
    kinds = [res["kind"] for res in admin.json("/resources")["resources"]]
    assert kinds.count("admin") == 1 and kinds.count("resource_monitor") == 1
    lc.finish(daemon)
