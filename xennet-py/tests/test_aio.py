"""The asyncio twins."""

import asyncio
import gc
import inspect
import subprocess
import sys
import threading
import time

import pytest

import xennet
from xennet import Host
from xennet.aio import AsyncHost

HOLD = "import fcntl,sys; f=open(sys.argv[1],'a'); fcntl.flock(f,fcntl.LOCK_EX); print(flush=True); input()"


def test_everything_that_waits_has_a_twin():
    twins = {name for name in dir(AsyncHost) if not name.startswith("_")}
    calls = {name for name, value in inspect.getmembers(Host) if not name.startswith("_") and callable(value)}
    doors = {"netlink", "fake", "from_recording", "sandbox"}
    assert calls - doors <= twins and twins - calls == {"call"}
    for name in calls - doors:
        ours, theirs = inspect.signature(getattr(AsyncHost, name)), inspect.signature(getattr(Host, name))
        if name != "guest_config":
            assert list(ours.parameters) == list(theirs.parameters), name
        assert getattr(AsyncHost, name).__doc__


def test_calls_run_in_order_and_the_loop_goes_on():
    async def main():
        async with AsyncHost(Host.fake()) as host:
            plan = await host.plan_attach(5, "bridge=xenbr0")
            assert (await host.apply(plan)).steps == len(plan)
            await asyncio.gather(*(host.attach(domid, "bridge=xenbr0") for domid in range(6, 30)))
            assert [vif["domid"] for vif in (await host.show())["vifs"]] == list(range(5, 30))
            assert await host.is_bridge("xenbr0") and await host.default_route_link() == "xenbr0"
            async with await host.rehearse() as rehearsal:
                await rehearsal.detach(5)
            async with host.applied(await host.plan_attach(99, "bridge=xenbr0")) as applied:
                assert applied and len((await host.show())["vifs"]) == 26
            assert len((await host.show())["vifs"]) == 25
            with pytest.raises(xennet.BridgeNotFound):
                await host.attach(5, "bridge=none")
            assert await host.call(lambda host: host.backend, host.host) == "fake"
        await host.close()
        with pytest.raises(xennet.Invalid, match="closed"):
            await host.show()

    asyncio.run(main())


def test_under_load_the_loop_is_never_blocked():
    async def main():
        worst, last = 0.0, time.monotonic()

        async def tick():
            nonlocal worst, last
            while True:
                await asyncio.sleep(0.002)
                now = time.monotonic()
                worst, last = max(worst, now - last), now

        ticking = asyncio.create_task(tick())
        hosts = [AsyncHost(Host.fake()) for _ in range(8)]

        async def guest(host, domid):
            await host.attach(domid, "bridge=xenbr0")
            await host.detach(domid)

        await asyncio.gather(*(guest(host, domid) for host in hosts for domid in range(1, 41)))
        ticking.cancel()
        assert [(await host.show())["vifs"] for host in hosts] == [[]] * 8
        for host in hosts:
            await host.close()
        return worst

    assert asyncio.run(main()) < 2


def test_a_call_that_waits_for_a_lock_can_be_cancelled_and_has_changed_nothing(tmp_path):
    Host.fake(state_dir=tmp_path).attach(5, "bridge=xenbr0")
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path / "vif5.0.journal")], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as held:
        assert held.stdout is not None and held.stdout.readline()

        async def main():
            async with AsyncHost(Host.fake(state_dir=tmp_path, lock_deadline=60)) as host:
                begun = time.monotonic()
                with pytest.raises(asyncio.TimeoutError):
                    await asyncio.wait_for(host.detach(5), 0.2)
                first, queued = asyncio.create_task(host.detach(5)), asyncio.create_task(host.detach(5))
                await asyncio.sleep(0.1)
                queued.cancel()
                first.cancel()
                results = await asyncio.gather(first, queued, return_exceptions=True)
                assert [type(result) for result in results] == [asyncio.CancelledError] * 2
                assert time.monotonic() - begun < 20
                return await host.show()

        assert [vif["vif"] for vif in asyncio.run(main())["vifs"]] == ["vif5.0"]
        held.communicate(b"\n")


