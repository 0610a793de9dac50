//! Forwards of ranges of ports: one element each, two a port by earlier versions, and in each other's way.

use xennet_core::backend::Backend;
use xennet_core::config::networks;
use xennet_core::exec::Subject;
use xennet_core::snapshot::{NftData, NftElement, NftKey, NftTableId, NftValue};
use xennet_core::step::{NftOp, NftTransaction, Step};
use xennet_core::{ErrorKind, Guests, Host, Network};
use xennet_tests::Shared;

use super::ownership::both;
use super::{look, name, run, whole};

fn network(which: &str, subnet: &str, forwards: &str) -> Network {
    let text = format!(
        "[network.{which}]\nmode = \"nat\"\nsubnets = [\"{subnet}.0/24\"]\negress = \"lan0\"\nforward = [{forwards}]\n"
    );
    networks::parse(&text).unwrap_or_else(|e| panic!("{}", e.report())).get(which).unwrap().clone()
}

fn tcp(ports: &str, to: &str) -> String {
    format!("{{ protocol = \"tcp\", ports = \"{ports}\", to = \"{to}\" }}")
}

/// The ports that are handed on: the first and last of each element, without what stands for their own number.
fn handed_on(on: &mut dyn Backend) -> Vec<(u16, u16)> {
    let now = look(on);
    let Some(gate) = now.nft.get(&NftTableId::gate()) else { return Vec::new() };
    let port = |values: &[NftValue]| match values[1] {
        NftValue::U16(port) => port,
        _ => panic!("{values:?}"),
    };
    let keys = ["forward4", "forwardrange4"].into_iter().flat_map(|set| gate.sets[set].elements.keys());
    let mut all: Vec<(u16, u16)> = keys.map(|k| (port(&k.first), port(k.last.as_ref().unwrap_or(&k.first)))).collect();
    all.sort_unstable();
    all
}

/// What an earlier version made of 8080-8082.
fn as_earlier(on: &mut dyn Backend) {
    let key = |port| vec![NftValue::U8(6), NftValue::U16(port)];
    let range = NftKey { first: key(8080), last: Some(key(8082)) };
    let mut ops = vec![NftOp::DelElements { set: "forwardrange4".into(), keys: vec![range] }];
    let to = NftValue::Ipv4("10.1.0.2".parse().unwrap());
    for (set, data) in [("forward4", None), ("port4", Some(()))] {
        let elements = (8080..=8082).map(|port| {
            let value = if data.is_some() { NftValue::U16(port) } else { to.clone() };
            (NftKey::exact(key(port)), NftElement::default().with_data(NftData::Value(vec![value])))
        });
        ops.push(NftOp::AddElements { set: set.into(), elements: elements.collect() });
    }
    run(on, Step::Nft(NftTransaction::new(NftTableId::gate(), ops)));
}

#[test]
fn what_an_earlier_version_made_of_a_range_goes_with_it() {
    both("forwards::what_an_earlier_version_made_of_a_range_goes_with_it", |host, world| {
        let (with, without) = (network("a", "10.1.0", &tcp("8080-8082", "10.1.0.2")), network("a", "10.1.0", ""));
        let moved = network("a", "10.1.0", &tcp("8080-8082", "10.1.0.3"));
        let one = vec![(8080, 8082)];
        host.start_network(&with).unwrap();
        world(&mut |on| assert_eq!(handed_on(on), one));
        for (next, left) in [(&with, one.clone()), (&without, vec![]), (&moved, one.clone())] {
            if !left.is_empty() || next == &without {
                host.start_network(&with).unwrap();
            }
            world(&mut |on| as_earlier(on));
            world(&mut |on| assert_eq!(handed_on(on), [(8080, 8080), (8081, 8081), (8082, 8082)]));
            host.start_network(next).unwrap_or_else(|e| panic!("{}", e.report()));
            world(&mut |on| assert_eq!(handed_on(on), left, "{next:?}"));
        }
        host.stop_network(&name("a"), Guests::MustHaveGone).unwrap();
        world(&mut |on| assert_eq!(handed_on(on), []));
    });
}

/// Somebody has removed one of the two elements of a port that is given up: the other one goes all the same.
#[test]
fn half_a_forward_goes_when_it_is_given_up() {
    both("forwards::half_a_forward_goes_when_it_is_given_up", |host, world| {
        let web = "{ protocol = \"tcp\", ports = \"8081\", to = \"10.1.0.2\", to_port = 80 }";
        let (with, without) = (network("a", "10.1.0", web), network("a", "10.1.0", ""));
        let key = NftKey::exact([NftValue::U8(6), NftValue::U16(8081)]);
        for lost in ["forward4", "port4"] {
            host.start_network(&with).unwrap();
            world(&mut |on| {
                let ops = vec![NftOp::DelElements { set: lost.into(), keys: vec![key.clone()] }];
                run(on, Step::Nft(NftTransaction::new(NftTableId::gate(), ops)));
            });
            host.start_network(&without).unwrap_or_else(|e| panic!("{}", e.report()));
            world(&mut |on| {
                let gate = look(on).nft.remove(&NftTableId::gate()).unwrap();
                for set in ["forward4", "port4"] {
                    assert!(gate.sets[set].elements.is_empty(), "{lost} was removed: {:?}", gate.sets[set]);
                }
            });
            host.stop_network(&name("a"), Guests::MustHaveGone).unwrap();
        }
    });
}

#[test]
fn what_another_network_has_of_a_range_by_now_is_left_to_it() {
    let shared = Shared::new(super::fake(true));
    for port in ["8081", "8082-8090"] {
        let mut host = Host::with_backend(Box::new(shared.clone()));
        host.start_network(&network("a", "10.1.0", &tcp("8080-8082", "10.1.0.2"))).unwrap();
        host.start_network(&network("a", "10.1.0", &tcp("443", "10.1.0.2"))).unwrap();
        host.start_network(&network("b", "10.2.0", &tcp(port, "10.2.0.2"))).unwrap();
        let before = handed_on(&mut shared.clone());
        let e = host.undo(Subject::Network(name("a"))).unwrap_err();
        assert!(e.kind() == ErrorKind::Conflict && e.message().contains("network b hands on some"), "{}", e.report());
        whole(&e);
        assert_eq!(handed_on(&mut shared.clone()), before);
        // The other one is gone: then it can be.
        host.stop_network(&name("b"), Guests::MustHaveGone).unwrap();
        host.undo(Subject::Network(name("a"))).unwrap_or_else(|e| panic!("{}", e.report()));
        assert_eq!(handed_on(&mut shared.clone()), [(8080, 8082)]);
        host.stop_network(&name("a"), Guests::MustHaveGone).unwrap();
        assert_eq!(handed_on(&mut shared.clone()), []);
    }
}
