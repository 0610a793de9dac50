"""Attaching and detaching a vif on the kernel, by xennet or by pyroute2: python3 against.py ours|pyroute2

Works in a network namespace of its own. Both look the links up, make the vif a port of the bridge, bring it up, and read back what came of it; then the
way back. xennet moreover plans, keeps a journal, takes a lock, and restores what failed.
"""

import ctypes
import os
import statistics
import sys
import tempfile
import time

ROUNDS = 300


def enter():
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(0x40000000) != 0:
        uid, gid = os.getuid(), os.getgid()
        if libc.unshare(0x50000000) != 0:
            sys.exit(f"no namespaces here: {os.strerror(ctypes.get_errno())}")
        for file, text in (("setgroups", "deny"), ("uid_map", f"0 {uid} 1"), ("gid_map", f"0 {gid} 1")):
            with open(f"/proc/self/{file}", "w") as out:
                out.write(text)


def measured(name, attach, detach):
    rounds = []
    for _ in range(ROUNDS):
        begun = time.perf_counter()
        attach()
        middle = time.perf_counter()
        detach()
        rounds.append((middle - begun, time.perf_counter() - middle))
    for what, at in (("attach", 0), ("detach", 1)):
        print(f"{name + ', ' + what:<44} {statistics.median(r[at] for r in rounds) * 1e6:>10.2f} us")


def ours():
    import xennet

    with tempfile.TemporaryDirectory(dir="/dev/shm") as place:
        with xennet.Host(state_dir=place) as host:
            host._make_cable("vif5.0", "guest5.0")
            host.ensure_bridge("xenbr0")
            vif = xennet.VifSpec(bridge="xenbr0")
            measured("xennet", lambda: host.attach(5, vif), lambda: host.detach(5))


def pyroute2():
    from pyroute2 import IPRoute  # pyright: ignore[reportMissingImports]

    with IPRoute() as ip:

        def index(name):
            return list(ip.link_lookup(ifname=name))[0]

        ip.link("add", ifname="vif5.0", kind="veth", peer={"ifname": "guest5.0"})
        ip.link("add", ifname="xenbr0", kind="bridge")
        ip.link("set", index=index("xenbr0"), state="up")

        def attach():
            vif, bridge = index("vif5.0"), index("xenbr0")
            ip.link("set", index=vif, address="fe:ff:ff:ff:ff:ff")
            ip.link("set", index=vif, master=bridge)
            ip.link("set", index=vif, state="up")
            (link,) = list(ip.get_links(vif))
            if link.get_attr("IFLA_MASTER") != bridge or not link["flags"] & 1:
                raise RuntimeError("not attached")

        def detach():
            vif = index("vif5.0")
            ip.link("set", index=vif, master=0)
            ip.link("set", index=vif, state="down")
            (link,) = list(ip.get_links(vif))
            if link.get_attr("IFLA_MASTER") or link["flags"] & 1:
                raise RuntimeError("not detached")

        measured("pyroute2, the same messages", attach, detach)


if __name__ == "__main__":
    enter()
    {"ours": ours, "pyroute2": pyroute2}[sys.argv[1]]()
