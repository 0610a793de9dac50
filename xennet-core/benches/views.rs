//! What it costs to look at a large host: `cargo bench -p xennet-core --bench views`.
//!
//! It runs in a user and network namespace of its own (made with util-linux's `unshare`): no root, nothing real is touched. Its vifs are
//! ends of virtual cables, and as many as said are attached: half of them to a bridge, with the guard, the others behind NAT and routed.
//! Each line: median, fastest, slowest, runs; in milliseconds.

use std::hint::black_box;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use xennet_core::backend::Backend as _;
use xennet_core::backend::netlink::Netlink;
use xennet_core::config::networks;
use xennet_core::doctor;
use xennet_core::exec::StateDir;
use xennet_core::picture::View;
use xennet_core::recording::Taken;
use xennet_core::snapshot::Address;
use xennet_core::step::{AddrStep, LinkChange, LinkRef, LinkStep, NewLink, Step};
use xennet_core::{BridgeSpec, DomId, Host};

/// Tells the program that it runs in its own namespaces already.
const INSIDE: &str = "XENNET_BENCH_INSIDE";

const NETWORKS: &str = r#"
[network.private]
mode = "nat"
subnets = ["10.1.0.0/16"]
egress = "eth0"

[network.dmz]
mode = "routed"
subnets = ["10.2.0.0/16"]
uplink = "eth0"
"#;

fn main() -> ExitCode {
    if let Some(vifs) = std::env::var_os(INSIDE) {
        measured(vifs.to_str().and_then(|n| n.parse().ok()).expect("a number of vifs"));
        return ExitCode::SUCCESS;
    }
    println!("{:<52} {:>9} {:>9} {:>9} {:>6}", "", "median", "fastest", "slowest", "runs");
    for vifs in ["100", "1000"] {
        let program = std::env::current_exe().expect("a running program has a path");
        let status = Command::new("unshare").arg("-Urn").arg(program).env(INSIDE, vifs).status();
        match status {
            Ok(status) if status.success() => {}
            Ok(_) => return ExitCode::FAILURE,
            Err(e) => {
                eprintln!("no namespaces: unshare(1) of util-linux cannot be run: {e}");
                return ExitCode::FAILURE;
            }
        }
    }
    ExitCode::SUCCESS
}

/// Prints a line.
fn tell<T>(what: &str, mut work: impl FnMut() -> T) {
    let mut times: Vec<Duration> = (0..11)
        .map(|_| {
            let start = Instant::now();
            black_box(work());
            start.elapsed()
        })
        .collect();
    times.sort();
    let ms = |time: Option<&Duration>| time.map_or(0.0, |t| t.as_secs_f64() * 1e3);
    let middle = times.get(times.len() / 2);
    println!("{what:<52} {:>9.2} {:>9.2} {:>9.2} {:>6}", ms(middle), ms(times.first()), ms(times.last()), times.len());
}

fn measured(vifs: u32) {
    let mut on = Netlink::open().expect("netlink");
    let name = |text: &str| text.parse().expect("a name");
    let up = |link: &str| {
        Step::Link(LinkStep::Set {
            link: LinkRef::named(link.parse().expect("a name")),
            change: LinkChange::default().with_up(true),
        })
    };
    let veth = |link: &str, peer: &str| {
        Step::Link(LinkStep::Create {
            name: link.parse().expect("a name"),
            kind: NewLink::Veth { peer: peer.parse().expect("a name") },
            change: LinkChange::default(),
        })
    };
    let address = Address::new(name("eth0"), "192.168.0.3/24".parse().expect("an address"));
    for step in [veth("eth0", "lan"), up("eth0"), Step::Addr(AddrStep::Add(address))] {
        on.apply(&step).expect("a namespace of our own");
    }
    let dir = std::env::temp_dir().join(format!("xennet-bench-views-{}", std::process::id()));
    let mut host = Host::netlink().expect("netlink").with_state_dir(StateDir::at(&dir));
    host.ensure_bridge(&BridgeSpec::new(name("xenbr0"))).expect("a bridge");
    for network in networks::parse(NETWORKS).expect("a right description").iter() {
        host.start_network(network).unwrap_or_else(|e| panic!("{}", e.report()));
    }
    for n in 1..=vifs {
        on.apply(&veth(&format!("vif{n}.0"), &format!("guest{n}"))).expect("a cable");
        let (high, low) = (n / 200, n % 200 + 1);
        let (network, net) = match n % 4 {
            0 => ("private", 1),
            1 => ("dmz", 2),
            _ => ("xenbr0", 3),
        };
        let line = format!("mac=00:16:3e:{net:02x}:{high:02x}:{low:02x},bridge={network},ip=10.{net}.{high}.{low}");
        let vif = line.parse().expect("a vif line");
        host.attach(DomId::new(n).expect("a domain"), &vif).unwrap_or_else(|e| panic!("{}", e.report()));
    }
    let none = || Err("there is none here".to_owned());
    tell(&format!("{vifs} vifs: show"), || host.show().expect("shown"));
    tell(&format!("{vifs} vifs: overview, for show and picture"), || {
        host.overview(Taken::default(), &[], none()).expect("an overview")
    });
    tell(&format!("{vifs} vifs: recorded"), || host.record(Taken::default(), None, none()));
    let recording = host.record(Taken::default(), None, none());
    tell(&format!("{vifs} vifs: recording in memory"), || Host::from_recording(&recording));
    tell(&format!("{vifs} vifs: recording shown"), || Host::from_recording(&recording).show().expect("shown"));
    tell(&format!("{vifs} vifs: doctor"), || doctor::examine(&recording));
    tell(&format!("{vifs} vifs: model of the picture"), || Host::picture(&recording).expect("a picture"));
    let picture = Host::picture(&recording).expect("a picture");
    tell(&format!("{vifs} vifs: picture as text"), || picture.to_text(&View::new(), 100));
    tell(&format!("{vifs} vifs: picture as SVG"), || picture.to_svg(&View::new()));
    let every = View::new().with_every_guest();
    tell(&format!("{vifs} vifs: picture as SVG, every guest by itself"), || picture.to_svg(&every));
    let _ = std::fs::remove_dir_all(&dir);
}
