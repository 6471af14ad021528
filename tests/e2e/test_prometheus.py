"""Prometheus itself: it scrapes logcap, finds no fault with the rules, and every series in docs/ is one that there is."""
import json
import pathlib
import re
import socket
import subprocess
import urllib.parse
import urllib.request

import pytest

from admin import Admin, port_of
from conftest import wait_until

DOCS = pathlib.Path(__file__).resolve().parents[2] / "docs"
RULES = DOCS / "prometheus" / "logcap.rules.yml"
DASHBOARD = DOCS / "grafana" / "logcap.json"
NAME = re.compile(r"\blogcap_[a-z_]+\b")

PIPELINE = '''
  logcap.admin { listen = "127.0.0.1:0", token = "scrape-token" }
  logcap.pipeline { name = "shop", from = logcap.file_monitor { paths = { "in/*.log" }, start = "beginning" },
    stages = { function(rec) if rec.message == "bad" then error("no") end end },
    to = { logcap.file_sink { path = "out.log" } } }
'''

CONFIG = '''
global: {{ scrape_interval: 1s, evaluation_interval: 200ms, scrape_timeout: 1s }}
rule_files: ["{rules}"]
scrape_configs:
  - job_name: logcap
    authorization: {{ credentials: scrape-token }}
    static_configs: [{{ targets: ["{host}:{port}"] }}]
'''


def expressions():
    """Every expression of the dashboard: panels, annotations and variables."""
    def walk(value):
        if isinstance(value, dict):
            for key, inner in value.items():
                if key in ("expr", "query", "definition") and isinstance(inner, str):
                    yield inner
                else:
                    yield from walk(inner)
        elif isinstance(value, list):
            for inner in value:
                yield from walk(inner)
    return list(walk(json.loads(DASHBOARD.read_text())))


@pytest.fixture
def running(lc):
    lc.pipeline(PIPELINE)
    daemon = lc.start().ready()
    lc.write("in/a.log", "good\ngood\n")
    lc.wait_delivered(2)
    yield daemon, Admin(port_of(daemon), "scrape-token")
    lc.finish(daemon)


def test_rules_are_right():
    checked = subprocess.run(["promtool", "check", "rules", "--lint-fatal", RULES], text=True, capture_output=True,
                             check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_every_series_exists(running):
    _, admin = running
    there = {name for name, _ in admin.series()}
    in_rules, in_dashboard = set(NAME.findall(RULES.read_text())), set(NAME.findall("\n".join(expressions())))
    assert len(in_rules) > 12 and len(in_dashboard) > 30
    assert in_rules - there == set()
    assert in_dashboard - there == set()


def test_every_metric_is_described(running):
    """docs/operations.md has every metric, every label value of alerts, and none that is not there."""
    _, admin = running
    manual = (DOCS / "operations.md").read_text()
    series = admin.series()
    there = {name for name, _ in series}
    assert there - set(NAME.findall(manual)) == set()
    assert set(NAME.findall(manual)) - there == set()
    for cause in {dict(labels)["alert"] for name, labels in series if name == "logcap_alert_active"}:
        assert f"`{cause}`" in manual, cause


class Prometheus:
    def __init__(self, folder, target, extra=""):
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        config = folder / "prometheus.yml"
        config.write_text(CONFIG.format(rules=RULES, host=target[0], port=target[1]) + extra)
        self.log = folder / "prometheus.log"
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                ["prometheus", f"--config.file={config}", f"--storage.tsdb.path={folder / 'tsdb'}",
                 f"--web.listen-address=127.0.0.1:{self.port}"], cwd=folder, stdout=log, stderr=log)

    def ask(self, path, **query):
        address = f"http://127.0.0.1:{self.port}/api/v1/{path}?{urllib.parse.urlencode(query)}"
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(address, timeout=60) as answer:
            return json.load(answer)["data"]

    def query(self, expression):
        return self.ask("query", query=expression)["result"]

    def up(self):
        assert self.process.poll() is None, self.log.read_text()[-4000:]
        try:
            return any(sample["value"][1] == "1" for sample in self.query('up{job="logcap"}'))
        except OSError:
            return False


@pytest.fixture
def prometheus(lc, running):
    server = Prometheus(lc.folder, running[1].at)
    yield server
    server.process.terminate()
    server.process.wait(60)


def test_scrape(lc, running, prometheus):
    """What Prometheus has is what /metrics says; all rules and all panels evaluate."""
    _, admin = running
    lc.append("in/a.log", "bad\n")
    wait_until(lambda: admin.value("logcap_dead_letters_written_total") == 1, what="a dead letter")
    wait_until(prometheus.up, what="a scrape")
    (target,) = prometheus.ask("targets")["activeTargets"]
    assert target["lastError"] == ""
    wait_until(lambda: prometheus.query('logcap_records_read_total{pipeline="shop"} == 3'), what="a scrape of all records")
    (read,) = prometheus.query("logcap_records_dead_lettered_total")
    assert read["value"][1] == "1" and read["metric"]["sink"].endswith("/out.log")
    for (name, labels), _ in admin.series().items():
        quoted = ",".join(f'{key}="{value}"' for key, value in labels)
        assert prometheus.query(f"{name}{{{quoted}}}"), name

    def evaluated():
        rules = [rule for group in prometheus.ask("rules")["groups"] for rule in group["rules"]]
        return rules if rules and all(rule["health"] == "ok" for rule in rules) else None
    rules = wait_until(evaluated, what="the evaluation of all rules")
    assert [rule["name"] for rule in rules if rule["state"] == "firing"] == []
    for expression in expressions():
        if expression.startswith("label_values") or "logcap_" not in expression:
            continue
        for variable, value in (("$__rate_interval", "1m"), ("$instance", ".*"), ("$pipeline", ".*")):
            expression = expression.replace(variable, value)
        prometheus.query(expression)  # an error is an HTTP error


def test_alert_fires(lc, prometheus):
    """A red cause becomes a firing alert of the rules that need no time for it."""
    wait_until(prometheus.up, what="a scrape")
    dlq = lc.state / "dlq"
    dlq.write_text("a file where a folder shall be")
    lc.append("in/a.log", "bad\n")

    def firing():
        rules = [rule for group in prometheus.ask("rules")["groups"] for rule in group["rules"]]
        return "LogcapDeadLettersFail" in [rule["name"] for rule in rules if rule["state"] == "firing"]
    wait_until(firing, what="the alert of dead letters")
    assert prometheus.query("logcap_healthy")[0]["value"][1] == "0"
    assert prometheus.query('logcap_alert_active{alert="dead_letters"}')[0]["value"][1] == "1"
    dlq.unlink()
