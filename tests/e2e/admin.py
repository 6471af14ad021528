"""What the tests of the admin server share: requests over TCP and unix sockets, and the series of /metrics."""
import http.client
import json
import pathlib
import re
import socket

from repl_session import connect

SAMPLE = re.compile(r'^([a-z_]+)(?:\{(.*)\})? (\S+)$')
LABEL = re.compile(r'([a-z_]+)="((?:[^"\\]|\\.)*)"')


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path, timeout=60):
        super().__init__("localhost", timeout=timeout)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        connect(self.sock, pathlib.Path(self.path))


class Admin:
    """A client of one admin server: `at` is (host, port), or the path of a socket."""

    def __init__(self, at, token=None):
        self.at, self.token = at, token

    def connection(self, timeout=60):
        if isinstance(self.at, tuple):
            return http.client.HTTPConnection(*self.at, timeout=timeout)
        return UnixConnection(str(self.at), timeout)

    def request(self, method, path, body=None, headers=None):
        """Returns the response with its body as .text."""
        headers = dict(headers or {})
        if self.token and "Authorization" not in headers:
            headers["Authorization"] = f"Bearer {self.token}"
        connection = self.connection()
        try:
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            response.text = response.read().decode()
            return response
        finally:
            connection.close()

    def get(self, path, status=200):
        response = self.request("GET", path)
        assert response.status == status, f"{response.status} {response.text}"
        return response

    def json(self, path, status=200):
        return json.loads(self.get(path, status).text)

    def health(self):
        """The answer of /health, which has the status that its word says."""
        response = self.request("GET", "/health")
        answer = json.loads(response.text)
        assert response.status == {"healthy": 200, "unhealthy": 503}[answer["status"]]
        assert (answer["status"] == "healthy") == (answer["reasons"] == [])
        return answer

    def series(self):
        """All series: {(name, frozenset of labels): value}; fails on a text that is wrong, or has one series twice."""
        return parse_metrics(self.get("/metrics").text)

    def value(self, name, /, **labels):
        """The sum of the series of this name that have these labels."""
        found = [value for (other, have), value in self.series().items()
                 if other == name and set(labels.items()) <= have]
        assert found, f"no series {name} {labels}"
        return sum(found)


def parse_metrics(text):
    series, helped, typed = {}, set(), set()
    for line in text.splitlines():
        if line.startswith("# HELP "):
            helped.add(line.split()[2])
            continue
        if line.startswith("# TYPE "):
            assert line.split()[2] not in typed, line  # a family stands in one piece
            typed.add(line.split()[2])
            continue
        match = SAMPLE.match(line)
        assert match, line
        name, labels, value = match.groups()
        key = name, frozenset(LABEL.findall(labels or ""))
        assert key not in series, line
        assert name in helped and name in typed, line
        series[key] = float(value)
    assert text.endswith("\n")
    return series


def port_of(daemon):
    """Where the admin server of a daemon listens: (host, port)."""
    address = daemon.wait_log("listens")["address"]
    host, port = address.rsplit(":", 1)
    return host, int(port)
