"""The networking of a Xen host: networks, bridges and vifs, planned as data, applied, verified and undone.

A rehearsal in memory needs no permission and touches nothing real; ``Host()`` is the real kernel.

    >>> import xennet
    >>> host = xennet.Host.fake()
    >>> vif = xennet.VifSpec(mac="00:16:3e:01:02:03", bridge="xenbr0")
    >>> plan = host.plan_attach(5, vif)      # nothing happens yet
    >>> all("vif5.0" in str(step) for step in plan.steps)
    True
    >>> host.attach(5, vif).steps == len(plan)
    True
    >>> host.show()["vifs"][0]["bridge"]
    'xenbr0'
    >>> host.undo().steps > 0
    True
    >>> host.show()["vifs"]
    []

What goes wrong says where, by which rule, and the way out:

    >>> try:
    ...     host.attach(5, "mac=00:16:3e:01:02,bridge=xenbr0")
    ... except xennet.Invalid as error:
    ...     print(error.line, error.column)
    1 5

Each kind of error is a class of its own below ``XennetError``, and a built-in exception as well: ``xennet.Denied`` is a
``PermissionError``. ``xennet.errors`` lists them.

``xennet.aio`` has the same for asyncio, ``xennet.xenstore`` a client of xenstore, ``xennet.faults`` what can go wrong in a rehearsal, and
``xennet.documents`` the types of the dicts that are given out.
"""


from . import errors
from ._xennet import (
    Applied,
    BridgeSpec,
    Network,
    Plan,
    Step,
    VifSpec,
    __version__,
    doctor,
    guest_config,
    managers_here,
    parse_attach,
    parse_hotplug,
    parse_mac,
    parse_networks,
    parse_rate,
    parse_vif,
    parse_vif_list,
    parse_vifs,
    parse_vlan,
    parse_xend_config,
    schema,
    snippets,
    trace,
)
from .errors import (
    BridgeNotFound,
    Busy,
    Conflict,
    Denied,
    HookFailed,
    Internal,
    Interrupted,
    Invalid,
    Io,
    Kernel,
    LinkNotFound,
    NameTaken,
    NotABridge,
    NotVerified,
    NothingToUndo,
    PortOfOther,
    ReadOnly,
    Stale,
    StateFull,
    StateUnusable,
    Unsupported,
    WouldCutOff,
    XennetError,
    Xenstore,
)
from .host import Host, Sandbox, Unconfirmed
from .tools import advise, generate_mac, hotplug, import_xend

TYPE_CHECKING = False
if TYPE_CHECKING:
    from . import aio, documents, faults, xenstore
    from .codes import Code
    from .drawing import Picture
    from .enums import Dialect, GuestFormat, MacBinding, MacScheme, Manager, NetworkMode, Outcome, PictureForm

# Loaded when it is asked for: most programs need little of it, and hotplug calls have no time for it.
_LATER = {
    "Code": "codes",
    "Picture": "drawing",
    "Dialect": "enums",
    "GuestFormat": "enums",
    "MacBinding": "enums",
    "MacScheme": "enums",
    "Manager": "enums",
    "NetworkMode": "enums",
    "Outcome": "enums",
    "PictureForm": "enums",
}
_MODULES = frozenset({"aio", "documents", "faults", "xenstore"})


def __getattr__(name: str) -> object:
    from importlib import import_module

    if name in _MODULES:
        return import_module(f"{__name__}.{name}")
    if name in _LATER:
        value: object = getattr(import_module(f"{__name__}.{_LATER[name]}"), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_LATER, *_MODULES} - {"TYPE_CHECKING"})


__all__ = [
    "__version__",
    "advise",
    "aio",
    "Applied",
    "BridgeSpec",
    "Code",
    "Dialect",
    "doctor",
    "documents",
    "errors",
    "faults",
    "generate_mac",
    "guest_config",
    "GuestFormat",
    "Host",
    "hotplug",
    "import_xend",
    "MacBinding",
    "MacScheme",
    "Manager",
    "managers_here",
    "Network",
    "NetworkMode",
    "Outcome",
    "parse_attach",
    "parse_hotplug",
    "parse_mac",
    "parse_networks",
    "parse_rate",
    "parse_vif",
    "parse_vif_list",
    "parse_vifs",
    "parse_vlan",
    "parse_xend_config",
    "Picture",
    "PictureForm",
    "Plan",
    "Sandbox",
    "schema",
    "snippets",
    "Step",
    "trace",
    "Unconfirmed",
    "VifSpec",
    "xenstore",
    "BridgeNotFound",
    "Busy",
    "Conflict",
    "Denied",
    "HookFailed",
    "Internal",
    "Interrupted",
    "Invalid",
    "Io",
    "Kernel",
    "LinkNotFound",
    "NameTaken",
    "NotABridge",
    "NotVerified",
    "NothingToUndo",
    "PortOfOther",
    "ReadOnly",
    "Stale",
    "StateFull",
    "StateUnusable",
    "Unsupported",
    "WouldCutOff",
    "XennetError",
    "Xenstore",
]
