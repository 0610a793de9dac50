//! `vlan=` on the kernel: which VLANs a guest's port is in, and what passes between guests.
//!
//! Bridges filter by VLAN only on kernels with `CONFIG_BRIDGE_VLAN_FILTERING`. On others this shows that `vlan=` is
//! refused with a reason; the rest runs under Debian's kernel by `tests/debian-kernel`.

#![allow(clippy::unwrap_used, reason = "all of this is tests")]

mod membership;
mod refusals;
mod traffic;

use std::collections::BTreeSet;
use std::time::Duration;

use xennet_core::backend::Backend;
use xennet_core::backend::netlink::Netlink;
use xennet_core::snapshot::{AddrGenMode, Part, PortVlan, Scope, Snapshot};
use xennet_core::step::{BridgeChange, LinkChange, LinkRef, LinkStep, NewLink, NewMaster, PortStep, Step};
use xennet_core::{DevId, DomId, Host, MacAddr, Tagging, Vid, VifId, VifSpec, VlanSpec, exec};
use xennet_tests::steps::{self, name, up};
use xennet_tests::{Guest, GuestSpec, StateDir, in_netns};

const BRIDGE: &str = "xenbr0";

fn domid(number: u32) -> DomId {
    DomId::new(number).unwrap()
}

fn spec(text: &str) -> VifSpec {
    text.parse().unwrap()
}

fn mac(number: u8) -> MacAddr {
    MacAddr::new([0x00, 0x16, 0x3e, 0, 0, number])
}

#[track_caller]
fn run(step: Step) {
    steps::run(&mut Netlink::open().unwrap(), step);
}

#[track_caller]
fn set(link: &str, change: LinkChange) {
    steps::set(&mut Netlink::open().unwrap(), link, change);
}

/// What is in the test's namespace.
fn look() -> Snapshot {
    Netlink::open().unwrap().observe(&Scope::network()).unwrap()
}

fn host(state: &StateDir) -> Host {
    with_state(Host::netlink().unwrap(), state)
}

fn with_state(host: Host, state: &StateDir) -> Host {
    host.with_state_dir(exec::StateDir::at(state.path())).with_lock_deadline(Duration::from_secs(5))
}

/// A bridge as Xen hosts have it, which filters by VLAN if that is wanted.
fn bridge(filtering: Option<bool>) {
    let bridge = BridgeChange::default().with_forward_delay_cs(0).with_vlan_filtering(filtering);
    let change = LinkChange::default().with_mac(MacAddr::new([2, 0, 0, 0, 0, 1])).with_bridge(bridge);
    run(Step::Link(LinkStep::Create { name: name(BRIDGE), kind: NewLink::Bridge, change }));
    set(BRIDGE, LinkChange::default().with_addr_gen_mode(AddrGenMode::None));
    set(BRIDGE, up());
}

/// Whether bridges of this kernel can filter by VLAN.
fn kernel_filters() -> bool {
    let probe = name("probe");
    let change = LinkChange::default();
    run(Step::Link(LinkStep::Create { name: probe, kind: NewLink::Bridge, change }));
    let seen = Netlink::open().unwrap().observe(&Scope::none().with(Part::Link(probe))).unwrap();
    run(Step::Link(LinkStep::Delete { link: LinkRef::named(probe) }));
    seen.links[&probe].bridge.as_ref().unwrap().vlan_filtering.is_some()
}

/// Runs a test beside a bridge that filters by VLAN, where the kernel has such.
fn beside_a_filtering_bridge(test: &str, case: impl FnOnce() + Send) {
    in_netns(test, || {
        if kernel_filters() {
            bridge(Some(true));
            case();
        } else {
            println!("{test}: this kernel lacks CONFIG_BRIDGE_VLAN_FILTERING; run tests/debian-kernel");
        }
    });
}

/// A guest of this domain id with these addresses. Its vif is down and a port of nothing.
fn guest(number: u8, addresses: &[&str]) -> Guest {
    let id = VifId::new(domid(u32::from(number)), DevId::FIRST);
    let addresses = addresses.iter().map(|a| a.parse().unwrap()).collect();
    Guest::new(&GuestSpec { id, mac: mac(number), addresses }).unwrap()
}

/// The VLANs that `vlan=` with this value means.
fn vlans(value: &str) -> BTreeSet<PortVlan> {
    let spec: VlanSpec = value.parse().unwrap();
    spec.vids().map(|(vid, tagging)| PortVlan::new(vid, tagging).with_pvid(vid == spec.pvid())).collect()
}

/// The VLANs of a port, as the kernel tells them.
fn vlans_of(port: &str) -> BTreeSet<PortVlan> {
    let seen = Netlink::open().unwrap().observe(&Scope::none().with(Part::PortVlans(name(port)))).unwrap();
    seen.port_vlans.get(port).cloned().unwrap_or_default()
}

/// Plugs a link in as a trunk: all of these VLANs with their tags, no VLAN for frames without one. What an administrator does
/// with the uplink.
fn trunk(link: &str, vids: impl IntoIterator<Item = u16>) {
    set(link, LinkChange::default().with_master(NewMaster::Bridge(LinkRef::named(name(BRIDGE)))));
    let port = LinkRef::named(name(link));
    let first = PortVlan::new(Vid::ONE, Tagging::Untagged).with_pvid(true);
    run(Step::Port(PortStep::VlanDel { port, vlan: first }));
    for vid in vids {
        let vlan = PortVlan::new(Vid::new(vid).unwrap(), Tagging::Tagged);
        run(Step::Port(PortStep::VlanAdd { port, vlan }));
    }
    set(link, up());
}
