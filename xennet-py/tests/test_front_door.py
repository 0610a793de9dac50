"""Everything that Rust's front door has, on hosts in memory."""

import datetime
import errno
import json
import pathlib
import pickle
import subprocess
import sys
import threading
import time

import pytest

import xennet
from xennet import Host, Network, faults

NAT = Network(name="private", mode="nat", subnets=["10.0.0.0/24"], egress="eth0")


def vifs(host):
    return [vif["vif"] for vif in host.show()["vifs"]]


def test_settings_are_keywords_of_every_door(tmp_path):
    settings = {"lock_deadline": datetime.timedelta(seconds=2), "budget": 5, "mac_binding": xennet.MacBinding.ALWAYS}
    for host in (
        Host.fake(**settings),
        Host.fake(state_dir=tmp_path / "a", **settings),
        Host.from_recording(Host.fake().record(), **settings),
    ):
        assert host.attach(5, "bridge=xenbr0,mac=00:16:3e:00:00:05").steps > 2, "the guard binds the guest to its MAC"
    assert Host.fake().backend == "fake" and Host.fake().state_dir is None
    assert Host.fake(state_dir=str(tmp_path)).state_dir == tmp_path
    assert repr(Host.fake(state_dir=tmp_path)) == f"<xennet.Host fake in {tmp_path}>"


def test_a_rehearsal_in_a_directory_outlives_the_host(tmp_path):
    Host.fake(state_dir=tmp_path).attach(5, "bridge=xenbr0")
    again = Host.fake(state_dir=tmp_path)
    assert vifs(again) == ["vif5.0"] and again.last() == "vif5.0"
    assert again.undo() and vifs(Host.fake(state_dir=tmp_path)) == []


def test_a_lock_is_waited_for_as_long_as_the_settings_say(tmp_path):
    Host.fake(state_dir=tmp_path).attach(5, "bridge=xenbr0")
    held = subprocess.Popen(
        [sys.executable, "-c", "import fcntl,sys; f=open(sys.argv[1],'a'); fcntl.flock(f,fcntl.LOCK_EX); print(flush=True); input()",
         str(tmp_path / "vif5.0.journal")],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )
    with held:
        assert held.stdout is not None and held.stdout.readline()
        for settings in ({"lock_deadline": 0.1}, {"budget": datetime.timedelta(milliseconds=100)}):
            begun = time.monotonic()
            with pytest.raises(xennet.Busy) as caught:
                Host.fake(state_dir=tmp_path, **settings).detach(5)
            assert caught.value.outcome == xennet.Outcome.UNCHANGED and time.monotonic() - begun < 5

        # Another thread ends the wait, and the host goes on.
        host = Host.fake(state_dir=tmp_path, lock_deadline=60)
        failures = []

        def detach():
            try:
                host.detach(5)
            except xennet.Busy as error:
                failures.append(error)

        thread = threading.Thread(target=detach)
        thread.start()
        while not failures:
            time.sleep(0.02)
            host.interrupt()
        thread.join()
        assert host.is_bridge("xenbr0")
        held.communicate(b"\n")
    assert host.detach(5)


FAULTS = [
    (faults.FailAt(step=1, errno=errno.EPERM), xennet.Denied, "restored"),
    (faults.HalfApply(step=0), xennet.XennetError, "restored"),
    (faults.LieOnce(step=1), xennet.NotVerified, "restored"),
    (faults.CrashAfter(step=0), xennet.XennetError, "incomplete"),
]


@pytest.mark.parametrize(("fault", "kind", "outcome"), FAULTS, ids=lambda f: repr(f)[:30])
def test_a_fault_is_a_value_and_strikes(fault, kind, outcome):
    assert eval(repr(fault), vars(faults)) == fault == pickle.loads(pickle.dumps(fault))
    assert hash(fault) == hash(fault.replace()) and fault != fault.replace(step=7)
    for given in (fault, fault.to_dict()):
        host = Host.fake(faults=[given])
        with pytest.raises(kind) as caught:
            host.attach(5, "bridge=xenbr0")
        assert caught.value.outcome == outcome, caught.value.report()
    with pytest.raises(AttributeError):
        fault.step = 2
    with pytest.raises(TypeError):
        type(fault)(1)


