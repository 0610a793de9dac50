//! Faults that no namespace can have, or not at once: a healthy host's recording, changed as such a host's would be.

use std::collections::BTreeMap;

use xennet_core::doctor::{self, Code, Level};
use xennet_core::managers::Manager;
use xennet_core::recording::{Problem, Recording, Service, Unseen};
use xennet_core::snapshot::{
    Address, Family, LinkDetails, LinkKind, NftFamily, NftTable, NftTableId, OperState, PortForwarding, PortVlan,
    Route, SysctlKey,
};
use xennet_core::{Subject, Tagging, Vid};
use xennet_tests::in_netns;
use xennet_tests::steps::name;

use crate::world::{World, told};

type Edit = fn(&mut Recording);

/// A card beside the others.
fn card(r: &mut Recording, which: &str, change: impl FnOnce(&mut xennet_core::snapshot::Link)) {
    let mut link = r.snapshot.links["eth0"].clone();
    (link.kind, link.peer, link.index) =
        (LinkKind::Plain, None, 4_000 + u32::try_from(r.snapshot.links.len()).unwrap());
    link.mac = Some(xennet_core::MacAddr::new([2, 0, 0, 0, 9, u8::try_from(r.snapshot.links.len()).unwrap()]));
    change(&mut link);
    r.snapshot.links.insert(name(which), link);
    let details = LinkDetails::default().with_carrier(true).with_state(OperState::Up);
    r.details.links.insert(name(which), details);
}

fn details<'a>(r: &'a mut Recording, which: &str) -> &'a mut LinkDetails {
    r.details.links.get_mut(which).unwrap()
}

fn set(r: &mut Recording, key: &str, value: &str) {
    r.snapshot.sysctls.insert(&key.parse().unwrap(), value);
}

const EDITS: &[(Code, &str, Edit)] = &[
    (Code::Interrupted, "vif1.0", |r| r.open.push("vif1.0".parse::<Subject>().unwrap())),
    (Code::Unconfirmed, "lan", |r| r.awaited.push(name("lan"))),
    (Code::NotABridge, "xenbr0", |r| {
        let link = r.snapshot.links.get_mut("xenbr0").unwrap();
        (link.kind, link.bridge) = (LinkKind::Veth, None);
    }),
    (Code::NameCollision, "web0", |r| {
        for n in [1, 2] {
            let path = format!("/local/domain/0/backend/vif/{n}/0/vifname");
            r.store.insert(path.parse().unwrap(), "web0".into());
        }
    }),
    (Code::UplinkMissing, "eth0", |r| drop(r.snapshot.links.remove("eth0"))),
    (Code::UplinkWithoutCarrier, "eth0", |r| details(r, "eth0").carrier = false),
    (Code::PortBlocked, "vif1.0", |r| details(r, "vif1.0").port_state = Some(PortForwarding::Blocking)),
    (Code::TwoUplinks, "xenbr0", |r| {
        card(r, "eth8", |l| l.master = Some(name("xenbr0")));
        card(r, "eth9", |l| l.master = Some(name("xenbr0")));
    }),
    (Code::MultipleDefaultRoutes, "IPv4", |r| {
        let one = r.snapshot.routes.iter().find(|r| r.destination.prefix() == 0).unwrap().clone();
        card(r, "eth9", |l| l.master = None);
        r.snapshot.routes.insert(one.with_link(name("eth9")).with_gateway(None).with_scope(253));
    }),
    (Code::RouterAdvertisementsLost, "xenbr0", |r| {
        let to = |r: &Route| r.destination.prefix() == 0;
        let one = r.snapshot.routes.iter().find(|r| to(r)).unwrap().clone();
        let by_router = one
            .with_destination("::/0".parse().unwrap())
            .with_gateway("fe80::1".parse().ok())
            .with_protocol(9)
            .with_metric(1024);
        r.snapshot.routes.insert(by_router);
        set(r, "net/ipv6/conf/all/forwarding", "1");
        set(r, "net/ipv6/conf/xenbr0/accept_ra", "1");
    }),
    (Code::AddressDuplicate, "xenbr0", |r| {
        let one = Address::new(name("xenbr0"), "2001:db8::77/64".parse().unwrap());
        r.snapshot.addresses.insert(one.with_flags(Address::IS_DUPLICATE));
    }),
    (Code::TableOfOthers, "nft table bridge xennet-guard", |r| {
        r.snapshot.nft.insert(NftTableId::new(NftFamily::Bridge, "xennet-guard"), NftTable::default());
    }),
    (Code::MtuOfLower, "eth0.7", |r| {
        card(r, "eth0.7", |l| (l.master, l.mtu, l.kind) = (None, 9000, LinkKind::Other("vlan".into())));
        details(r, "eth0.7").lower = Some(name("eth0"));
    }),
    (Code::LegacyTables, "ip filter", |r| r.details.legacy = ["ip filter".to_owned()].into()),
    (Code::ManagerTakesLinks, "NetworkManager", |r| {
        let snippets = xennet_core::managers::snippets(&[]).unwrap();
        let found = xennet_core::managers::Found::default().with_running(true);
        let found = BTreeMap::from([(Manager::NetworkManager, found)]);
        r.surroundings.managers = xennet_core::managers::check(&snippets, &found);
    }),
    (Code::ConntrackFull, "connection tracking", |r| {
        set(r, "net/netfilter/nf_conntrack_max", "1000");
        set(r, "net/netfilter/nf_conntrack_count", "950");
    }),
    (Code::NeighbourTableSmall, "IPv4", |r| set(r, "net/ipv4/neigh/default/gc_thresh3", "4")),
    (Code::DnsmasqDead, "network private", |r| {
        r.services.push(Service::new(name("private"), "dhcp", false));
    }),
    (Code::DnsmasqUnheard, "network private", |r| {
        let unheard = Some("port 53 of 10.1.0.254 is another program's".into());
        r.services.push(Service::new(name("private"), "dns", true).with_unheard(unheard));
    }),
    (Code::ChecksumErrors, "UDP", |r| r.details.checksum_errors = [("udp".to_owned(), 4711)].into()),
    (Code::LinkErrors, "eth0", |r| details(r, "eth0").counters.rx_errors = 3),
    (Code::ModulesMissing, "nf_conntrack_netlink", |r| {
        r.surroundings.modules.insert("nf_conntrack_netlink".into());
    }),
    (Code::NotSeen, "xenstore", |r| r.unseen.push(Unseen::new("xenstore", "there is none"))),
    (Code::HookBroken, "/etc/xen/scripts/vif-post.d/a.hook", |r| {
        let path = "/etc/xen/scripts/vif-post.d/a.hook";
        r.surroundings.hooks.push(Problem::new(path, "others than root can change it"));
    }),
    (Code::UpstreamRoute, "network public", |r| {
        *r = Recording::from_json(&r.to_json().replace("\"proxy_arp\":true", "\"proxy_arp\":false")).unwrap();
    }),
    (Code::VlanEnds, "network lan", |r| {
        r.snapshot.links.get_mut("xenbr0").unwrap().bridge.as_mut().unwrap().vlan_filtering = Some(true);
        let vlan = |vid: u16| PortVlan::new(Vid::new(vid).unwrap(), Tagging::Untagged).with_pvid(true);
        r.snapshot.port_vlans.insert(name("eth0"), [vlan(1)].into());
        r.snapshot.port_vlans.insert(name("vif1.0"), [vlan(10)].into());
    }),
    (Code::AddressOutside, "vif4.0", |r| {
        let text = serde_json::to_string(&r.networks).unwrap().replace("198.51.100.0/28", "198.51.100.128/28");
        r.networks = serde_json::from_str(&text.replace("198.51.100.14", "198.51.100.142")).unwrap();
    }),
    (Code::ReversePath, "xenbr0", |r| {
        card(r, "eth9", |l| l.master = None);
        let one = r.snapshot.routes.iter().find(|r| r.destination.prefix() == 0).unwrap().clone();
        r.snapshot.routes.remove(&one);
        r.snapshot.routes.insert(one.with_link(name("eth9")).with_gateway(None).with_scope(253));
        r.snapshot.sysctls.insert(&SysctlKey::conf(Family::Ipv4, &name("xenbr0"), "rp_filter"), "1");
    }),
];

