"""Faults for a rehearsal, as values: ``Host.fake(faults=[FailAt(step=1, errno=errno.EBUSY)])``.

Steps are counted from 0, from the moment the host is made.

    >>> import errno
    >>> import xennet
    >>> from xennet.faults import FailAt
    >>> host = xennet.Host.fake(faults=[FailAt(step=1, errno=errno.EPERM)])
    >>> try:
    ...     host.attach(5, "bridge=xenbr0")
    ... except xennet.XennetError as error:
    ...     print(error.outcome, error.errno_name)
    restored EPERM
"""

from __future__ import annotations

import json
import operator
from collections.abc import Iterable, Mapping
from typing import SupportsIndex

__all__ = ["CrashAfter", "DumpInterrupted", "FailAt", "Fault", "HalfApply", "Intruder", "LieOnce", "to_json"]


def _number(name: str, value: SupportsIndex) -> int:
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise TypeError(f"{name} is a whole number, not {type(value).__name__}")
    number = operator.index(value)
    if not 0 <= number < 2**31:
        raise ValueError(f"{name} is 0 to 2147483647, not {number}")
    return number


class Fault:
    """Something that goes wrong. Frozen; equal faults are equal values."""

    __slots__ = ("_fields",)
    _fields: dict[str, object]
    _kind = ""

    def __init__(self) -> None:
        raise TypeError("Fault is the base of the faults: use one of them, for example FailAt")

    def _set(self, **fields: object) -> None:
        object.__setattr__(self, "_fields", fields)

    def __getattr__(self, name: str) -> object:
        # Only what the class has no attribute for.
        fields = object.__getattribute__(self, "_fields") if name != "_fields" else {}
        if name in fields:
            return fields[name]
        raise AttributeError(f"{type(self).__name__} has no {name}")

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{type(self).__name__} is frozen")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"{type(self).__name__} is frozen")

    def __eq__(self, other: object) -> bool:
        return self._fields == other._fields if isinstance(other, Fault) and type(other) is type(self) else NotImplemented

    def __hash__(self) -> int:
        return hash((self._kind, json.dumps(self._fields, sort_keys=True)))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in self._fields.items())})"

    def __reduce__(self) -> tuple[object, ...]:
        return _made, (type(self), dict(self._fields))

    def to_dict(self) -> dict[str, object]:
        """The fault as a document, which the C ABI takes as well."""
        return {self._kind: dict(self._fields)}

    def replace(self, **changes: object) -> Fault:
        """The same fault with other values for these keywords."""
        return _made(type(self), {**self._fields, **changes})

    __replace__ = replace


def _made(kind: type[Fault], fields: dict[str, object]) -> Fault:
    make: type[object] = kind
    fault = make(**fields)
    assert isinstance(fault, Fault)
    return fault


class FailAt(Fault):
    """The step is refused with this error number, and nothing of it happens."""

    __slots__ = ()
    _kind = "fail-at"
    step: int
    errno: int

    def __init__(self, *, step: SupportsIndex, errno: SupportsIndex) -> None:
        self._set(step=_number("step", step), errno=_number("errno", errno))


class HalfApply(Fault):
    """The step is refused with EIO although a part of it happened."""

    __slots__ = ()
    _kind = "half-apply"
    step: int

    def __init__(self, *, step: SupportsIndex) -> None:
        self._set(step=_number("step", step))


class CrashAfter(Fault):
    """After the step nothing answers any more: the process was killed."""

    __slots__ = ()
    _kind = "crash-after"
    step: int

    def __init__(self, *, step: SupportsIndex) -> None:
        self._set(step=_number("step", step))


class LieOnce(Fault):
    """The step is answered with success and does not happen."""

    __slots__ = ()
    _kind = "lie-once"
    step: int

    def __init__(self, *, step: SupportsIndex) -> None:
        self._set(step=_number("step", step))


class DumpInterrupted(Fault):
    """The first observations are interrupted, as a listing is that changed under the reader."""

    __slots__ = ()
    _kind = "dump-interrupted"
    times: int

    def __init__(self, *, times: SupportsIndex) -> None:
        self._set(times=_number("times", times))


class Intruder(Fault):
    """Somebody else acts before the step; whether that succeeds does not matter.

    ``does`` is the document of a step, as a plan has them: ``plan.to_dict()["steps"][0]["step"]``.
    """

    __slots__ = ()
    _kind = "intruder"
    before: int
    does: Mapping[str, object]

    def __init__(self, *, before: SupportsIndex, does: Mapping[str, object]) -> None:
        if not isinstance(does, Mapping):
            raise TypeError(f"does is the document of a step (a dict), not {type(does).__name__}")
        self._set(before=_number("before", before), does=dict(does))


def to_json(faults: Iterable[Fault | Mapping[str, object]]) -> str:
    """Faults as the JSON document that the library reads."""
    documents = []
    for fault in faults:
        if isinstance(fault, Fault):
            documents.append(fault.to_dict())
        elif isinstance(fault, Mapping):
            documents.append(dict(fault))
        else:
            raise TypeError(f"faults are values of xennet.faults or their documents, not {type(fault).__name__}")
    return json.dumps(documents)
