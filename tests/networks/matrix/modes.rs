//! The modes: for each the picture, and who is expected to reach whom.

use std::net::IpAddr;

use xennet_core::snapshot::NftTableId;

use super::picture::{Both, Dom0, Inmate, Lan, addressed, bridge_filter_is_loaded, command, way};
use super::probe::{Expected, Kind};
use super::table::{End, Row, Table};
use super::{DOM0, ip};
use Expected::{Answered, Arrives, Nothing, Unanswered};

pub(super) fn all(table: &mut Table) {
    bridge(table);
    nat(table, &PER_VIF);
    nat(table, &PRIVATE);
    if bridge_filter_is_loaded() {
        nat(table, &Nat { mode: "NAT, a private bridge, br_netfilter", filtered: true, ..PRIVATE });
    }
    routed(table);
    answered(table);
}

const FAMILIES: [usize; 2] = [0, 1];
const INMATES: [u8; 2] = [11, 12];

/// A LAN, a host on it with networks, and two guests.
struct Picture {
    lan: Lan,
    dom0: Dom0,
    guests: [Inmate; 2],
    addresses: [Both; 2],
}

impl Picture {
    fn new(
        text: &str,
        lines: [&str; 2],
        addresses: [Both; 2],
        lengths: [u8; 2],
        gateways: Both,
        filtered: bool,
    ) -> Self {
        let lan = Lan::new();
        let mut dom0 = lan.dom0(203, DOM0);
        if filtered {
            dom0.filter_at_bridges();
        }
        dom0.start(text);
        let guests = [0, 1].map(|at: usize| {
            let line = format!("{},ip={}", lines[at], addresses[at].join(" "));
            let inside: Vec<String> = FAMILIES.map(|f| format!("{}/{}", addresses[at][f], lengths[f])).into();
            dom0.guest(INMATES[at], &line).configure(&inside, &gateways)
        });
        assert_eq!(dom0.missing(), [""; 0]);
        Picture { lan, dom0, guests, addresses }
    }

    fn ends(&self, family: usize) -> Ends<'_> {
        let end = |name, namespace, texts: Both| End { name, namespace, ip: ip(texts[family]) };
        Ends {
            gateway: end("gateway", self.lan.gateway.namespace(), ["192.168.0.1", "2001:db8::1"]),
            neighbour: end("neighbour", self.lan.neighbour.namespace(), ["192.168.0.5", "2001:db8::5"]),
            dom0: end("dom0", &self.dom0.namespace, DOM0),
            guest: end("guest", self.guests[0].namespace(), self.addresses[0]),
            other: end("other guest", self.guests[1].namespace(), self.addresses[1]),
        }
    }

    fn end(self) {
        self.dom0.end(self.guests.into());
    }
}

/// Everybody in one family.
struct Ends<'a> {
    gateway: End<'a>,
    neighbour: End<'a>,
    dom0: End<'a>,
    guest: End<'a>,
    other: End<'a>,
}

/// What a guest sends from addresses that are not its own. With the rules nothing of it arrives; without the rules all does, from
/// the second ones of these addresses.
fn forged(table: &mut Table, mode: &str, picture: &mut Picture, sources: &[(Both, Both)], rules: &[NftTableId]) {
    let guest = picture.guests[0].number;
    for (forged, length) in sources.iter().flat_map(|(forged, _)| [(forged[0], 32), (forged[1], 128)]) {
        addressed(&picture.guests[0].guest, &[&format!("{forged}/{length}")]);
    }
    let mut tried = |picture: &Picture, mode: &str, expected: fn(IpAddr) -> Expected| {
        let mut rows = Vec::new();
        for family in FAMILIES {
            let n = picture.ends(family);
            let row = |(forged, seen): &(Both, Both)| {
                Row::forged(n.guest, ip(forged[family]), n.gateway, expected(ip(seen[family])))
            };
            rows.extend(sources.iter().map(row));
        }
        table.at_once(mode, &rows);
    };
    // For IPv4 the kernel compares as well. Here the rules have to do it alone.
    picture.dom0.without_path_filter(guest);
    tried(picture, mode, |_| Nothing);
    for id in rules {
        picture.dom0.without_rules(id.clone(), "prerouting");
        // What is not a hidden guest's address does not leave either.
        if *id == NftTableId::gate() && mode.starts_with("NAT") {
            picture.dom0.without_rules(id.clone(), "forward");
        }
    }
    tried(picture, &format!("{mode}, without rules"), Arrives);
    picture.dom0.put_right(&picture.guests);
    tried(picture, &format!("{mode}, rules are back"), |_| Nothing);
}

