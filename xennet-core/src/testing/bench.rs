//! What the cases are written with: a backend, and words for steps.

use std::net::Ipv4Addr;

use crate::backend::Backend;
use crate::error::Errno;
use crate::model::{IfName, MacAddr};
use crate::snapshot::{
    Address, FdbEntry, FdbKind, Link, Neighbour, NeighbourKind, Part, Route, Scope, Snapshot, SysctlKey,
};
use crate::step::{
    AddrStep, LinkChange, LinkRef, LinkStep, NeighStep, NewLink, NewMaster, PortStep, RouteStep, Step, SysctlStep,
};

/// A name.
pub(super) fn name(text: &str) -> IfName {
    text.parse().expect("cases use valid names")
}

/// A link by its name.
pub(super) fn at(text: &str) -> LinkRef {
    LinkRef::named(name(text))
}

/// `02:00:00:00:00:xx`.
pub(super) fn mac(last: u8) -> MacAddr {
    MacAddr::new([2, 0, 0, 0, 0, last])
}

/// An address as `ip address add` makes it.
pub(super) fn address(link: &str, text: &str) -> Address {
    Address { nodad: text.contains(':'), ..Address::new(name(link), text.parse().expect("cases use valid addresses")) }
}

/// A route through a link.
pub(super) fn route(to: &str, link: &str) -> Route {
    Route::to(to.parse().expect("cases use valid networks"), name(link))
}

/// A route through a gateway.
pub(super) fn via(to: &str, gateway: &str, link: &str) -> Route {
    let gateway = gateway.parse().expect("cases use valid addresses");
    Route { gateway: Some(gateway), scope: 0, ..route(to, link) }
}

/// Up.
pub(super) fn up() -> LinkChange {
    LinkChange { up: Some(true), ..LinkChange::default() }
}

/// A master.
pub(super) fn under(bridge: &str) -> LinkChange {
    LinkChange { master: Some(NewMaster::Bridge(at(bridge))), ..LinkChange::default() }
}

/// A change of a link.
pub(super) fn set(link: &str, change: LinkChange) -> Step {
    Step::Link(LinkStep::Set { link: at(link), change })
}

/// A new bridge with an address that it keeps.
pub(super) fn bridge(link: &str, last: u8) -> Step {
    let change = LinkChange { mac: Some(mac(last)), ..LinkChange::default() };
    Step::Link(LinkStep::Create { name: name(link), kind: NewLink::Bridge, change })
}

/// A new bridge that follows its ports.
pub(super) fn following_bridge(link: &str) -> Step {
    Step::Link(LinkStep::Create { name: name(link), kind: NewLink::Bridge, change: LinkChange::default() })
}

/// A new cable `link` - `link` with `p` behind it.
pub(super) fn cable(link: &str, last: u8) -> Step {
    let change = LinkChange { mac: Some(mac(last)), ..LinkChange::default() };
    let kind = NewLink::Veth { peer: name(&format!("{link}p")) };
    Step::Link(LinkStep::Create { name: name(link), kind, change })
}

/// A link goes.
pub(super) fn delete(link: &str) -> Step {
    Step::Link(LinkStep::Delete { link: at(link) })
}

/// An address comes.
pub(super) fn add(address: Address) -> Step {
    Step::Addr(AddrStep::Add(address))
}

/// An address goes.
pub(super) fn del(address: Address) -> Step {
    Step::Addr(AddrStep::Del(address))
}

/// A route comes.
pub(super) fn add_route(route: Route) -> Step {
    Step::Route(RouteStep::Add(route))
}

/// A route takes another one's place.
pub(super) fn replace_route(route: Route) -> Step {
    Step::Route(RouteStep::Replace(route))
}

/// A permanent or proxy neighbour.
pub(super) fn neighbour(link: &str, address: &str, kind: NeighbourKind) -> Neighbour {
    Neighbour { link: name(link), address: address.parse().expect("cases use valid addresses"), kind }
}

/// A neighbour comes.
pub(super) fn add_neighbour(n: Neighbour) -> Step {
    Step::Neigh(NeighStep::Add(n))
}

/// A static forwarding entry.
pub(super) fn station(port: &str, last: u8) -> FdbEntry {
    FdbEntry { link: name(port), mac: mac(last), vlan: None, kind: FdbKind::Static }
}

