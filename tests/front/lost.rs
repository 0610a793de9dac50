//! What another program removes is seen, and put back for all guests that are there.

use xennet_core::backend::Backend;
use xennet_core::backend::fake::Fault;
use xennet_core::exec::{self, Subject};
use xennet_core::snapshot::{
    NftExpr, NftKey, NftRule, NftSet, NftTable, NftTableId, NftValue, NftVerdict, Part, Route, Scope,
};
use xennet_core::step::{
    LinkChange, LinkRef, NewMaster, NftOp, NftTransaction, PortChange, PortStep, RouteStep, Step, SysctlStep,
};
use xennet_core::{
    Egress, ErrorKind, Guests, Host, NatNetwork, Network, NetworkMode, NetworkState, Recovered, Subnet, VifId,
};
use xennet_tests::steps::of_another_version;
use xennet_tests::{Shared, StateDir};

use super::ownership::{World, both};
use super::{FIRST, domid, look, name, run, set, spec, whole};

const GUESTS: [(u32, &str); 3] = [
    (1, "mac=00:16:3e:00:00:01,bridge=xenbr0,ip=10.0.0.2 2001:db8::2,isolated"),
    (2, "mac=00:16:3e:00:00:02,bridge=xenbr0,ip=10.0.0.0/24,vifname=web0"),
    (3, "mac=00:16:3e:00:00:03,script=vif-nat,ip=10.9.0.3"),
];

fn nft(on: &mut dyn Backend, table: NftTableId, ops: Vec<NftOp>) {
    run(on, Step::Nft(NftTransaction::new(table, ops)));
}

fn last_rule(on: &mut dyn Backend, table: &NftTableId, chain: &str) -> NftRule {
    let seen = on.observe(&Scope::none().with(Part::Nft(table.clone()))).unwrap();
    seen.nft[table].chains[chain].rules.last().unwrap().clone()
}

fn without(on: &mut dyn Backend, table: NftTableId, set: &str, key: &[NftValue]) {
    nft(on, table, vec![NftOp::DelElements { set: set.into(), keys: vec![NftKey::exact(key.iter().cloned())] }]);
}

fn port(on: &mut dyn Backend, link: &str, change: PortChange) {
    run(on, Step::Port(PortStep::Set { port: LinkRef::named(name(link)), change, up: None }));
}

