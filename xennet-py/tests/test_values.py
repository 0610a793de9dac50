"""Specs are values: checked, frozen, keyword-only, comparable, hashable, and their repr makes them again."""

import copy
import datetime
import json
import pickle
import sys

import pytest

import xennet
from xennet import Applied, BridgeSpec, Network, Step, VifSpec

FULL = VifSpec(
    devid=2,
    mac="00:16:3E:01:02:03",
    bridge="xenbr0",
    gatewaydev="eth1",
    ip=["192.0.2.6", "2001:db8::/64"],
    script="vif-bridge",
    vifname="web0",
    type="ioemu",
    model="e1000",
    backend="storage",
    rate="10Mb/s",
    mtu=9000,
    vlan="10p/20",
    trusted=False,
    isolated=True,
    forwarddev="eth2",
    colo={"colo_sock_mirror_id": "x"},
    policy="strict",
    log="nflog",
    macs=["00:16:3E:01:02:04", "00:16:3e:01:02:05"],
    prefix=["198.51.100.0/24"],
)

BRIDGE = BridgeSpec(
    name="xenbr0",
    stp=True,
    forward_delay=datetime.timedelta(seconds=2),
    mac="02:00:00:00:00:01",
    mtu=1400,
    vlan_filtering=True,
)

# Every key of networks.toml, each in a mode that has it.
LAN = Network(
    name="lan",
    mode="bridge",
    bridge="xenbr0",
    uplink="eth0",
    uplink_name="peth0",
    stp=True,
    forward_delay=datetime.timedelta(seconds=4),
    mac="02:00:00:00:00:01",
    mtu=1400,
    vlan_filtering=True,
)
PRIVATE = Network(
    name="private",
    mode="nat",
    bridge="natbr0",
    subnets=["10.0.0.0/24", "fd00:1::/64"],
    gateways=["10.0.0.1"],
    egress="xenbr0",
    mtu=1400,
    dhcp=True,
    dns=True,
    range=["10.0.0.100-10.0.0.199"],
    domain="guests.example",
    accept_in=["ip filter DOCKER-USER", "inet filter input hook input"],
    host="services",
    lan="closed",
    reserved=["10.0.0.7/32", "10.0.0.8/32"],
    forward=[
        {"protocol": "tcp", "ports": "8080-8089", "to": "10.0.0.7", "to_port": 80},
        {"protocol": "udp", "ports": 53, "to": "10.0.0.8"},
    ],
)
DMZ = Network(
    name="dmz",
    mode="routed",
    subnets=["192.0.2.0/28"],
    uplink="xenbr0",
    source=["192.168.0.3"],
    proxy_arp=True,
    proxy_ndp=True,
    whole_subnets=True,
    any_vif=True,
    metric=7,
)

VALUES = [
    VifSpec(),
    VifSpec(bridge="xenbr0"),
    VifSpec(trusted=True),
    FULL,
    BridgeSpec(name="br0"),
    BRIDGE,
    Network(name="br-lan", mode="bridge"),
    Network(name="br-lan", mode="nat"),
    LAN,
    PRIVATE,
    DMZ,
    Step(sign="+", text="it's \"text\"", why="\\", effects=("a", "b")),
    Step(sign="~", text="t", why="w"),
    Applied(steps=3),
    Applied(steps=3, notes=("one", "two")),
]


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_a_value_makes_itself_again(value):
    names = {"datetime": datetime, **{name: getattr(xennet, name) for name in xennet.__all__}}
    for same in (
        eval(repr(value), names),
        copy.copy(value),
        copy.deepcopy(value),
        pickle.loads(pickle.dumps(value)),
    ):
        assert type(same) is type(value)
        assert same == value and hash(same) == hash(value)
        assert not same != value


def test_different_values_differ():
    assert len({*VALUES}) == len(VALUES)
    assert VifSpec(mtu=1500) != VifSpec(mtu=1501)
    assert VifSpec() != "" and VifSpec() != BridgeSpec(name="br0")


