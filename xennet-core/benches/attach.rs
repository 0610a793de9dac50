//! What attaching and detaching a vif takes through the Rust face; `tests/faces-speed` runs it beside the same through C and Python, in a
//! network namespace in which there are the link `vif5.0` and the bridge `xenbr0`. By itself it does nothing.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use xennet_core::exec::StateDir;
use xennet_core::{DevId, DomId, Host, VifSpec};

const ROUNDS: usize = 400;

fn main() -> ExitCode {
    let Some(state) = std::env::var_os("XENNET_BENCH_STATE") else {
        eprintln!("it is run by tests/faces-speed");
        return ExitCode::SUCCESS;
    };
    let mut host = Host::netlink().expect("netlink").with_state_dir(StateDir::at(state));
    let domid = DomId::new(5).expect("a domain's number");
    let spec: VifSpec = "bridge=xenbr0".parse().expect("a vif line");
    let (mut attach, mut detach) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let begun = Instant::now();
        host.attach(domid, &spec).expect("attached");
        let middle = Instant::now();
        host.detach(domid, DevId::FIRST).expect("detached");
        attach.push(middle - begun);
        detach.push(middle.elapsed());
    }
    println!("attach {:.1} detach {:.1}", median(&mut attach), median(&mut detach));
    ExitCode::SUCCESS
}

/// In microseconds.
fn median(times: &mut [Duration]) -> f64 {
    times.sort();
    times[times.len() / 2].as_secs_f64() * 1e6
}
