"""A network namespace of this process, for ``Host.sandbox``."""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
import weakref
from collections.abc import Callable
from typing import Any, TypeVar

from . import _xennet
from .errors import Denied, Invalid

T = TypeVar("T")
CLONE_NEWNET = 0x40000000


def _system_call(name: str, *arguments: int) -> None:
    """unshare(2) and setns(2), which Python has since 3.12."""
    own = getattr(os, name, None)
    if own is not None:
        own(*arguments)
        return
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    if getattr(libc, name)(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _in_a_thread(work: Callable[[], T]) -> T:
    results: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(work())
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run, name="xennet-sandbox")
    thread.start()
    thread.join()
    if errors:
        # Not a cycle of this frame and its own exception.
        try:
            raise errors.pop()
        finally:
            del errors
    return results[0]


class Namespace:
    """A new network namespace, and a directory for what is remembered there. Both go when it is closed, or with it."""

    def __init__(self) -> None:
        def make() -> Any:
            _system_call("unshare", CLONE_NEWNET)
            return open("/proc/thread-self/ns/net", "rb")

        try:
            self.file = _in_a_thread(make)
        except PermissionError as error:
            raise _xennet.told_error(
                Denied.code,
                f"a network namespace cannot be made: {os.strerror(error.errno or 1)}",
                "sandbox",
                "run as root, or in a user namespace: unshare --user --map-root-user python3 ...; Host.fake() needs neither",
            ) from None
        self.state_dir = tempfile.mkdtemp(prefix="xennet-sandbox-")
        self._end = weakref.finalize(self, _remove, self.file, self.state_dir)

    @property
    def closed(self) -> bool:
        return not self._end.alive

    def close(self) -> None:
        self._end()

    def run(self, function: Callable[..., T], /, *arguments: Any, **keywords: Any) -> T:
        if self.closed:
            raise _xennet.told_error(Invalid.code, "sandbox is closed", "sandbox", "open another one: Host.sandbox()")

        def work() -> T:
            _system_call("setns", self.file.fileno(), CLONE_NEWNET)
            return function(*arguments, **keywords)

        return _in_a_thread(work)


def _remove(file: Any, state_dir: str) -> None:
    file.close()
    shutil.rmtree(state_dir, ignore_errors=True)
