//! Properties of every reader: what is printed reads back to the same value, and no text makes a reader panic.

#![allow(clippy::unwrap_used)] // helpers of tests are tests

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use xennet_core::config::{self, Dialect, document, parse_attach, parse_vif, parse_vif_list, parse_vif_xl};
use xennet_core::ipnetwork::IpNetwork;
use xennet_core::macgen::Scheme;
use xennet_core::{
    BackendDomain, ColoKey, DevId, DomId, GuestMac, IfName, MacAddr, Mtu, Policy, RateLimit, Tagging, Vid, VifParts,
    VifSpec, VifType, VlanSpec, Word,
};

#[path = "../fuzz/readers.rs"]
#[allow(unreachable_pub)] // public for the fuzz targets
mod readers;

fn mac() -> impl Strategy<Value = GuestMac> {
    any::<[u8; 6]>().prop_filter_map("not a guest's", |octets| GuestMac::new(MacAddr::new(octets)).ok())
}

fn name() -> impl Strategy<Value = IfName> {
    "[!#$&(-+.0-9;-\\[\\]-~-]{1,15}".prop_filter_map("not a link's name", |text| text.parse().ok())
}

fn word() -> impl Strategy<Value = Word> {
    prop_oneof!["[a-zA-Z0-9./_=+-]{1,20}", "\\PC{1,8}"].prop_filter_map("not a word", |text| text.parse().ok())
}

fn rate() -> impl Strategy<Value = RateLimit> {
    let common = (1..100_000u64, select(vec![1u32, 50_000, 20_000, 1_000_000, 3_000_001]));
    prop_oneof![common, (1..=u64::MAX, 1..=u32::MAX), (1..100u64, 1..=u32::MAX)]
        .prop_map(|(bytes, usecs)| RateLimit::new(bytes, usecs).unwrap())
}

fn vlan() -> impl Strategy<Value = VlanSpec> {
    let vid = || prop_oneof![1..20u16, 1..=4094u16].prop_map(|n| Vid::new(n).unwrap());
    (vid(), vec((vid(), any::<bool>()), 0..12)).prop_map(|(pvid, others)| {
        others.into_iter().fold(VlanSpec::access(pvid), |vlan, (vid, untagged)| {
            vlan.with(vid, if untagged { Tagging::Untagged } else { Tagging::Tagged })
        })
    })
}

fn network() -> impl Strategy<Value = IpNetwork> {
    let v4 = (any::<u32>(), 0..=32u8).prop_map(|(ip, bits)| (IpAddr::V4(Ipv4Addr::from(ip)), bits));
    let v6 = (any::<u128>(), 0..=128u8).prop_map(|(ip, bits)| (IpAddr::V6(Ipv6Addr::from(ip)), bits));
    prop_oneof![v4, v6].prop_map(|(ip, bits)| IpNetwork::new(ip, bits).unwrap())
}

fn backend() -> impl Strategy<Value = BackendDomain> {
    let name = word().prop_filter_map("digits alone", |w| w.as_str().parse().ok());
    prop_oneof![(0..=32751u32).prop_map(|n| BackendDomain::Id(DomId::new(n).unwrap())), name]
}

prop_compose! {
    fn links()(
        bridge in option::of(name()),
        gatewaydev in option::of(name()),
        vifname in option::of(name()),
        forwarddev in option::of(name()),
        script in option::of(word()),
        model in option::of(word()),
        backend in option::of(backend()),
    ) -> VifParts {
        let mut parts = VifParts::default();
        (parts.bridge, parts.gatewaydev, parts.vifname, parts.forwarddev) = (bridge, gatewaydev, vifname, forwarddev);
        (parts.script, parts.model, parts.backend) = (script, model, backend);
        parts
    }
}

prop_compose! {
    fn parts()(
        links in links(),
        devid in option::of(any::<u16>()),
        mac in option::of(mac()),
        ip in vec(network(), 0..4),
        vif_type in option::of(select(vec![VifType::Vif, VifType::Ioemu])),
        rate in option::of(rate()),
        mtu in option::of(68..=65517u32),
        vlan in option::of(vlan()),
        trusted in option::of(any::<bool>()),
        isolated in any::<bool>(),
        policy in option::of(select(Policy::ALL.to_vec())),
        further in (vec(mac(), 0..3), vec(network(), 0..3)),
        colo in btree_map(select(ColoKey::all().collect::<Vec<_>>()), word(), 0..3),
    ) -> VifParts {
        let mut parts = links;
        parts.devid = devid.map(|n| DevId::new(u32::from(n)).unwrap());
        (parts.mac, parts.ip, parts.vif_type, parts.rate, parts.vlan) = (mac, ip, vif_type, rate, vlan);
        parts.mtu = mtu.map(|n| Mtu::new(n).unwrap());
        (parts.trusted, parts.isolated, parts.colo) = (trusted, isolated, colo);
        parts.policy = policy;
        parts.macs = further.0;
        parts.prefix = further.1.into_iter().filter(|n| n.ip() == n.network()).collect();
        parts
    }
}

