//! What the netlink backend costs, beside the bare messages that it must send.
//!
//! `cargo bench -p xennet-core --bench netlink [PART OF A NAME]` runs everything in a user and network namespace of its
//! own (made with util-linux's `unshare`): no root, nothing real is touched. Each line: median, fastest, 9 of 10 below,
//! runs.
//!
//! *Bare* is what cannot be saved: the finished bytes of the messages, sent and answered over a socket without any
//! check. The bridge itself is O(ports) per change, so the two sizes tell the kernel's growth from ours.

use std::hint::black_box;
use std::os::fd::AsFd;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use rtnetlink::packet_core::{NLM_F_ACK, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload};
use rtnetlink::packet_route::RouteNetlinkMessage as Rtnl;
use rtnetlink::packet_route::link::{
    AfSpecInet6, AfSpecUnspec, In6AddrGenMode, InfoBridgePort, InfoPortData, InfoPortKind, LinkAttribute,
    LinkExtentMask, LinkFlags, LinkInfo, LinkMessage,
};
use rtnetlink::sys;
use rustix::net::{RecvFlags, SendFlags, recv, send};
use xennet_core::backend::Backend;
use xennet_core::backend::netlink::Netlink;
use xennet_core::exec::{Journal as _, StateDir, Subject, observe_for};
use xennet_core::snapshot::{AddrGenMode, Address, Family, Part, Route, Scope, SysctlKey};
use xennet_core::step::{
    AddrStep, LinkChange, LinkRef, LinkStep, NewLink, NewMaster, PortChange, PortStep, RouteStep, Step,
};
use xennet_core::{Attach, Attachment, DevId, DomId, Host, IfName, MacAddr, Resolved, VifId, VifSpec, plan};

/// Tells the program that it runs in its own namespaces already.
const INSIDE: &str = "XENNET_BENCH_INSIDE";

fn main() -> ExitCode {
    if std::env::var_os(INSIDE).is_some() {
        run(std::env::args().skip(1).find(|a| !a.starts_with('-')).unwrap_or_default());
        return ExitCode::SUCCESS;
    }
    let program = std::env::current_exe().expect("a running program has a path");
    let status =
        Command::new("unshare").arg("-Urn").arg(program).args(std::env::args_os().skip(1)).env(INSIDE, "1").status();
    match status {
        Ok(status) if status.success() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(e) => {
            eprintln!("no namespaces: unshare(1) of util-linux cannot be run: {e}");
            ExitCode::FAILURE
        }
    }
}

fn name(text: &str) -> IfName {
    text.parse().expect("a literal name")
}

/// A socket and a finished message.
struct Bare {
    socket: sys::Socket,
    input: Vec<u8>,
}

impl Bare {
    fn open() -> Self {
        let mut socket = sys::Socket::new(sys::protocols::NETLINK_ROUTE).expect("netlink");
        socket.bind_auto().expect("netlink");
        socket.connect(&sys::SocketAddr::new(0, 0)).expect("netlink");
        socket.set_cap_ack(true).expect("netlink");
        Bare { socket, input: vec![0; 65536] }
    }

    /// Sends the bytes and takes the answer; the error number in it, 0 for an object.
    fn exchange(&mut self, message: &[u8]) -> i32 {
        send(self.socket.as_fd(), message, SendFlags::empty()).expect("netlink");
        recv(self.socket.as_fd(), &mut self.input[..], RecvFlags::empty()).expect("netlink");
        let kind = u16::from_ne_bytes([self.input[4], self.input[5]]);
        let number = i32::from_ne_bytes([self.input[16], self.input[17], self.input[18], self.input[19]]);
        if kind == 2 { number } else { 0 }
    }
}

fn bytes(message: Rtnl, flags: u16) -> Vec<u8> {
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST | flags;
    let mut message = NetlinkMessage::new(header, NetlinkPayload::from(message));
    message.finalize();
    let mut out = vec![0; message.buffer_len()];
    message.serialize(&mut out);
    out
}

/// Runs `work` and tells how long it took.
fn measure(what: &str, runs: usize, mut work: impl FnMut()) -> Duration {
    tell(what, (0..runs).map(|_| timed(&mut work)).collect())
}

fn timed(work: &mut impl FnMut()) -> Duration {
    let start = Instant::now();
    work();
    start.elapsed()
}

