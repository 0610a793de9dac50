//! Descriptions of networks and vifs with any values in them, as a program may build them: one verdict by whatever door they come.

#![allow(clippy::unwrap_used)] // helpers of tests are tests

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use ipnetwork::IpNetwork;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};
use xennet_core::config::{document, networks};
use xennet_core::{
    AddressRange, BridgeNetwork, BridgeSpec, DevId, DnsDomain, DomId, Egress, Error, ErrorKind, GuestLinks, Host,
    IfName, MacAddr, Mtu, NatNetwork, Network, NetworkMode, PortForward, Protocol, RoutedNetwork, Services, Subnet,
    VifParts, VifSpec,
};

fn name() -> impl Strategy<Value = IfName> {
    select(vec![
        "lo",
        "eth0",
        "eth1",
        "xenbr0",
        "natbr0",
        "vif1.0",
        "tap3.0-emu",
        "private",
        "a.b",
        "a,b",
        "peth0",
        "x\"y",
    ])
    .prop_map(|text| text.parse().unwrap())
}

/// Addresses that meet: most lie in the subnets below.
fn address() -> impl Strategy<Value = IpAddr> {
    let near = (select(vec![10u8, 127, 192, 224, 255, 0]), 0..2u8, select(vec![0u8, 1, 5, 9, 127, 254, 255]))
        .prop_map(|(a, b, c)| IpAddr::V4(Ipv4Addr::new(a, 0, b, c)));
    let six = select(vec!["fd00:1::", "fd00:1::1", "fd00:1::9", "::", "::1", "ff02::1", "2001:db8::1"]);
    prop_oneof![4 => near, 1 => six.prop_map(|t| t.parse::<Ipv6Addr>().unwrap().into())]
}

fn network() -> impl Strategy<Value = IpNetwork> {
    (address(), any::<u8>()).prop_filter_map("no length", |(ip, bits)| {
        let most = if ip.is_ipv4() { 32 } else { 128 };
        let bits = if bits < 160 { if ip.is_ipv4() { 24 } else { 64 } } else { bits % (most + 1) };
        IpNetwork::new(ip, bits).ok()
    })
}

fn subnet() -> impl Strategy<Value = Subnet> {
    (network(), option::weighted(0.3, address())).prop_filter_map("no subnet", |(network, gateway)| {
        // Mostly with its own address, since most others are refused before they are anything.
        let own = IpNetwork::new(network.network(), network.prefix()).unwrap();
        let subnet = Subnet::new(own).ok()?;
        gateway.map_or(Some(subnet), |gateway| subnet.with_gateway(gateway).ok())
    })
}

fn forward() -> impl Strategy<Value = PortForward> {
    let port = || select(vec![0u16, 1, 80, 81, 8080, 65535]);
    (select(vec![Protocol::Tcp, Protocol::Udp]), (port(), port()), address(), port())
        .prop_filter_map("no forward", |(protocol, ports, to, to_port)| {
            PortForward::new(protocol, ports, to, to_port).ok()
        })
}

fn range() -> impl Strategy<Value = AddressRange> {
    (address(), address()).prop_filter_map("no range", |(first, last)| AddressRange::new(first, last).ok())
}

prop_compose! {
    fn services()(
        dhcp in any::<bool>(),
        dns in any::<bool>(),
        range in vec(range(), 0..2),
        domain in option::of(select(vec!["guests.example", "A-b", "x"])),
    ) -> Services {
        let mut services = Services::default();
        (services.dhcp, services.dns, services.range) = (dhcp, dns, range);
        services.domain = domain.map(|text| text.parse::<DnsDomain>().unwrap());
        services
    }
}

fn egress() -> impl Strategy<Value = Egress> {
    prop_oneof![3 => Just(Egress::DefaultRoute), 1 => name().prop_map(Egress::Link)]
}

fn bridge() -> impl Strategy<Value = BridgeSpec> {
    let delay = select(vec![0u64, 10, 1500, 2000, 15_000, 30_000, 31_000]);
    let mac = select(vec!["02:00:00:00:00:01", "00:00:00:00:00:00", "01:00:5e:00:00:01"]);
    (name(), any::<bool>(), option::of(delay), option::weighted(0.2, mac), option::of(select(vec![1400u32, 1500])))
        .prop_filter_map("no bridge", |(name, stp, delay, mac, mtu)| {
            let mac = mac.map(|text| text.parse::<MacAddr>().unwrap());
            let mtu = mtu.map(|n| Mtu::new(n).unwrap());
            let bridge = BridgeSpec::new(name).with_stp(stp).with_mtu(mtu).with_mac(mac).ok()?;
            delay.map_or(Some(bridge.clone()), |ms| bridge.with_forward_delay(Duration::from_millis(ms)).ok())
        })
}

