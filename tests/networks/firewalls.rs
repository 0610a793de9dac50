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

/// What the notes of attaching these guests say of other firewalls, by the call of the library and by its plan.
fn attach_notes(host: &mut Host, lines: &[(u16, &str)]) -> Vec<(u16, usize)> {
    let about = |notes: &[String]| notes.iter().filter(|n| n.contains("nft list chain")).count();
    let mut said = Vec::new();
    for (domid, line) in lines {
        let id = xennet_core::DomId::new(u32::from(*domid)).unwrap();
        let vif: xennet_core::VifSpec = line.parse().unwrap();
        let planned = about(host.plan_attach(id, &vif).unwrap().notes());
        let applied = host.attach(id, &vif).unwrap_or_else(|e| panic!("{}", e.report()));
        assert_eq!(about(&applied.notes), planned, "{line}");
        said.push((*domid, planned));
    }
    said
}

/// Guests of a NAT and of a routed network.
const GUESTS: [(u16, &str); 2] = [(5, "bridge=private,ip=10.0.0.5"), (6, "bridge=dmz,ip=10.2.0.6")];

/// Guests that dom0 routes for without a network.
const ALONE: [(u16, &str); 2] = [(7, "script=vif-nat,ip=10.5.0.7"), (8, "script=vif-route,ip=10.6.0.8")];

/// A firewall as Docker leaves it, and firewalld's.
const DROPPING: &str = "
table ip filter {
    chain FORWARD { type filter hook forward priority filter; policy drop; }
    chain DOCKER { }
}
table inet firewalld {
    chain filter_FORWARD { type filter hook forward priority filter + 10; policy accept; }
}
";

fn load(rules: &str) {
    let mut nft = Command::new("nft").args(["-f", "-"]).stdin(Stdio::piped()).spawn().expect("nft: install nftables");
    nft.stdin.take().unwrap().write_all(rules.as_bytes()).unwrap();
    assert!(nft.wait().unwrap().success());
}

const PRIVATE_VIFS: &str = "[network.private]\nmode = \"nat\"\negress = \"eth0\"\nsubnets = [\"10.0.0.0/24\"]\n";

fn check_attach(host: &mut Host, mut theirs: impl FnMut()) {
    let with = |text: &str, chain: &str| network(&format!("{text}accept_in = [\"{chain}\"]\n"));
    for text in [PRIVATE_VIFS, ROUTED] {
        host.start_network(&network(text)).unwrap_or_else(|e| panic!("{}", e.report()));
    }
    assert_eq!(attach_notes(host, &GUESTS), [(5, 0), (6, 0)], "nobody else has a firewall");
    let e = host.start_network(&with(PRIVATE_VIFS, "ip filter DOCKER")).unwrap_err();
    assert_eq!(
        e.message(),
        "network private: there is no nft table ip filter, and accept_in names chain ip filter DOCKER"
    );
    theirs();
    // FORWARD drops and firewalld's chain rejects.
    assert_eq!(attach_notes(host, &GUESTS), [(5, 2), (6, 2)]);
    // No rule of FORWARD leads to DOCKER: a start says so.
    let apart = with(PRIVATE_VIFS, "ip filter DOCKER");
    let plan = host.plan_start(&apart).unwrap();
    let text = "; no rule of FORWARD leads to DOCKER, where rules of ours are";
    assert!(plan.notes().iter().any(|n| n.ends_with(text)), "{plan}");
    for chain in ["ip filter FORWARD", "inet firewalld filter_FORWARD"] {
        let accepted = with(PRIVATE_VIFS, chain);
        host.start_network(&accepted).unwrap_or_else(|e| panic!("{}", e.report()));
        assert_eq!(host.network_status(&accepted).unwrap().obstacles.len(), 1, "the other chain is left");
        assert_eq!(attach_notes(host, &GUESTS), [(5, 1), (6, 2)], "{chain}");
        let shown = host.show().unwrap().vifs;
        let obstacles: Vec<usize> = shown.iter().map(|vif| vif.obstacles.len()).collect();
        assert_eq!(obstacles, [1, 2], "{shown:?}");
    }
}

