"""Type checkers find nothing: mypy in its strict mode, and pyright, on the package, the examples and the tests."""

import os
import pathlib
import subprocess
import sys

import pytest

import xennet

ROOT = pathlib.Path(__file__).parents[2]


def clean(module, *arguments, cwd):
    if not os.environ.get("CI"):
        pytest.importorskip(module)
    done = subprocess.run([sys.executable, "-m", module, *map(str, arguments)], capture_output=True, text=True, cwd=cwd)
    assert done.returncode == 0, done.stdout + done.stderr


def test_mypy_is_strict_on_the_package_and_the_examples(tmp_path):
    examples = sorted((ROOT / "examples" / "python").glob("*.py"))
    # The installed package, whose types are what users see.
    clean("mypy", "--strict", "--cache-dir", tmp_path / "cache", "-p", "xennet", cwd=tmp_path)
    clean("mypy", "--strict", "--cache-dir", tmp_path / "cache", *examples, cwd=tmp_path)


def test_pyright_finds_nothing_in_the_package_the_examples_and_the_tests():
    assert pathlib.Path(xennet.__file__).with_name("py.typed").exists()
    clean("basedpyright", "--project", ROOT / "xennet-py" / "pyrightconfig.json", "--pythonpath", sys.executable, cwd=ROOT)


def test_a_caller_who_is_mistaken_is_told(tmp_path):
    program = tmp_path / "mistaken.py"
    program.write_text(
        "import xennet\n"
        "xennet.Host.fake().attach('5', 'bridge=xenbr0')\n"
        "xennet.VifSpec('00:16:3e:01:02:03')\n"
        "xennet.Host.fake().show()['vif']\n"
        "reveal_type(xennet.parse_vifs([], errors='return')[0])\n"
    )
    if not os.environ.get("CI"):
        pytest.importorskip("mypy")
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--cache-dir", str(tmp_path / "cache"), str(program)], capture_output=True, text=True, cwd=tmp_path
    )
    assert [f":{line}: error" in done.stdout for line in (2, 3, 4)] == [True] * 3, done.stdout
    assert "VifSpec | xennet.errors.Invalid" in done.stdout.replace("xennet._xennet.", ""), done.stdout
