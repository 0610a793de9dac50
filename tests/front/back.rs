//! The way back is checked as the way there: what others have put on a bridge since does not go with it, nor does this domain's
//! way out.

use std::net::IpAddr;

use xennet_core::backend::Backend;
use xennet_core::backend::fake::Fault;
use xennet_core::backend::netlink::Netlink;
use xennet_core::exec::Subject;
use xennet_core::snapshot::{Address, Route, Snapshot};
use xennet_core::step::{AddrStep, LinkChange, LinkRef, LinkStep, NewMaster, RouteStep, Step};
use xennet_core::{
    BridgeSpec, Egress, Errno, Error, ErrorKind, Guests, Host, NatNetwork, Network, NetworkMode, Outcome, Recovered,
    Subnet, VifId, exec,
};
use xennet_tests::{Shared, StateDir, in_netns};

use super::ownership::{World, both};
use super::{FIRST, build, domid, look, name, on_kernel, run, set, spec, whole};

const BRIDGE: &str = "br-mgmt";

fn subject() -> Subject {
    Subject::Bridge(name(BRIDGE))
}

fn address() -> AddrStep {
    AddrStep::Add(Address::new(name(BRIDGE), "198.51.100.2/24".parse().unwrap()))
}

fn way_out(link: &str) -> Route {
    let gateway: IpAddr = "198.51.100.1".parse().unwrap();
    Route::to("0.0.0.0/0".parse().unwrap(), name(link)).with_gateway(gateway)
}

fn state(world: World<'_>) -> Snapshot {
    let mut seen = Snapshot::default();
    world(&mut |on| seen = look(on));
    seen
}

/// The bridge with an address of this domain's and its way out, as an administrator gives them to it.
fn given(on: &mut dyn Backend) {
    run(on, Step::Addr(address()));
    run(on, Step::Route(RouteStep::Add(way_out(BRIDGE))));
}

/// Every way back of the bridge is refused, shown or carried out, and nothing has changed.
#[track_caller]
fn refused(host: &mut Host, world: World<'_>, kind: ErrorKind, words: &[&str]) {
    let before = state(world);
    let planned = host.plan_undo(subject()).unwrap_err();
    let ways: [Result<_, Error>; 2] = [host.undo(subject()), host.undo_last()];
    for e in ways.into_iter().map(|way| way.unwrap_err()).chain([planned]) {
        assert_eq!(e.kind(), kind, "{}", e.report());
        whole(&e);
        for word in words {
            assert!(e.report().contains(word), "{word}: {}", e.report());
        }
    }
    assert_eq!(before.changes(&state(world)), []);
}

/// Shown or carried out: of a network that is not started, never or not any more, there is nothing to undo. Stopping it is a success.
#[test]
fn a_network_that_is_not_started_cannot_be_undone() {
    both("back::a_network_that_is_not_started_cannot_be_undone", |host, world| {
        let mut nat = NatNetwork::new();
        nat.subnets = vec![Subnet::new("10.1.0.0/24".parse().unwrap()).unwrap()];
        nat.egress = Egress::Link(name("lan0"));
        let network = Network::new(name("private"), NetworkMode::Nat(nat)).unwrap();
        let subject = Subject::Network(network.name());
        let nothing = |host: &mut Host| {
            for e in [host.plan_undo(subject).unwrap_err(), host.undo(subject).unwrap_err()] {
                assert_eq!(
                    (e.kind(), e.outcome()),
                    (ErrorKind::NothingToUndo, Some(Outcome::Unchanged)),
                    "{}",
                    e.report()
                );
                assert_eq!(e.message(), "network private: nothing is recorded that could be undone");
                whole(&e);
            }
        };
        nothing(host);
        let before = state(world);
        host.start_network(&network).unwrap();
        let plan = host.plan_undo(subject).unwrap();
        let applied = host.undo(subject).unwrap();
        assert!(applied.steps > 0 && applied.steps == plan.steps().len(), "{plan}");
        assert_eq!(before.changes(&state(world)), []);
        nothing(host);
        // A plan that was shown before finds nothing to undo either.
        assert_eq!(host.apply(&plan).unwrap_err().kind(), ErrorKind::NothingToUndo);
        let stopped = host.stop_network(&network.name(), Guests::MustHaveGone).unwrap();
        assert_eq!(stopped.notes, ["network private is not started"]);
    });
}

