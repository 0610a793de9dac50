//! Rules of a network in chains of other firewalls: packets pass while they are there, and the firewall is as it was before, afterwards.

use std::io::Write as _;
use std::net::SocketAddr;
use std::process::{Command, Stdio};

use xennet_core::{
    BridgeSpec, ErrorKind, ForeignChain, GuestLinks, Guests, NatNetwork, Network, NetworkMode, NetworkState,
    RoutedNetwork, Subnet,
};
use xennet_tests::in_netns;
use xennet_tests::talk::{listen, seen};

use super::lab::{LONG, name};
use super::nat::{Family, Lab, SHORT, families};

/// A hand-written /etc/nftables.conf: everything is dropped but what this host has asked for.
const PLAIN: &str = "
table inet filter {
    chain forward { type filter hook forward priority filter; policy drop; ct state invalid drop; }
    chain input {
        type filter hook input priority filter; policy drop;
        iif lo accept
        meta l4proto { icmp, icmpv6 } accept
        ct state established,related accept
    }
}
";

/// Chains as ufw has them: what the administrator adds is reached by jumps from the base chains. The frame of iptables-nft is the same.
const UFW: &str = "
table ip filter {
    chain ufw-user-input { }
    chain ufw-user-forward { }
    chain ufw-before-input { ct state established,related accept; ip protocol icmp accept; jump ufw-user-input; }
    chain ufw-before-forward { ct state established,related accept; jump ufw-user-forward; }
    chain INPUT { type filter hook input priority filter; policy drop; counter jump ufw-before-input; }
    chain FORWARD { type filter hook forward priority filter; policy drop; counter jump ufw-before-forward; }
}
table ip6 filter {
    chain ufw6-user-input { }
    chain ufw6-user-forward { }
    chain ufw6-before-input { ct state established,related accept; meta l4proto ipv6-icmp accept; jump ufw6-user-input; }
    chain ufw6-before-forward { ct state established,related accept; jump ufw6-user-forward; }
    chain INPUT { type filter hook input priority filter; policy drop; counter jump ufw6-before-input; }
    chain FORWARD { type filter hook forward priority filter; policy drop; counter jump ufw6-before-forward; }
}
";

/// The chains of firewalld: base chains of policy accept that end with a rejection.
const FIREWALLD: &str = "
table inet firewalld {
    chain filter_INPUT {
        type filter hook input priority filter + 10; policy accept;
        ct state established,related accept
        meta l4proto { icmp, icmpv6 } accept
        reject with icmpx type admin-prohibited
    }
    chain filter_FORWARD {
        type filter hook forward priority filter + 10; policy accept;
        ct state established,related accept
        reject with icmpx type admin-prohibited
    }
}
";

pub(crate) fn nft(rules: &str) {
    let mut nft = Command::new("nft").args(["-f", "-"]).stdin(Stdio::piped()).spawn().expect("nft: install nftables");
    nft.stdin.take().unwrap().write_all(rules.as_bytes()).unwrap();
    assert!(nft.wait().unwrap().success(), "{rules}");
}

fn output(program: &str, arguments: &[&str]) -> String {
    let got = Command::new(program).args(arguments).output().unwrap_or_else(|e| panic!("{program}: {e}"));
    assert!(got.status.success(), "{program} {arguments:?}: {got:?}");
    String::from_utf8(got.stdout).unwrap()
}

/// The tables of others, without numbers that run.
fn others() -> String {
    let all = output("nft", &["-s", "list", "ruleset"]);
    let is_own = |table: &&str| table.lines().next().is_some_and(|line| line.contains(" xennet"));
    all.split_inclusive("\n}\n").filter(|table| !is_own(table)).collect()
}

fn chains(of: &[&str]) -> Vec<ForeignChain> {
    of.iter().map(|chain| chain.parse().unwrap()).collect()
}

fn subnets() -> Vec<Subnet> {
    ["10.1.0.0/24", "fd00:1::/64"].map(|n| Subnet::new(n.parse().unwrap()).unwrap()).into()
}

fn nat(guests: GuestLinks, of: &[&str]) -> NetworkMode {
    NetworkMode::Nat(NatNetwork::new().with_subnets(subnets()).with_guests(guests).with_accept_in(chains(of)))
}

