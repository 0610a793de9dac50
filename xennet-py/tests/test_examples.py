"""The examples, run by the installed package as somebody would start from them."""

import asyncio
import errno
import json
import pathlib
import runpy
import subprocess
import sys

import pytest

import xennet
from xennet.aio import AsyncHost

EXAMPLES = pathlib.Path(__file__).parents[2] / "examples" / "python"


def run(program, *arguments, given=None):
    return subprocess.run(
        [sys.executable, str(EXAMPLES / program), *map(str, arguments)], capture_output=True, text=True, input=given
    )


def well(*arguments, **keywords):
    done = run(*arguments, **keywords)
    assert done.returncode == 0 and done.stderr == "", done.stdout + done.stderr
    return done.stdout


def test_every_example_is_run_here():
    assert {path.name for path in EXAMPLES.iterdir() if path.is_file()} == {
        "attach.py", "hotplug.py", "inventory.py", "migrate.py", "module.py", "networks.py", "rehearse.py", "rolling.py", "topology.ipynb",
    }


def test_the_inventory_is_a_table(tmp_path):
    lines = well("inventory.py", "--rehearsal").splitlines()
    assert lines[0].split()[:3] == ["VIF", "MODE", "BRIDGE"] and lines[1].split()[:4] == ["vif5.0", "bridge", "xenbr0", "up"]
    host = xennet.Host.fake()
    host.attach(7, "bridge=xenbr0,mac=00:16:3e:00:00:07")
    recording = tmp_path / "recording.json"
    recording.write_text(json.dumps(host.record()))
    assert well("inventory.py", recording).splitlines()[1].split()[0] == "vif7.0"
    recording.write_text("{}")
    done = run("inventory.py", recording)
    assert done.returncode == xennet.Invalid.code and done.stderr.startswith("error: ")


def test_a_change_is_rehearsed(tmp_path):
    text = well("rehearse.py")
    assert "net/ipv4/ip_forward = 1" in text and "network private is started then" in text and "private: NAT network" in text
    recording, networks = tmp_path / "recording.json", tmp_path / "networks.toml"
    recording.write_text(json.dumps(xennet.Host.fake().record()))
    networks.write_text('[network.lan]\nmode = "bridge"\nuplink = "eth9"\n')
    done = run("rehearse.py", recording, networks)
    assert done.returncode == xennet.LinkNotFound.code and "eth9" in done.stderr


def test_xend_is_left_behind(tmp_path):
    done = run("migrate.py")
    assert done.returncode == 1 and "vif 1 asks for xenbr1" in done.stderr and "accel has no effect" in done.stderr
    assert [network.name for network in xennet.parse_networks(done.stdout)] == ["xenbr0"]
    config, guest = tmp_path / "xend-config.sxp", tmp_path / "web"
    config.write_text("(network-script 'network-bridge netdev=eth1')\n(vif-script vif-bridge)\n")
    guest.write_text("vif = ['bridge=xenbr0']\n")
    done = run("migrate.py", config, guest)
    assert done.returncode == 0, done.stderr
    config.write_text("(network-script (\n")
    assert run("migrate.py", config).returncode == xennet.Invalid.code


def test_a_module_changes_what_has_to_be_changed_and_nothing_else(tmp_path):
    def module(arguments, *more):
        done = run("module.py", "--rehearsal", tmp_path / "host", *more, given=json.dumps(arguments))
        assert done.stderr == "", done.stderr
        return done.returncode, json.loads(done.stdout)

    bridge, network = {"bridge": {"name": "br-lan"}}, {"network": {"name": "private", "mode": "nat", "subnets": ["10.0.0.0/24"]}}
    for wanted in (bridge, network):
        code, answer = module(wanted, "--check")
        assert code == 0 and answer["changed"] and answer["diff"]
        assert module(wanted) == (0, answer), "what was shown is done"
        assert module(wanted) == (0, {"changed": False, "diff": [], "notes": []})
    assert module({**network, "state": "stopped"})[1]["changed"]
    assert not module({**network, "state": "stopped"})[1]["changed"]
    code, answer = module({"network": {"name": "private", "mode": "vpn"}})
    assert code == 1 and answer["failed"] and answer["kind"] == "invalid" and "vpn" in answer["msg"]
    code, answer = module({"bridge": {"nam": "x"}})
    assert code == 1 and answer["failed"] and not answer["changed"]


def test_a_rolling_change_goes_through_or_is_undone():
    text = well("rolling.py")
    assert "all moved: {'br-new'}" in text and "EBUSY, restored" in text and text.endswith("as before: {'xenbr0'}\n")
    assert text.index("vif6.0: undone") < text.index("vif5.0: undone")