fn mode() -> impl Strategy<Value = NetworkMode> {
    let bridged =
        (bridge(), option::of(name()), option::weighted(0.3, name())).prop_map(|(bridge, uplink, renamed)| {
            let mut mode = BridgeNetwork::new(bridge);
            (mode.uplink, mode.uplink_name) = (uplink, renamed);
            NetworkMode::Bridge(mode)
        });
    let own =
        prop_oneof![2 => Just(None), 1 => name().prop_map(|n| Some(BridgeSpec::new(n))), 1 => bridge().prop_map(Some)];
    let nat = (vec(subnet(), 0..3), egress(), own, vec(forward(), 0..3), services()).prop_map(
        |(subnets, egress, own, forwards, services)| {
            let mut mode = NatNetwork::new();
            (mode.subnets, mode.egress, mode.forwards, mode.services) = (subnets, egress, forwards, services);
            mode.guests = own.map_or(GuestLinks::PerVif, GuestLinks::Bridge);
            NetworkMode::Nat(mode)
        },
    );
    let routed = (vec(subnet(), 0..3), egress(), vec(address(), 0..2), 0..3u32, services()).prop_map(
        |(subnets, uplink, source, metric, services)| {
            let mut mode = RoutedNetwork::new();
            (mode.subnets, mode.uplink, mode.source) = (subnets, uplink, source);
            (mode.metric, mode.services) = (metric, services);
            NetworkMode::Routed(mode)
        },
    );
    prop_oneof![bridged, nat, routed]
}

/// The document of a description, which need not be a network.
fn document_of(name: IfName, mode: &NetworkMode) -> Value {
    let mut document = serde_json::to_value(mode).unwrap();
    document["name"] = json!(name);
    document
}

fn whole(e: &Error) {
    assert_eq!(e.kind(), ErrorKind::Invalid, "{}", e.report());
    assert!(e.object().is_some() && !e.message().is_empty(), "{}", e.report());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, max_global_rejects: 200_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_network_is_one_by_every_door_or_by_none(name in name(), mode in mode()) {
        let document = document_of(name, &mode);
        let read = document::read_network(&document.to_string());
        match Network::new(name, mode) {
            Ok(network) => {
                prop_assert_eq!(&read.unwrap(), &network);
                let text = networks::render([&network]);
                let parsed = networks::parse(&text).map_err(|e| TestCaseError::fail(e.report()))?;
                prop_assert_eq!(parsed.iter().collect::<Vec<_>>(), vec![&network], "{}", text);
                let keys = networks::to_keys(&network);
                prop_assert_eq!(&networks::from_keys(name.as_str(), &keys).unwrap(), &network);
                prop_assert_eq!(networks::changed(&network, &network), networks::Change::default());
            }
            Err(e) => {
                whole(&e);
                let by_document = read.unwrap_err();
                prop_assert_eq!((by_document.message(), by_document.hint()), (e.message(), e.hint()), "{}", document);
            }
        }
    }

    #[test]
    fn what_cannot_be_together_is_told_as_the_file_tells_it(a in mode(), b in mode()) {
        let network = |name: &str, mode| Network::new(name.parse().unwrap(), mode).ok();
        let Some((a, b)) = network("a", a).zip(network("b", b)) else { return Ok(()) };
        let text = networks::render([&a, &b]);
        match (networks::parse(&text), networks::contradicts(&b, [&a])) {
            (Ok(_), None) => {}
            (Err(file), Some((other, e))) => {
                prop_assert_eq!(other, &a);
                whole(&e);
                let told = file.diagnostic().map(|d| format!("{}: {}", d.message, d.rule)).unwrap();
                prop_assert_eq!(told, e.message());
            }
            (file, value) => prop_assert!(false, "{}\n{:?}\n{:?}", text, file, value),
        }
    }

    #[test]
    fn a_vif_is_one_by_every_door_or_by_none(
        bridge in option::of(name()),
        vifname in option::of(name()),
        ip in vec(network(), 0..4),
        ioemu in any::<bool>(),
    ) {
        let mut parts = VifParts::default();
        (parts.bridge, parts.vifname, parts.ip) = (bridge, vifname, ip.clone());
        parts.vif_type = ioemu.then_some(xennet_core::VifType::Ioemu);
        parts.devid = Some(DevId::FIRST);
        let texts: Vec<String> = ip.iter().map(|ip| format!("{}/{}", ip.ip(), ip.prefix())).collect();
        let document = json!({
            "devid": 0,
            "bridge": bridge,
            "ifname": vifname,
            "ip": (!texts.is_empty()).then(|| texts.join(" ")),
            "nictype": ioemu.then_some("vif_ioemu"),
        });
        let read = serde_json::from_value::<VifSpec>(document.clone());
        match VifSpec::try_from(parts) {
            Ok(vif) => {
                prop_assert_eq!(&read.unwrap(), &vif, "{}", document);
                prop_assert_eq!(&vif.to_string().parse::<VifSpec>().unwrap(), &vif);
                // An address counts once, and one with a length behind it is that address.
                prop_assert!(vif.ip().iter().enumerate().all(|(at, a)| !vif.ip()[..at].contains(a)));
                prop_assert!(vif.sources().iter().all(|n| n.ip() == n.network()));
                // The front door takes it, or says why not, and panics never.
                let _ = Host::fake().plan_attach(DomId::new(5).unwrap(), &vif).map_err(|e| e.report());
            }
            Err(e) => {
                whole(&e);
                prop_assert!(read.is_err(), "{}: {}", document, e.report());
            }
        }
    }
}

