//! Words that tests write their steps with.

use xennet_core::backend::Backend;
use xennet_core::snapshot::{Link, LinkKind, NftElement, NftKey, NftSet, NftTableId, NftType, NftValue, Part, Scope};
use xennet_core::step::{LinkChange, LinkRef, LinkStep, NewMaster, NftOp, NftTransaction, Step};
use xennet_core::{IfName, MacAddr};

/// A name.
pub fn name(text: &str) -> IfName {
    text.parse().unwrap()
}

/// Carries out a step that cannot fail.
#[track_caller]
pub fn run(on: &mut dyn Backend, step: Step) {
    if let Err(e) = on.apply(&step) {
        panic!("{step:?}: {e}");
    }
}

/// Makes a table of xennet's as if an earlier version had made it, with what is in it: it has another number, a set and a chain that this
/// version does not have, chains without their rules, and not the sets that the first version had not.
#[track_caller]
pub fn of_another_version(on: &mut dyn Backend, table: NftTableId) {
    let version = "version".to_owned();
    let seen = on.observe(&Scope::none().with(Part::Nft(table.clone()))).unwrap();
    let found = &seen.nft[&table];
    let another = NftKey::exact([NftValue::U32(0xdead_beef)]);
    let def = NftSet::default().with_key(vec![NftType::IfName]);
    let mut ops = vec![
        NftOp::DelElements { set: version.clone(), keys: found.sets[&version].elements.keys().cloned().collect() },
        NftOp::AddElements { set: version, elements: vec![(another, NftElement::default())] },
        NftOp::AddSet { set: "former".into(), def },
        NftOp::AddChain { chain: "former".into(), base: None },
    ];
    ops.extend(found.chains.keys().map(|chain| NftOp::FlushChain { chain: chain.clone() }));
    let later = ["macs-first", "macs-last", "tagged", "hidden", "open", "bridged"]
        .into_iter()
        .filter(|set| found.sets.contains_key(*set));
    ops.extend(later.map(|set| NftOp::DelSet { set: set.into() }));
    run(on, Step::Nft(NftTransaction::new(table, ops)));
}

/// Changes a link.
#[track_caller]
pub fn set(on: &mut dyn Backend, link: &str, change: LinkChange) {
    run(on, Step::Link(LinkStep::Set { link: LinkRef::named(name(link)), change }));
}

/// Up.
pub fn up() -> LinkChange {
    LinkChange::default().with_up(true)
}

/// A port of a bridge.
pub fn into(bridge: &str) -> LinkChange {
    LinkChange::default().with_master(NewMaster::Bridge(LinkRef::named(name(bridge))))
}

/// A network card that is down, for a fake.
pub fn card(mac: MacAddr) -> Link {
    Link::new(LinkKind::Plain).with_mac(mac).with_mtu_range((68, 9000))
}
