//! `ip=`: what the guard has of a vif, on both backends.

use xennet_core::backend::Backend;
use xennet_core::snapshot::{NftTable, NftTableId, Part, Scope};
use xennet_core::step::{LinkRef, LinkStep, NftOp, NftTransaction, Step};
use xennet_core::{ErrorKind, MacBinding};

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
