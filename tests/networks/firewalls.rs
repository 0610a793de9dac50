//! Other firewalls on the host: what they may keep from guests is said, whoever made it.

use std::io::Write as _;
use std::process::{Command, Stdio};

use xennet_core::Host;
use xennet_core::backend::Backend;
use xennet_core::backend::netlink::Netlink;
use xennet_core::snapshot::{NftBase, NftChain, NftFamily, NftHook, NftPolicy, NftTable, NftTableId, Part, Scope};
use xennet_tests::{Shared, in_netns};

use super::world::{World, fake, network, one};

/// As Docker and ufw make it, as firewalld does, and others that are in nobody's way.
const RULES: &str = "
table ip filter {
    chain INPUT { type filter hook input priority filter; policy drop; }
    chain FORWARD { type filter hook forward priority filter; policy drop; }
    chain DOCKER { }
}
table inet firewalld {
    chain filter_FORWARD { type filter hook forward priority filter + 10; policy accept; }
}
table inet mine {
    chain forward { type filter hook forward priority filter; policy accept; }
}
table ip6 nat {
    chain POSTROUTING { type nat hook postrouting priority srcnat; policy accept; }
}
table bridge filter {
    chain FORWARD { type filter hook forward priority filter; policy accept; }
}
";

const ROUTED: &str = "[network.dmz]\nmode = \"routed\"\nuplink = \"eth0\"\nsubnets = [\"10.2.0.0/24\"]\n";
const PRIVATE: &str = "[network.private]\nmode = \"nat\"\negress = \"eth0\"\nbridge = \"natbr0\"\nsubnets = [\"10.0.0.0/24\"]\ndhcp = true\n";
const PRIVATE6: &str = "[network.six]\nmode = \"nat\"\negress = \"eth0\"\nsubnets = [\"fd00:1::/64\"]\n";
const LAN: &str = "[network.lan]\nmode = \"bridge\"\nuplink = \"eth0\"\nbridge = \"xenbr0\"\n";

fn chain(hook: NftHook, policy: NftPolicy, priority: i32) -> NftChain {
    let kind = xennet_core::snapshot::NftChainKind::Filter;
    NftChain::default().with_base(NftBase::new(kind, hook, priority, policy))
}

/// The tables that have anything at these hooks, as the kernel gives them.
fn at(on: &mut dyn Backend, hook: NftHook) -> Vec<(NftTableId, NftTable)> {
    let scope = Scope::from_iter(NftFamily::ALL.map(|family| Part::NftOthersAt(family, hook)));
    on.observe(&scope).unwrap().nft.into_iter().collect()
}

fn same_rules(on: &mut dyn Backend) -> Vec<Vec<(NftTableId, NftTable)>> {
    [NftHook::Forward, NftHook::Input, NftHook::Postrouting].map(|hook| at(on, hook)).to_vec()
}

/// The notes of a plan for each network, and what its status says: the same.
fn notes(host: &mut Host, text: &str) -> Vec<String> {
    let network = network(text);
    let about = |notes: &[String]| notes.iter().filter(|n| n.contains("nft list chain")).cloned().collect::<Vec<_>>();
    let planned = about(host.plan_start(&network).unwrap().notes());
    assert_eq!(host.network_status(&network).unwrap().obstacles, planned);
    planned
}

fn check(host: &mut Host) {
    const DROPS: &str = "another firewall (nft list chain ip filter FORWARD) drops what no rule of it accepts";
    const REJECTS: &str =
        "firewalld (nft list chain inet firewalld filter_FORWARD) rejects what no zone or policy of it accepts";
    let reach = |says: &str, name: &str, links: &str| {
        format!("{says}: guests of network {name} reach nobody unless it accepts what comes from and goes to {links}")
    };
    assert_eq!(notes(host, ROUTED), [reach(REJECTS, "dmz", "the vifs"), reach(DROPS, "dmz", "the vifs")]);
    // What is about IPv4 is in no IPv6 guest's way.
    assert_eq!(notes(host, PRIVATE6), [reach(REJECTS, "six", "the vifs")]);
    let private = notes(host, PRIVATE);
    assert_eq!(private[..2], [reach(REJECTS, "private", "natbr0"), reach(DROPS, "private", "natbr0")]);
    assert_eq!(
        private[2..],
        [
            "another firewall (nft list chain ip filter INPUT) drops what no rule of it accepts: guests of network private get \
          neither addresses nor names unless it accepts what comes in by natbr0 for UDP ports 67, 547 and 53 and TCP port 53"
        ]
    );
}

