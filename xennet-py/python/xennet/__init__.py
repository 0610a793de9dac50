"""The networking of a Xen host: networks, bridges and vifs, planned as data, applied, verified and undone.

A rehearsal in memory needs no permission and touches nothing real; ``Host.netlink()`` is the real kernel.

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
"""

from . import documents, errors
from ._xennet import (
    Applied,
    BridgeSpec,
    Host,
    Network,
    Plan,
    Step,
    VifSpec,
    __version__,
    doctor,
    guest_config,
    parse_networks,
    parse_vif,
    trace,
)
from .codes import Code
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

__all__ = [
    "Applied",
    "BridgeSpec",
    "Host",
    "Network",
    "Plan",
    "Step",
    "VifSpec",
    "__version__",
    "Code",
    "doctor",
    "documents",
    "errors",
    "guest_config",
    "parse_networks",
    "parse_vif",
    "trace",
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
