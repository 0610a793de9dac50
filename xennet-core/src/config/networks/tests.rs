use super::*;
use crate::error::ErrorKind;
use crate::model::{Egress, GuestLinks, NetworkMode, Protocol};

/// The text in the documentation of this module.
fn example() -> String {
    include_str!("mod.rs")
        .lines()
        .skip_while(|l| *l != "//! ```toml")
        .skip(1)
        .take_while(|l| *l != "//! ```")
        .map(|l| l.trim_start_matches("//!").trim_start().to_owned() + "\n")
        .collect()
}

#[test]
fn the_documented_example_is_read_whole_and_written_back() {
    let found = parse(&example()).unwrap_or_else(|e| panic!("{}", e.report()));
    assert_eq!(found.names().iter().map(IfName::as_str).collect::<Vec<_>>(), ["lan", "private", "dmz"]);
    let NetworkMode::Bridge(lan) = &found.get("lan").unwrap().mode() else { panic!() };
    assert_eq!((lan.uplink.unwrap().as_str(), lan.uplink_name.unwrap().as_str()), ("eth0", "peth0"));
    assert_eq!((lan.bridge.name().as_str(), lan.bridge.vlan_filtering()), ("xenbr0", Some(true)));
    let NetworkMode::Nat(private) = &found.get("private").unwrap().mode() else { panic!() };
    assert_eq!(private.subnets[1].gateway().to_string(), "fd00:1::1");
    assert!(matches!(&private.guests, GuestLinks::Bridge(b) if b.name().as_str() == "natbr0"));
    let forward = private.forwards[0];
    assert_eq!((forward.protocol(), forward.ports(), forward.to_ports()), (Protocol::Tcp, (8080, 8089), (80, 89)));
    let NetworkMode::Routed(dmz) = &found.get("dmz").unwrap().mode() else { panic!() };
    assert_eq!((dmz.metric, dmz.proxy_ndp, &dmz.uplink), (2, true, &Egress::Link("xenbr0".parse().unwrap())));

    let text = render(found.iter());
    assert_eq!(parse(&text).unwrap_or_else(|e| panic!("{text}\n{}", e.report())), found);
    for network in found.iter() {
        let json = serde_json::to_string(network).unwrap();
        assert_eq!(&serde_json::from_str::<Network>(&json).unwrap(), network, "{json}");
    }
}

#[test]
fn who_reaches_guests_is_read_and_written_back() {
    let text = "[network.b]\nmode = \"bridge\"\nisolated = true\npolicy = \"strict\"\n\n\
        [network.m]\nmode = \"nat\"\nsubnets = [\"10.4.0.0/24\"]\nbridge = \"natbr0\"\nisolated = true\npolicy = \"mac\"\n\n\
        [network.n]\nmode = \"nat\"\nsubnets = [\"10.1.0.0/24\"]\nisolated = true\n\
        reachable_from = [\"10.2.0.0/24\", \"10.3.0.7/32\"]\n\n\
        [network.r]\nmode = \"routed\"\nsubnets = [\"10.2.0.0/24\"]\nisolated = true\n";
    let found = parse(text).unwrap_or_else(|e| panic!("{}", e.report()));
    assert!(found.iter().all(|network| network.isolates()));
    assert_eq!(render(found.iter()), text);
}

