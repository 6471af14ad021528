"""A session of the prompt over the socket itself, and how quickly it answers while lines flow."""
import json
import os
import socket
import threading
import time


def connect(client, path):
    """To a socket wherever it lies: the path that is asked for must be short."""
    here = os.open(path.parent, os.O_PATH)
    try:
        client.connect(f"/proc/self/fd/{here}/{path.name}")
    finally:
        os.close(here)


class Session:
    def __init__(self, lc):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(60)
        connect(self.socket, lc.state / "control.sock")
        self.file = self.socket.makefile("rwb")
        assert self.send(b"repl")["ok"]

    def send(self, data):
        self.file.write(data + b"\n")
        self.file.flush()
        return json.loads(self.file.readline())

    def ask(self, **message):
        return self.send(json.dumps(message).encode())["result"]

    def eval(self, code):
        return self.ask(eval=code)

    def close(self):
        self.file.close()
        self.socket.close()


class Flow:
    """Appends `rate` lines a second to a file until it is left; `written` of them so far."""

    def __init__(self, path, block, rate):
        self.path, self.block, self.rate = path, block.encode(), rate
        self.lines, self.written, self.ended = block.count("\n"), 0, threading.Event()
        self.thread = threading.Thread(target=self.write)

    def write(self):
        due = time.monotonic()
        with open(self.path, "ab", buffering=0) as file:
            while not self.ended.is_set():
                file.write(self.block)
                self.written += self.lines
                due += self.lines / self.rate
                time.sleep(max(0, due - time.monotonic()))

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        self.thread.join()


CHUNKS = ("1 + 1", "#pipelines()", "resources()", "tap('tag', 3)", "audit().healthy")


def answer_times(lc, calls, pause):
    """Sorted, in seconds: how long each call took from before it was sent until its answer was read."""
    session, took = Session(lc), []
    for number in range(calls):
        start = time.monotonic()
        answer = session.eval(CHUNKS[number % len(CHUNKS)])
        took.append(time.monotonic() - start)
        assert "text" in answer, answer
        time.sleep(pause)
    session.close()
    return sorted(took)
