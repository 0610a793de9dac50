"""Rehearses a change of a host on a laptop: the host was recorded (`xennet record`), the networks are described in a file. Nothing is touched.

    python3 rehearse.py                              a host in memory and a network of this file's own
    python3 rehearse.py RECORDING NETWORKS.TOML      what starting these networks on that host would do, and what the doctor says then

Exit status: 0 if all networks start and the doctor finds nothing new; 1 if not; 2 for wrong arguments; otherwise the code of the error.
"""

from __future__ import annotations

import sys

import xennet

TEXT = """
[network.private]
mode = "nat"
subnets = ["10.0.0.0/24"]
dns = true
"""


def worst(host: xennet.Host) -> set[str]:
    return {f"{found['code']} {found['object']}: {found['title']}" for found in xennet.doctor(host.record())["findings"] if found["level"] != "note"}


def main(arguments: list[str]) -> int:
    well = True
    if arguments:
        with open(arguments[0], encoding="utf-8") as recording, open(arguments[1], encoding="utf-8") as description:
            host, text = xennet.Host.from_recording(recording.read()), description.read()
    else:
        host, text = xennet.Host.fake(), TEXT
    networks = xennet.parse_networks(text)

    # The host stays as it was recorded; the rehearsal is another one in memory.
    with host, host.rehearse() as rehearsal:
        before = worst(rehearsal)
        for network in networks:
            plan = rehearsal.plan_start(network)
            print(f"network {network.name}:")
            print(plan if plan else "  is as it is described")
        try:
            rehearsal.start_networks(networks)
        except xennet.XennetError as error:
            if not error.failures:
                raise
            well = False
            for name, failure in error.failures.items():
                print(f"network {name} could not be started:\n{failure.report()}")
        for network in networks:
            status = rehearsal.network_status(network)
            print(f"network {network.name} is {status['state']} then", *status["obstacles"], sep="; ")
        for trouble in sorted(worst(rehearsal) - before):
            well = False
            print(f"the doctor finds what was not there before: {trouble}")
        print(rehearsal.picture())
    return 0 if well else 1


if __name__ == "__main__":
    if len(sys.argv) not in (1, 3):
        print(__doc__, file=sys.stderr)
        sys.exit(2)
    try:
        sys.exit(main(sys.argv[1:]))
    except xennet.XennetError as error:
        print(error.report(), file=sys.stderr)
        sys.exit(error.code)
    except (OSError, UnicodeDecodeError) as error:
        sys.exit(f"error: a file cannot be read: {error}")
