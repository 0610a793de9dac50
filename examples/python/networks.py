"""Starts a network of networks.toml, shows what that means and how it is, and stops it again, unless it was started before.

    python3 networks.py                            a rehearsal in memory: needs no root and no Xen
    python3 networks.py FILE NAME [STATE-DIR]      the kernel, and the network of this name in the file
"""

from __future__ import annotations

import sys

import xennet

TEXT = """
[network.private]
mode = "nat"
subnets = ["10.0.0.0/24"]
bridge = "natbr0"
"""


def main(arguments: list[str]) -> None:
    if arguments:
        try:
            with open(arguments[0], encoding="utf-8") as file:
                text, name = file.read(), arguments[1]
        except (OSError, UnicodeDecodeError) as error:
            sys.exit(f"error: {arguments[0]} cannot be read: {error}")
        host = xennet.Host(state_dir=arguments[2] if len(arguments) > 2 else None)
    else:
        host, text, name = xennet.Host.fake(), TEXT, "private"

    networks = {network.name: network for network in xennet.parse_networks(text)}
    if name not in networks:
        sys.exit(f"error: there is no network {name}, but: {', '.join(networks)}")
    network = networks[name]

    with host:
        print(host.plan_start(network))  # nothing happens yet
        # Started and read back; or as before, and an error that says so. Nothing to do, if it is started already.
        applied = host.start_network(network)
        try:
            print(host.network_status(network))
        finally:
            if applied:
                host.stop_network(name)  # refused while guests are on its bridge


if __name__ == "__main__":
    if len(sys.argv) not in (1, 3, 4):
        print(__doc__, file=sys.stderr)
        sys.exit(2)
    try:
        main(sys.argv[1:])
    except xennet.XennetError as error:
        print(error.report(), file=sys.stderr)
        sys.exit(error.code)
