//! What the kernel has learned: tracked connections, stations of bridges, neighbours.
//!
//! One question about one station or neighbour, which Linux 5.0 and later answer without a listing (`br_fdb_get`, `neigh_get`). An older
//! kernel lists those of the bridge or link.

use std::net::IpAddr;

use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::RouteNetlinkMessage as Rtnl;
use rtnetlink::packet_route::neighbour::{NeighbourAttribute, NeighbourFlags, NeighbourMessage};

use super::ip::family_of;
use crate::backend::BackendError;
use crate::backend::netlink::observe::neighbour::{Learned, NEW, read_learned, read_station};
use crate::backend::netlink::refusal::Refusal;
use crate::backend::netlink::{Netlink, conntrack, sysctl, wire};
use crate::error::Errno;
use crate::model::{IfName, MacAddr, Vid};
use crate::step::ForgetStep;

pub(super) fn apply(netlink: &mut Netlink, step: &ForgetStep) -> Result<(), BackendError> {
    let done = match step {
        // Files of /proc/sys say whether anything is tracked, and the socket is opened here.
        ForgetStep::Connections { addresses } => {
            sysctl::check(netlink.namespace.as_ref()).and_then(|()| conntrack::forget(addresses))
        }
        ForgetStep::Station { bridge, mac, vlan, except } => station(netlink, bridge, *mac, *vlan, except.as_ref()),
        ForgetStep::Neighbours { link, addresses } => neighbours(netlink, link, addresses),
        // Without tables there are no counts, and to ask would load the module.
        ForgetStep::Violations { .. } if !netlink.may_have_tables() => return Ok(()),
        ForgetStep::Violations { link } => return netlink.nft()?.forget_violations(*link),
    };
    done.map_err(|refusal| refusal.about(step.object()))
}

fn station(
    netlink: &mut Netlink,
    bridge: &IfName,
    mac: MacAddr,
    vlan: Option<Vid>,
    except: Option<&IfName>,
) -> Result<(), Refusal> {
    let Some(bridge) = netlink.index_of(bridge)? else { return Ok(()) };
    let mut message = NeighbourMessage::default();
    message.header.family = AddressFamily::Bridge;
    let named = [NeighbourAttribute::LinkLayerAddress(mac.octets().to_vec())];
    let vlan = vlan.map(|vlan| NeighbourAttribute::Vlan(vlan.get()));
    message.attributes.push(NeighbourAttribute::Controller(bridge));
    let mut listing = message.clone();
    listing.attributes.retain(|a| matches!(a, NeighbourAttribute::Controller(_)));
    message.attributes.extend(named.iter().cloned().chain(vlan.clone()));
    let is_it = |found: &Learned| {
        let found_vlan = found.vlan.map(NeighbourAttribute::Vlan);
        found.mac == Some(mac) && found_vlan == vlan
    };
    let Some(found) = learned(netlink, &message, listing, read_station, is_it)? else { return Ok(()) };
    if let Some(except) = except
        && netlink.index_of(except)? == Some(found.index)
    {
        return Ok(());
    }
    let mut message = NeighbourMessage::default();
    message.header.family = AddressFamily::Bridge;
    message.header.ifindex = found.index;
    message.header.flags = NeighbourFlags::Controller;
    message.attributes.extend(named.into_iter().chain(vlan));
    removed(netlink, message)
}

fn neighbours(netlink: &mut Netlink, link: &IfName, addresses: &[IpAddr]) -> Result<(), Refusal> {
    let Some(index) = netlink.index_of(link)? else { return Ok(()) };
    addresses.iter().try_for_each(|address| neighbour(netlink, index, *address))
}

fn neighbour(netlink: &mut Netlink, link: u32, address: IpAddr) -> Result<(), Refusal> {
    let mut message = NeighbourMessage::default();
    message.header.family = family_of(&address);
    message.header.ifindex = link;
    let mut listing = NeighbourMessage::default();
    listing.header.family = message.header.family;
    listing.attributes.push(NeighbourAttribute::IfIndex(link));
    message.attributes.push(NeighbourAttribute::Destination(address.into()));
    match learned(netlink, &message, listing, read_learned, |found| found.address == Some(address))? {
        Some(_) => removed(netlink, message),
        None => Ok(()),
    }
}

/// The learned entry that a question is about; by a `listing` where the kernel has no answer to the question.
fn learned(
    netlink: &mut Netlink,
    question: &NeighbourMessage,
    listing: NeighbourMessage,
    read: fn(&[u8]) -> Option<Learned>,
    is_it: impl Fn(&Learned) -> bool,
) -> Result<Option<Learned>, Refusal> {
    wire::encode(&mut netlink.out, 0, &Rtnl::GetNeighbour(question.clone()));
    match netlink.route.get(&mut netlink.out, |answer| read(answer.body)) {
        Ok(found) => Ok(found),
        Err(refusal) if is_absent(&refusal) => Ok(None),
        Err(Refusal { errno: Errno::EOPNOTSUPP, .. }) => {
            Ok(netlink.list(&Rtnl::GetNeighbour(listing), NEW, read)?.into_iter().find(is_it))
        }
        Err(refusal) => Err(refusal),
    }
}

fn removed(netlink: &mut Netlink, message: NeighbourMessage) -> Result<(), Refusal> {
    match netlink.send(0, &Rtnl::DelNeighbour(message)) {
        // It was forgotten meanwhile.
        Err(refusal) if is_absent(&refusal) => Ok(()),
        done => done,
    }
}

/// Nothing was learned: no such entry, no such link any more, no IPv6 in this kernel or on this link.
fn is_absent(refusal: &Refusal) -> bool {
    matches!(refusal.errno, Errno::ENOENT | Errno::ENODEV | Errno::ENXIO | Errno::EAFNOSUPPORT)
}