/// A guest whose addresses nobody has declared is hidden where it uses one of the network's, and is not heard else.
fn from_elsewhere(table: &mut Table, mode: &str, picture: &mut Picture, foreign: Both) {
    let rows = FAMILIES.map(|family| {
        let n = picture.ends(family);
        Row::forged(n.guest, ip(foreign[family]), n.gateway, Nothing)
    });
    table.at_once(&format!("{mode}, undeclared"), &rows);
    picture.dom0.put_right(&picture.guests);
}

fn bridge(table: &mut Table) {
    let text = "[network.lan]\nmode = \"bridge\"\nuplink = \"eth0\"\nbridge = \"xenbr0\"\n";
    let addresses = [["192.168.0.6", "2001:db8::6"], ["192.168.0.7", "2001:db8::7"]];
    let gateways = ["192.168.0.1", "2001:db8::1"];
    let mut picture = Picture::new(text, ["bridge=xenbr0", "bridge=lan"], addresses, [24, 64], gateways, false);
    for family in FAMILIES {
        let n = picture.ends(family);
        let paths = [
            (n.guest, n.gateway),
            (n.guest, n.neighbour),
            (n.guest, n.dom0),
            (n.guest, n.other),
            (n.other, n.guest),
            (n.gateway, n.guest),
            (n.neighbour, n.guest),
            (n.dom0, n.guest),
            (n.dom0, n.gateway),
            (n.neighbour, n.dom0),
        ];
        table.at_once("bridge", &paths.map(|(from, to)| Row::plain(from, to)));
    }
    let [unknown, foreign]: [Both; 2] = [["192.168.0.99", "2001:db8::99"], ["192.168.0.5", "2001:db8::5"]];
    let sources = [unknown, addresses[1], foreign].map(|both| (both, both));
    forged(table, "bridge", &mut picture, &sources, &[NftTableId::guard()]);
    picture.end();
}

/// A way of NAT.
#[derive(Clone, Copy)]
struct Nat {
    mode: &'static str,
    more: &'static str,
    gateway6: &'static str,
    length6: u8,
    private: bool,
    /// Whether br_netfilter is at work.
    filtered: bool,
}

const PER_VIF: Nat =
    Nat { mode: "NAT, a vif a guest", more: "", gateway6: "fe80::1", length6: 128, private: false, filtered: false };
const PRIVATE: Nat = Nat {
    mode: "NAT, a private bridge",
    more: "bridge = \"natbr0\"\n",
    gateway6: "fd00:1::1",
    length6: 64,
    private: true,
    filtered: false,
};

/// Ports outside, at the guest, and what they are for.
const WEB: (u16, u16) = (8080, 80);
const NAMES: (u16, u16) = (5353, 53);
const RANGE: [(u16, u16); 2] = [(9000, 7000), (9002, 7002)];
/// The ends of a range whose ports stay what they are.
const SAME: [(u16, u16); 2] = [(20000, 20000), (29999, 29999)];
/// Behind the range.
const BEYOND: (u16, u16) = (9003, 7003);

