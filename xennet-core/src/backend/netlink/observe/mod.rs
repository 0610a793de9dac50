//! Looking: one part of a scope after the other, each by the narrowest question that the kernel answers.

mod address;
pub(super) mod details;
pub(super) mod ip;
pub(super) mod link;
pub(super) mod neighbour;
mod route;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnetwork::IpNetwork;
use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::RouteNetlinkMessage as Rtnl;
use rtnetlink::packet_route::address::AddressMessage;
use rtnetlink::packet_route::link::{LinkAttribute, LinkExtentMask, LinkMessage};
use rtnetlink::packet_route::neighbour::{NeighbourAttribute, NeighbourFlags, NeighbourMessage};
use rtnetlink::packet_route::route::{RouteAttribute, RouteFlags, RouteMessage};
use rtnetlink::packet_route::rule::RuleMessage;
use rustix::net::netdevice;

use super::Netlink;
use super::needs::{self, Feature};
use super::nft::FlagsAndChain;
use super::refusal::Refusal;
use super::sysctl;
use super::wire::{self, Message};
use crate::backend::BackendError;
use crate::error::Errno;
use crate::model::IfName;
use crate::snapshot::{
    Neighbour, NeighbourKind, NftChain, NftKey, NftRule, NftTable, NftTableId, Part, PortVlan, Route, RouteKind, Scope,
    Snapshot, VethPeer,
};

const IP: [AddressFamily; 2] = [AddressFamily::Inet, AddressFamily::Inet6];

/// Which link is asked for.
#[derive(Clone, Copy)]
pub(super) enum Which {
    Name(IfName),
    Index(u32),
}

/// Whether a link can have this number: from 1 (`include/linux/netdevice.h`: a signed number, 0 for none).
pub(super) fn is_number(index: u32) -> bool {
    index > 0 && i32::try_from(index).is_ok()
}

/// A question about one link, without the counters that nobody here reads.
pub(super) fn link_question(which: Which) -> Rtnl {
    let mut question = LinkMessage::default();
    match which {
        Which::Name(name) => question.attributes.push(LinkAttribute::IfName(name.as_str().to_owned())),
        Which::Index(index) => question.header.index = index,
    }
    question.attributes.push(LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats]));
    Rtnl::GetLink(question)
}

/// Nothing there, in the words of the several parts of the kernel: no such link, no such table, no IPv6 in this kernel.
fn absent(refusal: &Refusal) -> bool {
    matches!(refusal.errno, Errno::ENODEV | Errno::ENOENT | Errno::ENXIO | Errno::EAFNOSUPPORT)
}

/// What the kernel says to a question for a way where there is none, or one that leads nowhere.
const NO_WAY: [Errno; 4] = [Errno::ENETUNREACH, Errno::EHOSTUNREACH, Errno::EACCES, Errno::EINVAL];

/// What is absent is an empty list; so is what this kernel was built without (policy rules, VLANs of bridges).
fn or_none<T>(found: Result<Vec<T>, Refusal>) -> Result<Vec<T>, Refusal> {
    match found {
        Err(refusal) if absent(&refusal) || refusal.errno == Errno::EOPNOTSUPP => Ok(Vec::new()),
        found => found,
    }
}

/// A kernel without nftables has no tables: no netfilter over netlink, or none of this kind (`nfnetlink_rcv_msg` says
/// `EINVAL` to that, and there is nothing else about the questions that it could mean).
fn or_no_table<T: Default>(found: Result<T, BackendError>) -> Result<T, BackendError> {
    match found {
        Err(e) if matches!(e.errno, Errno::EPROTONOSUPPORT | Errno::EOPNOTSUPP | Errno::EINVAL) => Ok(T::default()),
        found => found,
    }
}

/// Names of links by their numbers, as far as they are known; the rest is asked for (`SIOCGIFNAME`, less than a
/// microsecond; by number the kernel looks for no module). `None` for a link that is gone by now.
pub(super) struct Names(BTreeMap<u32, IfName>);

impl Names {
    fn of(&mut self, kernel: &impl std::os::fd::AsFd, index: u32) -> Option<IfName> {
        if let Some(name) = self.0.get(&index) {
            return Some(*name);
        }
        let found = netdevice::index_to_name_inlined(kernel, index).ok()?;
        let name = link::name(found.as_bytes(), index);
        self.0.insert(index, name);
        Some(name)
    }
}

