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


@pytest.mark.parametrize("function", ["attach_and_back", "closing", "confirmed", "hotplug", "networks", "refusals", "sandbox", "waits", "watching"])
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


def test_what_is_lacking_for_a_sandbox_is_said_and_nothing_is_left(tmp_path):
    program = """
import errno, os, resource, sys, xennet, xennet._sandbox as sandbox

def refused(number):
    before = sorted(os.listdir("/proc/self/fd")), sorted(os.listdir(os.environ["TMPDIR"]))
    try:
        xennet.Host.sandbox()
    except xennet.Io as error:
        assert error.errno == number and error.object in ("sandbox", "host") and error.hint, error.report()
        assert error.outcome == "unchanged"
    else:
        raise AssertionError(number)
    assert (sorted(os.listdir("/proc/self/fd")), sorted(os.listdir(os.environ["TMPDIR"]))) == before

def fails(number):
    def call(*arguments, **keywords):
        raise OSError(number, os.strerror(number))
    return call

import tempfile, threading
tempfile.gettempdir()
own = sandbox._system_call
for number in (errno.ENOSPC, errno.ENOMEM, errno.EINVAL):
    sandbox._system_call = fails(number)
    refused(number)
sandbox._system_call = own if os.getuid() == 0 else lambda *_: None
made = tempfile.mkdtemp
for number in (errno.ENOSPC, errno.EMFILE):
    tempfile.mkdtemp = fails(number)
    refused(number)
tempfile.mkdtemp = made
if os.getuid() == 0:
    # However many are left: one step after another has none.
    for spare in range(1, 12):
        held = []
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, limit[1]))
        try:
            while True:
                held.append(os.dup(2))
        except OSError:
            pass
        for _ in range(spare):
            os.close(held.pop())
        try:
            xennet.Host.sandbox().close()
        except xennet.XennetError as error:
            assert error.errno == errno.EMFILE and error.object and error.hint, (spare, error.report())
        for one in held:
            os.close(one)
        resource.setrlimit(resource.RLIMIT_NOFILE, limit)
        assert os.listdir(os.environ["TMPDIR"]) == [], spare
start = threading.Thread.start
threading.Thread.start = lambda self: (_ for _ in ()).throw(RuntimeError("can't start new thread"))
refused(errno.EAGAIN)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env={**os.environ, "TMPDIR": str(tmp_path)})
    assert done.returncode == 0, done.stdout + done.stderr
