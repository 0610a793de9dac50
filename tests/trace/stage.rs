//! A host with networks and guests, and the outside: all of it in namespaces.

use std::net::IpAddr;
use std::process::{Command, Stdio};

use xennet_core::backend::netlink::Netlink;
use xennet_core::config::networks;
use xennet_core::recording::{Recording, Taken};
use xennet_core::snapshot::{AddrGenMode, Address};
use xennet_core::step::{AddrStep, LinkChange, Step};
use xennet_core::{DevId, DomId, Host, MacAddr, VifId, exec};
use xennet_tests::steps::{name, run, set, up};
use xennet_tests::{Guest, GuestSpec, NetNs, StateDir};

use xennet_tests::chance::Chance;

/// Somebody who sends and receives.
pub(crate) struct Party {
    /// As a question names it as the sender.
    pub(crate) name: String,
    pub(crate) namespace: NetNs,
    /// Addresses that it is asked for by, both families.
    pub(crate) addresses: Vec<IpAddr>,
    /// All addresses of it.
    pub(crate) all: Vec<IpAddr>,
    pub(crate) kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Dom0,
    Outside,
    Lan,
    Behind,
}

/// The host of one world.
pub(crate) struct Stage {
    pub(crate) parties: Vec<Party>,
    pub(crate) networks: Vec<&'static str>,
    pub(crate) links: Vec<String>,
    pub(crate) host: Host,
    /// What was done to it, for people.
    pub(crate) story: Vec<String>,
    _guests: Vec<Guest>,
    _state: StateDir,
}

pub(crate) const LAN: &str = "lan";
pub(crate) const PRIVATE: &str = "private";
pub(crate) const SHARED: &str = "shared";
pub(crate) const DMZ: &str = "dmz";
/// Routed, with addresses of the LAN: dom0 answers for its guests there.
pub(crate) const NEAR: &str = "near";

const FORWARDS: &str = "forward = [\n  { protocol = \"tcp\", ports = \"8080\", to = \"10.0.0.1\", to_port = 80 },\n  \
     { protocol = \"udp\", ports = \"5353\", to = \"10.0.0.1\", to_port = 53 },\n  \
     { protocol = \"tcp\", ports = \"20000-20010\", to = \"10.0.0.2\" },\n  \
     { protocol = \"tcp\", ports = \"8080\", to = \"fd00:1::11\", to_port = 80 },\n]\n";

fn text(networks: &[&str]) -> String {
    let one = |network: &&str| {
        match *network {
        LAN => "[network.lan]\nmode = \"bridge\"\nuplink = \"eth0\"\nbridge = \"xenbr0\"\n\n".to_owned(),
        PRIVATE => {
            format!("[network.private]\nmode = \"nat\"\nsubnets = [\"10.0.0.0/24\", \"fd00:1::/64\"]\n{FORWARDS}\n")
        }
        SHARED => {
            "[network.shared]\nmode = \"nat\"\nsubnets = [\"10.1.0.0/24\", \"fd00:2::/64\"]\nbridge = \"natbr0\"\nforward = [\n  { protocol = \"tcp\", ports = \"443\", to = \"10.1.0.1\", to_port = 5432 },\n  { protocol = \"udp\", ports = \"53\", to = \"fd00:2::12\" },\n]\n\n"
                .to_owned()
        }
        NEAR => "[network.near]\nmode = \"routed\"\nsubnets = [\"192.168.0.128/28\", \"2001:db8::80/124\"]\nproxy_arp = true\n\
                 proxy_ndp = true\n\n"
            .to_owned(),
        _ => "[network.dmz]\nmode = \"routed\"\nsubnets = [\"10.2.0.0/24\", \"2001:db8:7::/64\"]\n\n".to_owned(),
    }
    };
    networks.iter().map(one).collect()
}

/// The same, where some networks limit what their guests reach of this domain, and of the LAN.
fn limited(text: &str, chance: &mut Chance) -> String {
    let mut lines = Vec::new();
    for line in text.lines() {
        lines.push(line);
        if line == "mode = \"nat\"" || line == "mode = \"routed\"" {
            lines.extend([None, None, Some("host = \"services\""), Some("host = \"closed\"")][chance.below(4)]);
            lines.extend(chance.percent(25).then_some("lan = \"closed\""));
        }
    }
    lines.join("\n")
}

