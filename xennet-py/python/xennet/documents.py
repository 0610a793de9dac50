"""The documents that a host gives, as types for annotations: ordinary dicts, the same as the command prints as JSON.

``xennet.schema(name)`` gives the JSON schema of each; the same words are here and there.
"""

from __future__ import annotations

from typing import Any, TypedDict

__all__ = [
    "GuestFile",
    "GuestTold",
    "NetworkStatus",
    "Overview",
    "ParsedVif",
    "PortForward",
    "Recovered",
    "Shown",
    "ShownBridge",
    "ShownFilter",
    "ShownNetwork",
    "ShownRoute",
    "ShownVif",
    "ViolationCount",
    "Violations",
]


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
    #: The started network that it belongs to, if it is connected by routes.
    network: str | None
    #: The bridge it is a port of.
    bridge: str | None
    up: bool
    #: In bytes; 0 if the link is gone.
    mtu: int
    #: The vif line that it was attached with.
    spec: str | None
    #: Reasons why its guest cannot be reached, or cannot reach anybody: a newer guest with the same addresses, or another firewall of this
    #: host that has no rule to accept its packets.
    obstacles: list[str]
    #: What it needs and lacks, one change each: ``Host.recover`` makes them.
    missing: list[str]


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

    version: int
    vifs: list[ShownVif]
    bridges: list[ShownBridge]


class ShownNetwork(TypedDict):
    """A network of a host, started or described."""

    network: str
    #: bridge, nat, routed.
    mode: str
    #: started, damaged, unconfirmed, stopped; None if not all that it needs could be looked at.
    state: str | None
    outside: str | None
    bridge: str | None
    subnets: list[str]
    #: Its guests that are there.
    vifs: list[str]
    #: What it lacks, without its guests.
    missing: list[str]
    #: Who reaches whom by the network's keys, a sentence each.
    access: list[str]
    #: Commands for the gateway outside.
    elsewhere: list[str]


class ShownRoute(TypedDict):
    """A route of the main table."""

    destination: str
    #: ``via 192.0.2.1 on eth0``, one way each.
    ways: list[str]
    #: Who has made it.
    by: str


class ShownFilter(TypedDict):
    """An nft table, or one of iptables-legacy."""

    table: str
    #: Whether it is xennet's.
    own: bool
    #: How many rules it has; None if that was not looked at.
    rules: int | None
    #: The hooks of its chains with policy drop, for example "forward".
    drops: list[str]


class ViolationCount(TypedDict):
    """The packets of one class that were dropped from a guest since its vif was attached."""

    #: The guest's link on this host: vif5.0, or the name that the vif was given.
    link: str
    #: bridge-control, vlan, mac, address, protocol, router, dhcp-server, unreadable, closed, isolated, host, lan.
    violation: str
    packets: int
    #: Without the ethernet headers.
    bytes: int


class Violations(TypedDict):
    """What ``Host.violations`` gives: by link and class."""

    version: int
    violations: list[ViolationCount]


class Overview(Shown):
    """What ``Host.overview`` gives: what ``Host.show`` gives, and the host's networks, routes, filters and links."""

    networks: list[ShownNetwork]
    #: Without those to guests.
    routes: list[ShownRoute]
    guest_routes: int
    filters: list[ShownFilter]
    #: The packets of guests that were dropped, by link and class.
    violations: list[ViolationCount]
    #: Who has made each link.
    made_by: dict[str, str]
    #: Running programs that manage links, and would take those of guests.
    managers: list[dict[str, Any]]
    #: Who is where, in layers: about, uplinks, hubs, notes.
    picture: dict[str, Any]
    #: What could not be looked at: what, why.
    unseen: list[dict[str, str]]