/// Prints a line; returns the median.
fn tell(what: &str, mut times: Vec<Duration>) -> Duration {
    times.sort();
    let at = |share: usize| times[(times.len() * share / 100).min(times.len() - 1)];
    let us = |time: Duration| time.as_secs_f64() * 1e6;
    println!("{what:<58} {:>9.1} {:>9.1} {:>9.1} {:>6}", us(at(50)), us(times[0]), us(at(90)), times.len());
    at(50)
}

struct World {
    netlink: Netlink,
    vif: LinkRef,
    bridge: LinkRef,
}

const GUEST: MacAddr = MacAddr::new([0xfe, 0xff, 0xff, 0xff, 0xff, 0xff]);

/// A vif (a veth here), and a bridge with this many ports that are up.
fn world(ports: usize) -> World {
    let mut netlink = Netlink::open().expect("netlink");
    let mut apply = |step: Step| netlink.apply(&step).expect("the bench's own world");
    let set = |link: IfName, change| Step::Link(LinkStep::Set { link: LinkRef::named(link), change });
    let quiet = || LinkChange::default().with_up(true).with_addr_gen_mode(AddrGenMode::None);
    let bridge = name(&format!("br{ports}"));
    apply(Step::Link(LinkStep::Create { name: bridge, kind: NewLink::Bridge, change: LinkChange::default() }));
    apply(set(bridge, quiet()));
    for port in 0..=ports {
        let (near, far) = (name(&format!("vif{ports}.{port}")), name(&format!("far{ports}.{port}")));
        let kind = NewLink::Veth { peer: far };
        apply(Step::Link(LinkStep::Create { name: near, kind, change: LinkChange::default() }));
        if port > 0 {
            apply(set(far, quiet()));
            apply(set(near, quiet().with_master(NewMaster::Bridge(LinkRef::named(bridge)))));
        }
    }
    let vif = name(&format!("vif{ports}.0"));
    let mut number = |link: IfName| {
        let seen = netlink.observe(&Scope::from_iter([Part::Link(link)])).expect("the bench's own world");
        LinkRef::new(link, seen.links.get(&link).map(|l| l.index))
    };
    let (vif, bridge) = (number(vif), number(bridge));
    World { netlink, vif, bridge }
}

/// The two messages of an attach, as steps.
fn attach(world: &World) -> [Step; 2] {
    let change = LinkChange::default()
        .with_mac(GUEST)
        .with_mtu(1500)
        .with_master(NewMaster::Bridge(world.bridge))
        .with_addr_gen_mode(AddrGenMode::None);
    let port = PortChange::default().with_isolated(true);
    [
        Step::Link(LinkStep::Set { link: world.vif, change }),
        Step::Port(PortStep::Set { port: world.vif, change: port, up: Some(true) }),
    ]
}

/// The same two messages as bytes.
fn attach_bytes(world: &World) -> [Vec<u8>; 2] {
    let index = world.vif.index.expect("observed");
    let mut first = LinkMessage::default();
    first.header.index = index;
    first.attributes = vec![
        LinkAttribute::Address(GUEST.octets().to_vec()),
        LinkAttribute::Mtu(1500),
        LinkAttribute::Controller(world.bridge.index.expect("observed")),
        LinkAttribute::AfSpecUnspec(vec![AfSpecUnspec::Inet6(vec![AfSpecInet6::AddrGenMode(In6AddrGenMode::None)])]),
    ];
    let mut second = LinkMessage::default();
    second.header.index = index;
    second.header.flags = LinkFlags::Up;
    second.header.change_mask = LinkFlags::Up;
    second.attributes = vec![LinkAttribute::LinkInfo(vec![
        LinkInfo::PortKind(InfoPortKind::Bridge),
        LinkInfo::PortData(InfoPortData::BridgePort(vec![InfoBridgePort::Isolated(true)])),
    ])];
    [bytes(Rtnl::SetLink(first), NLM_F_ACK), bytes(Rtnl::NewLink(second), NLM_F_ACK)]
}

