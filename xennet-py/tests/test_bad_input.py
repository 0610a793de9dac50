"""What makes no sense gets a TypeError, an Invalid or a ValueError that names the argument, and never a crash."""

import datetime
import inspect
import sys

import pytest

import xennet
from xennet import BridgeSpec, Host, Network, Step, VifSpec



def told(error):
    """What is told of an error. Of wrong types the argument's name is a note, which Python has since 3.11."""
    return " ".join([str(error), *getattr(error, "__notes__", [])])


NAMES = sys.version_info >= (3, 11)
NAN, INF = float("nan"), float("inf")
SURROGATE = "x\ud800"

TEXTS = {
    "line": lambda bad: VifSpec.parse(bad),
    "mac": lambda bad: VifSpec(mac=bad),
    "bridge": lambda bad: VifSpec(bridge=bad),
    "rate": lambda bad: VifSpec(rate=bad),
    "vifname": lambda bad: VifSpec().replace(vifname=bad),
    "ip": lambda bad: VifSpec(ip=[bad]),
    "name": lambda bad: BridgeSpec(name=bad),
    "uplink": lambda bad: Network(name="n", mode="bridge", uplink=bad),
    "mode": lambda bad: Network(name="n", mode=bad),
    "subnets": lambda bad: Network(name="n", mode="nat", subnets=[bad]),
    "document": lambda bad: Network.from_json(bad),
    "text": lambda bad: xennet.parse_networks(bad),
    "lines": lambda bad: xennet.parse_vifs([bad]),
    "arguments": lambda bad: xennet.parse_attach([bad]),
    "vif": lambda bad: Host.fake().attach(5, bad),
    "bridge ": lambda bad: Host.fake().ensure_bridge(bad),
    "link": lambda bad: Host.fake().await_link(bad, 0),
    "name ": lambda bad: Host.fake().stop_network(bad),
    "plan": lambda bad: Host.fake().apply(bad),
    "source": lambda bad: Host.fake().trace(bad, "dom0"),
    "effects": lambda bad: Step(sign="+", text="t", why="w", effects=[bad]),
    "seed": lambda bad: xennet.generate_mac("uuid", seed=bad),
    "links": lambda bad: xennet.snippets([bad]),
    "text ": lambda bad: xennet.parse_rate(bad),
}


@pytest.mark.parametrize("argument", TEXTS)
@pytest.mark.parametrize("bad", [SURROGATE, 5, b"bytes", 1.5, [], object(), NAN], ids=lambda bad: type(bad).__name__)
def test_what_is_no_text_is_refused_by_the_argument_s_name(argument, bad):
    if argument == "lines" and bad == []:
        return
    with pytest.raises(TypeError) as caught:
        TEXTS[argument](bad)
    text = told(caught.value)
    assert argument.strip() in text or not NAMES, text
    assert "failed to extract" not in text


NUMBERS = {
    "domid": lambda bad: Host.fake().attach(bad, "bridge=xenbr0"),
    "devid": lambda bad: Host.fake().detach(5, bad),
    "mtu": lambda bad: VifSpec(mtu=bad),
    "mtu ": lambda bad: BridgeSpec(name="b", mtu=bad),
    "metric": lambda bad: Network(name="r", mode="routed", subnets=["10.0.0.0/24"], uplink="eth0", metric=bad),
    "devid ": lambda bad: xennet.generate_mac("uuid", seed="s", devid=bad),
}


@pytest.mark.parametrize("argument", NUMBERS)
@pytest.mark.parametrize("bad", ["5", True, 1.5, NAN, INF, [], object()], ids=range(7))
def test_what_is_no_number_is_refused_by_the_argument_s_name(argument, bad):
    with pytest.raises(TypeError) as caught:
        NUMBERS[argument](bad)
    assert argument.strip() in told(caught.value) or not NAMES


@pytest.mark.parametrize("argument", NUMBERS)
@pytest.mark.parametrize("bad", [-1, 2**31, 2**64, -(2**70), 10**5000], ids=range(5))
def test_a_number_that_is_too_large_meets_the_library_s_rule(argument, bad):
    if argument == "metric" and 0 <= bad < 2**32:
        return
    with pytest.raises(xennet.Invalid) as caught:
        NUMBERS[argument](bad)
    assert caught.value.message and len(str(caught.value)) < 1000