def test_observations_are_interrupted_and_others_intrude():
    host = Host.fake(faults=[faults.DumpInterrupted(times=1)])
    with pytest.raises(xennet.Io) as caught:
        host.attach(5, "bridge=xenbr0")
    assert (caught.value.errno, caught.value.outcome) == (errno.EINTR, "unchanged")
    assert host.attach(5, "bridge=xenbr0")
    (step, *_rest) = Host.fake().plan_bridge("br-other").to_dict()["steps"]
    host = Host.fake(faults=[faults.Intruder(before=0, does=step["step"])])
    assert host.attach(5, "bridge=xenbr0") and host.is_bridge("br-other")
    for wrong, kind in [
        ([{"no-such-fault": {}}], xennet.Invalid),
        ([5], TypeError),
        (5, TypeError),
    ]:
        with pytest.raises(kind):
            Host.fake(faults=wrong)
    for wrong, kind in [({"step": "1"}, TypeError), ({"step": True}, TypeError), ({"step": -1}, ValueError), ({}, TypeError)]:
        with pytest.raises(kind):
            faults.LieOnce(**wrong)
    with pytest.raises(TypeError):
        faults.Fault()


def test_an_emulated_twin_comes_and_goes():
    host = Host.fake()
    with pytest.raises(xennet.LinkNotFound):
        host.attach_tap(5, "bridge=xenbr0")
    assert host.detach_tap(5).steps == 0
    host.attach(5, "bridge=xenbr0")
    assert host.detach_unwritten(5) and host.detach_unwritten(5, type_if="tap").steps == 0
    assert vifs(host) == []
    with pytest.raises(xennet.Invalid, match="type_if cannot be"):
        host.detach_unwritten(5, type_if="vip")


def test_small_looks():
    host = Host.fake()
    assert host.is_bridge("xenbr0") and not host.is_bridge("eth0") and not host.is_bridge("nothing")
    assert host.default_route_link() == "xenbr0" and host.uplink_of("xenbr0") == "xenbr0"
    assert host.await_link("eth0", 0) and not host.await_link("eth9", datetime.timedelta(hours=1)), "nothing comes in memory"


def test_networks_in_the_order_that_they_need():
    lan = Network(name="lan", mode="bridge")
    behind = Network(name="behind", mode="nat", subnets=["10.0.1.0/24"], egress="lan")
    host = Host.fake()
    applied = host.start_networks(iter([behind, lan]))
    assert list(applied) == ["lan", "behind"] and all(applied.values())
    assert {network.name: network for network in host.started_networks()} == {"lan": lan, "behind": behind}
    assert host.in_order_of_stop() == ["behind", "lan"]
    with pytest.raises(xennet.Conflict) as caught:
        host.start_networks([behind.replace(subnets=["10.0.2.0/24"], egress="eth0"), NAT])
    assert list(caught.value.failures) == ["behind"] and list(caught.value.applied) == ["private"]
    assert caught.value is caught.value.failures["behind"]
    assert list(host.stop_networks(["lan", "behind"])) == ["behind", "lan"]
    assert list(host.stop_networks()) == ["private"] and host.stop_networks() == {}
    host.start_network(lan)
    host.attach(5, "bridge=lan")
    with pytest.raises(xennet.Conflict) as caught:
        host.stop_networks()
    assert list(caught.value.failures) == ["lan"] and caught.value.applied == {}
    assert host.stop_networks(force=True)["lan"]
    for wrong in (["lan"], 5, NAT):
        with pytest.raises(TypeError):
            host.start_networks(wrong)
    with pytest.raises(TypeError):
        host.stop_networks("lan")


def test_undo_says_before_what_it_would_do():
    host = Host.fake()
    assert host.last() is None
    with pytest.raises(xennet.NothingToUndo):
        host.plan_undo()
    host.ensure_bridge("br1")
    host.attach(5, "bridge=br1")
    assert host.last() == "vif5.0" and host.plan_undo() == host.plan_undo("vif5.0")
    with pytest.raises(xennet.Conflict, match="it has the ports vif5.0"):
        host.undo("bridge-br1")
    assert host.undo() and host.undo("bridge-br1") and not host.is_bridge("br1")


def test_a_rehearsal_leaves_the_host_alone():
    host = Host.fake()
    host.attach(5, "bridge=xenbr0")
    with host.rehearse() as rehearsal:
        assert rehearsal.backend == "recording" and vifs(rehearsal) == ["vif5.0"]
        assert rehearsal.detach(5) and rehearsal.undo()
        assert rehearsal.ensure_bridge("br9")
    assert vifs(host) == ["vif5.0"] and not host.is_bridge("br9")
    with pytest.raises(xennet.Invalid, match="host is closed"):
        rehearsal.show()
    with host.rehearse(faults=[faults.FailAt(step=0, errno=errno.EPERM)]) as rehearsal:
        with pytest.raises(xennet.Denied):
            rehearsal.attach(6, "bridge=xenbr0")
    text = json.dumps(host.record())
    assert vifs(Host.from_recording(text)) == ["vif5.0"]
    with pytest.raises(xennet.Invalid):
        Host.from_recording("{")
    with pytest.raises(TypeError):
        Host.from_recording(None)


