//! The founding document's picture: dom0 192.168.0.3, a gateway 192.168.0.1 and a neighbour 192.168.0.5 on one LAN, and guests.

use std::net::IpAddr;

use xennet_core::backend::Backend as _;
use xennet_core::backend::netlink::Netlink;
use xennet_core::config::networks;
use xennet_core::config::networks::Networks;
use xennet_core::snapshot::{NftTableId, Part, Route, Scope};
use xennet_core::step::{LinkChange, LinkStep, NewLink, NftOp, NftTransaction, RouteStep, Step};
use xennet_core::{Budget, DevId, DomId, Guests, Host, IfName, MacAddr, VifId, exec, services};
use xennet_tests::steps::{into, name, run, set, up};
use xennet_tests::{Guest, GuestSpec, NetNs, StateDir};

use crate::world::{address, all, write};

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
    host: Host,
    networks: Networks,
    /// All that was there before the first network.
    before: String,
    cable: Guest,
    state: StateDir,
}

/// A guest, the line that its vif is attached by, and its addresses inside.
pub(crate) struct Inmate {
    pub(crate) number: u8,
    pub(crate) line: String,
    pub(crate) guest: Guest,
}

fn id(number: u8) -> VifId {
    VifId::new(DomId::new(u32::from(number)).unwrap(), DevId::FIRST)
}

/// A cable from here to a new namespace, which has its other end as `eth0`.
fn cable(number: u8) -> Guest {
    let mac = MacAddr::new([0, 0x16, 0x3e, 0, 0, number]);
    Guest::new(&GuestSpec { id: id(number), mac, addresses: Vec::new() }).unwrap()
}

pub(crate) fn in_guest(guest: &Guest, work: impl FnOnce(&mut Netlink) + Send) {
    guest.namespace().run(|| work(&mut Netlink::open().unwrap())).unwrap();
}

/// A host that does not ask whether a source is where its route leads: who else filters is no part of this.
fn unfiltered(on: &mut Netlink) {
    for link in ["all", "default", Guest::LINK] {
        write(on, &format!("net/ipv4/conf/{link}/rp_filter"), "0");
    }
}

/// Whether br_netfilter is loaded, so that bridges can be made to show their frames to the tables of IP.
pub(crate) fn bridge_filter_is_loaded() -> bool {
    std::path::Path::new("/proc/sys/net/bridge").is_dir()
}

/// Switches br_netfilter in this namespace, where it is loaded.
fn bridge_filter(on: &mut Netlink, value: bool) {
    for which in ["iptables", "ip6tables", "arptables"].into_iter().filter(|_| bridge_filter_is_loaded()) {
        write(on, &format!("net/bridge/bridge-nf-call-{which}"), if value { "1" } else { "0" });
    }
}

/// Runs a command in a namespace, as an administrator there would.
pub(crate) fn command(namespace: &NetNs, line: &str) {
    let mut words = line.split_whitespace();
    let mut command = std::process::Command::new(words.next().unwrap());
    let path = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin:/sbin:/bin";
    command.args(words).env("PATH", path).stdin(std::process::Stdio::null());
    let output = namespace.run(|| command.output()).unwrap().unwrap_or_else(|e| panic!("{line}: {e}"));
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
}

pub(crate) fn addressed(guest: &Guest, addresses: &[&str]) {
    in_guest(guest, |on| addresses.iter().for_each(|a| address(on, Guest::LINK, a)));
}

/// Adds a route, as an administrator there would.
pub(crate) fn way(guest: &Guest, to: &str, gateway: &str) {
    let gateway: IpAddr = gateway.parse().unwrap();
    let route = Route::to(to.parse().unwrap(), name(Guest::LINK)).with_gateway(gateway);
    in_guest(guest, |on| run(on, Step::Route(RouteStep::Add(route))));
}