type Deed = (&'static str, fn(&mut dyn Backend));

fn link(text: &str) -> NftValue {
    NftValue::Name(name(text))
}

const DEEDS: [Deed; 21] = [
    ("the guard's table deleted", |on| nft(on, NftTableId::guard(), vec![NftOp::DelTable])),
    ("the gate's table deleted", |on| nft(on, NftTableId::gate(), vec![NftOp::DelTable])),
    ("everything flushed", |on| {
        nft(on, NftTableId::guard(), vec![NftOp::DelTable]);
        nft(on, NftTableId::gate(), vec![NftOp::DelTable]);
    }),
    ("a membership of the guard deleted", |on| without(on, NftTableId::guard(), "declared", &[link("vif1.0")])),
    ("a network of the guard deleted", |on| {
        let mac = NftValue::Mac("00:16:3e:00:00:02".parse().unwrap());
        let own = [link("web0"), mac];
        let ends = |last: [u8; 4]| own.iter().cloned().chain([NftValue::Ipv4(last.into())]).collect();
        let key = NftKey { first: ends([10, 0, 0, 0]), last: Some(ends([10, 0, 0, 255])) };
        let of_networks = on.observe(&Scope::none().with(Part::Nft(NftTableId::guard()))).unwrap();
        let sets = &of_networks.nft[&NftTableId::guard()].sets;
        let (set, _) = sets.iter().find(|(_, set)| set.elements.contains_key(&key)).expect("the guest's network");
        nft(on, NftTableId::guard(), vec![NftOp::DelElements { set: set.clone(), keys: vec![key] }]);
    }),
    ("a link of the gate deleted", |on| without(on, NftTableId::gate(), "links", &[link("vif3.0")])),
    ("a source of the gate deleted", |on| {
        without(on, NftTableId::gate(), "src4", &[link("vif3.0"), NftValue::Ipv4([10, 9, 0, 3].into())]);
    }),
    ("a last drop deleted", |on| {
        let rule = last_rule(on, &NftTableId::guard(), "declared");
        nft(on, NftTableId::guard(), vec![NftOp::DelRule { chain: "declared".into(), rule }]);
    }),
    ("a last drop turned into accept", |on| {
        for (table, chain) in [(NftTableId::guard(), "violation"), (NftTableId::gate(), "violation")] {
            let rule = last_rule(on, &table, chain);
            assert_eq!(rule.exprs, [NftExpr::Verdict(NftVerdict::Drop)]);
            let accept = NftRule::new(vec![NftExpr::Verdict(NftVerdict::Accept)]);
            let ops = vec![
                NftOp::DelRule { chain: chain.into(), rule },
                NftOp::AddRule { chain: chain.into(), rule: accept },
            ];
            nft(on, table, ops);
        }
    }),
    ("the guard dormant", |on| nft(on, NftTableId::guard(), vec![NftOp::SetFlags { flags: NftTable::DORMANT }])),
    ("the gate dormant", |on| nft(on, NftTableId::gate(), vec![NftOp::SetFlags { flags: NftTable::DORMANT }])),
    ("a vif renamed", |on| {
        set(on, "vif1.0", LinkChange::default().with_up(false));
        set(on, "vif1.0", LinkChange::default().with_name(name("eth9")).with_up(true));
    }),
    ("a vif renamed that had a name", |on| {
        set(on, "web0", LinkChange::default().with_up(false));
        set(on, "web0", LinkChange::default().with_name(name("eth9")).with_up(true));
    }),
    ("a port taken out of its bridge", |on| {
        set(on, "vif1.0", LinkChange::default().with_master(NewMaster::None));
    }),
    ("a vif put down", |on| set(on, "vif1.0", LinkChange::default().with_up(false))),
    ("a guest behind NAT put down", |on| set(on, "vif3.0", LinkChange::default().with_up(false))),
    ("a port not isolated", |on| port(on, "vif1.0", PortChange::default().with_isolated(false))),
    ("a port that does not learn", |on| {
        port(on, "web0", PortChange::default().with_learning(false));
    }),
    ("a port closed to reserved addresses", |on| {
        port(on, "vif1.0", PortChange::default().with_group_forward(0));
    }),
    ("a guest's route deleted", |on| {
        let seen = on.observe(&Scope::network()).unwrap();
        let own = |r: &&Route| r.link == Some(name("vif3.0")) && r.protocol == xennet_core::plan::ROUTE_PROTOCOL;
        let route = seen.routes.iter().find(own).unwrap().clone();
        run(on, Step::Route(RouteStep::Del(route)));
    }),
    ("a setting of a guest's link changed", |on| {
        let key = "net/ipv4/conf/vif3.0/rp_filter".parse().unwrap();
        run(on, Step::Sysctl(SysctlStep { key, value: "0".into() }));
    }),
];

fn attach_all(host: &mut Host) {
    for (number, text) in GUESTS {
        host.attach(domid(number), &spec(text)).unwrap();
    }
}

fn text(world: World<'_>) -> String {
    let mut text = String::new();
    let key: xennet_core::snapshot::SysctlKey = "net/ipv4/conf/vif3.0/rp_filter".parse().unwrap();
    world(&mut |on| {
        let scope = Scope::network().with(Part::Sysctl(key.clone()));
        text = on.observe(&scope).unwrap().normalised().render();
    });
    // Which of several ports with one MAC has the entry for it depends on who came first.
    text.lines().filter(|l| !l.starts_with("bridge fdb")).map(|l| format!("{l}\n")).collect()
}

#[track_caller]
fn assert_same(now: &str, before: &str, what: &str) {
    let only =
        |a: &str, b: &str| a.lines().filter(|l| !b.lines().any(|m| m == *l)).map(str::to_owned).collect::<Vec<_>>();
    let differs = (only(before, now), only(now, before));
    assert_eq!(differs, (vec![], vec![]), "{what}: what is missing, what is too much");
}

fn missing(host: &mut Host) -> Vec<String> {
    host.show().unwrap().vifs.into_iter().flat_map(|v| v.missing).collect()
}

#[test]
fn what_is_lost_is_seen_and_put_back() {
    for (what, deed) in DEEDS {
        both("lost::what_is_lost_is_seen_and_put_back", |host, world| {
            attach_all(host);
            assert_eq!((missing(host), host.recover().unwrap()), (vec![], vec![]), "nothing is missing");
            let before = text(world);
            world(&mut |on| deed(on));
            assert_ne!(missing(host), [""; 0], "{what}: it is seen");
            let recovered = host.recover().unwrap_or_else(|e| panic!("{what}: {}", e.report()));
            let mended = |(_, r): &(Subject, Recovered)| matches!(r, Recovered::Mended { .. });
            assert!(!recovered.is_empty() && recovered.iter().all(mended), "{what}: {recovered:?}");
            assert_same(&text(world), &before, what);
            assert_eq!((missing(host), host.recover().unwrap()), (vec![], vec![]), "{what}");
            // What is remembered is how it was before it was attached, as ever.
            host.undo(Subject::Vif(VifId::new(domid(1), FIRST))).unwrap();
            for number in [1, 2, 3] {
                host.detach(domid(number), FIRST).unwrap();
            }
        });
    }
}

/// Somebody else's call is the first that sees it.
#[test]
fn a_call_puts_back_what_all_others_have_lost() {
    for (what, deed) in &DEEDS[..3] {
        for again in [false, true] {
            both("lost::a_call_puts_back_what_all_others_have_lost", |host, world| {
                attach_all(host);
                host.attach(domid(4), &spec("mac=00:16:3e:00:00:04,bridge=xenbr0,ip=10.0.1.4")).unwrap();
                let with_all = text(world);
                if !again {
                    host.detach(domid(4), FIRST).unwrap();
                }
                world(&mut |on| deed(on));
                let applied = host.attach(domid(4), &spec("mac=00:16:3e:00:00:04,bridge=xenbr0,ip=10.0.1.4")).unwrap();
                // A guest behind NAT is none of the guard's.
                let is_seen = !what.contains("gate");
                assert_eq!(applied.notes.iter().any(|n| n.contains("put back")), is_seen, "{what}: {applied:?}");
                if what.contains("flushed") {
                    host.attach(domid(3), &spec(GUESTS[2].1)).unwrap();
                }
                assert_eq!(text(world) == with_all, is_seen, "{what}");
                assert_eq!(missing(host).is_empty(), is_seen, "{what}");
            });
        }
    }
}

/// Guests on a bridge of no network have nothing else that names them: the start of any network puts back what our tables lack of them.
#[test]
fn a_start_puts_back_what_guests_of_no_network_have_lost() {
    for (what, deed) in &DEEDS[..4] {
        both("lost::a_start_puts_back_what_guests_of_no_network_have_lost", |host, world| {
            let mut nat = NatNetwork::new();
            nat.subnets = vec![Subnet::new("10.9.0.0/24".parse().unwrap()).unwrap()];
            nat.egress = Egress::Link(name("lan0"));
            let hidden = Network::new(name("hidden"), NetworkMode::Nat(nat)).unwrap();
            host.start_network(&hidden).unwrap_or_else(|e| panic!("{}", e.report()));
            attach_all(host);
            let before = text(world);
            let status = host.network_status(&hidden).unwrap();
            assert_eq!((status.state, status.missing), (NetworkState::Started, vec![]));
            world(&mut |on| deed(on));
            let status = host.network_status(&hidden).unwrap();
            assert_eq!(status.state, NetworkState::Damaged, "{what}");
            assert!(status.missing.iter().any(|line| line.starts_with("vif")), "{what}: {:?}", status.missing);
            let plan = host.plan_start(&hidden).unwrap();
            assert!(!plan.is_empty(), "{what}");
            let applied = host.start_network(&hidden).unwrap_or_else(|e| panic!("{what}: {}", e.report()));
            assert!(applied.notes.iter().any(|n| n.contains("lacked something that it needs")), "{what}: {applied:?}");
            assert_same(&text(world), &before, what);
            assert_eq!((missing(host), host.recover().unwrap()), (vec![], vec![]), "{what}");
            assert_eq!(host.network_status(&hidden).unwrap().state, NetworkState::Started, "{what}");
            // What an administrator has done to such a vif itself is his.
            world(&mut |on| set(on, "vif1.0", LinkChange::default().with_up(false)));
            assert_eq!(host.network_status(&hidden).unwrap().missing, [""; 0], "{what}");
            for number in [1, 2, 3] {
                host.detach(domid(number), FIRST).unwrap();
            }
            host.stop_network(&hidden.name(), Guests::MustHaveGone).unwrap();
        });
    }
}

#[test]
fn a_flush_amid_a_call_fails_no_call() {
    for (number, text) in GUESTS {
        for step in 0..12 {
            let state = StateDir::new();
            let shared = Shared::new(super::fake(true));
            let host =
                |on: &Shared| Host::with_backend(Box::new(on.clone())).with_state_dir(exec::StateDir::at(state.path()));
            for (other, text) in GUESTS.into_iter().filter(|(other, _)| *other != number) {
                host(&shared).attach(domid(other), &spec(text)).unwrap();
            }
            let flushed = shared.clone().with_event(step, |fake| fake.world_mut().nft.clear());
            let done = host(&flushed).attach(domid(number), &spec(text));
            done.unwrap_or_else(|e| panic!("{text}, before step {step}: {}", e.report()));
            let own: Vec<_> =
                host(&shared).show().unwrap().vifs.into_iter().find(|v| v.domid == domid(number)).into_iter().collect();
            assert!(own.iter().all(|v| v.missing.is_empty()), "{text}, before step {step}: {own:?}");
            let again = shared.clone().with_event(step, |fake| fake.world_mut().nft.clear());
            let done = host(&again).detach(domid(number), FIRST);
            done.unwrap_or_else(|e| panic!("detach {text}, before step {step}: {}", e.report()));
        }
    }
}

#[test]
fn what_was_detached_stays_so_and_what_is_anothers_is_left() {
    both("lost::what_was_detached_stays_so_and_what_is_anothers_is_left", |host, world| {
        attach_all(host);
        host.detach(domid(1), FIRST).unwrap();
        let before = text(world);
        assert_eq!(host.recover().unwrap(), []);
        assert_eq!(text(world), before);
        // Somebody has put it on another bridge.
        world(&mut |on| set(on, "web0", super::into("xenbr1")));
        let at = text(world);
        let recovered = host.recover().unwrap();
        assert!(matches!(&recovered[..], [(_, Recovered::Left { .. })]), "{recovered:?}");
        assert_eq!(text(world), at);
        assert_ne!(missing(host), [""; 0]);
    });
}

/// The ports of guarded vifs are open to reserved addresses because the guard looks at what is sent to them.
#[test]
fn without_a_guard_ports_are_closed_to_reserved_addresses() {
    both("lost::without_a_guard_ports_are_closed_to_reserved_addresses", |host, world| {
        attach_all(host);
        let open = |world: World<'_>| {
            let mut ports = Vec::new();
            world(&mut |on| {
                let seen = on.observe(&Scope::network()).unwrap();
                ports = ["vif1.0", "web0"].map(|l| seen.links[&name(l)].port.as_ref().unwrap().group_forward).to_vec();
            });
            ports
        };
        assert!(open(world).iter().all(|mask| *mask != 0));
        // A table of the same name that is not ours: it cannot be put back.
        world(&mut |on| {
            nft(on, NftTableId::guard(), vec![NftOp::DelTable]);
            nft(on, NftTableId::guard(), vec![NftOp::AddTable]);
        });
        let e = host.attach(domid(4), &spec("mac=00:16:3e:00:00:04,bridge=xenbr0,ip=10.0.1.4")).unwrap_err();
        assert_eq!(e.kind(), ErrorKind::Conflict);
        whole(&e);
        assert_eq!(open(world), [0, 0]);
        let recovered = host.recover().unwrap();
        assert!(recovered.iter().any(|(_, r)| matches!(r, Recovered::Left { .. })), "{recovered:?}");
        // When that one has gone.
        world(&mut |on| nft(on, NftTableId::guard(), vec![NftOp::DelTable]));
        host.recover().unwrap();
        assert_eq!(missing(host), [""; 0]);
        assert!(open(world).iter().all(|mask| *mask != 0));
    });
}

