"""A network namespace of this process, for ``Host.sandbox``."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import tempfile
import threading
import weakref
from collections.abc import Callable
from typing import Any, TypeVar

from . import _xennet
from .errors import Denied, Invalid, Io

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


#: The way out by the kernel's error number.
_WAYS_OUT = {
    errno.EPERM: "run as root, or in a user namespace: unshare --user --map-root-user python3 ...; Host.fake() needs neither",
    errno.ENOSPC: "close other sandboxes, make room in the folder of temporary files (TMPDIR), or raise the limit: sysctl user.max_net_namespaces",
    errno.EMFILE: "close files or hosts of this process, or raise its limit: ulimit -n",
    errno.ENFILE: "the system has no more files: sysctl fs.file-max",
    errno.ENOMEM: "the kernel has no memory for it; close other sandboxes",
    errno.EINVAL: "the kernel has no network namespaces (CONFIG_NET_NS); Host.fake() needs none",
    errno.ENOENT: "/proc has to be mounted, and the folder of temporary files has to exist (TMPDIR)",
}


def _refused(what: str, error: OSError) -> Exception:
    number = error.errno or errno.EIO
    is_denied = number in (errno.EPERM, errno.EACCES)
    hint = _WAYS_OUT.get(errno.EPERM if is_denied else number, "Host.fake() is a rehearsal that needs nothing of the system")
    return _xennet.told_error(Denied.code if is_denied else Io.code, what, "sandbox", hint, number)


def explained(error: Io) -> Exception:
    """An error of opening the host, with a way out."""
    if error.hint is not None or error.errno is None:
        return error
    return _refused(error.message or str(error), OSError(error.errno, ""))


class Namespace:
    """A new network namespace, and a directory for what is remembered there. Both go when it is closed, or with it."""

    def __init__(self) -> None:
        def make() -> Any:
            _system_call("unshare", CLONE_NEWNET)
            return open("/proc/thread-self/ns/net", "rb")

        try:
            self.file = _in_a_thread(make)
        except OSError as error:
            raise _refused("a network namespace cannot be made", error) from None
        except RuntimeError as error:
            # Python tells no number where no thread can be started.
            raise _refused(f"a network namespace cannot be made: {error}", OSError(errno.EAGAIN, "")) from None
        try:
            self.state_dir = tempfile.mkdtemp(prefix="xennet-sandbox-")
        except OSError as error:
            self.file.close()
            raise _refused("the sandbox has no directory for what it remembers", error) from None
        self._threads: set[threading.Thread] = set()
        self._closing = False
        self._end = weakref.finalize(self, _remove, self.file, self.state_dir, os.getpid())

    @property
    def closed(self) -> bool:
        return not self._end.alive

    def await_runs(self) -> None:
        """Lets no function run in it any more, and waits for those that do."""
        self._closing = True
        for thread in list(self._threads):
            if thread is not threading.current_thread():
                thread.join()

    def close(self) -> None:
        self._end()

    def run(self, function: Callable[..., T], /, *arguments: Any, **keywords: Any) -> T:
        def work() -> T:
            self._threads.add(threading.current_thread())
            try:
                if self._closing or self.closed:
                    raise _xennet.told_error(Invalid.code, "sandbox is closed", "sandbox", "open another one: Host.sandbox()")
                _system_call("setns", self.file.fileno(), CLONE_NEWNET)
                return function(*arguments, **keywords)
            finally:
                self._threads.discard(threading.current_thread())

        return _in_a_thread(work)


def _remove(file: Any, state_dir: str, process: int) -> None:
    file.close()
    if os.getpid() != process:
        # A copy of the process: the rest belongs to its parent.
        return
    # Beside it: another user has to get at what dnsmasq reads.
    services = state_dir + "-services"
    try:
        _end_services(services)
    finally:
        for place in (state_dir, services):
            shutil.rmtree(place, ignore_errors=True)


def _end_services(services: str) -> None:
    """Kills what serves guests in a sandbox, known by its configuration: a network could not be stopped, or nobody did."""
    argument = tuple(b"--conf-file=" + os.fsencode(place) + b"/" for place in (services, os.path.realpath(services)))
    for name in os.listdir("/proc"):
        if not name.isdecimal():
            continue
        try:
            if not _has_argument(name, argument):
                continue
            process = os.pidfd_open(int(name))
        except OSError:
            # It has ended, or is another user's.
            continue
        try:
            # Once more: the number may have become another process's.
            if _has_argument(name, argument):
                signal.pidfd_send_signal(process, signal.SIGKILL)
        except OSError:
            continue
        finally:
            os.close(process)


def _has_argument(process: str, argument: tuple[bytes, ...]) -> bool:
    with open(f"/proc/{process}/cmdline", "rb") as file:
        return any(one.startswith(argument) for one in file.read().split(b"\0"))