TIMES = {
    "lock_deadline": lambda bad: Host.fake(lock_deadline=bad),
    "budget": lambda bad: Host.fake(budget=bad),
    "timeout": lambda bad: Host.fake().await_link("eth0", bad),
    "within": lambda bad: Host.fake().start_confirmed(Network(name="n", mode="bridge"), bad),
    "deadline": lambda bad: xennet.xenstore.Store("/none", deadline=bad),
}


@pytest.mark.parametrize("argument", TIMES)
@pytest.mark.parametrize("bad", [NAN, INF, -INF, -1, -0.5, 2**70, 10**5000, datetime.timedelta.max, datetime.timedelta(-1)], ids=range(9))
def test_a_time_that_cannot_be_is_refused_by_the_argument_s_name(argument, bad):
    with pytest.raises(xennet.Invalid) as caught:
        TIMES[argument](bad)
    assert caught.value.object == argument and argument in str(caught.value) and "timedelta" in caught.value.hint


@pytest.mark.parametrize("argument", TIMES)
@pytest.mark.parametrize("bad", ["5", True, [], b"5", object()], ids=range(5))
def test_what_is_no_time_is_refused_by_the_argument_s_name(argument, bad):
    with pytest.raises(TypeError, match=argument):
        TIMES[argument](bad)


@pytest.mark.parametrize("argument", ["timeout", "within"])
def test_a_time_has_to_be_given(argument):
    with pytest.raises(TypeError, match=argument):
        TIMES[argument](None)


@pytest.mark.parametrize(
    "call",
    [
        lambda: Host.fake(state_dir=5),
        lambda: Host.fake(state_dir="a\0b"),
        lambda: Host(state_dir=""),
        lambda: Host.fake(mac_binding="sometimes"),
        lambda: Host.fake(mac_binding=5),
        lambda: Host.fake("x"),
        lambda: Host("x"),
        lambda: Host.from_recording({"version": NAN}),
        lambda: Host.from_recording({"version": object()}),
        lambda: Host.from_recording([]),
        lambda: xennet.doctor(5),
        lambda: xennet.doctor(None),
        lambda: Host.fake().picture("gif"),
        lambda: Host.fake().picture(None),
        lambda: Host.fake().trace("5", "6", "tcp", -1),
        lambda: Host.fake().trace("5", "6", "tcp", 70000),
        lambda: Host.fake().undo(5),
        lambda: VifSpec(trusted="yes"),
        lambda: VifSpec(isolated=1),
        lambda: VifSpec(colo=[]),
        lambda: VifSpec(colo={"colo_sock_mirror_id": 5}),
        lambda: VifSpec().replace(brigde="x"),
        lambda: VifSpec().replace(trusted=1),
        lambda: VifSpec.parse("", dialect="XL"),
        lambda: VifSpec.parse("", dialect=None),
        lambda: BridgeSpec(name="b", forward_delay=NAN),
        lambda: BridgeSpec(name="b", forward_delay=datetime.timedelta(-1)),
        lambda: Network(name="n", mode="nat", forward=[{"ports": NAN}]),
        lambda: xennet.hotplug("vif-bridge", "online"),
        lambda: xennet.hotplug(5),
        lambda: xennet.hotplug("vif-bridge", [], environment={}, state_dir="/dev/null/x"),
        lambda: xennet.import_xend(5.5),
        lambda: xennet.parse_vifs(None),
        lambda: xennet.parse_vifs([None]),
        lambda: xennet.parse_vifs(5),
    ],
    ids=lambda call: inspect.getsource(call).strip()[:60],
)
def test_nothing_else_gets_through(call):
    with pytest.raises((TypeError, ValueError)) as caught:
        call()
    assert str(caught.value) and "failed to extract" not in str(caught.value)


def test_a_text_of_ten_mebibytes_is_refused():
    large = "a" * (10 << 20)
    with pytest.raises(xennet.Invalid) as caught:
        Host.fake().attach(5, f"bridge={large}")
    assert len(str(caught.value)) < 2000
    large = large[: 1 << 20]
    for call in (VifSpec.parse, xennet.parse_networks, xennet.parse_rate, xennet.parse_vlan, xennet.parse_mac, Network.from_json, xennet.parse_vif_list):
        with pytest.raises(xennet.Invalid) as caught:
            call(large)
        assert len(str(caught.value)) < 2000 and len(caught.value.report()) < 20_000