/// Without a network, too, a guest that dom0 routes for is told of what drops its packets.
fn check_alone(host: &mut Host, mut theirs: impl FnMut()) {
    assert_eq!(attach_notes(host, &ALONE), [(7, 0), (8, 0)]);
    theirs();
    assert_eq!(attach_notes(host, &ALONE), [(7, 2), (8, 2)]);
}

/// The vifs of these guests, as netback makes them.
fn vifs(of: &[(u16, &str)]) -> Vec<xennet_core::VifId> {
    of.iter().map(|(domid, _)| xennet_core::VifId::from_vif_name(&format!("vif{domid}.0")).unwrap()).collect()
}

fn on_fake(of: &[(u16, &str)], check: impl FnOnce(&mut Host, &mut dyn FnMut())) -> Host {
    let mut world = fake();
    one(&mut world);
    vifs(of).into_iter().for_each(|id| world.add_vif(id));
    let on = Shared::new(world);
    let mut host = Host::with_backend(Box::new(on.clone()));
    check(&mut host, &mut || {
        let table = |chains: &[(&str, NftChain)]| {
            NftTable::default().with_chains(chains.iter().map(|(name, c)| ((*name).to_owned(), c.clone())).collect())
        };
        let filter = [("FORWARD", chain(NftHook::Forward, NftPolicy::Drop, 0)), ("DOCKER", NftChain::default())];
        let rejects = [("filter_FORWARD", chain(NftHook::Forward, NftPolicy::Accept, 10))];
        on.change(|fake| {
            let nft = &mut fake.world_mut().nft;
            nft.insert(NftTableId::new(NftFamily::Ip, "filter"), table(&filter));
            nft.insert(NftTableId::new(NftFamily::Inet, "firewalld"), table(&rejects));
        });
    });
    host
}

/// In the namespace of the test.
fn on_kernel(of: &[(u16, &str)], check: impl FnOnce(&mut Host, &mut dyn FnMut())) {
    let world = World::new();
    one(&mut Netlink::open().unwrap());
    let guest = |(id, last): (xennet_core::VifId, u8)| {
        let mac = xennet_core::MacAddr::new([0, 0x16, 0x3e, 0, 0, last]);
        xennet_tests::Guest::new(&xennet_tests::GuestSpec { id, mac, addresses: Vec::new() }).unwrap()
    };
    let guests: Vec<_> = vifs(of).into_iter().zip(1..).map(guest).collect();
    check(&mut world.host(), &mut || load(DROPPING));
    drop(guests);
}

#[test]
fn what_is_accepted_is_in_nobodys_way() {
    let mut host = on_fake(&GUESTS, |host, theirs| check_attach(host, theirs));
    let public = "[network.public]\nmode = \"routed\"\nuplink = \"eth0\"\nsubnets = [\"9.8.7.0/24\"]\n\
                  accept_in = [\"inet firewalld filter_FORWARD\"]\n";
    host.start_network(&network(public)).unwrap_or_else(|e| panic!("{}", e.report()));
    // A recording of it is such a host, too.
    let recording = xennet_core::surroundings::record(&mut host, "networks.toml".as_ref(), None);
    let mut again = Host::from_recording(&recording);
    let network = network(&format!("{PRIVATE_VIFS}accept_in = [\"inet firewalld filter_FORWARD\"]\n"));
    let status = again.network_status(&network).unwrap();
    assert_eq!((&status.missing[..], status.obstacles.len()), (&[][..], 1), "{status:?}");
    assert!(again.plan_recover().unwrap().is_empty());
    // So is one with other addresses in it, which has none of the real ones among the bytes of its rules.
    let other = xennet_core::surroundings::anonymous(&recording).unwrap();
    let rules = |recording: &xennet_core::recording::Recording| {
        let table = &recording.snapshot.nft[&NftTableId::new(NftFamily::Inet, "firewalld")];
        table.chains["filter_FORWARD"].rules.clone()
    };
    assert_eq!((rules(&recording).len(), rules(&other).len()), (4, 4));
    let has = |recording: &_, text: &str| rules(recording).iter().any(|rule| rule.to_string().contains(text));
    assert!(has(&recording, "0x090807") && !has(&other, "0x090807") && has(&other, "0x0a0000"), "{:?}", rules(&other));
    assert!(recording.to_json().contains("9,8,7") && !other.to_json().contains("9,8,7"));
    assert!(Host::from_recording(&other).plan_recover().unwrap().is_empty());
    let of_network = |recording: &xennet_core::recording::Recording| {
        let found = xennet_core::doctor::examine(recording);
        found.into_iter().filter(|f| f.object == "network private").collect::<Vec<_>>()
    };
    assert_eq!(of_network(&recording), []);
    // Of one that has lost them, or whose firewall has gone, that is what is wrong.
    let mut lost = recording.clone();
    let table = lost.snapshot.nft.get_mut(&NftTableId::new(NftFamily::Inet, "firewalld")).unwrap();
    table.chains.get_mut("filter_FORWARD").unwrap().rules.clear();
    let mut without = recording.clone();
    without.snapshot.nft.remove(&NftTableId::new(NftFamily::Inet, "firewalld"));
    for (recording, fact) in [(lost, "+ first in filter_FORWARD: "), (without, "there is no nft table inet firewalld")]
    {
        let found = of_network(&recording);
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0].code, xennet_core::doctor::Code::NetworkDamaged);
        assert!(found[0].evidence.iter().any(|e| e.contains(fact)), "{found:?}");
    }
    in_netns("firewalls::what_is_accepted_is_in_nobodys_way", || {
        on_kernel(&GUESTS, |host, theirs| check_attach(host, theirs));
    });
}

