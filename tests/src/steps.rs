//! Words that tests write their steps with.

use xennet_core::backend::Backend;
use xennet_core::snapshot::{Link, LinkKind};
use xennet_core::step::{LinkChange, LinkRef, LinkStep, NewMaster, Step};
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

/// Changes a link.
#[track_caller]
pub fn set(on: &mut dyn Backend, link: &str, change: LinkChange) {
    run(on, Step::Link(LinkStep::Set { link: LinkRef::named(name(link)), change }));
}

/// Up.
pub fn up() -> LinkChange {
    LinkChange { up: Some(true), ..LinkChange::default() }
}

/// A port of a bridge.
pub fn into(bridge: &str) -> LinkChange {
    LinkChange { master: Some(NewMaster::Bridge(LinkRef::named(name(bridge)))), ..LinkChange::default() }
}

/// A network card that is down, for a fake.
pub fn card(mac: MacAddr) -> Link {
    Link {
        index: 0,
        kind: LinkKind::Plain,
        mac: Some(mac),
        mtu: 1500,
        mtu_range: (68, 9000),
        up: false,
        arp: true,
        multicast: true,
        master: None,
        addr_gen_mode: None,
        alias: None,
        txqueuelen: 1000,
        bridge: None,
        port: None,
        peer: None,
    }
}
