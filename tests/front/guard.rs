//! `ip=`: what the guard has of a vif, on both backends.

use xennet_core::backend::Backend;
use xennet_core::snapshot::{NftTable, NftTableId, Part, Scope};
use xennet_core::step::{LinkRef, LinkStep, NftOp, NftTransaction, Step};
use xennet_core::{BridgeNetwork, BridgeSpec, ErrorKind, MacBinding, Network, NetworkMode, Policy};

use super::ownership::both;
use super::{FIRST, domid, name, spec, whole};

fn facts(on: &mut dyn Backend, about: &str) -> Vec<String> {
    let all = on.observe(&Scope::network()).unwrap().render();
    all.lines().filter(|l| l.starts_with("nft add element") && l.contains(about)).map(str::to_owned).collect()
}

#[test]
fn elements_go_with_the_vif_even_when_it_went_first() {
    both("guard::elements_go_with_the_vif_even_when_it_went_first", |host, world| {
        let vif = spec("mac=00:16:3e:00:00:01,bridge=xenbr0,vifname=web0,ip=10.0.0.2");
        assert_eq!(host.attach(domid(1), &vif).unwrap().steps, 3);
        assert_eq!(host.attach(domid(1), &vif).unwrap().steps, 0, "twice is once");
        host.attach(domid(2), &spec("mac=00:16:3e:00:00:02,bridge=xenbr0,ip=10.0.0.9/24")).unwrap();
        world(&mut |on| assert_eq!(facts(on, "\"web0\"").len(), 6));
        let mut others = Vec::new();
        world(&mut |on| {
            others = facts(on, "\"vif2.0\"");
            on.apply(&Step::Link(LinkStep::Delete { link: LinkRef::named(name("web0")) })).unwrap();
        });
        assert_eq!(host.detach(domid(1), FIRST).unwrap().steps, 1);
        assert_eq!(host.detach(domid(1), FIRST).unwrap().steps, 0, "twice is once");
        world(&mut |on| {
            assert_eq!(facts(on, "web0"), [""; 0]);
            assert_eq!(facts(on, "\"vif2.0\""), others, "another's is another's");
        });
        assert_eq!(others.len(), 6);
    });
}

#[test]
fn a_guard_that_somebody_has_emptied_is_made_anew() {
    both("guard::a_guard_that_somebody_has_emptied_is_made_anew", |host, world| {
        let vif = spec("mac=00:16:3e:00:00:01,bridge=xenbr0,ip=10.0.0.2");
        host.attach(domid(1), &vif).unwrap();
        let mut before = Vec::new();
        let deeds = [
            NftOp::FlushChain { chain: "declared".into() },
            NftOp::DelTable,
            NftOp::SetFlags { flags: NftTable::DORMANT },
        ];
        for deed in deeds {
            world(&mut |on| {
                before = on
                    .observe(&Scope::none().with(Part::Nft(NftTableId::guard())))
                    .unwrap()
                    .render()
                    .lines()
                    .map(str::to_owned)
                    .collect();
                on.apply(&Step::Nft(NftTransaction::new(NftTableId::guard(), vec![deed.clone()]))).unwrap();
            });
            assert_eq!(host.attach(domid(1), &vif).unwrap().steps, 1, "{deed:?}");
            world(&mut |on| {
                let now = on.observe(&Scope::none().with(Part::Nft(NftTableId::guard()))).unwrap().render();
                assert_eq!(now.lines().collect::<Vec<_>>(), before, "{deed:?}");
            });
        }
    });
}

#[test]
fn without_a_mac_nothing_can_be_bound_and_nothing_is_attached() {
    both("guard::without_a_mac_nothing_can_be_bound_and_nothing_is_attached", |host, world| {
        let e = host.attach(domid(1), &spec("bridge=xenbr0,ip=10.0.0.2")).unwrap_err();
        assert_eq!(e.kind(), ErrorKind::Invalid);
        whole(&e);
        world(&mut |on| assert!(!on.observe(&Scope::network()).unwrap().links[&name("vif1.0")].up));
    });
}

#[test]
fn a_mac_is_bound_where_the_administrator_wants_it() {
    both("guard::a_mac_is_bound_where_the_administrator_wants_it", |host, world| {
        let here = std::mem::replace(host, xennet_core::Host::fake());
        *host = here.with_mac_binding(MacBinding::Always);
        host.attach(domid(1), &spec("mac=00:16:3e:00:00:01,bridge=xenbr0")).unwrap();
        world(&mut |on| {
            let all = facts(on, "\"vif1.0\"");
            assert!(all.len() == 2 && all[0].contains("bound"), "{all:?}");
        });
        host.attach(domid(1), &spec("mac=00:16:3e:00:00:01,bridge=xenbr0,ip=10.0.0.2")).unwrap();
        world(&mut |on| assert_eq!(facts(on, " bound "), [""; 0], "declared is more than bound"));
        host.undo(xennet_core::exec::Subject::Vif(xennet_core::VifId::new(domid(1), FIRST))).unwrap();
        world(&mut |on| assert_eq!(facts(on, " bound ").len(), 1));
    });
}

