"""A host in programs that do what programs do: fork, share it among threads, are interrupted."""

import datetime
import fcntl
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

import xennet
from xennet import BridgeSpec, Host, Network, VifSpec


def in_a_child(work):
    """What a forked child makes of it: True if it ends well, whatever other threads were doing."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            signal.alarm(60)
            work()
            code = 0
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_child_does_not_get_at_its_parent_s_host():
    host, stop = Host.fake(), threading.Event()

    def works():
        while not stop.is_set():
            host.attach(5, "bridge=xenbr0")
            host.detach(5)

    def child():
        with pytest.raises(xennet.Invalid, match="fork"):
            host.attach(6, "bridge=xenbr0")
        with pytest.raises(xennet.Invalid, match="fork"):
            host.show()
        own = Host.fake()
        assert own.attach(6, "bridge=xenbr0").steps > 0

    threads = [threading.Thread(target=works) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        assert all(in_a_child(child) for _ in range(40))
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert host.show()["vifs"] == []


@pytest.mark.parametrize("path", ["", "/run/xen\0net"])
def test_a_path_that_cannot_be_is_refused_at_once(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises((xennet.Invalid, ValueError)):
        Host.netlink(state_dir=path)
    assert list(tmp_path.iterdir()) == []


INTERRUPTED = """
import signal, sys, xennet
# A shell starts background jobs with SIGINT ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)
host = xennet.Host.netlink(state_dir=sys.argv[1])
print("waits", flush=True)
try:
    host.attach(5, "bridge=xenbr0")
except KeyboardInterrupt:
    print("interrupted")
"""


def test_ctrl_c_arrives_while_a_lock_is_waited_for(tmp_path):
    with open(tmp_path / "vif5.0.journal", "w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        arguments = [sys.executable, "-c", INTERRUPTED, str(tmp_path)]
        with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as program:
            assert program.stdout.readline() == "waits\n"
            # Until it waits: the interpreter must not be the one that sees the signal.
            time.sleep(0.5)
            began = time.monotonic()
            program.send_signal(signal.SIGINT)
            assert program.stdout.read() == "interrupted\n"
            # The lock itself is waited for 10 seconds.
            assert time.monotonic() - began < 8
        assert program.returncode == 0


def test_what_reading_a_line_remarks_is_kept():
    spec = VifSpec.parse("bridge=xenbr0,accel=1")
    assert len(spec.notes) == 1 and "accel" in spec.notes[0]
    assert spec == VifSpec(bridge="xenbr0") and hash(spec) == hash(VifSpec(bridge="xenbr0"))
    assert VifSpec(bridge="xenbr0").notes == spec.replace().notes == ()
    (note,) = VifSpec.parse("bridge=xenbr0,foo=1", dialect="xl").notes
    assert "foo" in note
    host = Host.fake()
    assert host.plan_attach(5, "bridge=xenbr0,accel=1").notes[-1] == spec.notes[0]
    assert host.attach(5, "bridge=xenbr0,accel=1").notes[-1] == spec.notes[0]


def test_a_line_of_xl_is_what_xl_makes_of_it():
    parsed = xennet.parse_vif("bridge=br0 ,foo=1", dialect="xl")
    assert set(parsed) == set(xennet.documents.ParsedVif.__annotations__)
    assert parsed["nic"]["bridge"] == "br0 "
    assert any("foo" in note for note in parsed["notes"])
    with pytest.raises(xennet.Invalid):
        VifSpec.parse("bridge=br0 ,foo=1", dialect="xl")
    assert xennet.parse_vif("bridge=xenbr0")["nic"]["devid"] == 0
    with pytest.raises(xennet.Invalid):
        xennet.parse_vif("bridge=xenbr0,foo=1")


@pytest.mark.parametrize(
    "delay, stp",
    [
        (datetime.timedelta.max, False),
        (datetime.timedelta(days=100), False),
        (datetime.timedelta(seconds=31), True),
        (datetime.timedelta(seconds=1), True),
        (datetime.timedelta(microseconds=1), False),
    ],
)
def test_a_forward_delay_that_no_bridge_has_is_refused(delay, stp):
    with pytest.raises(xennet.Invalid):
        BridgeSpec(name="br0", forward_delay=delay, stp=stp)
    with pytest.raises(xennet.Invalid):
        Network(name="br0", mode="bridge", forward_delay=delay, stp=stp)


def test_hints_speak_of_python():
    with pytest.raises(xennet.StateUnusable) as caught:
        Host.netlink(state_dir="/dev/null/xennet").attach(5, "bridge=xenbr0")
    assert "--" not in caught.value.hint and "state_dir" in caught.value.hint
    host = Host.fake()
    lan = Network(name="lan", mode="bridge", bridge="br-lan")
    host.start_network(lan)
    host.attach(5, "bridge=br-lan")
    with pytest.raises(xennet.Conflict) as caught:
        host.stop_network("lan")
    assert "--" not in caught.value.hint and "force=True" in caught.value.hint


def program(text, *arguments, timeout=60, **keywords):
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", text, *map(str, arguments)], capture_output=True, text=True, timeout=timeout, **keywords
    )


ENDS = """
import sys, threading, time, xennet
from xennet import xenstore
server = xenstore.Server()
store = xenstore.Store(server.path)
sandbox = xennet.Host.sandbox() if sys.argv[1] == "root" else None
waits = [
    lambda: store.next_event(),
    lambda: list(store.events()),
    lambda: sandbox and sandbox.await_link("none", 3600),
    lambda: sandbox and list(sandbox.watch()),
]
for wait in waits:
    threading.Thread(target=wait, daemon=True).start()
