//! What `trace` costs on hosts with many guests: `cargo bench -p xennet-core --bench trace`.
//!
//! On hosts in memory: nothing real is touched. Each line: median, fastest, 9 of 10 below, runs; in milliseconds.

use std::hint::black_box;
use std::time::{Duration, Instant};

use xennet_core::config::networks;
use xennet_core::recording::{Recording, Taken};
use xennet_core::snapshot::{
    NftBase, NftChain, NftChainKind, NftExpr, NftFamily, NftField, NftHook, NftPolicy, NftRule, NftTable, NftTableId,
    NftValue, NftVerdict,
};
use xennet_core::trace::{Question, Traffic, Verdict, trace};
use xennet_core::{DomId, Host};

fn main() {
    println!("{:<62} {:>9} {:>9} {:>9} {:>6}", "", "median", "fastest", "90 %", "runs");
    for guests in [250, 500, 1000, 2000] {
        let recording = host(guests);
        let last = format!("vif{guests}.0");
        for (what, from, to) in
            [("a guest to the outside", last.as_str(), "outside"), ("a guest to a guest", "vif1.0", &last)]
        {
            let mut times = Vec::new();
            for _ in 0..30 {
                let begin = Instant::now();
                let question = Question::new(&recording, from, to, Traffic::Tcp(Some(443)), None)
                    .unwrap_or_else(|e| panic!("{}", e.report()));
                let answer = black_box(trace(&recording, &question));
                times.push(begin.elapsed());
                assert_eq!(answer.verdict, Verdict::Delivered, "{answer}");
            }
            tell(&format!("{guests} vifs, {what}"), times);
        }
    }
}

/// A NAT network with so many guests, a vif each, and another firewall with a rule for each of them.
fn host(guests: u32) -> Recording {
    let text = "[network.private]\nmode = \"nat\"\nsubnets = [\"10.0.0.0/16\"]\n";
    let mut host = Host::fake();
    for network in networks::parse(text).expect("a right description").iter() {
        host.start_network(network).unwrap_or_else(|e| panic!("{}", e.report()));
    }
    for n in 1..=guests {
        let domid = DomId::new(n).expect("a small number");
        let line = format!(
            "mac=00:16:3e:00:{:02x}:{:02x},bridge=private,ip=10.0.{}.{}",
            n / 256,
            n % 256,
            n / 250 + 1,
            n % 250 + 1
        );
        host.attach(domid, &line.parse().expect("a right line")).unwrap_or_else(|e| panic!("{}", e.report()));
    }
    let mut recording = host.record(Taken::default(), None, Err("there is none here".into()));
    let accept = |n: u32| {
        let link = NftValue::Name(format!("vif{n}.0").parse().expect("a name"));
        NftRule::new([NftExpr::eq(NftField::IifName, link), NftExpr::Verdict(NftVerdict::Accept)])
    };
    let back = NftRule::new([NftExpr::ct_state(6), NftExpr::Verdict(NftVerdict::Accept)]);
    let base = NftBase::new(NftChainKind::Filter, NftHook::Forward, 0, NftPolicy::Drop);
    let chain =
        NftChain::default().with_base(base).with_rules(std::iter::once(back).chain((1..=guests).map(accept)).collect());
    let table = NftTable::default().with_chains([("FORWARD".into(), chain)].into());
    recording.details.foreign.insert(NftTableId::new(NftFamily::Ip, "filter"), table);
    recording
}

/// Prints a line.
fn tell(what: &str, mut times: Vec<Duration>) {
    times.sort();
    let at = |share: usize| times[(times.len() * share / 100).min(times.len() - 1)];
    let ms = |time: Duration| time.as_secs_f64() * 1e3;
    println!("{what:<62} {:>9.2} {:>9.2} {:>9.2} {:>6}", ms(at(50)), ms(times[0]), ms(at(90)), times.len());
}
