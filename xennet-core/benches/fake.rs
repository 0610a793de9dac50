//! What a rehearsal costs: `cargo bench -p xennet-core --bench fake`.
//!
//! A host in memory is made; then vifs are attached to it, one after another, and the first, the tenth, the hundredth and so on are timed
//! over several hosts. Each line: median, fastest, slowest, runs; in microseconds.

use std::hint::black_box;
use std::time::{Duration, Instant};

use xennet_core::config::networks;
use xennet_core::{DevId, DomId, Host, VifSpec};

const NETWORKS: &str = r#"
[network.private]
mode = "nat"
subnets = ["10.1.0.0/16"]
egress = "xenbr0"
"#;

/// Which vifs are timed.
const TIMED: [u16; 4] = [1, 10, 100, 400];

/// How many hosts are made.
const HOSTS: usize = 7;

fn main() {
    println!("{:<52} {:>9} {:>9} {:>9} {:>6}", "", "median", "fastest", "slowest", "runs");
    tell("a host in memory is made", timed(1001, || drop(black_box(Host::fake()))));
    for (what, bridge, more) in [
        ("on a bridge", "xenbr0", ""),
        ("on a bridge, with ip=", "xenbr0", "ip=192.0.2.9"),
        ("behind NAT", "private", ""),
    ] {
        let mut attaches = vec![Vec::new(); TIMED.len()];
        let mut detaches = Vec::new();
        for _ in 0..HOSTS {
            let mut host = Host::fake();
            if bridge != "xenbr0" {
                let networks = networks::parse(NETWORKS).expect("a right description");
                let network = networks.named("private").expect("it is described");
                host.start_network(network).expect("it starts");
            }
            for n in 1..=TIMED[TIMED.len() - 1] {
                let (domid, vif) = (DomId::new(n.into()).expect("a domain"), line(n, bridge, more));
                let begin = Instant::now();
                black_box(host.attach(domid, &vif).expect("it is attached"));
                let took = begin.elapsed();
                if let Some(at) = TIMED.iter().position(|timed| *timed == n) {
                    attaches[at].push(took);
                }
            }
            let last = DomId::new(TIMED[TIMED.len() - 1].into()).expect("a domain");
            let begin = Instant::now();
            black_box(host.detach(last, DevId::FIRST).expect("it is detached"));
            detaches.push(begin.elapsed());
        }
        for (n, times) in TIMED.into_iter().zip(attaches) {
            tell(&format!("{what}: vif {n} is attached"), times);
        }
        tell(&format!("{what}: the last one is detached"), detaches);
    }
}

/// The vif line of the `n`th guest.
fn line(n: u16, bridge: &str, more: &str) -> VifSpec {
    let [high, low] = n.to_be_bytes();
    let address = match (bridge, more) {
        ("xenbr0", "") => String::new(),
        ("xenbr0", _) => format!(",ip=192.0.{high}.{low}"),
        _ => format!(",ip=10.1.{}.{low}", high + 1),
    };
    format!("mac=00:16:3e:00:{high:02x}:{low:02x},bridge={bridge}{address}").parse().expect("a vif line")
}

fn timed(runs: usize, mut work: impl FnMut()) -> Vec<Duration> {
    let once = |_| {
        let begin = Instant::now();
        work();
        begin.elapsed()
    };
    (0..runs).map(once).collect()
}

/// Prints a line.
fn tell(what: &str, mut times: Vec<Duration>) {
    times.sort();
    let us = |at: usize| times[at].as_secs_f64() * 1e6;
    println!("{what:<52} {:>9.1} {:>9.1} {:>9.1} {:>6}", us(times.len() / 2), us(0), us(times.len() - 1), times.len());
}