#[test]
fn a_policy_says_what_the_guard_has_and_undo_takes_it_back() {
    both("guard::a_policy_says_what_the_guard_has_and_undo_takes_it_back", |host, world| {
        let sets = |world: super::ownership::World<'_>| {
            let mut all = Vec::new();
            world(&mut |on| all = facts(on, "\"vif1.0\""));
            let mut sets: Vec<String> = all
                .iter()
                .map(|l| l.split(" xennet-guard ").nth(1).unwrap().split(' ').next().unwrap().into())
                .collect();
            sets.dedup();
            sets
        };
        let vif = |more: &str| spec(&format!("mac=00:16:3e:00:00:01,bridge=xenbr0,ip=10.0.0.2{more}"));
        let id = xennet_core::VifId::new(domid(1), FIRST);
        host.attach(domid(1), &vif("")).unwrap();
        let strict = ["declared", "host4", "host6", "macs", "macs-first", "macs-last"];
        assert_eq!(sets(world), strict);
        for (more, wanted, note) in [
            (",policy=strict", &strict[..], None),
            (",policy=mac", &["bound", "macs"], Some("the addresses of vif1.0 are not looked at")),
            (",policy=off", &[], Some("the addresses of vif1.0 are not looked at")),
            (",policy=off,macs=00:16:3e:00:00:09", &[], Some("macs= of vif1.0 has no effect")),
            (",policy=disabled", &["closed"], None),
        ] {
            let applied = host.attach(domid(1), &vif(more)).unwrap();
            assert_eq!(sets(world), wanted, "{more}");
            match note {
                Some(note) => assert!(applied.notes.iter().any(|n| n.contains(note)), "{more}: {:?}", applied.notes),
                None => assert_eq!(applied.notes, [""; 0], "{more}"),
            }
            assert_eq!(host.attach(domid(1), &vif(more)).unwrap().steps, 0, "{more}: twice is once");
            if more != ",policy=strict" {
                host.undo(xennet_core::exec::Subject::Vif(id)).unwrap();
                assert_eq!(sets(world), strict, "{more}, undone");
            }
        }
        // A network among the addresses is told, and is the same as where it is called one.
        let applied = host.attach(domid(1), &spec("mac=00:16:3e:00:00:01,bridge=xenbr0,ip=10.1.0.0/16")).unwrap();
        assert!(applied.notes.iter().any(|n| n.contains("prefix=10.1.0.0/16 says so")), "{:?}", applied.notes);
        let applied = host.attach(domid(1), &spec("mac=00:16:3e:00:00:01,bridge=xenbr0,prefix=10.1.0.0/16")).unwrap();
        assert_eq!((applied.steps, &applied.notes[..]), (0, &[][..]));
        // Strict without an address is closed, and says so.
        let locked = spec("mac=00:16:3e:00:00:01,bridge=xenbr0,policy=strict");
        let applied = host.attach(domid(1), &locked).unwrap();
        assert_eq!(sets(world), ["closed"]);
        assert!(applied.notes.iter().any(|n| n.contains("nothing passes from vif1.0 or to it")), "{:?}", applied.notes);
        // What somebody took away comes back.
        world(&mut |on| {
            on.apply(&Step::Nft(NftTransaction::new(NftTableId::guard(), vec![NftOp::DelTable]))).unwrap();
        });
        host.recover().unwrap();
        assert_eq!(sets(world), ["closed"]);
        host.detach(domid(1), FIRST).unwrap();
        assert_eq!(sets(world), [""; 0]);
    });
}

#[test]
fn a_network_says_how_its_guests_are_filtered_and_a_vif_otherwise() {
    both("guard::a_network_says_how_its_guests_are_filtered_and_a_vif_otherwise", |host, world| {
        let mut lan = BridgeNetwork::new(BridgeSpec::new(name("lanbr0")));
        lan.policy = Some(Policy::Mac);
        host.start_network(&Network::new(name("lan"), NetworkMode::Bridge(lan)).unwrap()).unwrap();
        let of = |world: super::ownership::World<'_>, set: &str| {
            let mut found = 0;
            world(&mut |on| found = facts(on, &format!(" xennet-guard {set} ")).len());
            found
        };
        host.attach(domid(1), &spec("mac=00:16:3e:00:00:01,bridge=lan")).unwrap();
        assert_eq!((of(world, "bound"), of(world, "declared"), of(world, "closed")), (1, 0, 0));
        host.attach(domid(1), &spec("mac=00:16:3e:00:00:01,bridge=lanbr0,ip=10.0.0.2,policy=strict")).unwrap();
        assert_eq!((of(world, "bound"), of(world, "declared"), of(world, "closed")), (0, 1, 0));
        host.attach(domid(1), &spec("mac=00:16:3e:00:00:01,bridge=lan,policy=off")).unwrap();
        assert_eq!((of(world, "bound"), of(world, "declared"), of(world, "closed")), (0, 0, 0));
        let e = host.attach(domid(1), &spec("bridge=lan")).unwrap_err();
        assert_eq!(e.kind(), ErrorKind::Invalid);
        assert_eq!(e.hint(), Some("give mac=, or policy=off for a guest that may send anything"));
        whole(&e);
    });
}