class NetworkStatus(TypedDict):
    """What ``Host.network_status`` gives."""

    version: int
    network: str
    #: "bridge", "nat" or "routed".
    mode: str
    #: "stopped", "started", "damaged" (something is missing) or "unconfirmed" (its last start waits for a confirmation).
    state: str
    started: bool
    #: The link towards the outside, as it was found at start; of a bridge its uplink.
    outside: str | None
    #: What is described otherwise than when it was started, by the keys of networks.toml: taken over when it is started again.
    changed: list[str]
    #: What of that holds only after a stop and a start.
    needs_stop: list[str]
    #: What is not as it was made, a sentence each: what starting the network again would do. Of a guest that is there the vif
    #: stands before it: ``vif1.0: ...``.
    missing: list[str]
    #: The ports of its bridge; where it has none, the links of the guests that are there.
    ports: list[str]
    #: Who reaches whom by the network's keys, a sentence each.
    access: list[str]
    #: Commands for the gateway outside, without which guests of a routed network are not reached.
    elsewhere: list[str]
    #: What on this host keeps guests from reaching anybody: what other firewalls drop, unless a rule there accepts it, and VLANs of
    #: guests that the uplink of their bridge is not in.
    obstacles: list[str]


class _Forwarded(TypedDict):
    #: "tcp" or "udp".
    protocol: str
    #: This host's port, or the first and last of several: "8080-8089".
    ports: str | int
    #: The guest's address.
    to: str


class PortForward(_Forwarded, total=False):
    """Connections from outside that are handed on to a guest: what ``Network.forward`` has."""

    #: Which port of the guest's the first one goes to; the same one if left out.
    to_port: int


class GuestFile(TypedDict):
    """A file of a guest's system."""

    #: Absolute in the guest; None if the text is no file there: a kernel parameter, a batch of commands.
    path: str | None
    #: The access rights.
    mode: int
    text: str


class GuestTold(TypedDict):
    """What ``guest_config`` gives: the same as the command and the C ABI."""

    version: int
    format: str
    #: The format's own file first.
    files: list[GuestFile]
    #: What the format cannot express, and what the guest needs for it, one sentence each.
    notes: list[str]
    #: Addresses, gateways, name servers and the rest, whatever the format.
    config: dict[str, Any]


class CodeRow(TypedDict):
    """A kind of finding: a row of the table."""

    #: ``XN0104``; never given to another kind.
    code: str
    #: The member of ``xennet.Code``: ``BRIDGE_MISSING``.
    name: str
    #: ``error``, ``warning`` or ``note``.
    level: str
    title: str
    meaning: str


class Fix(TypedDict):
    """What mends a finding."""

    #: A command for a shell.
    command: str
    #: What xennet would do, where it can do it: a plan for ``Host.apply``.
    plan: dict[str, Any] | None


class Finding(TypedDict):
    """Something that keeps guests from the network that they were promised, or will."""

    code: str
    level: str
    #: A link, a vif, a network, a table, a file.
    object: str
    title: str
    #: What is so, in a sentence.
    cause: str
    #: What was observed, a fact each.
    evidence: list[str]
    fix: Fix | None


class Doctor(TypedDict):
    """What ``doctor`` gives: the same as the command and the C ABI."""

    version: int
    #: The worst first.
    findings: list[Finding]


class Hop(TypedDict):
    """One station of a packet's way."""

    #: "there" for the packet, "back" for its answer.
    direction: str
    #: "guest", "neighbour", "guard", "bridge", "gate", "firewall", "nat", "route", "host", "uplink" or "note".
    stage: str
    #: The link, bridge, chain or route.
    at: str
    #: What happens there.
    text: str
    #: Whether it changes nothing and decides nothing.
    detail: bool


class Trace(TypedDict):
    """What ``trace`` gives: the same as the command and the C ABI."""

    version: int
    #: "delivered", "dropped" or "unknown".
    verdict: str
    #: What decided: a rule, a route, a link, a setting.
    where: str | None
    #: The reason, in words.
    why: str
    #: The source address that the receiver sees.
    source_seen: str | None
    hops: list[Hop]


class ParsedVif(TypedDict):
    """What ``parse_vif`` gives: the same as the command and the C ABI."""

    version: int
    #: The vif with libxl's field names.
    nic: dict[str, Any]
    #: What has no effect, what xl would have swallowed, a sentence each.
    notes: list[str]


class _Recovered(TypedDict):
    #: ``vif5.0``, or ``bridge-`` or ``network-`` and a name.
    subject: str
    #: "finished", "restored", "gone", "mended" or "left".
    outcome: str
    #: How many steps it took.
    steps: int


class Recovered(_Recovered, total=False):
    """One operation that ``Host.recover`` closed, or a vif or network that had lost something."""

    #: With "mended": what was put back, a step each.
    done: list[str]
    #: With "left": what stands in the way.
    why: str


