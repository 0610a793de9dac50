//! MAC and IP addresses: of guests, of this host, and of others.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnetwork::IpNetwork;

use super::finding::{Finding, sh};
use super::seen::{Seen, Vif, are_one_guest};
use super::table::Code;
use super::uplinks::default_route;
use crate::model::vif::is_single;
use crate::model::{IfName, MacAddr};
use crate::snapshot::{Address, Family, Link, LinkKind};

pub(super) fn check(seen: &Seen<'_>, out: &mut Vec<Finding>) {
    macs(seen, out);
    addresses(seen, out);
    own(seen, out);
}

/// Where a guest's frames are seen: its bridge, or, where it is routed, its own link.
fn place(vif: &Vif<'_>) -> Option<IfName> {
    vif.link.and_then(|(name, link)| link.master.or_else(|| vif.is_routed().then_some(*name))).or_else(|| vif.bridge())
}

fn macs(seen: &Seen<'_>, out: &mut Vec<Finding>) {
    let mut of: BTreeMap<(Option<IfName>, MacAddr), Vec<&Vif<'_>>> = BTreeMap::new();
    let mut links: BTreeMap<MacAddr, Vec<(&IfName, &Link)>> = BTreeMap::new();
    for (name, link) in seen.snapshot().links.iter().filter(|(name, _)| !seen.is_of_guest(name)) {
        if let Some(mac) = link.mac {
            links.entry(mac).or_default().push((name, link));
        }
    }
    for vif in &seen.vifs {
        let Some(mac) = vif.mac() else { continue };
        of.entry((place(vif), mac)).or_default().push(vif);
        if mac.is_multicast() || mac.octets() == [0; 6] {
            out.push(
                Finding::new(Code::MacUnusable, vif.id, format!("{} has {mac}", vif.who()))
                    .seen("xennet mac generate --scheme xen24 makes another one"),
            );
            continue;
        }
        for (name, link) in links.get(&mac).into_iter().flatten() {
            // A bridge takes the MAC of a port.
            let is_port_of_it = link.kind == LinkKind::Bridge && vif.link.is_some_and(|(_, l)| l.mac == Some(mac));
            if !is_port_of_it {
                out.push(
                    Finding::new(Code::MacOfHost, vif.id, format!("{} has {mac}, and so has {name}", vif.who()))
                        .seen("xennet mac generate --scheme xen24 makes another one"),
                );
            }
        }
    }
    for ((bridge, mac), vifs) in of {
        if let [first, second, ..] = vifs[..]
            && !are_one_guest(&vifs)
        {
            let on = bridge.map_or(String::new(), |b| format!(" on {b}"));
            let who: Vec<String> = vifs.iter().map(|v| v.who()).collect();
            out.push(
                Finding::new(Code::MacTwice, second.id, format!("{} have {mac}{on}", who.join(" and ")))
                    .seen(format!("{} came first", first.who()))
                    .seen("xennet mac generate --scheme xen24 makes another one"),
            );
        }
    }
    elsewhere(seen, out);
    backend(seen, out);
}

/// Stations that bridges have learned behind another port than the guest's.
fn elsewhere(seen: &Seen<'_>, out: &mut Vec<Finding>) {
    let by_mac: BTreeMap<MacAddr, &Vif<'_>> =
        crate::gather::map(seen.vifs.iter().filter_map(|vif| Some((vif.mac()?, vif))));
    for station in &seen.details().stations {
        let Some(vif) = by_mac.get(&station.mac) else { continue };
        let Some((own, link)) = vif.link else { continue };
        let same_bridge = seen.link(&station.port).is_some_and(|l| l.master.is_some() && l.master == link.master);
        if station.port != *own && same_bridge && !seen.is_of_guest(&station.port) {
            out.push(
                Finding::new(
                    Code::MacElsewhere,
                    vif.id,
                    format!("{} has {}, which was seen behind {}", vif.who(), station.mac, station.port),
                )
                .seen(format!("its own port is {own}"))
                .look(sh!("bridge fdb show br {}", link.master.unwrap_or(*own))),
            );
        }
    }
}

