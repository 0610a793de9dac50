"""Migrates a host from xend: its networks as networks.toml, its guests' vif lines as they are read today, and what has to be known about them.

    python3 migrate.py                                        the files that this program brings along, for a look
    python3 migrate.py XEND-CONFIG.SXP [GUEST-CONFIG ...]     networks.toml on standard output, remarks on standard error; exit status 1 if a guest
                                                              has a vif that cannot be connected
"""

from __future__ import annotations

import os
import sys
import tempfile
from typing import TextIO

import xennet

XEND = "(network-script 'network-bridge bridge=xenbr0 netdev=eth0')\n(vif-script vif-bridge)\n"
GUEST = "name = 'web'\nvif = [ 'mac=00:16:3E:00:00:05, bridge=xenbr0', 'bridge=xenbr1,accel=1' ]\n"


def networks(path: str, out: TextIO) -> set[str]:
    """The names by which guests ask for what is imported."""
    imported = xennet.import_xend(path)
    for note in imported["notes"]:
        print(f"note: {note}", file=sys.stderr)
    print(imported["text"], file=out)
    return {name for network in xennet.parse_networks(imported["text"]) for name in (network.name, network.bridge) if name}


def guests(paths: list[str], bridges: set[str]) -> bool:
    """Whether every vif of these xm or xl configs has a place among the bridges."""
    well = True
    for path in paths:
        with open(path, encoding="utf-8") as file:
            listed = xennet.parse_vif_list(file.read(), dialect=xennet.Dialect.XM)
        for note in listed["notes"]:
            print(f"note: {path}: {note}", file=sys.stderr)
        for nic in listed["nics"]:
            bridge = nic.get("bridge")
            if bridge is not None and bridge not in bridges:
                print(f"{path}: vif {nic['devid']} asks for {bridge}, which no network makes", file=sys.stderr)
                well = False
    return well


def main(arguments: list[str]) -> int:
    if arguments:
        return 0 if guests(arguments[1:], networks(arguments[0], sys.stdout)) else 1
    with tempfile.TemporaryDirectory() as place:
        paths = [os.path.join(place, name) for name in ("xend-config.sxp", "web")]
        for path, text in zip(paths, (XEND, GUEST)):
            with open(path, "w", encoding="utf-8") as file:
                file.write(text)
        return main(paths)


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except xennet.XennetError as error:
        print(error.report(), file=sys.stderr)
        sys.exit(error.code)
    except (OSError, UnicodeDecodeError) as error:
        sys.exit(f"error: a file cannot be read: {error}")