def test_a_plan_is_applied_for_a_while():
    host = Host.fake()
    before = host.show()
    plan = host.plan_attach(5, "bridge=xenbr0")
    assert plan.subject == "vif5.0" and [str(step) for step in plan] == [str(step) for step in plan.steps]
    for given in (plan, plan.to_json()):
        with host.applied(given) as applied:
            assert applied.steps == len(plan) and vifs(host) == ["vif5.0"]
        assert host.show() == before

    # The block's own error comes out, and it is restored all the same.
    with pytest.raises(KeyError):
        with host.applied(plan):
            raise KeyError("of the block")
    assert host.show() == before

    # Both are told where restoring fails.
    with pytest.raises(xennet.NothingToUndo) as caught:
        with host.applied(plan):
            host.undo("vif5.0")
            raise KeyError("of the block")
    assert isinstance(caught.value.__context__, KeyError)

    # What does not hold any more is not begun, and nothing is undone.
    host.attach(5, "bridge=xenbr0")
    with pytest.raises(xennet.Stale):
        with host.applied(plan):
            raise AssertionError("never entered")
    assert vifs(host) == ["vif5.0"]


def test_a_host_is_closed_once():
    host = Host.fake()
    with host as same:
        assert same is host
    host.close()
    with pytest.raises(xennet.Invalid, match="host is closed") as caught:
        host.attach(5, "bridge=xenbr0")
    assert caught.value.outcome == "unchanged" and caught.value.hint


def test_a_start_in_memory_cannot_be_confirmed():
    host = Host.fake()
    with pytest.raises(xennet.Unsupported, match="in memory"):
        host.start_confirmed(NAT, 5)
    with pytest.raises(xennet.NothingToUndo, match="nobody waits"):
        host.confirm("private")
    assert host.awaited() == [] and host.started_networks() == ()


def test_a_start_with_faults_cannot_be_confirmed(tmp_path):
    # The process that would undo it looks at the directory, where the world is not.
    host = Host.fake(state_dir=tmp_path, faults=[])
    with pytest.raises(xennet.Unsupported, match="with faults cannot wait for a confirmation") as caught:
        host.start_confirmed(NAT, 5)
    assert caught.value.object == "host" and "faults=" in caught.value.hint and caught.value.outcome == "unchanged"
    assert host.awaited() == [] and host.started_networks() == ()


def test_a_start_is_kept_if_it_is_confirmed_and_undone_if_not(tmp_path):
    host = Host.fake(state_dir=tmp_path)
    with host.start_confirmed(NAT, datetime.timedelta(seconds=60)) as start:
        assert start.pending and start.applied and host.awaited() == ["private"]
        assert host.network_status(NAT)["state"] == "unconfirmed"
        with pytest.raises(xennet.Conflict):
            host.start_confirmed(NAT, 1)
    assert not start.pending and host.awaited() == [] and host.network_status(NAT)["state"] == "started"
    # Nothing changes, and nothing has to be confirmed.
    with host.start_confirmed(NAT, 60) as start:
        assert not start.pending
    with pytest.raises(xennet.NothingToUndo):
        host.confirm("private")
    host.stop_network("private")

    # Another host can confirm.
    start = host.start_confirmed(NAT, 60)
    Host.fake(state_dir=tmp_path).confirm("private")
    with pytest.raises(xennet.NothingToUndo):
        start.confirm()
    host.stop_network("private")

    # A block that fails is no confirmation.
    with pytest.raises(KeyError):
        with host.start_confirmed(NAT, 0.2):
            raise KeyError("the gateway does not answer")
    end = time.monotonic() + 20
    while (host.started_networks() or host.awaited()) and time.monotonic() < end:
        time.sleep(0.05)
    assert host.started_networks() == () and host.awaited() == []

    # What cannot be started has no guard left over.
    with pytest.raises(xennet.LinkNotFound):
        host.start_confirmed(Network(name="n", mode="bridge", uplink="eth7"), 60)
    end = time.monotonic() + 20
    while host.awaited() and time.monotonic() < end:
        time.sleep(0.05)
    assert host.awaited() == []


def test_a_host_in_memory_has_nothing_to_watch():
    for call in (Host.fake().watch, Host.fake().link_events):
        with pytest.raises(xennet.Unsupported, match="does not change by itself"):
            call()


