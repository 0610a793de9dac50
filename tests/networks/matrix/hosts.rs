//! Two hosts with one file, all modes on each, and guests with the same addresses behind both.

use super::picture::{Both, Dom0, Inmate, Lan};
use super::probe::{Expected, Kind};
use super::table::{End, Row, Table};
use super::{DOM0, ip};

const FILE: &str = "[network.lan]\nmode = \"bridge\"\nuplink = \"eth0\"\nbridge = \"xenbr0\"\n\n\
                    [network.private]\nmode = \"nat\"\nsubnets = [\"10.0.0.0/24\", \"fd00:1::/64\"]\n\
                    forward = [\n  { protocol = \"tcp\", ports = \"8080\", to = \"10.0.0.1\", to_port = 80 },\n  \
                    { protocol = \"tcp\", ports = \"8080\", to = \"fd00:1::11\", to_port = 80 },\n]\n\n\
                    [network.shared]\nmode = \"nat\"\nsubnets = [\"10.1.0.0/24\", \"fd00:2::/64\"]\nbridge = \"natbr0\"\n\n\
                    [network.dmz]\nmode = \"routed\"\nsubnets = [\"10.2.0.0/24\", \"2001:db8:7::/64\"]\n";

const OTHER: Both = ["192.168.0.4", "2001:db8::4"];

/// Name, vif line, addresses, lengths and gateways of a guest.
type Seat = (&'static str, &'static str, Both, [u8; 2], Both);

const SEATS: [Seat; 3] = [
    ("private guest", "script=vif-nat", ["10.0.0.1", "fd00:1::11"], [24, 128], ["10.0.0.254", "fe80::1"]),
    ("shared guest", "bridge=natbr0", ["10.1.0.1", "fd00:2::11"], [24, 64], ["10.1.0.254", "fd00:2::1"]),
    ("routed guest", "bridge=dmz", ["10.2.0.1", "2001:db8:7::11"], [24, 128], ["10.2.0.254", "fe80::1"]),
];

struct Side {
    mode: &'static str,
    addresses: Both,
    dom0: Dom0,
    inmates: Vec<Inmate>,
}

impl Side {
    fn start(mode: &'static str, mut dom0: Dom0, addresses: Both) -> Side {
        dom0.start(FILE);
        let mut inmates = Vec::new();
        for ((_, line, inside, lengths, gateways), number) in SEATS.into_iter().zip(11..) {
            let line = format!("{line},ip={}", inside.join(" "));
            let texts: Vec<String> = inside.iter().zip(lengths).map(|(ip, length)| format!("{ip}/{length}")).collect();
            inmates.push(dom0.guest(number, &line).configure(&texts, &gateways));
        }
        Side { mode, addresses, dom0, inmates }
    }

    fn try_all(&self, table: &mut Table, lan: &Lan) {
        for family in [0, 1] {
            let of_lan = |name, namespace, texts: Both| End { name, namespace, ip: ip(texts[family]) };
            let neighbour = of_lan("neighbour", lan.neighbour.namespace(), ["192.168.0.5", "2001:db8::5"]);
            let ours = End { name: "its dom0", namespace: &self.dom0.namespace, ip: ip(self.addresses[family]) };
            let guests: Vec<End<'_>> = SEATS
                .iter()
                .zip(&self.inmates)
                .map(|((name, _, inside, ..), guest)| of_lan(name, guest.namespace(), *inside))
                .collect();
            let rows = [
                Row::new(guests[0], neighbour, Expected::Answered(ours.ip)),
                Row::new(guests[1], neighbour, Expected::Answered(ours.ip)),
                // The outside has no route, neither to the one host's nor to the other's.
                Row::new(guests[2], neighbour, Expected::Unanswered(guests[2].ip)),
                Row::plain(guests[2], ours),
                Row::plain(neighbour, ours),
                Row::plain(ours, neighbour),
                Row::handed_on(
                    neighbour,
                    guests[0],
                    &[Kind::Tcp],
                    (ours.ip, 8080),
                    80,
                    Expected::Answered(neighbour.ip),
                ),
            ];
            table.at_once(self.mode, &rows);
        }
    }
}

pub(super) fn all() {
    let mut table = Table::default();
    let lan = Lan::new();
    let [mut first, second] = [lan.dom0(203, DOM0), lan.dom0(204, OTHER)];
    first.filter_paths();
    let mut stays = Side::start("the host that stays", second, OTHER);
    stays.try_all(&mut table, &lan);
    let before = stays.dom0.all();
    let goes = Side::start("the host beside it", first, DOM0);
    for side in [&goes, &stays] {
        side.try_all(&mut table, &lan);
    }
    assert_eq!(stays.dom0.all(), before, "the other one is none of its business");
    goes.dom0.end(goes.inmates);
    stays.try_all(&mut table, &lan);
    assert_eq!(stays.dom0.all(), before);
    assert_eq!(stays.dom0.missing(), [""; 0]);
    stays.dom0.end_first_first(stays.inmates);
    table.end();
}