fn routed(of: &[&str]) -> NetworkMode {
    let source = ["192.0.2.1", "2001:db8::1"].map(|a| a.parse().unwrap()).into();
    let mode = RoutedNetwork::new().with_subnets(subnets()).with_source(source).with_accept_in(chains(of));
    NetworkMode::Routed(mode.with_uplink(xennet_core::Egress::Link(name("eth0"))))
}

fn bridge() -> GuestLinks {
    GuestLinks::Bridge(BridgeSpec::new(name("natbr0")))
}

/// Ends a lab after which another one follows: its links would go by themselves, but in their own time.
fn over(lab: Lab) {
    lab.end();
    for link in ["eth0", "vif1.0", "vif2.0"] {
        let _ = Command::new("ip").args(["link", "del", link]).stderr(Stdio::null()).status();
    }
}

/// Whether a guest reaches the outside.
fn gets_out(lab: &Lab, family: &Family, is_wanted: bool) -> bool {
    let server = listen(lab.outside.namespace(), family.outside, 7000);
    let patience = if is_wanted { LONG } else { SHORT };
    let to = SocketAddr::new(family.outside, 7000);
    seen(lab.guests[0].namespace(), to, &server, patience).is_some()
}

/// The outside knows the way to routed guests.
fn ways_back(lab: &Lab) {
    lab.outside
        .namespace()
        .run(|| {
            output("ip", &["route", "add", "10.1.0.0/24", "via", "192.0.2.1"]);
            output("ip", &["-6", "route", "add", "fd00:1::/64", "via", "2001:db8::1"]);
        })
        .unwrap();
}

/// Packets pass, the firewall is loaded anew and they do not, the network is started again and they do; then the firewall is as it was.
fn life(mode: NetworkMode, rules: &str, removed: &str) {
    nft(rules);
    let before = others();
    let network = Network::new(name("lan"), mode).unwrap();
    let mut lab = Lab::of(network.mode().clone());
    if network.mode_name() == "routed" {
        ways_back(&lab);
    }
    let families = families();
    let all = |lab: &Lab, reach: bool| {
        for family in &families {
            assert_eq!(
                gets_out(lab, family, reach),
                reach,
                "{}: {}\n{}",
                network.mode_name(),
                family.outside,
                others()
            );
        }
    };
    let status = lab.host.network_status(&network).unwrap();
    assert_eq!((status.state, &status.obstacles[..]), (NetworkState::Started, &[][..]), "{status:?}");
    assert!(others().contains("comment \"xennet network lan\""), "{}", others());
    all(&lab, true);
    // An attached guest is told of no obstacle either.
    let shown = lab.host.show().unwrap();
    assert!(shown.vifs.iter().all(|vif| vif.obstacles.is_empty()), "{shown:?}");

    nft(removed);
    nft(rules);
    assert_eq!(others(), before);
    let status = lab.host.network_status(&network).unwrap();
    assert_eq!(status.state, NetworkState::Damaged);
    assert!(!status.obstacles.is_empty());
    assert!(status.missing.iter().all(|m| m.contains("+ first in ") && m.contains("xennet network lan")), "{status:?}");
    all(&lab, false);
    let again = lab.host.start_network(&network).unwrap();
    assert_eq!(again.steps, status.missing.len());
    all(&lab, true);
    assert_eq!(lab.host.start_network(&network).unwrap().steps, 0);

    over(lab);
    assert_eq!(others(), before);
    nft("flush ruleset");
}

#[test]
fn a_plain_table() {
    let of = ["inet filter forward"];
    for mode in [nat(GuestLinks::PerVif, &of), nat(bridge(), &of), routed(&of)] {
        in_netns("accepts::a_plain_table", || life(mode.clone(), PLAIN, "delete table inet filter"));
    }
}

#[test]
fn chains_as_ufw_has_them() {
    let of = ["ip filter ufw-user-forward", "ip6 filter ufw6-user-forward"];
    for mode in [nat(GuestLinks::PerVif, &of), nat(bridge(), &of), routed(&of)] {
        in_netns("accepts::chains_as_ufw_has_them", || {
            life(mode.clone(), UFW, "delete table ip filter; delete table ip6 filter")
        });
    }
}

