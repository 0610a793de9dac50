//! How many vif specs are read per second, typed and with positions at hand: `cargo bench -p xennet-core --bench parse`.
//!
//! Each line is the median of the given number of runs; a run reads every spec of a set of 1,000 once. The specs are of the
//! form that the project's goal is stated for: six keys, 105 characters, `rate=` among them.

use std::hint::black_box;
use std::time::{Duration, Instant};

use xennet_core::VifSpec;
use xennet_core::config::{Dialect, parse_attach, parse_vif, parse_vif_list, parse_vif_xl};

const RUNS: usize = 301;
const SPECS: usize = 1_000;

fn median(name: &str, per_run: usize, bytes: usize, mut run: impl FnMut()) {
    run();
    let mut times: Vec<Duration> = (0..RUNS)
        .map(|_| {
            let start = Instant::now();
            run();
            start.elapsed()
        })
        .collect();
    times.sort_unstable();
    let (low, mid, high) = (times[RUNS / 20], times[RUNS / 2], times[RUNS - 1 - RUNS / 20]);
    let each = |t: Duration| t.as_secs_f64() * 1e9 / per_run as f64;
    println!(
        "{name:<34} {:>8.0} ns each (5 %: {:.0}, 95 %: {:.0})  {:>6.2} million/s  {:>6.0} MB/s  {RUNS} runs",
        each(mid),
        each(low),
        each(high),
        1e3 / each(mid),
        bytes as f64 / mid.as_secs_f64() / 1e6,
    );
}

/// The least that any reader does: cut the text at commas and at the first `=`, look at no value. A floor, not a rival.
fn split(text: &str) -> usize {
    text.split(',').filter_map(|item| item.split_once('=')).map(|(key, value)| key.len() ^ value.len()).sum()
}

fn main() {
    let specs: Vec<String> = (0..SPECS)
        .map(|i| {
            let (a, b) = (i / 100, i % 100);
            format!(
                "mac=00:16:3e:12:{a:02x}:{b:02x},bridge=xenbr0,ip=192.168.{:03}.{:03},vifname=guest{i:05}.0,rate=100Mb/s@20ms,model=e1000",
                a + 100,
                b + 100,
            )
        })
        .collect();
    assert!(specs.iter().all(|s| s.len() == 105), "{}: {}", specs[0], specs[0].len());
    let bytes = specs.iter().map(String::len).sum();
    let file = specs.iter().fold("name = 'guest'\nvif = [\n".to_owned(), |file, s| file + "  '" + s + "',\n") + "]\n";
    let args: Vec<Vec<&str>> = specs.iter().map(|s| s.split(',').collect()).collect();

    median("strict, six keys, 105 characters", SPECS, bytes, || {
        for spec in &specs {
            black_box(parse_vif(black_box(spec), Dialect::Strict).expect("the specs are right"));
        }
    });
    median("the same as str::parse", SPECS, bytes, || {
        for spec in &specs {
            black_box(black_box(spec).parse::<VifSpec>().expect("the specs are right"));
        }
    });
    median("xl dialect, the same specs", SPECS, bytes, || {
        for spec in &specs {
            black_box(parse_vif_xl(black_box(spec)).expect("the specs are right"));
        }
    });
    median("strict, a refusal with position", SPECS, bytes, || {
        for spec in &specs {
            black_box(parse_vif(&black_box(spec)[1..], Dialect::Strict).expect_err("ac= is no key"));
        }
    });
    median("a file with 1,000 vifs, per vif", SPECS, file.len(), || {
        black_box(parse_vif_list(black_box(&file), Dialect::Strict).expect("the file is right"));
    });
    median("network-attach arguments", SPECS, bytes, || {
        for args in &args {
            black_box(parse_attach(black_box(args), Dialect::Strict).expect("the arguments are right"));
        }
    });
    median("cutting at ',' and '=' alone", SPECS, bytes, || {
        for spec in &specs {
            black_box(split(black_box(spec)));
        }
    });
}
