//! Worlds on the kernel: guests are network namespaces, and what they reach is tried.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::process::{Command, Stdio};
use std::time::Duration;

use xennet_core::backend::Backend as _;
use xennet_core::backend::netlink::Netlink;
use xennet_core::snapshot::{Address, NftTableId, Part, Route, Scope};
use xennet_core::step::{AddrStep, LinkChange, RouteStep, Step, SysctlStep};
use xennet_core::{DevId, ErrorKind, Guests, Host, MacAddr, NetworkStatus, Shown, exec, services};
use xennet_tests::steps::{name, run, set, up};
use xennet_tests::talk::{listen, seen};
use xennet_tests::{Guest, GuestSpec, StateDir, in_netns, lease};

use super::plan::{DOM0, KINDS, OUTSIDE, Who};
use super::{Counts, Dice, deeds, plan, worlds};

/// Long enough for what is promised, on a busy machine.
const LONG: Duration = Duration::from_secs(20);
/// Long enough for what must not arrive, where something that may has just done so.
const SHORT: Duration = Duration::from_millis(120);

fn ip(address: [u8; 4]) -> IpAddr {
    Ipv4Addr::from(address).into()
}

fn address(on: &mut Netlink, link: &str, address: [u8; 4], length: u8) {
    let text = format!("{}/{length}", ip(address));
    run(on, Step::Addr(AddrStep::Add(Address::new(name(link), text.parse().unwrap()))));
}

fn route(on: &mut Netlink, to: &str, gateway: IpAddr) {
    let route = Route::to(to.parse().unwrap(), name(Guest::LINK)).with_gateway(gateway);
    run(on, Step::Route(RouteStep::Add(route)));
}

fn cable(who: &GuestSpec) -> Guest {
    Guest::new(who).unwrap_or_else(|e| panic!("{}", e.report()))
}

struct World {
    outside: Guest,
    /// Where guests are seen.
    door: TcpListener,
    guests: Vec<(Who, Guest, TcpListener)>,
    kinds: Vec<usize>,
    state: StateDir,
    history: Vec<String>,
    before: String,
}

/// All that is there, without what no listing of the kernel tells, and without tables that nobody is in.
fn all() -> String {
    let text = Netlink::open().unwrap().observe(&Scope::network()).unwrap().normalised().render();
    let is_ours =
        |l: &&str| !l.contains(" inet xennet") && !l.contains(" bridge xennet-guard") && !l.starts_with("bridge fdb");
    text.lines().filter(is_ours).filter(|l| !l.contains(" fe80::")).map(|l| format!("{l}\n")).collect()
}

impl World {
    fn new(dice: &mut Dice) -> World {
        let mut on = Netlink::open().unwrap();
        set(&mut on, "lo", up());
        let id = plan::Who { kind: 9, at: 9 }.id();
        let outside = cable(&GuestSpec { id, mac: MacAddr::new([2, 0, 0, 0, 0x53, 0xfe]), addresses: Vec::new() });
        let change =
            LinkChange::default().with_name(name("eth0")).with_mac(MacAddr::new([2, 0, 0, 0, 0x53, 1])).with_up(true);
        set(&mut on, &id.to_string(), change);
        address(&mut on, "eth0", DOM0, 24);
        route_of(&mut on, "0.0.0.0/0", ip(OUTSIDE));
        outside
            .namespace()
            .run(|| {
                let mut on = Netlink::open().unwrap();
                address(&mut on, Guest::LINK, OUTSIDE, 24);
                // It knows the way to those that are hidden, too.
                for subnet in ["10.1.0.0/24", "10.2.0.0/24", "10.3.0.0/24", "10.4.0.0/24"] {
                    route(&mut on, subnet, ip(DOM0));
                }
            })
            .unwrap();
        let door = listen(outside.namespace(), ip(OUTSIDE), 7);
        let (kinds, whom) = plan::world(dice);
        let guests = whom.into_iter().map(|who| {
            let guest = cable(&GuestSpec { id: who.id(), mac: MacAddr::new(who.mac()), addresses: Vec::new() });
            let inside = || {
                let mut on = Netlink::open().unwrap();
                // Gratuitous addresses of IPv6 are no part of this.
                let key = "net/ipv6/conf/all/disable_ipv6".parse().unwrap();
                run(&mut on, Step::Sysctl(SysctlStep { key, value: "1".into() }));
                address(&mut on, Guest::LINK, who.address(), who.kind().length);
                address(&mut on, Guest::LINK, forged(who), 32);
                if !who.kind().is_bridge() {
                    route(&mut on, "0.0.0.0/0", who.kind().gateway.parse().unwrap());
                }
            };
            guest.namespace().run(inside).unwrap();
            let listener = listen(guest.namespace(), ip(who.address()), 80);
            (who, guest, listener)
        });
        let guests = guests.collect();
        World { outside, door, guests, kinds, state: StateDir::new(), history: Vec::new(), before: all() }
    }

