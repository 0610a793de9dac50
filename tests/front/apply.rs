//! Plans that were shown, kept, and carried out as they were shown, or not at all.

use xennet_core::backend::Backend;
use xennet_core::backend::fake::Fault;
use xennet_core::backend::netlink::Netlink;
use xennet_core::exec::{Applied, Subject};
use xennet_core::plan::{Plan, ShownPlan, plan};
use xennet_core::snapshot::{Address, NftTableId, Snapshot};
use xennet_core::step::{AddrStep, LinkChange, LinkRef, LinkStep, NewMaster, NftOp, NftTransaction, Step};
use xennet_core::{
    BridgeNetwork, BridgeSpec, Egress, Error, ErrorKind, Guests, Host, NatNetwork, Network, NetworkMode, Outcome,
    Request, Resolved, Subnet, VifId, exec,
};
use xennet_tests::{Shared, StateDir, in_netns};

use super::ownership::{World, both};
use super::{FIRST, domid, look, name, run, set, spec, whole};

pub(crate) fn nat() -> Network {
    let mut nat = NatNetwork::new();
    nat.subnets = vec![Subnet::new("10.1.0.0/24".parse().unwrap()).unwrap()];
    nat.egress = Egress::Link(name("lan0"));
    Network::new(name("private"), NetworkMode::Nat(nat)).unwrap()
}

/// By the document, as another process does it.
fn kept(host: &mut Host, plan: &Plan) -> Result<Applied, Error> {
    xennet_tests::documents::check_text("plan", &plan.to_json());
    let shown = ShownPlan::from_json(&plan.to_json())?;
    assert_eq!((shown.request(), shown.steps().len()), (plan.request().unwrap(), plan.steps().len()));
    host.apply_shown(&shown)
}

#[test]
fn every_request_is_carried_out_as_it_was_shown() {
    both("apply::every_request_is_carried_out_as_it_was_shown", |host, _| {
        let vif = spec("mac=00:16:3e:00:00:01,ip=10.1.0.2,bridge=private");
        let subject = Subject::Vif(VifId::new(domid(1), FIRST));
        let network = nat();
        type Asked<'a> = Box<dyn Fn(&mut Host) -> Plan + 'a>;
        let asked: [Asked<'_>; 9] = [
            Box::new(|h| h.plan_bridge(&BridgeSpec::new(name("br-new"))).unwrap()),
            Box::new(|h| h.plan_undo(Subject::Bridge(name("br-new"))).unwrap()),
            Box::new(|h| h.plan_start(&network).unwrap()),
            Box::new(|h| h.plan_attach(domid(1), &vif).unwrap()),
            Box::new(|h| h.plan_undo(subject).unwrap()),
            Box::new(|h| h.plan_attach(domid(1), &vif).unwrap()),
            Box::new(|h| h.plan_detach(domid(1), FIRST).unwrap()),
            Box::new(|h| h.plan_stop(&network.name(), Guests::MustHaveGone).unwrap().unwrap()),
            Box::new(|h| h.plan_attach(domid(1), &spec("bridge=xenbr0")).unwrap()),
        ];
        for (number, asked) in asked.iter().enumerate() {
            let plan = asked(host);
            let applied = if number % 2 == 0 { host.apply(&plan) } else { kept(host, &plan) };
            let applied = applied.unwrap_or_else(|e| panic!("{plan}\n{}", e.report()));
            assert_eq!(applied.steps, plan.steps().len(), "{plan}");
            assert!(!plan.is_empty() && asked_for(&plan), "{plan}");
            // It was done once.
            let e = kept(host, &plan).unwrap_err();
            assert!([ErrorKind::Stale, ErrorKind::NothingToUndo].contains(&e.kind()), "{plan}\n{}", e.report());
            whole(&e);
        }
    });
}

fn asked_for(plan: &Plan) -> bool {
    let document = serde_json::json!(plan);
    let request: Request = serde_json::from_value(document["request"].clone()).unwrap();
    Some(&request) == plan.request()
}