#[test]
fn chains_of_other_firewalls_are_read_and_written_back() {
    let text = "[network.n]\nmode = \"nat\"\nsubnets = [\"10.1.0.0/24\"]\n\
        accept_in = [\"ip filter DOCKER-USER\", \"ip filter ufw-user-input hook input\"]\ndns = true\n\n\
        [network.r]\nmode = \"routed\"\nsubnets = [\"10.2.0.0/24\"]\naccept_in = [\"inet firewalld filter_FORWARD\"]\n";
    let found = parse(text).unwrap_or_else(|e| panic!("{}", e.report()));
    assert_eq!(render(found.iter()), text);
    let document = serde_json::to_value(found.get("n").unwrap()).unwrap();
    assert_eq!(
        document["accept_in"],
        serde_json::json!(["ip filter DOCKER-USER", "ip filter ufw-user-input hook input"])
    );
    assert_eq!(serde_json::from_value::<Network>(document).unwrap(), *found.get("n").unwrap());
    // It is taken over by a network that is started.
    let without = parse(&text.replace("\"ip filter DOCKER-USER\", ", "")).unwrap();
    let change = changed(found.get("n").unwrap(), without.get("n").unwrap());
    assert_eq!((change.keys, change.needs_stop), (vec!["accept_in".to_owned()], Vec::new()));
}

#[test]
fn what_guests_reach_is_read_and_written_back() {
    let text = "[network.n]\nmode = \"nat\"\nsubnets = [\"10.1.0.0/24\"]\nhost = \"services\"\nlan = \"closed\"\ndns = true\n\n\
        [network.old]\nmode = \"nat\"\nhost = \"closed\"\n\n\
        [network.r]\nmode = \"routed\"\nsubnets = [\"10.2.0.0/24\"]\nisolated = true\nhost = \"closed\"\nlan = \"closed\"\n";
    let found = parse(text).unwrap_or_else(|e| panic!("{}", e.report()));
    assert_eq!(render(found.iter()), text);
    let of = |name: &str| found.get(name).unwrap();
    let document = serde_json::to_value(of("n")).unwrap();
    assert_eq!((&document["host"], &document["lan"]), (&"services".into(), &"closed".into()));
    assert_eq!(serde_json::from_value::<Network>(document).unwrap(), *of("n"));
    let lan = ["192.0.2.0/24".parse().unwrap(), "2001:db8::/64".parse().unwrap()];
    assert_eq!(
        of("n").access_in_sentences(&lan),
        ["of this domain guests reach only ICMP, DNS", "guests do not reach the LAN: 192.0.2.0/24, 2001:db8::/64"]
    );
    assert_eq!(of("r").access_in_words(), ["isolated", "host closed", "LAN closed"]);
    // What is usual is left out, also of the document.
    let usual = parse("[network.n]\nmode = \"nat\"\nhost = \"open\"\nlan = \"open\"").unwrap();
    assert_eq!(render(usual.iter()), "[network.n]\nmode = \"nat\"\n");
    let document = serde_json::to_value(usual.get("n").unwrap()).unwrap();
    assert!(document.get("host").is_none() && document.get("lan").is_none());
    assert!(usual.get("n").unwrap().access_in_sentences(&[]).is_empty());
}

#[test]
fn reserved_addresses_are_read_and_written_back() {
    let text = "[network.b]\nmode = \"bridge\"\npolicy = \"mac\"\nreserved = [\"192.0.2.0/28\", \"192.0.2.254/32\"]\n\n\
        [network.n]\nmode = \"nat\"\nsubnets = [\"10.1.0.0/24\"]\nbridge = \"natbr0\"\nreserved = [\"10.1.0.7/32\"]\ndhcp = true\n\
        range = [\"10.1.0.8-10.1.0.99\"]\n";
    let found = parse(text).unwrap_or_else(|e| panic!("{}", e.report()));
    assert_eq!(render(found.iter()), text);
    let said = found.get("b").unwrap().access_in_sentences(&[]);
    assert_eq!(said, ["reserved for guests that declare them: 192.0.2.0/28, 192.0.2.254/32"]);
}