/// An upgrade while guests run.
#[test]
fn tables_of_another_version_are_replaced_with_all_that_is_in_them() {
    both("lost::tables_of_another_version_are_replaced_with_all_that_is_in_them", |host, world| {
        let tables = [NftTableId::guard(), NftTableId::gate()];
        let elements = |world: World<'_>| {
            let mut there = Vec::new();
            world(&mut |on| {
                let scope: Scope = tables.iter().cloned().map(Part::Nft).collect();
                for (id, table) in on.observe(&scope).unwrap().nft {
                    assert!(!table.sets.contains_key("former") && !table.chains.contains_key("former"), "{id}");
                    let set = |(name, set): (String, NftSet)| {
                        set.elements.into_keys().map(move |key| format!("{name} {key:?}")).collect::<Vec<_>>()
                    };
                    there.extend(table.sets.into_iter().flat_map(set).map(|key| format!("{id} {key}")));
                }
            });
            there
        };
        let age = |world: World<'_>| {
            world(&mut |on| tables.iter().for_each(|table| of_another_version(on, table.clone())));
        };
        for (number, text) in GUESTS {
            host.attach(domid(number), &spec(text)).unwrap();
        }
        let all = elements(world);
        // A call of one guest's, and a look at what is there.
        for again in ["attach", "recover", "detach"] {
            age(world);
            assert!(host.show().unwrap().vifs.iter().all(|vif| !vif.missing.is_empty()), "{again}");
            match again {
                "recover" => drop(host.recover().unwrap()),
                "detach" => drop(host.detach(domid(1), FIRST).unwrap()),
                _ => {
                    host.detach(domid(1), FIRST).unwrap();
                    host.attach(domid(1), &spec(GUESTS[0].1)).unwrap();
                }
            }
            if again == "detach" {
                host.attach(domid(1), &spec(GUESTS[0].1)).unwrap();
            }
            host.recover().unwrap();
            assert_eq!(elements(world), all, "{again}");
            assert!(host.show().unwrap().vifs.iter().all(|vif| vif.missing.is_empty()), "{again}");
        }
        // Nobody's table is taken for ours.
        world(&mut |on| {
            nft(on, NftTableId::guard(), vec![NftOp::DelTable, NftOp::AddTable]);
        });
        let e = host.attach(domid(1), &spec("mac=00:16:3e:00:00:01,bridge=xenbr0,ip=10.0.0.77")).unwrap_err();
        assert_eq!(e.kind(), ErrorKind::Conflict, "{}", e.report());
        whole(&e);
    });
}

/// Another call puts back what our tables had of a vif while it is being detached, since its record says that it is attached: the
/// detach looks again and removes it again.
#[test]
fn elements_that_come_back_amid_a_detach_are_removed_again() {
    let shared = Shared::new(super::fake(true));
    let mut host = Host::with_backend(Box::new(shared.clone()));
    host.attach(domid(1), &spec("mac=00:16:3e:00:00:01,bridge=xenbr0,ip=10.0.0.2")).unwrap();
    let plan = host.plan_detach(domid(1), FIRST).unwrap();
    let step = plan.steps().iter().position(|p| matches!(p.step, Step::Nft(_))).unwrap();
    // As if the elements had been there again at once.
    shared.change(|fake| fake.set_faults([Fault::LieOnce { step }]));
    host.detach(domid(1), FIRST).unwrap_or_else(|e| panic!("{}", e.report()));
    let now = look(&mut shared.clone());
    let vif = NftValue::Name(name("vif1.0"));
    let sets = &now.nft[&NftTableId::guard()].sets;
    assert!(sets.values().all(|set| set.elements.keys().all(|key| key.first[0] != vif)), "{sets:#?}");
    assert_eq!(now.links[&name("vif1.0")].master, None);
}
