//! The founding document's picture: a host with an uplink, and the LAN behind it.

use std::net::IpAddr;

use xennet_core::backend::Backend;
use xennet_core::backend::fake::Fake;
use xennet_core::backend::netlink::Netlink;
use xennet_core::config::networks;
use xennet_core::snapshot::{AddrGenMode, Address, Neighbour, NeighbourKind, Part, Route, Scope, Snapshot, SysctlKey};
use xennet_core::step::{AddrStep, LinkChange, NeighStep, RouteStep, Step, SysctlStep};
use xennet_core::{DevId, DomId, Host, IfName, MacAddr, Network, VifId, exec};
use xennet_tests::steps::{card, name, run, set, up};
use xennet_tests::{Guest, GuestSpec, NetNs, StateDir};

/// The MAC of the host's uplink.
pub(crate) const UPLINK_MAC: MacAddr = MacAddr::new([2, 0, 0, 0, 0x53, 1]);

/// The namespace of the test as dom0, with the uplink `eth0` and nothing else.
pub(crate) struct World {
    /// The LAN behind the uplink: its gateway and everybody else there.
    pub(crate) lan: Guest,
    pub(crate) state: StateDir,
}

impl World {
    pub(crate) fn new() -> Self {
        let mut on = Netlink::open().unwrap();
        set(&mut on, "lo", up());
        let id = VifId::new(DomId::new(100).unwrap(), DevId::FIRST);
        let lan =
            Guest::new(&GuestSpec { id, mac: MacAddr::new([2, 0, 0, 0, 0x53, 0xfe]), addresses: Vec::new() }).unwrap();
        let change =
            LinkChange::default().with_name(name("eth0")).with_mac(UPLINK_MAC).with_addr_gen_mode(AddrGenMode::Eui64);
        set(&mut on, "vif100.0", change);
        set(&mut on, "eth0", up());
        World { lan, state: StateDir::new() }
    }

    pub(crate) fn host(&self) -> Host {
        Host::netlink().unwrap().with_state_dir(exec::StateDir::at(self.state.path()))
    }

    /// Runs in the LAN's namespace.
    pub(crate) fn in_lan<T: Send>(&self, work: impl FnOnce(&mut Netlink) -> T + Send) -> T {
        let namespace: &NetNs = self.lan.namespace();
        namespace.run(|| work(&mut Netlink::open().unwrap())).unwrap()
    }
}

/// The only network of this text.
pub(crate) fn network(text: &str) -> Network {
    let found = networks::parse(text).unwrap_or_else(|e| panic!("{}", e.report()));
    found.iter().next().unwrap().clone()
}

pub(crate) fn address(on: &mut dyn Backend, link: &str, text: &str) {
    let address = Address::new(name(link), text.parse().unwrap()).with_nodad(text.contains(':'));
    run(on, Step::Addr(AddrStep::Add(address)));
}

pub(crate) fn route(on: &mut dyn Backend, to: &str, link: &str, gateway: &str) {
    run(on, Step::Route(RouteStep::Add(via(to, link, gateway))));
}

pub(crate) fn via(to: &str, link: &str, gateway: &str) -> Route {
    let gateway: IpAddr = gateway.parse().unwrap();
    Route::to(to.parse().unwrap(), link.parse::<IfName>().unwrap()).with_gateway(gateway)
}

pub(crate) fn add(on: &mut dyn Backend, route: Route) {
    run(on, Step::Route(RouteStep::Add(route)));
}

pub(crate) fn proxy(on: &mut dyn Backend, link: &str, address: &str) {
    let neighbour = Neighbour::new(name(link), address.parse().unwrap(), NeighbourKind::Proxy);
    run(on, Step::Neigh(NeighStep::Add(neighbour)));
}

pub(crate) fn write(on: &mut dyn Backend, key: &str, value: &str) {
    run(on, Step::Sysctl(SysctlStep { key: key.parse().unwrap(), value: value.into() }));
}

pub(crate) const LAN: &str = "[network.lan]\nmode = \"bridge\"\nuplink = \"eth0\"\nbridge = \"xenbr0\"\n";
pub(crate) const CLASSIC: &str =
    "[network.lan]\nmode = \"bridge\"\nuplink = \"eth0\"\nbridge = \"eth0\"\nuplink_name = \"peth0\"\n";

