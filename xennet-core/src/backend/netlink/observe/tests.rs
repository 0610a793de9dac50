//! Answers of a real kernel, read; and the same with bytes changed, which must be survived.

use rtnetlink::packet_core::Parseable;

use super::*;
use crate::model::{MacAddr, Tagging, Vid};
use crate::snapshot::{
    AddrGenMode, Address, Family, FdbEntry, FdbKind, Link, LinkKind, Neighbour, NeighbourKind, NextHop, PortState,
    RouteKind, Rule, RuleAction,
};

const PORT: &str = include_str!("captured/port.hex");
const BRIDGE: &str = include_str!("captured/bridge.hex");
const ADDRESS4: &str = include_str!("captured/address4.hex");
const ADDRESS6: &str = include_str!("captured/address6.hex");
const ROUTE4: &str = include_str!("captured/route4.hex");
const ROUTE6: &str = include_str!("captured/route6.hex");
const RULE: &str = include_str!("captured/rule.hex");
const PROXY: &str = include_str!("captured/proxy.hex");
const NEIGHBOUR: &str = include_str!("captured/neighbour.hex");
const FDB: &str = include_str!("captured/fdb.hex");
const VLANS: &str = include_str!("captured/vlans.hex");

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<char> = hex.chars().filter(|c| !c.is_whitespace()).collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(&pair.iter().collect::<String>(), 16).unwrap()).collect()
}

fn literal(text: &str) -> IfName {
    text.parse().unwrap()
}

fn names(index: u32) -> Option<IfName> {
    let text = match index {
        2 => "br0",
        3 => "p0",
        4 => "vif1.0",
        5 => "e1",
        6 => "e0",
        _ => return None,
    };
    Some(literal(text))
}

#[test]
fn a_port() {
    let told = link::read(&bytes(PORT)).unwrap();
    assert_eq!((told.name, told.master, told.peer), (literal("vif1.0"), Some(2), Some(Some(3))));
    assert_eq!(
        told.link,
        Link {
            index: 4,
            kind: LinkKind::Veth,
            mac: Some(MacAddr::BACKEND),
            mtu: 1400,
            mtu_range: (68, 65535),
            up: false,
            arp: false,
            multicast: true,
            master: None,
            addr_gen_mode: Some(AddrGenMode::None),
            alias: Some("guest web".into()),
            txqueuelen: 500,
            bridge: None,
            port: Some(PortState { isolated: true, learning: false, hairpin: true, ..PortState::default() }),
            peer: None,
        }
    );
}

#[test]
fn a_bridge() {
    let told = link::read(&bytes(BRIDGE)).unwrap();
    assert_eq!((told.name, told.master, told.peer), (literal("br0"), None, None));
    assert_eq!((told.link.kind, told.link.mac), (LinkKind::Bridge, Some(MacAddr::new([2, 0, 0, 0, 0, 9]))));
    let state = told.link.bridge.unwrap();
    assert_eq!((state.stp, state.forward_delay_cs, state.ageing_time_cs), (true, 200, 30_000));
    assert!(state.multicast_snooping);
    // This kernel's bridges know no VLANs: it says "filtering off" all the same, and has no default PVID.
    assert_eq!((state.vlan_filtering, state.default_pvid), (None, None));
}

#[test]
fn addresses() {
    let four = address::read(&bytes(ADDRESS4), names).unwrap();
    let expected = Address {
        broadcast: Some("192.0.2.255".parse().unwrap()),
        label: Some("e0:web".into()),
        ..Address::new(literal("e0"), "192.0.2.1/24".parse().unwrap())
    };
    assert_eq!(four, expected);
    // A label that is the link's name says nothing.
    let mut plain = bytes(ADDRESS4);
    let colon = plain.iter().position(|b| *b == b':').unwrap();
    plain[colon] = 0;
    assert_eq!(address::read(&plain, names), Some(Address { label: None, ..expected.clone() }));

    let six = address::read(&bytes(ADDRESS6), names).unwrap();
    let expected = Address {
        address: "2001:db8::1/128".parse().unwrap(),
        peer: Some("2001:db8::2".parse().unwrap()),
        broadcast: None,
        label: None,
        nodad: true,
        lifetime: Some((4000, 3000)),
        ..expected
    };
    assert_eq!(six, expected);
    assert_eq!(address::read(&bytes(ADDRESS6), |_| None), None, "a link that is gone takes its addresses along");
}

