//! What the cases are written with: a backend, and words for steps.

use std::net::Ipv4Addr;

use xennet_core::backend::Backend;
use xennet_core::snapshot::{
    Address, FdbEntry, FdbKind, Link, Neighbour, NeighbourKind, Part, Route, Scope, Snapshot, SysctlKey,
};
use xennet_core::step::{
    AddrStep, LinkChange, LinkRef, LinkStep, NeighStep, NewLink, NewMaster, PortStep, RouteStep, Step, SysctlStep,
};
use xennet_core::{Errno, IfName, MacAddr};

/// A name.
pub(crate) fn name(text: &str) -> IfName {
    text.parse().expect("cases use valid names")
}

/// A link by its name.
pub(crate) fn at(text: &str) -> LinkRef {
    LinkRef::named(name(text))
}

/// `02:00:00:00:00:xx`.
pub(crate) fn mac(last: u8) -> MacAddr {
    MacAddr::new([2, 0, 0, 0, 0, last])
}

/// An address as `ip address add` makes it.
pub(crate) fn address(link: &str, text: &str) -> Address {
    Address { nodad: text.contains(':'), ..Address::new(name(link), text.parse().expect("cases use valid addresses")) }
}

/// A route through a link.
pub(crate) fn route(to: &str, link: &str) -> Route {
    Route::to(to.parse().expect("cases use valid networks"), name(link))
}

/// A route through a gateway.
pub(crate) fn via(to: &str, gateway: &str, link: &str) -> Route {
    let gateway = gateway.parse().expect("cases use valid addresses");
    Route { gateway: Some(gateway), scope: 0, ..route(to, link) }
}

/// Up.
pub(crate) fn up() -> LinkChange {
    LinkChange { up: Some(true), ..LinkChange::default() }
}

/// A master.
pub(crate) fn under(bridge: &str) -> LinkChange {
    LinkChange { master: Some(NewMaster::Bridge(at(bridge))), ..LinkChange::default() }
}

/// A change of a link.
pub(crate) fn set(link: &str, change: LinkChange) -> Step {
    Step::Link(LinkStep::Set { link: at(link), change })
}

/// A new bridge with an address that it keeps.
pub(crate) fn bridge(link: &str, last: u8) -> Step {
    let change = LinkChange { mac: Some(mac(last)), ..LinkChange::default() };
    Step::Link(LinkStep::Create { name: name(link), kind: NewLink::Bridge, change })
}

/// A new bridge that follows its ports.
pub(crate) fn following_bridge(link: &str) -> Step {
    Step::Link(LinkStep::Create { name: name(link), kind: NewLink::Bridge, change: LinkChange::default() })
}

/// A new cable `link` - `link` with `p` behind it.
pub(crate) fn cable(link: &str, last: u8) -> Step {
    let change = LinkChange { mac: Some(mac(last)), ..LinkChange::default() };
    let kind = NewLink::Veth { peer: name(&format!("{link}p")) };
    Step::Link(LinkStep::Create { name: name(link), kind, change })
}

/// A link goes.
pub(crate) fn delete(link: &str) -> Step {
    Step::Link(LinkStep::Delete { link: at(link) })
}

/// An address comes.
pub(crate) fn add(address: Address) -> Step {
    Step::Addr(AddrStep::Add(address))
}

/// An address goes.
pub(crate) fn del(address: Address) -> Step {
    Step::Addr(AddrStep::Del(address))
}

/// A route comes.
pub(crate) fn add_route(route: Route) -> Step {
    Step::Route(RouteStep::Add(route))
}

/// A route takes another one's place.
pub(crate) fn replace_route(route: Route) -> Step {
    Step::Route(RouteStep::Replace(route))
}

/// A permanent or proxy neighbour.
pub(crate) fn neighbour(link: &str, address: &str, kind: NeighbourKind) -> Neighbour {
    Neighbour { link: name(link), address: address.parse().expect("cases use valid addresses"), kind }
}

/// A neighbour comes.
pub(crate) fn add_neighbour(n: Neighbour) -> Step {
    Step::Neigh(NeighStep::Add(n))
}

/// A static forwarding entry.
pub(crate) fn station(port: &str, last: u8) -> FdbEntry {
    FdbEntry { link: name(port), mac: mac(last), vlan: None, kind: FdbKind::Static }
}

/// A forwarding entry comes.
pub(crate) fn add_station(entry: FdbEntry) -> Step {
    Step::Port(PortStep::FdbAdd { entry })
}

/// A kernel setting.
pub(crate) fn write(key: &str, value: &str) -> Step {
    Step::Sysctl(SysctlStep { key: key.parse().expect("cases use valid paths"), value: value.into() })
}

/// A backend under test: steps that must succeed, steps that must be refused, and what is there.
pub(crate) struct Bench<'a>(pub(crate) &'a mut dyn Backend);

impl Bench<'_> {
    /// All of the steps succeed.
    pub(crate) fn ok(&mut self, steps: impl IntoIterator<Item = Step>) {
        for step in steps {
            if let Err(e) = self.0.apply(&step) {
                panic!("{e}: {}", serde_json::to_string(&step).expect("steps are data"));
            }
        }
    }

    /// The step is refused with this number.
    pub(crate) fn refused(&mut self, step: Step, with: Errno) {
        let answer = self.0.apply(&step).map_err(|e| e.errno);
        assert_eq!(answer, Err(with), "{}", serde_json::to_string(&step).expect("steps are data"));
    }

    /// The network.
    pub(crate) fn see(&mut self) -> Snapshot {
        self.0.observe(&Scope::network()).expect("the network can be observed")
    }

    /// One link.
    pub(crate) fn link(&mut self, link: &str) -> Link {
        let seen = self.0.observe(&Scope::none().with(Part::Link(name(link)))).expect("a link can be observed");
        seen.links.get(link).unwrap_or_else(|| panic!("{link} is missing")).clone()
    }

    /// Whether a link is there.
    pub(crate) fn has(&mut self, link: &str) -> bool {
        self.see().links.contains_key(link)
    }

    /// A kernel setting.
    pub(crate) fn setting(&mut self, key: &str) -> Option<String> {
        let key: SysctlKey = key.parse().expect("cases use valid paths");
        let seen = self.0.observe(&Scope::none().with(Part::Sysctl(key.clone()))).expect("a setting can be read");
        seen.sysctls.get(&key).map(str::to_owned)
    }

    /// The routes of the main table that are not about loopback, as text.
    pub(crate) fn routes(&mut self) -> Vec<String> {
        self.see().routes.iter().map(ToString::to_string).collect()
    }

    /// The addresses of a link, as text.
    pub(crate) fn addresses(&mut self, link: &str) -> Vec<String> {
        self.see().addresses_of(&name(link)).map(ToString::to_string).collect()
    }

    /// An uplink `eth0` (a cable) with `192.0.2.2/24`, up, and the default route.
    pub(crate) fn uplink(&mut self) {
        self.ok([
            cable("eth0", 0x10),
            set("eth0", up()),
            add(address("eth0", "192.0.2.2/24")),
            add_route(via("0.0.0.0/0", "192.0.2.1", "eth0")),
        ]);
    }
}

/// `192.0.2.255`.
pub(crate) const BROADCAST: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 255);
