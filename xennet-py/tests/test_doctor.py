"""Recordings, and what is wrong with them."""

import json

import pytest

import xennet
from xennet import _xennet


def test_a_host_that_is_well_has_notes_alone():
    host = xennet.Host.fake()
    host.attach(5, "bridge=xenbr0")
    recording = host.record()
    assert recording["version"] == 1 and "vif5.0" in recording["snapshot"]["links"]
    told = xennet.doctor(recording)
    assert told["version"] == 1
    assert {f["level"] for f in told["findings"]} == {"note"}
    assert told["findings"][-1]["code"] == xennet.Code.NOT_SEEN
    assert xennet.doctor(json.dumps(recording)) == told


def test_a_fault_is_found_and_its_plan_can_be_applied_elsewhere():
    host = xennet.Host.fake()
    host.attach(5, "bridge=xenbr0")
    recording = host.record()
    recording["snapshot"]["links"]["vif5.0"]["master"] = None
    recording["snapshot"]["links"]["vif5.0"]["port"] = None
    first = xennet.doctor(recording)["findings"][0]
    assert first["code"] == xennet.Code.VIF_OUTSIDE == "XN0506"
    assert first["object"] == "vif5.0" and first["level"] == "error"
    assert first["fix"] is not None
    assert first["fix"]["plan"] is None or first["fix"]["plan"]["steps"]


def test_an_anonymous_recording_keeps_no_names():
    host = xennet.Host.fake()
    host.attach(5, "mac=00:16:3e:12:34:56,ip=8.8.4.4,bridge=xenbr0")
    text = json.dumps(host.record(anonymous=True))
    assert "8.8.4.4" not in text and "12:34:56" not in text
    assert "8.8.4.4" in json.dumps(host.record())


def test_every_code_is_a_member():
    assert [(code.name, code.value) for code in xennet.Code] == [(row["name"], row["code"]) for row in _xennet.CODES]
    for code in xennet.Code:
        assert code.value.startswith("XN") and code.level in ("error", "warning", "note")
        assert code.summary and code.meaning.endswith(".")
    assert str(xennet.Code.BRIDGE_MISSING) == "XN0104"


def test_what_is_no_recording_is_refused():
    with pytest.raises(xennet.Invalid, match="is of version 9"):
        xennet.doctor({"version": 9})
    with pytest.raises(xennet.Invalid, match="cannot be read"):
        xennet.doctor("{")