/// What changes between the look and the word makes the plan stale, and nothing is done.
#[track_caller]
fn stale(host: &mut Host, world: World<'_>, plan: &Plan, words: &[&str]) {
    let mut before = None;
    world(&mut |on| before = Some(look(on)));
    for e in [host.apply(plan).unwrap_err(), kept(host, plan).unwrap_err()] {
        assert_eq!((e.kind(), e.outcome()), (ErrorKind::Stale, Some(Outcome::Unchanged)), "{}", e.report());
        whole(&e);
        for word in words {
            assert!(e.report().contains(word), "{word}: {}", e.report());
        }
    }
    world(&mut |on| assert_eq!(before.take().unwrap().changes(&look(on)), []));
}

#[test]
fn what_changed_meanwhile_is_said_and_nothing_is_done() {
    both("apply::what_changed_meanwhile_is_said_and_nothing_is_done", |host, world| {
        let plan = host.plan_attach(domid(1), &spec("bridge=xenbr0,mtu=1400")).unwrap();
        // Somebody does a part of it.
        let mtu = |mtu| LinkChange::default().with_mtu(mtu);
        world(&mut |on| set(on, "vif1.0", mtu(1400)));
        stale(host, world, &plan, &["vif1.0: the system has changed since the plan was shown", "needed now"]);
        world(&mut |on| set(on, "vif1.0", mtu(1500)));
        // As it was: then it goes.
        assert_eq!(host.apply(&plan).unwrap().steps, plan.steps().len());

        // Of a network, what its guests lack belongs to the plan.
        let network = nat();
        host.start_network(&network).unwrap();
        host.attach(domid(2), &spec("mac=00:16:3e:00:00:02,ip=10.1.0.2,bridge=private")).unwrap();
        let drop_gate = |on: &mut dyn Backend| {
            on.apply(&Step::Nft(NftTransaction::new(NftTableId::gate(), vec![NftOp::DelTable]))).unwrap();
        };
        world(&mut |on| drop_gate(on));
        let plan = host.plan_start(&network).unwrap();
        host.start_network(&network).unwrap();
        stale(host, world, &plan, &["nothing of it is left to do"]);
        world(&mut |on| drop_gate(on));
        let again = host.plan_start(&network).unwrap();
        assert_eq!(again, plan);
        host.apply(&again).unwrap_or_else(|e| panic!("{again}\n{}", e.report()));
        assert!(host.plan_recover().unwrap().is_empty());
        // Stopping with a guest there was another plan.
        let stop = host.plan_stop(&network.name(), Guests::MustHaveGone).unwrap().unwrap();
        host.detach(domid(2), FIRST).unwrap();
        host.stop_network(&network.name(), Guests::MustHaveGone).unwrap();
        stale(host, world, &stop, &["nothing of it is left to do"]);
    });
}

/// An address from DHCP lives shorter with every second: that is no other plan.
#[test]
fn time_that_runs_makes_no_plan_stale() {
    let shared = Shared::new(super::fake(true));
    let on = &mut shared.clone();
    let address =
        Address::new(name("other0"), "198.51.100.7/24".parse().unwrap()).with_lifetime((3600, 1800)).with_nodad(true);
    set(on, "other0", LinkChange::default().with_master(NewMaster::None));
    run(on, Step::Addr(AddrStep::Add(address.clone())));
    let mut host = Host::with_backend(Box::new(shared.clone()));
    let mut mode = BridgeNetwork::new(BridgeSpec::new(name("br-up")));
    mode.uplink = Some(name("other0"));
    let network = Network::new(name("lan"), NetworkMode::Bridge(mode)).unwrap();
    let plan = host.plan_start(&network).unwrap();
    assert!(plan.to_string().contains("198.51.100.7/24"), "{plan}");
    run(on, Step::Addr(AddrStep::Del(address.clone())));
    run(on, Step::Addr(AddrStep::Add(address.with_lifetime((3500, 1700)))));
    assert_ne!(host.plan_start(&network).unwrap().steps(), plan.steps());
    let applied = kept(&mut host, &plan).unwrap_or_else(|e| panic!("{plan}\n{}", e.report()));
    assert_eq!(applied.steps, plan.steps().len());
}