pub(crate) fn fake() -> Fake {
    let mut fake = Fake::empty();
    set(&mut fake, "lo", up());
    fake.add_hardware(name("eth0"), card(UPLINK_MAC));
    set(&mut fake, "eth0", up());
    fake
}

pub(crate) fn one(on: &mut dyn Backend) {
    address(on, "eth0", "192.168.0.3/24");
    route(on, "0.0.0.0/0", "eth0", "192.168.0.1");
}

fn settings() -> Vec<Part> {
    let conf = |family: &str, name: &str| format!("net/{family}/conf/eth0/{name}");
    let keys = [
        conf("ipv4", "rp_filter"),
        conf("ipv6", "accept_ra"),
        conf("ipv6", "accept_dad"),
        conf("ipv6", "autoconf"),
        conf("ipv4", "proxy_arp"),
        conf("ipv6", "proxy_ndp"),
        "net/ipv4/ip_forward".into(),
        "net/ipv6/conf/all/forwarding".into(),
        "net/ipv4/conf/eth0/forwarding".into(),
    ];
    keys.into_iter().map(|k| Part::Sysctl(k.parse::<SysctlKey>().unwrap())).collect()
}

/// What decides though no fact of the listing says it: which of several comes first.
fn orders(seen: &Snapshot) -> Vec<String> {
    let mut lines = Vec::new();
    for (link, order) in &seen.hidden.address_order {
        // Link-local ones come when they come.
        let of = |v4: bool| order.iter().filter(move |(a, _)| a.is_ipv4() == v4 && !a.to_string().starts_with("fe80"));
        for family in [true, false] {
            let all: Vec<String> = of(family).map(|(a, _)| a.to_string()).collect();
            if all.len() > 1 {
                lines.push(format!("order of {link}: {}\n", all.join(", ")));
            }
        }
    }
    let mut routes: Vec<&Route> = seen.hidden.route_order.iter().collect();
    // Which destination comes first decides nothing.
    routes.sort_by_key(|r| (r.table, r.destination, r.tos, r.metric));
    lines.extend(routes.iter().map(|r| format!("order of routes: {r}\n")));
    lines
}

/// What this domain's own packets towards the outside are sent from: it is the same before, meanwhile and after.
pub(crate) fn sources() -> Vec<String> {
    let outside = ["9.9.9.9", "203.0.113.60", "192.168.0.200", "2a00::1", "2001:db8::200"];
    let from = |to: &&str| -> std::io::Result<IpAddr> {
        let to: IpAddr = to.parse().unwrap();
        let any = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
        // Nothing is sent.
        let socket = std::net::UdpSocket::bind(any)?;
        socket.connect((to, 53))?;
        Ok(socket.local_addr()?.ip())
    };
    let line = |to: &&str| match from(to) {
        Ok(source) => format!("source towards {to}: {source}\n"),
        Err(e) => format!("source towards {to}: none, {}\n", e.kind()),
    };
    outside.iter().map(line).collect()
}

/// The lines of a text that say what this domain sends from.
pub(crate) fn of_sources(text: &str) -> Vec<&str> {
    text.lines().filter(|l| l.starts_with("source towards ")).collect()
}

/// Everything, as text, without what no listing of the kernel tells.
pub(crate) fn all(on: &mut dyn Backend) -> String {
    let scope: Scope = settings().into_iter().chain([Part::Network]).collect();
    let seen = on.observe(&scope).unwrap();
    let mut text = seen.normalised().render();
    text.extend(orders(&seen));
    if on.capabilities().name != "fake" {
        text.extend(sources());
    }
    // The tables of NAT and of the guard stay, without elements: another call may need them next.
    let empty = |table: &&str| {
        let element = format!("nft add element {table} ");
        !text.lines().any(|l| l.starts_with(&element) && !l.contains(" version "))
    };
    let left: Vec<&str> = ["inet xennet", "bridge xennet-guard"].into_iter().filter(empty).collect();
    text.lines().filter(|l| !left.iter().any(|table| l.contains(table))).map(|l| format!("{l}\n")).collect()
}

pub(crate) fn down(on: &mut dyn Backend) {
    set(on, "eth0", LinkChange::default().with_up(false));
}