#[test]
fn routes() {
    let four = route::read(&bytes(ROUTE4), names).unwrap();
    let hop = |gateway: &str, weight, onlink| NextHop {
        link: Some(literal("e0")),
        gateway: Some(gateway.parse().unwrap()),
        weight,
        onlink,
    };
    let expected = Route {
        protocol: 4,
        scope: 0,
        link: None,
        mtu: Some(1300),
        next_hops: vec![hop("192.0.2.7", 2, false), hop("192.0.2.8", 1, true)],
        ..Route::to("10.9.0.0/16".parse().unwrap(), literal("e0"))
    };
    assert_eq!(four, expected);

    let six = route::read(&bytes(ROUTE6), names).unwrap();
    let expected = Route {
        table: 1000,
        metric: 7,
        gateway: Some("fe80::7".parse().unwrap()),
        ..Route::to("::/0".parse().unwrap(), literal("e0"))
    };
    assert_eq!((six.kind, &six), (RouteKind::Unicast, &expected));
}

#[test]
fn routes_that_are_no_state() {
    let mut local = bytes(ROUTE6);
    // RTA_TABLE, the first attribute behind 12 bytes of header, made to say 255.
    local[16..20].copy_from_slice(&255_u32.to_ne_bytes());
    assert_eq!(route::read(&local, names), None);
    let mut cached = bytes(ROUTE6);
    cached[8..12].copy_from_slice(&0x200_u32.to_ne_bytes());
    assert_eq!(route::read(&cached, names), None);
    // Chosen by source: a Route cannot say that, and must not say less.
    let mut by_source = bytes(ROUTE6);
    by_source[2] = 64;
    assert_eq!(route::read(&by_source, names), None);
}

#[test]
fn a_rule() {
    let expected = Rule {
        family: Family::Ipv4,
        priority: 100,
        from: Some("192.0.2.0/24".parse().unwrap()),
        to: None,
        iif: Some(literal("vif1.0")),
        oif: None,
        mark: Some((0x10, 0xff)),
        not: false,
        action: RuleAction::Table(1000),
        protocol: 0,
    };
    assert_eq!(route::read_rule(&bytes(RULE)), Some(expected));
}

#[test]
fn neighbours_and_forwarding_entries() {
    let neighbour = |text: &str, kind| Neighbour { link: literal("e0"), address: text.parse().unwrap(), kind };
    let mac = |last| MacAddr::new([2, 0, 0, 0, 0, last]);
    assert_eq!(neighbour::read(&bytes(PROXY), names), Some(neighbour("192.0.2.9", NeighbourKind::Proxy)));
    let permanent = NeighbourKind::Permanent(mac(8));
    assert_eq!(neighbour::read(&bytes(NEIGHBOUR), names), Some(neighbour("192.0.2.8", permanent)));
    // The same, learned: reachable instead of permanent.
    let mut learned = bytes(NEIGHBOUR);
    learned[8] = 0x02;
    assert_eq!(neighbour::read(&learned, names), None);

    let entry = FdbEntry { link: literal("vif1.0"), mac: mac(7), vlan: None, kind: FdbKind::Static };
    assert_eq!(neighbour::read_fdb(&bytes(FDB), names), Some(entry));
    let mut learned = bytes(FDB);
    learned[8] = 0x02;
    assert_eq!(neighbour::read_fdb(&learned, names), None);
    let mut own = bytes(FDB);
    own[10] = 0x02;
    assert_eq!(neighbour::read_fdb(&own, names), None, "what the link itself listens to");
}

#[test]
fn vlans() {
    let (index, vlans) = neighbour::read_vlans(&bytes(VLANS)).unwrap();
    let shown: Vec<String> = vlans.iter().map(ToString::to_string).collect();
    assert_eq!(index, 4);
    assert_eq!(
        shown,
        ["vid 10 pvid untagged", "vid 20 untagged", "vid 30", "vid 100", "vid 101", "vid 102", "vid 103", "vid 104"]
    );
}