#[test]
fn services_of_guests_with_links_of_their_own_change_after_a_stop() {
    let of = |more: &str| {
        let text = format!("[network.n]\nmode = \"nat\"\nsubnets = [\"10.1.0.0/24\"]\n{more}");
        parse(&text).unwrap().iter().next().unwrap().clone()
    };
    let needs_stop = |was: &str, is: &str| changed(&of(was), &of(is)).needs_stop;
    assert_eq!(needs_stop("", "dns = true"), [""; 0]);
    assert_eq!(needs_stop("host = \"services\"", "host = \"services\"\ndns = true"), ["dns"]);
    let bridged = "bridge = \"natbr0\"\nhost = \"services\"\n";
    assert_eq!(needs_stop(bridged, &format!("{bridged}dns = true")), [""; 0], "it is the bridge's");
    assert_eq!(needs_stop("host = \"closed\"", "host = \"closed\"\ndns = true"), [""; 0]);
    assert_eq!(needs_stop("", "host = \"closed\"\nlan = \"closed\""), ["host", "lan"]);
}

#[test]
fn whole_subnets_and_any_vif_are_read_and_written_back() {
    let text = "[network.r]\nmode = \"routed\"\nsubnets = [\"192.0.2.0/29\", \"fd00:1::/64\"]\nwhole_subnets = true\nany_vif = true\n";
    let found = parse(text).unwrap_or_else(|e| panic!("{}", e.report()));
    let NetworkMode::Routed(r) = found.get("r").unwrap().mode() else { panic!() };
    assert!(r.whole_subnets && r.any_vif);
    // IPv6 guests keep a gateway in their subnet.
    assert_eq!(r.gateways().map(|s| s.gateway().to_string()).collect::<Vec<_>>(), ["fd00:1::1"]);
    assert_eq!(render(found.iter()), text);
    let document = serde_json::to_value(found.get("r").unwrap()).unwrap();
    assert_eq!(serde_json::from_value::<Network>(document).unwrap(), *found.get("r").unwrap());
}

#[test]
fn the_least_that_each_mode_needs_is_its_mode() {
    let found = parse("[network.a]\nmode='bridge'\n[network.b]\nmode='nat'\n[network.c]\nmode='routed'\n").unwrap();
    assert_eq!(found.get("a").unwrap().bridge().unwrap().name().as_str(), "a");
    assert_eq!(found.get("b").unwrap().mode(), &NetworkMode::Nat(crate::model::NatNetwork::new()));
    assert_eq!(found.get("c").unwrap().mode(), &NetworkMode::Routed(crate::model::RoutedNetwork::new()));
    assert!(parse("").unwrap().is_empty());
    assert_eq!(parse(&render(found.iter())).unwrap(), found);
}

/// What is refused: the text, the place, a piece of the message or the rule, and the line of the other place.
type Refused = (&'static str, (usize, usize), &'static str, Option<usize>);