#[test]
fn a_bridge_that_carries_the_way_out_is_not_undone() {
    both("back::a_bridge_that_carries_the_way_out_is_not_undone", |host, world| {
        host.ensure_bridge(&BridgeSpec::new(name(BRIDGE))).unwrap();
        world(&mut |on| given(on));
        refused(
            host,
            world,
            ErrorKind::WouldCutOff,
            &["default via 198.51.100.1 dev br-mgmt", "move this route off br-mgmt first"],
        );
        // Both halves of everything, and the default route of another table, which a policy rule may lead to.
        world(&mut |on| run(on, Step::Route(RouteStep::Del(way_out(BRIDGE)))));
        for (to, gateway, table) in [
            ("0.0.0.0/1", Some("198.51.100.1"), Route::MAIN),
            ("128.0.0.0/1", Some("198.51.100.1"), Route::MAIN),
            ("0.0.0.0/0", Some("198.51.100.1"), 100),
            ("::/1", None, Route::MAIN),
            ("8000::/1", None, Route::MAIN),
            ("::/0", None, 100),
        ] {
            let gateway = gateway.map(|g| g.parse().unwrap());
            let to =
                Route::to(to.parse().unwrap(), name(BRIDGE)).with_gateway(gateway).with_table(table).with_metric(5);
            world(&mut |on| run(on, Step::Route(RouteStep::Add(to.clone()))));
            refused(
                host,
                world,
                ErrorKind::WouldCutOff,
                &["a step would cost this domain its route", "move this route"],
            );
            world(&mut |on| run(on, Step::Route(RouteStep::Del(to.clone()))));
        }
        world(&mut |on| run(on, Step::Route(RouteStep::Add(way_out(BRIDGE)))));
        // An address alone, too.
        world(&mut |on| run(on, Step::Route(RouteStep::Del(way_out(BRIDGE)))));
        refused(host, world, ErrorKind::Conflict, &["198.51.100.2/24", "ip address del 198.51.100.2/24 dev br-mgmt"]);
        let AddrStep::Add(address) = address() else { panic!() };
        world(&mut |on| run(on, Step::Addr(AddrStep::Del(address.clone()))));
        // And a route alone.
        let route = Route::to("203.0.113.0/24".parse().unwrap(), name(BRIDGE));
        world(&mut |on| run(on, Step::Route(RouteStep::Add(route.clone()))));
        refused(host, world, ErrorKind::Conflict, &["203.0.113.0/24", "ip route del 203.0.113.0/24 dev br-mgmt"]);
        world(&mut |on| run(on, Step::Route(RouteStep::Del(route.clone()))));
        let plan = host.plan_undo(subject()).unwrap();
        assert_eq!(plan.steps().len(), 1, "{plan}");
        assert_eq!(host.undo(subject()).unwrap().done, ["br-mgmt: removed"]);
    });
}

#[test]
fn a_bridge_with_guests_is_not_undone() {
    both("back::a_bridge_with_guests_is_not_undone", |host, world| {
        host.ensure_bridge(&BridgeSpec::new(name(BRIDGE))).unwrap();
        world(&mut |on| set(on, "vif1.0", super::into(BRIDGE)));
        refused(host, world, ErrorKind::Conflict, &["ports vif1.0", "ip link set vif1.0 nomaster"]);
        world(&mut |on| set(on, "vif1.0", LinkChange::default().with_master(NewMaster::None)));
        host.attach(domid(2), &spec("bridge=br-mgmt")).unwrap();
        let e = host.undo(subject()).unwrap_err();
        assert!(e.kind() == ErrorKind::Conflict && e.report().contains("vif2.0"), "{}", e.report());
        // One after the other: the guest first, then the bridge.
        host.undo_last().unwrap();
        host.undo(subject()).unwrap();
        assert!(!state(world).links.contains_key(BRIDGE));
    });
}

#[test]
fn a_bridge_that_a_started_network_stands_on_is_not_undone() {
    both("back::a_bridge_that_a_started_network_stands_on_is_not_undone", |host, world| {
        host.ensure_bridge(&BridgeSpec::new(name(BRIDGE))).unwrap();
        let mut nat = NatNetwork::new();
        nat.subnets = vec![Subnet::new("10.1.0.0/24".parse().unwrap()).unwrap()];
        nat.egress = Egress::Link(name(BRIDGE));
        host.start_network(&Network::new(name("private"), NetworkMode::Nat(nat)).unwrap()).unwrap();
        let before = state(world);
        for e in [host.plan_undo(subject()).unwrap_err(), host.undo(subject()).unwrap_err()] {
            assert_eq!(e.kind(), ErrorKind::Conflict, "{}", e.report());
            assert!(e.report().contains("network private is started, and uses br-mgmt"), "{}", e.report());
            assert!(e.hint().unwrap().contains("xennet network stop private"), "{}", e.report());
            whole(&e);
        }
        assert_eq!(before.changes(&state(world)), []);
        host.stop_network(&name("private"), Guests::MustHaveGone).unwrap();
        host.undo(subject()).unwrap();
    });
}

