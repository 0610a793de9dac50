"""Runs a function of this file in a network namespace made for it: python3 in_namespace.py FUNCTION STATE_DIR

No root is needed where user namespaces are allowed. Ends with 77 where they are not.
"""

import ctypes
import os
import socket
import struct
import sys

import xennet

CLONE_NEWUSER, CLONE_NEWNET = 0x10000000, 0x40000000
RTM_NEWLINK, RTM_DELLINK = 16, 17
IFF_UP = 0x1
NLM_F_REQUEST, NLM_F_ACK, NLM_F_EXCL, NLM_F_CREATE = 0x1, 0x4, 0x200, 0x400
IFLA_IFNAME, IFLA_LINKINFO, IFLA_INFO_KIND = 3, 18, 1


def write(path, text):
    with open(path, "w") as file:
        file.write(text)


def enter():
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNET) == 0:
        return
    uid, gid = os.getuid(), os.getgid()
    if libc.unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0:
        print(f"no namespaces here: {os.strerror(ctypes.get_errno())}", file=sys.stderr)
        sys.exit(77)
    write("/proc/self/setgroups", "deny")
    write("/proc/self/uid_map", f"0 {uid} 1")
    write("/proc/self/gid_map", f"0 {gid} 1")


def attribute(kind, payload):
    data = struct.pack("=HH", len(payload) + 4, kind) + payload
    return data + bytes(-len(data) % 4)


def link(message, name, extra=b"", up=0):
    """One rtnetlink message about a link: what `ip link add NAME type veth` and `ip link del NAME` send."""
    flags = NLM_F_REQUEST | NLM_F_ACK | (NLM_F_CREATE | NLM_F_EXCL if message == RTM_NEWLINK else 0)
    body = struct.pack("=BxHiII", socket.AF_UNSPEC, 0, 0, up, up) + attribute(IFLA_IFNAME, name.encode() + b"\0") + extra
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as netlink:
        netlink.send(struct.pack("=IHHII", 16 + len(body), message, flags, 1, 0) + body)
        (error,) = struct.unpack_from("=i", netlink.recv(4096), 16)
    if error:
        raise OSError(-error, os.strerror(-error), name)


def make_vif(name):
    link(RTM_NEWLINK, name, attribute(IFLA_LINKINFO, attribute(IFLA_INFO_KIND, b"veth")))


def bridge_of(host, vif):
    return next((b["bridge"] for b in host.show()["bridges"] if vif in b["ports"]), None)


def attach_and_back(state_dir):
    make_vif("vif5.0")
    host = xennet.Host.netlink(state_dir=state_dir)
    assert host.ensure_bridge("xenbr0").steps > 0
    assert host.ensure_bridge("xenbr0").steps == 0

    plan = host.plan_attach(5, "bridge=xenbr0")
    assert bridge_of(host, "vif5.0") is None
    assert host.attach(5, "bridge=xenbr0").steps == len(plan) > 0
    assert bridge_of(host, "vif5.0") == "xenbr0"
    assert host.attach(5, "bridge=xenbr0").steps == 0

    # As another process would: what was done is remembered in the directory.
    other = xennet.Host.netlink(state_dir=state_dir)
    assert [v["vif"] for v in other.show()["vifs"]] == ["vif5.0"]
    assert other.undo("vif5.0").steps > 0
    assert bridge_of(host, "vif5.0") is None
    assert host.attach(5, "bridge=xenbr0").steps > 0
    assert other.detach(5).steps > 0
    assert bridge_of(host, "vif5.0") is None
    assert host.undo().steps > 0
    assert bridge_of(host, "vif5.0") == "xenbr0"
    assert host.recover() == []


def refusals(state_dir):
    make_vif("vif5.0")
    host = xennet.Host.netlink(state_dir=state_dir)
    for vif, kind in [("bridge=xenbr0", xennet.BridgeNotFound), ("bridge=lo", xennet.NotABridge)]:
        try:
            host.attach(5, vif)
        except kind as error:
            assert error.object == vif[7:] and error.state, error.report()
        else:
            raise AssertionError(vif)
    host.ensure_bridge("xenbr0")
    try:
        host.attach(6, "bridge=xenbr0")
    except LookupError as error:
        assert type(error) is xennet.LinkNotFound and error.object == "vif6.0", error.report()
    else:
        raise AssertionError("there is no vif6.0")
    link(RTM_DELLINK, "vif5.0")
    assert host.detach(5).steps == 0


def networks(state_dir):
    link(RTM_NEWLINK, "eth0", attribute(IFLA_LINKINFO, attribute(IFLA_INFO_KIND, b"veth")), IFF_UP)
    (network,) = xennet.parse_networks('[network.lan]\nmode = "bridge"\nuplink = "eth0"\nbridge = "xenbr0"\n')
    host = xennet.Host.netlink(state_dir=state_dir)
    before = host.show()["bridges"]
    plan = host.plan_start(network)
    assert host.show()["bridges"] == before
    assert host.start_network(network).steps == len(plan) > 0
    assert host.start_network(network).steps == 0

    # As another process would; and a guest is in the way, unless it may be cut off.
    other = xennet.Host.netlink(state_dir=state_dir)
    make_vif("vif5.0")
    assert other.attach(5, "bridge=lan").steps > 0
    status = other.network_status(network)
    assert status["started"] and status["missing"] == [] and set(status["ports"]) == {"eth0", "vif5.0"}, status
    try:
        host.stop_network("lan")
    except xennet.Conflict as error:
        assert "vif5.0" in error.message and error.state, error.report()
    else:
        raise AssertionError("vif5.0 is a port")
    plan = other.plan_stop("lan", force=True)
    assert other.stop_network("lan", force=True).steps == len(plan) > 0
    assert host.plan_stop("lan") is None and host.stop_network("lan").steps == 0
    assert host.show()["bridges"] == before


def example(state_dir):
    here = os.path.dirname(os.path.abspath(__file__))
    program = os.path.join(here, "..", "..", "examples", "python", "attach.py")
    make_vif("vif5.0")
    xennet.Host.netlink(state_dir=state_dir).ensure_bridge("xenbr0")
    os.execv(sys.executable, [sys.executable, program, "5", "bridge=xenbr0", state_dir])


if __name__ == "__main__":
    enter()
    {"attach_and_back": attach_and_back, "refusals": refusals, "networks": networks, "example": example}[sys.argv[1]](sys.argv[2])
