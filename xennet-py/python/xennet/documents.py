"""The documents that a host gives, as types for annotations: ordinary dicts, the same as the command prints as JSON."""

from __future__ import annotations

from typing import TypedDict

__all__ = ["Recovered", "Shown", "ShownBridge", "ShownVif"]


class ShownVif(TypedDict):
    """An attached vif."""

    #: ``vif<domid>.<devid>``, whatever the link is called now.
    vif: str
    domid: int
    devid: int
    #: The link's present name; None if it is gone.
    link: str | None
    #: How it was attached: bridge, nat, routed.
    mode: str
    #: The network that it belongs to, where it is connected by routes, and one was started.
    network: str | None
    #: The bridge it is a port of.
    bridge: str | None
    up: bool
    #: In bytes; 0 if the link is gone.
    mtu: int
    #: The vif line that it was attached with.
    spec: str | None


class ShownBridge(TypedDict):
    """A bridge and its ports."""

    bridge: str
    mac: str | None
    #: In bytes.
    mtu: int
    up: bool
    ports: list[str]


class Shown(TypedDict):
    """What ``Host.show`` gives."""

    vifs: list[ShownVif]
    bridges: list[ShownBridge]


class Recovered(TypedDict):
    """One operation that ``Host.recover`` closed."""

    #: ``vif5.0``, or ``bridge-`` and a name.
    subject: str
    #: "finished" or "restored".
    outcome: str
    #: How many steps it took.
    steps: int
