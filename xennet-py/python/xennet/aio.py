"""``Host`` for asyncio.

    >>> import asyncio
    >>> import xennet
    >>> async def main():
    ...     async with xennet.aio.AsyncHost(xennet.Host.fake()) as host:
    ...         await host.attach(5, "bridge=xenbr0")
    ...         return len((await host.show())["vifs"])
    >>> asyncio.run(main())
    1

``AsyncHost`` has the calls of ``Host`` under the same names. They run on one thread of the ``AsyncHost``'s own, one after the other in the order in
which they were awaited; the event loop is never blocked. Watches use the event loop, and no thread waits for them.

Cancelling (a timeout, a task group that gives up, Ctrl-C in ``asyncio.run``) cannot stop the kernel in the middle of a change, and does not pretend
to: a call that has not begun never happens; one that waits for a lock or a link gives that up and has changed nothing; one that is changing something
goes on to its end, which is either the wanted state or the earlier one. Only then is ``CancelledError`` raised, so that nothing is going on any more when
it arrives. It says what came of the call: its ``__cause__`` is the call's own error, or its ``result`` is what the call returned. Closing a host and
restoring (``applied``) cannot be cancelled: they come to their end first.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from . import _xennet
from .errors import Invalid
from .host import Host, Reversible, Unconfirmed

if TYPE_CHECKING:
    import datetime
    import os
    from types import TracebackType
    from typing import ParamSpec

    from ._xennet import Applied, BridgeSpec, Network, Plan, VifSpec
    from .documents import GuestTold, LinkEvent, NetworkStatus, Overview, Recovered, Shown, Trace, Violations
    from .drawing import Picture
    from .faults import Fault

    _P = ParamSpec("_P")
    _Time = datetime.timedelta | float

__all__ = ["AsyncHost", "AsyncReversible", "AsyncUnconfirmed"]

T = TypeVar("T")
#: How often a call that is to give up waiting is told so.
_OFTEN = 0.05


class AsyncHost:
    """A ``Host`` for asyncio. It owns the host: close it by this object (``close``, or ``async with``)."""

    def __init__(self, host: Host | None = None) -> None:
        """``host`` is any host, for example of ``Host.fake()``; None means the kernel's, ``Host()``."""
        if host is not None and not isinstance(host, Host):
            raise TypeError(f"host is a xennet.Host, not {type(host).__name__}")
        #: The host itself.
        self.host = Host() if host is None else host
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="xennet")
        self._closed = False
        #: What wakes the watches.
        self._watching: set[Callable[[], None]] = set()

    def __repr__(self) -> str:
        return f"<xennet.aio.AsyncHost of {self.host!r}>"

    async def call(self, function: Callable[_P, T], /, *arguments: _P.args, **keywords: _P.kwargs) -> T:
        """Calls any function on the thread of this host's calls, after those that were awaited before: ``await host.call(compare, host.host)``."""
        future = self._submit(function, *arguments, **keywords)
        waiting = asyncio.wrap_future(future)
        try:
            await asyncio.wait([waiting])
        except asyncio.CancelledError as cancelled:
            if future.cancel():
                # It has not begun, and never will.
                raise
            await _done(waiting, self.host.interrupt)
            _tell(cancelled, waiting)
        return waiting.result()

    def _submit(self, function: Callable[_P, T], /, *arguments: _P.args, **keywords: _P.kwargs) -> Future[T]:
        if self._closed and function != self.host.close:
            raise _closed()
        return self._executor.submit(function, *arguments, **keywords)

    async def _surely(self, function: Callable[_P, T], /, *arguments: _P.args, **keywords: _P.kwargs) -> T:
        """As ``call``, for what closes or restores: it happens also if the caller is cancelled, who hears of it afterwards."""
        waiting = asyncio.wrap_future(self._submit(function, *arguments, **keywords))
        try:
            await asyncio.wait([waiting])
        except asyncio.CancelledError as cancelled:
            await _done(waiting)
            _tell(cancelled, waiting)
        return waiting.result()

    async def close(self) -> None:
        """Closes the host after the calls that were awaited before, also if it is cancelled. A second time nothing happens."""
        if not self._closed:
            self._closed = True
            # The loop must not poll descriptors that are closed; who waits for them hears that the host is.
            for wakes in list(self._watching):
                wakes()
            try:
                await self._surely(self.host.close)
            finally:
                self._executor.shutdown(wait=False)

    async def __aenter__(self) -> AsyncHost:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    def interrupt(self) -> None:
        """As ``Host.interrupt``: ends waits for locks and links. Does not wait itself."""
        self.host.interrupt()

    async def plan_attach(self, domid: int, vif: VifSpec | str) -> Plan:
        """As ``Host.plan_attach``."""
        return await self.call(self.host.plan_attach, domid, vif)

    async def attach(self, domid: int, vif: VifSpec | str) -> Applied:
        """As ``Host.attach``."""
        return await self.call(self.host.attach, domid, vif)

    async def attach_tap(self, domid: int, vif: VifSpec | str) -> Applied:
        """As ``Host.attach_tap``."""
        return await self.call(self.host.attach_tap, domid, vif)

    async def plan_detach(self, domid: int, devid: int | None = None) -> Plan:
        """As ``Host.plan_detach``."""
        return await self.call(self.host.plan_detach, domid, devid)

    async def detach(self, domid: int, devid: int | None = None) -> Applied:
        """As ``Host.detach``."""
        return await self.call(self.host.detach, domid, devid)

    async def detach_tap(self, domid: int, devid: int | None = None) -> Applied:
        """As ``Host.detach_tap``."""
        return await self.call(self.host.detach_tap, domid, devid)

    async def detach_unwritten(self, domid: int, devid: int | None = None, *, type_if: str = "vif") -> Applied:
        """As ``Host.detach_unwritten``."""
        return await self.call(self.host.detach_unwritten, domid, devid, type_if=type_if)

    async def await_link(self, link: str, timeout: _Time) -> bool:
        """As ``Host.await_link``. Other calls on this host wait meanwhile."""
        return await self.call(self.host.await_link, link, timeout)

    async def is_bridge(self, name: str) -> bool:
        """As ``Host.is_bridge``."""
        return await self.call(self.host.is_bridge, name)

    async def default_route_link(self) -> str | None:
        """As ``Host.default_route_link``."""
        return await self.call(self.host.default_route_link)

    async def uplink_of(self, link: str) -> str | None:
        """As ``Host.uplink_of``."""
        return await self.call(self.host.uplink_of, link)

    async def plan_bridge(self, bridge: BridgeSpec | str) -> Plan:
        """As ``Host.plan_bridge``."""
        return await self.call(self.host.plan_bridge, bridge)

    async def ensure_bridge(self, bridge: BridgeSpec | str) -> Applied:
        """As ``Host.ensure_bridge``."""
        return await self.call(self.host.ensure_bridge, bridge)

    async def plan_start(self, network: Network) -> Plan:
        """As ``Host.plan_start``."""
        return await self.call(self.host.plan_start, network)

    async def start_network(self, network: Network) -> Applied:
        """As ``Host.start_network``."""
        return await self.call(self.host.start_network, network)

    async def start_networks(self, networks: Iterable[Network]) -> dict[str, Applied]:
        """As ``Host.start_networks``."""
        return await self.call(self.host.start_networks, networks)

    async def start_confirmed(self, network: Network, within: _Time) -> AsyncUnconfirmed:
        """As ``Host.start_confirmed``; the result is for ``async with``."""
        return AsyncUnconfirmed(self, await self.call(self.host.start_confirmed, network, within))

    async def confirm(self, name: str) -> None:
        """As ``Host.confirm``."""
        await self.call(self.host.confirm, name)

    async def awaited(self) -> list[str]:
        """As ``Host.awaited``."""
        return await self.call(self.host.awaited)

    async def plan_stop(self, name: str, *, force: bool = False) -> Plan | None:
        """As ``Host.plan_stop``."""
        return await self.call(self.host.plan_stop, name, force=force)

    async def stop_network(self, name: str, *, force: bool = False) -> Applied:
        """As ``Host.stop_network``."""
        return await self.call(self.host.stop_network, name, force=force)

    async def stop_networks(self, names: Iterable[str] | None = None, *, force: bool = False) -> dict[str, Applied]:
        """As ``Host.stop_networks``."""
        return await self.call(self.host.stop_networks, names, force=force)

    async def started_networks(self) -> tuple[Network, ...]:
        """As ``Host.started_networks``."""
        return await self.call(self.host.started_networks)

    async def in_order_of_stop(self) -> list[str]:
        """As ``Host.in_order_of_stop``."""
        return await self.call(self.host.in_order_of_stop)

    async def network_status(self, network: Network) -> NetworkStatus:
        """As ``Host.network_status``."""
        return await self.call(self.host.network_status, network)

    async def show(self) -> Shown:
        """As ``Host.show``."""
        return await self.call(self.host.show)

    async def record(self, *, file: str | os.PathLike[str] | None = None, anonymous: bool = False) -> dict[str, Any]:
        """As ``Host.record``."""
        return await self.call(self.host.record, file=file, anonymous=anonymous)

    async def trace(self, source: str, target: str, /, protocol: str | None = None, port: int | None = None) -> Trace:
        """As ``Host.trace``."""
        return await self.call(self.host.trace, source, target, protocol, port)

    async def violations(self) -> Violations:
        """As ``Host.violations``."""
        return await self.call(self.host.violations)

    async def overview(self) -> Overview:
        """As ``Host.overview``."""
        return await self.call(self.host.overview)

    async def picture(self, form: str = "text", *, counters: bool = False, every_guest: bool = False) -> Picture:
        """As ``Host.picture``."""
        return await self.call(self.host.picture, form, counters=counters, every_guest=every_guest)

    async def guest_config(self, vif: VifSpec | str, *, format: str, **wishes: Any) -> GuestTold:
        """As ``Host.guest_config``, with its keywords."""
        return await self.call(self.host.guest_config, vif, format=format, **wishes)

    async def apply(self, plan: Plan | str) -> Applied:
        """As ``Host.apply``."""
        return await self.call(self.host.apply, plan)

    def applied(self, plan: Plan | str) -> AsyncReversible:
        """As ``Host.applied``, for ``async with``."""
        return AsyncReversible(self, self.host.applied(plan))

    async def rehearse(
        self,
        *,
        file: str | os.PathLike[str] | None = None,
        faults: Iterable[Fault | Mapping[str, object]] | None = None,
    ) -> AsyncHost:
        """As ``Host.rehearse``: another ``AsyncHost``."""
        return AsyncHost(await self.call(self.host.rehearse, file=file, faults=faults))

    async def plan_undo(self, subject: str | None = None) -> Plan:
        """As ``Host.plan_undo``."""
        return await self.call(self.host.plan_undo, subject)

    async def undo(self, subject: str | None = None) -> Applied:
        """As ``Host.undo``."""
        return await self.call(self.host.undo, subject)

    async def last(self) -> str | None:
        """As ``Host.last``."""
        return await self.call(self.host.last)

    async def plan_recover(self) -> dict[str, Plan]:
        """As ``Host.plan_recover``."""
        return await self.call(self.host.plan_recover)

    async def recover(self) -> list[Recovered]:
        """As ``Host.recover``."""
        return await self.call(self.host.recover)

    async def watch(self, *, timeout: float | None = None) -> AsyncIterator[Shown]:
        """As ``Host.watch``: ``async for shown in host.watch()``. The event loop waits, and other calls on this host go on meanwhile."""
        events = await self.call(self.host._events)
        loop = asyncio.get_running_loop()
        last: Shown | None = None
        while True:
            shown = await self.show()
            if shown != last:
                last = shown
                yield shown
            if not await self._readable(events.descriptors, timeout):
                return
            # What belongs together comes within a second.
            await loop.run_in_executor(None, events.wait, 0)

    async def link_events(self, *, timeout: float | None = None) -> AsyncIterator[LinkEvent]:
        """As ``Host.link_events``: ``async for event in host.link_events()``. The event loop waits. Listens from the first ``async for`` on."""
        events = await self.call(self.host._link_events)
        while True:
            # Several come at once: those are fetched before anything is waited for.
            event = events.next(0)
            while event is None:
                if not await self._readable([events.fileno()], timeout):
                    return
                event = events.next(0)
            yield event

    async def _readable(self, descriptors: Iterable[int], timeout: float | None) -> bool:
        """Whether one of them becomes readable in time."""
        if self._closed:
            raise _closed()
        loop = asyncio.get_running_loop()
        ready: asyncio.Future[None] = loop.create_future()
        descriptors = list(descriptors)

        def wake() -> None:
            if wake in self._watching:
                self._watching.discard(wake)
                for descriptor in descriptors:
                    loop.remove_reader(descriptor)
                _set(ready)

        self._watching.add(wake)
        for descriptor in descriptors:
            loop.add_reader(descriptor, _set, ready)
        try:
            await asyncio.wait_for(ready, timeout)
            return True
        except asyncio.TimeoutError:
            return False
        finally:
            wake()

    async def set_faults(self, faults: Iterable[Fault | Mapping[str, object]]) -> None:
        """As ``Host.set_faults``."""
        await self.call(self.host.set_faults, faults)


