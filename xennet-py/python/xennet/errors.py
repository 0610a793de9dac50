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
    # The other parts are made when somebody asks for one of them.
    _details = None
    _report = None

    def _expand(self):
        details = self.__dict__.pop("_details", None)
        if details is not None:
            fields = details.expand()
            # These are the class's own.
            fields.pop("kind", None)
            fields.pop("code", None)
            if fields.get("span") is not None:
                fields["span"] = tuple(fields["span"])
            for part, value in fields.items():
                self.__dict__.setdefault(part, value)

    def __reduce_ex__(self, protocol):
        self._expand()
        return super().__reduce_ex__(protocol)

    def report(self):
        """The long form: several lines, with the place in a text marked, without colour."""
        return self._report if self._report is not None else f"error: {self}"


#: What an error may say besides its kind. A part that is not known is None.
_PARTS = frozenset(
    {
        # The sentence alone, without the kernel's words and the state.
        "message",
        # The link, file or value that the error is about.
        "object",
        # The kernel's error number.
        "errno",
        # Its name, for example "EOPNOTSUPP".
        "errno_name",
        # The kernel's own sentence.
        "kernel_message",
        # The step that failed, for example "step 3 of 5: vif5.0 becomes a port of xenbr0".
        "step",
        # What the failed call has made of the system: "unchanged", "restored" or "incomplete"; None where the error is about a value or a
        # text, and about no call that changes something.
        "outcome",
        # The state that the system was left in, for example "restored, 2 steps undone".
        "state",
        # The way out.
        "hint",
        # Where in a text the error is: line and column from 1, and the bytes from and to.
        "line",
        "column",
        "span",
        # The rule that the text breaks.
        "rule",
        # Of Host.start_networks and stop_networks: what was done, and all that failed, by the names of networks.
        "applied",
        "failures",
        "_report",
    }
)


def _part(name):
    def get(self):
        self._expand()
        return self.__dict__.get(name)

    def put(self, value):
        self._expand()
        self.__dict__[name] = value

    # A property, since an OSError has an errno of its own.
    return property(get, put)


for _name in _PARTS:
    setattr(XennetError, _name, _part(_name))


def _class(code, name, kind, meaning):
    body = {"__doc__": f"{meaning[0].upper()}{meaning[1:]}.", "__module__": __name__, "code": code, "kind": kind}
    return type(name, (XennetError, _RESEMBLES.get(name, RuntimeError)), body)


#: The classes by their numbers, which never change.
BY_CODE = {code: _class(code, name, kind, meaning) for code, name, kind, meaning in _xennet.KINDS}

globals().update((c.__name__, c) for c in BY_CODE.values())

__all__ = ["XennetError", *(c.__name__ for c in BY_CODE.values())]
