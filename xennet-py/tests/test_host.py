"""The front door, on a host in memory."""

import json
import threading

import pytest

import xennet
from xennet import BridgeSpec, Host, Network, VifSpec


@pytest.fixture
def host():
    return Host.fake()


def test_a_vif_from_plan_to_undo(host):
    vif = VifSpec(mac="00:16:3e:01:02:03", bridge="xenbr0")
    plan = host.plan_attach(5, vif)
    assert plan and len(plan) == len(plan.steps) == len(str(plan).splitlines())
    assert host.show()["vifs"] == []

    assert host.attach(5, vif).steps == len(plan)
    (shown,) = host.show()["vifs"]
    assert (shown["vif"], shown["domid"], shown["devid"], shown["bridge"]) == ("vif5.0", 5, 0, "xenbr0")
    assert shown["up"] and VifSpec.parse(shown["spec"]) == vif

    again = host.plan_attach(5, str(vif))
    assert not again and str(again) == "nothing to do" and again.steps == ()
    assert host.attach(5, vif) == xennet.Applied(steps=0)

    assert host.undo("vif5.0").steps > 0
    assert host.show()["vifs"] == []
    host.attach(5, vif)
    assert host.undo().steps > 0
    with pytest.raises(xennet.NothingToUndo):
        host.undo()
    assert host.recover() == []


def test_the_documents_have_the_fields_that_their_types_say(host):
    host.attach(5, "bridge=xenbr0")
    shown = host.show()
    assert set(shown) == set(xennet.documents.Shown.__annotations__)
    for vif in shown["vifs"]:
        assert set(vif) == set(xennet.documents.ShownVif.__annotations__)
    for bridge in shown["bridges"]:
        assert set(bridge) == set(xennet.documents.ShownBridge.__annotations__)


def test_a_vif_is_detached(host):
    host.attach(5, "bridge=xenbr0")
    plan = host.plan_detach(5)
    assert host.detach(5).steps == len(plan) > 0
    assert host.detach(5).steps == 0
    assert host.show()["vifs"] == []
    host.attach(5, "bridge=xenbr0")
    host.detach(5)
    assert host.undo("vif5.0").steps > 0
    assert [v["vif"] for v in host.show()["vifs"]] == ["vif5.0"]


def test_a_plan_is_a_value_and_a_document(host):
    plan = host.plan_attach(5, "bridge=xenbr0")
    same = host.plan_attach(5, "bridge=xenbr0")
    assert plan == same and hash(plan) == hash(same)
    assert plan != host.plan_attach(6, "bridge=xenbr0")
    document = plan.to_dict()
    assert document == json.loads(plan.to_json())
    assert [(s["sign"], s["text"], s["why"]) for s in document["steps"]] == [(s.sign, s.text, s.why) for s in plan.steps]
    for line, step in zip(str(plan).splitlines(), plan.steps):
        assert line.startswith(str(step)) and step.why in line


def test_notes_reach_the_reader(host):
    assert any("xenbr0" in note for note in host.plan_attach(5, "").notes)
    assert host.plan_attach(5, "bridge=xenbr0").notes == ()


def test_a_bridge_is_made_and_used(host):
    plan = host.plan_bridge("br-lan")
    assert plan and host.ensure_bridge("br-lan").steps == len(plan)
    assert host.ensure_bridge(BridgeSpec(name="br-lan")).steps == 0
    assert host.ensure_bridge(BridgeSpec(name="br-lan", mtu=1400)).steps > 0
    shown = {b["bridge"]: b for b in host.show()["bridges"]}
    assert shown["br-lan"]["mtu"] == 1400 and shown["br-lan"]["up"]
    host.attach(7, VifSpec(bridge="br-lan", devid=1))
    assert host.detach(7, 1).steps > 0
    assert host.undo("br-lan").steps > 0


def test_a_network_from_plan_to_stop(host):
    network = Network(name="alone", mode="bridge", bridge="br-alone")
    plan = host.plan_start(network)
    status = host.network_status(network)
    assert set(status) == set(xennet.documents.NetworkStatus.__annotations__)
    assert (status["network"], status["mode"], status["started"]) == ("alone", "bridge", False)
    assert host.plan_stop("alone") is None

    assert host.start_network(network).steps == len(plan) > 0
    assert host.start_network(network) == xennet.Applied(steps=0)
    with pytest.raises(xennet.Conflict) as caught:
        host.start_network(network.replace(bridge="br-other"))
    assert "stop it first" in caught.value.hint

    host.attach(5, "bridge=br-alone")
    status = host.network_status(network)
    assert (status["started"], status["missing"], status["ports"]) == (True, [], ["vif5.0"])
    for stop in (host.plan_stop, host.stop_network):
        with pytest.raises(xennet.Conflict) as caught:
            stop("alone")
        assert "vif5.0" in caught.value.message and caught.value.state
    with pytest.raises(TypeError):
        host.stop_network("alone", True)
    plan = host.plan_stop("alone", force=True)
    assert host.stop_network("alone", force=True).steps == len(plan) > 0
    assert host.stop_network("alone").steps == 0
    assert not host.network_status(network)["started"]
    assert "br-alone" not in [b["bridge"] for b in host.show()["bridges"]]


