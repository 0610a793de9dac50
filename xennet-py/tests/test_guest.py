"""What a guest has to be told: the same document from a line, a network, and a host."""

import pytest

import xennet

NAT = """
[network.private]
mode = "nat"
subnets = ["10.0.0.0/24", "fd00:1::/64"]
mtu = 1400
"""


def test_a_network_says_what_a_vif_line_does_not():
    (network,) = xennet.parse_networks(NAT)
    vif = xennet.VifSpec(mac="00:16:3e:00:00:01", bridge="private", ip=["10.0.0.1", "fd00:1::5"])
    told = xennet.guest_config(vif, network=network, format="networkd", dns=["192.0.2.53"])
    assert told["format"] == "networkd" and told["notes"] == []
    (file,) = told["files"]
    assert file["path"] == "/etc/systemd/network/10-xennet-eth0.network" and file["mode"] == 0o644
    for line in ("MACAddress=00:16:3e:00:00:01", "Address=10.0.0.1/24", "Gateway=10.0.0.254", "Address=fd00:1::5/128",
                 "Gateway=fe80::1", "DNS=192.0.2.53", "MTUBytes=1400"):
        assert line in file["text"].splitlines(), line
    assert told["config"]["ipv4"]["gateway"] == {"address": "10.0.0.254", "on_link": False}


def test_a_host_knows_the_network_and_the_vif():
    host = xennet.Host.fake()
    (network,) = xennet.parse_networks(NAT)
    host.start_network(network)
    line = "mac=00:16:3e:00:00:01,bridge=private,ip=10.0.0.1"
    described = host.guest_config(line, format="ifupdown", dns=["192.0.2.53"])
    host.attach(5, line)
    assert host.guest_config("vif5.0", format="ifupdown", dns=["192.0.2.53"]) == described
    assert "    gateway 10.0.0.254\n" in described["files"][0]["text"]
    with pytest.raises(xennet.Invalid, match="vif6.0 is not attached"):
        host.guest_config("vif6.0", format="ifupdown")


def test_what_is_missing_is_named():
    with pytest.raises(xennet.Invalid, match="the prefix length of 192.168.0.6 is not known"):
        xennet.guest_config("bridge=xenbr0,ip=192.168.0.6", format="netplan")
    with pytest.raises(xennet.Invalid, match="the IPv4 gateway of 192.168.0.6 is not known"):
        xennet.guest_config("bridge=xenbr0,ip=192.168.0.6", format="netplan", prefix=["192.168.0.0/24"])
    with pytest.raises(xennet.Invalid, match="\"yaml\" is not a format"):
        xennet.guest_config("bridge=xenbr0", format="yaml", dhcp=True)
    with pytest.raises(xennet.Unsupported, match="kernel cannot say IPv6 alone"):
        xennet.guest_config("bridge=xenbr0,ip=fd00::5/64", format="kernel", no_gateway=True)
    with pytest.raises(TypeError, match="several texts"):
        xennet.guest_config("bridge=xenbr0", format="netplan", dns="192.0.2.53")
