from typing import ClassVar, Literal

__all__ = [
    "XennetError",
    "Internal",
    "Invalid",
    "LinkNotFound",
    "BridgeNotFound",
    "NotABridge",
    "NameTaken",
    "PortOfOther",
    "Denied",
    "ReadOnly",
    "StateFull",
    "StateUnusable",
    "Unsupported",
    "Busy",
    "Stale",
    "Kernel",
    "NotVerified",
    "Interrupted",
    "Conflict",
    "NothingToUndo",
    "WouldCutOff",
    "Io",
    "Xenstore",
    "HookFailed",
]

BY_CODE: dict[int, type[XennetError]]

class XennetError(Exception):
    code: ClassVar[int]
    kind: ClassVar[str]
    message: str | None
    object: str | None
    errno: int | None
    errno_name: str | None
    kernel_message: str | None
    step: str | None
    outcome: Literal["unchanged", "restored", "incomplete"] | None
    state: str | None
    hint: str | None
    line: int | None
    column: int | None
    span: tuple[int, int] | None
    rule: str | None
    def report(self) -> str: ...

class Internal(XennetError, RuntimeError): ...
class Invalid(XennetError, ValueError): ...
class LinkNotFound(XennetError, LookupError): ...
class BridgeNotFound(XennetError, LookupError): ...
class NotABridge(XennetError, ValueError): ...
class NameTaken(XennetError, FileExistsError): ...  # type: ignore[misc]
class PortOfOther(XennetError, RuntimeError): ...
class Denied(XennetError, PermissionError): ...  # type: ignore[misc]
class ReadOnly(XennetError, PermissionError): ...  # type: ignore[misc]
class StateFull(XennetError, OSError): ...  # type: ignore[misc]
class StateUnusable(XennetError, OSError): ...  # type: ignore[misc]
class Unsupported(XennetError, NotImplementedError): ...
class Busy(XennetError, TimeoutError): ...  # type: ignore[misc]
class Stale(XennetError, RuntimeError): ...
class Kernel(XennetError, OSError): ...  # type: ignore[misc]
class NotVerified(XennetError, RuntimeError): ...
class Interrupted(XennetError, RuntimeError): ...
class Conflict(XennetError, ValueError): ...
class NothingToUndo(XennetError, LookupError): ...
class WouldCutOff(XennetError, RuntimeError): ...
class Io(XennetError, OSError): ...  # type: ignore[misc]
class Xenstore(XennetError, OSError): ...  # type: ignore[misc]
class HookFailed(XennetError, RuntimeError): ...
