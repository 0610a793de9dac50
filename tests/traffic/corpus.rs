//! The published frames: `tests/corpus/frames.jsonl`, one entry a line, with what must become of it and why.
//!
//! The file is made here (`XENNET_BLESS=1 cargo test -p xennet-tests --test traffic corpus`), of the kinds of `kinds` and the messages of
//! `says`, each written down with the bytes that are sent. The runs read the file. In bridge mode a frame is to all stations, so that every
//! place sees what passes: another guest, dom0, the uplink and a second uplink.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;

use serde::{Deserialize, Serialize};
use xennet_core::Host;
use xennet_core::backend::netlink::Netlink;
use xennet_core::recording::Taken;
use xennet_core::step::{LinkChange, LinkStep, Step};
use xennet_core::trace::{Frames, Judged};
use xennet_tests::frame::{BROADCAST, hex, ipv4_udp, join, number};
use xennet_tests::station::Station;
use xennet_tests::{Guest, in_netns};

use super::kinds::{Cast, Declared, KINDS};
use super::lab::{BRIDGE, LONG, Lab, Party, domid, into, name, set, snooping, vif};
use super::oracle::{Policy, Verdict};
use super::{BridgeFilter, bridge_filter, says};

/// One entry of the file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Entry {
    /// What it is, in words; with the class unlike all others.
    pub(crate) name: String,
    pub(crate) class: String,
    /// `bridge`, `nat` or `routed`.
    mode: String,
    /// `pass` or `drop`. A message in several frames is dropped if one of them is that it cannot do without.
    verdict: String,
    reason: String,
    pub(crate) frames: Vec<Sent>,
}

/// One frame of an entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Sent {
    /// From the receiver's MAC address on, in hexadecimal digits.
    pub(crate) bytes: String,
    /// In bridge mode: what becomes of this one. In the others dom0 puts fragments together, so only the whole is judged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) verdict: Option<String>,
}

/// Classes by the beginning of a name: which, why such frames are dropped, and why others of them pass.
const CLASSES: [(&[&str], &str, &str); 17] = [
    (
        &["ICMP: r", "router advertisement of ICMP", "router solicitation of ICMP"],
        "icmp",
        "a guest that is taken for a router gets everybody's packets",
    ),
    (&["802."], "vlan", "a tag leads into a VLAN that the vif is not in, or hides what is behind it"),
    (
        &["RA", "redirect", "router advertisement", "router renumbering"],
        "router",
        "a guest that is taken for a router gets everybody's packets",
    ),
    (
        &["RS", "router solicitation"],
        "solicitation",
        "a link-layer address in it goes into the router's table of neighbours",
    ),
    (&["DAD"], "detection", "who claims an address keeps others from using it"),
    (&["ND", "neighbour", "IPv6, neighbour"], "neighbour", "who speaks for another's address gets its packets"),
    (
        &["MLD", "IGMP", "query of", "multicast router", "report of", "leave of", "done of", "DVMRP"],
        "groups",
        "a bridge sends to whom it takes for a router what others listen to",
    ),
    (&["DHCP"], "dhcp", "who answers gives out addresses, routers and name servers"),
    (&["ARP", "RARP"], "arp", "who speaks for another's address gets its packets"),
    (&["VRRP", "HSRP", "GLBP", "PIM"], "gateway", "a guest that is taken for the gateway gets everybody's packets"),
    (&["ICMP", "echo", "time exceeded"], "icmp", "it is said in another's name"),
    (
        &["TCP behind", "ESP behind", "UDP behind", "ICMP behind", "AH behind", "an extension", "a fragment behind"],
        "header",
        "what stands behind an authentication header cannot be told",
    ),
    (&["IPv4"], "source", "the source is another's, or it is no packet"),
    (&["IPv6"], "source", "the source is another's, or it is no packet"),
    (
        &["TCP", "UDP", "ESP", "SCTP", "GRE", "a later fragment"],
        "source",
        "it is cut so that nobody can tell what it is",
    ),
    (&["LLDP", "EAPOL", "wake", "IPX", "PPPoE", "MPLS"], "protocol", "a guest with ip= speaks IPv4, IPv6 and ARP"),
    (&[""], "other", "it is none of a guest's"),
];

fn class_of(name: &str) -> (&'static str, &'static str) {
    let found = CLASSES.iter().find(|(starts, ..)| starts.iter().any(|start| name.starts_with(start)));
    found.map(|(_, class, why)| (*class, *why)).unwrap()
}

