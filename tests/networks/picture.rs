//! The founding document's picture: dom0 192.168.0.3, a gateway 192.168.0.1 and a neighbour 192.168.0.5 on one LAN, and guests.

use std::net::IpAddr;

use xennet_core::backend::netlink::Netlink;
use xennet_core::config::networks;
use xennet_core::snapshot::Route;
use xennet_core::step::{LinkChange, LinkStep, NewLink, RouteStep, Step};
use xennet_core::{DevId, DomId, Guests, Host, MacAddr, VifId, exec};
use xennet_tests::steps::{into, name, run, set, up};
use xennet_tests::{Guest, GuestSpec, NetNs, StateDir};

use super::world::{address, write};

/// Both families of somebody's addresses.
pub(crate) type Both = [&'static str; 2];

/// A LAN: a switch in a namespace of its own, and who is connected to it.
pub(crate) struct Lan {
    switch: NetNs,
    pub(crate) gateway: Guest,
    pub(crate) neighbour: Guest,
}

/// A host on the LAN, in a namespace of its own.
pub(crate) struct Dom0 {
    pub(crate) namespace: NetNs,
    pub(crate) host: Host,
    _cable: Guest,
    _state: StateDir,
}

fn id(number: u8) -> VifId {
    VifId::new(DomId::new(u32::from(number)).unwrap(), DevId::FIRST)
}

/// A cable from here to a new namespace, which has its other end as `eth0`.
fn cable(number: u8) -> Guest {
    let mac = MacAddr::new([0, 0x16, 0x3e, 0, 0, number]);
    Guest::new(&GuestSpec { id: id(number), mac, addresses: Vec::new() }).unwrap()
}

fn in_guest(guest: &Guest, work: impl FnOnce(&mut Netlink) + Send) {
    guest.namespace().run(|| work(&mut Netlink::open().unwrap())).unwrap();
}

pub(crate) fn addressed(guest: &Guest, addresses: &[&str]) {
    in_guest(guest, |on| addresses.iter().for_each(|a| address(on, Guest::LINK, a)));
}

/// Adds a route, as an administrator there would.
pub(crate) fn way(guest: &Guest, to: &str, gateway: &str) {
    let gateway: IpAddr = gateway.parse().unwrap();
    let route = Route { gateway: Some(gateway), scope: 0, ..Route::to(to.parse().unwrap(), name(Guest::LINK)) };
    in_guest(guest, |on| run(on, Step::Route(RouteStep::Add(route))));
}

impl Lan {
    pub(crate) fn new() -> Self {
        let switch = NetNs::new().unwrap();
        let plug = |number: u8| {
            let guest = cable(number);
            let mut on = Netlink::open().unwrap();
            set(&mut on, &format!("vif{number}.0"), LinkChange { up: Some(true), ..into("switch") });
            guest
        };
        let (gateway, neighbour) = switch
            .run(|| {
                let mut on = Netlink::open().unwrap();
                // Not to be a station among stations.
                write(&mut on, "net/ipv6/conf/default/disable_ipv6", "1");
                let change = LinkChange { mac: Some(MacAddr::new([2, 0, 0, 0, 0, 1])), ..LinkChange::default() };
                run(&mut on, Step::Link(LinkStep::Create { name: name("switch"), kind: NewLink::Bridge, change }));
                set(&mut on, "switch", up());
                (plug(201), plug(205))
            })
            .unwrap();
        // Who forwards for others asks for neighbours from a link-local address.
        addressed(&gateway, &["192.168.0.1/24", "2001:db8::1/64", "fe80::a1/64"]);
        addressed(&neighbour, &["192.168.0.5/24", "2001:db8::5/64", "fe80::a5/64"]);
        in_guest(&gateway, |on| {
            write(on, "net/ipv4/ip_forward", "1");
            write(on, "net/ipv6/conf/all/forwarding", "1");
            // It tells its stations of the shorter way, which some of them would keep longer than this test.
            write(on, "net/ipv4/conf/all/send_redirects", "0");
            write(on, "net/ipv4/conf/eth0/send_redirects", "0");
        });
        for (to, via) in [("0.0.0.0/0", "192.168.0.1"), ("::/0", "2001:db8::1")] {
            way(&neighbour, to, via);
        }
        Lan { switch, gateway, neighbour }
    }

    /// A host that is connected to the LAN, with these addresses.
    pub(crate) fn dom0(&self, number: u8, [four, six]: Both) -> Dom0 {
        let cable = self.switch.run(|| {
            let cable = cable(number);
            let mut on = Netlink::open().unwrap();
            set(&mut on, &format!("vif{number}.0"), LinkChange { up: Some(true), ..into("switch") });
            cable
        });
        let cable = cable.unwrap();
        let state = StateDir::new();
        let (namespace, host) = cable
            .namespace()
            .run(|| {
                let mut on = Netlink::open().unwrap();
                set(&mut on, "lo", up());
                address(&mut on, Guest::LINK, &format!("{four}/24"));
                address(&mut on, Guest::LINK, &format!("{six}/64"));
                address(&mut on, Guest::LINK, &format!("fe80::{number}/64"));
                let host = Host::netlink().unwrap().with_state_dir(exec::StateDir::at(state.path()));
                (NetNs::current().unwrap(), host)
            })
            .unwrap();
        for (to, via) in [("0.0.0.0/0", "192.168.0.1"), ("::/0", "2001:db8::1")] {
            way(&cable, to, via);
        }
        Dom0 { namespace, host, _cable: cable, _state: state }
    }
}

impl Dom0 {
    /// Runs in its namespace.
    pub(crate) fn run<T: Send>(&mut self, work: impl FnOnce(&mut Host) -> T + Send) -> T {
        let (namespace, host) = (&self.namespace, &mut self.host);
        namespace.run(move || work(host)).unwrap()
    }

    pub(crate) fn start(&mut self, text: &str) {
        let found = networks::parse(text).unwrap_or_else(|e| panic!("{}", e.report()));
        self.run(|host| {
            for network in found.iter() {
                host.start_network(network).unwrap_or_else(|e| panic!("{}", e.report()));
            }
        });
    }

    pub(crate) fn stop(&mut self, network: &str) {
        let network = name(network);
        self.run(|host| {
            host.stop_network(&network, Guests::MustHaveGone).unwrap_or_else(|e| panic!("{}", e.report()));
        });
    }

    /// A guest with a vif that is attached by this line, and these addresses and gateways inside.
    pub(crate) fn guest(&mut self, number: u8, line: &str, addresses: &[&str], gateways: &[&str]) -> Guest {
        let line = format!("mac=00:16:3e:00:00:{number:02x},{line}");
        let guest = self.run(|host| {
            let guest = cable(number);
            let vif = line.parse().unwrap();
            host.attach(id(number).domid, &vif).unwrap_or_else(|e| panic!("{line}: {}", e.report()));
            guest
        });
        addressed(&guest, addresses);
        for gateway in gateways {
            way(&guest, if gateway.contains(':') { "::/0" } else { "0.0.0.0/0" }, gateway);
        }
        guest
    }

    pub(crate) fn end(&mut self, guests: Vec<(u8, Guest)>) {
        for (number, guest) in guests {
            self.run(|host| {
                host.detach(id(number).domid, DevId::FIRST).unwrap_or_else(|e| panic!("{}", e.report()));
            });
            drop(guest);
        }
    }
}
