//! What networks cost: `cargo bench -p xennet-core --bench networks`.
//!
//! It runs in a user and network namespace of its own (made with util-linux's `unshare`): no root, nothing real is touched. Each
//! line: median, fastest, 9 of 10 below, runs; in milliseconds.

use std::hint::black_box;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use xennet_core::backend::Backend as _;
use xennet_core::backend::fake::Fake;
use xennet_core::backend::netlink::Netlink;
use xennet_core::config::networks::{self, Networks};
use xennet_core::exec::StateDir;
use xennet_core::plan::{self, Goal};
use xennet_core::snapshot::Address;
use xennet_core::step::{AddrStep, LinkChange, LinkRef, LinkStep, NewLink, Step};
use xennet_core::{DomId, Guests, Host, VifId, VifSpec};

/// Tells the program that it runs in its own namespaces already.
const INSIDE: &str = "XENNET_BENCH_INSIDE";

fn main() -> ExitCode {
    if std::env::var_os(INSIDE).is_none() {
        let program = std::env::current_exe().expect("a running program has a path");
        let status = Command::new("unshare").arg("-Urn").arg(program).env(INSIDE, "1").status();
        return match status {
            Ok(status) if status.success() => ExitCode::SUCCESS,
            Ok(_) => ExitCode::FAILURE,
            Err(e) => {
                eprintln!("no namespaces: unshare(1) of util-linux cannot be run: {e}");
                ExitCode::FAILURE
            }
        };
    }
    println!("{:<62} {:>9} {:>9} {:>9} {:>6}", "", "median", "fastest", "90 %", "runs");
    reading();
    planning();
    starting();
    ExitCode::SUCCESS
}

/// Prints a line; returns the median.
fn tell(what: &str, mut times: Vec<Duration>) -> Duration {
    times.sort();
    let at = |share: usize| times[(times.len() * share / 100).min(times.len() - 1)];
    let ms = |time: Duration| time.as_secs_f64() * 1e3;
    println!("{what:<62} {:>9.2} {:>9.2} {:>9.2} {:>6}", ms(at(50)), ms(times[0]), ms(at(90)), times.len());
    at(50)
}

fn timed(work: impl FnOnce()) -> Duration {
    let start = Instant::now();
    work();
    start.elapsed()
}

/// So many NAT networks, a vif a guest.
fn text(count: usize) -> String {
    (0..count)
        .map(|n| {
            format!("[network.nat{n}]\nmode = \"nat\"\nsubnets = [\"10.{n}.0.0/16\", \"fd00:{n}::/64\"]\negress = \"eth0\"\n\n")
        })
        .collect()
}

fn described(count: usize) -> Networks {
    networks::parse(&text(count)).expect("a right description")
}

fn reading() {
    let text = text(50);
    let times = (0..101).map(|_| timed(|| drop(black_box(networks::parse(black_box(&text)))))).collect();
    tell("networks.toml with 50 networks, read and checked", times);
}