fn run(only: String) {
    println!("{:<58} {:>9} {:>9} {:>9} {:>6}", "µs", "median", "fastest", "9 of 10", "runs");
    for (ports, runs) in [(10, 400), (1000, 60)] {
        let wanted = |what: &str| only.is_empty() || what.contains(&only);
        if !wanted("attach") && !wanted("observe") {
            continue;
        }
        let mut world = world(ports);
        let mut undo = Netlink::open().expect("netlink");
        let leave = Step::Link(LinkStep::Set {
            link: world.vif,
            change: LinkChange::default().with_up(false).with_master(NewMaster::None),
        });
        let mut bare = Bare::open();
        if wanted("attach") {
            let messages = attach_bytes(&world);
            let steps = attach(&world);
            // In turn, so that a slow moment of the machine meets all of them.
            let (mut bare_times, mut our_times) = (Vec::new(), Vec::new());
            let mut whole = Whole::new(ports, &world);
            for _ in 0..runs {
                undo.apply(&leave).expect("detach");
                bare_times.push(timed(&mut || assert!(messages.iter().all(|m| bare.exchange(m) == 0))));
                undo.apply(&leave).expect("detach");
                our_times.push(timed(&mut || {
                    steps.iter().for_each(|step| world.netlink.apply(step).expect("attach"));
                }));
                undo.apply(&leave).expect("detach");
                whole.attach();
                undo.apply(&leave).expect("detach");
                whole.phases(&mut world.netlink);
            }
            undo.apply(&leave).expect("detach");
            let bare = tell(&format!("attach, bare messages, {ports} ports"), bare_times);
            let ours = tell(&format!("attach, the two steps applied, {ports} ports"), our_times);
            println!(
                "{:<58} {:>9.2}",
                format!("  steps / bare, {ports} ports"),
                ours.as_secs_f64() / bare.as_secs_f64()
            );
            whole.tell(ports, bare);
        }
        if wanted("observe") {
            observe(&mut world, ports);
        }
    }
    if "requests".contains(&only) {
        requests();
    }
}