def test_every_key_comes_back_as_it_is():
    assert FULL.devid == 2
    assert FULL.mac == "00:16:3e:01:02:03"
    assert FULL.bridge == "xenbr0"
    assert FULL.gatewaydev == "eth1"
    assert FULL.ip == ("192.0.2.6", "2001:db8::/64")
    assert FULL.script == "vif-bridge"
    assert FULL.vifname == "web0"
    assert FULL.type == "ioemu"
    assert FULL.model == "e1000"
    assert FULL.backend == "storage"
    assert VifSpec(rate=FULL.rate) == VifSpec(rate="10Mb/s")
    assert FULL.mtu == 9000
    assert VifSpec(vlan=FULL.vlan) == VifSpec(vlan="10p/20")
    assert FULL.trusted is False
    assert FULL.isolated is True
    assert FULL.policy == "strict"
    assert FULL.log == "nflog"
    assert FULL.macs == ("00:16:3e:01:02:04", "00:16:3e:01:02:05")
    assert FULL.prefix == ("198.51.100.0/24",)
    assert FULL.forwarddev == "eth2"
    assert FULL.colo == {"colo_sock_mirror_id": "x"}
    empty = VifSpec()
    assert (empty.devid, empty.mac, empty.ip, empty.trusted, empty.isolated, empty.colo) == (None, None, (), None, False, {})
    assert (BRIDGE.name, BRIDGE.stp, BRIDGE.mac, BRIDGE.mtu) == ("xenbr0", True, "02:00:00:00:00:01", 1400)
    assert (BRIDGE.forward_delay, BRIDGE.vlan_filtering) == (datetime.timedelta(seconds=2), True)


def test_a_line_is_a_spec_and_a_spec_is_a_line():
    assert VifSpec.parse(str(FULL)) == FULL
    assert str(VifSpec(bridge="xenbr0", mtu=9000)) == "bridge=xenbr0,mtu=9000"
    assert VifSpec.parse("bridge = br0", dialect="xm") == VifSpec(bridge="br0")
    assert VifSpec.parse("bridge=br0,brigde=x", dialect="xl").bridge == "br0"
    with pytest.raises(xennet.Invalid):
        VifSpec.parse("bridge=br0", dialect="XL")


def test_a_document_has_the_names_of_libxl():
    document = FULL.to_dict()
    assert document["nictype"] == "vif_ioemu"
    assert document["ip"] == "192.0.2.6 2001:db8::/64"
    assert document["mtu"] == 9000
    assert VifSpec().to_dict() == {}


def test_every_key_of_a_network_comes_back_as_it_is():
    assert (LAN.name, LAN.mode, LAN.bridge, LAN.uplink, LAN.uplink_name) == ("lan", "bridge", "xenbr0", "eth0", "peth0")
    assert (LAN.stp, LAN.forward_delay, LAN.mac) == (True, datetime.timedelta(seconds=4), "02:00:00:00:00:01")
    assert (LAN.mtu, LAN.vlan_filtering, LAN.subnets, LAN.metric, LAN.egress) == (1400, True, (), None, None)
    assert (PRIVATE.bridge, PRIVATE.egress, PRIVATE.uplink, PRIVATE.mtu) == ("natbr0", "xenbr0", None, 1400)
    assert PRIVATE.subnets == ("10.0.0.0/24", "fd00:1::/64")
    assert PRIVATE.gateways == ("10.0.0.1", "fd00:1::1")
    assert (PRIVATE.dhcp, PRIVATE.dns, PRIVATE.range) == (True, True, ("10.0.0.100-10.0.0.199",))
    assert PRIVATE.domain == "guests.example"
    assert PRIVATE.accept_in == ("ip filter DOCKER-USER", "inet filter input hook input")
    assert (DMZ.accept_in, LAN.accept_in) == ((), ())
    assert PRIVATE.forward == (
        {"protocol": "tcp", "ports": "8080-8089", "to": "10.0.0.7", "to_port": 80},
        {"protocol": "udp", "ports": "53", "to": "10.0.0.8", "to_port": 53},
    )
    assert (DMZ.mode, DMZ.uplink, DMZ.source, DMZ.metric) == ("routed", "xenbr0", ("192.168.0.3",), 7)
    assert (PRIVATE.host, PRIVATE.lan, DMZ.host, DMZ.lan) == ("services", "closed", None, None)
    assert (PRIVATE.reserved, DMZ.reserved) == (("10.0.0.7/32", "10.0.0.8/32"), ())
    assert DMZ.whole_subnets and DMZ.any_vif and not PRIVATE.any_vif
    assert DMZ.proxy_arp and DMZ.proxy_ndp and DMZ.bridge is None and DMZ.forward_delay is None
    plain = Network(name="br-lan", mode="bridge")
    assert (plain.bridge, plain.forward_delay, plain.stp) == ("br-lan", datetime.timedelta(), False)
    assert Network(name="r", mode="routed").metric == 2


