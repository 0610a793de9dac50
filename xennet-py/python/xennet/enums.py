"""The words of the library as enums. A member is equal to its word, and can be given wherever a word is taken.

    >>> import xennet
    >>> xennet.VifSpec.parse("bridge = br0", dialect=xennet.Dialect.XM).bridge
    'br0'
    >>> xennet.MacScheme.LIBXL == "libxl"
    True
"""

import enum

__all__ = ["Dialect", "GuestFormat", "MacBinding", "MacScheme", "Manager", "NetworkMode", "Outcome", "PictureForm"]


class _Word(str, enum.Enum):
    def __new__(cls, value: str) -> "_Word":
        member = str.__new__(cls, value)
        member._value_ = value
        return member

    def __str__(self) -> str:
        return str(self.value)


class Dialect(_Word):
    """How a text is read."""

    #: What xl would drop, guess or misread is an error.
    STRICT = "strict"
    #: As xl reads it.
    XL = "xl"
    #: As xm read it, up to Xen 4.4.
    XM = "xm"


class MacScheme(_Word):
    """How ``generate_mac`` makes an address."""

    #: As libxl and xend draw it: 23 random bits under 00:16:3e.
    LIBXL = "libxl"
    #: 24 random bits under 00:16:3e, as libvirt draws it.
    XEN24 = "xen24"
    #: 46 random bits, locally administered.
    LOCAL = "local"
    #: 46 bits made of a seed (the domain's UUID) and the vif's index: the same each time.
    UUID = "uuid"
    #: As XAPI makes it of a seed and the vif's index.
    XAPI = "xapi"


class PictureForm(_Word):
    """What ``Host.picture`` draws."""

    TEXT = "text"
    SVG = "svg"
    DOT = "dot"
    MERMAID = "mermaid"
    JSON = "json"


class GuestFormat(_Word):
    """The formats of ``guest_config``."""

    IFUPDOWN = "ifupdown"
    NETPLAN = "netplan"
    CLOUD_INIT_V1 = "cloud-init-v1"
    CLOUD_INIT_V2 = "cloud-init-v2"
    NETWORKD = "networkd"
    NETWORKMANAGER = "networkmanager"
    KERNEL = "kernel"
    ALPINE = "alpine"
    FREEBSD = "freebsd"
    NETSH = "netsh"


class Manager(_Word):
    """Programs that manage links, and may take those of guests: ``snippets``, ``managers_here``."""

    NETWORKMANAGER = "networkmanager"
    NETWORKD = "networkd"
    UDEV = "udev"
    DHCPCD = "dhcpcd"


class MacBinding(_Word):
    """Whether a guest is bound to its MAC where its vif line declares no addresses."""

    #: Without ``ip=`` nothing of what a guest sends is filtered: it may route, bridge, or share an address with others.
    WHERE_DECLARED = "where-declared"
    #: Every guest may send from its own MAC only.
    ALWAYS = "always"


class NetworkMode(_Word):
    """The modes of a ``Network``."""

    BRIDGE = "bridge"
    NAT = "nat"
    ROUTED = "routed"


class Outcome(_Word):
    """What a failed call has made of the system: ``XennetError.outcome``."""

    #: Nothing was changed.
    UNCHANGED = "unchanged"
    #: What was changed is as it was before.
    RESTORED = "restored"
    #: It is neither as it was nor as it was wanted; ``XennetError.state`` and ``hint`` say more.
    INCOMPLETE = "incomplete"