def test_a_started_network_takes_over_what_its_guests_need_not_notice(host):
    was = Network(name="a", mode="nat", subnets=["10.0.0.0/24"], egress="eth0")
    now = was.replace(forward=[{"protocol": "tcp", "ports": 80, "to": "10.0.0.1"}])
    host.start_network(was)
    status = host.network_status(now)
    assert (status["changed"], status["needs_stop"]) == (["forward"], [])
    assert host.start_network(now).notes == ("network a: new is its forward",)
    assert host.network_status(now)["changed"] == []
    other = now.replace(egress=None, dns=True)
    status = host.network_status(other)
    assert (status["changed"], status["needs_stop"]) == (["dns", "egress"], ["egress"])
    with pytest.raises(xennet.Conflict, match="its egress cannot change meanwhile"):
        host.start_network(other)
    host.undo("network-a")
    assert host.network_status(was)["changed"] == []
    assert host.stop_network("a").steps > 0


@pytest.mark.parametrize(
    ("call", "kind"),
    [
        (lambda h: h.attach(5, "bridge=xenbr1"), xennet.BridgeNotFound),
        (lambda h: h.attach(5, "bridge=eth0"), xennet.NotABridge),
        (lambda h: h.attach(5, "bridge=xenbr0,script=vif-openvswitch"), xennet.Unsupported),
        (lambda h: h.attach(-1, "bridge=xenbr0"), xennet.Invalid),
        (lambda h: h.attach(32752, "bridge=xenbr0"), xennet.Invalid),
        (lambda h: h.attach(2**70, "bridge=xenbr0"), xennet.Invalid),
        (lambda h: h.detach(5, 65536), xennet.Invalid),
        (lambda h: h.ensure_bridge("a/b"), xennet.Invalid),
        (lambda h: h.ensure_bridge("eth0"), xennet.NotABridge),
        (lambda h: h.start_network(Network(name="n", mode="bridge", uplink="eth7")), xennet.LinkNotFound),
        (lambda h: h.plan_start(Network(name="n", mode="bridge", uplink="eth7")), xennet.LinkNotFound),
        (lambda h: h.start_network("lan"), TypeError),
        (lambda h: h.network_status({"name": "lan"}), TypeError),
        (lambda h: h.stop_network("a/b"), xennet.Invalid),
        (lambda h: h.undo("a/b"), xennet.Invalid),
        (lambda h: h.undo("vif9.9"), xennet.NothingToUndo),
        (lambda h: h.attach("5", "bridge=xenbr0"), TypeError),
        (lambda h: h.attach(True, "bridge=xenbr0"), TypeError),
        (lambda h: h.attach(5, None), TypeError),
        (lambda h: h.attach(5, b"bridge=xenbr0"), TypeError),
        (lambda h: h.ensure_bridge(5), TypeError),
    ],
)
def test_what_cannot_be_done_is_refused_and_changes_nothing(host, call, kind):
    before = host.show()
    with pytest.raises(kind):
        call(host)
    assert host.show() == before


def test_a_sandbox_is_made_by_its_door_only():
    with pytest.raises(TypeError, match="Host.sandbox"):
        xennet.Sandbox()


def test_threads_share_a_host(host):
    failures = []

    def attach(domid):
        try:
            host.attach(domid, "bridge=xenbr0")
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=attach, args=(domid,)) for domid in range(1, 21)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert [v["domid"] for v in host.show()["vifs"]] == list(range(1, 21))


def test_the_whole_of_it_is_one_document_and_one_picture(host):
    host.attach(5, "bridge=xenbr0,mac=00:16:3e:01:02:03,ip=192.0.2.5")
    seen = host.overview()
    documents = xennet.documents
    assert set(seen) == set(documents.Overview.__annotations__) | set(documents.Shown.__annotations__)
    for name, kind in [("routes", documents.ShownRoute), ("filters", documents.ShownFilter)]:
        assert seen[name] and all(set(item) == set(kind.__annotations__) for item in seen[name])
    (port,) = seen["picture"]["hubs"][0]["ports"]
    assert (port["link"], port["filter"], port["guest"]["mac"]) == ("vif5.0", "guard", "00:16:3e:01:02:03")
    assert "vif5.0" in host.picture() and "192.0.2.5" in host.picture("text", counters=True, every_guest=True)
    assert host.picture("svg").startswith("<svg xmlns=") and host.picture("dot").startswith("graph xennet {")
    assert "flowchart LR" in host.picture("mermaid")
    assert json.loads(host.picture("json"))["hubs"] == seen["picture"]["hubs"]
    with pytest.raises(xennet.Invalid, match="no form of a picture"):
        host.picture("gif")


def test_a_plan_that_was_shown_is_applied_as_it_was_shown_or_not_at_all(host):
    plan = host.plan_attach(5, "bridge=xenbr0")
    assert plan.to_dict()["request"] == {"attach": {"domid": 5, "vif": {"bridge": "xenbr0"}}}
    assert host.apply(plan).steps == len(plan)
    for kept in (plan, plan.to_json()):
        with pytest.raises(xennet.Stale) as caught:
            host.apply(kept)
        assert caught.value.outcome == "unchanged" and "nothing of it is left to do" in str(caught.value)
    undo = host.plan_undo("vif5.0")
    assert host.apply(undo.to_json()).steps == len(undo) > 0
    assert host.plan_recover() == {}
    with pytest.raises(xennet.Invalid):
        host.apply("{}")
    with pytest.raises(TypeError, match="a Plan or the JSON of one"):
        host.apply(5)