pub(crate) fn bytes(text: &str) -> Vec<u8> {
    (0..text.len() / 2).map(|at| u8::from_str_radix(&text[at * 2..at * 2 + 2], 16).unwrap()).collect()
}

/// The guest that sends; its addresses; whom it talks to and of.
pub(crate) const SENDER: u8 = 2;
const ADDRESSES: &str = "192.0.2.33 2001:db8::2:1 198.51.100.0/24 2001:db8:5::/48";

fn cast() -> Cast {
    Cast {
        me: Party::guest(SENDER),
        second: ("198.51.100.9".parse().unwrap(), "2001:db8:5::9".parse().unwrap()),
        to: Party::guest(1),
        victim: Party::guest(4),
        dom0: Party::dom0(),
        gateway: Party::gateway(),
    }
}

fn policy() -> Policy {
    let me = Party::guest(SENDER);
    let own = format!("{}/128", me.link_local());
    Policy {
        macs: vec![me.mac],
        v4: ["192.0.2.33/32", "198.51.100.0/24"].map(|n| n.parse().unwrap()).into(),
        v6: ["2001:db8::2:1/128", "2001:db8:5::/48", &own].map(|n| n.parse().unwrap()).into(),
        tagged: false,
    }
}

fn entry(name: &str, mode: &str, passes: bool, frames: Vec<Sent>) -> Entry {
    let (class, why) = class_of(name);
    let reason = if passes { "a guest may send it" } else { why };
    let verdict = if passes { "pass" } else { "drop" };
    Entry {
        name: name.into(),
        class: class.into(),
        mode: mode.into(),
        verdict: verdict.into(),
        reason: reason.into(),
        frames,
    }
}

/// All entries.
fn made() -> Vec<Entry> {
    let (cast, policy) = (cast(), policy());
    let mut numbers = 0;
    let mut of_bridge = |packets: Vec<(xennet_tests::frame::Mac, Vec<u8>)>| {
        let sent = packets.into_iter().map(|(from, rest)| {
            numbers += 1;
            let mut frame = join(&[&BROADCAST, &from, &rest]);
            number(&mut frame, numbers);
            let passes = !matches!(policy.strict(&frame), Verdict::Drop(_));
            Sent { bytes: hex(&frame), verdict: Some(if passes { "pass" } else { "drop" }.into()) }
        });
        sent.collect::<Vec<_>>()
    };
    let passing = |frames: &[Sent]| frames.iter().all(|f| f.verdict.as_deref() == Some("pass"));
    let mut all = Vec::new();
    for kind in KINDS {
        let frames = of_bridge(vec![(kind.frame)(&cast)]);
        let passes = kind.declared != Declared::Drop;
        assert_eq!(passes, passing(&frames), "{}: the kinds and the oracle", kind.name);
        all.push(entry(kind.name, "bridge", passes, frames));
    }
    let me = cast.me;
    for said in says::messages(says::Speaker { own4: me.v4, own6: me.v6, mac: me.mac }) {
        let frames = of_bridge(said.packets.into_iter().map(|packet| (me.mac, packet)).collect());
        all.push(entry(said.what, "bridge", passing(&frames), frames));
    }
    for mode in ["nat", "routed"] {
        for said in says::messages(says::Speaker::routed()) {
            let frame = |packet: Vec<u8>| Sent { bytes: hex(&says::frame(&packet)), verdict: None };
            let frames = said.packets.into_iter().map(frame).collect();
            all.push(entry(said.what, mode, said.passes, frames));
        }
    }
    // Names are what entries are called by.
    let mut names: BTreeMap<(String, String), u32> = BTreeMap::new();
    for entry in &mut all {
        let count = names.entry((entry.mode.clone(), entry.name.clone())).or_default();
        *count += 1;
        if *count > 1 {
            entry.name = format!("{} ({count})", entry.name);
        }
    }
    all
}

fn file() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("corpus/frames.jsonl")
}

/// The published entries of a mode.
pub(crate) fn published(mode: &str) -> Vec<Entry> {
    let text = std::fs::read_to_string(file()).unwrap();
    let all = text.lines().map(|line| serde_json::from_str::<Entry>(line).unwrap());
    all.filter(|entry| entry.mode == mode).collect()
}