impl Lan {
    pub(crate) fn new() -> Self {
        let switch = NetNs::new().unwrap();
        let plug = |number: u8| {
            let guest = cable(number);
            let mut on = Netlink::open().unwrap();
            set(&mut on, &format!("vif{number}.0"), into("switch").with_up(true));
            guest
        };
        let (gateway, neighbour) = switch
            .run(|| {
                let mut on = Netlink::open().unwrap();
                // Not to be a station among stations.
                write(&mut on, "net/ipv6/conf/default/disable_ipv6", "1");
                bridge_filter(&mut on, false);
                let change = LinkChange::default().with_mac(MacAddr::new([2, 0, 0, 0, 0, 1]));
                run(&mut on, Step::Link(LinkStep::Create { name: name("switch"), kind: NewLink::Bridge, change }));
                set(&mut on, "switch", up());
                (plug(201), plug(205))
            })
            .unwrap();
        // Who forwards for others asks for neighbours from a link-local address.
        addressed(&gateway, &["192.168.0.1/24", "2001:db8::1/64", "fe80::a1/64"]);
        addressed(&neighbour, &["192.168.0.5/24", "2001:db8::5/64", "fe80::a5/64"]);
        in_guest(&neighbour, unfiltered);
        in_guest(&gateway, |on| {
            unfiltered(on);
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
            set(&mut on, &format!("vif{number}.0"), into("switch").with_up(true));
            cable
        });
        let cable = cable.unwrap();
        let state = StateDir::new();
        for (to, via) in [("0.0.0.0/0", "192.168.0.1"), ("::/0", "2001:db8::1")] {
            in_guest(&cable, |on| {
                let address_text = if to == "::/0" { format!("{six}/64") } else { format!("{four}/24") };
                address(on, Guest::LINK, &address_text);
            });
            way(&cable, to, via);
        }
        let (namespace, host, before) = cable
            .namespace()
            .run(|| {
                let mut on = Netlink::open().unwrap();
                set(&mut on, "lo", up());
                unfiltered(&mut on);
                bridge_filter(&mut on, false);
                // Who forwards for others asks for neighbours from such an address, and this one is not tested for duplicates.
                address(&mut on, Guest::LINK, &format!("fe80::{number}/64"));
                let host = Host::netlink().unwrap().with_state_dir(exec::StateDir::at(state.path()));
                (NetNs::current().unwrap(), host, all(&mut on))
            })
            .unwrap();
        Dom0 { namespace, host, networks: Networks::default(), before, cable, state }
    }
}

impl Dom0 {
    /// Runs in its namespace.
    pub(crate) fn run<T: Send>(&mut self, work: impl FnOnce(&mut Host) -> T + Send) -> T {
        let (namespace, host) = (&self.namespace, &mut self.host);
        namespace.run(move || work(host)).unwrap()
    }

    /// Has sources be compared with routes everywhere, as many hosts do.
    pub(crate) fn filter_paths(&mut self) {
        in_guest(&self.cable, |on| {
            for link in ["all", "default", Guest::LINK] {
                write(on, &format!("net/ipv4/conf/{link}/rp_filter"), "1");
            }
        });
        self.before = self.all();
    }

    /// Lets br_netfilter work on its bridges.
    pub(crate) fn filter_at_bridges(&self) {
        in_guest(&self.cable, |on| bridge_filter(on, true));
    }

    /// All that is there.
    pub(crate) fn all(&mut self) -> String {
        self.run(|_| all(&mut Netlink::open().unwrap()))
    }

    /// Starts all networks of a file.
    pub(crate) fn start(&mut self, text: &str) {
        self.networks = networks::parse(text).unwrap_or_else(|e| panic!("{}", e.report()));
        self.put_right(&[]);
        assert_ne!(self.all(), self.before, "there is something to put back");
    }

    /// Takes over what is new in the file of its networks.
    pub(crate) fn change(&mut self, text: &str) {
        self.networks = networks::parse(text).unwrap_or_else(|e| panic!("{}", e.report()));
        self.put_right(&[]);
    }

    /// What its networks lack, as their status tells.
    pub(crate) fn missing(&mut self) -> Vec<String> {
        let networks = self.networks.clone();
        self.run(|host| {
            let mut status = |network| host.network_status(network).unwrap();
            let all: Vec<_> = networks.iter().map(&mut status).collect();
            assert!(all.iter().all(|s| s.started), "{all:?}");
            all.into_iter().flat_map(|s| s.missing).collect()
        })
    }

    /// What has to be done elsewhere for a network.
    pub(crate) fn elsewhere(&mut self, network: &str) -> Vec<String> {
        let network = self.networks.get(network).unwrap().clone();
        self.run(|host| host.network_status(&network).unwrap().elsewhere)
    }

    /// A guest whose vif is attached by this line, and which has nothing inside yet.
    pub(crate) fn guest(&mut self, number: u8, line: &str) -> Inmate {
        let guest = self.run(|_| cable(number));
        let inmate = Inmate { number, line: format!("mac=00:16:3e:00:00:{number:02x},{line}"), guest };
        self.attach(&inmate);
        inmate
    }

