"""A rolling change over guests: each is moved to another bridge and looked at; at the first trouble all that was done is undone, the last first.

    python3 rolling.py                                  a rehearsal in memory, and one in which the third guest meets a fault
    python3 rolling.py BRIDGE DOMID [DOMID ...]         on this host
"""

from __future__ import annotations

import asyncio
import errno
import sys
from collections.abc import Iterable

import xennet
from xennet.aio import AsyncHost
from xennet.faults import FailAt


async def roll(host: AsyncHost, bridge: str, domids: Iterable[int]) -> None:
    """Moves the guests, or none of them."""
    known = {shown["domid"]: xennet.VifSpec.parse(shown["spec"] or "") for shown in (await host.show())["vifs"] if shown["devid"] == 0}
    moved: list[str] = []
    try:
        for domid in domids:
            plan = await host.plan_attach(domid, known[domid].replace(bridge=bridge))
            print(f"{plan.subject}: {len(plan)} steps")
            if await host.apply(plan):
                moved.append(f"vif{domid}.0")
            (shown,) = [shown for shown in (await host.show())["vifs"] if shown["domid"] == domid]
            if shown["obstacles"]:
                raise RuntimeError(f"{shown['vif']} is not reached: {shown['obstacles']}")
    except BaseException:
        # Also when this task is cancelled: the call in progress has ended by then.
        for subject in reversed(moved):
            await host.undo(subject)
            print(f"{subject}: undone")
        raise


def rehearsed() -> xennet.Host:
    host = xennet.Host.fake()
    host.ensure_bridge("br-new")
    for domid in range(5, 9):
        host.attach(domid, f"bridge=xenbr0,mac=00:16:3e:00:00:0{domid}")
    return host


async def main(arguments: list[str]) -> None:
    if arguments:
        async with AsyncHost() as host:
            await roll(host, arguments[0], map(int, arguments[1:]))
        return
    model = rehearsed()
    each = len(model.plan_attach(5, "bridge=br-new"))
    async with AsyncHost(model.rehearse()) as rehearsal:
        await roll(rehearsal, "br-new", range(5, 9))
        print("all moved:", {shown["bridge"] for shown in (await rehearsal.show())["vifs"]})
    # The second step of the third guest.
    async with AsyncHost(model.rehearse(faults=[FailAt(step=2 * each + 1, errno=errno.EBUSY)])) as rehearsal:
        try:
            await roll(rehearsal, "br-new", range(5, 9))
        except xennet.XennetError as error:
            print(f"the third one fails: {error.errno_name}, {error.outcome}")
        print("as before:", {shown["bridge"] for shown in (await rehearsal.show())["vifs"]})


if __name__ == "__main__":
    try:
        asyncio.run(main(sys.argv[1:]))
    except xennet.XennetError as error:
        print(error.report(), file=sys.stderr)
        sys.exit(error.code)