/// A forwarding entry comes.
pub(super) fn add_station(entry: FdbEntry) -> Step {
    Step::Port(PortStep::FdbAdd { entry })
}

/// A kernel setting.
pub(super) fn write(key: &str, value: &str) -> Step {
    Step::Sysctl(SysctlStep { key: key.parse().expect("cases use valid paths"), value: value.into() })
}

/// `192.0.2.255`.
pub(super) const BROADCAST: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 255);

/// What is wrong, in words.
pub(super) type Outcome<T = ()> = Result<T, String>;

/// Both are the same, or the case has failed.
macro_rules! same {
    ($left:expr, $right:expr $(, $why:literal)? $(,)?) => {
        match (&$left, &$right) {
            (left, right) if *left == *right => {}
            (left, right) => {
                let why: &[&str] = &[$($why)?];
                let why = why.iter().map(|why| format!(": {why}")).collect::<String>();
                return Err(format!("{} is {left:?}, not {right:?}{why}", stringify!($left)));
            }
        }
    };
}
pub(super) use same;

/// It holds, or the case has failed.
macro_rules! holds {
    ($what:expr $(, $($why:tt)+)?) => {
        if !$what {
            let why: &[String] = &[$(format!($($why)+))?];
            let why = why.iter().map(|why| format!(": {why}")).collect::<String>();
            return Err(format!("{} does not hold{why}", stringify!($what)));
        }
    };
}
pub(super) use holds;

/// A backend under test: steps that must succeed, steps that must be refused, and what is there.
pub(super) struct Bench<'a>(pub(super) &'a mut dyn Backend);

impl Bench<'_> {
    /// All of the steps succeed.
    pub(super) fn ok(&mut self, steps: impl IntoIterator<Item = Step>) -> Outcome {
        for step in steps {
            self.0.apply(&step).map_err(|e| format!("{} is refused: {e}", said(&step)))?;
        }
        Ok(())
    }

    /// The step is refused with this number.
    pub(super) fn refused(&mut self, step: Step, with: Errno) -> Outcome {
        match self.0.apply(&step) {
            Err(e) if e.errno == with => Ok(()),
            Err(e) => Err(format!("{} is refused with {}, not with {with}", said(&step), e.errno)),
            Ok(()) => Err(format!("{} succeeds; it is to be refused with {with}", said(&step))),
        }
    }

    /// What is in a scope.
    pub(super) fn look(&mut self, scope: &Scope) -> Outcome<Snapshot> {
        self.0.observe(scope).map_err(|e| format!("the look fails: {e}"))
    }

    /// The network.
    pub(super) fn see(&mut self) -> Outcome<Snapshot> {
        self.look(&Scope::network())
    }

    /// One link.
    pub(super) fn link(&mut self, link: &str) -> Outcome<Link> {
        let seen = self.look(&Scope::none().with(Part::Link(name(link))))?;
        seen.links.get(link).cloned().ok_or_else(|| format!("{link} is missing"))
    }

    /// Whether a link is there.
    pub(super) fn has(&mut self, link: &str) -> Outcome<bool> {
        Ok(self.see()?.links.contains_key(link))
    }

    /// A kernel setting.
    pub(super) fn setting(&mut self, key: &str) -> Outcome<Option<String>> {
        let key: SysctlKey = key.parse().expect("cases use valid paths");
        let seen = self.look(&Scope::none().with(Part::Sysctl(key.clone())))?;
        Ok(seen.sysctls.get(&key).map(str::to_owned))
    }

    /// The routes of the main table that are not about loopback, as text.
    pub(super) fn routes(&mut self) -> Outcome<Vec<String>> {
        Ok(self.see()?.routes.iter().map(ToString::to_string).collect())
    }

    /// The addresses of a link, as text.
    pub(super) fn addresses(&mut self, link: &str) -> Outcome<Vec<String>> {
        Ok(self.see()?.addresses_of(&name(link)).map(ToString::to_string).collect())
    }

    /// An uplink `eth0` (a cable) with `192.0.2.2/24`, up, and the default route.
    pub(super) fn uplink(&mut self) -> Outcome {
        self.ok([
            cable("eth0", 0x10),
            set("eth0", up()),
            add(address("eth0", "192.0.2.2/24")),
            add_route(via("0.0.0.0/0", "192.0.2.1", "eth0")),
        ])
    }
}

fn said(step: &Step) -> String {
    serde_json::to_string(step).expect("steps are data")
}