/// The vif line behind the MAC, addresses with prefixes, gateways.
type Inside = (String, [String; 2], [&'static str; 2], Kind);

fn inside(network: &str, number: u8) -> Inside {
    let (line, addresses, gateways, kind) = match network {
        LAN => (
            "bridge=xenbr0",
            [format!("192.168.0.{}/24", 5 + number), format!("2001:db8::{}/64", 5 + number)],
            ["192.168.0.1", "2001:db8::1"],
            Kind::Lan,
        ),
        PRIVATE => (
            "bridge=private",
            [format!("10.0.0.{number}/24"), format!("fd00:1::1{number}/128")],
            ["10.0.0.254", "fe80::1"],
            Kind::Behind,
        ),
        SHARED => (
            "bridge=natbr0",
            [format!("10.1.0.{number}/24"), format!("fd00:2::1{number}/64")],
            ["10.1.0.254", "fd00:2::1"],
            Kind::Behind,
        ),
        NEAR => (
            "bridge=near",
            [format!("192.168.0.{}/28", 128 + number), format!("2001:db8::8{}/128", 1 + number)],
            ["192.168.0.142", "fe80::1"],
            Kind::Behind,
        ),
        _ => (
            "bridge=dmz",
            [format!("10.2.0.{number}/24"), format!("2001:db8:7::1{number}/128")],
            ["10.2.0.254", "fe80::1"],
            Kind::Behind,
        ),
    };
    let bare = addresses.each_ref().map(|a| a.split('/').next().unwrap().to_owned()).join(" ");
    (format!("{line},ip={bare}"), addresses, gateways, kind)
}

pub(crate) fn write(key: &str, value: &str) -> bool {
    std::fs::write(format!("/proc/sys/{key}"), value).is_ok()
}

fn unfiltered() {
    // A router asks with its own address on the link.
    write("net/ipv4/conf/eth0/arp_announce", "2");
    for link in ["all", "default", "eth0"] {
        write(&format!("net/ipv4/conf/{link}/rp_filter"), "0");
    }
    write("net/ipv4/icmp_echo_ignore_broadcasts", "0");
    // Refusals would be late, and the limits of others.
    write("net/ipv4/icmp_ratelimit", "0");
    write("net/ipv6/icmp/ratelimit", "0");
}

/// Runs a command here, as an administrator would.
pub(crate) fn command(line: &str) {
    let mut words = line.split_whitespace();
    let mut command = Command::new(words.next().unwrap());
    let path = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin:/sbin:/bin";
    let output = command.args(words).env("PATH", path).stdin(Stdio::null()).output();
    let output = output.unwrap_or_else(|e| panic!("{line}: {e}"));
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Loads rules.
pub(crate) fn nft(rules: &str) {
    use std::io::Write as _;
    let path = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin:/sbin:/bin";
    let mut nft = Command::new("nft");
    nft.args(["-f", "-"]).env("PATH", path).stdin(Stdio::piped()).stderr(Stdio::piped());
    let mut nft = nft.spawn().expect("nft: install nftables");
    nft.stdin.take().unwrap().write_all(rules.as_bytes()).unwrap();
    let output = nft.wait_with_output().unwrap();
    assert!(output.status.success(), "{rules}\n{}", String::from_utf8_lossy(&output.stderr));
}

fn add(on: &mut Netlink, link: &str, text: &str) {
    let address = Address::new(name(link), text.parse().unwrap()).with_nodad(text.contains(':'));
    run(on, Step::Addr(AddrStep::Add(address)));
}

fn station(number: u8, addresses: &[&str], gateways: &[&str]) -> Guest {
    let id = VifId::new(DomId::new(u32::from(number)).unwrap(), DevId::FIRST);
    let mac = MacAddr::new([0, 0x16, 0x3e, 0, 0, number]);
    let guest = Guest::new(&GuestSpec { id, mac, addresses: Vec::new() }).unwrap();
    let work = || {
        unfiltered();
        let mut on = Netlink::open().unwrap();
        addresses.iter().for_each(|a| add(&mut on, Guest::LINK, a));
        let lines = gateways.iter().map(|gateway| {
            let family = if gateway.contains(':') { "-6" } else { "-4" };
            format!("ip {family} route add default via {gateway} dev {}", Guest::LINK)
        });
        lines.for_each(|line| command(&line));
    };
    guest.namespace().run(work).unwrap();
    guest
}

fn bare(addresses: &[&str]) -> Vec<IpAddr> {
    addresses.iter().map(|a| a.split('/').next().unwrap().parse().unwrap()).collect()
}

impl Stage {
    /// Makes dom0 of the namespace of this thread, which is new.
    pub(crate) fn new(chance: &mut Chance) -> Stage {
        let all = [
            &[LAN, PRIVATE, SHARED][..],
            &[LAN, PRIVATE, DMZ],
            &[PRIVATE, SHARED, DMZ],
            &[LAN, SHARED],
            &[PRIVATE, DMZ],
            &[LAN],
            &[LAN, NEAR],
            &[PRIVATE, NEAR],
        ];
        let networks = chance.one(&all).to_vec();
        let text = limited(&text(&networks), chance);
        Stage::of(&networks, &text, chance)
    }

    /// With these networks.
    pub(crate) fn with(networks: &[&'static str], chance: &mut Chance) -> Stage {
        Stage::of(networks, &text(networks), chance)
    }

    /// With these networks as they are described.
    fn of(networks: &[&'static str], described: &str, chance: &mut Chance) -> Stage {
        let networks = networks.to_vec();
        unfiltered();
        // An address that is being looked for among neighbours cannot ask for a second.
        write("net/ipv6/conf/default/accept_dad", "0");
        write("net/ipv6/conf/default/dad_transmits", "0");
        write("net/bridge/bridge-nf-call-iptables", "0");
        write("net/bridge/bridge-nf-call-ip6tables", "0");
        let mut on = Netlink::open().unwrap();
        set(&mut on, "lo", up());
        let outer = ["192.168.0.1/24", "2001:db8::1/64", "198.51.100.7/32", "2001:db8:ffff::7/128"];
        let outside = station(100, &outer, &[]);
        let change = LinkChange::default()
            .with_name(name("eth0"))
            .with_mac(MacAddr::new([2, 0, 0, 0, 0x53, 1]))
            .with_addr_gen_mode(AddrGenMode::None);
        set(&mut on, "vif100.0", change);
        set(&mut on, "eth0", up());
        unfiltered();
        for address in ["192.168.0.3/24", "2001:db8::3/64", "fe80::3/64"] {
            add(&mut on, "eth0", address);
        }
        command("ip route add default via 192.168.0.1 dev eth0");
        command("ip -6 route add default via 2001:db8::1 dev eth0");
        let routes = || {
            for to in ["10.0.0.0/24", "10.1.0.0/24", "10.2.0.0/24"] {
                command(&format!("ip route add {to} via 192.168.0.3 dev eth0"));
            }
            for to in ["fd00:1::/64", "fd00:2::/64", "2001:db8:7::/64"] {
                command(&format!("ip -6 route add {to} via 2001:db8::3 dev eth0"));
            }
            // Whom it does not know it reaches by dom0, too: dom0's other addresses.
            command("ip route add default via 192.168.0.3 dev eth0");
            command("ip -6 route add default via 2001:db8::3 dev eth0");
        };
        outside.namespace().run(routes).unwrap();
        let state = StateDir::new();
        let mut host = Host::netlink().unwrap().with_state_dir(exec::StateDir::at(state.path()));
        let file = networks::parse(described).unwrap_or_else(|e| panic!("{}", e.report()));
        for network in file.iter() {
            host.start_network(network).unwrap_or_else(|e| panic!("{}", e.report()));
        }
        let mut guests = Vec::new();
        let mut parties = vec![Party {
            name: "198.51.100.7".into(),
            namespace: outside.namespace().run(|| NetNs::current().unwrap()).unwrap(),
            addresses: bare(&outer),
            all: bare(&outer),
            kind: Kind::Outside,
        }];
        let mut links = vec!["eth0".to_owned()];
        let mut number = 10;
        for network in &networks {
            for at in [1, 2] {
                number += 1;
                let (line, addresses, gateways, kind) = inside(network, at);
                let texts = addresses.each_ref().map(String::as_str);
                let guest = station(number, &texts, &gateways);
                let isolated = if line.contains("xenbr0") && chance.percent(20) { ",isolated" } else { "" };
                let spec = format!("mac=00:16:3e:00:00:{number:02x},{line}{isolated}").parse().unwrap();
                let domid = DomId::new(u32::from(number)).unwrap();
                host.attach(domid, &spec).unwrap_or_else(|e| panic!("{line}: {}", e.report()));
                links.push(format!("vif{number}.0"));
                parties.push(Party {
                    name: format!("vif{number}.0"),
                    namespace: guest.namespace().run(|| NetNs::current().unwrap()).unwrap(),
                    addresses: bare(&texts),
                    all: bare(&texts),
                    kind,
                });
                guests.push(guest);
            }
        }
        links.extend(["xenbr0", "natbr0"].into_iter().filter(|b| name_is_here(b)).map(str::to_owned));
        // Answers for others would wait up to 0.8 seconds.
        for link in &links {
            write(&format!("net/ipv4/neigh/{link}/proxy_delay"), "0");
            write(&format!("net/ipv6/neigh/{link}/proxy_delay"), "0");
        }
        let mut own = bare(&["192.168.0.3/24", "2001:db8::3/64"]);
        for (network, addresses) in [
            (PRIVATE, ["10.0.0.254", ""]),
            (SHARED, ["10.1.0.254", "fd00:2::1"]),
            (DMZ, ["10.2.0.254", ""]),
            (NEAR, ["192.168.0.142", ""]),
        ] {
            if networks.contains(&network) {
                own.extend(addresses.iter().filter(|a| !a.is_empty()).map(|a| a.parse::<IpAddr>().unwrap()));
            }
        }
        parties.push(Party {
            name: "dom0".into(),
            namespace: NetNs::current().unwrap(),
            addresses: own.clone(),
            all: own,
            kind: Kind::Dom0,
        });
        guests.push(outside);
        Stage { parties, networks, links, host, story: Vec::new(), _guests: guests, _state: state }
    }

    pub(crate) fn record(&mut self) -> Recording {
        self.host.record(Taken::default(), None, Err("there is none here".into()))
    }

    /// Nobody knows anybody's hardware address any more.
    pub(crate) fn forget_neighbours(&self) {
        for party in &self.parties {
            party.namespace.run(|| command("ip neigh flush all")).unwrap();
        }
    }

    pub(crate) fn has(&self, network: &str) -> bool {
        self.networks.contains(&network)
    }
}

pub(crate) fn name_is_here(link: &str) -> bool {
    std::path::Path::new(&format!("/proc/sys/net/ipv4/conf/{link}")).exists()
}