#[test]
fn every_mistake_is_told_with_its_place_and_the_other_one() {
    const N: &str = "[network.n]\nmode = \"nat\"\n";
    const B: &str = "[network.b]\nmode = \"bridge\"\n";
    let cases: &[Refused] = &[
        (
            "[network.n]\nmode = \"nat\"\nsubnets = [\"10.0.0.0/24\"]\nreserved = [\"10.0.0.7\"]",
            (4, 12),
            "reserved means nothing without bridge",
            None,
        ),
        ("[network.b]\nmode = \"bridge\"\nreserved = [\"10.0.0.1/24\"]", (3, 13), "10.0.0.1/24 has bits behind", None),
        ("[network.b]\nmode = \"bridge\"\nreserved = [\"router\"]", (3, 13), "a network or an address", None),
        ("[network.r]\nmode = \"routed\"\nreserved = []", (3, 1), "reserved means nothing in mode routed", Some(2)),
        (
            "[network.n]\nmode = \"nat\"\nsubnets = [\"10.0.0.0/24\"]\nbridge = \"b0\"\nreserved = [\"10.0.0.8/29\"]\ndhcp = true\nrange = [\"10.0.0.15-10.0.0.20\"]",
            (5, 13),
            "10.0.0.8/29 is reserved, and 10.0.0.15-10.0.0.20 is given out",
            Some(7),
        ),
        ("[network.n]\nmode = \"nat\"\nhost = \"shut\"", (3, 8), "host is open, services or closed", None),
        ("[network.n]\nmode = \"nat\"\nlan = false", (3, 7), "a text in quotes", None),
        ("[network.n]\nmode = \"routed\"\nlan = \"services\"", (3, 7), "lan is open or closed", None),
        ("[network.n]\nmode = \"nat\"\nlan = \"closed\"", (3, 7), "lan cannot be closed without subnets", None),
        ("[network.n]\nmode = \"bridge\"\nhost = \"closed\"", (3, 1), "host means nothing in mode bridge", Some(2)),
        ("[network.n]\nmode = \"bridge\"\nlan = \"closed\"", (3, 1), "a key of mode nat and routed", Some(2)),
        ("networks = 1", (1, 1), "no part of this file", None),
        ("network = 1", (1, 11), "a table for each network", None),
        ("[network]\nx = 1", (2, 1), "x is no table", None),
        ("[network.r]\nmode = \"bridge\"\nany_vif = true", (3, 1), "any_vif means nothing in mode bridge", Some(2)),
        (
            "[network.r]\nmode = \"nat\"\nsubnets = [\"10.1.0.0/24\"]\nbridge = \"natbr0\"\nany_vif = true",
            (5, 11),
            "any_vif means nothing with bridge",
            None,
        ),
        ("[network.n]\nmode = \"nat\"\npolicy = \"strict\"", (3, 10), "policy means nothing without bridge", None),
        ("[network.b]\nmode = \"bridge\"\npolicy = \"loose\"", (3, 10), "policy is off, mac, strict or disabled", None),
        ("[network.b]\nmode = \"bridge\"\npolicy = true", (3, 10), "a text in quotes", None),
        ("[network.r]\nmode = \"routed\"\npolicy = \"mac\"", (3, 1), "policy means nothing in mode routed", Some(2)),
        ("[network.r]\nmode = \"routed\"\nisolated = true", (3, 12), "isolated cannot be true without subnets", None),
        (
            "[network.r]\nmode = \"routed\"\nreachable_from = [\"10.0.0.0/8\"]",
            (3, 1),
            "reachable_from means nothing in mode routed",
            Some(2),
        ),
        (
            "[network.n]\nmode = \"nat\"\nreachable_from = [\"10.0.0.0/8\"]",
            (3, 19),
            "reachable_from means nothing without subnets",
            None,
        ),
        (
            "[network.n]\nmode = \"nat\"\nsubnets = [\"10.1.0.0/24\"]\nreachable_from = [\"10.0.0.0/8\"]",
            (4, 19),
            "10.0.0.0/8 overlaps with 10.1.0.0/24 of this network",
            None,
        ),
        (
            "[network.n]\nmode = \"nat\"\nsubnets = [\"10.1.0.0/24\"]\nreachable_from = [\"10.2.0.1/24\"]",
            (4, 19),
            "10.2.0.1/24 has bits behind its prefix",
            None,
        ),
        (
            "[network.n]\nmode = \"nat\"\nsubnets = [\"10.1.0.0/24\"]\nreachable_from = [\"fd00::/64\"]",
            (4, 19),
            "fd00::/64 reaches nobody: the network has no IPv6 subnet",
            None,
        ),
        (
            "[network.b]\nmode = \"bridge\"\naccept_in = [\"ip filter FORWARD\"]",
            (3, 1),
            "accept_in means nothing in mode bridge",
            Some(2),
        ),
        (
            "[network.n]\nmode = \"nat\"\naccept_in = [\"ip filter FORWARD\"]",
            (3, 13),
            "accept_in means nothing without subnets",
            None,
        ),
        (
            "[network.n]\nmode = \"nat\"\nsubnets = [\"10.1.0.0/24\"]\naccept_in = [\"FORWARD\"]",
            (4, 14),
            "table and chain as nft writes them, as in ip filter DOCKER-USER",
            None,
        ),
        (
            "[network.n]\nmode = \"nat\"\nsubnets = [\"10.1.0.0/24\"]\naccept_in = [\"inet xennet forward\"]",
            (4, 14),
            "a chain of another firewall, and table inet xennet is xennet's own",
            None,
        ),
        (
            "[network.n]\nmode = \"nat\"\nsubnets = [\"10.1.0.0/24\"]\naccept_in = [\"bridge filter FORWARD\"]",
            (4, 14),
            "a chain of family bridge sees frames",
            None,
        ),
        (
            "[network.n]\nmode = \"nat\"\nsubnets = [\"10.1.0.0/24\"]\naccept_in = [\"ip6 filter FORWARD\"]",
            (4, 14),
            "nothing could be accepted in ip6 filter FORWARD: the network has no IPv6 subnet",
            None,
        ),
        (
            "[network.n]\nmode = \"nat\"\nsubnets = [\"10.1.0.0/24\"]\naccept_in = [\"ip a b\",\n\"ip a b hook input\"]",
            (5, 1),
            "ip a b is named twice",
            Some(4),
        ),
        (
            "[network.n]\nmode = \"nat\"\nsubnets = [\"10.1.0.0/24\"]\naccept_in = [\"ip filter INPUT hook input\"]",
            (4, 14),
            "the network has neither dhcp nor dns",
            None,
        ),
        (
            "[network.n]\nmode = \"nat\"\nsubnets = [\"10.1.0.0/24\"]\nreachable_from = [\"lan\"]",
            (4, 19),
            "a network or an address",
            None,
        ),
        (
            "[network.r]\nmode = \"routed\"\nsubnets = [\"192.0.2.0/29\"]\nwhole_subnets = true\ndns = true",
            (5, 7),
            "dns means nothing where guests have every address",
            Some(4),
        ),
        (
            "[network.r]\nmode = \"routed\"\nsubnets = [\"192.0.2.0/29\"]\ngateways = [\"192.0.2.1\"]\nwhole_subnets = true",
            (4, 12),
            "gateways means nothing where guests have every address",
            Some(5),
        ),
        ("[network.a-name-that-is-long]\n", (1, 10), "at most 15 bytes", None),
        ("[network.x]\n", (1, 10), "network x has no mode", None),
        ("[network.x]\nmode = \"brigde\"", (2, 8), "bridge, nat or routed", None),
        ("[network.x]\nmode = 1", (2, 8), "bridge, nat or routed", None),
        ("[network.x]\nmode = \"nat\"\nuplink = \"eth0\"", (3, 1), "uplink means nothing in mode nat", Some(2)),
        ("[network.x]\nmode = \"nat\"\negres = \"eth0\"", (3, 1), "\"egres\" is no key of a network of mode nat", None),
        ("@Bbridge = \"br/0\"", (3, 10), "'/'", None),
        ("@Bbridge = 7", (3, 10), "a text in quotes", None),
        ("@Bbridge = [\"b\"]", (3, 10), "bridge cannot be [\"b\"]", None),
        ("@Bbridge = \"vif1.0\"", (3, 10), "guests' links", None),
        ("@Buplink = \"lo\"", (3, 10), "lo leads to this host alone", None),
        ("@Buplink = \"b\"", (3, 10), "b is the bridge's own name", None),
        ("@Buplink_name = \"peth0\"", (3, 15), "uplink_name without an uplink", None),
        ("@Buplink = \"eth0\"\nuplink_name = \"b\"", (4, 15), "would both be called b", None),
        ("@Bstp = \"on\"", (3, 7), "true or false", None),
        ("@Bstp = true\nforward_delay = 1", (4, 17), "2 to 30 seconds", Some(3)),
        ("@Bforward_delay = 31", (3, 17), "0 to 30", None),
        ("@Bmac = \"01:00:00:00:00:00\"", (3, 7), "a single station's", None),
        ("@Bmtu = 67", (3, 7), "68 to 65517", None),
        ("@Nsubnets = \"10.0.0.0/8\"", (3, 11), "a list of texts", None),
        ("@Nsubnets = [\"10.0.0.0\"]", (3, 12), "a slash", None),
        ("@Nsubnets = [\"10.0.0.1/24\"]", (3, 12), "10.0.0.0/24", None),
        ("@Nsubnets = [\"224.0.0.0/8\"]", (3, 12), "guests can have", None),
        ("@Nsubnets = [\"10.0.0.0/8\", \"10.1.0.0/16\"]", (3, 26), "overlap", Some(3)),
        ("@Nsubnets = [\"10.0.0.0/8\"]\ngateways = [\"11.0.0.1\"]", (4, 13), "of one of the subnets", None),
        ("@Ngateways = [\"11.0.0.1\"]", (3, 13), "no subnets are given", None),
        ("@Nsubnets = [\"10.0.0.0/24\"]\ngateways = [\"10.0.0.255\"]", (4, 13), "broadcast", None),
        ("@Nsubnets = [\"10.0.0.0/24\"]\ngateways = [\"10.0.0.1\", \"10.0.0.2\"]", (4, 25), "two gateways", Some(4)),
        ("@Nbridge = \"natbr\"", (3, 10), "needs subnets", None),
        ("@Ndhcp = true", (3, 8), "without subnets", None),
        ("@Nsubnets = [\"10.0.0.0/24\"]\nrange = [\"10.0.0.1-10.0.0.9\"]", (4, 10), "dhcp = true", None),
        (
            "@Nsubnets = [\"10.0.0.0/24\"]\ndhcp = true\nrange = [\"10.0.0.9-10.0.0.1\"]",
            (5, 10),
            "lower to a higher",
            None,
        ),
        ("@Nsubnets = [\"10.0.0.0/24\"]\ndhcp = true\nrange = [\"10.0.0.9-10.0.1.1\"]", (5, 10), "in one subnet", None),
        ("@Nsubnets = [\"10.0.0.0/24\"]\ndhcp = true\nrange = [\"10.0.0.9-10.0.0.254\"]", (5, 10), "the gateway", None),
        ("@Nsubnets = [\"10.0.0.0/24\"]\ndhcp = true\ndomain = \"a..b\"", (5, 10), "words of letters", None),
        ("@Nforward = [1]", (3, 12), "a table for each forward", None),
        ("@Nforward = [{ protocol = \"tcp\" }]", (3, 12), "no ports", None),
        ("@Nforward = [{ protocol = \"icmp\", ports = 1, to = \"10.0.0.1\" }]", (3, 25), "tcp or udp", None),
        ("@Nforward = [{ protocol = \"tcp\", ports = 0, to = \"10.0.0.1\" }]", (3, 40), "1 to 65535", None),
        ("@Nforward = [{ protocol = \"tcp\", ports = \"9-8\", to = \"10.0.0.1\" }]", (3, 40), "first and last", None),
        (
            "@Nforward = [{ protocol = \"tcp\", ports = \"1-9\", to = \"10.0.0.1\", to_port = 65530 }]",
            (3, 74),
            "as many",
            None,
        ),
        (
            "@Nforward = [{ protocol = \"tcp\", ports = 80, to = \"10.0.0.1\" },\n{ protocol = \"tcp\", ports = \"79-81\", to = \"10.0.0.2\" }]",
            (4, 1),
            "handed on twice",
            Some(3),
        ),
        (
            "@Nsubnets = [\"10.0.0.0/24\"]\nforward = [{ protocol = \"tcp\", ports = 80, to = \"10.0.1.1\" }]",
            (4, 49),
            "no guest",
            None,
        ),
        ("[network.r]\nmode = \"routed\"\nmetric = 0", (3, 10), "at least 1", None),
        ("[network.r]\nmode = \"routed\"\nsource = [\"1.1.1.1\", \"1.1.1.2\"]", (3, 22), "one address a family", None),
        // Several networks.
        (
            "@Buplink = \"eth0\"\n[network.c]\nmode = \"bridge\"\nuplink = \"eth0\"",
            (6, 10),
            "eth0 is the uplink of network c",
            Some(3),
        ),
        (
            "@Bbridge = \"x\"\n[network.c]\nmode = \"bridge\"\nbridge = \"x\"",
            (6, 10),
            "x is the bridge of network c",
            Some(3),
        ),
        (
            "@Bbridge = \"x\"\n[network.c]\nmode = \"bridge\"\nuplink = \"x\"",
            (6, 10),
            "and the bridge of network b",
            Some(3),
        ),
        ("@Bbridge = \"c\"\n[network.c]\nmode = \"nat\"", (4, 10), "the name of a network", Some(3)),
        (
            "@Nsubnets = [\"10.0.0.0/24\"]\n[network.c]\nmode = \"routed\"\nsubnets = [\"10.0.0.0/28\"]",
            (6, 12),
            "overlaps",
            Some(3),
        ),
        (
            "@Buplink = \"eth0\"\n[network.n]\nmode = \"nat\"\negress = \"eth0\"",
            (6, 10),
            "no addresses of its own",
            Some(3),
        ),
        (
            "@Nsubnets = [\"10.0.0.0/24\"]\nbridge = \"p\"\n[network.r]\nmode = \"routed\"\nuplink = \"p\"",
            (7, 10),
            "private bridge",
            Some(4),
        ),
    ];
    for (text, position, piece, other) in cases {
        let text = text.replace("@N", N).replace("@B", B);
        let error = parse(&text).map(|n| panic!("{text}: {n:?}")).unwrap_err();
        let found = error.diagnostic().unwrap();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(format!("{} {}", found.message, found.rule).contains(piece), "{text}\n{}", error.report());
        assert_eq!(found.position(), *position, "{text}\n{}", error.report());
        match other {
            Some(line) => assert!(serde_json::json!(error)["other"]["line"] == *line, "{text}\n{}", error.report()),
            None => assert_eq!(found.other, None, "{text}\n{}", error.report()),
        }
    }
}

