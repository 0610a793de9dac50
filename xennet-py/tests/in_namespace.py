"""Runs a function of this file in a network namespace made for it: python3 in_namespace.py FUNCTION STATE_DIR

No root is needed where user namespaces are allowed. Ends with 77 where they are not.
"""

import asyncio
import ctypes
import fcntl
import os
import shutil
import signal
import socket
import struct
import sys
import threading
import time

import xennet

CLONE_NEWUSER, CLONE_NEWNET = 0x10000000, 0x40000000
RTM_NEWLINK, RTM_DELLINK, RTM_SETLINK = 16, 17, 19
IFF_UP = 0x1
NLM_F_REQUEST, NLM_F_ACK, NLM_F_EXCL, NLM_F_CREATE = 0x1, 0x4, 0x200, 0x400
IFLA_IFNAME, IFLA_LINKINFO, IFLA_INFO_KIND = 3, 18, 1


def write(path, text):
    with open(path, "w") as file:
        file.write(text)


def enter():
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNET) == 0:
        return
    uid, gid = os.getuid(), os.getgid()
    if libc.unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0:
        print(f"no namespaces here: {os.strerror(ctypes.get_errno())}", file=sys.stderr)
        sys.exit(77)
    write("/proc/self/setgroups", "deny")
    write("/proc/self/uid_map", f"0 {uid} 1")
    write("/proc/self/gid_map", f"0 {gid} 1")


def attribute(kind, payload):
    data = struct.pack("=HH", len(payload) + 4, kind) + payload
    return data + bytes(-len(data) % 4)


def link(message, name, extra=b"", up=0):
    """One rtnetlink message about a link: what `ip link add NAME type veth` and `ip link del NAME` send."""
    flags = NLM_F_REQUEST | NLM_F_ACK | (NLM_F_CREATE | NLM_F_EXCL if message == RTM_NEWLINK else 0)
    body = struct.pack("=BxHiII", socket.AF_UNSPEC, 0, 0, up, up) + attribute(IFLA_IFNAME, name.encode() + b"\0") + extra
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as netlink:
        netlink.send(struct.pack("=IHHII", 16 + len(body), message, flags, 1, 0) + body)
        (error,) = struct.unpack_from("=i", netlink.recv(4096), 16)
    if error:
        raise OSError(-error, os.strerror(-error), name)


def make_vif(name):
    link(RTM_NEWLINK, name, attribute(IFLA_LINKINFO, attribute(IFLA_INFO_KIND, b"veth")))


def bridge_of(host, vif):
    return next((b["bridge"] for b in host.show()["bridges"] if vif in b["ports"]), None)


def attach_and_back(state_dir):
    make_vif("vif5.0")
    host = xennet.Host.netlink(state_dir=state_dir)
    assert host.ensure_bridge("xenbr0").steps > 0
    assert host.ensure_bridge("xenbr0").steps == 0

    plan = host.plan_attach(5, "bridge=xenbr0")
    assert bridge_of(host, "vif5.0") is None
    assert host.attach(5, "bridge=xenbr0").steps == len(plan) > 0
    assert bridge_of(host, "vif5.0") == "xenbr0"
    assert host.attach(5, "bridge=xenbr0").steps == 0

    # As another process would: what was done is remembered in the directory.
    other = xennet.Host.netlink(state_dir=state_dir)
    assert [v["vif"] for v in other.show()["vifs"]] == ["vif5.0"]
    assert other.undo("vif5.0").steps > 0
    assert bridge_of(host, "vif5.0") is None
    assert host.attach(5, "bridge=xenbr0").steps > 0
    assert other.detach(5).steps > 0
    assert bridge_of(host, "vif5.0") is None
    assert host.undo().steps > 0
    assert bridge_of(host, "vif5.0") == "xenbr0"
    assert host.recover() == []