/// One observation under way.
pub(super) struct Observer<'a> {
    netlink: &'a mut Netlink,
    world: Snapshot,
    names: Names,
    /// How often the chains of these tables are used, where many were asked for at once.
    uses: BTreeMap<NftTableId, BTreeMap<String, u32>>,
    /// The chain of which rules were asked for last.
    chain: Option<(NftTableId, String, FlagsAndChain)>,
}

/// From how many chains of one table on a listing of those of its family costs less than a question about each. One takes 2.5 µs, a chain
/// of a listing 0.25 µs.
const MANY_CHAINS: usize = 8;

impl Netlink {
    /// The number of a link; `None` if there is none.
    ///
    /// Never by `SIOCGIFINDEX`: for a name that is not there the kernel runs `modprobe` twice then (`dev_load`), which takes
    /// longer than a whole call, and loads a module of that name.
    pub(super) fn index_of(&mut self, name: &IfName) -> Result<Option<u32>, Refusal> {
        Ok(self.fetch_link(Which::Name(*name))?.map(|told| told.link.index))
    }

    /// One link; `None` if there is none. The kernel also finds a link by one of its alternative names (`ip link
    /// property add`); it answers with the link's name.
    pub(super) fn fetch_link(&mut self, which: Which) -> Result<Option<link::Told>, Refusal> {
        if matches!(which, Which::Index(index) if !is_number(index)) {
            return Ok(None);
        }
        wire::encode(&mut self.out, 0, &link_question(which));
        match self.route.get(&mut self.out, |answer| link::read(answer.body)) {
            Ok(Some(told)) => Ok(Some(told)),
            Ok(None) => Err(Refusal::new(Errno::EIO).with_message("the kernel's answer about the link cannot be read")),
            Err(refusal) if absent(&refusal) => Ok(None),
            Err(refusal) => Err(refusal),
        }
    }

    /// The VLANs of one port, or of all with 0. Linux 5.6; packet-route has no type for it.
    fn list_vlans(&mut self, index: u32) -> Result<Vec<(u32, BTreeSet<PortVlan>)>, Refusal> {
        let mut header = [0; neighbour::VLAN_HEADER];
        header[0] = neighbour::AF_BRIDGE;
        header[4..].copy_from_slice(&index.to_ne_bytes());
        wire::encode_raw(&mut self.out, neighbour::GET_VLAN, &header);
        self.route.dump(&mut self.out, |message| {
            if message.kind == neighbour::NEW_VLAN { neighbour::read_vlans(message.body) } else { None }
        })
    }

    /// A listing: the objects that come in messages of this kind.
    pub(super) fn list<T>(
        &mut self,
        question: &Rtnl,
        kind: u16,
        mut read: impl FnMut(&[u8]) -> Option<T>,
    ) -> Result<Vec<T>, Refusal> {
        wire::encode(&mut self.out, 0, question);
        self.route.dump(
            &mut self.out,
            |message: &Message<'_>| {
                if message.kind == kind { read(message.body) } else { None }
            },
        )
    }
}

/// Looks at everything that `scope` names.
pub(super) fn observe(netlink: &mut Netlink, scope: &Scope) -> Result<Snapshot, BackendError> {
    let (world, names) = (Snapshot::empty(scope.clone()), Names(BTreeMap::new()));
    let mut observer = Observer { netlink, world, names, uses: BTreeMap::new(), chain: None };
    // The parts come sorted, links first: what follows finds most names known.
    for part in scope.parts() {
        observer.part(part)?;
    }
    Ok(observer.world)
}