#[test]
fn guests_of_no_network_are_told_as_well() {
    on_fake(&ALONE, |host, theirs| check_alone(host, theirs));
    in_netns("firewalls::guests_of_no_network_are_told_as_well", || {
        on_kernel(&ALONE, |host, theirs| check_alone(host, theirs));
    });
}

/// Guests' packets do not come in from outside: which link that is may be known only when the network is started once more.
#[test]
fn accepts_follow_the_default_route() {
    let mut world = fake();
    let chains = [("forward".to_owned(), chain(NftHook::Forward, NftPolicy::Drop, 0))];
    let theirs = NftTableId::new(NftFamily::Inet, "filter");
    world.world_mut().nft.insert(theirs.clone(), NftTable::default().with_chains(chains.into()));
    let on = Shared::new(world);
    let mut host = Host::with_backend(Box::new(on.clone()));
    let network = network(
        "[network.n]\nmode = \"nat\"\nsubnets = [\"10.0.0.0/24\", \"fd00:1::/64\"]\naccept_in = [\"inet filter forward\"]\n",
    );
    let rules = || on.fake().world().nft[&theirs].chains["forward"].rules.clone();
    let excluding = || rules().iter().filter(|r| r.to_string().contains("iifname != \"eth0\"")).count();
    host.start_network(&network).unwrap_or_else(|e| panic!("{}", e.report()));
    assert_eq!((rules().len(), excluding()), (4, 0));
    one(&mut on.clone());
    host.start_network(&network).unwrap_or_else(|e| panic!("{}", e.report()));
    assert_eq!((rules().len(), excluding()), (4, 2));
    assert_eq!(host.start_network(&network).unwrap().steps, 0);
    host.stop_network(&network.name(), xennet_core::Guests::MustHaveGone).unwrap();
    assert_eq!(rules().len(), 0);

    // A table that is one process's alone by now keeps what it has; the stop says so, and is none that cannot end.
    host.start_network(&network).unwrap_or_else(|e| panic!("{}", e.report()));
    on.change(|fake| fake.world_mut().nft.get_mut(&theirs).unwrap().flags = 2);
    assert_eq!(host.network_status(&network).unwrap().missing, [""; 0]);
    let stopped = host.stop_network(&network.name(), xennet_core::Guests::MustHaveGone).unwrap();
    let kept = stopped.notes.iter().filter(|n| n.contains("keeps a rule of ours") && n.contains("flag owner"));
    assert_eq!((kept.count(), rules().len()), (4, 4), "{:?}", stopped.notes);
    assert_eq!(host.started_networks().unwrap(), []);
}