time.sleep(0.3)
print("ends", flush=True)
"""


def test_an_interpreter_can_end_in_the_middle_of_waits():
    done = program(ENDS, "root" if os.getuid() == 0 else "user")
    # A sandbox that nobody closed takes its directory with it all the same.
    assert (done.returncode, done.stdout, done.stderr) == (0, "ends\n", ""), done


ASYNC_ENDS = """
import asyncio, signal, os, threading, xennet
from xennet.aio import AsyncHost
signal.signal(signal.SIGINT, signal.default_int_handler)
async def main():
    with xennet.xenstore.Server() as server, xennet.xenstore.Store(server.path) as store:
        async with AsyncHost(xennet.Host.fake()) as host:
            await host.attach(5, "bridge=xenbr0")
            threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
            async for event in store.aevents():
                raise AssertionError(event)
try:
    asyncio.run(main())
except KeyboardInterrupt:
    print("interrupted")
"""


def test_ctrl_c_ends_an_asynchronous_watch():
    done = program(ASYNC_ENDS)
    assert (done.returncode, done.stdout, done.stderr) == (0, "interrupted\n", ""), done


def test_eight_threads_on_a_host_of_each_and_on_one():
    shared, failures = Host.fake(), []

    def work(number):
        try:
            own = Host.fake()
            for domid in range(number * 10 + 1, number * 10 + 6):
                for host in (own, shared):
                    host.attach(domid, VifSpec(bridge="xenbr0", mac=f"00:16:3e:00:00:{domid:02x}"))
                    assert xennet.parse_vifs([f"bridge=br{domid}"] * 50)[-1].bridge == f"br{domid}"
                    with pytest.raises(xennet.BridgeNotFound):
                        host.attach(domid, "bridge=none")
                shared.detach(domid)
            assert len(own.show()["vifs"]) == 5
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures and shared.show()["vifs"] == []


SUB = """
import sys
try:
    import _interpreters as interpreters
except ImportError:
    import _xxsubinterpreters as interpreters
text = "import xennet; xennet.Host.fake().attach(5, 'bridge=xenbr0')"
import xennet
for _ in range(3):
    sub = interpreters.create()
    try:
        result = interpreters.run_string(sub, text)
        print("works" if result is None else f"refused: {getattr(result, 'formatted', result)}")
    except Exception as error:
        print("refused:", error)
    interpreters.destroy(sub)
