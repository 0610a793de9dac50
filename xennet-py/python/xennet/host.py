"""``Host``: the front door."""

from __future__ import annotations

from . import _xennet

TYPE_CHECKING = False
if TYPE_CHECKING:
    import datetime
    import os
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from types import TracebackType
    from typing import Any, TypeVar

    from ._xennet import Applied, Network, Plan
    from ._sandbox import Namespace as _Namespace
    from .documents import LinkEvent, Shown
    from .drawing import Picture
    from .faults import Fault

    _Time = datetime.timedelta | float
    _T = TypeVar("_T")
    _H = TypeVar("_H", bound="Host")

__all__ = ["Host", "Sandbox", "Unconfirmed"]


class Host(_xennet.Host):
    """A Xen host, or a rehearsal of one in memory.

    ``Host()`` works on the kernel's networking. It opens its sockets in the calling thread's network namespace and stays there. ``Host.fake()``,
    ``Host.from_recording()`` and ``Host.rehearse()`` are rehearsals that touch nothing real; ``Host.sandbox()`` makes a network namespace of its own.

    Every call that changes something either reaches the wanted state, which is read back, or restores the earlier one and raises an error
    that says so (``XennetError.outcome``). A host can be used by several threads; they wait for each other, and other threads run meanwhile.
    It belongs to the process that made it: in a forked child its calls raise ``Invalid``, and the child makes a host of its own.

    Ctrl-C, or another signal whose handler raises, ends what a call waits for; a change that has begun goes on to its end. Only then is the
    handler's exception raised. Its ``__cause__`` is the call's own error, or its ``result`` is what a changing call gave.

    Settings are keywords of every call that makes a host. ``state_dir`` is the directory of journals, locks and records; by default ``/run/xennet``
    for the kernel, and memory for a rehearsal. ``lock_deadline`` is how long a call waits for another process that works on the same vif or bridge
    (10 s by default). ``budget`` is how long one call may wait altogether, counted from the end of other threads' calls on this host (no limit by
    default). Both are a timedelta or seconds. ``mac_binding`` is a ``MacBinding``: whether a guest is bound to its MAC if its vif line declares no
    addresses.

        >>> from xennet import Host
        >>> with Host.fake() as host:
        ...     plan = host.plan_attach(5, "bridge=xenbr0")  # nothing happens
        ...     host.attach(5, "bridge=xenbr0").steps == len(plan)
        True
        >>> host = Host.fake()
        >>> bool(host.attach(5, "bridge=xenbr0")), bool(host.attach(5, "bridge=xenbr0"))  # the second changes nothing
        (True, False)
    """

    __module__ = "xennet"
    __slots__ = ()

    def __new__(
        cls: type[_H],
        *,
        state_dir: str | os.PathLike[str] | None = None,
        lock_deadline: _Time | None = None,
        budget: _Time | None = None,
        mac_binding: str = "where-declared",
    ) -> _H:
        return _xennet.Host.__new__(
            cls, "netlink", state_dir=state_dir, lock_deadline=lock_deadline, budget=budget, mac_binding=mac_binding
        )

    @classmethod
    def netlink(
        cls: type[_H],
        *,
        state_dir: str | os.PathLike[str] | None = None,
        lock_deadline: _Time | None = None,
        budget: _Time | None = None,
        mac_binding: str = "where-declared",
    ) -> _H:
        """The kernel's networking: the same as ``Host()``."""
        return cls(state_dir=state_dir, lock_deadline=lock_deadline, budget=budget, mac_binding=mac_binding)

    @classmethod
    def fake(
        cls: type[_H],
        *,
        faults: Iterable[Fault | Mapping[str, object]] | None = None,
        state_dir: str | os.PathLike[str] | None = None,
        lock_deadline: _Time | None = None,
        budget: _Time | None = None,
        mac_binding: str = "where-declared",
    ) -> _H:
        """A rehearsal in memory: a host with an uplink ``eth0``, a bridge ``xenbr0``, and a netback that makes a vif when it is asked for.

        It needs no permission and touches nothing real. With ``state_dir`` the world and the records are kept in that directory, and the next
        process finds them; otherwise nothing outlives the object. ``faults`` are values of ``xennet.faults``: what goes wrong at which step.
        With faults the world is in memory, also where there is a ``state_dir``.
        """
        return _xennet.Host.__new__(
            cls,
            "fake",
            state_dir=state_dir,
            lock_deadline=lock_deadline,
            budget=budget,
            mac_binding=mac_binding,
            faults=_document_of(faults),
        )

    @classmethod
    def from_recording(
        cls: type[_H],
        recording: Mapping[str, Any] | str,
        /,
        *,
        faults: Iterable[Fault | Mapping[str, object]] | None = None,
        lock_deadline: _Time | None = None,
        budget: _Time | None = None,
        mac_binding: str = "where-declared",
    ) -> _H:
        """A rehearsal on a recording (``Host.record``): the same objects, records and networks in memory, and a netback that makes each vif when it is
        asked for. ``faults`` are values of ``xennet.faults``.

            >>> from xennet import Host
            >>> recording = Host.fake().record()
            >>> Host.from_recording(recording).is_bridge("xenbr0")
            True
        """
        return _xennet.Host.__new__(
            cls,
            "recording",
            lock_deadline=lock_deadline,
            budget=budget,
            mac_binding=mac_binding,
            faults=_document_of(faults),
            recording=recording,
        )

    @classmethod
    def sandbox(
        cls,
        *,
        lock_deadline: _Time | None = None,
        budget: _Time | None = None,
        mac_binding: str = "where-declared",
    ) -> Sandbox:
        """A host in a network namespace made for it, on the real kernel: what is done there reaches nothing else, and goes with it.

        It begins with a loopback link alone; ``Sandbox.add_vif`` and ``add_link`` make links. Needs root, or a user namespace in which one is
        root: ``unshare --user --map-root-user python3 ...``. Raises ``Denied`` otherwise.
        """
        from ._sandbox import Namespace, explained
        from .errors import Io

        namespace = Namespace()
        try:
            host = _xennet.Host.__new__(
                Sandbox,
                "netlink",
                state_dir=namespace.state_dir,
                lock_deadline=lock_deadline,
                budget=budget,
                mac_binding=mac_binding,
                namespace=namespace.file,
            )
        except Io as error:
            namespace.close()
            raise explained(error) from None
        except BaseException:
            namespace.close()
            raise
        host._namespace = namespace
        return host

    def __enter__(self: _H) -> _H:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        # A forked child leaves what its parent has opened.
        if not self._is_ours():
            return
        try:
            self.close()
        except BaseException as failure:
            # Exceptions of the compiled part have no context by themselves.
            failure.__context__ = failure.__context__ or error
            raise

    def __repr__(self) -> str:
        where = "" if self.state_dir is None else f" in {self.state_dir}"
        return f"<xennet.{type(self).__name__} {self.backend}{where}>"

    def rehearse(
        self,
        *,
        file: str | os.PathLike[str] | None = None,
        faults: Iterable[Fault | Mapping[str, object]] | None = None,
    ) -> Host:
        """A copy of this host as it is now, in memory: changes to it happen nowhere else. ``file`` is the path of the networks.toml to record with it
        (the system's by default); ``faults`` are values of ``xennet.faults``.

            >>> from xennet import Host
            >>> host = Host.fake()
            >>> with host.rehearse() as rehearsal:
            ...     bool(rehearsal.attach(5, "bridge=xenbr0"))
            True
            >>> host.show()["vifs"]
            []
        """
        return Host.from_recording(self._recorded(file), faults=faults)

    def applied(self, plan: Plan | str) -> Reversible:
        """Carries out a plan for the time of a ``with`` block, and restores on the way out what was there before, also when the block raises.

        Like ``apply`` it raises ``Stale`` if the plan no longer fits the system. If restoring fails, that error is raised, with the block's own error as
        its ``__context__``. Only the last operation on the plan's subject is undone: if the block changes the same vif, bridge or network, it has to
        undo that itself.

            >>> from xennet import Host
            >>> host = Host.fake()
            >>> with host.applied(host.plan_attach(5, "bridge=xenbr0")) as applied:
            ...     applied.steps, len(host.show()["vifs"])
            (2, 1)
            >>> host.show()["vifs"]
            []
        """
        return Reversible(self, plan)

    def start_networks(self, networks: Iterable[Network]) -> dict[str, Applied]:
        """Starts several networks: bridges first, since other networks may route through them. A network that another one blocks is tried again as
        long as others can be started. If one cannot be started, the others are started all the same.

        Returns what was done, by name. If some networks could not be started, it raises the error of the first after trying all of them; its ``failures``
        has every error by name, and its ``applied`` what was done. An exception of a signal's handler has both as ``failures`` and ``result``.
        """
        networks = list(networks)
        for network in networks:
            if not isinstance(network, _xennet.Network):
                raise TypeError(f"networks are values of xennet.Network, not {type(network).__name__}")
        applied, failures = self._start_networks(networks)
        return _told(applied, failures)

    def stop_networks(self, names: Iterable[str] | None = None, *, force: bool = False) -> dict[str, Applied]:
        """Stops several networks, or all that are started (None), each before the bridge that it routes through. With ``force`` guests are cut off.

        Like ``start_networks`` it tries all of them, and then raises the first error, with ``failures`` and ``applied``.
        """
        if isinstance(names, str):
            raise TypeError(f"names takes several texts, as in names=({names!r},)")
        applied, failures = self._stop_networks(None if names is None else list(names), force)
        return _told(applied, failures)

    def start_confirmed(self, network: Network, within: _Time) -> Unconfirmed:
        """Starts a network, and undoes the start unless it is confirmed in time (``Unconfirmed.confirm``, ``Host.confirm``, or ``xennet confirm``). Use
        it to move the link that you are logged in through: if the start cuts you off, you cannot confirm, and it is undone.

        Used with ``with``, the end of the block confirms, unless the block raises::

            with host.start_confirmed(network, 60):
                urllib.request.urlopen("http://192.0.2.1/", timeout=20)  # the other end is still there

        ``within`` is a timedelta or seconds, counted from the moment when the network is started. A separate process waits that long, also if this
        process ends. Raises ``Unsupported`` for a host in memory (without ``state_dir``, or with faults) and for a sandbox.
        """
        from ._confirm import Guard

        if not isinstance(network, _xennet.Network):
            raise TypeError(f"network is a xennet.Network, not {type(network).__name__}")
        guard = Guard(self, network.name, _xennet.seconds("within", within))
        try:
            applied, pending = self._start_confirmed(network, guard.hears)
        except BaseException as error:
            # A signal's handler has raised: the result of the call is on its exception.
            result = vars(error).get("result")
            if isinstance(result, tuple):
                setattr(error, "result", Unconfirmed(self, network.name, *result))
            raise
        finally:
            # A guard that was told nothing hears the end of the pipe, and undoes what there is of the start.
            guard.close()
        return Unconfirmed(self, network.name, applied, pending)

    def watch(self, *, timeout: _Time | None = None) -> Iterator[Shown]:
        """Yields what ``show`` returns, at once and then each time it has changed. It waits for notifications of the kernel about links, addresses, routes
        and nft tables, and polls nothing. Ends when nothing has changed for ``timeout``; never, if that is None. Ctrl-C ends it.

            for shown in host.watch():
                print([vif["vif"] for vif in shown["vifs"]])

        Raises ``Unsupported`` for a host in memory, and ``Invalid`` when the host is closed meanwhile. It listens in the calling thread's network
        namespace, even if the host was made in another one; a sandbox listens in its own.
        """
        return self._watch(self._events(), timeout)

    def _watch(self, events: _xennet.KernelEvents, timeout: _Time | None) -> Iterator[Shown]:
        last: Shown | None = None
        while True:
            shown = self.show()
            if shown != last:
                last = shown
                yield shown
            if not events.wait(timeout):
                return

    def link_events(self, *, timeout: _Time | None = None) -> Iterator[LinkEvent]:
        """Yields each change of a link as it happens: ``{"event": "appeared", "link": "vif5.0", "index": 7, "up": False, ...}``. ``event`` is
        "appeared", "changed" or "gone"; or "lost", about no link, if the kernel dropped notifications: then look at all links again. Listens
        from the call on. Ends when nothing has happened for ``timeout``; never, if that is None. Ctrl-C ends it.

            for event in host.link_events():
                if event["event"] == "appeared":
                    print(event["link"])

        Raises ``Unsupported`` for a host in memory, and ``Invalid`` when the host is closed meanwhile. It listens in the same network namespace as
        ``watch``.
        """
        return self._each(self._link_events(), timeout)

    def _each(self, events: _xennet.KernelLinkEvents, timeout: _Time | None) -> Iterator[LinkEvent]:
        while True:
            event = events.next(timeout)
            if event is None:
                return
            yield event

    def set_faults(self, faults: Iterable[Fault | Mapping[str, object]]) -> None:
        """Replaces the faults of a rehearsal; ``()`` removes them. Steps and observations are counted from this call. Raises ``Unsupported`` for a host
        whose world is not in memory.

            >>> import errno, xennet
            >>> host = xennet.Host.fake()
            >>> _ = host.attach(5, "bridge=xenbr0")
            >>> host.set_faults([xennet.faults.FailAt(step=0, errno=errno.EBUSY)])
            >>> try:
            ...     host.detach(5)
            ... except xennet.XennetError as error:
            ...     print(error.outcome)
            unchanged
        """
        self._set_faults(_document_of(faults) or "[]")

    def picture(self, form: str = "text", *, counters: bool = False, every_guest: bool = False) -> Picture:
        """The networking of this host, drawn: outside, gateway, uplinks, bridges and routes, vifs, guests. ``form`` is a ``PictureForm``: "text"
        (100 columns), "svg", "dot", "mermaid", or "json". With ``counters`` each link shows its traffic; with ``every_guest`` every guest is drawn,
        however many there are, instead of a summary.

        The picture is a str. A notebook draws one whose form is "svg".
        """
        from .drawing import Picture

        return Picture(self._picture(form, counters, every_guest), str(form))

    def _repr_html_(self) -> str:
        """What a notebook shows for a host: its picture."""
        return self._picture("svg", False, False)