#[test]
fn what_another_firewall_drops_is_said() {
    let mut world = fake();
    one(&mut world);
    let on = Shared::new(world);
    let mut host = Host::with_backend(Box::new(on.clone()));
    assert!(notes(&mut host, ROUTED).is_empty());
    let table = |chains: &[(&str, NftChain)]| {
        NftTable::default().with_chains(chains.iter().map(|(name, c)| ((*name).to_owned(), c.clone())).collect())
    };
    let (accept, dropped) = (NftPolicy::Accept, NftPolicy::Drop);
    on.change(|fake| {
        let nft = &mut fake.world_mut().nft;
        let filter = [
            ("INPUT", chain(NftHook::Input, dropped, 0)),
            ("FORWARD", chain(NftHook::Forward, dropped, 0)),
            ("DOCKER", NftChain::default()),
        ];
        nft.insert(NftTableId::new(NftFamily::Ip, "filter"), table(&filter));
        let rejects = [("filter_FORWARD", chain(NftHook::Forward, accept, 10))];
        nft.insert(NftTableId::new(NftFamily::Inet, "firewalld"), table(&rejects));
        nft.insert(NftTableId::new(NftFamily::Inet, "mine"), table(&[("forward", chain(NftHook::Forward, accept, 0))]));
        let nat = NftBase::new(xennet_core::snapshot::NftChainKind::Nat, NftHook::Postrouting, 100, accept);
        let nat = NftChain::default().with_base(nat);
        nft.insert(NftTableId::new(NftFamily::Ip6, "nat"), table(&[("POSTROUTING", nat)]));
        nft.insert(
            NftTableId::new(NftFamily::Bridge, "filter"),
            table(&[("FORWARD", chain(NftHook::Forward, accept, -200))]),
        );
    });
    check(&mut host);
    let rehearsed = same_rules(&mut on.clone());
    // Frames of a bridge go there only where br_netfilter says so.
    let filtered = |value: &str| {
        let key = "net/bridge/bridge-nf-call-iptables".parse().unwrap();
        on.change(|fake| fake.world_mut().sysctls.insert(&key, value));
    };
    filtered("0");
    assert_eq!(notes(&mut host, LAN).len(), 1, "IPv6 frames go to firewalld");
    filtered("1");
    let lan = notes(&mut host, LAN);
    assert_eq!(lan.len(), 2, "{lan:?}");
    assert!(lan[1].ends_with(
        "that goes for frames on xenbr0, too, as net.bridge.bridge-nf-call-iptables is on; guests of network lan reach nobody \
         unless a rule accepts them, or: sysctl -w net.bridge.bridge-nf-call-iptables=0"
    ), "{lan:?}");
    let text = "another firewall (nft list chain bridge filter FORWARD) drops what no rule of it accepts: guests of network lan reach \
                nobody unless it accepts what comes from and goes to xenbr0";
    on.change(|fake| {
        let tables = &mut fake.world_mut().nft;
        let table = tables.get_mut(&NftTableId::new(NftFamily::Bridge, "filter")).unwrap();
        table.chains.insert("FORWARD".into(), chain(NftHook::Forward, dropped, -200));
    });
    assert_eq!(notes(&mut host, LAN).last().unwrap(), text);

    in_netns("firewalls::what_another_firewall_drops_is_said", || {
        let world = World::new();
        let mut on = Netlink::open().unwrap();
        one(&mut on);
        assert!(notes(&mut world.host(), ROUTED).is_empty());
        let mut nft =
            Command::new("nft").args(["-f", "-"]).stdin(Stdio::piped()).spawn().expect("nft: install nftables");
        nft.stdin.take().unwrap().write_all(RULES.as_bytes()).unwrap();
        assert!(nft.wait().unwrap().success());
        check(&mut world.host());
        assert_eq!(same_rules(&mut on), rehearsed, "the kernel and the fake tell the same");
    });
}