    fn dir(&self) -> exec::StateDir {
        exec::StateDir::at(self.state.path())
    }

    fn host(&self) -> Host {
        Host::netlink().unwrap().with_state_dir(self.dir())
    }

    fn told(&self) -> String {
        self.history.join("\n  ")
    }

    /// What is started, and what everybody says of it.
    fn look(&self) -> (Shown, Vec<NetworkStatus>) {
        let mut host = self.host();
        let shown = host.show().unwrap_or_else(|e| panic!("{}\n  {}", e.report(), self.told()));
        let started = host.started_networks().unwrap();
        let status =
            started.iter().map(|s| host.network_status(&s.network).unwrap_or_else(|e| panic!("{}", e.report())));
        (shown, status.collect())
    }

    /// Every guest that is attached to a started network, and of which nobody says that it lacks something, has what was promised.
    fn check(&self, dice: &mut Dice, counts: &mut Counts) {
        let (shown, status) = self.look();
        for (who, guest, listener) in &self.guests {
            let Some(vif) = shown.vifs.iter().find(|v| v.domid == who.domid()) else { continue };
            let Some(network) = status.iter().find(|s| s.network == name(who.kind().name)) else { continue };
            if !vif.missing.is_empty() || !network.missing.is_empty() {
                counts.told += 1;
                continue;
            }
            let what = || format!("{who:?} {vif:?} {network:?}\n  {}", self.told());
            let wanted = who.kind().seen.unwrap_or_else(|| who.address());
            let to = SocketAddr::new(ip(OUTSIDE), 7);
            let peer = seen(guest.namespace(), to, &self.door, LONG);
            assert_eq!(peer, Some(ip(wanted)), "started, and not as promised: {}", what());
            counts.reached += 1;
            if who.kind().seen.is_some() && dice.one_in(3) {
                let to = SocketAddr::new(ip(who.address()), 80);
                let peer = seen(self.outside.namespace(), to, listener, SHORT);
                assert_eq!(peer, None, "hidden, and reached from outside: {}", what());
                counts.hidden += 1;
            }
            if dice.one_in(3) {
                let inbox = self.outside.namespace().run(|| UdpSocket::bind((ip(OUTSIDE), 0)).unwrap()).unwrap();
                let to = inbox.local_addr().unwrap();
                let send = |from: [u8; 4], words: &[u8]| {
                    let send = || UdpSocket::bind((ip(from), 0)).unwrap().send_to(words, to).unwrap();
                    guest.namespace().run(send).unwrap();
                };
                send(forged(*who), b"forged");
                send(who.address(), b"own");
                inbox.set_read_timeout(Some(LONG)).unwrap();
                let mut words = [0; 16];
                let (length, _) = inbox.recv_from(&mut words).unwrap_or_else(|e| panic!("{e}: {}", what()));
                assert_eq!(&words[..length], b"own", "forged: {}", what());
                counts.forged += 1;
            }
        }
    }

