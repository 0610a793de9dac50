"""The front door on the real kernel, each time in a process and a network namespace of its own."""

import os
import pathlib
import subprocess
import sys

import pytest

import xennet

SCRIPT = pathlib.Path(__file__).with_name("in_namespace.py")


def inside(function, state_dir):
    done = subprocess.run([sys.executable, str(SCRIPT), function, str(state_dir)], capture_output=True, text=True)
    if done.returncode == 77 and not os.environ.get("CI"):
        pytest.skip(done.stderr.strip())
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("function", ["attach_and_back", "confirmed", "hotplug", "networks", "refusals", "sandbox", "waits", "watching"])
def test_the_kernel_does_it(function, tmp_path):
    inside(function, tmp_path)


def test_the_example_works_on_the_kernel(tmp_path):
    text = inside("example", tmp_path)
    assert "vif5.0" in text and "'ports': ['vif5.0']" in text


def test_a_state_directory_that_cannot_be_is_refused_first():
    host = xennet.Host.netlink(state_dir="/dev/null/xennet")
    with pytest.raises(xennet.StateUnusable) as caught:
        host.attach(5, "bridge=xenbr0")
    assert isinstance(caught.value, OSError) and caught.value.errno_name == "ENOTDIR"


def test_without_the_right_to_it_there_is_no_sandbox():
    program = (
        "import ctypes, os, xennet, xennet._sandbox\n"
        "os.setgid(65534) if os.getuid() == 0 else None\n"
        "os.setuid(65534) if os.getuid() == 0 else None\n"
        "try:\n"
        "    xennet.Host.sandbox()\n"
        "except PermissionError as error:\n"
        "    assert isinstance(error, xennet.Denied) and 'unshare --user' in error.hint, error\n"
        "    print('denied')\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout == "denied\n", done.stdout + done.stderr