def refusals(state_dir):
    make_vif("vif5.0")
    host = xennet.Host.netlink(state_dir=state_dir)
    for vif, kind in [("bridge=xenbr0", xennet.BridgeNotFound), ("bridge=lo", xennet.NotABridge)]:
        try:
            host.attach(5, vif)
        except kind as error:
            assert error.object == vif[7:] and error.state, error.report()
        else:
            raise AssertionError(vif)
    host.ensure_bridge("xenbr0")
    try:
        host.attach(6, "bridge=xenbr0")
    except LookupError as error:
        assert type(error) is xennet.LinkNotFound and error.object == "vif6.0", error.report()
    else:
        raise AssertionError("there is no vif6.0")
    link(RTM_DELLINK, "vif5.0")
    assert host.detach(5).steps == 0


def networks(state_dir):
    link(RTM_NEWLINK, "eth0", attribute(IFLA_LINKINFO, attribute(IFLA_INFO_KIND, b"veth")), IFF_UP)
    (network,) = xennet.parse_networks('[network.lan]\nmode = "bridge"\nuplink = "eth0"\nbridge = "xenbr0"\n')
    host = xennet.Host.netlink(state_dir=state_dir)
    before = host.show()["bridges"]
    plan = host.plan_start(network)
    assert host.show()["bridges"] == before
    assert host.start_network(network).steps == len(plan) > 0
    assert host.start_network(network).steps == 0

    # As another process would; and a guest is in the way, unless it may be cut off.
    other = xennet.Host.netlink(state_dir=state_dir)
    make_vif("vif5.0")
    assert other.attach(5, "bridge=lan").steps > 0
    status = other.network_status(network)
    assert status["started"] and status["missing"] == [] and set(status["ports"]) == {"eth0", "vif5.0"}, status
    try:
        host.stop_network("lan")
    except xennet.Conflict as error:
        assert "vif5.0" in error.message and error.state, error.report()
    else:
        raise AssertionError("vif5.0 is a port")
    plan = other.plan_stop("lan", force=True)
    assert other.stop_network("lan", force=True).steps == len(plan) > 0
    assert host.plan_stop("lan") is None and host.stop_network("lan").steps == 0
    assert host.show()["bridges"] == before


def sandbox(state_dir):
    """A namespace within this one: nothing of it is to be seen from here."""
    before = os.listdir("/sys/class/net") if os.path.isdir("/sys/class/net") else None
    with xennet.Host.sandbox(lock_deadline=5, mac_binding="always") as host:
        assert host.add_vif(5) == "vif5.0" and host.add_link("eth0", "eth0-far") == "eth0"
        assert host.ensure_bridge("xenbr0") and host.attach(5, "bridge=xenbr0,mac=00:16:3e:00:00:05")
        assert bridge_of(host, "vif5.0") == "xenbr0"
        private = xennet.Network(name="private", mode="nat", subnets=["10.0.0.0/24"], egress="eth0")
        assert host.start_network(private) and host.network_status(private)["started"]
        inside = host.run(lambda: open("/proc/thread-self/net/dev").read())
        assert "vif5.0" in inside and "xenbr0" in inside and "xenbr0" not in open("/proc/net/dev").read()
        try:
            host.run(os.stat, "/none")
        except FileNotFoundError:
            pass
        else:
            raise AssertionError("what a function raises comes back")
        for wrong in ("vif5.0", "a-name-that-is-long"):
            try:
                host.add_link(wrong, "other")
            except xennet.XennetError as error:
                assert error.outcome == "unchanged" or isinstance(error, xennet.Invalid), error.report()
            else:
                raise AssertionError(wrong)
        try:
            host.start_confirmed(private, 5)
        except xennet.Unsupported as error:
            assert "sandbox" in str(error)
        else:
            raise AssertionError("nobody would be there to confirm")
        threads = [threading.Thread(target=host.await_link, args=("none", 0.3)) for _ in range(3)]
        for thread in threads:
            thread.start()
        seen = []
        watching = threading.Thread(target=lambda: seen.extend(host.watch(timeout=3)))
        watching.start()
        for thread in threads:
            thread.join()
        host.detach(5)
        watching.join()
        assert len(seen) >= 2 and seen[0]["vifs"] and not seen[-1]["vifs"], seen
        place = host.state_dir
        assert place.is_dir()
    assert not place.exists()
    host.close()
    try:
        host.run(print)
    except xennet.Invalid as error:
        assert "closed" in str(error)
    else:
        raise AssertionError("it is closed")
    assert before is None or os.listdir("/sys/class/net") == before
    # One that nobody closed leaves no directory either.
    host = xennet.Host.sandbox()
    place = host.state_dir
    assert place.is_dir() and not host.await_link("none", 0)
    del host
    assert not place.exists()
    # A rehearsal of what is there.
    make_vif("vif7.0")
    with xennet.Host(state_dir=state_dir) as host, host.rehearse() as rehearsal:
        rehearsal.ensure_bridge("xenbr0")
        assert rehearsal.attach(7, "bridge=xenbr0") and not host.is_bridge("xenbr0")


