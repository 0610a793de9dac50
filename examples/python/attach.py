"""Connects the first vif of a domain, shows what that means, and disconnects it: what a toolstack starts from.

    python3 attach.py                               a rehearsal in memory: needs no root and no Xen
    python3 attach.py DOMID VIF-LINE [STATE-DIR]    the kernel, on which netback has made vifDOMID.0
"""

from __future__ import annotations

import sys

import xennet


def main(arguments: list[str]) -> None:
    if arguments:
        host = xennet.Host(state_dir=arguments[2] if len(arguments) > 2 else None)
        domid, vif = int(arguments[0]), xennet.VifSpec.parse(arguments[1])
    else:
        host = xennet.Host.fake()
        domid, vif = 5, xennet.VifSpec(mac="00:16:3e:01:02:03", bridge="xenbr0")

    with host:
        print(host.plan_attach(domid, vif))  # nothing happens yet
        applied = host.attach(domid, vif)  # connected and read back; or as before, and an error that says so
        try:
            print(host.show())
        finally:
            if applied:  # what was connected before stays so
                host.detach(domid)


if __name__ == "__main__":
    if len(sys.argv) not in (1, 3, 4) or not all(argument.isdecimal() for argument in sys.argv[1:2]):
        print(__doc__, file=sys.stderr)
        sys.exit(2)
    try:
        main(sys.argv[1:])
    except xennet.XennetError as error:
        print(error.report(), file=sys.stderr)
        sys.exit(error.code)
