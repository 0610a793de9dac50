"""What users read is true: examples run, docstrings are there, stubs match."""

import doctest
import importlib.metadata
import pathlib
import subprocess
import sys

import pytest

import xennet

EXAMPLES = pathlib.Path(__file__).parents[2] / "examples" / "python"
EXAMPLE, NETWORKS = EXAMPLES / "attach.py", EXAMPLES / "networks.py"
CLASSES = [xennet.VifSpec, xennet.BridgeSpec, xennet.Network, xennet.Host, xennet.Plan, xennet.Step, xennet.Applied]


def test_the_example_rehearses_in_memory():
    done = subprocess.run([sys.executable, str(EXAMPLE)], capture_output=True, text=True)
    assert done.returncode == 0 and done.stderr == "", done.stderr
    assert "vif5.0" in done.stdout


def test_the_example_of_networks_rehearses_in_memory():
    done = subprocess.run([sys.executable, str(NETWORKS)], capture_output=True, text=True)
    assert done.returncode == 0 and done.stderr == "", done.stderr
    assert "natbr0" in done.stdout and "'started': True" in done.stdout


def test_the_example_of_networks_shows_the_place(tmp_path):
    file = tmp_path / "networks.toml"
    file.write_text("[network.lan]\nmode = 'vpn'\n")
    done = subprocess.run([sys.executable, str(NETWORKS), str(file), "lan"], capture_output=True, text=True)
    assert done.returncode == xennet.Invalid.code
    assert "\n  2 | mode = 'vpn'\n" in done.stderr


def test_the_example_ends_with_the_number_of_the_kind():
    done = subprocess.run([sys.executable, str(EXAMPLE), "5", "brigde=xenbr0"], capture_output=True, text=True)
    assert done.returncode == xennet.Invalid.code
    assert done.stderr.startswith("error: ") and "brigde=xenbr0" in done.stderr


def test_the_examples_in_the_docstrings_run():
    finder, runner = doctest.DocTestFinder(recurse=False), doctest.DocTestRunner()
    examples = 0
    for thing in (xennet, xennet.guest_config, xennet.parse_networks, xennet.schema, *CLASSES):
        for test in finder.find(thing, thing.__name__, module=xennet, globs={}):
            examples += len(test.examples)
            assert runner.run(test).failed == 0
    assert examples > 15


@pytest.mark.parametrize("kind", CLASSES, ids=lambda c: c.__name__)
def test_everything_public_has_a_docstring(kind):
    assert kind.__module__ == "xennet" and kind.__doc__
    for name in dir(kind):
        if not name.startswith("_"):
            assert getattr(kind, name).__doc__, f"{kind.__name__}.{name}"


def test_the_stubs_say_what_there_is(tmp_path):
    pytest.importorskip("mypy")
    done = subprocess.run(
        [sys.executable, "-m", "mypy.stubtest", "xennet", "--concise"], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_licences_come_along_and_the_package_says_that_it_is_typed():
    files = {file.name for file in importlib.metadata.files("xennet") or ()}
    assert {"LICENSE-MIT", "LICENSE-APACHE", "py.typed", "_xennet.pyi", "errors.pyi"} <= files
