"""Everything that can go wrong: one tree, a class for each kind of error, each of them a built-in exception as well.

The classes are made from the library's own list of kinds, so that none can be missing. ``BY_CODE`` finds a class by the
number that the command exits with and the C ABI returns.
"""

from . import _xennet

#: The built-in exception that a kind resembles; the others resemble none and are a RuntimeError.
_RESEMBLES = {
    "Invalid": ValueError,
    "LinkNotFound": LookupError,
    "BridgeNotFound": LookupError,
    "NotABridge": ValueError,
    "NameTaken": FileExistsError,
    "Denied": PermissionError,
    "ReadOnly": PermissionError,
    "StateFull": OSError,
    "StateUnusable": OSError,
    "Unsupported": NotImplementedError,
    "Busy": TimeoutError,
    "Kernel": OSError,
    "Conflict": ValueError,
    "NothingToUndo": LookupError,
    "Io": OSError,
    "Xenstore": OSError,
}


class XennetError(Exception):
    """An error of xennet. ``str(error)`` is one line, ``error.report()`` the long form for people.

    A part that is not known is None.
    """

    #: The number of the kind: the command's exit code, and the code of the C ABI.
    code = 0
    #: The kind as it stands in JSON documents, for example "bridge-not-found".
    kind = ""
    #: The sentence alone, without the kernel's words and the state.
    message = None
    #: The link, file or value that the error is about.
    object = None
    #: The kernel's error number.
    errno = None
    #: Its name, for example "EOPNOTSUPP".
    errno_name = None
    #: The kernel's own sentence.
    kernel_message = None
    #: The step that failed, for example "step 3 of 5: vif5.0 becomes a port of xenbr0".
    step = None
    #: What the failed call has made of the system: "unchanged", "restored" or "incomplete"; None where the error is about a value or a
    #: text, and about no call that changes something.
    outcome = None
    #: The state that the system was left in, for example "restored, 2 steps undone".
    state = None
    #: The way out.
    hint = None
    #: Where in a text the error is: line and column from 1, and the bytes from and to.
    line = None
    column = None
    span = None
    #: The rule that the text breaks.
    rule = None

    _report = None

    def report(self):
        """The long form: several lines, with the place in a text marked, without colour."""
        return self._report if self._report is not None else f"error: {self}"

    @classmethod
    def _made(cls, text, report, fields):
        """Called by the compiled part. ``kind`` and ``code`` are the class's own."""
        error = cls(text)
        for key in fields.keys() - {"kind", "code"}:
            setattr(error, key, fields[key])
        if error.span is not None:
            error.span = tuple(error.span)
        error._report = report
        return error


def _class(code, name, kind, meaning):
    body = {"__doc__": f"{meaning[0].upper()}{meaning[1:]}.", "__module__": __name__, "code": code, "kind": kind}
    return type(name, (XennetError, _RESEMBLES.get(name, RuntimeError)), body)


#: The classes by their numbers, which never change.
BY_CODE = {code: _class(code, name, kind, meaning) for code, name, kind, meaning in _xennet.KINDS}

globals().update((c.__name__, c) for c in BY_CODE.values())

__all__ = ["XennetError", *(c.__name__ for c in BY_CODE.values())]
