"""10,000 files, found with one line each, to 10,000 outputs, with few descriptors; the long form is `scripts/bench many`."""
import os
import pathlib

from conftest import wait_until

FILES = int(os.environ.get("LOGCAP_FILES", "10000"))


def test_each_file_to_its_output_within_200_descriptors(lc):
    lc.pipeline('''
      logcap.pipeline { name = "many", from = logcap.file_monitor { paths = { "in/*/*.log" }, start = "beginning" },
        stages = { logcap.json {} }, to = logcap.file_sink { path = "out/{dir}/{id}.ndjson" } }
    ''')
    for i in range(FILES):
        lc.write(f"in/{i % 20}/{i}.log", f'{{"dir":"d{i % 20}","id":{i}}}\n')
    daemon = lc.start().ready()
    most = 0

    def written():
        nonlocal most
        most = max(most, len(daemon.descriptors()))
        return lc.status()["pipelines"][0]["sinks"][0]["delivered"] == FILES
    wait_until(written, 120)
    assert most <= 200
    lc.append("in/7/7.log", '{"dir":"d7","id":7}\n')  # a file whose descriptor was closed long ago
    wait_until(lambda: pathlib.Path(lc.path("out/d7/7.ndjson")).read_text().count("\n") == 2)
    lc.finish(daemon)
    for i in range(FILES):
        copies = 2 if i == 7 else 1
        assert lc.read(f"out/d{i % 20}/{i}.ndjson").decode() == f'{{"dir":"d{i % 20}","id":{i}}}\n' * copies