#[test]
fn the_published_frames_are_those_that_are_made() {
    let text: String = made().iter().map(|e| serde_json::to_string(e).unwrap() + "\n").collect();
    if std::env::var_os("XENNET_BLESS").is_some() {
        std::fs::write(file(), &text).unwrap();
    }
    assert!(std::fs::read_to_string(file()).unwrap() == text, "XENNET_BLESS=1 writes them anew");
    for (mode, hostile, legitimate) in [("bridge", 250, 60), ("nat", 200, 60), ("routed", 200, 60)] {
        let passing = published(mode).iter().filter(|e| e.verdict == "pass").count();
        let dropped = published(mode).len() - passing;
        println!("{mode}: {dropped} hostile, {passing} legitimate");
        assert!(dropped >= hostile && passing >= legitimate, "{mode}: {dropped} hostile, {passing} legitimate");
    }
}

/// What arrived of an entry's frames, in the order of the places; of each place, how many of the frames.
struct Arrived {
    entry: Entry,
    at: [usize; 4],
}

const PLACES: [&str; 4] = ["guest", "dom0", "uplink", "second uplink"];

/// The stations that see what passes.
pub(crate) struct Watch {
    pub(crate) from: Station,
    at: [Station; 4],
}

impl Watch {
    /// Sends all of it; what arrived where.
    fn run(&mut self, entries: &[Entry]) -> Vec<Arrived> {
        let me = Party::guest(SENDER);
        let mut out = Vec::new();
        for (block, entries) in entries.chunks(30).enumerate() {
            let frames: Vec<Vec<u8>> = entries.iter().flat_map(|e| e.frames.iter().map(|f| bytes(&f.bytes))).collect();
            self.from.send_all(&frames);
            let mut last = join(&[&BROADCAST, &me.mac, &ipv4_udp((me.v4, [255; 4].into()), (9, 9))]);
            number(&mut last, 0x00f0_0000 + u32::try_from(block).unwrap());
            self.from.send(1, &last);
            for at in &mut self.at {
                assert!(at.wait(LONG, &last), "own IPv4 arrives");
            }
            let counts = self.at.each_mut().map(|at| at.count_all(&frames));
            let mut from = 0;
            for entry in entries {
                let to = from + entry.frames.len();
                let at = counts.each_ref().map(|c| c[from..to].iter().filter(|n| **n > 0).count());
                from = to;
                out.push(Arrived { entry: entry.clone(), at });
            }
            self.at.iter_mut().for_each(Station::forget);
        }
        out
    }

    /// Waits until every port forwards.
    pub(crate) fn forwarding(&mut self) {
        let me = Party::guest(SENDER);
        let frame = join(&[&BROADCAST, &me.mac, &ipv4_udp((me.v4, [255; 4].into()), (8, 8))]);
        for at in &mut self.at {
            self.from.until_heard(at, LONG, &frame);
        }
    }
}

/// What became of the entries: by class, how many hostile ones arrived at each place, how many legitimate ones were lost somewhere.
#[derive(Default)]
struct Figures {
    classes: BTreeMap<String, ([usize; 2], [usize; 4], usize)>,
    wrong: Vec<String>,
}

impl Figures {
    fn of(all: &[Arrived]) -> Self {
        let mut figures = Figures::default();
        for Arrived { entry, at } in all {
            let class = figures.classes.entry(entry.class.clone()).or_default();
            let whole = at.map(|n| n == entry.frames.len());
            if entry.verdict == "drop" {
                class.0[0] += 1;
                (0..4).for_each(|place| class.1[place] += usize::from(whole[place]));
            } else {
                class.0[1] += 1;
                class.2 += usize::from(whole != [true; 4]);
            }
            let wanted = entry.frames.iter().filter(|f| f.verdict.as_deref() == Some("pass")).count();
            if *at != [wanted; 4] {
                figures.wrong.push(format!("{}: {wanted} of its frames are to arrive, {at:?} did", entry.name));
            }
        }
        figures
    }

    fn sums(&self) -> (usize, usize, usize, usize) {
        let all = self.classes.values();
        let leaked = all.clone().map(|c| c.1.into_iter().max().unwrap_or(0)).sum();
        let (hostile, legitimate) = all.clone().fold((0, 0), |(h, l), c| (h + c.0[0], l + c.0[1]));
        (leaked, hostile, all.map(|c| c.2).sum(), legitimate)
    }

