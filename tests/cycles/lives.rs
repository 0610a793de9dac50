//! The lives of guests, and what must not be left of them.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv6Addr};
use std::process::{Command, Stdio};
use std::time::Duration;

use xennet_core::backend::Backend as _;
use xennet_core::backend::netlink::Netlink;
use xennet_core::config::networks;
use xennet_core::ipnetwork::IpNetwork;
use xennet_core::snapshot::{AddrGenMode, Address, NftTableId, NftValue, Part, Route, Scope, Snapshot};
use xennet_core::step::{AddrStep, LinkChange, LinkRef, LinkStep, NewLink, RouteStep, Step, SysctlStep};
use xennet_core::{DevId, DomId, Guests, Host, IfName, MacAddr, VifId, exec};
use xennet_tests::StateDir;
use xennet_tests::chance::Chance;
use xennet_tests::steps::{into, name, run, set, up};

use super::Counts;
use super::learned::{self, Learned};

/// The modes that a guest can have, in the order of [`Counts::modes`].
const MODES: [&str; 4] = ["xenbr0", "private", "nat", "dmz"];

const NETWORKS: &str = "\
[network.private]\nmode = \"nat\"\nsubnets = [\"10.2.0.0/24\", \"fd00:2::/64\"]\nbridge = \"natbr0\"\n
[network.nat]\nmode = \"nat\"\nsubnets = [\"10.1.0.0/24\", \"fd00:1::/64\"]\n
[network.dmz]\nmode = \"routed\"\nsubnets = [\"10.3.0.0/24\", \"fd00:3::/64\"]\nproxy_ndp = true\n";

/// A guest that is there.
#[derive(Clone, Debug)]
struct Guest {
    id: VifId,
    index: u32,
    mode: usize,
    mac: MacAddr,
    /// The last number of its addresses.
    number: u8,
    vifname: Option<&'static str>,
}

impl Guest {
    fn addresses(&self) -> Vec<IpAddr> {
        let (four, six) = match self.mode {
            0 => ("198.51.100.", "2001:db8:1::"),
            1 => ("10.2.0.", "fd00:2::"),
            2 => ("10.1.0.", "fd00:1::"),
            _ => ("10.3.0.", "fd00:3::"),
        };
        [format!("{four}{}", self.number), format!("{six}{:x}", self.number)].map(|a| a.parse().unwrap()).into()
    }

    fn line(&self) -> String {
        let addresses: Vec<String> = self.addresses().iter().map(ToString::to_string).collect();
        let name = self.vifname.map_or_else(String::new, |name| format!(",vifname={name}"));
        format!("mac={},bridge={},ip={}{name}", self.mac, MODES[self.mode], addresses.join(" "))
    }

    fn link(&self) -> IfName {
        self.vifname.map_or_else(|| self.id.vif_name(), name)
    }

    fn bridge(&self) -> Option<&'static str> {
        [Some("xenbr0"), Some("natbr0"), None, None][self.mode]
    }
}

pub(crate) struct World {
    state: StateDir,
    seed: u64,
    guests: Vec<Guest>,
    /// Addresses whose last guest nobody has detached.
    silent: BTreeSet<IpAddr>,
    history: Vec<String>,
    before: (Snapshot, usize),
    steps: usize,
}

fn apply(step: Step) {
    run(&mut Netlink::open().unwrap(), step);
}

fn address(link: &str, text: &str) {
    apply(Step::Addr(AddrStep::Add(Address::new(name(link), text.parse().unwrap()).with_nodad(text.contains(':')))));
}

/// The address that a guest makes of its MAC.
fn link_local(mac: MacAddr) -> Ipv6Addr {
    let [.., last] = mac.octets();
    Ipv6Addr::new(0xfe80, 0, 0, 0, 0x216, 0x3eff, 0xfe00, last.into())
}

fn look(scope: &Scope) -> Snapshot {
    Netlink::open().unwrap().observe(scope).unwrap()
}

/// All that is there but learned entries and our tables, which stay when nobody is in them.
fn all() -> Snapshot {
    let mut seen = look(&Scope::network()).normalised();
    seen.nft.clear();
    seen
}

/// The elements of our tables that guests have: table and set, the fields of the key.
fn elements() -> Vec<(String, Vec<NftValue>)> {
    let tables = [NftTableId::guard(), NftTableId::gate()];
    let seen = look(&tables.into_iter().map(Part::Nft).collect());
    let sets =
        seen.nft.iter().flat_map(|(id, table)| table.sets.iter().map(move |(set, s)| (format!("{id} {set}"), s)));
    let all = sets.filter(|(set, _)| !set.ends_with(" version"));
    all.flat_map(|(set, s)| s.elements.keys().map(move |key| (set.clone(), key.first.to_vec())).collect::<Vec<_>>())
        .collect()
}

