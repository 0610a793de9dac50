"""xenstore: the small database through which the toolstack, backends and frontends of a Xen host exchange settings.

    >>> from xennet import xenstore
    >>> with xenstore.Server() as server, xenstore.Store(server.path) as store:  # Store() finds the real one
    ...     store.write("backend/vif/5/0/bridge", "xenbr0")
    ...     store.read("backend/vif/5/0/bridge"), store.read("backend/vif/5/0/mtu")
    (b'xenbr0', None)

A ``Store`` is one connection, which several threads may use; each request waits for the one before. A relative path lies below the home of this
process's domain. A request that fails raises ``xennet.Xenstore`` with the server's ``errno`` (``EACCES``, ``ENOSPC``, ``EAGAIN``). An argument that
breaks a rule raises ``xennet.Invalid``, and nothing is sent.
"""

from __future__ import annotations

import errno
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from . import _xennet
from .errors import XennetError, Xenstore

if TYPE_CHECKING:
    import asyncio
    import datetime
    import os
    from types import TracebackType

    _Time = datetime.timedelta | float

__all__ = ["Event", "Permission", "Server", "Store", "Transaction"]

T = TypeVar("T")


class Permission(NamedTuple):
    """What one domain may do with a node. The first entry of a list names the owner, and its access is that of every domain not listed."""

    domid: int
    read: bool = False
    write: bool = False


class Event(NamedTuple):
    """A watched node has changed: its path, relative if the watch's path is, and the token of the watch."""

    path: str
    token: str


class Store(_xennet.StoreConnection):
    """A connection to xenstored.

    ``path`` is its socket or device; None means the environment's XENSTORED_PATH, or else the places of libxenstore. ``deadline`` is how long a request
    and its answer may take, a timedelta or seconds (10 s by default). Raises ``xennet.Xenstore`` if there is no server, with every place that was tried.

    After a failure that leaves the connection in an unknown state (deadline passed, connection closed) every later call fails: open another
    connection.
    """

    __slots__ = ()

    def __new__(cls, path: str | os.PathLike[str] | None = None, *, deadline: _Time | None = None) -> Store:
        return super().__new__(cls, path, deadline=deadline)

    def read(self, path: str) -> bytes | None:
        """The value of a node; None if there is no such node."""
        return self.read_many((path,))[0]

    def read_text(self, path: str) -> str | None:
        """The value of a node as a str; bytes that are not UTF-8 become U+FFFD. None if there is no such node."""
        value = self.read(path)
        return None if value is None else value.decode("utf-8", "replace")

    def write(self, path: str, value: str | bytes) -> None:
        """Sets the value of a node. A node that does not exist is made, and those above it."""
        self.write_all({path: value})

    def permissions(self, path: str) -> tuple[Permission, ...] | None:
        """The permissions of a node, the owner's first; None if there is no such node."""
        found = self._permissions(path)
        return None if found is None else tuple(Permission(*one) for one in found)

    def set_permissions(self, path: str, permissions: Iterable[Permission]) -> None:
        """Sets the permissions of a node. The first names the owner, and its access is that of every domain not listed."""
        self._set_permissions(path, [(one.domid, one.read, one.write) for one in permissions])

    def transaction(self) -> Transaction:
        """Several reads and writes that happen at once, or not at all::

            with store.transaction():
                count = int(store.read("count") or b"0")
                store.write("count", str(count + 1))

        The end of the block commits it; if the block raises, it is aborted. Raises ``xennet.Xenstore`` with EAGAIN if another client changed the same
        nodes meanwhile: run the block again, as ``transact`` does. Until then all requests of this connection are in the transaction, also those of
        other threads.
        """
        return Transaction(self)

    def transact(self, work: Callable[[Store], T], *, tries: int = 100) -> T:
        """Calls ``work(store)`` in a transaction, and again while that ends with EAGAIN, ``tries`` times at the most. Returns what ``work`` returns. If
        ``work`` raises, nothing is changed."""
        for last in range(tries - 1, -1, -1):
            try:
                with self.transaction():
                    result = work(self)
                return result
            except Xenstore as error:
                if error.errno != errno.EAGAIN or last == 0:
                    raise
        raise ValueError(f"tries is at least 1, not {tries}")

    def watch(self, path: str, token: str = "") -> Watch:
        """Watches a node and everything below it, or "@introduceDomain" or "@releaseDomain". Each event has the token. One event arrives at once: read
        the present state when it does::

            with store.watch("backend/vif"):
                for event in store.events():
                    print(event.path)

        The end of the block removes the watch; without a block it lasts as long as the connection.
        """
        self._watch(path, token)
        return Watch(self, path, token)

    def next_event(self, timeout: _Time | None = None) -> Event | None:
        """The next event of any watch of this connection; None if none comes in time. Ctrl-C ends the wait."""
        event = self._next_event(timeout)
        return None if event is None else Event(*event)

    def events(self, timeout: _Time | None = None) -> Iterator[Event]:
        """The events of all watches of this connection, as they come. Ends when none has come for ``timeout``; never, if that is None."""
        while True:
            event = self.next_event(timeout)
            if event is None:
                return
            yield event

    async def aevents(self, timeout: float | None = None) -> AsyncIterator[Event]:
        """As ``events``, for asyncio: the event loop waits, and no thread. One task at a time may wait for the events of a connection."""
        import asyncio

        loop = asyncio.get_running_loop()
        while True:
            # Some may have come along with an answer: those are fetched before anything is waited for.
            event = self.next_event(0)
            while event is None:
                ready = loop.create_future()
                descriptor = self.fileno()
                loop.add_reader(descriptor, _set, ready)
                try:
                    await asyncio.wait_for(ready, timeout)
                except asyncio.TimeoutError:
                    return
                finally:
                    loop.remove_reader(descriptor)
                event = self.next_event(0)
            yield event

    def __enter__(self) -> Store:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        # A forked child leaves what its parent has opened.
        if self._is_ours():
            self.close()


