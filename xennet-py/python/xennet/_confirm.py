"""The guard of a start that has to be confirmed, seen from who calls it."""

from __future__ import annotations

import json
import os
import subprocess
import sys

from . import _xennet, host
from .errors import Internal, Unsupported


class Guard:
    """A process that undoes a start unless it is confirmed. It is no child of this one."""

    def __init__(self, of: _xennet.Host, network: str, seconds: float) -> None:
        if isinstance(of, host.Sandbox):
            raise _xennet.told_error(
                Unsupported.code, "a start in a sandbox cannot wait for a confirmation: the sandbox goes with this process",
                "host", "start it without: start_network",
            )
        if of.state_dir is None:
            raise _xennet.told_error(
                Unsupported.code, "a host in memory cannot wait for a confirmation: what it did is gone with this process",
                "host", "open it with state_dir=, or take the kernel's: Host()",
            )
        if of._in_memory:
            raise _xennet.told_error(
                Unsupported.code,
                "a host with faults cannot wait for a confirmation: its world is in the memory of this process, where the one that would undo the start "
                "does not see it",
                "host", "open it without faults=, or take the kernel's: Host()",
            )
        # The same package as this one, wherever this process has it from.
        package = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
        paths = [package, *filter(None, [os.environ.get("PYTHONPATH")])]
        arguments = [of.backend, os.path.abspath(of.state_dir), network, repr(seconds)]
        try:
            # It copies itself and ends, so that there is nothing to wait for later.
            process = subprocess.Popen(
                [sys.executable, "-m", "xennet._guard", *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                cwd="/",
                env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
            )
        except OSError as error:
            raise _xennet.told_error(
                Internal.code, f"the process that would undo the start cannot be started: {error}", network,
                "is sys.executable a Python? xennet network start --confirm does the same",
            ) from error
        assert process.stdin is not None and process.stdout is not None
        self._pipe = process.stdin
        with process.stdout as said:
            line = said.readline()
        process.wait()
        if line.strip() == b"true":
            return
        self._pipe.close()
        try:
            why = json.loads(line)
            code, message = int(why["code"]), str(why["message"])
        except (ValueError, KeyError, TypeError):
            code, message, why = Internal.code, "the process that would undo the start said nothing", {}
        raise _xennet.told_error(code, message, network, why.get("hint") or "is the state directory usable?")

    @property
    def hears(self) -> int:
        """The descriptor by which it is told what came of the start."""
        return self._pipe.fileno()

    def close(self) -> None:
        """If it was told nothing, it undoes what there is."""
        self._pipe.close()
