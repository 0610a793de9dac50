"""Starts a network of networks.toml, shows what that means and how it is, and stops it again.

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
    if len(arguments) >= 2:
        host = xennet.Host(state_dir=arguments[2] if len(arguments) > 2 else None)
        try:
            with open(arguments[0], encoding="utf-8") as file:
                text, name = file.read(), arguments[1]
        except (OSError, UnicodeDecodeError) as error:
            sys.exit(f"{arguments[0]} cannot be read: {error}")
    else:
        host, text, name = xennet.Host.fake(), TEXT, "private"

    networks = {network.name: network for network in xennet.parse_networks(text)}
    if name not in networks:
        sys.exit(f"there is no network {name}, but: {', '.join(networks)}")
    network = networks[name]

    print(host.plan_start(network))  # nothing happens yet
    host.start_network(network)  # started and read back; or as before, and an error that says so
    print(host.network_status(network))
    host.stop_network(name)  # refused while guests are on its bridge


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except xennet.XennetError as error:
        print(error.report(), file=sys.stderr)
        sys.exit(error.code)