def test_networks_are_texts_and_documents():
    text = "\n\n".join(str(network) for network in (LAN, PRIVATE.replace(egress=None), DMZ.replace(uplink=None)))
    assert xennet.parse_networks(text) == (LAN, PRIVATE.replace(egress=None), DMZ.replace(uplink=None))
    assert xennet.parse_networks("") == ()
    for network in (LAN, PRIVATE, DMZ):
        assert json.loads(network.to_json()) == network.to_dict()
        assert Network.from_json(network.to_json()) == network
        assert network.to_dict()["name"] == network.name and network.to_dict()["mode"] == network.mode
    with pytest.raises(xennet.Invalid) as caught:
        xennet.parse_networks('[network.lan]\nmode = "bridge"\nupling = "eth0"\n')
    assert (caught.value.line, caught.value.column) == (3, 1) and "uplink" in caught.value.hint
    with pytest.raises(xennet.Invalid):
        Network.from_json('{"name": "n", "mode": "bridge", "bridge": {"name": "n"}, "upling": "eth0"}')


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "a/b"},
        {"name": "a-name-that-is-long"},
        {"mode": "vpn"},
        {"mode": "routed"},
        {"bridge": 'x"\n[network.y]\nmode = "nat"'},
        {"stp": True},
        {"subnets": ["10.0.0.1/24"]},
        {"subnets": ["10.0.0.0/24", "10.0.0.0/25"]},
        {"subnets": []},
        {"gateways": ["10.1.0.1"]},
        {"mtu": 67},
        {"mtu": -1},
        {"mtu": 2**100},
        {"mtu": 10**4000},
        {"range": ["10.0.0.199-10.0.0.100"]},
        {"forward": [{"protocol": "tcp", "ports": "80"}]},
        {"forward": [{"protocol": "tcp", "ports": 2**70, "to": "10.0.0.7"}]},
        {"forward": [{"protocol": "tcp", "ports": "80", "to": "10.0.0.7", "from": "x"}]},
    ],
    ids=lambda changes: str(changes)[:60],
)
def test_a_network_that_breaks_a_rule_is_refused(changes):
    with pytest.raises(xennet.Invalid) as caught:
        PRIVATE.replace(**changes)
    assert caught.value.message and caught.value.line is None


def test_a_forward_delay_has_whole_seconds():
    with pytest.raises(xennet.Invalid, match="forward_delay cannot be 2.5: a whole number"):
        LAN.replace(forward_delay=datetime.timedelta(seconds=2.5))


@pytest.mark.parametrize(
    "changes", [{"mtu": "1500"}, {"mtu": True}, {"subnets": "10.0.0.0/24"}, {"forward": [5]}, {"forward": {}}, {"dhcp": 1}], ids=str
)
def test_a_network_of_other_types_is_refused(changes):
    with pytest.raises(TypeError):
        PRIVATE.replace(**changes)
    with pytest.raises(TypeError):
        Network("lan", "bridge")


def test_replace_makes_another_value():
    vif = VifSpec(bridge="xenbr0", mtu=9000)
    assert vif.replace(bridge="br1") == VifSpec(bridge="br1", mtu=9000)
    assert vif.replace(mtu=None) == VifSpec(bridge="xenbr0")
    assert vif.replace() == vif and vif.bridge == "xenbr0"
    assert BRIDGE.replace(stp=False).stp is False
    with pytest.raises(TypeError):
        vif.replace(brigde="x")


def test_values_are_frozen_and_keyword_only():
    for value in VALUES:
        with pytest.raises(AttributeError):
            value.bridge = "x"
    with pytest.raises(TypeError):
        VifSpec("00:16:3e:01:02:03")
    with pytest.raises(TypeError):
        BridgeSpec("xenbr0")
    with pytest.raises(TypeError):
        BridgeSpec()


@pytest.mark.parametrize(
    "keywords",
    [
        {"mac": "00:16:3e:01:02"},
        {"mac": "ff:ff:ff:ff:ff:ff"},
        {"bridge": ""},
        {"bridge": "a-name-that-is-too-long"},
        {"bridge": "xenbr0,ip=192.0.2.6"},
        {"bridge": "a\0b"},
        {"model": "x,bridge=y"},
        {"script": "a b,c"},
        {"ip": ["192.0.2.6,bridge=x"]},
        {"ip": ["192.0.2"]},
        {"ip": ["192.0.2.6", "255.255.255.0"]},
        {"type": "netfront"},
        {"backend": "99999"},
        {"rate": "fast"},
        {"mtu": 67},
        {"mtu": -1},
        {"mtu": 2**100},
        {"devid": -1},
        {"devid": 65536},
        {"vlan": "5000"},
        {"vifname": "twelve-bytes", "type": "ioemu"},
        {"colo": {"colo_nonsense": "x"}},
    ],
    ids=str,
)
def test_a_value_that_breaks_a_rule_is_refused(keywords):
    with pytest.raises(xennet.Invalid) as caught:
        VifSpec(**keywords)
    assert isinstance(caught.value, ValueError)
    assert caught.value.message


