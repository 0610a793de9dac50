//! The guard, by what arrives: frames of every kind, and whole network stacks, between guests, dom0 and the outside.
//!
//! A ruleset that looks right is no evidence; a frame that does not arrive is, if one that may pass does.

#![allow(clippy::unwrap_used, reason = "all of this is tests")]

mod accepts;
mod corpus;
mod counts;
mod groups;
mod hidden;
mod kinds;
mod lab;
mod limits;
mod matrix;
mod mutate;
mod nat;
mod neighbours;
mod noted;
mod oracle;
mod order;
mod policy;
mod reserved;
mod routed;
mod says;
mod stacks;
mod watched;

use std::fmt;

/// Whether br_netfilter is at work on bridges of this namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum BridgeFilter {
    Absent,
    Off,
    On,
}

impl fmt::Display for BridgeFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            BridgeFilter::Absent => "br_netfilter is not loaded",
            BridgeFilter::Off => "br_netfilter is loaded and switched off",
            BridgeFilter::On => "br_netfilter is loaded and switched on",
        })
    }
}

/// Every way in which br_netfilter can be here, one after the other: it is in force while its item is looked at. It is not
/// loaded for the test.
fn bridge_filter() -> impl Iterator<Item = BridgeFilter> {
    // The settings are of the namespace, and there only if the module is.
    let folder = std::path::Path::new("/proc/sys/net/bridge");
    let ways: &[_] = if folder.is_dir() { &[BridgeFilter::Off, BridgeFilter::On] } else { &[BridgeFilter::Absent] };
    ways.iter().copied().inspect(move |way| {
        let on = match way {
            BridgeFilter::Absent => return,
            BridgeFilter::Off => "0",
            BridgeFilter::On => "1",
        };
        for which in ["iptables", "ip6tables", "arptables"] {
            std::fs::write(folder.join(format!("bridge-nf-call-{which}")), on).unwrap();
        }
    })
}
