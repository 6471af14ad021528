"""The example of docs/testing.md runs as it stands there."""
import pathlib
import re

TEXT = (pathlib.Path(__file__).resolve().parents[2] / "docs" / "testing.md").read_text()


def example(lc):
    pipeline, spec = re.findall(r"^```lua\n(.*?)^```", TEXT, re.M | re.S)
    lc.write("shop.lua", pipeline)
    lc.write("spec/shop_spec.lua", spec)


def test_the_example_passes(lc):
    example(lc)
    done = lc.call("test", "shop.lua", state=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "4 successes / 0 failures / 0 errors" in done.stdout


def test_each_command_works(lc):
    example(lc)
    commands = re.findall(r"^logcap test(.*?) *#", TEXT, re.M)
    assert len(commands) == 4
    for command in commands:
        done = lc.call("test", *command.split(), state=False)
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"


def test_the_methods_are_all_described(lc):
    example(lc)
    methods = set(re.findall(r"^\| `p:(\w+)\(", TEXT, re.M))
    lc.write("spec/shop_spec.lua", """
      local testing = require "logcap.testing"
      it("has methods", function()
        local p = testing.load "../shop.lua"
        local names = {}
        for name, value in pairs(getmetatable(p).__index) do
          if type(value) == "function" then names[#names + 1] = name end
        end
        p:close()
        local file = assert(io.open("methods", "w"))
        file:write(table.concat(names, " "))
        file:close()
      end)
    """)
    assert lc.call("test", state=False).returncode == 0
    assert set(lc.read("methods").decode().split()) == methods