class Sandbox(Host):
    """A host in a network namespace of its own (``Host.sandbox``). Closing it takes the namespace away, with all that is in it."""

    __module__ = "xennet"
    __slots__ = ("_namespace",)

    _namespace: _Namespace

    def __new__(cls, *_arguments: object, **_settings: object) -> Sandbox:
        raise TypeError("a sandbox is made by Host.sandbox()")

    def add_vif(self, domid: int, devid: int = 0) -> str:
        """Makes the link ``vif<domid>.<devid>``, as netback would, and returns its name. Its other end is ``guest<domid>.<devid>``."""
        return self.add_link(f"vif{domid}.{devid}", f"guest{domid}.{devid}")

    def add_link(self, name: str, peer: str) -> str:
        """Makes a veth pair in the sandbox, both ends down, named ``name`` and ``peer``. Returns ``name``."""
        self._make_cable(name, peer)
        return name

    def run(self, function: Callable[..., _T], /, *arguments: Any, **keywords: Any) -> _T:
        """Calls a function in the sandbox, in a thread of its own: ``sandbox.run(subprocess.run, ["ip", "link"])``. Returns what the
        function returns, and raises what it raises. Ctrl-C does not stop the function; ``close`` waits for it."""
        return self._namespace.run(function, *arguments, **keywords)

    def close(self) -> None:
        """Stops the networks that are started, closes the host and its watches, and takes the namespace away. Functions that are called in it
        (``run``) are waited for. The namespace goes also where a network cannot be stopped; that error is raised then. A second time nothing happens.
        """
        if not self._is_ours():
            # That is refused, and nothing else happens.
            super().close()
        try:
            self._namespace.await_runs()
        finally:
            try:
                # Services of networks are processes that would keep the namespace.
                if not self._namespace.closed:
                    self.stop_networks(force=True)
            finally:
                try:
                    super().close()
                finally:
                    self._namespace.close()


