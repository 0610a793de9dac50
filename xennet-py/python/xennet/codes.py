"""The kinds of findings that ``doctor`` gives."""

import enum

from . import _xennet

_ROWS = {row["code"]: row for row in _xennet.CODES}


class Code(str, enum.Enum):
    """The code of a finding. A member is equal to the text in a document: ``Code.BRIDGE_MISSING == "XN0104"``."""

    DESCRIPTION_UNREADABLE = "XN0101"
    INTERRUPTED = "XN0102"
    UNCONFIRMED = "XN0103"
    BRIDGE_MISSING = "XN0104"
    NOT_A_BRIDGE = "XN0105"
    BRIDGE_DOWN = "XN0106"
    NAME_COLLISION = "XN0107"
    UPLINK_MISSING = "XN0201"
    UPLINK_LOST = "XN0202"
    UPLINK_DOWN = "XN0203"
    UPLINK_WITHOUT_CARRIER = "XN0204"
    PORT_BLOCKED = "XN0205"
    FORWARD_DELAY = "XN0206"
    TWO_UPLINKS = "XN0207"
    NO_DEFAULT_ROUTE = "XN0208"
    GATEWAY_SILENT = "XN0209"
    ADDRESS_ON_PORT = "XN0210"
    MULTIPLE_DEFAULT_ROUTES = "XN0211"
    REVERSE_PATH = "XN0301"
    IPV6_DISABLED = "XN0302"
    ROUTER_ADVERTISEMENTS_LOST = "XN0303"
    SNOOPING_WITHOUT_QUERIER = "XN0304"
    VLAN_ENDS = "XN0305"
    ROUTE_REFUSES = "XN0306"
    MAC_TWICE = "XN0401"
    MAC_OF_HOST = "XN0402"
    MAC_UNUSABLE = "XN0403"
    MAC_ELSEWHERE = "XN0404"
    BACKEND_MAC = "XN0405"
    ADDRESS_TWICE = "XN0406"
    ADDRESS_OF_HOST = "XN0407"
    ADDRESS_OF_GATEWAY = "XN0408"
    ADDRESS_ELSEWHERE = "XN0409"
    ADDRESS_DUPLICATE = "XN0410"
    ADDRESS_OUTSIDE = "XN0411"
    GUARD_DAMAGED = "XN0501"
    GATE_DAMAGED = "XN0502"
    TABLE_OF_OTHERS = "XN0503"
    NETWORK_DAMAGED = "XN0504"
    FORWARDING_OFF = "XN0505"
    VIF_OUTSIDE = "XN0506"
    VIF_DOWN = "XN0507"
    VIF_LACKS = "XN0508"
    ROUTE_ELSEWHERE = "XN0509"
    RECORD_OF_GONE = "XN0510"
    ELEMENT_OF_GONE = "XN0511"
    UPSTREAM_ROUTE = "XN0512"
    STARTED_OTHERWISE = "XN0513"
    PACKETS_DROPPED = "XN0514"
    HOTPLUG_FAILED = "XN0601"
    HOTPLUG_MISSING = "XN0602"
    VIF_WITHOUT_LINK = "XN0603"
    LINK_WITHOUT_NODE = "XN0604"
    FRONTEND_NOT_CONNECTED = "XN0605"
    DOMAIN_NAME_TWICE = "XN0606"
    SCRIPT_MISSING = "XN0607"
    SCRIPT_OF_OLD_XEN = "XN0608"
    HOOK_BROKEN = "XN0609"
    MTU_OF_PORT = "XN0701"
    MTU_OF_UPLINK = "XN0702"
    MTU_OF_LOWER = "XN0703"
    MTU_OF_FRONTEND = "XN0704"
    FOREIGN_DROP = "XN0801"
    FOREIGN_UNJUDGED = "XN0802"
    LEGACY_TABLES = "XN0803"
    FOREIGN_MASQUERADE = "XN0804"
    MANAGER_TAKES_LINKS = "XN0805"
    ADDRESS_ON_VIF = "XN0806"
    CONNTRACK_FULL = "XN0807"
    NEIGHBOUR_TABLE_SMALL = "XN0808"
    DNSMASQ_DEAD = "XN0901"
    DNSMASQ_UNHEARD = "XN0902"
    CHECKSUM_ERRORS = "XN0903"
    LINK_ERRORS = "XN0904"
    MODULES_MISSING = "XN0905"
    NOT_SEEN = "XN0906"

    def __new__(cls, value: str) -> "Code":
        member = str.__new__(cls, value)
        member._value_ = value
        return member

    @property
    def level(self) -> str:
        """``error``, ``warning`` or ``note``."""
        return _ROWS[self.value]["level"]

    @property
    def summary(self) -> str:
        """What it is, in a few words: the ``title`` of a finding."""
        return _ROWS[self.value]["title"]

    @property
    def meaning(self) -> str:
        """What it means for guests, and what to do about it."""
        return _ROWS[self.value]["meaning"]

    def __str__(self) -> str:
        return str(self.value)