    /// As the hotplug call does.
    pub(crate) fn attach(&mut self, inmate: &Inmate) {
        let Inmate { number, line, .. } = inmate;
        let vif = line.parse().unwrap();
        self.run(|host| {
            host.attach(id(*number).domid, &vif).unwrap_or_else(|e| panic!("{line}: {}", e.report()));
        });
    }

    /// Takes the rules out of a table's chain that all else leads to, as if they had never been written.
    pub(crate) fn without_rules(&mut self, table: NftTableId, chain: &str) {
        let flush = NftTransaction::new(table, vec![NftOp::FlushChain { chain: chain.into() }]);
        self.run(|_| run(&mut Netlink::open().unwrap(), Step::Nft(flush)));
    }

    /// Has sources of a guest's link not be compared with its routes.
    pub(crate) fn without_path_filter(&mut self, number: u8) {
        let key = format!("net/ipv4/conf/vif{number}.0/rp_filter");
        self.run(|_| write(&mut Netlink::open().unwrap(), &key, "0"));
    }

    /// What an administrator does who finds that something is missing.
    pub(crate) fn put_right(&mut self, inmates: &[Inmate]) {
        let networks = self.networks.clone();
        self.run(|host| {
            for network in networks.iter() {
                host.start_network(network).unwrap_or_else(|e| panic!("{}", e.report()));
            }
        });
        inmates.iter().for_each(|inmate| self.attach(inmate));
        assert_eq!(self.missing(), [""; 0]);
    }

    /// All guests go, and all networks stop, the last one first; then everything is as it was before.
    pub(crate) fn end(self, inmates: Vec<Inmate>) {
        let mut names = self.networks.names();
        names.reverse();
        self.end_in_order(inmates, &names, Guests::MustHaveGone);
    }

    /// The same with the first one first, through which others lead: by force.
    pub(crate) fn end_first_first(self, inmates: Vec<Inmate>) {
        let names = self.networks.names();
        self.end_in_order(inmates, &names, Guests::AreCutOff);
    }

    fn end_in_order(mut self, inmates: Vec<Inmate>, names: &[IfName], guests: Guests) {
        for Inmate { number, guest, .. } in inmates {
            self.run(|host| {
                host.detach(id(number).domid, DevId::FIRST).unwrap_or_else(|e| panic!("{}", e.report()));
            });
            drop(guest);
            self.run(|_| gone(&format!("vif{number}.0")));
        }
        for name in names {
            self.run(|host| {
                host.stop_network(name, guests).unwrap_or_else(|e| panic!("{}", e.report()));
            });
        }
        let now = self.all();
        similar(&now, &self.before);
    }
}

impl Drop for Dom0 {
    fn drop(&mut self) {
        for name in self.networks.names() {
            // Of a test that has failed, whose programs would stay. It has said why.
            let _ = services::stop(&exec::StateDir::at(self.state.path()), &name, Budget::unlimited());
        }
    }
}

/// Waits until a link has gone with its namespace, which the kernel does when it has time.
fn gone(link: &str) {
    let end = std::time::Instant::now() + std::time::Duration::from_secs(20);
    let mut on = Netlink::open().unwrap();
    let part = Scope::none().with(Part::Link(name(link)));
    while on.observe(&part).unwrap().links.contains_key(&name(link)) {
        assert!(std::time::Instant::now() < end, "{link} stays");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
}

/// The same, or else what differs.
fn similar(now: &str, before: &str) {
    let only =
        |a: &str, b: &str| a.lines().filter(|l| !b.lines().any(|m| m == *l)).map(str::to_owned).collect::<Vec<_>>();
    assert!(now == before, "not as before; new: {:#?}\ngone: {:#?}", only(now, before), only(before, now));
}

/// Adds an inmate's addresses and gateways.
impl Inmate {
    pub(crate) fn configure(self, addresses: &[String], gateways: &[&str]) -> Self {
        let texts: Vec<&str> = addresses.iter().map(String::as_str).collect();
        addressed(&self.guest, &texts);
        for gateway in gateways {
            way(&self.guest, if gateway.contains(':') { "::/0" } else { "0.0.0.0/0" }, gateway);
        }
        self
    }

    pub(crate) fn namespace(&self) -> &NetNs {
        self.guest.namespace()
    }
}