IFLA_NET_NS_PID = 19


def closing(state_dir):
    """Nothing keeps the namespace of a sandbox that is closed: a link of which one end is here goes with it."""

    def probed():
        box = xennet.Host.sandbox()
        box.add_link("probe", "probe-far")
        box.run(link, RTM_SETLINK, "probe-far", attribute(IFLA_NET_NS_PID, struct.pack("=I", os.getpid())))
        assert "probe-far" in open("/proc/net/dev").read()
        return box

    def is_gone():
        end = time.monotonic() + 10
        while "probe-far" in open("/proc/net/dev").read():
            assert time.monotonic() < end, "something keeps the namespace"
            time.sleep(0.02)

    def refused(work):
        try:
            work()
        except xennet.Invalid as error:
            assert "closed" in str(error), error
        else:
            raise AssertionError("it is closed")

    # Watches, of which one is waited for in another thread, and the host itself, which is not let go.
    box = probed()
    looks, events = box.watch(), box.link_events()
    next(looks)
    seen = []

    def waiting():
        try:
            refused(lambda: next(events))
        except BaseException as error:
            seen.append(error)
        else:
            seen.append(None)

    waits = threading.Thread(target=waiting)
    waits.start()
    box.close()
    is_gone()
    waits.join()
    assert seen == [None], seen
    refused(lambda: next(looks))
    refused(box.link_events)

    # A watch of asyncio is told, too.
    async def main():
        twin = xennet.aio.AsyncHost(probed())
        watch = twin.link_events()
        waits = asyncio.ensure_future(watch.__anext__())
        await asyncio.sleep(0.1)
        await twin.close()
        try:
            await asyncio.wait_for(waits, 5)
        except xennet.Invalid:
            pass
        else:
            raise AssertionError
        return twin

    twin = asyncio.run(main())
    is_gone()
    assert twin

    # A function whose caller did not wait to its end.
    box = probed()
    begun = threading.Event()
    signal.signal(signal.SIGINT, signal.default_int_handler)

    def work():
        begun.set()
        time.sleep(0.5)

    def interrupt():
        begun.wait()
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt).start()
    try:
        box.run(work)
    except KeyboardInterrupt:
        pass
    box.close()
    is_gone()

    # A network that cannot be stopped, whose service would keep the namespace.
    box = probed()
    box.add_link("eth0", "eth0-far")
    serves = shutil.which("dnsmasq") is not None
    box.start_network(xennet.Network(name="private", mode="nat", subnets=["10.0.0.0/24"], egress="eth0", dhcp=serves, dns=serves))
    place = box.state_dir
    for file in place.iterdir():
        if file.is_file():
            file.write_text("not a record\n")
    try:
        box.close()
    except xennet.XennetError:
        pass
    else:
        raise AssertionError("what is remembered of it cannot be read")
    assert not place.exists() and not os.path.exists(f"{place}-services")
    is_gone()
    box.close()

    # A copy of the process takes nothing away.
    box = probed()
    child = os.fork()
    if child == 0:
        try:
            box.close()
        except xennet.Invalid:
            # Ends as a program does.
            sys.exit(0)
        os._exit(1)
    assert os.waitpid(child, 0)[1] == 0
    assert box.state_dir.is_dir() and box.ensure_bridge("xenbr0")
    box.close()
    is_gone()