impl World {
    pub(crate) fn new(seed: u64) -> World {
        let quiet = [("all", "disable_ipv6", "0"), ("default", "addr_gen_mode", "1"), ("default", "accept_dad", "0")];
        for (which, key, value) in quiet {
            let key = format!("net/ipv6/conf/{which}/{key}").parse().unwrap();
            apply(Step::Sysctl(SysctlStep { key, value: value.into() }));
        }
        let mut on = Netlink::open().unwrap();
        set(&mut on, "lo", up());
        let mac = |last| LinkChange::default().with_mac(MacAddr::new([2, 0, 0, 0, 0x53, last]));
        for (at, bridge) in [(1, "xenbr0"), (2, "natbr0")] {
            apply(Step::Link(LinkStep::Create { name: name(bridge), kind: NewLink::Bridge, change: mac(at) }));
        }
        // eth0 leads outside, and eth1 is another station of the bridge.
        for (at, link) in [(3, "eth0"), (5, "eth1"), (7, "eth2")] {
            let kind = NewLink::Veth { peer: name(&format!("{link}p")) };
            apply(Step::Link(LinkStep::Create { name: name(link), kind, change: mac(at) }));
            set(&mut on, &format!("{link}p"), mac(at + 1).with_addr_gen_mode(AddrGenMode::None));
            set(&mut on, &format!("{link}p"), up());
        }
        set(&mut on, "eth1", into("xenbr0"));
        set(&mut on, "eth2", into("natbr0"));
        for link in ["eth0", "eth1", "eth2", "xenbr0", "natbr0"] {
            set(&mut on, link, LinkChange::default().with_addr_gen_mode(AddrGenMode::None));
            set(&mut on, link, up());
        }
        for (link, text) in [
            ("eth0", "192.0.2.1/24"),
            ("eth0", "2001:db8::1/64"),
            ("xenbr0", "198.51.100.1/24"),
            ("xenbr0", "2001:db8:1::1/64"),
        ] {
            address(link, text);
        }
        for (to, gateway) in [("0.0.0.0/0", "192.0.2.254"), ("::/0", "2001:db8::fe")] {
            let route = Route::to(to.parse().unwrap(), name("eth0")).with_gateway(gateway.parse::<IpAddr>().unwrap());
            apply(Step::Route(RouteStep::Add(route)));
        }
        let mut world = World {
            state: StateDir::new(),
            seed,
            guests: Vec::new(),
            silent: BTreeSet::new(),
            history: Vec::new(),
            before: (Snapshot::default(), 0),
            steps: 0,
        };
        let mut host = world.host();
        for network in networks::parse(NETWORKS).unwrap().iter() {
            host.start_network(network).unwrap_or_else(|e| panic!("{}", e.report()));
        }
        world.before = (all(), elements().len());
        world
    }

    fn host(&self) -> Host {
        Host::netlink().unwrap().with_state_dir(self.dir())
    }

    fn dir(&self) -> exec::StateDir {
        exec::StateDir::at(self.state.path())
    }

    fn told(&self) -> String {
        let from = self.history.len().saturating_sub(40);
        format!("XENNET_CYCLES_SEED={}\n  {}", self.seed, self.history[from..].join("\n  "))
    }

    fn say(&mut self, what: String) {
        self.history.push(format!("cycle {}, {what}", self.steps));
    }

    /// A guest comes, lives, and may end; before it another one may end.
    pub(crate) fn cycle(&mut self, chance: &mut Chance, counts: &mut Counts) {
        self.steps += 1;
        while self.guests.len() >= 3 || (!self.guests.is_empty() && chance.one_in(2)) {
            let at = chance.below(self.guests.len());
            let guest = self.guests.swap_remove(at);
            self.ends(&guest, chance, counts);
        }
        if chance.one_in(25) {
            let done = self.host().recover().unwrap_or_else(|e| panic!("{}\n  {}", e.report(), self.told()));
            self.say(format!("recover: {done:?}"));
            counts.recovered += 1;
        }
        let guest = self.comes(chance, counts);
        self.live(&guest, chance, counts);
        self.guests.push(guest);
    }