    fn step(&mut self, dice: &mut Dice, counts: &mut Counts) {
        let kind = *dice.pick(&self.kinds);
        let started = self.host().started_networks().unwrap();
        let is_started = started.iter().any(|s| s.network.name() == name(KINDS[kind].name));
        let who = dice.pick(&self.guests).0;
        let leaves = |s: &xennet_core::Started| s.outside == Some(name("eth0"));
        let moves = |kind: usize| KINDS[kind].is_bridge() && !is_started && started.iter().any(leaves);
        let mut host = self.host();
        let said = match dice.below(20) {
            0..=4 if moves(kind) => {
                // What stands on the uplink is not carried along when it moves to a bridge.
                let e = host.start_network(&KINDS[kind].network(false)).unwrap_err();
                assert_eq!(e.kind(), ErrorKind::Conflict, "{}", e.report());
                counts.refused += 1;
                format!("start {}: {e}", KINDS[kind].name)
            }
            0..=4 => self.start(&mut host, kind, is_started && dice.one_in(2), counts),
            5 => {
                let cut_off = dice.one_in(3);
                let guests = if cut_off { Guests::AreCutOff } else { Guests::MustHaveGone };
                let leads_out = KINDS[kind].is_bridge() && started.len() > 1;
                if cut_off && leads_out {
                    "nothing: others leave through it".into()
                } else {
                    let done = host.stop_network(&name(KINDS[kind].name), guests);
                    counts.stops += usize::from(done.is_ok());
                    counts.refused += usize::from(done.is_err());
                    format!("stop {} ({guests:?}): {}", KINDS[kind].name, said(&done))
                }
            }
            6..=9 => {
                let done = host.attach(who.domid(), &who.vif());
                counts.refused += usize::from(done.is_err());
                format!("attach {who:?}: {}", said(&done))
            }
            10 => format!("detach {who:?}: {}", said(&host.detach(who.domid(), DevId::FIRST))),
            11..=13 => {
                counts.flushes += 1;
                deeds::flush(&mut Netlink::open().unwrap(), dice)
            }
            14 | 15 => {
                counts.damages += 1;
                deeds::damage(&mut Netlink::open().unwrap(), dice, &who.link())
            }
            16 => self.kill_server(counts),
            17 => self.kill_us(dice, who, kind, counts),
            _ => {
                let done = host.recover().unwrap_or_else(|e| panic!("recover: {}\n  {}", e.report(), self.told()));
                counts.restored += done.len();
                format!("recover: {done:?}")
            }
        };
        self.history.push(said);
    }

    /// Most networks are started, and some guests are there.
    fn begin(&mut self, dice: &mut Dice, counts: &mut Counts) {
        let mut host = self.host();
        for kind in self.kinds.clone() {
            if !dice.one_in(3) {
                let said = self.start(&mut host, kind, false, counts);
                self.history.push(said);
            }
        }
        for (who, ..) in &self.guests {
            if dice.one_in(2) {
                let done = host.attach(who.domid(), &who.vif());
                self.history.push(format!("attach {who:?}: {}", said(&done)));
            }
        }
    }

    fn start(&self, host: &mut Host, kind: usize, changed: bool, counts: &mut Counts) -> String {
        let done = host.start_network(&KINDS[kind].network(changed));
        match &done {
            Ok(_) => counts.starts += 1,
            Err(_) => counts.refused += 1,
        }
        format!("start {} (changed: {changed}): {}", KINDS[kind].name, said(&done))
    }

    fn kill_server(&self, counts: &mut Counts) -> String {
        let mut killed = 0;
        for kind in &self.kinds {
            for daemon in services::status(&self.dir(), &name(KINDS[*kind].name)).unwrap() {
                if let Some(pid) = daemon.pid.and_then(|pid| rustix::process::Pid::from_raw(pid.try_into().unwrap())) {
                    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
                    lease::soon("dnsmasq's end", || {
                        services::status(&self.dir(), &name(KINDS[*kind].name)).unwrap().iter().all(|d| d.pid.is_none())
                    });
                    killed += 1;
                }
            }
        }
        counts.deaths += killed;
        format!("{killed} dnsmasq killed")
    }

