"""The program starts and says what it is."""


def test_version(lc):
    done = lc.call("version", state=False)
    assert done.returncode == 0
    assert done.stdout.startswith("logcap 0.")


def test_unknown_command(lc):
    done = lc.call("frobnicate", state=False)
    assert done.returncode == 2
    assert "frobnicate" in done.stderr
