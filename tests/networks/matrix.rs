//! Who reaches whom in each mode and family, by which way, and whom the other end sees: the matrix, expected and seen.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use xennet_tests::talk::{heard, listen, seen};
use xennet_tests::{Guest, NetNs, in_netns};

use super::picture::{Both, Dom0, Lan, addressed, way};

/// Long enough for a machine with much else to do; what arrives, arrives at once.
const LONG: Duration = Duration::from_secs(20);
/// Long enough for what must not arrive, where something that may has just done so.
const SHORT: Duration = Duration::from_millis(500);

/// The lines of the table, and whether one is wrong.
#[derive(Default)]
struct Table {
    lines: Vec<String>,
    wrong: usize,
}

/// How it is tried.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A connection: both directions work.
    Tcp,
    /// A datagram: one direction is enough.
    Udp,
}

/// One end of a path: its name, where it is, and its address.
type End<'a> = (&'a str, &'a NetNs, IpAddr);

impl Table {
    fn row(
        &mut self,
        mode: &str,
        kind: Kind,
        from: End<'_>,
        to: End<'_>,
        port: Option<(IpAddr, u16)>,
        expected: Option<IpAddr>,
    ) {
        let patience = if expected.is_some() { LONG } else { SHORT };
        let found = match kind {
            Kind::Udp => heard(from.1, to.1, to.2, patience),
            Kind::Tcp => {
                let listener = listen(to.1, to.2, if port.is_some() { 80 } else { 7000 });
                let target = port.map_or(SocketAddr::new(to.2, 7000), |(address, port)| SocketAddr::new(address, port));
                seen(from.1, target, &listener, patience)
            }
        };
        let said = |seen: Option<IpAddr>| seen.map_or("nothing".to_owned(), |ip| format!("from {ip}"));
        let family = if to.2.is_ipv4() { "IPv4" } else { "IPv6" };
        let word = if kind == Kind::Tcp { "TCP" } else { "UDP, one way" };
        let by = port.map_or(String::new(), |(address, port)| format!(" by {address} port {port}"));
        let path = format!("{} to {}{by}", from.0, to.0);
        let right = found == expected;
        self.wrong += usize::from(!right);
        let mark = if right { "" } else { "   <<< WRONG" };
        self.lines.push(format!(
            "{mode:<26} {family} {word:<12} {path:<52} {:<24} {}{mark}",
            said(expected),
            said(found)
        ));
    }

    fn end(self) {
        println!("{:<26} {:<4} {:<12} {:<52} {:<24} seen", "mode", "", "", "path", "expected");
        self.lines.iter().for_each(|l| println!("{l}"));
        println!("{} paths, {} wrong", self.lines.len(), self.wrong);
        assert_eq!(self.wrong, 0);
    }
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// Everybody's addresses in one family.
struct Names<'a> {
    gateway: End<'a>,
    neighbour: End<'a>,
    dom0: End<'a>,
    guest: End<'a>,
    other: End<'a>,
}

fn names<'a>(family: usize, lan: &'a Lan, dom0: &'a NetNs, guests: &'a [Guest; 2], addresses: [Both; 2]) -> Names<'a> {
    let one = |texts: Both| ip(texts[family]);
    Names {
        gateway: ("gateway", lan.gateway.namespace(), one(["192.168.0.1", "2001:db8::1"])),
        neighbour: ("neighbour", lan.neighbour.namespace(), one(["192.168.0.5", "2001:db8::5"])),
        dom0: ("dom0", dom0, one(["192.168.0.3", "2001:db8::3"])),
        guest: ("guest", guests[0].namespace(), one(addresses[0])),
        other: ("other guest", guests[1].namespace(), one(addresses[1])),
    }
}

const DOM0: Both = ["192.168.0.3", "2001:db8::3"];

/// A host on a LAN of its own, with a network from this file and two guests.
fn picture(text: &str, lines: [&str; 2], inside: [&[&str]; 2], gateways: &[&str]) -> (Lan, Dom0, [Guest; 2]) {
    let lan = Lan::new();
    let mut dom0 = lan.dom0(203, DOM0);
    dom0.start(text);
    let guests = [11, 12].map(|number: u8| {
        let at = usize::from(number - 11);
        dom0.guest(number, lines[at], inside[at], gateways)
    });
    (lan, dom0, guests)
}

fn finish(mut dom0: Dom0, guests: [Guest; 2], network: &str) {
    dom0.end([11, 12].into_iter().zip(guests).collect());
    dom0.stop(network);
}