/// Made by hand after `struct br_vlan_msg` and `br_vlan_fill_vids`, with options that are for the whole bridge.
#[test]
fn vlans_with_a_range() {
    let attribute = |kind: u16, value: &[u8]| {
        let mut out = u16::try_from(4 + value.len()).unwrap().to_ne_bytes().to_vec();
        out.extend(kind.to_ne_bytes());
        out.extend(value);
        out.resize(wire::aligned(out.len()).unwrap(), 0);
        out
    };
    let info = |flags: u16, vid: u16| attribute(1, &[flags.to_ne_bytes(), vid.to_ne_bytes()].concat());
    let mut body = vec![7, 0, 0, 0, 4, 0, 0, 0];
    body.extend(attribute(1 | 0x8000, &info(0b110, 1)));
    body.extend(attribute(1 | 0x8000, &[info(0, 10), attribute(2, &12_u16.to_ne_bytes())].concat()));
    // Options that are for the whole bridge come beside the entries.
    body.extend(attribute(2 | 0x8000, &info(0, 99)));
    let (index, vlans) = neighbour::read_vlans(&body).unwrap();
    let vlan = |vid, tagging, pvid| PortVlan { vid: Vid::new(vid).unwrap(), tagging, pvid };
    assert_eq!(index, 4);
    assert_eq!(
        vlans.into_iter().collect::<Vec<_>>(),
        [
            vlan(1, Tagging::Untagged, true),
            vlan(10, Tagging::Tagged, false),
            vlan(11, Tagging::Tagged, false),
            vlan(12, Tagging::Tagged, false)
        ]
    );
}

/// A name that our rule does not take is shown by the link's number.
#[test]
fn names_beyond_our_rule() {
    assert_eq!(link::name(b"vif1.0", 7), "vif1.0");
    for odd in [&b"\x1b[2J"[..], b"\xff\xfe", "br\u{fc}cke".as_bytes(), b"", b"sixteen-bytes-xx"] {
        assert_eq!(link::name(odd, 7), "?7");
    }
    assert_eq!(link::name(b"\x01", u32::MAX), "?4294967295");
}

/// Our reading and that of netlink-packet-route agree on what is in the messages.
#[test]
fn another_reader_agrees() {
    let told = link::read(&bytes(PORT)).unwrap();
    let theirs = LinkMessage::parse(&bytes(PORT)[..]).unwrap();
    assert_eq!(theirs.header.index, told.link.index);
    for expected in [
        LinkAttribute::IfName("vif1.0".into()),
        LinkAttribute::Mtu(told.link.mtu),
        LinkAttribute::Controller(told.master.unwrap()),
        LinkAttribute::TxQueueLen(told.link.txqueuelen),
        LinkAttribute::IfAlias(told.link.alias.unwrap()),
    ] {
        assert!(theirs.attributes.contains(&expected), "{expected:?}");
    }
    let theirs = AddressMessage::parse(&bytes(ADDRESS4)[..]).unwrap();
    assert_eq!(theirs.header.prefix_len, 24);
}

/// Any bytes whatever: no panic, no endless walk.
#[test]
fn changed_bytes_are_survived() {
    let seeds: Vec<Vec<u8>> =
        [PORT, BRIDGE, ADDRESS4, ADDRESS6, ROUTE4, ROUTE6, RULE, PROXY, NEIGHBOUR, FDB, VLANS].map(bytes).into();
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state >> 16).unwrap()
    };
    for round in 0..60_000 {
        let mut body = seeds[round % seeds.len()].clone();
        for _ in 0..1 + next() % 6 {
            let at = next() % body.len();
            body[at] = next().to_le_bytes()[0];
        }
        if next() % 3 == 0 {
            body.truncate(next() % (body.len() + 1));
        }
        let _ = link::read(&body);
        let _ = address::read(&body, names);
        let _ = route::read(&body, names);
        let _ = route::read_rule(&body);
        let _ = neighbour::read(&body, names);
        let _ = neighbour::read_fdb(&body, names);
        let _ = neighbour::read_vlans(&body);
    }
}