/// The whole attach, as a toolstack calls it, and its parts each by itself.
struct Whole {
    host: Host,
    state: StateDir,
    id: VifId,
    spec: VifSpec,
    intent: Resolved,
    total: Vec<Duration>,
    parts: [(&'static str, Vec<Duration>); 5],
}

impl Whole {
    fn new(ports: usize, world: &World) -> Self {
        // A tmpfs, as /run is.
        let state = StateDir::at(format!("/dev/shm/xennet-bench-{}", std::process::id()));
        let host = Host::with_backend(Box::new(Netlink::open().expect("netlink"))).with_state_dir(state.clone());
        let domid = DomId::new(u32::try_from(ports).expect("few ports")).expect("a domain's number");
        let id = VifId::new(domid, DevId::FIRST);
        let spec = format!("mac=00:16:3e:01:02:03,bridge={},isolated", world.bridge.name).parse().expect("a spec");
        let attachment = Attachment::Bridge { bridge: world.bridge.name, vlan: None, isolated: true };
        let intent = Resolved::from(Attach::to_bridge(id, world.bridge.name).with_attachment(attachment));
        let parts = ["observe", "plan", "journal", "apply", "verify"].map(|what| (what, Vec::new()));
        Whole { host, state, id, spec, intent, total: Vec::new(), parts }
    }

    fn attach(&mut self) {
        self.forget();
        let (host, id, spec) = (&mut self.host, self.id, &self.spec);
        self.total.push(timed(&mut || assert_eq!(host.attach(id.domid, spec).expect("attach").steps, 2)));
    }

    /// As on a new domain: nothing is written down about the vif yet.
    fn forget(&self) {
        let held = self.state.hold(Subject::Vif(self.id), Duration::ZERO).expect("the bench's own state");
        held.forget().expect("the bench's own state");
    }

    /// The same calls that `Host::attach` makes, with a clock between them.
    fn phases(&mut self, on: &mut Netlink) {
        self.forget();
        let mut clock = Instant::now();
        let mut lap = || {
            let now = Instant::now();
            let lap = now - clock;
            clock = now;
            lap
        };
        let seen = observe_for(&self.intent, on).expect("observe");
        let observe = lap();
        let way = plan::plan(&self.intent, &seen).expect("plan");
        let planned = lap();
        let mut held = self.state.hold(Subject::Vif(self.id), Duration::from_secs(1)).expect("lock");
        let mut journal = held.journal(None);
        journal.begin(&way).expect("journal");
        let mut written = lap();
        for step in way.steps() {
            on.apply(&step.step).expect("apply");
        }
        let applied = lap();
        let seen = observe_for(&self.intent, on).expect("observe");
        assert!(plan::plan(&self.intent, &seen).expect("plan").is_empty());
        let verified = lap();
        journal.commit().expect("journal");
        drop(held);
        written += lap();
        for ((_, times), time) in self.parts.iter_mut().zip([observe, planned, written, applied, verified]) {
            times.push(time);
        }
    }

    fn tell(self, ports: usize, bare: Duration) {
        for (what, times) in self.parts {
            tell(&format!("  of it: {what}, {ports} ports"), times);
        }
        let total = tell(&format!("attach, all of it in process, {ports} ports"), self.total);
        println!(
            "{:<58} {:>9.2}",
            format!("  all of it / bare, {ports} ports"),
            total.as_secs_f64() / bare.as_secs_f64()
        );
        std::fs::remove_dir_all(self.state.path()).expect("the bench's own state");
    }
}

/// Looking at what an attach needs to know, in a host with this many ports.
fn observe(world: &mut World, ports: usize) {
    let vif = world.vif.name;
    let key = SysctlKey::conf(Family::Ipv4, &vif, "proxy_arp");
    let parts = [
        ("one link without a master", Scope::from_iter([Part::Link(vif)])),
        ("a port", Scope::from_iter([Part::Link(name(&format!("vif{ports}.1")))])),
        ("vif and bridge", Scope::from_iter([Part::Link(vif), Part::Link(world.bridge.name)])),
        ("one link by number", Scope::from_iter([Part::LinkIndex(world.vif.index.unwrap_or(0))])),
        ("a missing link", Scope::from_iter([Part::Link(name("vif99.0"))])),
        ("the addresses of one link", Scope::from_iter([Part::Addresses(vif)])),
        ("the neighbours of one link", Scope::from_iter([Part::Neighbours(vif)])),
        ("one setting", Scope::from_iter([Part::Sysctl(key)])),
    ];
    for (what, scope) in parts {
        measure(&format!("observe {what}, {ports} ports"), 2000, || {
            black_box(world.netlink.observe(&scope).expect("observe"));
        });
    }
    measure(&format!("observe all links, {ports} ports"), 50, || {
        black_box(world.netlink.observe(&Scope::from_iter([Part::Links])).expect("observe"));
    });
}

/// Single requests, ours beside bare ones.
fn requests() {
    let mut netlink = Netlink::open().expect("netlink");
    let mut bare = Bare::open();
    let nobody = 0x7fff_ffff;
    let mut message = LinkMessage::default();
    message.header.index = nobody;
    let refused = bytes(Rtnl::SetLink(message), NLM_F_ACK);
    measure("requests: refused, bare", 20_000, || assert!(bare.exchange(&refused) < 0));
    let step = Step::Link(LinkStep::Set { link: LinkRef::new(name("gone"), nobody), change: LinkChange::default() });
    measure("requests: refused, a step", 20_000, || {
        black_box(netlink.apply(&step).expect_err("there is no such link"));
    });
    let mut message = LinkMessage::default();
    message.attributes =
        vec![LinkAttribute::IfName("lo".into()), LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats])];
    let get = bytes(Rtnl::GetLink(message), 0);
    measure("requests: one link by name, bare", 20_000, || assert_eq!(bare.exchange(&get), 0));
    let scope = Scope::from_iter([Part::Link(name("lo"))]);
    measure("requests: one link by name, observed", 20_000, || {
        black_box(netlink.observe(&scope).expect("observe"));
    });
    let address = Address::new(name("lo"), "192.0.2.1/32".parse().expect("a literal address"));
    let (add, del) = (Step::Addr(AddrStep::Add(address.clone())), Step::Addr(AddrStep::Del(address)));
    measure("requests: an address added and removed, steps", 5_000, || {
        netlink.apply(&add).expect("add");
        netlink.apply(&del).expect("del");
    });
    let far =
        |last: u32| Route::to(format!("10.0.{}.{}/32", last / 256, last % 256).parse().expect("a literal"), name("lo"));
    netlink
        .apply(&Step::Link(LinkStep::Set {
            link: LinkRef::named(name("lo")),
            change: LinkChange::default().with_up(true),
        }))
        .expect("up");
    for routes in [10, 1000] {
        for last in 0..routes {
            netlink.apply(&Step::Route(RouteStep::Add(far(last)))).expect("add");
        }
        let scope = Scope::from_iter([Part::Route(far(7).destination)]);
        measure(&format!("requests: the routes to one place, among {routes}"), 1_000, || {
            black_box(netlink.observe(&scope).expect("observe"));
        });
        for last in 0..routes {
            netlink.apply(&Step::Route(RouteStep::Del(far(last)))).expect("del");
        }
    }
    measure("requests: opening the backend", 2_000, || {
        black_box(Netlink::open().expect("netlink"));
    });
}