/// Both plans of one vif: the second goes by what the first has left.
#[test]
fn of_two_plans_the_second_one_is_stale() {
    both("apply::of_two_plans_the_second_one_is_stale", |host, world| {
        let plans = ["bridge=xenbr0", "bridge=xenbr1"].map(|text| host.plan_attach(domid(1), &spec(text)).unwrap());
        host.apply(&plans[1]).unwrap();
        stale(host, world, &plans[0], &["no longer needed"]);
        let undo = host.plan_undo(Subject::Vif(VifId::new(domid(1), FIRST))).unwrap();
        host.detach(domid(1), FIRST).unwrap();
        stale(host, world, &undo, &["no longer needed", "needed now"]);
    });
}

#[test]
fn a_plan_of_no_host_and_what_is_none_are_refused() {
    let shared = Shared::new(super::fake(true));
    let mut host = Host::with_backend(Box::new(shared.clone()));
    let intent = Resolved::Bridge(BridgeSpec::new(name("br-new")));
    let bare = plan(&intent, &exec::observe_for(&intent, &mut shared.clone()).unwrap()).unwrap();
    for e in [host.apply(&bare).unwrap_err(), kept(&mut host, &bare).unwrap_err()] {
        assert_eq!(e.kind(), ErrorKind::Invalid);
        whole(&e);
        assert!(e.message().contains("made without a host"), "{}", e.report());
    }
    let plan = serde_json::json!(host.plan_bridge(&BridgeSpec::new(name("br-new"))).unwrap());
    let mut other = plan.clone();
    other["request"] = serde_json::json!({ "abolish": {} });
    for bad in ["", "{}", "[]", "null", "x", &other.to_string(), &plan.to_string()[1..]] {
        let e = ShownPlan::from_json(bad).unwrap_err();
        assert_eq!(e.kind(), ErrorKind::Invalid, "{bad}");
        whole(&e);
    }
    // A file that somebody has written in: the steps are not what comes of the request.
    let mut forged = plan;
    forged["steps"][0]["step"] =
        serde_json::to_value(Step::Link(LinkStep::Delete { link: LinkRef::named(name("lan0")) })).unwrap();
    let e = host.apply_shown(&ShownPlan::from_json(&forged.to_string()).unwrap()).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Stale);
    assert!(look(&mut shared.clone()).links.contains_key(&name("lan0")));
}

/// Forgets all records, as a state directory that was lost does.
fn lose(state: &StateDir) {
    for file in std::fs::read_dir(state.path()).unwrap() {
        let path = file.unwrap().path();
        if path.is_dir() { std::fs::remove_dir_all(path).unwrap() } else { std::fs::remove_file(path).unwrap() }
    }
}

/// What our tables have of these links, and whom NAT hides.
fn elements(on: &mut dyn Backend) -> Vec<String> {
    let text = look(on).render();
    let is_element = |l: &&str| l.contains("element ") && (l.contains("\"vif") || l.contains(" masq"));
    text.lines().filter(is_element).map(str::to_owned).collect()
}