def watching(state_dir):
    host = xennet.Host(state_dir=state_dir)
    looks = host.watch(timeout=5)
    assert next(looks)["bridges"] == []
    host.ensure_bridge("xenbr0")
    assert [b["bridge"] for b in next(looks)["bridges"]] == ["xenbr0"]
    assert list(host.watch(timeout=0.05)) == [host.show()], "it ends when nothing changes"

    async def main():
        async with xennet.aio.AsyncHost(host) as twin:
            seen = []
            async for shown in twin.watch(timeout=5):
                seen.append([b["bridge"] for b in shown["bridges"]])
                if len(seen) == 3:
                    break
                asyncio.get_running_loop().create_task(twin.ensure_bridge(f"xenbr{len(seen)}"))
            assert seen == [["xenbr0"], ["xenbr0", "xenbr1"], ["xenbr0", "xenbr1", "xenbr2"]], seen
            link_comes = asyncio.create_task(twin.await_link("vif5.0", 20))
            await asyncio.sleep(0.1)
            make_vif("vif5.0")
            assert await link_comes
            try:
                await asyncio.wait_for(twin.await_link("vif6.0", 60), 0.2)
            except asyncio.TimeoutError:
                pass
            else:
                raise AssertionError("no such link comes")
            assert await twin.attach(5, "bridge=xenbr0")

    events = host.link_events(timeout=5)
    make_vif("vif8.0")
    event = next(event for event in events if event["link"] == "vif8.0")
    assert event["event"] == "appeared" and not event["up"] and event["index"] > 0, event
    assert set(event) == set(xennet.documents.LinkEvent.__annotations__)
    link(RTM_DELLINK, "vif8.0")
    assert ("gone", "vif8.0") in ((event["event"], event["link"]) for event in events)
    assert list(host.link_events(timeout=0.01)) == []

    async def changes():
        async with xennet.aio.AsyncHost(xennet.Host(state_dir=state_dir)) as twin:
            asyncio.get_running_loop().call_later(0.2, make_vif, "vif9.0")
            async for event in twin.link_events(timeout=5):
                if event["link"] == "vif9.0":
                    return
            raise AssertionError("it was not told")

    begun = time.monotonic()
    asyncio.run(changes())
    asyncio.run(main())
    assert time.monotonic() - begun < 30


