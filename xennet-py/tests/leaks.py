"""How much memory, how many descriptors and threads 100,000 calls leave behind: python3 leaks.py [CALLS]

By hand: it takes some minutes. Each line is what one kind of call leaves after it was warmed up; the exit status is 1 if any leaves more than a
little.
"""

import asyncio
import gc
import os
import pickle
import sys
import threading
import time

import xennet
from xennet import faults, xenstore
from xennet.aio import AsyncHost

CALLS = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
#: What an allocator may keep for itself, in KiB.
LITTLE = 3 << 10


def resident():
    gc.collect()
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * (os.sysconf("SC_PAGE_SIZE") >> 10)


def descriptors():
    return len(os.listdir("/proc/self/fd"))


def measured(name, work, share=1):
    calls = max(CALLS // share, 200)
    for _ in range(max(calls // 4, 100)):
        work()
    before, open_before, threads_before = resident(), descriptors(), threading.active_count()
    begun = time.perf_counter()
    for _ in range(calls):
        work()
    seconds = time.perf_counter() - begun
    left, opened, threads = resident() - before, descriptors() - open_before, threading.active_count() - threads_before
    well = left <= LITTLE and opened == 0 and threads == 0
    print(f"{'ok  ' if well else 'LEAK'} {name:<40} {calls:>7} calls in {seconds:>6.1f} s: {left:>6} KiB, {opened} descriptors, {threads} threads", flush=True)
    return well


def refused(call, kind):
    try:
        call()
    except kind as error:
        return error
    raise AssertionError("it was not refused")


def main():
    host, spec = xennet.Host.fake(), xennet.VifSpec.parse("mac=00:16:3e:01:02:03,bridge=xenbr0,ip=192.0.2.6")
    host.attach(9, spec)
    lines = [str(spec)] * 20
    recording = host.record()

    def attached():
        host.attach(5, spec)
        host.detach(5)

    def failed():
        broken = xennet.Host.fake(faults=[faults.FailAt(step=1, errno=1)])
        refused(lambda: broken.attach(5, spec), xennet.Denied)

    def rehearsed():
        with xennet.Host.from_recording(recording) as rehearsal:
            rehearsal.detach(9)

    def asynchronous():
        async def work():
            async with AsyncHost(xennet.Host.fake()) as twin:
                task = asyncio.create_task(twin.attach(5, spec))
                await asyncio.sleep(0)
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)

        asyncio.run(work())

    well = [
        measured("VifSpec.parse and its values", lambda: (repr(xennet.VifSpec.parse(lines[0])), hash(spec), spec.to_dict())),
        measured("parse_vifs of 20 lines", lambda: xennet.parse_vifs(lines), 10),
        measured("VifSpec.replace", lambda: spec.replace(bridge="xenbr1")),
        measured("pickling", lambda: pickle.loads(pickle.dumps(spec))),
        measured("an error, looked at", lambda: refused(lambda: xennet.VifSpec.parse("mac=x"), xennet.Invalid).report()),
        measured("an error of a wrong type", lambda: refused(lambda: xennet.VifSpec(mtu="1"), TypeError)),
        measured("a network", lambda: xennet.Network(name="n", mode="nat", subnets=["10.0.0.0/24"]).to_json(), 4),
        measured("a host in memory", xennet.Host.fake, 10),
        measured("plan_attach", lambda: host.plan_attach(5, spec).to_dict(), 10),
        measured("attach and detach", attached, 20),
        measured("a fault", failed, 50),
        measured("show, overview, picture", lambda: (host.show(), host.overview(), host.picture("svg")), 200),
        measured("record, doctor, trace", lambda: (xennet.doctor(host.record()), host.trace("9", "dom0")), 200),
        measured("a rehearsal", rehearsed, 200),
        measured("a cancelled asynchronous call", asynchronous, 100),
    ]
    with xenstore.Server() as server:
        with xenstore.Store(server.path) as store:

            def watched():
                with store.watch("/a", "t"):
                    store.write("/a", "1")
                    list(store.events(0))

            def transacted():
                with store.transaction():
                    store.write("/a", "1")

            well.append(measured("xenstore: write and read", lambda: (store.write("/a", "1"), store.read("/a")), 4))
            well.append(measured("xenstore: a watch", watched, 20))
            well.append(measured("xenstore: a transaction", transacted, 10))

        def connected():
            with xenstore.Store(server.path) as one:
                one.read("/a")

        well.append(measured("xenstore: a connection", connected, 20))
    if os.geteuid() == 0:

        def boxed():
            with xennet.Host.sandbox() as box:
                box.add_vif(5)
                box.ensure_bridge("xenbr0")
                box.attach(5, "bridge=xenbr0")

        well.append(measured("a sandbox", boxed, 1000))
        with xennet.Host.sandbox() as box:
            well.append(measured("link events", lambda: list(box.link_events(timeout=0)), 50))
            well.append(measured("a wait", lambda: box.await_link("none", 0), 10))
    print(f"{sum(well)} of {len(well)} kinds of calls leave nothing behind")
    return 0 if all(well) else 1


if __name__ == "__main__":
    sys.exit(main())