    fn comes(&mut self, chance: &mut Chance, counts: &mut Counts) -> Guest {
        let is_free = |domid: &DomId| !self.guests.iter().any(|g| g.id.domid == *domid);
        let free: Vec<DomId> = (1..6).map(|n| DomId::new(n).unwrap()).filter(is_free).collect();
        let id = VifId::new(*chance.one(&free), DevId::FIRST);
        let mode = chance.below(MODES.len());
        let numbers: Vec<u8> =
            (11..14).filter(|n| !self.guests.iter().any(|g| g.mode == mode && g.number == *n)).collect();
        let macs: Vec<u8> = (1..5).filter(|n| !self.guests.iter().any(|g| g.mac.octets()[5] == *n)).collect();
        let names: Vec<Option<&str>> = [None, None, Some("web1"), Some("web2")]
            .into_iter()
            .filter(|n| n.is_none() || !self.guests.iter().any(|g| g.vifname == *n))
            .collect();
        let kind = NewLink::Veth { peer: name(&format!("g{}", id.domid)) };
        apply(Step::Link(LinkStep::Create {
            name: id.vif_name(),
            kind,
            change: LinkChange::default().with_mac(MacAddr::BACKEND),
        }));
        let mut on = Netlink::open().unwrap();
        let peer = format!("g{}", id.domid);
        set(&mut on, &peer, LinkChange::default().with_addr_gen_mode(AddrGenMode::None));
        set(&mut on, &peer, up());
        let index = look(&Scope::none().with(Part::Link(id.vif_name()))).links[&id.vif_name()].index;
        let mac = MacAddr::new([0, 0x16, 0x3e, 0, 0, *chance.one(&macs)]);
        let guest = Guest { id, index, mode, mac, number: *chance.one(&numbers), vifname: *chance.one(&names) };
        counts.modes[mode] += 1;
        counts.inherited += guest.addresses().iter().filter(|a| self.silent.remove(a)).count();
        if chance.one_in(8) {
            let domid = id.domid.to_string();
            self.kill(&["attach", &domid, &guest.line()], chance, counts);
            if chance.one_in(3) {
                // Its domain ends before anybody calls again, and comes back.
                self.silently(&guest, counts);
                return self.comes(chance, counts);
            }
        }
        self.attach(&guest);
        guest
    }

    fn attach(&mut self, guest: &Guest) {
        let line = guest.line();
        let done = self.host().attach(guest.id.domid, &line.parse().unwrap());
        let done = done.unwrap_or_else(|e| panic!("attach {} {line}: {}\n  {}", guest.id, e.report(), self.told()));
        self.say(format!("attach {} {line}: {} steps {:?}", guest.id, done.steps, done.notes));
        self.check(guest);
    }

    /// While it is there it may be given another name or other addresses.
    fn live(&mut self, guest: &Guest, chance: &mut Chance, counts: &mut Counts) {
        let addresses = guest.addresses();
        let link = guest.link();
        let elsewhere = match guest.mode {
            0 => "eth1",
            _ => "eth2",
        };
        let who = learned::Who {
            addresses: &addresses,
            mac: guest.mac,
            link: link.as_str(),
            bridge: guest.bridge(),
            elsewhere: chance.one_in(3).then_some(elsewhere),
        };
        counts.learned += learned::learn(&who, self.steps * 7 + usize::from(guest.number));
    }

    fn renamed(&mut self, guest: &mut Guest, chance: &mut Chance, counts: &mut Counts) {
        let names: Vec<Option<&str>> = [None, Some("web3"), Some("web1")]
            .into_iter()
            .filter(|n| n.is_none() || !self.guests.iter().any(|g| g.vifname == *n))
            .filter(|n| *n != guest.vifname)
            .collect();
        guest.vifname = *chance.one(&names);
        counts.renamed += 1;
        let line = guest.line();
        let done = self.host().attach(guest.id.domid, &line.parse().unwrap());
        let done = done.unwrap_or_else(|e| panic!("rename {} {line}: {}\n  {}", guest.id, e.report(), self.told()));
        self.say(format!("again {} {line}: {} steps {:?}", guest.id, done.steps, done.notes));
        self.check_permissions(guest);
    }

    fn ends(&mut self, guest: &Guest, chance: &mut Chance, counts: &mut Counts) {
        let mut guest = guest.clone();
        if chance.one_in(4) {
            self.renamed(&mut guest, chance, counts);
        }
        let domid = guest.id.domid.to_string();
        match chance.below(8) {
            // Its record is lost, with the domain: the next one with its name must not have its elements.
            0 => {
                std::fs::remove_file(self.dir().file(xennet_core::Subject::Vif(guest.id))).unwrap();
                counts.lost += 1;
                self.silently(&guest, counts);
            }
            1 => self.silently(&guest, counts),
            2 => {
                self.kill(&["detach", &domid], chance, counts);
                self.silently(&guest, counts);
            }
            3 => {
                self.kill(&["detach", &domid], chance, counts);
                self.remove(&guest);
                self.detach(&guest, counts);
            }
            4 => {
                self.detach(&guest, counts);
                self.remove(&guest);
            }
            5 => {
                self.detach(&guest, counts);
                self.remove(&guest);
                self.detach(&guest, counts);
            }
            _ => {
                self.remove(&guest);
                self.detach(&guest, counts);
            }
        }
    }

