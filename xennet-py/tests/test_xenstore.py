"""The client of xenstore, with a xenstored of this process."""

import asyncio
import datetime
import errno
import subprocess
import sys
import threading
import time

import pytest

import xennet
from xennet.xenstore import Event, Permission, Server, Store


@pytest.fixture
def server():
    with Server() as server:
        yield server


@pytest.fixture
def store(server):
    with Store(server.path) as store:
        yield store


def test_values_are_bytes_and_texts(store):
    store.write("backend/vif/5/0/bridge", "xenbr0")
    store.write_all({"a/b": b"\0\xff", "a/c": ""})
    assert store.read("/local/domain/0/backend/vif/5/0/bridge") == b"xenbr0"
    assert store.read_many(["a/b", "a/c", "a/d"]) == [b"\0\xff", b"", None]
    assert store.read_text("a/b") == "\0\ufffd" and store.read_text("a/d") is None
    assert store.directory("a") == ["b", "c"] and store.directory("z") is None
    store.mkdir("a/e")
    store.mkdir("a/b")
    assert store.read("a/e") == b"" and store.read("a/b") == b"\0\xff"
    store.remove("a")
    store.remove("a")
    assert store.directory("a") is None
    assert store.domain_path(5) == "/local/domain/5"


def test_permissions_are_values(store):
    store.write("/a", "1")
    assert store.permissions("/a")[0] == Permission(domid=0)
    list_ = (Permission(5, read=True), Permission(domid=7, write=True))
    store.set_permissions("/a", list_)
    assert store.permissions("/a") == list_ and store.permissions("/b") is None
    with pytest.raises(xennet.XennetError) as caught:
        store.set_permissions("/b", list_)
    assert caught.value.errno == errno.ENOENT


def test_a_transaction_is_all_or_nothing(store, server):
    with store.transaction() as inside:
        assert inside is store
        store.write("/a", "1")
        with Store(server.path) as other:
            assert other.read("/a") is None
    assert store.read("/a") == b"1"
    with pytest.raises(KeyError):
        with store.transaction():
            store.write("/a", "2")
            raise KeyError
    assert store.read("/a") == b"1"
    with pytest.raises(xennet.Invalid, match="open already"):
        with store.transaction(), store.transaction():
            raise AssertionError("never entered")
    with pytest.raises(xennet.Xenstore) as caught:
        with store.transaction():
            store.read("/a")
            store.write("/b", "1")
            server.set("/a", "3")
    assert caught.value.errno == errno.EAGAIN and "try again" in caught.value.hint
    assert store.read("/b") is None


