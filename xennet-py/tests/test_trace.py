"""What happens to a packet."""

import json

import pytest

import xennet


def host():
    host = xennet.Host.fake()
    for number in (5, 6):
        host.attach(number, f"mac=00:16:3e:00:00:0{number},ip=192.0.2.{number},bridge=xenbr0,isolated")
    return host


def test_a_trace_is_the_document_of_the_command():
    recording = host().record()
    told = xennet.trace(recording, "vif5.0", "dom0", "tcp", 22)
    assert set(told) == {"version", "verdict", "where", "why", "source_seen", "hops"}
    assert (told["version"], told["verdict"], told["where"], told["source_seen"]) == (1, "delivered", None, "192.0.2.5")
    assert xennet.trace(json.dumps(recording), "vif5.0", "dom0", protocol="tcp", port=22) == told
    assert set(told["hops"][0]) == {"direction", "stage", "at", "text", "detail"}


def test_a_host_is_recorded_first():
    told = host().trace("5", "6", "icmp")
    assert (told["verdict"], told["where"]) == ("dropped", "bridge port vif6.0")


def test_questions_that_cannot_be_answered_are_refused():
    with pytest.raises(xennet.LinkNotFound):
        host().trace("web01", "dom0")
    with pytest.raises(xennet.Invalid):
        host().trace("5", "6", "icmp", 8)