def _closed() -> Exception:
    return _xennet.told_error(Invalid.code, "host is closed", "host", "open another one")


async def _done(waiting: asyncio.Future[Any], give_up: Callable[[], None] | None = None) -> None:
    """Waits until a call has come to its end, whatever its caller is told meanwhile."""
    while not waiting.done():
        if give_up is not None:
            # Again and again: the call may not have come to its wait yet.
            give_up()
        try:
            await asyncio.wait([waiting], timeout=None if give_up is None else _OFTEN)
        except asyncio.CancelledError:
            # To be cancelled twice does not make the kernel faster.
            continue


def _tell(cancelled: asyncio.CancelledError, waiting: asyncio.Future[Any]) -> NoReturn:
    """Raises what cancelled a call, with what came of the call."""
    error = waiting.exception()
    if error is not None:
        raise cancelled from error
    setattr(cancelled, "result", waiting.result())
    raise cancelled


def _set(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


class AsyncReversible:
    """What ``AsyncHost.applied`` gives, for ``async with``. It restores also when the block is cancelled."""

    def __init__(self, host: AsyncHost, plan: Reversible) -> None:
        self._host = host
        self._plan = plan

    async def __aenter__(self) -> Applied:
        try:
            return await self._host.call(self._plan.__enter__)
        except asyncio.CancelledError as cancelled:
            # It may have come to its end all the same, and there will be no __aexit__.
            vars(cancelled).pop("result", None)
            await self._host._surely(self._plan.__exit__, None, None, None)
            raise

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._host._surely(self._plan.__exit__, kind, error, traceback)


class AsyncUnconfirmed:
    """What ``AsyncHost.start_confirmed`` gives, for ``async with``: the end of the block confirms, unless it raises."""

    def __init__(self, host: AsyncHost, start: Unconfirmed) -> None:
        self._host = host
        #: The object that ``Host.start_confirmed`` returned.
        self.start = start

    async def confirm(self) -> None:
        """As ``Unconfirmed.confirm``."""
        await self._host.call(self.start.confirm)

    async def __aenter__(self) -> AsyncUnconfirmed:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is None:
            await self.confirm()