fn backend(seen: &Seen<'_>, out: &mut Vec<Finding>) {
    for vif in &seen.vifs {
        let Some((name, link)) = vif.link else { continue };
        // Of one that we have attached the plan says it.
        let is_strange = link.master.is_some() && link.mac.is_some_and(|mac| mac != MacAddr::BACKEND);
        if is_strange && !vif.has_record() {
            let mac = link.mac.map(|m| m.to_string()).unwrap_or_default();
            out.push(
                Finding::new(
                    Code::BackendMac,
                    vif.id,
                    format!("{name} has {mac}, where vifs have {}", MacAddr::BACKEND),
                )
                .by_command(sh!("ip link set {} address {}", name, MacAddr::BACKEND)),
            );
        }
    }
}

fn addresses(seen: &Seen<'_>, out: &mut Vec<Finding>) {
    let mut of: BTreeMap<IpAddr, Vec<&Vif<'_>>> = BTreeMap::new();
    let own: BTreeMap<IpAddr, &Address> =
        crate::gather::map(seen.snapshot().addresses.iter().map(|a| (a.address.ip(), a)));
    let gateways: Vec<IpAddr> = Family::BOTH
        .iter()
        .filter_map(|family| default_route(seen, *family))
        .flat_map(|r| r.gateways().map(|(gateway, _)| gateway).collect::<Vec<_>>())
        .collect();
    let neighbours: BTreeMap<(IfName, IpAddr), MacAddr> = crate::gather::map(
        seen.details().neighbours.iter().filter_map(|n| Some(((n.link, n.address), n.mac.filter(|_| !n.silent)?))),
    );
    for vif in &seen.vifs {
        let hosts: Vec<IpAddr> = vif.addresses().iter().filter(|n| is_single(n)).map(IpNetwork::ip).collect();
        for address in hosts {
            of.entry(address).or_default().push(vif);
            if let Some(a) = own.get(&address) {
                let cause = format!("{} has {address}, and so has {} of this host", vif.who(), a.link);
                out.push(Finding::new(Code::AddressOfHost, vif.id, cause));
            } else if gateways.contains(&address) {
                let cause = format!("{} has {address}, which is the gateway of the default route", vif.who());
                out.push(Finding::new(Code::AddressOfGateway, vif.id, cause).look("ip route show default"));
            }
            let at = vif.link.map(|(name, link)| link.master.unwrap_or(*name));
            let seen_mac = at.and_then(|link| neighbours.get(&(link, address)));
            if let (Some(seen_mac), Some(mac), Some(link)) = (seen_mac, vif.mac(), at)
                && *seen_mac != mac
            {
                out.push(
                    Finding::new(
                        Code::AddressElsewhere,
                        vif.id,
                        format!("{address} of {} is at {seen_mac}", vif.who()),
                    )
                    .seen(format!("the guest's own MAC is {mac}"))
                    .look(sh!("ip neigh show {} dev {}", address, link)),
                );
            }
            outside(seen, vif, address, out);
        }
    }
    for (address, vifs) in of {
        if let [_, second, ..] = vifs[..]
            && !are_one_guest(&vifs)
            && vifs.iter().any(|v| v.id.domid != second.id.domid || place(v) == place(second))
        {
            let who: Vec<String> = vifs.iter().map(|v| v.who()).collect();
            out.push(Finding::new(Code::AddressTwice, second.id, format!("{} have {address}", who.join(" and "))));
        }
    }
}

/// Whether a guest's address is in its network.
fn outside(seen: &Seen<'_>, vif: &Vif<'_>, address: IpAddr, out: &mut Vec<Finding>) {
    let Some(name) = vif.attach.and_then(|a| a.network) else { return };
    let Some(s) = seen.started().iter().find(|s| s.network.name() == name) else { return };
    let of_family: Vec<String> = s
        .network
        .subnets()
        .iter()
        .filter(|n| Family::of(&n.network().ip()) == Family::of(&address))
        .map(|n| n.network().to_string())
        .collect();
    if !of_family.is_empty() && s.network.subnet_of(address).is_none() {
        out.push(
            Finding::new(Code::AddressOutside, vif.id, format!("{} has {address} in network {name}", vif.who()))
                .seen(format!("its subnets are {}", of_family.join(", "))),
        );
    }
}

/// Addresses of this host that others have.
fn own(seen: &Seen<'_>, out: &mut Vec<Finding>) {
    for a in seen.snapshot().addresses.iter().filter(|a| a.flags & Address::IS_DUPLICATE != 0) {
        out.push(
            Finding::new(
                Code::AddressDuplicate,
                a.link,
                format!("{} of {} is used by another station", a.address, a.link),
            )
            .seen(format!("ip address show {} says dadfailed", a.link)),
        );
    }
}