class Advice(TypedDict):
    """What ``advise`` gives."""

    version: int
    #: The document of the network.
    network: dict[str, Any]
    #: Why, one sentence each.
    reasons: list[str]
    #: What is to be done elsewhere, if anything: on the network's router, in guests.
    elsewhere: list[str]
    #: The vif line of a first guest.
    vif: str
    #: The text of networks.toml, with all of the above as comments.
    text: str


class Imported(TypedDict):
    """What ``import_xend`` gives."""

    version: int
    #: The documents of the networks: ``Network.from_json(json.dumps(...))``.
    networks: list[dict[str, Any]]
    #: The text of networks.toml.
    text: str
    #: What was dropped, guessed, or is done otherwise, each with its place.
    notes: list[str]


class Snippet(TypedDict):
    """What makes a program leave guests' links alone: what ``snippets`` gives, one for each program."""

    #: "networkmanager", "networkd", "udev", "dhcpcd".
    manager: str
    #: The file that the text belongs into; of dhcpcd's at its beginning.
    path: str
    text: str
    #: The command that shows it.
    command: str
    #: The links that it is about.
    names: list[str]


class ManagerWarning(TypedDict):
    """A program that would take guests' links."""

    manager: str
    message: str
    #: The command that shows what keeps it off.
    command: str


class ManagersHere(TypedDict):
    """What ``managers_here`` gives."""

    version: int
    running: list[str]
    warnings: list[ManagerWarning]


class Rate(TypedDict):
    """The value of ``rate=``."""

    version: int
    bytes_per_interval: int
    interval_usecs: int
    #: As the backend reads it in xenstore.
    backend_rate: str


class ParsedRate(TypedDict):
    """What ``parse_rate`` gives."""

    rate: Rate
    notes: list[str]


class Mac(TypedDict):
    """The value of ``mac=``."""

    version: int
    mac: str
    multicast: bool
    local: bool
    xen_oui: bool


class ParsedMac(TypedDict):
    """What ``parse_mac`` gives."""

    mac: Mac
    notes: list[str]


class Vlan(TypedDict):
    """What ``parse_vlan`` gives: the VLAN of frames without a tag, and those that the port is in."""

    version: int
    pvid: int
    tagged: list[int]
    untagged: list[int]
    text: str


class ParsedVifList(TypedDict):
    """What ``parse_vif_list`` gives: the vifs with libxl's field names."""

    version: int
    nics: list[dict[str, Any]]
    notes: list[str]


class XendConfig(TypedDict):
    """What a xend-config.sxp says."""

    version: int
    #: What xend ran to make the network; None if nothing.
    network_argv: list[str] | None
    #: The script of each vif.
    vif_script: str


class ParsedXendConfig(TypedDict):
    """What ``parse_xend_config`` gives."""

    config: XendConfig
    notes: list[str]


class LinkEvent(TypedDict):
    """What ``Host.link_events`` gives: what has happened to a link, and how the link is by then."""

    version: int
    #: "appeared", "changed", "gone" or "lost".
    event: str
    #: Its name; None where some were lost.
    link: str | None
    #: Its number in the kernel, which stays the same when it is renamed.
    index: int
    #: Whether it is switched on.
    up: bool
    #: Whether it is switched on and has a carrier.
    carrier: bool
    #: In bytes.
    mtu: int
    mac: str | None
    #: The number of the bridge that it is a port of.
    master: int | None


class HotplugSettings(TypedDict):
    """What ``parse_hotplug`` gives: the keys of hotplug.toml; times are in seconds."""

    version: int
    deadline: int
    hooks: str
    hook_deadline: int
    log_file: str
    syslog: bool
    state_dir: str
    bind_mac: bool
    #: Bridges, as in the file.
    isolated: list[str]


__all__ += [
    "Advice",
    "HotplugSettings",
    "Imported",
    "LinkEvent",
    "Mac",
    "ManagerWarning",
    "ManagersHere",
    "ParsedMac",
    "ParsedRate",
    "ParsedVifList",
    "ParsedXendConfig",
    "Rate",
    "Snippet",
    "Vlan",
    "XendConfig",
]
