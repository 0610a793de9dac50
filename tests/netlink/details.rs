//! What is no state: carriers, counters, learned entries, other programs' tables.

use std::net::IpAddr;
use std::process::Command;
use std::time::{Duration, Instant};

use xennet_core::backend::Backend;
use xennet_core::snapshot::{Details, NftFamily, NftPolicy, NftTableId, OperState, PortForwarding};
use xennet_tests::in_netns;
use xennet_tests::steps::name;

use crate::Kernel;

/// Runs a program, which has to succeed.
fn run(program: &str, arguments: &str) {
    let status = Command::new(program).args(arguments.split_whitespace()).status();
    assert!(status.as_ref().is_ok_and(std::process::ExitStatus::success), "{program} {arguments}: {status:?}");
}

impl Kernel {
    fn details(&mut self) -> Details {
        let (details, mut missed) = self.0.details().unwrap();
        // Their files belong to the root of the host.
        missed.retain(|m| m.what != "tables of iptables-legacy");
        assert_eq!(missed, []);
        details
    }

    /// Looks until it is so: carriers come some milliseconds after the link.
    fn details_when(&mut self, so: impl Fn(&Details) -> bool) -> Details {
        let end = Instant::now() + Duration::from_secs(10) * xennet_tests::slower();
        loop {
            let details = self.details();
            if so(&details) {
                return details;
            }
            assert!(Instant::now() < end, "{details:#?}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

#[test]
fn a_carrier_comes_with_the_other_end_and_a_port_forwards_then() {
    in_netns("details::a_carrier_comes_with_the_other_end_and_a_port_forwards_then", || {
        let mut kernel = Kernel::open();
        kernel.bridge("xenbr0");
        kernel.veth("eth0", "peer0");
        kernel.enslave("eth0", "xenbr0");
        kernel.up("xenbr0");
        kernel.up("eth0");
        run("ip", "link set xenbr0 type bridge forward_delay 0");
        let before = kernel.details_when(|d| !d.links[&name("eth0")].carrier);
        let port = &before.links[&name("eth0")];
        assert_eq!((port.state, port.port_state), (OperState::LowerLayerDown, Some(PortForwarding::Disabled)));
        kernel.up("peer0");
        let forwards = |d: &Details| d.links[&name("eth0")].port_state == Some(PortForwarding::Forwarding);
        let after = kernel.details_when(forwards);
        let port = &after.links[&name("eth0")];
        assert!(port.carrier && port.lower.is_none(), "{port:?}");
        assert_eq!(port.state, OperState::Up);
        assert_eq!(after.links[&name("xenbr0")].port_state, None);
        run("ip", "link set xenbr0 type bridge mcast_querier 1");
        let bridge = kernel.details().links[&name("xenbr0")].clone();
        assert!(bridge.querier && bridge.querier_seen == Some(true), "{bridge:?}");
    });
}

#[test]
fn what_was_learned_and_counted_is_told() {
    in_netns("details::what_was_learned_and_counted_is_told", || {
        let mut kernel = Kernel::open();
        kernel.bridge("xenbr0");
        kernel.veth("eth0", "peer0");
        kernel.enslave("eth0", "xenbr0");
        run("ip", "link set xenbr0 type bridge forward_delay 0");
        ["xenbr0", "eth0", "peer0"].iter().for_each(|link| kernel.up(link));
        kernel.address("xenbr0", "192.0.2.1/24");
        kernel.details_when(|d| d.links[&name("eth0")].port_state == Some(PortForwarding::Forwarding));
        let asked: IpAddr = "192.0.2.77".parse().unwrap();
        let socket = std::net::UdpSocket::bind("192.0.2.1:0").unwrap();
        socket.send_to(b"x", (asked, 9)).unwrap();
        let details = kernel.details_when(|d| d.neighbours.iter().any(|n| n.address == asked && n.silent));
        let neighbour = details.neighbours.iter().find(|n| n.address == asked).unwrap();
        assert_eq!((neighbour.link, neighbour.mac, neighbour.silent), (name("xenbr0"), None, true));
        // Its question left through the port, and something of the other end's own comes back: a station.
        let peer = kernel.link("peer0").mac.unwrap();
        let details = kernel.details_when(|d| d.stations.iter().any(|s| s.mac == peer));
        assert_eq!(details.stations.iter().find(|s| s.mac == peer).unwrap().port, name("eth0"));
        let counters = details.links[&name("eth0")].counters;
        assert!(counters.tx_packets > 0 && counters.tx_bytes > 0 && counters.rx_packets > 0, "{counters:?}");
    });
}

#[test]
fn other_programs_tables_are_read_whole_and_ours_are_not_among_them() {
    in_netns("details::other_programs_tables_are_read_whole_and_ours_are_not_among_them", || {
        let mut kernel = Kernel::open();
        assert_eq!(kernel.details().foreign, Default::default());
        for rule in [
            "add table ip filter",
            "add chain ip filter FORWARD { type filter hook forward priority 0 ; policy drop ; }",
            "add rule ip filter FORWARD iifname eth0 tcp dport { 80, 443 } accept",
            "add table inet xennet",
        ] {
            run("nft", rule);
        }
        let details = kernel.details();
        let ids: Vec<&NftTableId> = details.foreign.keys().collect();
        assert_eq!(ids, [&NftTableId::new(NftFamily::Ip, "filter")]);
        let table = &details.foreign[ids[0]];
        let forward = &table.chains["FORWARD"];
        assert_eq!(forward.base.unwrap().policy, NftPolicy::Drop);
        assert_eq!(forward.rules.len(), 1);
        // An anonymous set is read, too: a rule that asks it cannot be judged without.
        assert_eq!(table.sets.values().map(|set| set.elements.len()).collect::<Vec<_>>(), [2]);
    });
}