def waits(state_dir):
    """Ctrl-C ends every wait, in the main thread, and so does another thread."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    host = xennet.Host(state_dir=state_dir)
    server = xennet.xenstore.Server()
    store = xennet.xenstore.Store(server.path)
    box = xennet.Host.sandbox()
    for wait in (
        lambda: host.await_link("vif5.0", 60),
        lambda: box.await_link("vif5.0", 60),
        lambda: store.next_event(60),
        lambda: list(host.watch(timeout=60)),
        lambda: [event for event in store.events()],
        lambda: list(host.link_events()),
    ):
        begun = time.monotonic()
        timer = threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT))
        timer.start()
        try:
            wait()
        except KeyboardInterrupt:
            assert time.monotonic() - begun < 5
        else:
            raise AssertionError("it was waited for longer than somebody wanted")
        timer.join()

    # An exception of a handler of one's own comes out, too.
    class Own(Exception):
        pass

    def handler(number, frame):
        raise Own

    signal.signal(signal.SIGUSR1, handler)
    threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGUSR1)).start()
    try:
        host.await_link("vif5.0", 60)
    except Own:
        pass
    else:
        raise AssertionError("the handler raised")

    timer = threading.Timer(0.2, host.interrupt)
    timer.start()
    try:
        host.await_link("vif5.0", 60)
    except xennet.Busy as error:
        assert error.outcome == "unchanged" and "not waited for any longer" in str(error), error.report()
    else:
        raise AssertionError("it was interrupted")
    timer.join()
    make_vif("vif5.0")
    assert host.await_link("vif5.0", 0), "the host is of use still"
    box.close()


def confirmed(state_dir):
    link(RTM_NEWLINK, "eth0", attribute(IFLA_LINKINFO, attribute(IFLA_INFO_KIND, b"veth")), IFF_UP)
    network = xennet.Network(name="lan", mode="bridge", uplink="eth0", bridge="xenbr0")
    host = xennet.Host(state_dir=state_dir)
    with host.start_confirmed(network, 60):
        assert host.awaited() == ["lan"]
    assert host.awaited() == [] and host.is_bridge("xenbr0") and host.uplink_of("xenbr0") == "eth0"
    host.stop_network("lan")
    host.start_confirmed(network, 0.3)
    end = time.monotonic() + 20
    while host.is_bridge("xenbr0") and time.monotonic() < end:
        time.sleep(0.05)
    assert not host.is_bridge("xenbr0") and host.started_networks() == ()

    # A process that dies in the middle of a start is noticed at once.
    pid = os.fork()
    if pid == 0:
        from xennet._confirm import Guard

        status = 1
        try:
            own = xennet.Host(state_dir=state_dir)
            guard = Guard(own, "lan", 3600)
            # The guard hears no word of it.
            ends = os.pipe()
            own._start_confirmed(network, ends[1])
            status = 0 if own.is_bridge("xenbr0") and guard else 1
        finally:
            os._exit(status)
    assert os.waitpid(pid, 0)[1] == 0
    end = time.monotonic() + 20
    while (host.is_bridge("xenbr0") or host.awaited()) and time.monotonic() < end:
        time.sleep(0.05)
    assert not host.is_bridge("xenbr0") and host.awaited() == []


def hotplug(state_dir):
    """What libxl sees of a script in Python."""
    make_vif("vif5.0")
    xennet.Host(state_dir=state_dir).ensure_bridge("xenbr0")
    with xennet.xenstore.Server() as server, xennet.xenstore.Store(server.path) as store:
        path = "backend/vif/5/0"
        store.write_all({f"{path}/bridge": "xenbr0", f"{path}/mac": "00:16:3e:00:00:05", f"{path}/handle": "0"})
        environment = {
            "XENSTORED_PATH": str(server.path), "XENBUS_PATH": path, "vif": "vif5.0", "XENNET_HOTPLUG_CONFIG": os.path.join(state_dir, "none.toml"),
        }

        def call(*arguments):
            return xennet.hotplug("vif-bridge", arguments, environment=environment, state_dir=state_dir)

        record = call("online", "type_if=vif")
        assert record["outcome"] == "connected" and record["vif"] == "vif5.0" and record["bridge"] == "xenbr0", record
        assert store.read(f"{path}/hotplug-status") == b"connected"
        assert call("online", "type_if=vif")["outcome"] != "failed"
        assert bridge_of(xennet.Host(state_dir=state_dir), "vif5.0") == "xenbr0"
        assert call("offline", "type_if=vif")["outcome"] != "failed"
        # Ctrl-C while the call waits for a lock.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        with open(os.path.join(state_dir, "vif5.0.journal"), "a") as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            timers = [threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)), threading.Timer(0.6, fcntl.flock, (held, fcntl.LOCK_UN))]
            for timer in timers:
                timer.start()
            try:
                call("online", "type_if=vif")
            except KeyboardInterrupt as interrupt:
                assert interrupt.result["outcome"] == "connected", interrupt.result
            else:
                raise AssertionError("it was interrupted")
            for timer in timers:
                timer.join()
        assert call("offline", "type_if=vif")["outcome"] != "failed"
        store.write(f"{path}/bridge", "none")
        try:
            call("online", "type_if=vif")
        except xennet.BridgeNotFound:
            assert store.read(f"{path}/hotplug-status") == b"error"
        else:
            raise AssertionError("there is no such bridge")


def example(state_dir):
    here = os.path.dirname(os.path.abspath(__file__))
    program = os.path.join(here, "..", "..", "examples", "python", "attach.py")
    make_vif("vif5.0")
    xennet.Host.netlink(state_dir=state_dir).ensure_bridge("xenbr0")
    os.execv(sys.executable, [sys.executable, program, "5", "bridge=xenbr0", state_dir])


if __name__ == "__main__":
    enter()
    functions = [attach_and_back, closing, refusals, networks, sandbox, watching, waits, confirmed, hotplug, example]
    {function.__name__: function for function in functions}[sys.argv[1]](sys.argv[2])