def test_a_call_that_is_at_work_ends_before_it_is_cancelled():
    async def main():
        async with AsyncHost(Host.fake()) as host:
            done = []

            def work():
                time.sleep(0.3)
                done.append(host.host.attach(5, "bridge=xenbr0"))
                return "what it gave"

            async def waits():
                try:
                    await host.call(work)
                except asyncio.CancelledError as cancelled:
                    return len(done), cancelled.result

            task = asyncio.create_task(waits())
            await asyncio.sleep(0.1)
            task.cancel()
            await asyncio.sleep(0.05)
            task.cancel()
            assert await task == (1, "what it gave"), "nothing is going on any more when it arrives"

            async def fails():
                try:
                    await host.call(lambda: time.sleep(0.2) or host.host.attach(6, "bridge=none"))
                except asyncio.CancelledError as cancelled:
                    return cancelled.__cause__

            task = asyncio.create_task(fails())
            await asyncio.sleep(0.1)
            task.cancel()
            assert isinstance(await task, xennet.BridgeNotFound)

    asyncio.run(main())


def test_what_was_applied_for_a_while_is_restored_when_the_task_is_cancelled():
    async def main():
        async with AsyncHost(Host.fake()) as host:

            async def block():
                async with host.applied(await host.plan_attach(5, "bridge=xenbr0")):
                    await asyncio.sleep(60)

            task = asyncio.create_task(block())
            while not (await host.show())["vifs"]:
                await asyncio.sleep(0.01)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert (await host.show())["vifs"] == []

    asyncio.run(main())


def test_a_start_is_confirmed_by_the_end_of_the_block(tmp_path):
    async def main():
        network = xennet.Network(name="private", mode="nat", subnets=["10.0.0.0/24"], egress="eth0")
        async with AsyncHost(Host.fake(state_dir=tmp_path)) as host:
            async with await host.start_confirmed(network, 60) as start:
                assert start.start.pending and await host.awaited() == ["private"]
            assert await host.awaited() == [] and await host.started_networks() == (network,)
            assert list(await host.stop_networks()) == ["private"]

    asyncio.run(main())


def test_what_is_no_host_is_refused():
    with pytest.raises(TypeError, match="host is a xennet.Host, not int"):
        AsyncHost(5)

    async def main():
        async with AsyncHost(Host.fake()) as host:
            with pytest.raises(xennet.Unsupported):
                async for _ in host.watch():
                    pass
            with pytest.raises(TypeError):
                await host.attach("5", "bridge=xenbr0")

    asyncio.run(main())


def test_a_close_that_is_cancelled_closes():
    async def main():
        host = AsyncHost(Host.fake())
        begun = threading.Event()

        def work():
            begun.set()
            time.sleep(0.3)

        working = asyncio.create_task(host.call(work))
        await asyncio.get_running_loop().run_in_executor(None, begun.wait)
        closing = asyncio.create_task(host.close())
        await asyncio.sleep(0.05)
        closing.cancel()
        await asyncio.sleep(0.05)
        closing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await closing
        assert working.done() and await working is None
        with pytest.raises(xennet.Invalid, match="closed"):
            host.host.show()
        await host.close()

    asyncio.run(main())


def test_a_plan_for_a_while_is_restored_however_often_that_is_cancelled():
    async def main():
        async with AsyncHost(Host.fake()) as host:
            plan = await host.plan_attach(5, "bridge=xenbr0")
            leaves = asyncio.Event()

            async def block():
                async with host.applied(plan):
                    # Something of another task is at work when the restoring would begin.
                    other = asyncio.create_task(host.call(time.sleep, 0.3))
                    await asyncio.sleep(0.05)
                    leaves.set()
                await other

            task = asyncio.create_task(block())
            await leaves.wait()
            await asyncio.sleep(0.05)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert (await host.show())["vifs"] == []

    asyncio.run(main())


def test_a_cancelled_call_that_fails_is_told_by_the_cancellation_alone():
    told = []

    async def main():
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: told.append(context))
        async with AsyncHost(Host.fake()) as host:

            def fails():
                time.sleep(0.2)
                raise ValueError("its own")

            task = asyncio.create_task(host.call(fails))
            await asyncio.sleep(0.05)
            task.cancel()
            try:
                await task
            except asyncio.CancelledError as cancelled:
                assert isinstance(cancelled.__cause__, ValueError)
            else:
                raise AssertionError
            del task
            gc.collect()

    asyncio.run(main())
    gc.collect()
    assert told == []