/// Plans of vifs: so many, over so many networks, all of which are started.
fn planned(networks: usize, vifs: u32) -> Duration {
    let mut fake = Fake::example();
    let leaves = LinkChange::default().with_up(true).with_master(xennet_core::step::NewMaster::None);
    let eth0 = LinkRef::named("eth0".parse().expect("a name"));
    fake.apply(&Step::Link(LinkStep::Set { link: eth0, change: leaves })).expect("eth0 leaves its bridge");
    for n in 1..=vifs {
        fake.add_vif(VifId::new(DomId::new(n).expect("a domain"), xennet_core::DevId::FIRST));
    }
    fake.add_vif(VifId::new(DomId::new(30_000).expect("a domain"), xennet_core::DevId::FIRST));
    let mut host = Host::with_backend(Box::new(fake));
    for network in described(networks).iter() {
        host.start_network(network).expect("it starts");
    }
    let per = vifs.div_ceil(u32::try_from(networks).expect("few"));
    let lines: Vec<(DomId, VifSpec)> = (1..=vifs)
        .map(|n| {
            let (net, at) = ((n - 1) / per, (n - 1) % per + 1);
            let line = format!(
                "mac=00:16:3e:00:{:02x}:{:02x},bridge=nat{net},ip=10.{net}.{}.{}",
                n / 256,
                n % 256,
                at / 250,
                at % 250 + 1
            );
            (DomId::new(n).expect("a domain"), line.parse().expect("a vif line"))
        })
        .collect();
    // The first guest brings the table; the others find it.
    let first = "mac=00:16:3e:7f:00:00,bridge=nat0,ip=10.0.200.200".parse().expect("a vif line");
    host.attach(DomId::new(30_000).expect("a domain"), &first).expect("attached");
    let times = (0..21)
        .map(|_| {
            timed(|| {
                for (domid, vif) in &lines {
                    black_box(host.plan_attach(*domid, vif).expect("a plan"));
                }
            })
        })
        .collect();
    tell(&format!("{vifs} vifs over {networks} networks: found out, observed in memory, planned"), times);
    // What a toolstack does that knows its networks and has looked.
    let known: Vec<_> = lines
        .iter()
        .map(|(domid, vif)| {
            let plan = host.plan_attach(*domid, vif).expect("a plan");
            let Goal::Resolved(intent) = plan.goal().clone() else { panic!("a vif") };
            (intent, plan.before().clone())
        })
        .collect();
    let times = (0..51)
        .map(|_| {
            timed(|| {
                for (intent, seen) in &known {
                    black_box(plan::plan(intent, seen).expect("a plan"));
                }
            })
        })
        .collect();
    tell(&format!("{vifs} vifs over {networks} networks: planned"), times)
}

fn planning() {
    let small = planned(5, 100);
    let large = planned(50, 1000);
    println!("10 times as many of both: {:.1} times as long", large.as_secs_f64() / small.as_secs_f64());
}

/// Ten networks on the kernel: five bridges, five with NAT on private bridges, without dnsmasq.
fn starting() {
    let mut on = Netlink::open().expect("netlink");
    let name = |text: &str| text.parse().expect("a name");
    let veth = NewLink::Veth { peer: name("lan") };
    for step in [
        Step::Link(LinkStep::Create { name: name("eth0"), kind: veth, change: LinkChange::default() }),
        Step::Link(LinkStep::Set { link: LinkRef::named(name("eth0")), change: LinkChange::default().with_up(true) }),
        Step::Addr(AddrStep::Add(Address::new(name("eth0"), "192.168.0.3/24".parse().expect("an address")))),
    ] {
        on.apply(&step).expect("a namespace of our own");
    }
    let mut text = String::new();
    for n in 0..5 {
        text.push_str(&format!("[network.br{n}]\nmode = \"bridge\"\n\n"));
        text.push_str(&format!(
            "[network.nat{n}]\nmode = \"nat\"\nsubnets = [\"10.{n}.0.0/24\", \"fd00:{n}::/64\"]\negress = \"eth0\"\nbridge = \"natbr{n}\"\n\n"
        ));
    }
    let networks = networks::parse(&text).expect("a right description");
    let dir = std::env::temp_dir().join(format!("xennet-bench-networks-{}", std::process::id()));
    let mut starts = Vec::new();
    let mut stops = Vec::new();
    for _ in 0..15 {
        let mut host = Host::netlink().expect("netlink").with_state_dir(StateDir::at(&dir));
        starts.push(timed(|| {
            for network in networks.iter() {
                host.start_network(network).unwrap_or_else(|e| panic!("{}", e.report()));
            }
        }));
        stops.push(timed(|| {
            for network in networks.iter() {
                host.stop_network(&network.name(), Guests::MustHaveGone).unwrap_or_else(|e| panic!("{}", e.report()));
            }
        }));
    }
    let _ = std::fs::remove_dir_all(&dir);
    tell("ten networks started on the kernel, journal and verification included", starts);
    tell("the same stopped", stops);
}