fn forwards() -> String {
    let entries = ["10.0.0.1", "fd00:1::11"].map(|to| {
        format!(
            "  {{ protocol = \"tcp\", ports = \"8080\", to = \"{to}\", to_port = 80 }},\n  \
               {{ protocol = \"udp\", ports = \"5353\", to = \"{to}\", to_port = 53 }},\n  \
               {{ protocol = \"tcp\", ports = \"9000-9002\", to = \"{to}\", to_port = 7000 }},\n  \
               {{ protocol = \"udp\", ports = \"9000-9002\", to = \"{to}\", to_port = 7000 }},\n  \
               {{ protocol = \"tcp\", ports = \"20000-29999\", to = \"{to}\" }},\n  \
               {{ protocol = \"udp\", ports = \"20000-29999\", to = \"{to}\" }},\n"
        )
    });
    format!("forward = [\n{}]\n", entries.concat())
}

fn nat(table: &mut Table, way_of: &Nat) {
    let Nat { mode, more, gateway6, length6, private, filtered } = *way_of;
    let text = format!(
        "[network.private]\nmode = \"nat\"\nsubnets = [\"10.0.0.0/24\", \"fd00:1::/64\"]\n{more}{}",
        forwards()
    );
    let addresses = [["10.0.0.1", "fd00:1::11"], ["10.0.0.2", "fd00:1::12"]];
    let lines = if private { ["bridge=natbr0", "bridge=private"] } else { ["script=vif-nat", "bridge=private"] };
    let mut picture = Picture::new(&text, lines, addresses, [24, length6], ["10.0.0.254", gateway6], filtered);
    // Outside dom0's address stands for a guest's, and only there.
    fn hidden<'a>(from: End<'a>, to: End<'a>, outer: IpAddr) -> Row<'a> {
        Row::new(from, to, Answered(outer))
    }
    for family in FAMILIES {
        let n = picture.ends(family);
        let (outer, inner) = (n.dom0.ip, ip(["10.0.0.254", "fd00:1::1"][family]));
        let rows = [
            hidden(n.guest, n.gateway, outer),
            hidden(n.guest, n.neighbour, outer),
            hidden(n.other, n.neighbour, outer),
            Row::plain(n.guest, n.dom0),
            Row::plain(n.guest, n.other),
            Row::plain(n.other, n.guest),
            Row::new(n.dom0, n.guest, Answered(inner)),
            Row::plain(n.dom0, n.gateway),
            Row::plain(n.neighbour, n.dom0),
        ];
        table.at_once(mode, &rows);
        // Hidden is hidden from who does not know the way.
        table.at_once(mode, &[Row::new(n.gateway, n.guest, Nothing), Row::new(n.neighbour, n.guest, Nothing)]);
        let [rows, beyond] = handed_on(&n, outer, inner, private, filtered);
        table.in_turn(mode, &rows);
        table.at_once(mode, &beyond);
    }
    // The file is another one by now, and the guests stay.
    let changed = format!("{mode}, changed while started");
    picture.dom0.change(&text.replace("\"8080\"", "\"8081\""));
    for family in FAMILIES {
        let n = picture.ends(family);
        table.at_once(&changed, &[hidden(n.guest, n.neighbour, n.dom0.ip)]);
        let new =
            |port, expected| Row::handed_on(n.neighbour, n.guest, &[Kind::Tcp], (n.dom0.ip, port), WEB.1, expected);
        table.in_turn(&changed, &[new(WEB.0 + 1, Answered(n.neighbour.ip))]);
        table.at_once(&changed, &[new(WEB.0, Nothing)]);
    }
    picture.dom0.change(&text);
    // Hidden is hidden from who knows it, too.
    for station in [&picture.lan.gateway, &picture.lan.neighbour] {
        way(station, "10.0.0.0/24", DOM0[0]);
        way(station, "fd00:1::/64", DOM0[1]);
    }
    let outside = |picture: &Picture, table: &mut Table, mode: &str, expected: fn(IpAddr) -> Expected| {
        for family in FAMILIES {
            let n = picture.ends(family);
            let rows = [n.gateway, n.neighbour].map(|from| Row::new(from, n.guest, expected(from.ip)));
            table.at_once(mode, &rows);
        }
    };
    let known = format!("{mode}, a route outside");
    outside(&picture, table, &known, |_| Nothing);
    for family in FAMILIES {
        let n = picture.ends(family);
        let row =
            Row::handed_on(n.neighbour, n.guest, &[Kind::Tcp], (n.dom0.ip, WEB.0), WEB.1, Answered(n.neighbour.ip));
        table.in_turn(&known, &[row]);
    }
    picture.dom0.without_rules(NftTableId::gate(), "forward");
    outside(&picture, table, &format!("{known}, without rules"), Answered);
    assert!(!picture.dom0.missing().is_empty(), "the status tells");
    picture.dom0.put_right(&picture.guests);
    outside(&picture, table, &format!("{known}, rules are back"), |_| Nothing);
    // On a private bridge NAT hides whoever is there.
    let unknown: (Both, Both) = (["10.0.0.99", "fd00:1::99"], if private { DOM0 } else { ["10.0.0.99", "fd00:1::99"] });
    let foreign: Both = ["192.168.0.5", "2001:db8::5"];
    let sources = [unknown, (addresses[1], DOM0), (foreign, foreign)];
    let (guard, gate) = (NftTableId::guard(), NftTableId::gate());
    if private {
        // Who is on a bridge is checked there, and at the gate that it is from the network at all.
        forged(table, mode, &mut picture, &sources[..2], std::slice::from_ref(&guard));
        forged(table, mode, &mut picture, &sources[2..], &[guard.clone(), gate.clone()]);
        picture.dom0.without_rules(guard, "prerouting");
        from_elsewhere(table, mode, &mut picture, foreign);
    } else {
        forged(table, mode, &mut picture, &sources, &[gate]);
    }
    picture.end();
}

