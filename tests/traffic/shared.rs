//! Guests with several vifs in one network: what they send by one of them from the address of another.

use std::collections::BTreeSet;

use xennet_core::backend::Backend as _;
use xennet_core::backend::netlink::Netlink;
use xennet_core::snapshot::{NftTableId, Part, Scope};
use xennet_core::{DevId, GuestLinks, MacAddr, NetworkMode, RoutedNetwork, Subnet, VifId, VifSpec};
use xennet_tests::frame::{ICMPV6, icmpv6, ipv4_udp, ipv6, join};
use xennet_tests::station::{Program, Station};
use xennet_tests::{Guest, GuestSpec, in_netns};

use super::lab::{LONG, domid};
use super::nat::{Lab, network};

/// What the gate has of guests with several vifs.
fn elements() -> BTreeSet<String> {
    let seen = Netlink::open().unwrap().observe(&Scope::none().with(Part::Nft(NftTableId::gate()))).unwrap().render();
    let of_several = |line: &&str| line.contains(" of-domain {") || line.contains(" shared");
    seen.lines().filter(|line| line.starts_with("nft add element")).filter(of_several).map(str::to_owned).collect()
}

fn packets(host: &mut xennet_core::Host, link: &str) -> u64 {
    let all = host.violations().unwrap();
    all.iter().filter(|one| one.link.as_str() == link).map(|one| one.packets).sum()
}

fn check(test: &str, mode: impl Fn() -> NetworkMode + Send + Sync) {
    in_netns(test, || {
        let mut lab = Lab::of(mode());
        // The first guest has one vif more.
        let id = VifId::new(domid(1), DevId::new(1).unwrap());
        let mac = [0, 0x16, 0x3e, 0, 1, 1];
        let second = Guest::new(&GuestSpec { id, mac: MacAddr::new(mac), addresses: Vec::new() }).unwrap();
        let line: VifSpec = "devid=1,mac=00:16:3e:00:01:01,bridge=lan,ip=10.1.0.7 fd00:1::17".parse().unwrap();
        lab.host.attach(domid(1), &line).unwrap_or_else(|e| panic!("{}", e.report()));
        assert_eq!(elements().len(), 9, "{:#?}", elements());
        let program = Program::compile();
        let mut from = [
            Station::start(&program, lab.guests[0].namespace(), Guest::LINK),
            Station::start(&program, second.namespace(), Guest::LINK),
        ];
        // To the stations' own gateways by broadcast: what the gate lets pass is routed, or not, but it is not counted.
        let to = [255; 6];
        let v4 =
            |from: [u8; 4], mac: [u8; 6]| join(&[&to, &mac, &ipv4_udp((from.into(), [192, 0, 2, 254].into()), (9, 9))]);
        let v6 = |from: &str, mac: [u8; 6]| {
            let ends = (from.parse().unwrap(), "2001:db8::fe".parse().unwrap());
            join(&[&to, &mac, &ipv6(ends, ICMPV6, &icmpv6(ends, 128, &[0; 8]))])
        };
        let macs = [[0, 0x16, 0x3e, 0, 0, 1], mac];
        // Each from both addresses of its guest.
        for (station, mac) in from.iter_mut().zip(macs) {
            for own in [v4([10, 1, 0, 1], mac), v4([10, 1, 0, 7], mac), v6("fd00:1::11", mac), v6("fd00:1::17", mac)] {
                station.send(1, &own);
            }
        }
        // And from those of another guest, which are counted: then what was sent before has been looked at.
        for ((station, mac), link) in from.iter_mut().zip(macs).zip(["vif1.0", "vif1.1"]) {
            station.send(1, &v4([10, 1, 0, 2], mac));
            station.send(1, &v6("fd00:1::12", mac));
            let end = std::time::Instant::now() + LONG;
            while packets(&mut lab.host, link) < 2 {
                assert!(std::time::Instant::now() < end, "{link}: another guest's addresses are counted");
            }
            assert_eq!(packets(&mut lab.host, link), 2, "{link}: its guest's addresses pass");
        }
        // A vif takes its own addresses with it.
        lab.host.detach(domid(1), DevId::new(1).unwrap()).unwrap_or_else(|e| panic!("{}", e.report()));
        assert_eq!(elements().len(), 6, "{:#?}", elements());
        from[0].send(1, &v4([10, 1, 0, 7], macs[0]));
        let end = std::time::Instant::now() + LONG;
        while packets(&mut lab.host, "vif1.0") < 3 {
            assert!(std::time::Instant::now() < end, "the address of a vif that has gone is nobody's");
        }
        drop(from);
        lab.end();
        assert_eq!(elements(), BTreeSet::new());
    });
}

#[test]
fn by_any_vif_of_a_guest_behind_nat() {
    check("shared::by_any_vif_of_a_guest_behind_nat", || {
        NetworkMode::Nat(network(GuestLinks::PerVif).with_any_vif(true))
    });
}

#[test]
fn by_any_vif_of_a_guest_with_routes() {
    check("shared::by_any_vif_of_a_guest_with_routes", || {
        let subnets = ["10.1.0.0/24", "fd00:1::/64"].map(|n| Subnet::new(n.parse().unwrap()).unwrap());
        NetworkMode::Routed(RoutedNetwork::new().with_subnets(subnets.into()).with_any_vif(true))
    });
}