#[test]
fn chains_as_firewalld_has_them() {
    in_netns("accepts::chains_as_firewalld_has_them", || {
        life(nat(bridge(), &["inet firewalld filter_FORWARD"]), FIREWALLD, "delete table inet firewalld");
    });
}

/// As Docker has it, with the program that it uses.
#[test]
fn a_firewall_made_by_iptables() {
    in_netns("accepts::a_firewall_made_by_iptables", || {
        let programs = ["iptables-nft", "ip6tables-nft"];
        for program in programs {
            for arguments in
                ["-P FORWARD DROP", "-N DOCKER-USER", "-A DOCKER-USER -j RETURN", "-I FORWARD -j DOCKER-USER"]
            {
                output(program, &arguments.split(' ').collect::<Vec<_>>());
            }
        }
        for guests in [GuestLinks::PerVif, bridge()] {
            let before = programs.map(|program| output(program, &["-S"]));
            let mode = nat(guests.clone(), &["ip filter DOCKER-USER", "ip6 filter DOCKER-USER"]);
            let lab = Lab::of(mode);
            for family in families() {
                assert!(gets_out(&lab, &family, true), "{}", family.outside);
            }
            // What xennet has put there iptables shows in its own words, and it can remove it.
            let meanwhile = programs.map(|program| output(program, &["-S", "DOCKER-USER"]));
            println!("{}{}", meanwhile[0], meanwhile[1]);
            let with = match guests {
                GuestLinks::PerVif => ["! -i eth0", "-s 10.1.0.0/24", "-d 10.1.0.0/24"].as_slice(),
                _ => ["-i natbr0", "-o natbr0"].as_slice(),
            };
            for words in with {
                assert!(meanwhile[0].contains(words), "{words}: {}", meanwhile[0]);
            }
            assert_eq!(meanwhile[0].matches("-j ACCEPT").count(), 2, "{}", meanwhile[0]);
            assert_eq!(meanwhile[1].matches("-j ACCEPT").count(), 2, "{}", meanwhile[1]);
            over(lab);
            assert_eq!(programs.map(|program| output(program, &["-S"])), before);
        }
    });
}

/// A served network whose name server and DHCP server another firewall keeps from its guests.
#[test]
fn what_this_host_is_asked_for() {
    in_netns("accepts::what_this_host_is_asked_for", || {
        nft(PLAIN);
        let before = others();
        let mut mode = NatNetwork::new()
            .with_subnets(subnets())
            .with_guests(bridge())
            .with_accept_in(chains(&["inet filter input"]));
        (mode.services.dhcp, mode.services.dns) = (true, true);
        let network = Network::new(name("lan"), NetworkMode::Nat(mode)).unwrap();
        let plain = Network::new(name("lan"), nat(bridge(), &["inet filter input"])).unwrap();
        let mut lab = Lab::of(nat(bridge(), &[]));
        let e = lab.host.start_network(&plain).unwrap_err();
        assert_eq!(e.kind(), ErrorKind::Conflict);
        assert!(e.message().contains("neither dhcp nor dns"), "{}", e.report());
        lab.host.start_network(&network).unwrap_or_else(|e| panic!("{}", e.report()));
        let rules = others();
        for words in ["udp dport 67", "udp dport 547", "udp dport 53", "tcp dport 53"] {
            assert!(rules.contains(&format!("iifname \"natbr0\" {words} counter")), "{words}: {rules}");
        }
        let obstacles = lab.host.network_status(&network).unwrap().obstacles;
        assert!(obstacles.iter().all(|o| o.contains("inet filter forward")), "{obstacles:?}");
        // A guest asks by TCP, which the name server answers as well.
        for (family, gateway) in families().into_iter().zip(["10.1.0.254:53", "[fd00:1::1]:53"]) {
            let to: SocketAddr = gateway.parse().unwrap();
            let asked = || std::net::TcpStream::connect_timeout(&to, LONG).is_ok();
            assert!(lab.guests[0].namespace().run(asked).unwrap(), "{}", family.gateway);
        }
        // Served no more, nothing is left of it.
        let without = Network::new(name("lan"), nat(bridge(), &[])).unwrap();
        lab.host.start_network(&without).unwrap_or_else(|e| panic!("{}", e.report()));
        assert_eq!(others(), before);
        over(lab);
    });
}

