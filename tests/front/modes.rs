//! From mode to mode: bridge, NAT and routed, in any order, on both backends.

use xennet_core::snapshot::Snapshot;
use xennet_core::{Egress, Guests, Host, NatNetwork, Network, NetworkMode, RoutedNetwork, Subnet, exec::Subject};

use super::ownership::{World, both};
use super::{FIRST, domid, look, name, spec};

fn networks() -> [Network; 2] {
    let subnets = |list: [&str; 2]| list.map(|n| Subnet::new(n.parse().unwrap()).unwrap()).to_vec();
    let mut nat = NatNetwork::new();
    nat.subnets = subnets(["10.1.0.0/24", "fd00:1::/64"]);
    nat.egress = Egress::Link(name("lan0"));
    let mut routed = RoutedNetwork::new();
    routed.subnets = subnets(["10.2.0.0/24", "fd00:2::/64"]);
    routed.uplink = Egress::Link(name("lan0"));
    [
        Network::new(name("hidden"), NetworkMode::Nat(nat)).unwrap(),
        Network::new(name("seen"), NetworkMode::Routed(routed)).unwrap(),
    ]
}

/// What the vif of a domain may be asked to be.
fn wish(dom: u32, which: usize) -> String {
    let mac = format!("mac=00:16:3e:00:00:0{dom}");
    match which {
        0 => format!("{mac},bridge=xenbr0"),
        1 => format!("{mac},bridge=xenbr1,ip=192.0.2.10{dom},vifname=web{dom}"),
        2 => format!("{mac},bridge=hidden,ip=10.1.0.{dom}"),
        3 => format!("{mac},bridge=hidden,ip=10.1.0.1{dom} fd00:1::1{dom},vifname=web{dom}"),
        4 => format!("{mac},bridge=hidden,ip=10.1.0.{dom} fd00:1::2{dom}"),
        5 => format!("{mac},bridge=seen,ip=10.2.0.{dom} 10.2.0.{dom}8/29 fd00:2::1{dom}"),
        8 => format!("{mac},bridge=xenbr0,ip=192.0.2.10{dom},policy=disabled"),
        9 => format!("{mac},bridge=xenbr1,prefix=198.51.100.0/24,macs=00:16:3e:00:01:0{dom},vifname=web{dom}"),
        10 => format!("{mac},bridge=xenbr0,ip=192.0.2.10{dom},policy=mac"),
        6 => format!("{mac},script=vif-route,ip=10.2.0.{dom},vifname=web{dom}"),
        _ => format!("{mac},script=vif-nat,ip=10.1.0.{dom},mtu=1400"),
    }
}

const WISHES: u64 = 11;

fn next(dice: &mut u64, end: u64) -> u64 {
    *dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    (*dice >> 33) % end
}

#[test]
fn any_mode_from_any_other() {
    both("modes::any_mode_from_any_other", |host, world| {
        let state = |world: World<'_>| {
            let mut seen = Snapshot::default();
            world(&mut |on| seen = look(on));
            seen
        };
        let empty = state(world);
        for network in networks() {
            host.start_network(&network).unwrap_or_else(|e| panic!("{}", e.report()));
        }
        let mut dice = 17;
        let (mut attached, mut undone) = (0, 0);
        for step in 0..60 {
            let dom = u32::try_from(1 + next(&mut dice, 2)).unwrap();
            let before = state(world);
            match next(&mut dice, 6) {
                0 => drop(host.detach(domid(dom), FIRST).unwrap_or_else(|e| panic!("step {step}: {}", e.report()))),
                more => {
                    let text = wish(dom, usize::try_from(next(&mut dice, WISHES)).unwrap());
                    let said = |e: xennet_core::Error| -> usize { panic!("step {step}: {text}: {}", e.report()) };
                    let steps = host.attach(domid(dom), &spec(&text)).map_or_else(said, |a| a.steps);
                    let now = state(world);
                    assert_eq!(host.attach(domid(dom), &spec(&text)).unwrap().steps, 0, "step {step}: {text}");
                    assert_eq!(now.changes(&state(world)), [], "step {step}: {text}");
                    attached += 1;
                    if more == 5 && steps > 0 {
                        host.undo(Subject::Vif(xennet_core::VifId::new(domid(dom), FIRST)))
                            .unwrap_or_else(|e| panic!("step {step}: undo {text}: {}", e.report()));
                        assert_eq!(before.changes(&state(world)), [], "step {step}: undo {text}");
                        undone += 1;
                    }
                }
            }
        }
        assert!(attached > 30 && undone > 3, "{attached} {undone}");
        end(host);
        let left: Vec<String> = empty.changes(&state(world)).iter().map(ToString::to_string).collect();
        // Names that were asked for, and that no address is made: nothing that anybody could meet.
        assert!(left.iter().all(|c| c.contains("ip link")), "{left:#?}");
    });
}

fn end(host: &mut Host) {
    for dom in [1, 2] {
        host.detach(domid(dom), FIRST).unwrap();
    }
    for network in networks() {
        host.stop_network(&network.name(), Guests::MustHaveGone).unwrap_or_else(|e| panic!("{}", e.report()));
    }
}
