//! What follows when a link goes up or down (`__dev_notify_flags` and those who listen).

use super::addr::{self, Reach};
use super::addr6::{self, Ends};
use super::{World, neigh};
use crate::error::Errno;
use crate::model::IfName;

/// Flags of a link that a step sets in one go.
#[derive(Clone, Copy, Default)]
pub(super) struct Flags {
    pub(super) up: Option<bool>,
    pub(super) arp: Option<bool>,
    pub(super) multicast: Option<bool>,
}

/// `dev_change_flags`: ARP and multicast first, then up or down; whoever listens hears of it afterwards.
pub(super) fn set_flags(w: &mut World<'_>, name: &IfName, flags: Flags) -> Result<(), Errno> {
    let link = w.link_mut(name)?;
    let before = (link.up, link.arp);
    link.arp = flags.arp.unwrap_or(link.arp);
    link.multicast = flags.multicast.unwrap_or(link.multicast);
    link.up = flags.up.unwrap_or(link.up);
    let now = (link.up, link.arp);
    match (before.0, now.0) {
        (false, true) => {
            addr::link_up(w, name);
            addr6::link_up(w, name);
        }
        (true, false) => went_down(w, name),
        _ => {}
    }
    // NETDEV_CHANGE is told for links that are up: arp_netdev_event forgets the stations when IFF_NOARP changed.
    if now.0 && before.1 != now.1 {
        neigh::stations_changed(w, name);
    }
    Ok(())
}

/// `NETDEV_DOWN`: IPv4 loses routes and neighbours but no address; IPv6 loses its addresses too.
fn went_down(w: &mut World<'_>, name: &IfName) {
    addr::disable(w, name, Reach::LinkDown);
    addr6::disable(w, name, Ends::LinkDown);
}