/// A chain that is not there, one that is none for accepts, one that is another process's.
#[test]
fn chains_that_nothing_is_put_into() {
    in_netns("accepts::chains_that_nothing_is_put_into", || {
        nft(PLAIN);
        nft("table inet filter { chain late { type filter hook postrouting priority 0; }; }
             table ip nat { chain in { type nat hook input priority 0; }; }");
        let mut owner = Command::new("nft").arg("-i").stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        let mut to_owner = owner.stdin.take().unwrap();
        writeln!(to_owner, "add table inet firewalld {{ flags owner; }}").unwrap();
        writeln!(to_owner, "add chain inet firewalld filter_FORWARD {{ type filter hook forward priority 10; }}")
            .unwrap();
        let end = std::time::Instant::now() + LONG;
        while !others().contains("filter_FORWARD") {
            assert!(std::time::Instant::now() < end, "{}", others());
            std::thread::sleep(SHORT / 10);
        }
        let mut lab = Lab::of(nat(GuestLinks::PerVif, &[]));
        let before = (others(), lab.host.started_networks().unwrap());
        for (chain, kind, words, hint) in [
            ("ip filter DOCKER-USER", ErrorKind::Conflict, "there is no nft table ip filter", "nft list chains"),
            ("inet filter DOCKER-USER", ErrorKind::Conflict, "has no chain DOCKER-USER", "start the firewall"),
            ("inet filter late", ErrorKind::Conflict, "is hooked in at postrouting", "nft list chain inet filter late"),
            ("ip nat in", ErrorKind::Conflict, "is of type nat", "nft list chain ip nat in"),
            ("inet filter forward hook input", ErrorKind::Conflict, "and not at input", "nft list chain"),
            ("inet firewalld filter_FORWARD", ErrorKind::Unsupported, "the flag owner", "NftablesTableOwner=no"),
        ] {
            // What could be accepted elsewhere is not, either.
            let mut mode = NatNetwork::new().with_subnets(subnets()).with_accept_in(chains(&["inet filter forward"]));
            mode.services.dns = chain.ends_with("input");
            if chain.starts_with("inet filter forward") {
                mode.accept_in.clear();
            }
            mode.accept_in.push(chain.parse().unwrap());
            let network = Network::new(name("lan"), NetworkMode::Nat(mode)).unwrap();
            for e in [lab.host.plan_start(&network).unwrap_err(), lab.host.start_network(&network).unwrap_err()] {
                assert_eq!(e.kind(), kind, "{}", e.report());
                assert!(e.message().contains(words) && e.message().starts_with("network lan: "), "{}", e.report());
                assert!(e.hint().unwrap().contains(hint), "{}", e.report());
            }
        }
        assert_eq!((others(), lab.host.started_networks().unwrap()), before);
        drop(to_owner);
        owner.wait().unwrap();
        over(lab);
    });
}

/// A network that is served, with accepts in all of these chains.
fn served(guests: GuestLinks, of: &[&str]) -> NetworkMode {
    let mut mode = NatNetwork::new().with_subnets(subnets()).with_guests(guests).with_accept_in(chains(of));
    (mode.services.dhcp, mode.services.dns) = (true, true);
    NetworkMode::Nat(mode)
}

/// A firewall that has gone, or was loaded with our rules in it, keeps no network from stopping.
#[test]
fn a_firewall_that_changes_meanwhile() {
    let plain = (PLAIN, ["inet filter forward", "inet filter input"].as_slice(), "delete table inet filter");
    let ufw = [
        "ip filter ufw-user-forward",
        "ip6 filter ufw6-user-forward",
        "ip filter ufw-user-input hook input",
        "ip6 filter ufw6-user-input hook input",
    ];
    for (rules, of, removed) in [plain, (UFW, &ufw, "delete table ip filter; delete table ip6 filter")] {
        for guests in [GuestLinks::PerVif, bridge()] {
            in_netns("accepts::a_firewall_that_changes_meanwhile", || {
                nft(rules);
                let before = others();
                let mode = served(guests.clone(), of);
                let lab = Lab::of(mode.clone());
                let saved = others();
                nft(removed);
                over(lab);
                assert_eq!(others(), "");
                // Somebody had saved it with our rules, and loads it at boot.
                nft(&saved);
                assert!(others().contains("xennet network lan"));
                let lab = Lab::of(mode.clone());
                assert_eq!(others(), saved, "no rule is there twice");
                over(lab);
                assert_eq!(others(), before);
                // Rules that only look like ours are others'.
                let [family, table, chain] = of[0].split(' ').collect::<Vec<_>>()[..] else { panic!("{}", of[0]) };
                let like = "ip saddr 203.0.113.9 accept comment \"xennet network lan\"";
                nft(&format!("insert rule {family} {table} {chain} {like}"));
                let before = others();
                over(Lab::of(mode));
                assert_eq!(others(), before);
            });
        }
    }
}

/// What `iptables-save` has saved is in iptables' own form by then.
#[test]
fn a_firewall_that_iptables_has_saved() {
    in_netns("accepts::a_firewall_that_iptables_has_saved", || {
        nft(UFW);
        let programs = [("iptables-nft-save", "iptables-nft-restore"), ("ip6tables-nft-save", "ip6tables-nft-restore")];
        let rules = || {
            programs.map(|(save, _)| {
                output(save, &[]).lines().filter(|l| l.starts_with("-A")).map(str::to_owned).collect::<Vec<_>>()
            })
        };
        let of = [
            "ip filter ufw-user-forward",
            "ip6 filter ufw6-user-forward",
            "ip filter ufw-user-input hook input",
            "ip6 filter ufw6-user-input hook input",
        ];
        let before = rules();
        for guests in [GuestLinks::PerVif, bridge()] {
            let mode = served(guests, &of);
            let network = Network::new(name("lan"), mode.clone()).unwrap();
            let mut lab = Lab::of(mode);
            let meanwhile = rules();
            for (save, restore) in programs {
                let saved = output(save, &[]);
                let mut again = Command::new(restore).stdin(Stdio::piped()).spawn().unwrap();
                again.stdin.take().unwrap().write_all(saved.as_bytes()).unwrap();
                assert!(again.wait().unwrap().success(), "{saved}");
            }
            assert_eq!(rules(), meanwhile);
            assert_eq!(lab.host.network_status(&network).unwrap().missing, [""; 0]);
            assert_eq!(lab.host.start_network(&network).unwrap().steps, 0);
            over(lab);
            assert_eq!(rules(), before);
        }
    });
}

/// Each network has its own rules in one chain, and takes only these away.
#[test]
fn two_networks_in_one_chain() {
    in_netns("accepts::two_networks_in_one_chain", || {
        nft(PLAIN);
        let before = others();
        let mut lab = Lab::of(nat(GuestLinks::PerVif, &["inet filter forward"]));
        let first = others();
        let mut other = NatNetwork::new().with_accept_in(chains(&["inet filter forward"]));
        other.subnets = vec![Subnet::new("10.9.0.0/24".parse().unwrap()).unwrap()];
        let other = Network::new(name("more"), NetworkMode::Nat(other)).unwrap();
        lab.host.start_network(&other).unwrap_or_else(|e| panic!("{}", e.report()));
        let both = others();
        assert_eq!(both.matches("xennet network lan").count(), 4, "{both}");
        assert_eq!(both.matches("xennet network more").count(), 2, "{both}");
        lab.host.stop_network(&name("more"), Guests::MustHaveGone).unwrap();
        assert_eq!(others(), first);
        for family in families() {
            assert!(gets_out(&lab, &family, true));
        }
        lab.host.start_network(&other).unwrap();
        // Undone, and started with another description.
        lab.host.undo(xennet_core::Subject::Network(name("more"))).unwrap();
        assert_eq!(others(), first);
        over(lab);
        assert_eq!(others(), before);
    });
}