#[test]
fn no_text_makes_the_reader_panic() {
    for text in
        ["[[network]]", "network=[[]]", "[network.a]\nmode=[]", "\u{feff}", "[network.\"\\u001b\"]", "x='''", "\u{0}"]
    {
        let _ = parse(text).map_err(|e| e.report());
    }
    let whole = example();
    for cut in (0..whole.len()).filter(|at| whole.is_char_boundary(*at)) {
        let _ = parse(&whole[..cut]).map_err(|e| e.report());
        let _ = parse(&whole[cut..]).map_err(|e| e.report());
    }
}

#[test]
fn a_network_is_the_same_by_its_document_and_by_its_keys() {
    let found = parse(&example()).unwrap();
    let document = serde_json::json!(crate::config::document::networks(&example()).unwrap());
    for (network, document) in found.iter().zip(document["networks"].as_array().unwrap()) {
        let read = crate::config::document::read_network(&document.to_string()).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(&read, network);
        let mut keys = serde_json::json!(to_keys(network));
        assert_eq!(&from_keys(network.name().as_str(), &keys).unwrap(), network, "{keys:?}");
        keys["mtu"] = serde_json::Value::Null;
        from_keys(network.name().as_str(), &keys).unwrap_or_else(|e| panic!("null is a key that is left out: {e}"));
    }
    for (keys, piece) in [(serde_json::json!(["mode"]), "no map"), (serde_json::json!(null), "no map")] {
        let error = from_keys("a", &keys).unwrap_err();
        assert!(error.kind() == ErrorKind::Invalid && error.message().contains(piece), "{}", error.report());
    }
    let error = from_keys("a", &std::collections::BTreeMap::from([((1, 2), "x")])).unwrap_err();
    assert!(error.message().contains("cannot be read"), "{}", error.report());
    let odd = parse("[network.\"a.b\"]\nmode = \"bridge\"\n").unwrap();
    let odd = odd.get("a.b").unwrap();
    assert_eq!(&from_keys("a.b", &to_keys(odd)).unwrap(), odd);
}