def test_work_is_done_again_until_nobody_is_faster(server):
    def count(times):
        with Store(server.path) as store:
            for _ in range(times):
                store.transact(lambda store: store.write("/count", str(int(store.read("/count") or b"0") + 1)), tries=10_000)

    threads = [threading.Thread(target=count, args=(25,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with Store(server.path) as store:
        assert store.read("/count") == b"100"
        # What the work raises comes out, and nothing is open afterwards.
        with pytest.raises(ZeroDivisionError):
            store.transact(lambda store: 1 // 0)
        assert store.transact(lambda store: 7) == 7
        tried = []

        def late(store):
            tried.append(store.read("/count"))
            store.write("/mine", "1")
            server.set("/count", "0")

        with pytest.raises(xennet.Xenstore):
            store.transact(late, tries=3)
        assert len(tried) == 3
        with pytest.raises(ValueError):
            store.transact(late, tries=0)


def test_watches_tell_of_changes(store, server):
    with store.watch("/a", "mine"):
        assert list(store.events(0.05)) == [Event("/a", "mine")]
        server.set_all({"/a/b": "1", "/c": "1"})
        assert store.next_event(5) == Event(path="/a/b", token="mine")
        assert store.next_event(0) is None
        begun = time.monotonic()
        assert store.next_event(datetime.timedelta(milliseconds=80)) is None and time.monotonic() - begun >= 0.08
        with pytest.raises(xennet.XennetError) as caught:
            store.watch("/a", "mine")
        assert caught.value.errno == errno.EEXIST
    server.set("/a/b", "2")
    assert store.next_event(0.05) is None


def test_another_thread_reads_while_events_are_waited_for(store):
    found = []
    thread = threading.Thread(target=lambda: found.append(store.next_event(20)))
    thread.start()
    for _ in range(20):
        store.write("/x", "1")
    store.watch("/y", "t")
    thread.join()
    assert found == [Event("/y", "t")]


def test_events_come_to_the_event_loop(server):
    async def main():
        with Store(server.path) as store, store.watch("/a", "t"):
            ticks, found = 0, []

            async def tick():
                nonlocal ticks
                while True:
                    await asyncio.sleep(0.001)
                    ticks += 1

            ticking = asyncio.create_task(tick())
            async for event in store.aevents(0.3):
                found.append(event.path)
                if len(found) == 1:
                    asyncio.get_running_loop().call_later(0.05, server.set, "/a/b", "1")
            ticking.cancel()
            assert found == ["/a", "/a/b"] and ticks > 20, (found, ticks)
            # A task that waits can be cancelled, and its descriptor is not watched any more.
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(store.aevents().__anext__(), 0.05)
            server.set("/a/c", "1")
            assert (await store.aevents(1).__anext__()).path == "/a/c"

    asyncio.run(main())


def test_no_server_and_one_that_has_gone(tmp_path):
    with pytest.raises(xennet.Xenstore) as caught:
        Store(tmp_path / "none")
    assert isinstance(caught.value, OSError) and caught.value.errno == errno.ENOENT and str(tmp_path) in str(caught.value)
    server = Server(tmp_path / "socket")
    assert server.path == tmp_path / "socket"
    store = Store(server.path, deadline=datetime.timedelta(seconds=5))
    server.close()
    server.close()
    for _ in range(2):
        with pytest.raises(xennet.Xenstore) as caught:
            store.read("/a")
        assert caught.value.hint
    with pytest.raises(xennet.Xenstore):
        server.set("/a", "1")
    # The error of a block is not hidden by the server's.
    with pytest.raises(xennet.Xenstore):
        with store.transaction():
            raise AssertionError("never entered")
    store.close()
    store.close()
    for call in (lambda: store.read("/a"), lambda: store.next_event(0), lambda: store.watch("/a")):
        with pytest.raises(xennet.Invalid, match="store is closed"):
            call()
    with pytest.raises(ValueError, match="store is closed"):
        store.fileno()


def test_another_domain_is_refused(tmp_path):
    with Server(domid=5) as server, Store(server.path) as store:
        with pytest.raises(xennet.Xenstore) as caught:
            store.write("/local/domain/0/a", "1")
        assert caught.value.errno == errno.EACCES and "xenstore-ls -p" in caught.value.hint


@pytest.mark.parametrize(
    ("call", "kind"),
    [
        (lambda s: s.read("a b"), xennet.Invalid),
        (lambda s: s.read("//"), xennet.Invalid),
        (lambda s: s.write("a", "x" * 5000), xennet.Invalid),
        (lambda s: s.write("a" * 4000, ""), xennet.Invalid),
        (lambda s: s.watch("/a", "t\0"), xennet.Invalid),
        (lambda s: s.read(5), TypeError),
        (lambda s: s.read(None), TypeError),
        (lambda s: s.read("\ud800"), TypeError),
        (lambda s: s.read_many("ab"), TypeError),
        (lambda s: s.write("a", 5), TypeError),
        (lambda s: s.write("a", "\ud800"), TypeError),
        (lambda s: s.write_all(["a"]), TypeError),
        (lambda s: s.set_permissions("a", [Permission(70000)]), xennet.Invalid),
        (lambda s: s.set_permissions("a", [5]), AttributeError),
        (lambda s: s.domain_path(-1), xennet.Invalid),
        (lambda s: s.next_event(float("nan")), xennet.Invalid),
        (lambda s: s.next_event("1"), TypeError),
        (lambda s: Store(deadline=-1), xennet.Invalid),
        (lambda s: Store(path=5), TypeError),
    ],
)
def test_what_makes_no_sense_is_refused_and_not_sent(store, call, kind):
    with pytest.raises(kind) as caught:
        call(store)
    assert str(caught.value)
    assert store.directory("/") is not None, "the connection is of use still"


def test_a_forked_child_that_ends_leaves_the_server_to_its_parent():
    program = """
import os, signal, sys
from xennet import xenstore
server = xenstore.Server()
store = xenstore.Store(server.path)
store.write("a", "1")
child = os.fork()
if child == 0:
    signal.alarm(20)
    sys.exit(0)
assert os.waitpid(child, 0)[1] == 0
assert store.read("a") == b"1" and os.path.exists(server.path)
with xenstore.Store(server.path) as other:
    assert other.read("a") == b"1"
server.close()
assert not os.path.exists(server.path)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("ends", ["the server", "the store"])
def test_the_block_s_error_is_told_with_what_failed_on_the_way_out(ends):
    for block in (lambda store: store.transaction(), lambda store: store.watch("a")):
        server = Server()
        store = Store(server.path)
        with pytest.raises(ValueError, match="its own") as caught:
            with block(store):
                (server if ends == "the server" else store).close()
                raise ValueError("its own")
        assert isinstance(caught.value.__context__, xennet.Xenstore if ends == "the server" else xennet.Invalid)
        assert caught.value.__context__.__context__ is None
        # Also where the block's error has a chain of its own.
        with pytest.raises(ValueError) as caught:
            with xennet.xenstore.Watch(store, "a", ""):
                try:
                    raise KeyError
                except KeyError:
                    raise ValueError
        assert isinstance(caught.value.__context__, KeyError) and isinstance(caught.value.__context__.__context__, xennet.XennetError)
        server.close()


def test_a_watch_that_cannot_be_taken_back_is_told(server):
    store = Store(server.path)
    with pytest.raises(xennet.Invalid, match="closed"):
        with store.watch("a"):
            store.close()


def test_a_forked_child_leaves_blocks_of_its_parent_quietly(tmp_path):
    program = """
import os, signal, sys, xennet
from xennet import xenstore
with xenstore.Server() as server, xenstore.Store(server.path) as store, store.watch("a"), xennet.Host.fake() as host:
    with host.applied(host.plan_attach(5, "bridge=xenbr0")):
        child = os.fork()
        if child == 0:
            signal.alarm(20)
            sys.exit(7)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
        store.write("a", "1")
        assert host.show()["vifs"]
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