/// An earlier guest whose record was lost left what it was allowed in our tables. The plan shows that it goes, and nothing else removes it.
#[test]
fn what_an_earlier_guest_left_goes_as_the_plan_shows() {
    let case = |open: &dyn Fn() -> Host, state: &StateDir, world: World<'_>| {
        let network = nat();
        for (old, new, stale) in [
            (
                "bridge=xenbr0,mac=00:16:3e:00:00:01,ip=192.0.2.3 192.0.2.8/29",
                "bridge=xenbr0,mac=00:16:3e:00:00:02,ip=192.0.2.4",
                "16:3e:00:00:01",
            ),
            // One that is not filtered at all.
            ("bridge=xenbr0,mac=00:16:3e:00:00:01,ip=192.0.2.3", "bridge=xenbr1", "16:3e:00:00:01"),
            ("bridge=private,ip=10.1.0.5 10.1.0.6", "bridge=private,ip=10.1.0.7", "10.1.0.5"),
            // In another mode.
            ("bridge=private,ip=10.1.0.5", "bridge=xenbr0,mac=00:16:3e:00:00:02,ip=192.0.2.4", "10.1.0.5"),
        ] {
            let what = format!("{old} then {new}");
            open().start_network(&network).unwrap();
            open().attach(domid(1), &spec(old)).unwrap();
            open().attach(domid(2), &spec("bridge=xenbr0,mac=00:16:3e:00:00:09,ip=192.0.2.99")).unwrap();
            lose(state);
            // The domain has ended, and another one has its number.
            world(&mut |on| {
                on.apply(&Step::Link(LinkStep::Delete { link: LinkRef::named(name("vif1.0")) })).unwrap();
                super::vif(on, "vif1.0", "guest1", 0x11);
            });
            let mut host = open();
            host.start_network(&network).unwrap();
            let (mut before, mut left) = (Snapshot::default(), Vec::new());
            world(&mut |on| (before, left) = (look(on), elements(on)));
            assert!(left.iter().any(|e| e.contains(stale)), "{what}: {left:#?}");
            let plan = host.plan_attach(domid(1), &spec(new)).unwrap();
            assert!(plan.to_string().contains(stale), "{what}: it is shown\n{plan}");
            let told =
                |notes: &[String]| notes.iter().any(|n| n.contains("what an earlier guest of vif1.0 was allowed"));
            assert!(told(plan.notes()), "{what}: {:?}", plan.notes());
            world(&mut |on| assert_eq!(before.changes(&look(on)), [], "{what}: a plan changes nothing"));

            // What is shown is done, and no more.
            let applied = kept(&mut host, &plan).unwrap_or_else(|e| panic!("{what}\n{plan}\n{}", e.report()));
            let steps: Vec<String> = plan.steps().iter().map(|p| p.step.to_string()).collect();
            assert_eq!((applied.steps, applied.done), (steps.len(), steps), "{what}");
            assert!(told(&applied.notes), "{what}: {:?}", applied.notes);
            let mut now = Vec::new();
            world(&mut |on| now = elements(on));
            assert!(!now.iter().any(|e| e.contains(stale)), "{what}: {now:#?}");
            assert!(now.iter().any(|e| e.contains("vif2.0")), "{what}: another's stay: {now:#?}");
            // Its own call does the same, and undoing it puts back all that was there.
            let undo = host.plan_undo(Subject::Vif(VifId::new(domid(1), FIRST))).unwrap();
            host.apply(&undo).unwrap_or_else(|e| panic!("{what}\n{undo}\n{}", e.report()));
            world(&mut |on| assert_eq!(elements(on), left, "{what}"));
            let again = host.attach(domid(1), &spec(new)).unwrap();
            assert_eq!(again.done, plan.steps().iter().map(|p| p.step.to_string()).collect::<Vec<_>>(), "{what}");

            host.detach(domid(1), FIRST).unwrap();
            host.plan_attach(domid(2), &spec("bridge=xenbr0,mac=00:16:3e:00:00:09,ip=192.0.2.99")).unwrap();
            host.attach(domid(2), &spec("bridge=xenbr0,mac=00:16:3e:00:00:09,ip=192.0.2.99")).unwrap();
            host.detach(domid(2), FIRST).unwrap();
            world(&mut |on| assert_eq!(elements(on), [""; 0], "{what}"));
            host.stop_network(&network.name(), Guests::MustHaveGone).unwrap();
            lose(state);
        }
        // The same guest, whose record alone was lost: it keeps what it may send all the while.
        let vif = spec("bridge=xenbr0,mac=00:16:3e:00:00:01,ip=192.0.2.3");
        open().attach(domid(1), &vif).unwrap();
        lose(state);
        let mut host = open();
        let plan = host.plan_attach(domid(1), &vif).unwrap();
        assert!(!plan.to_string().contains("192.0.2.3") && plan.notes().is_empty(), "{plan}\n{:?}", plan.notes());
        let other = spec("bridge=xenbr0,mac=00:16:3e:00:00:01,ip=192.0.2.4");
        let plan = host.plan_attach(domid(1), &other).unwrap();
        let transactions: Vec<&Step> =
            plan.steps().iter().map(|p| &p.step).filter(|s| matches!(s, Step::Nft(_))).collect();
        assert_eq!(transactions.len(), 1, "there is no moment without one or the other: {plan}");
        host.apply(&plan).unwrap();
    };
    let state = StateDir::new();
    let shared = Shared::new(super::fake(true));
    let open = || Host::with_backend(Box::new(shared.clone())).with_state_dir(exec::StateDir::at(state.path()));
    case(&open, &state, &mut |act| act(&mut shared.clone()));
    in_netns("apply::what_an_earlier_guest_left_goes_as_the_plan_shows", || {
        super::build(&mut Netlink::open().unwrap());
        let state = StateDir::new();
        case(&|| super::on_kernel(&state), &state, &mut |act| act(&mut Netlink::open().unwrap()));
    });
}

