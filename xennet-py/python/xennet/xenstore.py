"""xenstore: the small database of a Xen host in which toolstack, backends and frontends tell each other what they need.

    >>> from xennet import xenstore
    >>> with xenstore.Server() as server, xenstore.Store(server.path) as store:  # Store() finds the real one
    ...     store.write("backend/vif/5/0/bridge", "xenbr0")
    ...     store.read("backend/vif/5/0/bridge"), store.read("backend/vif/5/0/mtu")
    (b'xenbr0', None)

A ``Store`` is one connection, which several threads may use; each request waits for the one before. A relative path lies below the home of the own
domain. What fails raises ``xennet.Xenstore``, whose ``errno`` is the server's word (``EACCES``, ``ENOSPC``, ``EAGAIN``), or ``xennet.Invalid``
for what breaks a rule and was not sent.
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
    """What one domain may do with a node. In the first entry of a list: the owner, and the access is that of everyone else."""

    domid: int
    read: bool = False
    write: bool = False


class Event(NamedTuple):
    """Something that is watched has changed: the node, relative if the watch is, and the word that the watch was registered with."""

    path: str
    token: str


class Store(_xennet.StoreConnection):
    """A connection to xenstored.

    ``path`` is its socket or device; None: XENSTORED_PATH, or else where libxenstore looks. ``deadline`` is how long a request and its answer may
    take (10 s), a timedelta or seconds. Raises ``xennet.Xenstore`` if there is no server, with every place that was tried.

    After a failure behind which it is not known what the server says next (deadline passed, connection closed) every later call fails; open
    another connection then.
    """

    __slots__ = ()

    def __new__(cls, path: str | os.PathLike[str] | None = None, *, deadline: _Time | None = None) -> Store:
        return super().__new__(cls, path, deadline=deadline)

    def read(self, path: str) -> bytes | None:
        """The value of a node; None if there is no such node."""
        return self.read_many((path,))[0]

    def read_text(self, path: str) -> str | None:
        """The value of a node as a text; bytes that are no UTF-8 become U+FFFD."""
        value = self.read(path)
        return None if value is None else value.decode("utf-8", "replace")

    def write(self, path: str, value: str | bytes) -> None:
        """Sets the value of a node. A node that does not exist is made, and those above it."""
        self.write_all({path: value})

    def permissions(self, path: str) -> tuple[Permission, ...] | None:
        """Who may do what with a node, the owner first; None if there is no such node."""
        found = self._permissions(path)
        return None if found is None else tuple(Permission(*one) for one in found)

    def set_permissions(self, path: str, permissions: Iterable[Permission]) -> None:
        """Sets who may do what with a node. The first names the owner and says what everyone may."""
        self._set_permissions(path, [(one.domid, one.read, one.write) for one in permissions])

    def transaction(self) -> Transaction:
        """Several reads and writes that happen at once, or not at all::

            with store.transaction():
                count = int(store.read("count") or b"0")
                store.write("count", str(count + 1))

        The end of the block carries it out; if the block raises, nothing of it happens. Raises ``xennet.Xenstore`` with EAGAIN if others have
        changed meanwhile what was looked at: do it again from its beginning, as ``transact`` does. Meanwhile all of the connection is in the
        transaction, also for other threads.
        """
        return Transaction(self)

    def transact(self, work: Callable[[Store], T], *, tries: int = 100) -> T:
        """Calls ``work(store)`` in a transaction, again from its beginning while others are faster, ``tries`` times at the most. Gives what it
        gave; what it raises comes out, and nothing is changed then."""
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
        """Asks for events of a node and all below it, or of "@introduceDomain" or "@releaseDomain". The token comes with each event. One event comes
        at once: what was there before is looked at when it arrives::

            with store.watch("backend/vif"):
                for event in store.events():
                    print(event.path)

        The end of the block takes the watch back; without one it lasts as long as the connection.
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
        """The same for asyncio: no thread waits, the event loop does. One task at a time may wait for the events of a connection."""
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
    """What ``Store.transaction`` gives: for a ``with`` block."""

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
    """What ``Store.watch`` gives: the end of a ``with`` block takes the watch back."""

    __slots__ = ("_store", "path", "token")

    def __init__(self, store: Store, path: str, token: str) -> None:
        self._store = store
        self.path = path
        self.token = token

    def close(self) -> None:
        """Takes the watch back. Events that are on their way may still come."""
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

    ``path`` is where its socket is made (a new folder among the temporary files), ``domid`` the domain that connections act as.
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