    /// Its domain ends, and nobody is told.
    fn silently(&mut self, guest: &Guest, counts: &mut Counts) {
        self.remove(guest);
        self.silent.extend(guest.addresses());
        counts.silent += 1;
        self.say(format!("{} ended without a call", guest.id));
    }

    /// As netback takes it away.
    fn remove(&mut self, guest: &Guest) {
        let seen = look(&Scope::none().with(Part::LinkIndex(guest.index)));
        let (link, _) = seen.link_by_index(guest.index).unwrap();
        apply(Step::Link(LinkStep::Delete { link: LinkRef::named(*link) }));
    }

    fn detach(&mut self, guest: &Guest, counts: &mut Counts) {
        let done = self.host().detach(guest.id.domid, DevId::FIRST);
        let done = done.unwrap_or_else(|e| panic!("detach {}: {}\n  {}", guest.id, e.report(), self.told()));
        self.say(format!("detach {}: {} steps {:?}", guest.id, done.steps, done.notes));
        counts.detached += 1;
        let left: Vec<_> = elements().into_iter().filter(|(_, key)| self.is_of(guest, key)).collect();
        assert!(left.is_empty(), "elements of {guest:?} are left: {left:?}\n  {}", self.told());
        self.nothing_learned(guest, &learned::look(), true);
        let seen = look(&Scope::none().with(Part::LinkIndex(guest.index)));
        let record = self.dir().record(xennet_core::Subject::Vif(guest.id)).unwrap();
        assert!(
            record.is_none() || seen.link_by_index(guest.index).is_some(),
            "a record of {guest:?} is left: {record:?}\n  {}",
            self.told()
        );
    }

    /// Whether an element says something of a guest: by its link, or by the addresses that NAT hides.
    fn is_of(&self, guest: &Guest, key: &[NftValue]) -> bool {
        let addresses = guest.addresses();
        let is_address = |value: &NftValue| match value {
            NftValue::Ipv4(a) => addresses.contains(&(*a).into()),
            NftValue::Ipv6(a) => addresses.contains(&(*a).into()),
            _ => false,
        };
        let names = [guest.link(), guest.id.vif_name()];
        let is_free = |link: &IfName| !self.guests.iter().any(|g| g.link() == *link);
        match &key[0] {
            NftValue::Name(link) if *link == name("eth0") => key.iter().any(is_address),
            NftValue::Name(link) => names.contains(link) && is_free(link),
            _ => false,
        }
    }

    /// The guest has what it was given, and nothing of whoever had its number, its name, its MAC or its addresses before.
    fn check(&self, guest: &Guest) {
        self.check_permissions(guest);
        let learned = learned::look();
        self.nothing_learned(guest, &learned, false);
        for address in guest.addresses() {
            let seen = look(&Scope::none().with(Part::Routing));
            let to = IpNetwork::from(address);
            let ways: Vec<&Route> =
                seen.routes.iter().filter(|r| r.destination == to && r.table == Route::MAIN).collect();
            let own = |r: &&Route| r.link == Some(guest.link());
            let wanted = usize::from(guest.bridge().is_none());
            assert!(ways.len() == wanted && ways.iter().all(own), "{guest:?}: {ways:?}\n  {}", self.told());
        }
    }

    fn check_permissions(&self, guest: &Guest) {
        let (addresses, link) = (guest.addresses(), guest.link());
        let all = elements();
        let own: Vec<_> = all.iter().filter(|(_, key)| key[0] == NftValue::Name(link)).collect();
        for (set, key) in &own {
            let allowed = key[1..].iter().all(|value| match value {
                NftValue::Mac(mac) => *mac == guest.mac,
                NftValue::Ipv4(a) => addresses.contains(&(*a).into()) || a.is_unspecified(),
                // Its link-local address follows from its MAC.
                NftValue::Ipv6(a) => {
                    addresses.contains(&(*a).into()) || a.is_unspecified() || *a == link_local(guest.mac)
                }
                _ => true,
            });
            assert!(allowed, "{guest:?} has inherited {set} {key:?}\n  {}", self.told());
        }
        assert!(own.len() > 2, "{guest:?} is not checked: {own:?}\n  {}", self.told());
        let made = guest.id.vif_name();
        let former = |key: &[NftValue]| made != link && key[0] == NftValue::Name(made);
        let former: Vec<_> = all.iter().filter(|(_, key)| former(key)).collect();
        assert!(former.is_empty(), "{guest:?} has elements under its first name: {former:?}\n  {}", self.told());
    }

