//! The gate's elements of a link, or of a network, whose guests reach a part of this domain only, or not the LAN.

use ipnetwork::IpNetwork;

use super::table::{Item, noted};
use crate::model::{HostServices, IfName, ResolvedNetwork};
use crate::snapshot::{NftKey, NftValue};
use crate::tables::limits::{ASKING, ASKING_DHCP, ASKING_DNS, LAN, LAN_HOSTS, LIMITED};

/// What a link has to have whose guests reach these services of this domain only.
pub(super) fn to_host(link: IfName, host: HostServices) -> impl Iterator<Item = Item> {
    let HostServices { icmp, dhcp, dns } = host;
    let sets = [(LIMITED, true), (ASKING, icmp), (ASKING_DHCP, dhcp), (ASKING_DNS, dns)];
    sets.into_iter().filter(|(_, has)| *has).map(move |(set, _)| Item::exact(set, &[NftValue::Name(link)]))
}

/// What a network has to have: of its private bridge, and of the LAN that its guests do not reach.
pub(super) fn of_network(started: &ResolvedNetwork) -> Vec<Item> {
    let network = &started.network;
    let mut items = Vec::new();
    if let (Some(bridge), Some(host)) = (network.bridge(), network.host_services()) {
        items.extend(to_host(bridge.name(), host));
    }
    items.extend(network.bridge().and_then(|bridge| noted(bridge.name(), network.log())));
    if !network.lan().is_open() {
        items.extend(to_lan(started, &started.lan));
    }
    items
}

/// What a network had of a LAN whose networks were others.
pub(super) fn former(started: &ResolvedNetwork) -> impl Iterator<Item = Item> {
    to_lan(started, &started.former_lan)
}

/// That a network's guests do not reach these networks of the LAN.
fn to_lan(started: &ResolvedNetwork, lan: &[IpNetwork]) -> impl Iterator<Item = Item> {
    let subnets: Vec<IpNetwork> = started.network.subnets().iter().map(|s| s.network()).collect();
    let all = started.outside.into_iter().flat_map(move |egress| lan.iter().map(move |lan| (egress, *lan)));
    all.flat_map(move |(egress, lan)| {
        let of_family = subnets.iter().filter(move |s| s.is_ipv6() == lan.is_ipv6());
        of_family.map(|s| closed(egress, *s, lan)).collect::<Vec<_>>()
    })
}

fn closed(egress: IfName, guests: IpNetwork, lan: IpNetwork) -> Item {
    let ends = [guests, lan].map(NftKey::network);
    let with_egress = |of: fn(&NftKey) -> &[NftValue]| {
        [NftValue::Name(egress)].into_iter().chain(ends.iter().flat_map(|end| of(end).to_vec())).collect::<Vec<_>>()
    };
    let first = with_egress(|end| &end.first);
    let last = with_egress(|end| end.last.as_deref().unwrap_or(&end.first));
    let last = (first != last).then_some(last);
    // nft misprints an element of a set of ranges that is no range.
    let sets = if last.is_some() { LAN } else { LAN_HOSTS };
    Item { set: sets[usize::from(lan.is_ipv6())], key: NftKey { first, last }, data: None }
}
