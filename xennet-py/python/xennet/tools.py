"""What works without a host: MAC addresses, advice, the files of old, and the call of a hotplug script."""

from __future__ import annotations

import os

from . import _xennet

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from ipaddress import IPv4Interface, IPv4Network, IPv6Interface, IPv6Network
    from typing import Any

    from .documents import Advice, Imported

__all__ = ["advise", "generate_mac", "hotplug", "import_xend"]


def generate_mac(scheme: str = "libxl", *, seed: str | None = None, devid: int = 0) -> str:
    """An address for a guest. ``scheme`` is a ``MacScheme``: "libxl", "xen24" and "local" draw one from the system's generator; "uuid" and "xapi"
    make it of ``seed`` and ``devid``, the same each time.

        >>> import xennet
        >>> xennet.generate_mac("uuid", seed="7c8d1f2e-5b3a-4c6d-9e8f-0a1b2c3d4e5f")
        'fa:3c:d5:5b:43:3e'
        >>> xennet.generate_mac()[:8]
        '00:16:3e'
    """
    return _xennet.generate_mac(scheme, seed, devid)


def advise(
    *,
    lan: bool | None = None,
    addresses: str | None = None,
    reachable: bool | None = None,
    route: bool | None = None,
    macs: str | None = None,
    dhcp: bool | None = None,
    uplink: str | None = None,
    dom0: str | IPv4Interface | IPv6Interface | None = None,
    subnets: Iterable[str | IPv4Network | IPv6Network] = (),
) -> Advice:
    """Which of the three modes fits, why, and the text of networks.toml that follows. None: not known.

    ``lan``: is there a network that this host is part of. ``addresses``: where guests' addresses come from, "lan" or "own". ``reachable``: may others
    there begin connections to guests. ``route``: can the router there be given a route to guests. ``macs``: does the uplink carry frames of "any" MAC, or
    of "one". ``dhcp``: shall guests get addresses by DHCP. ``uplink``: the link towards that network. ``dom0``: this host's address there, with its
    network. ``subnets``: the guests' own. Raises ``Invalid`` for what has to be known and is not, and for what contradicts itself.

        >>> import xennet
        >>> advice = xennet.advise(lan=True, addresses="own", reachable=False)
        >>> advice["network"]["mode"], advice["vif"]
        ('nat', 'bridge=private,ip=10.0.0.1')
    """
    if isinstance(subnets, str):
        raise TypeError(f"subnets takes several texts, as in subnets=({subnets!r},)")
    answers: list[tuple[str, str]] = []
    for name, truth in (("lan", lan), ("reachable", reachable), ("route", route), ("dhcp", dhcp)):
        if truth is not None:
            if not isinstance(truth, bool):
                raise TypeError(f"{name} is True, False or None, not {type(truth).__name__}")
            answers.append((name, "yes" if truth else "no"))
    for name, word in (("addresses", addresses), ("macs", macs), ("uplink", uplink), ("dom0", dom0)):
        if word is not None:
            if name != "dom0" and not isinstance(word, str):
                raise TypeError(f"{name} is a text or None, not {type(word).__name__}")
            answers.append((name, str(word)))
    answers.extend(("subnet", str(subnet)) for subnet in subnets)
    return _xennet.advise(answers)


def import_xend(
    config: str | os.PathLike[str] | None = None,
    *,
    wrappers: Iterable[str | os.PathLike[str]] = (),
    xen: str | None = None,
    uplink: str | None = None,
) -> Imported:
    """The networks of Xen up to 4.4 as they are described today: ``{"networks": [...], "text": ..., "notes": [...]}``; ``text`` is a networks.toml.

    ``config`` is the path of a xend-config.sxp; ``wrappers`` are the paths of scripts that call Xen's network scripts. The one that the config names is
    read by itself if it is there and no other is given. ``xen`` is the version of Xen ("4.1") whose defaults are meant, ``uplink`` the link of the
    default route. Raises ``Invalid`` for what cannot be read, with the place, and ``OSError`` for a file that cannot be opened.
    """
    if config is None:
        read = None
        files = [_text(path) for path in wrappers]
    else:
        read = _text(config)
        files = [_text(path) for path in wrappers]
        named = None if files else _wrapper_of(read[1])
        if named is not None and os.path.exists(named):
            files.append(_text(named))
    return _xennet.import_xend(read, files, xen, uplink)


def _wrapper_of(config: str) -> str | None:
    from .errors import Invalid

    try:
        return _xennet.wrapper_of(config)
    except Invalid:
        # What is wrong with it is told when it is imported, with the file's name.
        return None


def _text(path: str | os.PathLike[str]) -> tuple[str, str]:
    with open(path, encoding="utf-8") as file:
        return os.fspath(path), file.read()


def hotplug(
    script: str,
    arguments: Iterable[str] = (),
    *,
    environment: Mapping[str, str] | None = None,
    state_dir: str | os.PathLike[str] | None = None,
) -> dict[str, Any] | None:
    """Does what a vif script of Xen does when libxl calls it: ``hotplug("vif-bridge", sys.argv[1:])`` is the whole of such a script.

    ``environment`` is this process's unless given; xenstore is found by it. ``state_dir`` is where the state is kept instead of where the settings
    (``hotplug.toml``) say. Returns the record of the call as it stands in the log; None for a call that has nothing to do, for example for a tap in a
    script of vifs. An error is written to xenstore, where the toolstack waits for it, and to the log, and is raised.

    Ctrl-C does not end the call. Afterwards ``KeyboardInterrupt`` is raised; its ``__cause__`` is the call's error, or its ``result`` the record.
    """
    if isinstance(arguments, str):
        raise TypeError(f"arguments takes several texts, as in arguments=({arguments!r},)")
    variables = dict(os.environ if environment is None else environment)
    record, error = _xennet.run_hotplug(script, list(arguments), variables, state_dir)
    if error is not None:
        raise error
    return record