#[test]
fn a_vif_that_carries_the_way_out_is_not_undone() {
    both("back::a_vif_that_carries_the_way_out_is_not_undone", |host, world| {
        let vif = Subject::Vif(VifId::new(domid(1), FIRST));
        host.attach(domid(1), &spec("script=vif-route,mac=00:16:3e:00:00:01,ip=198.51.100.1,gatewaydev=lan0")).unwrap();
        world(&mut |on| run(on, Step::Route(RouteStep::Add(way_out("vif1.0")))));
        let before = state(world);
        for e in [host.plan_undo(vif).unwrap_err(), host.undo(vif).unwrap_err()] {
            assert_eq!(e.kind(), ErrorKind::WouldCutOff, "{}", e.report());
            whole(&e);
        }
        assert_eq!(before.changes(&state(world)), []);
        world(&mut |on| run(on, Step::Route(RouteStep::Del(way_out("vif1.0")))));
        host.undo(vif).unwrap();
    });
}

/// An operation that was killed in its middle, and what others have put on its bridge before somebody recovers it.
#[test]
fn what_was_interrupted_is_not_undone_from_under_others() {
    let state_dir = StateDir::new();
    let shared = Shared::new(super::fake(true));
    let host = || Host::with_backend(Box::new(shared.clone())).with_state_dir(exec::StateDir::at(state_dir.path()));
    shared.change(|fake| fake.set_faults([Fault::CrashAfter { step: 0 }]));
    host().ensure_bridge(&BridgeSpec::new(name(BRIDGE))).unwrap_err();
    shared.change(|fake| fake.set_faults([]));
    let on = &mut shared.clone();
    set(on, "vif1.0", super::into(BRIDGE));
    let e = host().recover().unwrap_err();
    assert!(e.kind() == ErrorKind::Conflict && e.report().contains("ports vif1.0"), "{}", e.report());
    whole(&e);
    set(on, "vif1.0", LinkChange::default().with_master(NewMaster::None));
    run(on, Step::Addr(address()));
    let e = host().recover().unwrap_err();
    assert!(e.kind() == ErrorKind::Conflict && e.report().contains("198.51.100.2/24"), "{}", e.report());
    let AddrStep::Add(address) = address() else { panic!() };
    run(on, Step::Addr(AddrStep::Del(address)));
    assert_eq!(host().recover().unwrap(), [(subject(), Recovered::Restored { steps: 1 })]);
    assert!(!look(on).links.contains_key(BRIDGE));
}

/// A step that fails, after somebody else has come by.
#[test]
fn a_failure_takes_nothing_of_others_back() {
    let port = LinkStep::Set { link: LinkRef::named(name("vif1.0")), change: super::into(BRIDGE) };
    let cases = [(Step::Link(port), "ports vif1.0"), (Step::Addr(address()), "198.51.100.2/24")];
    for (does, word) in cases {
        let shared = Shared::new(super::fake(true));
        let mut host = Host::with_backend(Box::new(shared.clone()));
        let does = Box::new(does);
        let faults = [Fault::Intruder { before: 1, does }, Fault::FailAt { step: 1, errno: Errno::EPERM }];
        shared.change(|fake| fake.set_faults(faults));
        let e = host.ensure_bridge(&BridgeSpec::new(name(BRIDGE))).unwrap_err();
        assert_eq!(e.kind(), ErrorKind::Denied, "{}", e.report());
        assert!(e.state().is_some_and(|s| s.starts_with("not restored: ") && s.contains(word)), "{}", e.report());
        assert!(look(&mut shared.clone()).links.contains_key(BRIDGE));
    }
}

/// One who keeps a lock does not wait for it.
#[test]
fn recovering_what_was_left_open_under_a_lock_that_is_kept() {
    in_netns("back::recovering_what_was_left_open_under_a_lock_that_is_kept", || {
        build(&mut Netlink::open().unwrap());
        let state = StateDir::new();
        let mut host = on_kernel(&state).with_locks_kept();
        host.attach(domid(1), &spec("bridge=xenbr0")).unwrap();
        assert_eq!(host.recover().unwrap(), []);
    });
    let state = StateDir::new();
    let shared = Shared::new(super::fake(true));
    let dir = || exec::StateDir::at(state.path());
    // Nobody waits for a lock here: who has it, has it.
    let mut host = Host::with_backend(Box::new(shared.clone()))
        .with_state_dir(dir())
        .with_lock_deadline(std::time::Duration::ZERO)
        .with_locks_kept();
    shared.change(|fake| fake.set_faults([Fault::CrashAfter { step: 0 }]));
    host.attach(domid(1), &spec("bridge=xenbr0")).unwrap_err();
    shared.change(|fake| fake.set_faults([]));
    let vif = Subject::Vif(VifId::new(domid(1), FIRST));
    let recovered = host.recover().unwrap_or_else(|e| panic!("{}", e.report()));
    assert_eq!(recovered.iter().map(|(s, _)| *s).collect::<Vec<_>>(), [vif]);
    // It is kept still.
    let e = Host::with_backend(Box::new(shared.clone()))
        .with_state_dir(dir())
        .with_lock_deadline(std::time::Duration::ZERO)
        .detach(domid(1), FIRST)
        .unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Busy);
}
