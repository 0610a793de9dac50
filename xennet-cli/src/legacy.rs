//! The faces that xend saw: the same program under the names of the scripts that made a host's networks until Xen 4.4.
//!
//! `network-bridge`, `network-nat` and `network-route` with `start`, `stop` and `status`. What a call asks for is the same network
//! that `xennet import` would write for it; the exit status is 0 or 1, as that of the scripts.

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use xennet_core::config::legacy::{Generation, LegacyCall, LegacyVerb, NetworkScript};
use xennet_core::exec::StateDir;
use xennet_core::hotplug::settings::{self, Settings};
use xennet_core::{Error, Guests, Host, IfName, Network, Result};

use crate::output::Output;

/// The script and its arguments, if the process was started as one: by its name, also with `xennet-` before it.
pub(crate) fn asked_for(arguments: &[OsString]) -> Option<(NetworkScript, Vec<String>)> {
    let (program, rest) = arguments.split_first()?;
    let name = Path::new(program).file_name()?.to_str()?;
    let script = name.strip_prefix("xennet-").unwrap_or(name).parse().ok()?;
    Some((script, rest.iter().map(|a| a.to_string_lossy().into_owned()).collect()))
}

/// Carries out one call.
pub(crate) fn main(script: NetworkScript, arguments: &[String]) -> ExitCode {
    let mut output = Output::new(false);
    let result = call(script, arguments, &mut output).and_then(|()| output.finish());
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            output.error(&e);
            ExitCode::FAILURE
        }
    }
}

fn call(script: NetworkScript, arguments: &[String], output: &mut Output) -> Result<()> {
    let read = LegacyCall::parse(script, arguments)?;
    for note in &read.notes {
        output.finding(note);
    }
    let call = read.value;
    let settings = Settings::load(&settings::file(|name| std::env::var_os(name)))?;
    let mut host = Host::netlink()?.with_state_dir(StateDir::at(&settings.state_dir));
    let outside = host.default_route_link()?;
    // What is a bridge by this call is none that has to be found, and a started one has taken the default route over.
    let outside = host.uplink_of(outside)?;
    // By the first generation's rules the uplink keeps its name.
    let Some(network) = call.network(Generation::Netloop, outside)? else { return Ok(()) };
    let network = named(network, call.netdev)?;
    match call.verb {
        LegacyVerb::Start => {
            let applied = host.start_network(&network)?;
            applied.notes.iter().for_each(|note| output.note(note));
        }
        LegacyVerb::Stop => {
            let applied = host.stop_network(&network.name(), Guests::MustHaveGone)?;
            applied.notes.iter().for_each(|note| output.note(note));
        }
        LegacyVerb::Status => {
            let found = host.network_status(&network)?;
            output.line(&crate::command::network_table(&[found]))?;
        }
    }
    Ok(())
}

/// Calls for several links are several networks: `nat-eth1`.
fn named(network: Network, netdev: Option<IfName>) -> Result<Network, Error> {
    let kinds = matches!(network.mode_name(), "nat" | "routed");
    let longer = netdev.filter(|_| kinds).map(|link| format!("{}-{link}", network.name()));
    match longer.and_then(|name| name.parse().ok()) {
        Some(name) => Network::new(name, network.mode().clone()),
        None => Ok(network),
    }
}