    /// Nothing was learned of its addresses and its MAC; `is_gone`: nor of its link.
    fn nothing_learned(&self, guest: &Guest, learned: &Learned, is_gone: bool) {
        let addresses = guest.addresses();
        // On a bridge without NAT nothing of a guest is tracked by this domain's doing.
        let is_tracked = guest.mode != 0;
        let connections = learned.connections.iter().filter(|(a, _)| is_tracked && addresses.contains(a));
        let connections: Vec<_> = connections.collect();
        assert!(connections.is_empty(), "{guest:?} has connections: {connections:#?}\n  {}", self.told());
        let neighbours: Vec<_> =
            learned.neighbours.iter().filter(|n| addresses.contains(&n.address) && n.mac.is_some()).collect();
        assert!(neighbours.is_empty(), "{guest:?} has neighbours: {neighbours:#?}\n  {}", self.told());
        let stations = learned.stations.iter().filter(|s| {
            let is_elsewhere = Some(s.port.as_str()) == [Some("eth1"), Some("eth2"), None, None][guest.mode];
            s.mac == guest.mac && (is_elsewhere || (is_gone && s.port == guest.link()))
        });
        // After it has gone the station behind another port may be another one.
        let stations: Vec<_> = stations.filter(|_| !is_gone).collect();
        assert!(stations.is_empty(), "{guest:?} is believed elsewhere: {stations:#?}\n  {}", self.told());
        let port = format!("port {} ", guest.link());
        let groups: Vec<_> = learned.groups.iter().filter(|line| line.contains(&port)).collect();
        assert!(groups.is_empty(), "{guest:?} is in groups: {groups:#?}\n  {}", self.told());
    }

    fn kill(&mut self, words: &[&str], chance: &mut Chance, counts: &mut Counts) {
        let program = std::env::var_os("XENNET_BIN").unwrap_or_else(|| env!("CARGO_BIN_EXE_xennet").into());
        let mut command = Command::new(program);
        command.arg("--state-dir").arg(self.state.path()).args(words);
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_micros(u64::try_from(500 + chance.below(12_000)).unwrap()));
        child.kill().unwrap();
        let status = child.wait().unwrap();
        counts.killed += usize::from(status.code().is_none());
        self.say(format!("{words:?} killed: {status}"));
    }

    /// All go, and the host is as it was.
    pub(crate) fn end(mut self, counts: &mut Counts) {
        for guest in std::mem::take(&mut self.guests) {
            self.remove(&guest);
            self.detach(&guest, counts);
        }
        let done = self.host().recover().unwrap_or_else(|e| panic!("{}\n  {}", e.report(), self.told()));
        self.say(format!("recover at the end: {done:?}"));
        let (before, count) = &self.before;
        let changes: Vec<String> = before.changes(&all()).iter().map(ToString::to_string).collect();
        assert!(changes.is_empty(), "{changes:#?}\n  {}", self.told());
        let left = elements();
        assert!(left.len() == *count, "{left:#?}\n  {}", self.told());
        let places = std::fs::read_dir(self.state.path().join("stations")).unwrap();
        let places: Vec<_> = places.map(|entry| entry.unwrap().file_name()).collect();
        assert!(places.is_empty(), "{places:?}\n  {}", self.told());
        let learned = learned::look();
        // This domain has connections of its own, and those of guests of a bridge without NAT are not its doing.
        let of_guest = |line: &str| {
            ["203.0.113.9 ", "=2001:db8::9 "].iter().any(|end| line.contains(end))
                && !["=198.51.100.", "=2001:db8:1::"].iter().any(|end| line.contains(end))
        };
        let connections: Vec<_> = learned.connections.iter().filter(|(_, line)| of_guest(line)).collect();
        assert!(connections.is_empty(), "{connections:#?}\n  {}", self.told());
        assert!(learned.groups.is_empty(), "{:#?}\n  {}", learned.groups, self.told());
        let records: Vec<String> =
            self.dir().recorded().unwrap().iter().map(ToString::to_string).filter(|s| s.starts_with("vif")).collect();
        assert!(records.is_empty(), "{records:?}\n  {}", self.told());
        let mut host = self.host();
        for network in host.started_networks().unwrap() {
            let done = host.stop_network(&network.network.name(), Guests::MustHaveGone);
            done.unwrap_or_else(|e| panic!("{}\n  {}", e.report(), self.told()));
        }
    }
}