/// What is handed on to the guest: from outside, from dom0, from the other guest, and from itself; and what is not.
fn handed_on<'a>(n: &Ends<'a>, outer: IpAddr, inner: IpAddr, private: bool, filtered: bool) -> [Vec<Row<'a>>; 2] {
    const TCP: &[Kind] = &[Kind::Tcp];
    const UDP: &[Kind] = &[Kind::Udp];
    const EACH: &[Kind] = &[Kind::Tcp, Kind::Udp];
    // Where both ends are on one bridge the answer would not come by dom0, but for its address.
    let neighbours = if private { inner } else { n.other.ip };
    let from = [
        (n.neighbour, n.neighbour.ip),
        (n.gateway, n.gateway.ip),
        (n.dom0, outer),
        (n.other, neighbours),
        (n.guest, inner),
    ];
    let (mut rows, mut others) = (Vec::new(), Vec::new());
    for ((from, seen), more) in from.into_iter().zip(0..) {
        // br_netfilter translates a frame at the bridge, which sends none back to where it came from.
        let expected = if from.name == n.guest.name && filtered { Nothing } else { Answered(seen) };
        let ranges = RANGE.into_iter().chain(SAME).map(|ends| (EACH, ends));
        for (kinds, (outer_port, port)) in [(TCP, WEB), (UDP, NAMES)].into_iter().chain(ranges) {
            rows.push(Row::handed_on(from, n.guest, kinds, (outer, outer_port), port, expected));
        }
        let (outer_port, port) = (BEYOND.0 + more, BEYOND.1 + more);
        others.push(Row::handed_on(from, n.guest, EACH, (outer, outer_port), port, Nothing));
        let behind = SAME[1].0 + 1 + more;
        others.push(Row::handed_on(from, n.guest, EACH, (outer, behind), behind, Nothing));
    }
    [rows, others]
}