fn bridge(table: &mut Table) {
    let text = "[network.lan]\nmode = \"bridge\"\nuplink = \"eth0\"\nbridge = \"xenbr0\"\n";
    let addresses: [Both; 2] = [["192.168.0.6", "2001:db8::6"], ["192.168.0.7", "2001:db8::7"]];
    let lines = ["bridge=xenbr0,ip=192.168.0.6 2001:db8::6", "bridge=lan,ip=192.168.0.7 2001:db8::7"];
    let inside: [&[&str]; 2] = [&["192.168.0.6/24", "2001:db8::6/64"], &["192.168.0.7/24", "2001:db8::7/64"]];
    let (lan, dom0, guests) = picture(text, lines, inside, &["192.168.0.1", "2001:db8::1"]);
    for family in [0, 1] {
        let n = names(family, &lan, &dom0.namespace, &guests, addresses);
        for (from, to) in [
            (n.guest, n.gateway),
            (n.guest, n.neighbour),
            (n.guest, n.dom0),
            (n.guest, n.other),
            (n.neighbour, n.guest),
            (n.gateway, n.guest),
            (n.dom0, n.guest),
            (n.dom0, n.gateway),
        ] {
            table.row("bridge", Kind::Tcp, from, to, None, Some(from.2));
        }
    }
    finish(dom0, guests, "lan");
}

const FORWARDS: &str = "forward = [\n  { protocol = \"tcp\", ports = \"8080\", to = \"10.0.0.11\", to_port = 80 },\n  \
                        { protocol = \"tcp\", ports = \"8080-8081\", to = \"fd00:1::11\", to_port = 80 },\n]\n";

fn nat(table: &mut Table, mode: &str, more: &str, gateway6: &'static str, length6: &str) {
    let text =
        format!("[network.private]\nmode = \"nat\"\nsubnets = [\"10.0.0.0/24\", \"fd00:1::/64\"]\n{more}{FORWARDS}");
    let addresses: [Both; 2] = [["10.0.0.11", "fd00:1::11"], ["10.0.0.12", "fd00:1::12"]];
    let lines = ["bridge=private,ip=10.0.0.11 fd00:1::11", "bridge=private,ip=10.0.0.12 fd00:1::12"];
    let six = [11, 12].map(|n| format!("fd00:1::{n}/{length6}"));
    let inside: [&[&str]; 2] = [&["10.0.0.11/24", &six[0]], &["10.0.0.12/24", &six[1]]];
    let (lan, dom0, guests) = picture(&text, lines, inside, &["10.0.0.254", gateway6]);
    for family in [0, 1] {
        let n = names(family, &lan, &dom0.namespace, &guests, addresses);
        let (ours, private) = (n.dom0.2, mode != "NAT, a vif a guest");
        // dom0's address stands for the guest's, outside and only there.
        table.row(mode, Kind::Tcp, n.guest, n.gateway, None, Some(ours));
        table.row(mode, Kind::Tcp, n.guest, n.neighbour, None, Some(ours));
        table.row(mode, Kind::Udp, n.guest, n.neighbour, None, Some(ours));
        table.row(mode, Kind::Tcp, n.guest, n.dom0, None, Some(n.guest.2));
        table.row(mode, Kind::Tcp, n.guest, n.other, None, Some(n.guest.2));
        let inner = if family == 0 { ip("10.0.0.254") } else { ip("fd00:1::1") };
        table.row(mode, Kind::Tcp, n.dom0, n.guest, None, Some(inner));
        // What is handed on, from outside, from dom0, from a guest.
        let by = Some((ours, 8080));
        table.row(mode, Kind::Tcp, n.neighbour, n.guest, by, Some(n.neighbour.2));
        table.row(mode, Kind::Tcp, n.gateway, n.guest, by, Some(n.gateway.2));
        table.row(mode, Kind::Tcp, n.dom0, n.guest, by, Some(ours));
        table.row(mode, Kind::Tcp, n.other, n.guest, by, Some(if private { inner } else { n.other.2 }));
        // Hidden is hidden, also from who knows the way; beside it a way that works.
        let to = ["10.0.0.0/24", "fd00:1::/64"][family];
        way(&lan.neighbour, to, &ours.to_string());
        table.row(mode, Kind::Tcp, n.neighbour, n.guest, None, None);
        table.row(mode, Kind::Udp, n.neighbour, n.guest, None, None);
        table.row(mode, Kind::Tcp, n.neighbour, n.guest, by, Some(n.neighbour.2));
    }
    finish(dom0, guests, "private");
}