def _set(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def _append(error: BaseException, failure: BaseException) -> None:
    """Has an error tell also what failed when its block was left, at the end of its chain."""
    known: list[BaseException] = []
    while error.__context__ is not None and error not in known:
        known.append(error)
        error = error.__context__
    if error is not failure and error.__context__ is None:
        error.__context__ = failure


class Transaction:
    """What ``Store.transaction`` returns, for a ``with`` block."""

    __slots__ = ("_store",)

    def __init__(self, store: Store) -> None:
        self._store = store

    def __enter__(self) -> Store:
        self._store._begin()
        return self._store

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is None:
            self._store._commit()
            return
        try:
            self._store._abort()
        except XennetError as failure:
            # The block's own error is the one to tell; a server that is gone, or a store that is closed, has forgotten the transaction.
            if error is not None:
                _append(error, failure)


class Watch:
    """What ``Store.watch`` returns: the end of a ``with`` block removes the watch."""

    __slots__ = ("_store", "path", "token")

    def __init__(self, store: Store, path: str, token: str) -> None:
        self._store = store
        self.path = path
        self.token = token

    def close(self) -> None:
        """Removes the watch. Events that were sent before may still arrive."""
        self._store._unwatch(self.path, self.token)

    def __enter__(self) -> Watch:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            self.close()
        except XennetError as failure:
            if error is None:
                raise
            # As a transaction: with the connection the watch is gone.
            _append(error, failure)


class Server(_xennet.StoreServer):
    """A xenstored of this process, for tests and rehearsals; the tools of Xen talk to it as well.

    ``path`` is where its socket is made (by default in a new directory among the temporary files), ``domid`` the domain as which connections act.
    """

    __slots__ = ()

    def __new__(cls, path: str | os.PathLike[str] | None = None, *, domid: int = 0) -> Server:
        return super().__new__(cls, path, domid=domid)

    def set_all(self, values: Mapping[str, str | bytes]) -> None:
        """Sets nodes, as the store's owner. Watches fire."""
        for path, value in values.items():
            self.set(path, value)

    def __enter__(self) -> Server:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        # A forked child leaves what its parent has opened.
        if self._is_ours():
            self.close()