fn routed(table: &mut Table) {
    let text =
        "[network.dmz]\nmode = \"routed\"\nsubnets = [\"10.0.0.0/24\", \"2001:db8:7::/64\"]\nuplink = \"eth0\"\n";
    let addresses = [["10.0.0.1", "2001:db8:7::11"], ["10.0.0.2", "2001:db8:7::12"]];
    let lines = ["script=vif-route", "bridge=dmz"];
    let mut picture = Picture::new(text, lines, addresses, [24, 128], ["10.0.0.254", "fe80::1"], false);
    let without = "routed, no route outside";
    let elsewhere = picture.dom0.elsewhere("dmz");
    assert_eq!(elsewhere, ["ip route add 10.0.0.0/24 via 192.168.0.3", "ip route add 2001:db8:7::/64 via 2001:db8::3"]);
    for family in FAMILIES {
        let n = picture.ends(family);
        let rows = [
            Row::new(n.guest, n.gateway, Unanswered(n.guest.ip)),
            Row::new(n.guest, n.neighbour, Unanswered(n.guest.ip)),
            Row::new(n.gateway, n.guest, Nothing),
            Row::new(n.neighbour, n.guest, Nothing),
            Row::plain(n.guest, n.dom0),
            Row::plain(n.guest, n.other),
            Row::plain(n.dom0, n.guest),
            Row::plain(n.dom0, n.gateway),
        ];
        table.at_once(without, &rows);
        // What the status says, to the letter, on the gateway outside.
        command(n.gateway.namespace, &elsewhere[family]);
        let paths = [
            (n.guest, n.gateway),
            (n.guest, n.neighbour),
            (n.gateway, n.guest),
            (n.neighbour, n.guest),
            (n.guest, n.dom0),
            (n.guest, n.other),
            (n.other, n.guest),
            (n.dom0, n.guest),
            (n.dom0, n.gateway),
        ];
        table.at_once("routed, told on the gateway", &paths.map(|(from, to)| Row::plain(from, to)));
    }
    let [unknown, foreign]: [Both; 2] = [["10.0.0.99", "2001:db8:7::99"], ["192.168.0.5", "2001:db8::5"]];
    let sources = [unknown, addresses[1], foreign].map(|both| (both, both));
    forged(table, "routed", &mut picture, &sources, &[NftTableId::gate()]);
    picture.end();
}

/// Guests with addresses of the LAN's own network: dom0 answers for them, and nobody needs a route.
fn answered(table: &mut Table) {
    let addresses = [["192.168.0.66", "2001:db8::64:66"], ["192.168.0.67", "2001:db8::64:67"]];
    for answers in [false, true] {
        let text = format!(
            "[network.dmz]\nmode = \"routed\"\nsubnets = [\"192.168.0.64/26\", \"2001:db8::64:0/112\"]\nuplink = \"eth0\"\n\
             proxy_arp = {answers}\nproxy_ndp = {answers}\n"
        );
        let lines = ["bridge=dmz", "bridge=dmz"];
        let picture = Picture::new(&text, lines, addresses, [26, 128], ["192.168.0.126", "fe80::1"], false);
        let mode = if answers { "routed, dom0 answers" } else { "routed, nobody answers" };
        for family in FAMILIES {
            let n = picture.ends(family);
            let outwards = if answers { Answered } else { Unanswered };
            let inwards = |ip| if answers { Answered(ip) } else { Nothing };
            let rows = [
                Row::new(n.guest, n.gateway, outwards(n.guest.ip)),
                Row::new(n.other, n.neighbour, outwards(n.other.ip)),
                Row::new(n.gateway, n.guest, inwards(n.gateway.ip)),
                Row::new(n.neighbour, n.other, inwards(n.neighbour.ip)),
                Row::plain(n.guest, n.other),
                Row::plain(n.guest, n.dom0),
            ];
            table.at_once(mode, &rows);
        }
        picture.end();
    }
}
