"""The process that undoes a start which nobody confirms (``Host.start_confirmed``): python -m xennet._guard BACKEND STATE_DIR NETWORK SECONDS

It outlives the process that called it, and the terminal of that one.
"""

import os
import sys

from . import _xennet


def main() -> None:
    backend, state_dir, network, seconds = sys.argv[1:]
    if os.fork():
        # Whoever called waits for this process, and not for the copy.
        os._exit(0)
    os.setsid()
    _xennet.guard_start(backend, state_dir, network, float(seconds))


if __name__ == "__main__":
    main()