@pytest.mark.parametrize("keywords", [{"mtu": "1500"}, {"mtu": True}, {"mtu": 1.5}, {"ip": "192.0.2.6"}, {"mac": 5}], ids=str)
def test_a_value_of_another_type_is_refused(keywords):
    with pytest.raises(TypeError):
        VifSpec(**keywords)


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_every_value_is_made_anew_in_the_way_of_copy_replace(value):
    assert value.replace() == value == value.__replace__() and type(value.replace()) is type(value)
    if sys.version_info >= (3, 13):
        assert copy.replace(value) == value
    with pytest.raises(TypeError, match="no_such_keyword|unexpected"):
        value.replace(no_such_keyword=1)


def test_steps_and_what_was_applied_are_replaced_and_have_a_truth():
    step = Step(sign="+", text="t", why="w", effects=["a"])
    assert step.replace(sign="-") == Step(sign="-", text="t", why="w", effects=("a",))
    assert Applied(steps=1).replace(notes=["n"]) == Applied(steps=1, notes=("n",))
    assert Applied(steps=1) and not Applied(steps=0, notes=("n",))
    with pytest.raises(TypeError, match="notes takes several texts"):
        Applied(steps=1, notes="n")


@pytest.mark.skipif(sys.version_info < (3, 10), reason="match is of Python 3.10")
def test_values_can_be_matched_by_their_keywords():
    names = {"xennet": xennet, "found": [], "values": [VifSpec(bridge="xenbr0", mtu=9000), BRIDGE, PRIVATE, Applied(steps=0)]}
    exec(
        "for value in values:\n"
        "    match value:\n"
        "        case xennet.VifSpec(bridge='xenbr0', mtu=mtu): found.append(mtu)\n"
        "        case xennet.BridgeSpec(name=name, stp=True): found.append(name)\n"
        "        case xennet.Network(mode='nat', subnets=(first, *_)): found.append(first)\n"
        "        case xennet.Applied(steps=0): found.append(None)\n",
        names,
    )
    assert names["found"] == [9000, "xenbr0", "10.0.0.0/24", None]


def test_a_host_cannot_be_sent_elsewhere():
    with pytest.raises(TypeError, match="cannot pickle"):
        pickle.dumps(xennet.Host.fake())


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_plan_can_be_sent_elsewhere(protocol):
    host = xennet.Host.fake()
    host.ensure_bridge("br0")
    host.attach(6, "bridge=xenbr0")
    plans = [host.plan_attach(5, "bridge=xenbr0,accel=1"), host.plan_attach(6, "bridge=br0"), host.plan_attach(6, "bridge=xenbr0")]
    for plan in plans:
        kept = pickle.loads(pickle.dumps(plan, protocol))
        again = pickle.loads(pickle.dumps(kept, protocol))
        for other in (kept, again):
            assert other == plan and plan == other and hash(other) == hash(plan)
            assert (str(other), repr(other), len(other), bool(other)) == (str(plan), repr(plan), len(plan), bool(plan))
            assert (other.steps, other.notes, other.subject) == (plan.steps, plan.notes, plan.subject)
            assert list(other) == list(plan) and other.to_dict() == plan.to_dict() and other.to_json() == plan.to_json()
        assert copy.copy(plan) is plan and copy.deepcopy([kept])[0] is kept
    assert plans[0] != plans[1] and plans[0] == host.plan_attach(5, "bridge=xenbr0,accel=1")
    assert [repr(plan) for plan in plans] == [
        "<xennet.Plan for vif5.0: 2 steps>", "<xennet.Plan for vif6.0: 3 steps>", "<xennet.Plan for vif6.0: nothing to do>",
    ]
    kept = pickle.loads(pickle.dumps(plans[0], protocol))
    with host.applied(kept) as applied:
        assert applied.steps == 2
    assert host.apply(kept).steps == 2
    with pytest.raises(xennet.Stale):
        host.apply(kept)
    for wrong in ("{}", "no JSON"):
        with pytest.raises(xennet.Invalid):
            xennet._xennet.kept_plan(wrong, "")