assert xennet.Host.fake().attach(5, "bridge=xenbr0")
"""


def test_another_interpreter_of_the_process_is_refused_clearly():
    done = program(SUB)
    if "No module named '_xxsubinterpreters'" in done.stderr:
        pytest.skip("this Python has no other interpreters")
    assert done.returncode == 0 and done.stderr == "", done
    lines = done.stdout.splitlines()
    assert len(lines) == 3 and all(line.startswith("refused: ") and "interpreter" in line for line in lines), lines


def test_what_is_not_needed_is_not_loaded():
    done = program(
        "import sys; bare = set(sys.modules); import xennet; xennet.Host.fake().attach(5, 'bridge=xenbr0');"
        "print(sorted(set(sys.modules) - bare))"
    )
    loaded = set(eval(done.stdout))
    assert not loaded & {"typing", "enum", "json", "asyncio", "subprocess", "re", "inspect", "xennet.documents", "xennet.aio"}, loaded


HANDLED = """
import os, signal, sys, threading, time, xennet

class Own(Exception):
    pass

def handler(number, frame):
    raise Own(number)

signal.signal(signal.SIGUSR1, handler)

def interrupted(work, after):
    threading.Timer(after, os.kill, (os.getpid(), signal.SIGUSR1)).start()
    try:
        work()
    except Own as own:
        return own
    raise AssertionError("the handler raised")
"""


def handled(program, *arguments):
    done = subprocess.run([sys.executable, "-c", HANDLED + program, *map(str, arguments)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_signal_while_work_goes_on_arrives_with_the_result():
    # So many that the signal comes in the middle of the call.
    handled("""
host = xennet.Host.fake()
networks = [xennet.Network(name=f"n{i}", mode="nat", subnets=[f"10.{i}.0.0/24"]) for i in range(200)]
own = interrupted(lambda: host.start_networks(networks), 0.01)
started = {network.name for network in host.started_networks()}
assert set(own.result) == started, (len(own.result), len(started))
assert set(own.failures) == {network.name for network in networks} - started and own.failures, len(own.failures)
error = next(iter(own.failures.values()))
assert isinstance(error, xennet.Busy) and error.outcome == "unchanged", error
# Nothing of it is left for a later call.
assert host.attach(5, "bridge=xenbr0").steps == 2
""")


def test_a_signal_does_not_hide_the_error_of_the_work(tmp_path):
    with open(tmp_path / "vif5.0.journal", "w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        handled("""
host = xennet.Host.fake(state_dir=sys.argv[1])
own = interrupted(lambda: host.attach(5, "bridge=xenbr0"), 0.3)
assert isinstance(own.__cause__, xennet.Busy) and own.__cause__.outcome == "unchanged", own.__cause__
assert not hasattr(own, "result")
""", tmp_path)


def test_a_signal_of_a_thread_that_waits_for_its_turn_is_not_raised_in_another(tmp_path):
    with open(tmp_path / "vif5.0.journal", "w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        handled("""
host = xennet.Host.fake(state_dir=sys.argv[1], lock_deadline=1.5)
errors = []
def other():
    try:
        host.attach(5, "bridge=xenbr0")
    except BaseException as error:
        errors.append(error)
thread = threading.Thread(target=other)
thread.start()
time.sleep(0.3)
begun = time.monotonic()
own = interrupted(host.show, 0.3)
assert time.monotonic() - begun < 1 and isinstance(own.__cause__, xennet.Busy)
thread.join()
assert [type(error) for error in errors] == [xennet.Busy], errors
""", tmp_path)


def test_a_handler_that_calls_the_host_that_is_at_work_is_told_so(tmp_path):
    with open(tmp_path / "vif5.0.journal", "w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        handled("""
host = xennet.Host.fake(state_dir=sys.argv[1])
signal.signal(signal.SIGUSR1, lambda number, frame: host.show())
threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGUSR1)).start()
signal.alarm(20)
try:
    host.attach(5, "bridge=xenbr0")
except xennet.Busy as error:
    assert "signal handler" in str(error) and "Host.interrupt" in error.hint, error
else:
    raise AssertionError
""", tmp_path)