    /// The command is killed somewhere amid its work; what it left is recovered.
    fn kill_us(&self, dice: &mut Dice, who: Who, kind: usize, counts: &mut Counts) -> String {
        let file = self.state.path().join("networks.toml");
        std::fs::write(&file, format!("[network.{}]\n{}", KINDS[kind].name, KINDS[kind].text())).unwrap();
        let domid = who.domid().to_string();
        let line = who.vif().to_string();
        let arguments: Vec<&str> = match dice.below(4) {
            0 => vec!["attach", &domid, &line],
            1 => vec!["detach", &domid],
            2 => vec!["network", "start", KINDS[kind].name, "--file", file.to_str().unwrap()],
            _ => vec!["recover"],
        };
        let mut command = Command::new(env!("CARGO_BIN_EXE_xennet"));
        command.arg("--state-dir").arg(self.state.path()).args(&arguments);
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_micros(500 * u64::try_from(dice.below(60)).unwrap()));
        child.kill().unwrap();
        child.wait().unwrap();
        counts.kills += 1;
        let done =
            self.host().recover().unwrap_or_else(|e| panic!("after {arguments:?}: {}\n  {}", e.report(), self.told()));
        counts.restored += done.len();
        format!("killed {arguments:?}, recovered: {done:?}")
    }

    /// Everything that was lost is put back; then all goes, and it is as it was.
    fn end(mut self, dice: &mut Dice, counts: &mut Counts) {
        let mut host = self.host();
        let done = host.recover().unwrap_or_else(|e| panic!("recover: {}\n  {}", e.report(), self.told()));
        counts.restored += done.len();
        self.history.push(format!("recover at the end: {done:?}"));
        let (shown, status) = self.look();
        let is_started = |who: &Who| status.iter().any(|s| s.network == name(who.kind().name));
        for vif in shown.vifs.iter().filter(|v| !v.missing.is_empty()) {
            let (who, ..) = self.guests.iter().find(|(who, ..)| who.domid() == vif.domid).unwrap();
            assert!(!is_started(who), "not put back: {vif:?}\n  {}", self.told());
        }
        // A guest of a bridge that is no more is told as one that lacks it.
        let lacks: Vec<&NetworkStatus> = status.iter().filter(|s| !s.missing.is_empty()).collect();
        assert!(lacks.is_empty(), "{lacks:?}\n  {}", self.told());
        self.check(dice, counts);
        for (who, ..) in &self.guests {
            host.detach(who.domid(), DevId::FIRST).unwrap_or_else(|e| panic!("{}\n  {}", e.report(), self.told()));
        }
        let (bridges, others): (Vec<_>, Vec<_>) =
            host.started_networks().unwrap().into_iter().map(|s| s.network.name()).partition(|n| *n == "lan");
        for network in others.iter().chain(&bridges) {
            host.stop_network(network, Guests::MustHaveGone)
                .unwrap_or_else(|e| panic!("{}\n  {}", e.report(), self.told()));
        }
        let only =
            |a: &str, b: &str| a.lines().filter(|l| !b.lines().any(|m| m == *l)).map(str::to_owned).collect::<Vec<_>>();
        // A detached vif is as netback made it, but for its name and what a bridge's port has.
        let is_host = |l: &String| !l.contains("vif") && !l.contains("web");
        let now = all();
        let differs: Vec<String> =
            only(&self.before, &now).into_iter().chain(only(&now, &self.before)).filter(is_host).collect();
        assert!(differs.is_empty(), "{differs:#?}\n  {}", self.told());
        for table in [NftTableId::guard(), NftTableId::gate()] {
            let left = Netlink::open().unwrap().observe(&Scope::none().with(Part::Nft(table))).unwrap().render();
            let left: Vec<&str> =
                left.lines().filter(|l| l.contains("add element") && !l.contains(" version ")).collect();
            assert!(left.is_empty(), "{left:#?}\n  {}", self.told());
        }
    }
}

fn route_of(on: &mut Netlink, to: &str, gateway: IpAddr) {
    let route = Route::to(to.parse().unwrap(), name("eth0")).with_gateway(gateway);
    run(on, Step::Route(RouteStep::Add(route)));
}

/// An address that nobody has given a guest.
fn forged(who: Who) -> [u8; 4] {
    let [a, b, c, d] = who.address();
    [a, b, c, d + 100]
}

fn said(done: &xennet_core::Result<exec::Applied>) -> String {
    match done {
        Ok(applied) => format!("{} steps {:?}", applied.steps, applied.notes),
        Err(e) => e.to_string(),
    }
}

#[test]
fn nothing_is_started_and_dead() {
    if !lease::programs_are_here("nothing_is_started_and_dead") {
        return;
    }
    worlds("on the kernel", 300, |seed, steps, counts| {
        in_netns("real::nothing_is_started_and_dead", || {
            let mut dice = Dice::new(seed);
            let mut world = World::new(&mut dice);
            world
                .history
                .push(format!("seed {seed}: {:?}", world.kinds.iter().map(|k| KINDS[*k].name).collect::<Vec<_>>()));
            world.begin(&mut dice, counts);
            for _ in 0..steps {
                world.step(&mut dice, counts);
                counts.steps += 1;
                world.check(&mut dice, counts);
            }
            world.end(&mut dice, counts);
        });
    });
}
