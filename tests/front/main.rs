//! The front door: [`Host`](xennet_core::Host) from any wanted state to any other, on the fake and on the kernel, and what
//! it says when something is in the way.

#![allow(clippy::unwrap_used, reason = "all of this is tests")]

mod apply;
mod back;
mod forwards;
mod guard;
mod lost;
mod modes;
mod others;
mod ownership;
mod recording;
mod refusals;
mod walk;

use std::time::Duration;

use xennet_core::backend::Backend;
use xennet_core::backend::fake::Fake;
use xennet_core::backend::netlink::Netlink;
use xennet_core::snapshot::{AddrGenMode, Address, Scope, Snapshot};
use xennet_core::step::{AddrStep, BridgeChange, LinkChange, LinkStep, NewLink, Step};
use xennet_core::{DevId, DomId, Error, Host, MacAddr, Outcome, VifSpec, exec};
use xennet_tests::StateDir;
use xennet_tests::steps::{into, name, run, set, up};

fn domid(number: u32) -> DomId {
    DomId::new(number).unwrap()
}

fn spec(text: &str) -> VifSpec {
    text.parse().unwrap()
}

fn mac(last: u8) -> MacAddr {
    MacAddr::new([2, 0, 0, 0, 0, last])
}

fn bridge(on: &mut dyn Backend, which: &str, last: u8) {
    let quick = BridgeChange::default().with_forward_delay_cs(0);
    let change = LinkChange::default().with_mac(mac(last)).with_bridge(quick);
    run(on, Step::Link(LinkStep::Create { name: name(which), kind: NewLink::Bridge, change }));
    let no_address = LinkChange::default().with_addr_gen_mode(AddrGenMode::None);
    set(on, which, no_address);
    set(on, which, up());
}

/// A vif with the guest's end beside it, which stays down: so no carrier comes, and IPv6 makes no addresses.
fn vif(on: &mut dyn Backend, which: &str, guest: &str, last: u8) {
    let kind = NewLink::Veth { peer: name(guest) };
    let change = LinkChange::default().with_mac(MacAddr::BACKEND);
    run(on, Step::Link(LinkStep::Create { name: name(which), kind, change }));
    set(on, guest, LinkChange::default().with_mac(mac(last)));
}

/// Three bridges for guests, four vifs, and a bridge that is none of our business, with a port and addresses.
fn build(on: &mut dyn Backend) {
    for (n, which) in (1..).zip(["xenbr0", "xenbr1", "xenbr2", "lan0"]) {
        bridge(on, which, n);
    }
    for n in 1..=4 {
        vif(on, &format!("vif{n}.0"), &format!("guest{n}"), 0x10 + n);
    }
    vif(on, "other0", "other1", 0x20);
    set(on, "other0", into("lan0").with_up(true));
    for text in ["192.0.2.1/24", "192.0.2.2/24", "2001:db8::1/64"] {
        let address = Address::new(name("lan0"), text.parse().unwrap()).with_nodad(true);
        run(on, Step::Addr(AddrStep::Add(address)));
    }
}

fn look(on: &mut dyn Backend) -> Snapshot {
    on.observe(&Scope::network()).unwrap()
}

/// What is in the test's namespace.
fn kernel() -> Snapshot {
    look(&mut Netlink::open().unwrap())
}

fn on_kernel(state: &StateDir) -> Host {
    Host::netlink().unwrap().with_state_dir(exec::StateDir::at(state.path())).with_lock_deadline(Duration::from_secs(5))
}

/// A fake world built as `build` does, of a kernel that knows VLANs or does not.
fn fake(knows_vlans: bool) -> Fake {
    let mut fake = Fake::empty();
    fake.world_mut().hidden.bridges_without_vlans = !knows_vlans;
    // Nothing that we do needs more than Linux 6.1 gives.
    fake.world_mut().hidden.names_held_while_up = true;
    build(&mut fake);
    fake
}

/// Every refusal has to say these things.
#[track_caller]
fn whole(e: &Error) {
    assert!(e.hint().is_some(), "a way out: {}", e.report());
    assert!(
        matches!(e.outcome(), Some(Outcome::Unchanged | Outcome::Restored)) && e.state().is_some(),
        "{}",
        e.report()
    );
    assert!(e.object().is_some(), "an object: {}", e.report());
    assert!(!e.to_string().contains('\n'), "{e}");
}

const FIRST: DevId = DevId::FIRST;
