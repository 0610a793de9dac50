//! What was learned is forgotten on the kernel as on the fake.

use std::collections::BTreeSet;
use std::process::Command;

use xennet_core::backend::Backend;
use xennet_core::backend::fake::Connection;
use xennet_core::backend::netlink::Netlink;
use xennet_core::snapshot::Details;
use xennet_core::step::{ForgetStep, LinkChange, LinkRef, LinkStep, NewLink, NewMaster, Step, SysctlStep};
use xennet_core::testing::Fake;
use xennet_core::{IfName, MacAddr};
use xennet_tests::in_netns;
use xennet_tests::steps::{into, name, run, set, up};

fn shell(line: &str) -> String {
    let output = Command::new("sh").args(["-ec", line]).output().unwrap();
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Two bridges, the first one with two ports.
fn build(on: &mut dyn Backend) {
    let mac = |last| LinkChange::default().with_mac(MacAddr::new([2, 0, 0, 0, 0, last]));
    for (at, bridge) in [(1, "br0"), (2, "br1")] {
        run(on, Step::Link(LinkStep::Create { name: name(bridge), kind: NewLink::Bridge, change: mac(at) }));
        set(on, bridge, up());
    }
    for (at, port, bridge) in [(3, "v0", "br0"), (5, "v1", "br0"), (7, "v2", "br1")] {
        let kind = NewLink::Veth { peer: name(&format!("{port}p")) };
        run(on, Step::Link(LinkStep::Create { name: name(port), kind, change: mac(at) }));
        set(on, port, into(bridge).with_up(true));
        // It sends nothing by itself.
        let key = format!("net/ipv6/conf/{port}p/disable_ipv6").parse().unwrap();
        run(on, Step::Sysctl(SysctlStep { key, value: "1".into() }));
        set(on, &format!("{port}p"), up());
    }
}

/// As (source, destination, who answers). The third was handed on, the fourth is over IPv6.
const CONNECTIONS: [[&str; 3]; 5] = [
    ["10.1.0.5", "203.0.113.9", "203.0.113.9"],
    ["10.1.0.6", "203.0.113.9", "203.0.113.9"],
    ["203.0.113.7", "192.0.2.1", "10.1.0.5"],
    ["fd00:1::5", "2001:db8::9", "2001:db8::9"],
    ["10.1.1.5", "10.1.2.5", "10.1.2.5"],
];

fn connection([source, destination, answers]: [&str; 3]) -> Connection {
    let ip = |text: &str| text.parse().unwrap();
    Connection::new(ip(source), ip(destination), ip(answers))
}

/// Who has begun a connection with whom, of the kernel.
fn tracked() -> BTreeSet<Connection> {
    let all = shell("conntrack -L -f ipv4 2>/dev/null; conntrack -L -f ipv6 2>/dev/null");
    let read = |line: &str| {
        let of = |key: &str| -> Vec<String> {
            line.split(' ').filter_map(|word| word.strip_prefix(key)).map(str::to_owned).collect()
        };
        let (source, destination) = (of("src="), of("dst="));
        connection([&source[0], &destination[0], &source[1]])
    };
    all.lines().filter(|line| line.contains("src=")).map(read).collect()
}

/// Forgets everything by one step after the other, and compares after each.
#[test]
fn what_was_learned_is_forgotten_on_both() {
    if Command::new("conntrack").arg("--version").output().is_err() {
        assert!(std::env::var_os("CI").is_none(), "conntrack is missing, and CI is set");
        eprintln!("skipped: conntrack is missing (apt-get install conntrack)");
        return;
    }
    in_netns("learned::what_was_learned_is_forgotten_on_both", || {
        let mut kernel = Netlink::open().unwrap();
        build(&mut kernel);
        for (at, [source, destination, answers]) in CONNECTIONS.into_iter().enumerate() {
            shell(&format!(
                "conntrack -I -p udp -t 300 -s {source} -d {destination} --sport 400{at} --dport 53 -r {answers} -q {source} \
                 --reply-port-src 53 --reply-port-dst 400{at}"
            ));
        }
        for station in ["aa dev v0", "aa dev v2", "bb dev v1", "cc dev v1"] {
            shell(&format!("bridge fdb add 02:00:00:00:01:{station} master dynamic"));
        }
        for (address, link) in [("10.1.0.5", "br0"), ("10.1.0.6", "br0"), ("10.1.0.5", "br1"), ("fd00:1::5", "br0")] {
            shell(&format!("ip neigh add {address} dev {link} lladdr 02:00:00:00:01:aa nud stale"));
        }
        shell("ip neigh add 10.1.0.7 dev br0 lladdr 02:00:00:00:01:dd nud permanent");
        let learned = |on: &mut dyn Backend| -> Details { on.details().unwrap().0 };
        let first = learned(&mut kernel);
        assert_eq!((first.stations.len(), first.neighbours.len()), (4, 4), "{first:?}");
        let mut fake = Fake::empty().with_details(first).with_connections(CONNECTIONS.map(connection));
        build(&mut fake);
        assert_eq!(tracked(), fake.connections().iter().copied().collect());

        let networks =
            |list: &[&str]| ForgetStep::Connections { addresses: list.iter().map(|n| n.parse().unwrap()).collect() };
        let mac = |last| MacAddr::new([2, 0, 0, 0, 1, last]);
        let station = |bridge, last, except: Option<&str>| {
            let except: Option<IfName> = except.map(name);
            ForgetStep::Station { bridge: name(bridge), mac: mac(last), vlan: None, except }
        };
        let neighbours = |link, list: &[&str]| ForgetStep::Neighbours {
            link: name(link),
            addresses: list.iter().map(|a| a.parse().unwrap()).collect(),
        };
        // How many connections, stations and neighbours are left.
        for (step, left) in [
            (networks(&["10.9.0.5/32", "fd00:1::6/128"]), (5, 4, 4)),
            (networks(&["10.1.0.5/32"]), (3, 4, 4)),
            (networks(&["10.1.2.0/24"]), (2, 4, 4)),
            (networks(&["fd00:1::5/128"]), (1, 4, 4)),
            (networks(&["10.0.0.0/8", "fd00::/8"]), (0, 4, 4)),
            (station("br0", 0xaa, Some("v0")), (0, 4, 4)),
            (station("br0", 0xaa, Some("v1")), (0, 3, 4)),
            (station("br0", 0xbb, None), (0, 2, 4)),
            (station("br1", 0xcc, None), (0, 2, 4)),
            (neighbours("br0", &["10.1.0.5", "10.1.0.7"]), (0, 2, 3)),
            (neighbours("br0", &["fd00:1::5", "10.1.0.6"]), (0, 2, 1)),
            (neighbours("br1", &["10.1.0.5"]), (0, 2, 0)),
        ] {
            let step = Step::Forget(step);
            run(&mut kernel, step.clone());
            run(&mut fake, step.clone());
            let connections: BTreeSet<Connection> = fake.connections().iter().copied().collect();
            assert_eq!(tracked(), connections, "{step}");
            let (real, played) = (learned(&mut kernel), learned(&mut fake));
            assert_eq!((&real.stations, &real.neighbours), (&played.stations, &played.neighbours), "{step}");
            assert_eq!((connections.len(), real.stations.len(), real.neighbours.len()), left, "{step}");
        }
        assert_eq!(shell("ip neigh show 10.1.0.7").matches("PERMANENT").count(), 1);
        let gone = LinkStep::Delete { link: LinkRef::named(name("v2")) };
        run(&mut kernel, Step::Link(gone));
        set(&mut kernel, "v1", LinkChange::default().with_master(NewMaster::None));
        assert_eq!(learned(&mut kernel).stations, BTreeSet::new(), "a port takes its stations with it");
    });
}
