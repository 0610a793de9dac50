"""A table of the guests' vifs on this host, or on a recorded one: who is where, and whether anything is wrong with it.

    python3 inventory.py                    this host (needs root)
    python3 inventory.py --rehearsal        a host in memory: needs no root and no Xen
    python3 inventory.py RECORDING          a file of `xennet record`
"""

from __future__ import annotations

import sys

import xennet


def opened(arguments: list[str]) -> xennet.Host:
    if arguments == ["--rehearsal"]:
        host = xennet.Host.fake()
        for domid in (5, 6):
            host.attach(domid, f"mac=00:16:3e:00:00:0{domid},bridge=xenbr0,ip=192.0.2.{domid}")
        return host
    if arguments:
        with open(arguments[0], encoding="utf-8") as file:
            return xennet.Host.from_recording(file.read())
    return xennet.Host()


def rows(host: xennet.Host) -> list[tuple[str, ...]]:
    found: list[tuple[str, ...]] = [("VIF", "MODE", "BRIDGE", "STATE", "MTU", "MAC", "ADDRESSES", "WHAT IS WRONG")]
    for shown in host.show()["vifs"]:
        vif = xennet.VifSpec.parse(shown["spec"] or "", dialect=xennet.Dialect.XL)
        trouble = [*shown["missing"], *shown["obstacles"]]
        found.append(
            (
                shown["vif"],
                shown["mode"],
                shown["bridge"] or "-",
                "up" if shown["up"] else "down",
                str(shown["mtu"]),
                vif.mac or "-",
                " ".join(vif.ip) or "-",
                "; ".join(trouble) or "-",
            )
        )
    return found


def main(arguments: list[str]) -> None:
    with opened(arguments) as host:
        table = rows(host)
    widths = [max(len(row[column]) for row in table) for column in range(len(table[0]))]
    for row in table:
        print("  ".join(text.ljust(width) for text, width in zip(row, widths)).rstrip())


if __name__ == "__main__":
    if len(sys.argv) > 2:
        print(__doc__, file=sys.stderr)
        sys.exit(2)
    try:
        main(sys.argv[1:])
    except xennet.XennetError as error:
        print(error.report(), file=sys.stderr)
        sys.exit(error.code)
    except (OSError, UnicodeDecodeError) as error:
        sys.exit(f"error: a file cannot be read: {error}")
