//! What a toolstack does with a vif: plan, attach when the domain is built, detach when it ends.
//!
//! `toolstack` rehearses in memory; `toolstack netlink` works on this machine's kernel.

use std::process::ExitCode;

use xennet_core::{DevId, DomId, Host, Result, VifSpec};

fn main() -> ExitCode {
    match life_of_a_vif() {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("{}", e.report());
            ExitCode::from(e.kind().number())
        }
    }
}

fn life_of_a_vif() -> Result<()> {
    let kernel = std::env::args().nth(1).is_some_and(|word| word == "netlink");
    let mut host = if kernel { Host::netlink()? } else { Host::fake() };
    let domid = DomId::new(5)?;
    let vif: VifSpec = "mac=00:16:3e:01:02:03,bridge=xenbr0".parse()?;

    println!("{}", host.plan_attach(domid, &vif)?); // nothing happens
    let applied = host.attach(domid, &vif)?; // verified, or the earlier state is back and the error says so
    println!("attached, {} steps", applied.steps);
    host.detach(domid, vif.devid().unwrap_or(DevId::FIRST))?;
    println!("detached");
    Ok(())
}