class Reversible:
    """A plan that is carried out for the time of a ``with`` block: what ``Host.applied`` gives."""

    __slots__ = ("_host", "_plan", "_subject")

    def __init__(self, host: Host, plan: Plan | str) -> None:
        self._host = host
        self._plan = plan
        self._subject: str | None = None

    def __enter__(self) -> Applied:
        if self._subject is not None:
            raise RuntimeError("the plan is applied already")
        subject = _xennet.subject_of(self._plan)
        try:
            applied = self._host.apply(self._plan)
        except BaseException as interrupt:
            # What a signal's handler raises comes when the plan has been carried out, and there will be no __exit__.
            done = vars(interrupt).get("result")
            if isinstance(done, _xennet.Applied) and done.steps:
                self._host.undo(subject)
            raise
        if applied.steps:
            self._subject = subject
        return applied

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        subject, self._subject = self._subject, None
        # A forked child leaves what its parent has done.
        if subject is not None and self._host._is_ours():
            try:
                self._host.undo(subject)
            except BaseException as failure:
                # Exceptions of the compiled part have no context by themselves.
                failure.__context__ = error
                raise


class Unconfirmed:
    """A network whose start waits for a confirmation: what ``Host.start_confirmed`` gives."""

    __module__ = "xennet"
    __slots__ = ("_host", "applied", "network", "pending")
    #: The network's name.
    network: str
    #: What starting it did.
    applied: Applied
    #: Whether the start still waits for a confirmation. A start that changed nothing waits for none.
    pending: bool

    def __init__(self, host: Host, network: str, applied: Applied, pending: bool) -> None:
        self._host = host
        self.network = network
        self.applied = applied
        self.pending = pending

    def confirm(self) -> None:
        """Confirms the start: the network stays. Raises ``NothingToUndo`` if that comes too late."""
        if self.pending:
            self._host.confirm(self.network)
            self.pending = False

    def __enter__(self) -> Unconfirmed:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is None:
            self.confirm()

    def __repr__(self) -> str:
        return f"<xennet.Unconfirmed network {self.network}{', pending' if self.pending else ''}>"


def _document_of(faults: Iterable[Fault | Mapping[str, object]] | None) -> str | None:
    if faults is None:
        return None
    from .faults import to_json

    return to_json(faults)


def _told(applied: dict[str, Applied], failures: dict[str, Any]) -> dict[str, Applied]:
    for error in failures.values():
        error.failures = failures
        error.applied = applied
        raise error
    return applied