fn routed(table: &mut Table) {
    let text =
        "[network.dmz]\nmode = \"routed\"\nsubnets = [\"10.0.0.0/24\", \"2001:db8:7::/64\"]\nuplink = \"eth0\"\n";
    let addresses: [Both; 2] = [["10.0.0.11", "2001:db8:7::11"], ["10.0.0.12", "2001:db8:7::12"]];
    let lines = ["bridge=dmz,ip=10.0.0.11 2001:db8:7::11", "script=vif-route,ip=10.0.0.12 2001:db8:7::12"];
    let inside: [&[&str]; 2] = [&["10.0.0.11/24", "2001:db8:7::11/128"], &["10.0.0.12/24", "2001:db8:7::12/128"]];
    let (lan, mut dom0, guests) = picture(text, lines, inside, &["10.0.0.254", "fe80::1"]);
    let status = dom0.run(|host| {
        let dmz = xennet_core::config::networks::parse(text).unwrap();
        host.network_status(dmz.get("dmz").unwrap()).unwrap().elsewhere
    });
    for family in [0, 1] {
        let n = names(family, &lan, &dom0.namespace, &guests, addresses);
        let without = "routed, no route outside";
        table.row(without, Kind::Udp, n.guest, n.neighbour, None, Some(n.guest.2));
        table.row(without, Kind::Tcp, n.guest, n.neighbour, None, None);
        table.row(without, Kind::Tcp, n.gateway, n.guest, None, None);
        // The command that the status shows, on the gateway outside.
        let words: Vec<&str> = status[family].split_whitespace().collect();
        let ["ip", "route", "add", to, "via", via] = words[..] else { panic!("{status:?}") };
        assert_eq!(via, DOM0[family]);
        way(&lan.gateway, to, via);
        for (from, to) in [
            (n.guest, n.gateway),
            (n.guest, n.neighbour),
            (n.guest, n.other),
            (n.neighbour, n.guest),
            (n.gateway, n.guest),
        ] {
            table.row("routed", Kind::Tcp, from, to, None, Some(from.2));
        }
        table.row("routed", Kind::Tcp, n.guest, n.dom0, None, Some(n.guest.2));
        table.row("routed", Kind::Tcp, n.dom0, n.guest, None, Some(n.dom0.2));
    }
    finish(dom0, guests, "dmz");
}

/// Guests with addresses of the LAN's own network: dom0 answers for them, and nobody needs a route.
fn answered(table: &mut Table) {
    let text = "[network.dmz]\nmode = \"routed\"\nsubnets = [\"192.168.0.64/26\", \"2001:db8::64:0/112\"]\nuplink = \"eth0\"\n\
                proxy_arp = true\nproxy_ndp = true\n";
    let addresses: [Both; 2] = [["192.168.0.66", "2001:db8::64:66"], ["192.168.0.67", "2001:db8::64:67"]];
    let lines = ["bridge=dmz,ip=192.168.0.66 2001:db8::64:66", "bridge=dmz,ip=192.168.0.67 2001:db8::64:67"];
    let inside: [&[&str]; 2] =
        [&["192.168.0.66/26", "2001:db8::64:66/128"], &["192.168.0.67/26", "2001:db8::64:67/128"]];
    let (lan, dom0, guests) = picture(text, lines, inside, &["192.168.0.126", "fe80::1"]);
    for family in [0, 1] {
        let n = names(family, &lan, &dom0.namespace, &guests, addresses);
        for (from, to) in [(n.guest, n.neighbour), (n.neighbour, n.guest), (n.gateway, n.other), (n.other, n.gateway)] {
            table.row("routed, dom0 answers", Kind::Tcp, from, to, None, Some(from.2));
        }
    }
    finish(dom0, guests, "dmz");
}

#[test]
fn who_reaches_whom_in_each_mode() {
    in_netns("matrix::who_reaches_whom_in_each_mode", || {
        let mut table = Table::default();
        bridge(&mut table);
        nat(&mut table, "NAT, a vif a guest", "", "fe80::1", "128");
        nat(&mut table, "NAT, a private bridge", "bridge = \"natbr0\"\n", "fd00:1::1", "64");
        routed(&mut table);
        answered(&mut table);
        table.end();
    });
}

/// Two hosts on one LAN, with the same file, and guests with the same addresses behind each.
#[test]
fn two_hosts_with_the_same_file_do_not_disturb_each_other() {
    in_netns("matrix::two_hosts_with_the_same_file_do_not_disturb_each_other", || {
        let lan = Lan::new();
        let text = "[network.private]\nmode = \"nat\"\nsubnets = [\"10.0.0.0/24\"]\n\n\
                            [network.lan]\nmode = \"bridge\"\nbridge = \"xenbr0\"\n";
        let mut hosts = [lan.dom0(203, DOM0), lan.dom0(204, ["192.168.0.4", "2001:db8::4"])];
        let guests = [0, 1].map(|at: usize| {
            hosts[at].start(text);
            hosts[at].guest(11, "bridge=private,ip=10.0.0.11", &["10.0.0.11/24"], &["10.0.0.254"])
        });
        let neighbour = lan.neighbour.namespace();
        let listener = listen(neighbour, ip("192.168.0.5"), 7000);
        let to = "192.168.0.5:7000".parse().unwrap();
        for (guest, host) in guests.iter().zip(["192.168.0.3", "192.168.0.4"]) {
            assert_eq!(seen(guest.namespace(), to, &listener, LONG), Some(ip(host)));
        }
        // The one stops, the other goes on.
        let [first, second] = guests;
        let [a, b] = &mut hosts;
        a.end(vec![(11, first)]);
        a.stop("private");
        a.stop("lan");
        assert_eq!(seen(second.namespace(), to, &listener, LONG), Some(ip("192.168.0.4")));
        b.end(vec![(11, second)]);
        addressed(&lan.neighbour, &["192.168.0.55/24"]);
    });
}
