"""The kinds of findings that ``doctor`` gives.

The members are made from the library's own table, so that none can be missing.
"""

import enum

from . import _xennet

_ROWS = {row["name"]: row for row in _xennet.CODES}


class _Code(str, enum.Enum):
    """The code of a finding. A member is equal to the text in a document: ``Code.BRIDGE_MISSING == "XN0104"``."""

    @property
    def level(self):
        """``error``, ``warning`` or ``note``."""
        return _ROWS[self.name]["level"]

    @property
    def title(self):
        """What it is, in a few words."""
        return _ROWS[self.name]["title"]

    @property
    def meaning(self):
        """What it means for guests, and what to do about it."""
        return _ROWS[self.name]["meaning"]

    def __str__(self):
        return self.value


Code = _Code("Code", {name: row["code"] for name, row in _ROWS.items()})