impl Observer<'_> {
    /// How often a chain is used; `None` if there is none.
    fn uses_of(&mut self, id: &NftTableId, chain: &str) -> Result<Option<u32>, BackendError> {
        if !self.uses.contains_key(id) {
            let asked = |part: &&Part| matches!(part, Part::NftUse(of, _) if of == id);
            if self.world.scope.parts().filter(asked).count() < MANY_CHAINS {
                return or_no_table(self.netlink.nft().and_then(|nft| nft.observe_use(id, chain)));
            }
            let uses = or_no_table(self.netlink.nft().and_then(|nft| nft.observe_uses(id)))?;
            self.uses.insert(id.clone(), uses);
        }
        Ok(self.uses.get(id).and_then(|uses| uses.get(chain)).copied())
    }

    fn part(&mut self, part: &Part) -> Result<(), BackendError> {
        match part {
            Part::Network => {
                self.part(&Part::Routing)?;
                let tables = self.netlink.nft().and_then(|nft| nft.observe_own());
                self.world.nft.extend(or_no_table(tables)?);
                Ok(())
            }
            Part::Routing => {
                self.links().map_err(|e| e.about("links"))?;
                self.addresses(0).map_err(|e| e.about("addresses"))?;
                self.routes(RouteFilter::All).map_err(|e| e.about("routes"))?;
                self.rules().map_err(|e| e.about("rules"))?;
                self.neighbours(0).map_err(|e| e.about("neighbours"))?;
                self.fdb(0).map_err(|e| e.about("forwarding entries"))?;
                self.vlans(0).map_err(|e| e.about("port VLANs"))
            }
            Part::Links => self.links().map_err(|e| e.about("links")),
            Part::Link(name) => self.link(Which::Name(*name)).map_err(|e| e.about(name.as_str())),
            Part::Made(_) => Ok(()),
            Part::LinkIndex(index) => self.link(Which::Index(*index)).map_err(|e| e.about(format!("link {index}"))),
            Part::Addresses(name) => self.of_link(name, Self::addresses),
            Part::Routes(name) => self.of_link(name, |this, index| this.routes(RouteFilter::Link(index))),
            Part::Route(destination) => {
                self.routes(RouteFilter::Main(*destination)).map_err(|e| e.about(format!("routes to {destination}")))
            }
            Part::RouteThrough(name, destination) => {
                self.of_link(name, |this, index| this.route_through(index, *destination))
            }
            Part::Way(address) => self.way(*address).map_err(|e| e.about(format!("the way to {address}"))),
            Part::Via(name, network) => self.of_link(name, |this, index| this.via(index, name, network)),
            Part::Neighbours(name) => self.of_link(name, Self::neighbours),
            Part::Proxy(name, address) => {
                let only = |n: &Neighbour| n.address == *address && n.kind == NeighbourKind::Proxy;
                self.of_link(name, |this, index| this.some_neighbours(index, &[NeighbourFlags::Proxy], only))
            }
            Part::Fdb(name) => self.of_link(name, Self::fdb),
            Part::PortVlans(name) => self.of_link(name, Self::vlans),
            Part::Rules => self.rules().map_err(|e| e.about("rules")),
            Part::Sysctl(key) => {
                sysctl::check(self.netlink.namespace.as_ref()).map_err(|e| e.about(sysctl::path(key)))?;
                if let Some(value) = sysctl::read(key)? {
                    self.world.sysctls.insert(key, value);
                }
                Ok(())
            }
            Part::Nft(id) => {
                let table = self.netlink.nft().and_then(|nft| nft.observe(id));
                if let Some(table) = or_no_table(table)? {
                    self.world.nft.insert(id.clone(), table);
                }
                Ok(())
            }
            Part::NftFrame(id) => {
                let frame = self.netlink.nft().and_then(|nft| nft.observe_frame(id));
                if let Some(frame) = or_no_table(frame)? {
                    self.world.nft.entry(id.clone()).or_default().merge(frame);
                }
                Ok(())
            }
            Part::NftFlags(id) => {
                let flags = self.netlink.nft().and_then(|nft| nft.observe_flags(id));
                if let Some(flags) = or_no_table(flags)? {
                    self.world.nft.entry(id.clone()).or_default().flags |= flags;
                }
                Ok(())
            }
            Part::NftUse(id, chain) => match self.uses_of(id, chain)? {
                Some(uses) => {
                    self.world.nft.entry(id.clone()).or_default().uses.insert(chain.to_string(), uses);
                    Ok(())
                }
                None => self.note_table(id),
            },
            Part::NftElement(id, set, key) => self.element(id, set, key),
            Part::NftRule(id, chain, rule) => self.rule(id, chain, rule),
            Part::NftOthersAt(family, hook) => {
                if !self.netlink.may_have_tables() {
                    return Ok(());
                }
                let chains = self.netlink.nft().and_then(|nft| nft.observe_others_at(*family, *hook));
                for (id, chain, base) in or_no_table(chains)? {
                    let chain = (chain, NftChain { base: Some(base), rules: Vec::new() });
                    self.world.nft.entry(id).or_default().chains.extend([chain]);
                }
                Ok(())
            }
            Part::Store(path) | Part::StoreTree(path) => {
                Err(BackendError::new(Errno::EOPNOTSUPP, path.as_str()).with_message("this backend has no xenstore"))
            }
        }
    }

    fn element(&mut self, id: &NftTableId, set: &str, key: &NftKey) -> Result<(), BackendError> {
        // Frames come before elements: where the table was looked at, it is known what its sets are, or that it is not there.
        let framed = self.world.scope.contains(&Part::NftFrame(id.clone()));
        let known = self.world.nft.get(id).and_then(|table| table.sets.get(set));
        if framed && known.is_none() {
            return Ok(());
        }
        // To ask would load the module. Where it is not loaded there is no table.
        if !self.netlink.may_have_tables() {
            return Ok(());
        }
        let there = self.world.nft.contains_key(id);
        let found = self.netlink.nft()?.observe_element(id, set, key, known, there);
        match or_no_table(found)? {
            Some(only) => {
                self.world.nft.entry(id.clone()).or_default().merge_set(set.to_owned(), only);
                Ok(())
            }
            None if framed => Ok(()),
            None => self.note_table(id),
        }
    }

    /// One rule of a chain, which is read once for all of its rules that are asked for.
    fn rule(&mut self, id: &NftTableId, chain: &str, rule: &NftRule) -> Result<(), BackendError> {
        let is_read = |(of, name, _): &(NftTableId, String, FlagsAndChain)| of == id && name == chain;
        if !self.chain.as_ref().is_some_and(is_read) {
            // To ask would load the module. Where it is not loaded there is no table.
            if !self.netlink.may_have_tables() {
                return Ok(());
            }
            let found = or_no_table(self.netlink.nft().and_then(|nft| nft.observe_chain(id, chain)))?;
            self.chain = Some((id.clone(), chain.to_owned(), found));
        }
        if let Some((_, _, Some((flags, found)))) = &self.chain {
            self.world.see_rule((id, chain, rule), *flags, found.as_ref());
        }
        Ok(())
    }

    /// Notes whether there is a table of which nothing else was found.
    fn note_table(&mut self, id: &NftTableId) -> Result<(), BackendError> {
        if !self.world.nft.contains_key(id)
            && let Some(flags) = or_no_table(self.netlink.nft()?.observe_flags(id))?
        {
            self.world.nft.insert(id.clone(), NftTable { flags, ..NftTable::default() });
        }
        Ok(())
    }

    /// Something of one link, if the link exists.
    fn of_link(
        &mut self,
        name: &IfName,
        look: impl FnOnce(&mut Self, u32) -> Result<(), Refusal>,
    ) -> Result<(), BackendError> {
        let known = self.world.links.get(name).map(|link| link.index);
        let index = match known {
            Some(index) => Some(index),
            None => self.netlink.index_of(name).map_err(|e| e.about(name.as_str()))?,
        };
        match index {
            Some(index) => {
                self.names.0.insert(index, *name);
                look(self, index).map_err(|e| e.about(name.as_str()))
            }
            None => Ok(()),
        }
    }

    fn link(&mut self, which: Which) -> Result<(), Refusal> {
        let known = match which {
            Which::Name(name) => self.world.links.contains_key(&name),
            Which::Index(index) => self.world.link_by_index(index).is_some(),
        };
        if known {
            return Ok(());
        }
        if let Some(told) = self.netlink.fetch_link(which)? {
            self.add(told);
        }
        Ok(())
    }

    fn links(&mut self) -> Result<(), Refusal> {
        let mut question = LinkMessage::default();
        question.attributes.push(LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats]));
        let all = self.netlink.list(&Rtnl::GetLink(question), link::NEW, link::read)?;
        self.names.0.extend(all.iter().map(|told| (told.link.index, told.name)));
        for told in all {
            self.add(told);
        }
        Ok(())
    }

    /// Numbers become names.
    fn add(&mut self, told: link::Told) {
        let link::Told { name, mut link, master, peer } = told;
        self.names.0.insert(link.index, name);
        link.master = master.and_then(|index| self.names.of(&self.netlink.route, index));
        link.peer = match peer {
            Some(Some(index)) => self.names.of(&self.netlink.route, index).map(VethPeer::Here),
            Some(None) => Some(VethPeer::Elsewhere),
            None => None,
        };
        self.world.links.insert(name, link);
    }

    /// Asks for a listing whose objects name links by their numbers.
    fn list<T>(
        &mut self,
        question: &Rtnl,
        kind: u16,
        mut read: impl FnMut(&[u8], &mut dyn FnMut(u32) -> Option<IfName>) -> Option<T>,
    ) -> Result<Vec<T>, Refusal> {
        let kernel = self.netlink.route.descriptor();
        let names = &mut self.names;
        or_none(self.netlink.list(question, kind, |body| read(body, &mut |index| names.of(&*kernel, index))))
    }

    /// The addresses of one link, or of all with 0.
    fn addresses(&mut self, index: u32) -> Result<(), Refusal> {
        let mut question = AddressMessage::default();
        question.header.index = index;
        let found = self.list(&Rtnl::GetAddress(question), address::NEW, |body, name| address::read(body, name))?;
        // The order of the listing is the kernel's own; where there are several it decides what becomes of them.
        let mut order: BTreeMap<IfName, Vec<_>> = BTreeMap::new();
        for a in &found {
            order.entry(a.link).or_default().push((a.address, a.peer));
        }
        let several = |addresses: &[(IpNetwork, _)]| {
            let four = addresses.iter().filter(|(a, _)| a.is_ipv4()).count();
            four > 1 || addresses.len() - four > 1
        };
        self.world.hidden.address_order.extend(order.into_iter().filter(|(_, addresses)| several(addresses)));
        self.world.addresses.extend(found);
        Ok(())
    }

    fn routes(&mut self, filter: RouteFilter) -> Result<(), Refusal> {
        for family in IP {
            let mut question = RouteMessage::default();
            question.header.address_family = family;
            match filter {
                RouteFilter::All => {}
                RouteFilter::Link(index) => question.attributes.push(RouteAttribute::Oif(index)),
                RouteFilter::Main(destination) => {
                    if (family == AddressFamily::Inet) != destination.is_ipv4() {
                        continue;
                    }
                    question.attributes.push(RouteAttribute::Table(Route::MAIN));
                }
            }
            let mut found = self.list(&Rtnl::GetRoute(question), route::NEW, |body, name| route::read(body, name))?;
            if let RouteFilter::Main(destination) = filter {
                // The kernel filters listings by table, link, kind and protocol, not by destination.
                found.retain(|route| {
                    route.destination.prefix() == destination.prefix()
                        && route.destination.network() == destination.network()
                });
            }
            // As with addresses: of those that share a place the first counts.
            let place = |r: &Route| (r.table, r.destination, r.tos, r.metric);
            let mut places: Vec<_> = found.iter().map(place).collect();
            places.sort_unstable();
            let shares = |r: &&Route| places.get(places.partition_point(|p| *p < place(r)) + 1) == Some(&place(r));
            let order: Vec<Route> = found.iter().filter(|r| r.destination.is_ipv4()).filter(shares).cloned().collect();
            for route in order {
                if !self.world.hidden.route_order.contains(&route) {
                    self.world.hidden.route_order.push(route);
                }
            }
            self.world.routes.extend(found);
        }
        Ok(())
    }

    /// The route to exactly this through one link: the entry that the kernel finds for its first address, if it is that.
    fn route_through(&mut self, index: u32, destination: IpNetwork) -> Result<(), Refusal> {
        let found = self.lookup(destination.ip(), Some(index))?.and_then(|answer| self.route(&answer));
        // A kernel without policy rules has its own entries in the same table.
        let same = |r: &Route| r.destination == destination && r.table == Route::MAIN && r.kind == RouteKind::Unicast;
        let through = |r: &Route| r.link.is_some_and(|l| self.names.0.get(&index) == Some(&l));
        self.world.routes.extend(found.filter(|r| same(r) && through(r)));
        Ok(())
    }

    /// The route that packets of this domain's own take.
    fn way(&mut self, address: IpAddr) -> Result<(), Refusal> {
        let Some(answer) = self.lookup(address, None)? else { return Ok(()) };
        let found = if route::is_own(&answer) { Some(Route::own(address)) } else { self.route(&answer) };
        let usable = |r: &Route| matches!(r.kind, RouteKind::Local | RouteKind::Unicast);
        self.world.routes.extend(found.filter(usable));
        Ok(())
    }

    /// The routes through one link whose gateway lies in this network. The kernel filters by link, not by gateway.
    fn via(&mut self, index: u32, link: &IfName, network: &IpNetwork) -> Result<(), Refusal> {
        let mut question = RouteMessage::default();
        question.header.address_family = if network.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
        question.attributes.push(RouteAttribute::Oif(index));
        let found = self.list(&Rtnl::GetRoute(question), route::NEW, |body, name| {
            route::read(body, name).filter(|route| route.leads_via(link, network))
        })?;
        self.world.routes.extend(found);
        Ok(())
    }

    fn route(&mut self, body: &[u8]) -> Option<Route> {
        let kernel = self.netlink.route.descriptor();
        let names = &mut self.names;
        route::read(body, |index| names.of(&*kernel, index))
    }

    /// The entry that the kernel finds for an address, through one link or any; `None` if there is none.
    fn lookup(&mut self, address: IpAddr, through: Option<u32>) -> Result<Option<Vec<u8>>, Refusal> {
        let mut question = RouteMessage::default();
        (question.header.address_family, question.header.destination_prefix_length) =
            if address.is_ipv4() { (AddressFamily::Inet, 32) } else { (AddressFamily::Inet6, 128) };
        question.header.flags = RouteFlags::from_bits_retain(route::FIB_MATCH);
        question.attributes.push(RouteAttribute::Destination(address.into()));
        question.attributes.extend(through.map(RouteAttribute::Oif));
        wire::encode(&mut self.netlink.out, 0, &Rtnl::GetRoute(question));
        let netlink = &mut *self.netlink;
        match netlink.route.get(&mut netlink.out, |answer| answer.body.to_vec()) {
            Ok(answer) => Ok(Some(answer)),
            // Nothing leads there, or the link is down.
            Err(refusal) if absent(&refusal) || NO_WAY.contains(&refusal.errno) => Ok(None),
            Err(refusal) => Err(refusal),
        }
    }

    fn rules(&mut self) -> Result<(), Refusal> {
        for family in IP {
            let mut question = RuleMessage::default();
            question.header.family = family;
            let found = self.list(&Rtnl::GetRule(question), route::NEW_RULE, |body, _| route::read_rule(body))?;
            self.world.rules.extend(found);
        }
        Ok(())
    }

    /// The permanent and proxy neighbours of one link, or of all with 0. Proxies are a listing of their own.
    fn neighbours(&mut self, index: u32) -> Result<(), Refusal> {
        self.some_neighbours(index, &[NeighbourFlags::empty(), NeighbourFlags::Proxy], |_| true)
    }

    fn some_neighbours(
        &mut self,
        index: u32,
        kinds: &[NeighbourFlags],
        wanted: impl Fn(&Neighbour) -> bool,
    ) -> Result<(), Refusal> {
        for flags in kinds {
            let mut question = NeighbourMessage::default();
            question.header.flags = *flags;
            if index != 0 {
                question.attributes.push(NeighbourAttribute::IfIndex(index));
            }
            let found =
                self.list(&Rtnl::GetNeighbour(question), neighbour::NEW, |body, name| neighbour::read(body, name))?;
            self.world.neighbours.extend(found.into_iter().filter(|n| wanted(n)));
        }
        Ok(())
    }

    /// The static forwarding entries of one port or bridge, or of all with 0.
    fn fdb(&mut self, index: u32) -> Result<(), Refusal> {
        let mut question = NeighbourMessage::default();
        question.header.family = AddressFamily::Bridge;
        question.header.ifindex = index;
        let found =
            self.list(&Rtnl::GetNeighbour(question), neighbour::NEW, |body, name| neighbour::read_fdb(body, name))?;
        self.world.fdb.extend(found);
        Ok(())
    }

    /// The VLANs of one port or bridge, or of all with 0. A kernel whose bridges know no VLANs has none to tell, and of a
    /// link that is neither bridge nor port it says `EINVAL` (`br_vlan_dump_dev`), which here can mean nothing else.
    fn vlans(&mut self, index: u32) -> Result<(), Refusal> {
        let found = match self.netlink.list_vlans(index) {
            Err(refusal) if index != 0 && refusal.errno == Errno::EINVAL => Ok(Vec::new()),
            // It may know VLANs all the same, and have no way to tell them.
            Err(refusal) if index != 0 && refusal.errno == Errno::EOPNOTSUPP => {
                let explained = Feature::PortVlans.explain(refusal, &needs::release());
                if explained.too_old { Err(explained) } else { Ok(Vec::new()) }
            }
            found => or_none(found),
        }?;
        let kernel = self.netlink.route.descriptor();
        for (index, vlans) in found {
            if let Some(name) = self.names.of(&*kernel, index) {
                self.world.port_vlans.entry(name).or_default().extend(vlans);
            }
        }
        Ok(())
    }
}

/// Which routes are asked for.
#[derive(Clone, Copy)]
enum RouteFilter {
    All,
    Link(u32),
    Main(IpNetwork),
}