def test_faults_can_come_and_go(tmp_path):
    for host in (Host.fake(), Host.fake().rehearse(), Host.fake(faults=[], state_dir=tmp_path / "a")):
        host.attach(5, "bridge=xenbr0")
        host.set_faults([faults.LieOnce(step=0)])
        with pytest.raises(xennet.NotVerified) as caught:
            host.detach(5)
        assert caught.value.outcome == "unchanged" and vifs(host) == ["vif5.0"]
        host.set_faults(())
        assert host.detach(5)
    with pytest.raises(xennet.Unsupported, match="in memory"):
        Host.fake(state_dir=tmp_path / "b").set_faults(())
    with pytest.raises(xennet.Invalid):
        host.set_faults([{"no-such-fault": {}}])


def test_a_picture_draws_itself():
    host = Host.fake()
    picture = host.picture("svg")
    assert isinstance(picture, str) and picture.form == xennet.PictureForm.SVG
    assert picture._repr_svg_() == picture and host._repr_html_().startswith("<svg")
    text = host.picture()
    assert text._repr_svg_() is None and text._repr_html_().startswith("<pre>") and "xenbr0" in text._repr_html_()
    same = pickle.loads(pickle.dumps(picture))
    assert same == picture and same.form == "svg"


def test_addresses_are_made_and_modes_advised():
    seed = "7c8d1f2e-5b3a-4c6d-9e8f-0a1b2c3d4e5f"
    for scheme in xennet.MacScheme:
        mac = xennet.generate_mac(scheme, seed=seed, devid=1)
        assert xennet.VifSpec(mac=mac).mac == mac
        assert (xennet.generate_mac(scheme, seed=seed, devid=1) == mac) is (scheme in ("uuid", "xapi"))
    with pytest.raises(xennet.Invalid, match="from a seed, none was given"):
        xennet.generate_mac("uuid")
    with pytest.raises(xennet.Invalid):
        xennet.generate_mac("xen25")

    advice = xennet.advise(lan=True, addresses="own", reachable=True, route=True, dom0="192.168.0.3/24", uplink="eth0", dhcp=True)
    assert advice["network"]["mode"] == "routed" and set(advice) == set(xennet.documents.Advice.__annotations__)
    assert xennet.parse_networks(advice["text"])[0].mode == "routed"
    with pytest.raises(xennet.Invalid) as caught:
        xennet.advise()
    assert "--" not in caught.value.hint and "lan" in caught.value.hint
    with pytest.raises(xennet.Invalid) as caught:
        xennet.advise(lan=False, addresses="lan")
    assert caught.value.hint == 'let them have their own: addresses="own"'
    for wrong in ({"lan": "yes"}, {"subnets": "10.0.0.0/24"}, {"uplink": 5}):
        with pytest.raises(TypeError):
            xennet.advise(**wrong)


def test_what_xend_had_is_read(tmp_path):
    config, wrapper = tmp_path / "xend-config.sxp", tmp_path / "my-network"
    wrapper.write_text("#!/bin/sh\n/etc/xen/scripts/network-bridge start vifnum=0 netdev=eth0 bridge=xenbr0\n")
    config.write_text(f"(network-script {wrapper})\n(vif-script vif-bridge)\n")
    for imported in (xennet.import_xend(config), xennet.import_xend(str(config), wrappers=[wrapper], xen="4.1", uplink="eth0")):
        assert set(imported) == set(xennet.documents.Imported.__annotations__)
        (network,) = xennet.parse_networks(imported["text"])
        assert (network.name, network.uplink) == ("xenbr0", "eth0")
        assert Network.from_json(json.dumps(imported["networks"][0])) == network
    assert xennet.import_xend(wrappers=[wrapper])["networks"]
    with pytest.raises(FileNotFoundError):
        xennet.import_xend(tmp_path / "none")
    config.write_text("(network-script (")
    with pytest.raises(xennet.Invalid, match=str(config)):
        xennet.import_xend(config)


def test_others_are_kept_off_guests_links(tmp_path):
    for snippet in xennet.snippets(["xenbr0"]):
        assert set(snippet) == set(xennet.documents.Snippet.__annotations__)
        assert "xenbr0" in snippet["text"] and pathlib.Path(snippet["path"]).is_absolute()
    assert [snippet["manager"] for snippet in xennet.snippets()] == list(xennet.Manager)
    (tmp_path / "proc" / "7").mkdir(parents=True)
    (tmp_path / "proc" / "7" / "comm").write_text("systemd-network\n")
    here = xennet.managers_here(["xenbr0"], root=tmp_path)
    assert here["running"] == ["networkd"] and here["warnings"] == [], "without files it takes no link"
    with pytest.raises(xennet.Invalid):
        xennet.snippets(["xen br0"])
