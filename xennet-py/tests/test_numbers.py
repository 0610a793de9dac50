"""Numbers are what Python counts with, not what their types say of themselves as texts."""

import enum

import pytest

import xennet
from xennet import BridgeSpec, Host, Network, VifSpec


class Liar(int):
    def __str__(self):
        return "7"

    __repr__ = __str__

    def __index__(self):
        return 7


class Guest(int, enum.Enum):
    WEB = 5


class Counted:
    """What numpy's integers are: no int, and a whole number."""

    def __init__(self, number):
        self.number = number

    def __index__(self):
        return self.number


def kind(value):
    """Some are too large for their digits to be written."""
    return type(value).__name__


@pytest.mark.parametrize("five", [5, Liar(5), Guest.WEB, Counted(5)])
def test_a_number_is_its_value(five):
    host = Host.fake()
    assert all("vif5.0" in str(step) for step in host.plan_attach(five, "bridge=xenbr0").steps)
    host.attach(five, VifSpec(devid=five, bridge="xenbr0"))
    (shown,) = host.show()["vifs"]
    assert (shown["vif"], shown["domid"], shown["devid"]) == ("vif5.5", 5, 5)
    assert len(host.plan_detach(five, five)) == host.detach(five, five).steps > 0


@pytest.mark.parametrize("make", [int, Liar, Counted])
def test_a_number_is_its_value_in_every_keyword(make):
    assert VifSpec(mtu=make(1400), devid=make(3)) == VifSpec(mtu=1400, devid=3)
    assert BridgeSpec(name="br0", mtu=make(1400)).mtu == 1400
    to = {"protocol": "tcp", "ports": make(80), "to": "10.0.0.2", "to_port": make(8080)}
    network = Network(name="lan", mode="nat", subnets=["10.0.0.0/24"], forward=[to], mtu=make(1400))
    assert (network.mtu, network.forward[0]["ports"], network.forward[0]["to_port"]) == (1400, "80", 8080)
    routed = Network(name="web", mode="routed", subnets=["192.0.2.0/24"], metric=make(9))
    assert routed.metric == 9


@pytest.mark.parametrize("number", [-1, 32752, 2**64, -(2**64), 10**5000, Liar(2**70), Counted(2**70)], ids=kind)
def test_a_number_that_no_domain_has_is_invalid(number):
    with pytest.raises(xennet.Invalid):
        Host.fake().attach(number, "bridge=xenbr0")


@pytest.mark.parametrize("other", [True, 5.0, "5", None, b"5", Counted("5")])
def test_what_is_no_number_is_refused(other):
    with pytest.raises(TypeError):
        Host.fake().attach(other, "bridge=xenbr0")
    with pytest.raises(TypeError):
        to = {"protocol": "tcp", "ports": "80", "to": "10.0.0.2", "to_port": other}
        if isinstance(other, str):
            raise TypeError
        Network(name="lan", mode="nat", subnets=["10.0.0.0/24"], forward=[to])


def test_what_is_no_vif_and_no_bridge_is_told_so():
    with pytest.raises(TypeError, match="a VifSpec or a vif line .* is needed, not NoneType"):
        Host.fake().attach(5, None)
    with pytest.raises(TypeError, match="a BridgeSpec or a bridge's name is needed, not int"):
        Host.fake().ensure_bridge(5)
