//! Reserved addresses: guests that are bound to their MAC use any other, and these only if they are their own.

use std::net::{Ipv4Addr, Ipv6Addr};

use xennet_core::config::networks;
use xennet_core::{DevId, Guests};
use xennet_tests::frame::{Arp, BROADCAST, ICMPV6, icmpv6, ipv4_udp, ipv6, ipv6_udp, neighbour, typed};
use xennet_tests::in_netns;

use super::lab::{BRIDGE, Lab, Party, domid, elements, name};
use super::matrix::Numbers;
use super::policy::{ABSENT, Kind, OTHER, SENDER, Watch};
use xennet_core::{MacAddr, VifSpec};

const NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

/// What says something of an address, in every way there is.
fn about(kinds: &mut Vec<Kind>, whose: [&'static str; 9], v4: Ipv4Addr, v6: Ipv6Addr) {
    let (me, other) = (Party::guest(SENDER), Party::guest(OTHER));
    let nobody = Ipv6Addr::UNSPECIFIED;
    let message = |addresses, kind, body: Vec<u8>| ipv6(addresses, ICMPV6, &icmpv6(addresses, kind, &body));
    let claim = || neighbour(0x20, v6, [(2, me.mac)]);
    let said = [
        ipv4_udp((v4, other.v4), (7, 7)),
        Arp::new(2, (me.mac, v4), (BROADCAST, other.v4)).bytes(),
        Arp::new(1, (me.mac, v4), ([0; 6], v4)).bytes(),
        Arp::new(1, (me.mac, Ipv4Addr::UNSPECIFIED), ([0; 6], v4)).bytes(),
        ipv6_udp((v6, other.v6), (7, 7)),
        message((me.v6, NODES), 136, claim()),
        message((v6, other.v6), 136, claim()),
        message((nobody, NODES), 135, neighbour(0, v6, [])),
        message((v6, NODES), 135, neighbour(0, me.v6, [(1, me.mac)])),
    ];
    kinds.extend(whose.into_iter().zip(said).map(|(what, rest)| (what, me.mac, rest)));
}

macro_rules! of {
    ($who:literal) => {
        [
            concat!($who, ": IPv4"),
            concat!($who, ": ARP reply"),
            concat!($who, ": ARP announcement"),
            concat!($who, ": ARP probe"),
            concat!($who, ": IPv6"),
            concat!($who, ": advertisement to all"),
            concat!($who, ": advertisement to one"),
            concat!($who, ": duplicate address detection"),
            concat!($who, ": solicitation"),
        ]
    };
}

const OWN: [&str; 9] = of!("own");
const RESERVED: [&str; 9] = of!("reserved");
const DOM0: [&str; 9] = of!("dom0");
/// What asks for a reserved address, and claims nothing.
const ASKS: [&str; 3] = ["ARP for a reserved address", "solicitation for a reserved address", "another protocol"];

fn kinds() -> Vec<Kind> {
    let (me, absent, dom0) = (Party::guest(SENDER), Party::guest(ABSENT), Party::dom0());
    let mut kinds = Vec::new();
    about(&mut kinds, OWN, me.v4, me.v6);
    about(&mut kinds, RESERVED, absent.v4, absent.v6);
    about(&mut kinds, DOM0, dom0.v4, dom0.v6);
    let asks = icmpv6((me.v6, NODES), 135, &neighbour(0, absent.v6, [(1, me.mac)]));
    let asks = [
        Arp::new(1, (me.mac, me.v4), ([0; 6], absent.v4)).bytes(),
        ipv6((me.v6, NODES), ICMPV6, &asks),
        typed(0x8137, &[0xff; 30]),
    ];
    kinds.extend(ASKS.into_iter().zip(asks).map(|(what, rest)| (what, me.mac, rest)));
    kinds
}

#[test]
fn addresses_that_are_reserved() {
    in_netns("watched::addresses_that_are_reserved", || {
        let mut lab = Lab::build();
        lab.start(SENDER);
        lab.start(OTHER);
        let mut host = lab.host();
        let text = |reserved: &str| {
            format!("[network.lan]\nmode = \"bridge\"\nbridge = \"{BRIDGE}\"\npolicy = \"mac\"\n{reserved}")
        };
        let described = |reserved: &str| networks::parse(&text(reserved)).unwrap().iter().next().unwrap().clone();
        let line = |number: u8, more: &str| -> VifSpec {
            format!("mac={},bridge=lan{more}", MacAddr::new(Party::guest(number).mac)).parse().unwrap()
        };
        let mut watch = None;
        let all: Vec<&str> = kinds().into_iter().map(|(kind, ..)| kind).collect();
        let but = |what: &[&[&str]]| -> Vec<&str> {
            all.iter().copied().filter(|kind| !what.iter().any(|of| of.contains(kind))).collect()
        };
        let list = "reserved = [\"192.0.2.48/28\", \"2001:db8::3:0/112\"]\n";
        for (reserved, cases) in [
            ("", vec![("", all.clone())]),
            (
                list,
                vec![
                    ("", but(&[&RESERVED, &DOM0])),
                    (",ip=192.0.2.49 2001:db8::3:1", but(&[&DOM0])),
                    (",vifname=web0", but(&[&RESERVED, &DOM0])),
                    (",policy=off", all.clone()),
                ],
            ),
        ] {
            host.start_network(&described(reserved)).unwrap_or_else(|e| panic!("{}", e.report()));
            host.attach(domid(OTHER), &line(OTHER, ",policy=off")).unwrap();
            let watch = watch.get_or_insert_with(|| {
                let [sender, other] = [SENDER, OTHER].map(|guest| lab.station(guest));
                Watch { sender, other, dom0: lab.at_dom0(), uplink: lab.at_uplink(), numbers: Numbers(0) }
            });
            for (more, passes) in cases {
                let applied =
                    host.attach(domid(SENDER), &line(SENDER, more)).unwrap_or_else(|e| panic!("{}", e.report()));
                println!("{reserved} {more}: {:?}", applied.notes);
                watch.settled();
                assert_eq!(watch.passing_of(more, kinds()), passes, "{reserved} {more}");
            }
            for guest in [SENDER, OTHER] {
                host.detach(domid(guest), DevId::FIRST).unwrap();
            }
            assert_eq!([elements("web0"), elements("vif1.0")], [[""; 0]; 2]);
            host.stop_network(&name("lan"), Guests::MustHaveGone).unwrap();
        }
    });
}