def test_one_guest_that_cannot_be_moved_back_does_not_keep_the_others(capsys):
    rolling = runpy.run_path(str(EXAMPLES / "rolling.py"))

    class Stubborn(AsyncHost):
        async def undo(self, subject=None):
            if subject == "vif6.0":
                raise OSError("its own")
            return await super().undo(subject)

    async def main(faults, cancel_after=None):
        model = rolling["rehearsed"]()
        async with Stubborn(model.rehearse(faults=faults)) as host:
            with pytest.raises((xennet.XennetError, asyncio.CancelledError)):
                task = asyncio.ensure_future(rolling["roll"](host, "br-new", range(5, 9)))
                if cancel_after is not None:
                    while len([one for one in (await host.show())["vifs"] if one["bridge"] == "br-new"]) < cancel_after:
                        await asyncio.sleep(0)
                    task.cancel()
                    await asyncio.sleep(0)
                    task.cancel()
                await task
            return {one["domid"]: one["bridge"] for one in (await host.show())["vifs"]}

    each = len(rolling["rehearsed"]().plan_attach(5, "bridge=br-new"))
    fault = xennet.faults.FailAt(step=3 * each + 1, errno=errno.EBUSY)
    assert asyncio.run(main([fault])) == {5: "xenbr0", 6: "br-new", 7: "xenbr0", 8: "xenbr0"}
    told = capsys.readouterr()
    assert "vif7.0: undone" in told.out and "vif5.0: undone" in told.out and "vif6.0: NOT undone" in told.err and "its own" in told.err
    assert asyncio.run(main(None, cancel_after=1))[5] == "xenbr0"


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["rolling.py", "br-new"], 2), (["rolling.py", "br-new", "x"], 2), (["attach.py", "5"], 2), (["attach.py", "x", "bridge=b"], 2),
        (["networks.py", "file"], 2), (["networks.py", "/none", "lan"], 1), (["rehearse.py", "/none"], 2), (["rehearse.py", "/none", "/none"], 1),
        (["inventory.py", "/none"], 1), (["inventory.py", "a", "b"], 2), (["migrate.py", "/none"], 1),
    ],
    ids=str,
)
def test_wrong_arguments_are_refused_without_a_traceback(arguments, code):
    done = run(*arguments)
    assert done.returncode == code and done.stderr and "Traceback" not in done.stderr and not done.stdout, done


def test_a_module_answers_whatever_it_is_given(tmp_path):
    for given, *arguments in (("no JSON",), ("[]",), ("{}", "--rehearsal"), ("{}", "--rehearsal", "/dev/null/x")):
        done = run("module.py", *arguments, given=given)
        assert done.returncode == 1 and json.loads(done.stdout)["failed"] and done.stderr == "", done


def test_a_script_in_python_tells_what_is_wrong(tmp_path):
    settings = tmp_path / "hotplug.toml"
    settings.write_text(f'log_file = ""\nsyslog = false\nstate_dir = "{tmp_path}/state"\n')
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / "hotplug.py")], capture_output=True, text=True, env={"XENNET_HOTPLUG_CONFIG": str(settings)}
    )
    assert done.returncode == 1 and done.stderr.startswith("vif-python: error: no verb was given")


def test_the_cells_of_the_notebook_run_in_order(capsys):
    notebook = json.loads((EXAMPLES / "topology.ipynb").read_text(encoding="utf-8"))
    assert notebook["nbformat"] == 4 and all(cell["outputs"] == [] for cell in notebook["cells"] if cell["cell_type"] == "code")
    names, shown = {}, []
    for cell in notebook["cells"]:
        if cell["cell_type"] != "code":
            continue
        # As a notebook does: the value of the last line is shown.
        *before, last = "".join(cell["source"]).split("\n")
        try:
            code = compile(last, "<last line>", "eval")
        except SyntaxError:
            exec("\n".join([*before, last]), names)
        else:
            exec("\n".join(before), names)
            shown.append(eval(code, names))
    host, picture = [value for value in shown if value is not None]
    assert host._repr_html_().startswith("<svg") and picture._repr_svg_().startswith("<svg") and "vif20.0" in picture
    assert "delivered" in capsys.readouterr().out


@pytest.mark.parametrize("module", ["xennet", "xennet.aio", "xennet.enums", "xennet.faults", "xennet.host", "xennet.tools", "xennet.xenstore"])
def test_the_examples_in_the_docstrings_run(module):
    import doctest
    import importlib

    finder = doctest.DocTestFinder()
    found = finder.find(importlib.import_module(module), module)
    if module == "xennet.host":
        # These say that they are of the package itself.
        found = [test for kind in (xennet.Host, xennet.Sandbox) for test in finder.find(kind, kind.__name__, module=False, globs={})]
    found = [test for test in found if test.examples]
    runner = doctest.DocTestRunner()
    assert found and all(runner.run(test).failed == 0 for test in found)