#[test]
fn each_is_the_first_of_its_level() {
    in_netns("edited::each_is_the_first_of_its_level", || {
        let mut healthy = World::healthy().recording();
        // As root sees it.
        healthy.unseen.clear();
        let mut wrong = String::new();
        for (code, object, edit) in EDITS {
            let mut recording = healthy.clone();
            edit(&mut recording);
            // As another machine gets it.
            let found = doctor::examine(&Recording::from_json(&recording.to_json()).unwrap());
            xennet_tests::documents::check_text("findings", &doctor::document(&found));
            let first = found.iter().find(|f| f.level() == code.level());
            if !first.is_some_and(|f| f.code == *code && f.object == *object) {
                wrong.push_str(&format!("== {code} of {object} is not the first:\n{}\n", told(&found)));
            }
        }
        assert!(wrong.is_empty(), "{wrong}");
        assert!(doctor::examine(&healthy).iter().all(|f| f.level() == Level::Note));
    });
}

/// As an ordinary user sees it: without the tables, the settings and xenstore.
#[test]
fn what_was_not_looked_at_is_a_note_and_no_damage() {
    in_netns("edited::what_was_not_looked_at_is_a_note_and_no_damage", || {
        let mut recording = World::healthy().recording();
        recording.unseen.clear();
        recording.snapshot.nft.clear();
        recording.snapshot.sysctls.clear();
        recording.store.clear();
        for what in ["nft table bridge xennet-guard", "nft table inet xennet", "kernel settings", "xenstore"] {
            recording.unseen.push(Unseen::new(what, "EPERM"));
        }
        let found = doctor::examine(&recording);
        assert!(found.iter().all(|f| f.level() == Level::Note), "{}", told(&found));
        assert_eq!(found.iter().filter(|f| f.code == Code::NotSeen).count(), 4);
    });
}

#[test]
fn each_code_is_in_a_test() {
    let sources = concat!(
        include_str!("edited.rs"),
        include_str!("planted.rs"),
        include_str!("beside.rs"),
        include_str!("firewalls.rs")
    );
    let unseen: Vec<&str> = Code::ALL
        .iter()
        .filter(|code| {
            let name = format!("{code:?}");
            !sources.split(|c: char| !c.is_alphanumeric()).any(|word| word == name)
        })
        .map(|code| code.code())
        .collect();
    assert_eq!(unseen, [""; 0]);
}