/// What recovering would do is shown for each, and each can be carried out by itself.
#[test]
fn recovering_is_planned_for_each_and_carried_out_as_it_was_shown() {
    let state = StateDir::new();
    let shared = Shared::new(super::fake(true));
    let open = || Host::with_backend(Box::new(shared.clone())).with_state_dir(exec::StateDir::at(state.path()));
    let mut host = open();
    let network = nat();
    host.start_network(&network).unwrap();
    host.attach(domid(2), &spec("mac=00:16:3e:00:00:02,ip=10.1.0.2,bridge=private")).unwrap();
    host.attach(domid(4), &spec("mac=00:16:3e:00:00:04,bridge=private,ip=10.1.0.4")).unwrap();
    host.attach(domid(3), &spec("bridge=xenbr0")).unwrap();
    assert!(host.plan_recover().unwrap().is_empty());
    // One is interrupted, one has gone without a call, and one lacks what it needs.
    shared.change(|fake| fake.set_faults([Fault::CrashAfter { step: 0 }]));
    host.attach(domid(1), &spec("bridge=xenbr0,mtu=1400")).unwrap_err();
    shared.change(|fake| fake.set_faults([]));
    let on = &mut shared.clone();
    on.apply(&Step::Link(LinkStep::Delete { link: LinkRef::named(name("vif3.0")) })).unwrap();
    on.apply(&Step::Nft(NftTransaction::new(NftTableId::gate(), vec![NftOp::DelTable]))).unwrap();
    let mut host = open();
    let before = look(on);
    let plans = host.plan_recover().unwrap();
    assert_eq!(before.changes(&look(on)), [], "it is only a look");
    let subjects: Vec<String> = plans.keys().map(Subject::to_string).collect();
    assert_eq!(subjects, ["vif1.0", "vif2.0", "vif3.0", "vif4.0", "network-private"]);
    let plans: Vec<Plan> = plans.into_values().map(Result::unwrap).collect();
    assert!(!plans[0].is_empty() && !plans[1].is_empty(), "{}\n{}", plans[0], plans[1]);
    assert!(plans[2].notes()[0].contains("gone without a call"), "{:?}", plans[2].notes());
    // An operation that is open comes before any other plan of that vif.
    let other = host.plan_detach(domid(1), FIRST).unwrap();
    let e = kept(&mut host, &other).unwrap_err();
    assert!(e.kind() == ErrorKind::Stale && e.message().contains("was interrupted"), "{}", e.report());
    whole(&e);
    assert!(plans[1].notes()[0].contains("put back at once"), "{:?}", plans[1].notes());
    for plan in &plans[..3] {
        let applied = kept(&mut host, plan).unwrap_or_else(|e| panic!("{plan}\n{}", e.report()));
        let others = plan.notes().iter().any(|note| note.contains("put back at once") && note.ends_with(": vif4.0"));
        let steps = plan.steps().len() + usize::from(others);
        assert_eq!((applied.steps, applied.notes.len()), (steps, 1), "{plan}\n{applied:?}");
    }
    // The table was put back for all at once.
    for plan in &plans[3..] {
        let applied = kept(&mut host, plan).unwrap_or_else(|e| panic!("{plan}\n{}", e.report()));
        assert_eq!(applied.steps, 0, "{plan}\n{applied:?}");
    }
    assert!(host.plan_recover().unwrap().is_empty());
    assert_eq!(host.recover().unwrap(), []);
}