/// The vif of a document.
fn vif_of(ip: &str) -> Result<VifSpec, serde_json::Error> {
    serde_json::from_str(&format!(r#"{{"ip": "{ip}"}}"#))
}

fn own_of(text: &str) -> &str {
    text.split(' ').find(|word| word.contains('/')).unwrap()
}

#[test]
fn what_a_program_cannot_say() {
    let ip = |text: &str| text.parse::<IpAddr>().unwrap();
    let gateway = Subnet::new("10.0.0.0/24".parse().unwrap()).unwrap().with_gateway(ip("192.168.9.9"));
    assert_eq!(
        gateway.unwrap_err().message(),
        "192.168.9.9 cannot be a gateway: a gateway is an address of its subnet, 10.0.0.0/24"
    );
    let reversed = PortForward::new(Protocol::Tcp, (9000, 80), ip("10.0.0.1"), 80).unwrap_err();
    assert!(reversed.message().starts_with("9000-80 cannot be ports of a forward: "), "{reversed}");
    let beyond = PortForward::new(Protocol::Tcp, (1, 65535), ip("2001:db8::1"), 60000).unwrap_err();
    assert!(beyond.message().starts_with("60000 cannot be to_port: "), "{beyond}");
    for bad in ["224.0.0.1", "127.0.0.1", "0.0.0.0", "255.255.255.0", "255.255.255.255", "::1"] {
        let refused = VifSpec::new().with_ip(IpNetwork::from(ip(bad))).unwrap_err();
        assert!(refused.message().starts_with(&format!("ip={bad}")), "{refused}");
    }
    // An address, its mask and its gateway: the gateway never becomes an address of the guest's.
    for text in ["192.0.2.5 255.255.255.0 192.0.2.1", "192.0.2.5/255.255.255.0"] {
        let e = VifSpec::parse_ip(text).unwrap_err();
        assert!(e.report().contains("mask"), "{}", e.report());
    }
    // An address with its prefix length, and its gateway, which is the first or the last host.
    for (text, gateway, both) in [
        ("192.0.2.5/24 192.0.2.1", "192.0.2.1", "192.0.2.5 192.0.2.1"),
        ("192.0.2.5/24 192.0.2.254", "192.0.2.254", "192.0.2.5 192.0.2.254"),
        ("198.51.100.7 192.0.2.5/24 192.0.2.1", "192.0.2.1", "192.0.2.5 192.0.2.1"),
        ("192.0.2.5/31 192.0.2.4", "192.0.2.4", "192.0.2.5 192.0.2.4"),
        ("2001:db8::5/64 2001:db8::1", "2001:db8::1", "2001:db8::5 2001:db8::1"),
    ] {
        let told = format!("write ip={}; if the guest has both addresses: ip={both}", own_of(text));
        let of_text = VifSpec::parse_ip(text).unwrap_err();
        let of_value = vif_of(text).unwrap_err();
        let of_line = format!("ip={text}").parse::<VifSpec>().unwrap_err();
        assert!(of_value.to_string().contains("a gateway is no guest's address"), "{of_value}");
        for e in [of_text, of_line] {
            assert_eq!(e.kind(), ErrorKind::Invalid);
            assert!(e.report().contains("a gateway is no guest's address"), "{}", e.report());
            assert!(e.to_string().contains(gateway) && e.hint() == Some(told.as_str()), "{text}: {}", e.report());
        }
        let added = text.split(' ').try_fold(VifSpec::new(), |vif, ip| vif.with_ip(ip.parse().unwrap()));
        assert_eq!(added.unwrap_err().hint(), Some(told.as_str()));
    }
    for text in ["192.0.2.5/24 192.0.2.6", "192.0.2.0/24 192.0.2.1", "192.0.2.5 192.0.2.1", "192.0.2.1/24 192.0.2.1"] {
        assert_eq!(VifSpec::parse_ip(text).unwrap().len(), 2, "{text}");
    }
    // Blanks at the ends do not count, in no face.
    for text in ["192.0.2.40 192.0.2.40 ", " 192.0.2.40", "  192.0.2.40  "] {
        let line: VifSpec = format!("mac=00:16:3e:00:00:01,ip={text}").parse().unwrap();
        let value = vif_of(text).unwrap();
        assert_eq!((line.ip_text().as_str(), value.ip_text().as_str()), ("192.0.2.40", "192.0.2.40"), "{text:?}");
        assert!(VifSpec::parse_ip(text).is_ok(), "{text:?}");
    }
    assert!(VifSpec::parse_ip("  ").unwrap_err().report().contains("leave ip= out"));
    let vif: VifSpec = "ip=192.0.2.5/24 192.0.2.5/24 192.0.2.0/28".parse().unwrap();
    assert_eq!(vif.ip_text(), "192.0.2.5/24 192.0.2.0/28");
    let sources: Vec<String> = vif.sources().iter().map(ToString::to_string).collect();
    assert_eq!(sources, ["192.0.2.5/32", "192.0.2.0/28"], "the address, and not the network around it");
}
