"""A rolling change over guests: each is moved to another bridge and looked at; at the first trouble all that was done is undone, the last first.

    python3 rolling.py                                  a rehearsal in memory, and one in which the third guest meets a fault
    python3 rolling.py BRIDGE DOMID [DOMID ...]         on this host

Exit status: 0 if all were moved; 2 for wrong arguments; otherwise the code of the error that stopped the change (3 and more, or 1). Each guest that could
not be moved back is told on standard error.
"""

from __future__ import annotations

import asyncio
import errno
import sys
from collections.abc import Iterable

import xennet
from xennet.aio import AsyncHost
from xennet.faults import FailAt


class NotMoved(Exception):
    """A guest cannot be moved, or is not reached where it was moved to."""


async def vifs(host: AsyncHost) -> dict[int, dict[str, object]]:
    """The first vif of each guest."""
    return {shown["domid"]: dict(shown) for shown in (await host.show())["vifs"] if shown["devid"] == 0}


async def roll(host: AsyncHost, bridge: str, domids: Iterable[int]) -> None:
    """Moves the guests, or none of them."""
    domids = list(domids)
    known = await vifs(host)
    for domid in domids:
        if domid not in known:
            raise NotMoved(f"vif{domid}.0 is not attached")
    moved: list[str] = []
    try:
        for domid in domids:
            spec = xennet.VifSpec.parse(str(known[domid]["spec"] or ""), dialect=xennet.Dialect.XL)
            plan = await host.plan_attach(domid, spec.replace(bridge=bridge))
            print(f"{plan.subject}: {len(plan)} steps")
            try:
                applied = await host.apply(plan)
            except asyncio.CancelledError as cancelled:
                # The change may have come to its end all the same.
                if getattr(cancelled, "result", None):
                    moved.append(f"vif{domid}.0")
                raise
            if applied:
                moved.append(f"vif{domid}.0")
            obstacles = (await vifs(host))[domid]["obstacles"]
            if obstacles:
                raise NotMoved(f"vif{domid}.0 is not reached: {obstacles}")
    except BaseException:
        # Also when this task is cancelled: the call in progress has ended by then.
        await undo(host, reversed(moved))
        raise


async def undo(host: AsyncHost, subjects: Iterable[str]) -> None:
    """Moves back what can be moved back. What cannot is told, and the others are not left as they are for it."""
    for subject in subjects:
        # A task of its own: it ends also if this one is cancelled once more.
        undoing = asyncio.ensure_future(host.undo(subject))
        while not undoing.done():
            try:
                await asyncio.wait([undoing])
            except asyncio.CancelledError:
                continue
        error = undoing.exception()
        if error is None:
            print(f"{subject}: undone")
        else:
            report = error.report() if isinstance(error, xennet.XennetError) else repr(error)
            print(f"{subject}: NOT undone; when the cause is gone: xennet undo {subject}\n{report}", file=sys.stderr)


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
    if len(sys.argv) == 2 or not all(argument.isdecimal() for argument in sys.argv[2:]):
        print(__doc__, file=sys.stderr)
        sys.exit(2)
    try:
        asyncio.run(main(sys.argv[1:]))
    except NotMoved as error:
        sys.exit(f"error: {error}")
    except xennet.XennetError as error:
        print(error.report(), file=sys.stderr)
        sys.exit(error.code)