fn spec() -> impl Strategy<Value = VifSpec> {
    parts().prop_filter_map("no vif", |parts| VifSpec::try_from(parts).ok())
}

/// Texts that come near to being right: pieces of specs, files and values in any order.
fn pieces() -> impl Strategy<Value = String> {
    let piece = select(vec![
        "mac=",
        "bridge=",
        "rate=",
        "vlan=",
        "ip=",
        "policy=",
        "macs=",
        "prefix=",
        "strict",
        "mtu=",
        "devid=",
        "type=",
        "trusted",
        "vif",
        " = ",
        "+=",
        "[",
        "]",
        "'",
        "\"",
        ",",
        ",",
        "\n",
        "\\",
        "\\1",
        "#",
        ";",
        " ",
        "\t",
        "00:16:3e:01:02:03",
        "10Mb/s",
        "@",
        "50ms",
        "018",
        "10p/20",
        "100+10x4",
        "-",
        "10.0.0.1",
        "/24",
        "::1",
        "é",
        "\u{1F980}",
        "\0",
        "0x",
        "ff",
        "18446744073709551615",
        "(",
        ")",
        "'''",
        "xenbr0",
        "colo_sock_mirror_id=",
        "ioemu",
        "vifname=",
    ]);
    prop_oneof![vec(piece, 0..24).prop_map(|p| p.concat()), any::<String>()]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn values_read_back(
        mac in any::<[u8; 6]>().prop_map(MacAddr::new),
        rate in rate(),
        vlan in vlan(),
        name in name(),
        word in word(),
        backend in backend(),
        domid in 0..=32751u32,
        devid in any::<u16>(),
    ) {
        prop_assert_eq!(mac.to_string().parse::<MacAddr>().unwrap(), mac);
        prop_assert_eq!(MacAddr::parse_lenient(&mac.to_string()).unwrap(), mac);
        prop_assert_eq!(MacAddr::parse_as_libxl(&mac.to_string()), Some(mac));
        prop_assert_eq!(rate.to_string().parse::<RateLimit>().unwrap(), rate);
        prop_assert_eq!(RateLimit::from_backend_rate(&rate.backend_rate()).unwrap(), rate);
        prop_assert_eq!(vlan.to_string().parse::<VlanSpec>().unwrap(), vlan);
        prop_assert_eq!(name.to_string().parse::<IfName>().unwrap(), name);
        prop_assert_eq!(&word.to_string().parse::<Word>().unwrap(), &word);
        prop_assert_eq!(backend.to_string().parse::<BackendDomain>().unwrap(), backend);
        let (domid, devid) = (DomId::new(domid).unwrap(), DevId::new(u32::from(devid)).unwrap());
        prop_assert_eq!(domid.to_string().parse::<DomId>().unwrap(), domid);
        prop_assert_eq!(devid.to_string().parse::<DevId>().unwrap(), devid);
    }

    #[test]
    fn specs_read_back(spec in spec()) {
        let text = spec.to_string();
        let parsed = parse_vif(&text, Dialect::Strict).map_err(|e| TestCaseError::fail(e.report()))?;
        prop_assert_eq!(&parsed.value, &spec, "{}", text);
        prop_assert!(parsed.notes.is_empty());
        // The document, the list and the arguments say the same.
        let document = serde_json::to_value(&spec).unwrap();
        prop_assert_eq!(&serde_json::from_value::<VifSpec>(document).unwrap(), &spec);
        let list = parse_vif_list(&format!("# one\nvif = [\n '{text}' ] # two\n"), Dialect::Strict).unwrap();
        prop_assert_eq!(&list.value, &vec![spec.clone().numbered(DevId::FIRST)]);
        let args: Vec<&str> = text.split(',').filter(|a| !a.is_empty()).collect();
        prop_assert_eq!(&parse_attach(&args, Dialect::Strict).unwrap().value, &spec);
        // And where xl knows every word of it, xl reads the same.
        let is_ours = spec.isolated() || spec.policy().is_some() || !spec.macs().is_empty() || !spec.prefix().is_empty();
        if !is_ours && !text.contains("B/s,") {
            let known = spec.rate().is_none_or(|r| r.to_string().contains("B/s"));
            if known {
                let nic = parse_vif_xl(&text).unwrap();
                prop_assert_eq!(VifSpec::try_from(&nic.value).unwrap(), spec.numbered(DevId::FIRST));
            }
        }
    }

    #[test]
    fn no_text_makes_a_reader_panic(text in pieces()) {
        readers::all(&text);
    }

    #[test]
    fn no_settings_make_their_reader_panic(
        lines in vec((select(vec!["deadline", "hooks", "isolated", "syslog", "x", "[a", "\"", ""]), "[ =]{1,3}", r#"(["'\[\]{},=#0-9a-z./\\ \n-]|true){0,12}"#), 0..6)
    ) {
        let text: Vec<String> = lines.iter().map(|(key, equals, value)| format!("{key}{equals}{value}")).collect();
        readers::settings(&text.join("\n"));
    }

    /// Texts that come near to what xend read.
    #[test]
    fn no_old_config_makes_its_reader_panic(
        pieces in vec(select(vec![
            "(", ")", "(", ")", "network-script", " ", "\n", " ", "network-route", "vif-script", " ", "  ", "\n", "'", "\"", "#", ";", "\\", "x4", "12", "é",
            "\u{4}", "@", "network-bridge", "network-nat", "bridge=", "netdev=", "eth0", "xenbr0", "vifnum=1", "\t", "\0",
            "start", "stop", "$1", "$@", "${", "}", "{", "$(", "`", "&&", "||", ">", "<<", "case ", " in ", "esac", ";;", "if ", "fi",
            "for ", "do", "done", "a=", "$a", "exec ", "exit", "shift", "[", "f()", "dhcp=yes", "antispoof=yes", "|",
        ]), 0..20)
    ) {
        readers::xend(&pieces.concat());
    }

    #[test]
    fn no_bytes_make_a_reader_panic(bytes in vec(any::<u8>(), 0..64)) {
        readers::bytes(&bytes);
    }

    /// What strict takes, xl takes, and reads the same: a spec that was tested here is safe to give to xl.
    #[test]
    fn strict_is_a_part_of_xl(text in pieces()) {
        if let Ok(strict) = document::vif(&text, Dialect::Strict) {
            let strict = serde_json::json!(strict.value);
            let ours = ["isolated", "policy", "macs", "prefix"];
            let foreign = ours.iter().any(|key| text.contains(key)) || strict["rate_interval_usecs"].is_u64() && !text.contains("/s");
            if !foreign {
                let xl = document::vif(&text, Dialect::Xl).map_err(|e| TestCaseError::fail(e.report()))?;
                let xl = serde_json::json!(xl.value);
                for (key, value) in strict.as_object().unwrap() {
                    if !matches!(key.as_str(), "ip" | "vlan") {
                        prop_assert_eq!(&xl[key], value, "{}", key);
                    }
                }
            }
        }
    }

    #[test]
    fn generated_addresses_are_guests(seed in ".{0,40}", devid in 0..50u32, entropy in any::<[u8; 6]>()) {
        let devid = DevId::new(devid).unwrap();
        for scheme in Scheme::ALL {
            let mac = scheme.generate(Some(&seed), devid, entropy).unwrap();
            prop_assert!(GuestMac::new(mac.get()).is_ok());
            prop_assert_eq!(mac.get().is_xen_oui(), matches!(scheme, Scheme::Libxl | Scheme::Xen24));
            prop_assert_eq!(mac.get().is_local(), !mac.get().is_xen_oui());
            if scheme.is_deterministic() {
                prop_assert_eq!(scheme.generate(Some(&seed), devid, [0; 6]).unwrap(), mac);
            }
        }
    }
}

/// Of a text with `%` the kernel makes up a name (`web%d`), or refuses it. No reader takes one for a link's name.
#[test]
fn a_pattern_is_no_name_for_any_reader() {
    let networks = |line: &str| config::networks::parse(&format!("[network.lan]\n{line}\n")).map(|_| ());
    for name in ["web%d", "%d", "100%", "a%%b", "%s"] {
        let told = [
            name.parse::<IfName>().map(|_| ()),
            serde_json::from_str::<IfName>(&format!("\"{name}\""))
                .map(|_| ())
                .map_err(|e| xennet_core::Error::new(xennet_core::ErrorKind::Invalid, e.to_string())),
            parse_vif(&format!("vifname={name}"), Dialect::Strict).map(|_| ()),
            parse_vif(&format!("vifname={name}"), Dialect::Xl).map(|_| ()),
            parse_vif(&format!("bridge={name}"), Dialect::Xl).map(|_| ()),
            parse_attach(&[format!("vifname={name}")], Dialect::Xl).map(|_| ()),
            networks(&format!("mode = \"bridge\"\nuplink = \"{name}\"")),
            config::networks::parse(&format!("[network.\"{name}\"]\nmode = \"nat\"\n")).map(|_| ()),
        ];
        for (reader, told) in told.into_iter().enumerate() {
            let e = told.expect_err(name);
            assert!(e.report().contains("pattern"), "{reader}, {name}: {}", e.report());
        }
    }
}