    fn print(&self, what: &str) {
        println!("\n{what}");
        println!(
            "{:<14}{:>9}  leaked at {:<44}{:>11}{:>6}",
            "class",
            "hostile",
            PLACES.join(", "),
            "legitimate",
            "lost"
        );
        for (class, ([hostile, legitimate], leaked, lost)) in &self.classes {
            let leaked = leaked.map(|n| n.to_string()).join(", ");
            println!("{class:<14}{hostile:>9}            {leaked:<44}{legitimate:>10}{lost:>6}");
        }
        let (leaked, hostile, lost, legitimate) = self.sums();
        println!("in all: {leaked} of {hostile} hostile leaked, {lost} of {legitimate} legitimate lost");
    }
}

/// A bridge with two uplinks, the sender and another guest.
pub(crate) struct Rig {
    pub(crate) lab: Lab,
    second: Guest,
}

impl Rig {
    pub(crate) fn build() -> Rig {
        let mut lab = Lab::build();
        for guest in [1, SENDER] {
            lab.start(guest);
        }
        let second = super::lab::guest(101, [2, 0, 0, 0, 0x53, 0xfd]);
        let mut on = Netlink::open().unwrap();
        set(&mut on, "vif101.0", LinkChange::default().with_name(name("eth1")));
        set(&mut on, "eth1", into(BRIDGE).with_up(true));
        Rig { lab, second }
    }

    pub(crate) fn watch(&self) -> Watch {
        let second = Station::start(&self.lab.program, self.second.namespace(), Guest::LINK);
        let at = [self.lab.station(1), self.lab.at_dom0(), self.lab.at_uplink(), second];
        Watch { from: self.lab.station(SENDER), at }
    }

    pub(crate) fn attach(&self, more: &str) -> Host {
        let mut host = self.lab.host();
        host.attach(domid(1), &vif(1, "")).unwrap();
        host.attach(domid(SENDER), &vif(SENDER, &format!(",ip={ADDRESSES}{more}"))).unwrap();
        host
    }
}

#[test]
fn no_hostile_frame_passes_a_bridge_and_no_legitimate_one_is_lost() {
    in_netns("corpus::no_hostile_frame_passes_a_bridge_and_no_legitimate_one_is_lost", || {
        let entries = published("bridge");
        let mut wrong = Vec::new();
        for (what, more, tap) in [("a vif", "", false), ("with vifname=", ",vifname=web0", false), ("a tap", "", true)]
        {
            let ways: Vec<BridgeFilter> = bridge_filter().collect();
            for (turn, filter) in ways.into_iter().enumerate() {
                // In force while its item is looked at.
                bridge_filter().nth(turn);
                let in_it = || {
                    bridge_filter().nth(turn);
                    let rig = Rig::build();
                    snooping(turn == 0);
                    let host = if tap {
                        rig.lab.as_tap(SENDER);
                        let mut host = rig.lab.host();
                        host.attach(domid(1), &vif(1, "")).unwrap();
                        host.attach_tap(domid(SENDER), &vif(SENDER, &format!(",ip={ADDRESSES}"))).unwrap();
                        host
                    } else {
                        rig.attach(more)
                    };
                    let mut watch = rig.watch();
                    watch.forwarding();
                    // Broken packets are br_netfilter's to judge where it is switched on.
                    let known = |e: &&Entry| {
                        filter != BridgeFilter::On || !e.name.contains("cut") && !e.name.contains("broken")
                    };
                    let entries: Vec<Entry> = entries.iter().filter(known).cloned().collect();
                    let figures = Figures::of(&watch.run(&entries));
                    figures.print(&format!("{what}, snooping {}, {filter}", if turn == 0 { "on" } else { "off" }));
                    (figures.wrong, host)
                };
                let (some, _host) = xennet_tests::NetNs::new().unwrap().run(in_it).unwrap();
                wrong.extend(some.into_iter().map(|w| format!("{what}, {filter}: {w}")));
            }
        }
        assert!(wrong.is_empty(), "{} are wrong:\n{}", wrong.len(), wrong.join("\n"));
    });
}