#[test]
fn what_only_a_port_can_have_is_refused_where_there_is_none() {
    both("guard::what_only_a_port_can_have_is_refused_where_there_is_none", |host, _| {
        for (line, given) in [
            ("script=vif-nat,ip=10.9.0.2,policy=off", "policy=off"),
            ("script=vif-nat,ip=10.9.0.2,policy=disabled", "policy=disabled"),
            ("script=vif-route,ip=10.9.0.2,macs=00:16:3e:00:00:09", "macs=00:16:3e:00:00:09"),
            ("script=vif-route,policy=strict", "policy=strict"),
        ] {
            let e = host.attach(domid(1), &spec(&format!("mac=00:16:3e:00:00:01,{line}"))).unwrap_err();
            assert_eq!(e.kind(), ErrorKind::Unsupported, "{line}");
            assert!(e.message().contains(&format!("{given} is about a port of a bridge")), "{line}: {e}");
            whole(&e);
        }
        // What is so in any case may be said.
        host.attach(domid(1), &spec("mac=00:16:3e:00:00:01,script=vif-nat,ip=10.9.0.2,policy=strict")).unwrap();
    });
}

#[test]
fn a_closed_guest_leaves_nothing_to_the_next_one_where_its_record_is_lost() {
    both("guard::a_closed_guest_leaves_nothing_to_the_next_one_where_its_record_is_lost", |host, world| {
        let state = xennet_tests::StateDir::new();
        host.attach(domid(1), &spec("mac=00:16:3e:00:00:01,bridge=xenbr0,policy=disabled")).unwrap();
        let here = std::mem::replace(host, xennet_core::Host::fake());
        *host = here.with_state_dir(xennet_core::exec::StateDir::at(state.path()));
        host.attach(domid(1), &spec("mac=00:16:3e:00:00:01,bridge=xenbr0,ip=10.0.0.2")).unwrap();
        world(&mut |on| assert_eq!(facts(on, " closed "), [""; 0]));
        world(&mut |on| assert_eq!(facts(on, "\"vif1.0\"").len(), 6));
    });
}

#[test]
fn where_packets_are_noted_is_the_links_own() {
    both("guard::where_packets_are_noted_is_the_links_own", |host, world| {
        let line = |more: &str| spec(&format!("mac=00:16:3e:00:00:01,bridge=xenbr0,ip=10.0.0.2{more}"));
        let mut noted = |of: &str| {
            let mut found = Vec::new();
            world(&mut |on| found = facts(on, &format!("\"{of}\"")));
            found.retain(|line| line.contains(" logged {") || line.contains(" reported {"));
            found
        };
        let applied = host.attach(domid(1), &line(",log=kernel,rate=10Mb/s")).unwrap();
        assert!(
            applied.notes.iter().any(|n| n.starts_with("rate=1250KB/s is not set by xennet: netback limits the guest")),
            "{:?}",
            applied.notes
        );
        assert_eq!(noted("vif1.0"), ["nft add element bridge xennet-guard logged { \"vif1.0\" }"]);
        assert_eq!(host.attach(domid(1), &line(",log=kernel")).unwrap().steps, 0, "twice is once");
        // Another vif, which has no note, finds the table whole.
        host.attach(domid(2), &spec("mac=00:16:3e:00:00:02,bridge=xenbr0,ip=10.0.0.9,log=nflog")).unwrap();
        assert!(host.attach(domid(1), &line(",log=nflog,vifname=web0")).unwrap().steps > 0);
        assert_eq!((noted("vif1.0").len(), noted("web0").len(), noted("vif2.0").len()), (0, 1, 1));
        host.detach(domid(1), FIRST).unwrap();
        assert_eq!((noted("web0").len(), noted("vif2.0").len()), (0, 1));
        let back = host.attach(domid(1), &line("")).unwrap();
        assert!(back.notes.is_empty(), "{:?}", back.notes);
        assert_eq!(noted("vif1.0"), [""; 0]);
    });
}

#[test]
fn the_chain_that_leads_to_notes_is_put_right_once() {
    both("guard::the_chain_that_leads_to_notes_is_put_right_once", |host, world| {
        let line = |more: &str| spec(&format!("mac=00:16:3e:00:00:01,bridge=xenbr0,ip=10.0.0.2{more}"));
        host.attach(domid(1), &line(",log=nflog")).unwrap();
        // Somebody empties the chain that leads to both. The next call that needs another section puts each rule there once.
        world(&mut |on| {
            let flush = vec![NftOp::FlushChain { chain: "noted".into() }];
            on.apply(&Step::Nft(NftTransaction::new(NftTableId::guard(), flush))).unwrap();
        });
        host.attach(domid(1), &line(",policy=disabled,log=kernel")).unwrap();
        world(&mut |on| {
            let seen = on.observe(&Scope::none().with(Part::Nft(NftTableId::guard()))).unwrap();
            assert_eq!(seen.nft[&NftTableId::guard()].chains["noted"].rules.len(), 2);
        });
    });
}