#[test]
fn a_document_is_read_by_the_rules_of_the_file() {
    let bridge = r#""name": "lan", "mode": "bridge""#;
    let nat = r#""name": "n", "mode": "nat", "egress": "default-route""#;
    for (document, message) in [
        ("lan", "network is not a document that is understood: "),
        (r#"{"name": "lan"}"#, "missing field `mode`"),
        (r#"{"name": "lan", "mode": "vpn"}"#, "unknown variant `vpn`"),
        (&format!(r#"{{{bridge}, "bridge": {{"name": "br0"}}, "upling": "eth0"}}"#), "unknown field `upling`"),
        (
            &format!(r#"{{{bridge}, "bridge": {{"name": "br0"}}, "uplink": "vif1.0"}}"#),
            "uplink cannot be \"vif1.0\": no link",
        ),
        (
            &format!(r#"{{{bridge}, "bridge": {{"name": "br0", "forward_delay_ms": 1500}}}}"#),
            "forward_delay cannot be 1.5 s",
        ),
        (&format!(r#"{{{nat}, "guests": "per-vif", "services": {{"dhpc": true}}}}"#), "unknown field `dhpc`"),
        (
            &format!(r#"{{{nat}, "guests": "per-vif", "services": {{"dhcp": true}}}}"#),
            "dhcp cannot be true without subnets",
        ),
        (
            &format!(
                r#"{{{nat}, "guests": "per-vif", "subnets": [{{"network": "10.0.0.0/24", "gateway": "10.1.0.1"}}]}}"#
            ),
            "10.1.0.1 cannot be a gateway: a gateway is an address of its subnet, 10.0.0.0/24",
        ),
    ] {
        let error = crate::config::document::read_network(document).unwrap_err();
        assert_eq!((error.kind(), error.diagnostic()), (ErrorKind::Invalid, None), "{document}");
        assert!(error.message().contains(message), "{document}: {error:?}");
    }
}

#[test]
fn keys_are_read_by_the_rules_of_the_file_whatever_is_in_them() {
    for (name, key, value, message) in [
        ("n", "mtu", serde_json::json!(67), "mtu cannot be 67: an MTU is 68"),
        ("n", "mtu", serde_json::json!(1.5), "mtu cannot be 1.5"),
        ("n", "mtu", serde_json::json!(-1), "mtu cannot be -1"),
        ("n", "stp", serde_json::json!("true"), "stp cannot be \"true\""),
        ("n", "subnets", serde_json::json!([]), "subnets means nothing in mode bridge"),
        ("n", "upling", serde_json::json!("eth0"), "\"upling\" is no key of a network of mode bridge"),
        ("n", "uplink", serde_json::json!("a\"\n[network.x]\u{7f}\\"), "uplink cannot be "),
        ("n", "x\"\n[network.y]\nmode", serde_json::json!("nat"), "is no key of a network of mode bridge"),
        ("n]\n[network.y", "mode", serde_json::json!("nat"), "a network cannot be called "),
    ] {
        let mut keys = serde_json::Map::new();
        keys.insert("mode".into(), "bridge".into());
        keys.insert(key.into(), value);
        let error = from_keys(name, &keys).unwrap_err();
        assert_eq!((error.kind(), error.object(), error.diagnostic()), (ErrorKind::Invalid, Some(name), None));
        assert!(error.message().contains(message), "{error:?}");
    }
}