#[test]
fn the_rules_in_memory_say_the_same_of_every_published_frame() {
    let mut host = Host::fake();
    host.attach(domid(SENDER), &vif(SENDER, &format!(",ip={ADDRESSES}"))).unwrap();
    let recording = host.record(Taken::default(), None, Err("there is none here".into()));
    let judge = Frames::of(&recording);
    let mut judged = 0;
    for entry in published("bridge") {
        for frame in &entry.frames {
            let passes = match judge.judge(name("vif2.0"), &bytes(&frame.bytes)) {
                Judged::Passes(_) => "pass",
                Judged::Dropped { .. } => "drop",
                other => panic!("{}: {other:?}", entry.name),
            };
            assert_eq!(Some(passes), frame.verdict.as_deref(), "{}", entry.name);
            judged += 1;
        }
    }
    println!("{judged} frames");
}

/// What Xen's own scripts leave: their rules in FORWARD, in br_netfilter's way.
#[test]
fn what_the_stock_scripts_let_pass() {
    in_netns("corpus::what_the_stock_scripts_let_pass", || {
        let tool = |args: &[&str]| Command::new("iptables").args(args).output();
        let is_there = tool(&["-w", "-S"]).is_ok_and(|o| o.status.success());
        if !is_there || bridge_filter().last() != Some(BridgeFilter::On) {
            eprintln!("skipped: br_netfilter is not loaded, or there is no iptables");
            return;
        }
        let vectors: serde_json::Value = serde_json::from_str(include_str!("../vectors/iptables-rules.json")).unwrap();
        let rules = vectors["cases"].as_array().unwrap().iter().find(|case| case["ip"] == "192.168.0.6").unwrap();
        let entries = published("bridge");
        for policy in ["ACCEPT", "DROP"] {
            let in_it = || {
                bridge_filter().last();
                let rig = Rig::build();
                snooping(true);
                let mut on = Netlink::open().unwrap();
                for guest in [1, SENDER] {
                    set(&mut on, &format!("vif{guest}.0"), into(BRIDGE).with_up(true));
                    for rule in rules["commands"].as_array().unwrap() {
                        let own = Party::guest(guest).v4.to_string();
                        let words = rule.as_array().unwrap().iter().map(|word| match word.as_str().unwrap() {
                            "vif5.0" => format!("vif{guest}.0"),
                            "192.168.0.6" => own.clone(),
                            other => other.to_owned(),
                        });
                        let words: Vec<String> = ["-w", "-I"].map(str::to_owned).into_iter().chain(words).collect();
                        let done = tool(&words.iter().map(String::as_str).collect::<Vec<_>>()).unwrap();
                        assert!(done.status.success(), "{words:?}: {}", String::from_utf8_lossy(&done.stderr));
                    }
                }
                assert!(tool(&["-w", "-P", "FORWARD", policy]).unwrap().status.success());
                let mut watch = rig.watch();
                watch.forwarding();
                let figures = Figures::of(&watch.run(&entries));
                figures.print(&format!("the scripts' rules, FORWARD {policy}"));
                let (leaked, hostile, ..) = figures.sums();
                assert!(leaked * 3 > hostile, "they were seen to let most of it pass: {leaked} of {hostile}");
            };
            xennet_tests::NetNs::new().unwrap().run(in_it).unwrap();
        }
    });
}

/// A bridge that is aware of VLANs, which this kernel may not have.
#[test]
fn no_frame_of_another_vlan_passes_and_those_of_the_own_do() {
    in_netns("corpus::no_frame_of_another_vlan_passes_and_those_of_the_own_do", || {
        bridge_filter().next();
        let rig = Rig::build();
        let mut on = Netlink::open().unwrap();
        let change = xennet_core::step::BridgeChange::default().with_vlan_filtering(true);
        let step = LinkStep::Set {
            link: xennet_core::step::LinkRef::named(name(BRIDGE)),
            change: LinkChange::default().with_bridge(change),
        };
        if xennet_core::backend::Backend::apply(&mut on, &Step::Link(step)).is_err() {
            eprintln!("skipped: this kernel's bridges know no VLANs (tests/debian-kernel tries another's)");
            return;
        }
        let host = rig.attach(",vlan=1p/5");
        let mut watch = rig.watch();
        watch.forwarding();
        let figures = Figures::of(&watch.run(&published("bridge")));
        figures.print("a bridge with VLANs");
        drop(host);
        let allowed = |w: &String| w.starts_with("802.1Q: IPv4 own") || w.starts_with("802.1Q: ARP request");
        let wrong: Vec<&String> = figures.wrong.iter().filter(|w| !allowed(w)).collect();
        assert!(wrong.is_empty(), "{wrong:?}");
    });
}
