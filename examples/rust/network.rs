//! What a toolstack does with a network: read its description, look at the plan, start it, attach a guest, and stop it again.
//!
//! `network` rehearses in memory; `network netlink` works on this machine's kernel.

use std::process::ExitCode;

use xennet_core::config::networks;
use xennet_core::{DevId, DomId, Guests, Host, Result};

const DESCRIPTION: &str = r#"
[network.private]
mode = "nat"
subnets = ["10.1.0.0/24"]
forward = [{ protocol = "tcp", ports = "8080", to = "10.1.0.5", to_port = 80 }]
"#;

fn main() -> ExitCode {
    match life_of_a_network() {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("{}", e.report());
            ExitCode::from(e.kind().number())
        }
    }
}

fn life_of_a_network() -> Result<()> {
    let kernel = std::env::args().nth(1).is_some_and(|word| word == "netlink");
    let mut host = if kernel { Host::netlink()? } else { Host::fake() };
    let networks = networks::parse(DESCRIPTION)?;
    let network = networks.named("private")?;

    println!("{}", host.plan_start(network)?); // nothing happens
    let started = host.start_network(network)?; // verified, or the earlier state is back and the error says so
    println!("started, {} steps", started.steps);
    for note in &started.notes {
        println!("note: {note}");
    }

    // A guest names the network where others name their bridge.
    let domid = DomId::new(5)?;
    host.attach(domid, &"mac=00:16:3e:01:02:03,bridge=private,ip=10.1.0.5".parse()?)?;
    let status = host.network_status(network)?;
    println!("{}: {}, missing: {}", status.network, status.state.slug(), status.missing.len());

    host.detach(domid, DevId::FIRST)?;
    host.stop_network(&network.name(), Guests::MustHaveGone)?;
    println!("stopped");
    Ok(())
}
