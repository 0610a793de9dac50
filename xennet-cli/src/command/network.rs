//! `network`, `confirm`: networks are started, stopped and looked at; and a start that nobody confirms is taken back.

use std::io::{IsTerminal as _, Write as _};
use std::os::fd::AsFd as _;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::json;
use xennet_core::config::networks::{self, Networks};
use xennet_core::document::{Confirmed, DoneNetworks, Status};
use xennet_core::exec::confirm::{Told, Verdict};
use xennet_core::exec::{Applied, StateDir};
use xennet_core::{
    Errno, Error, ErrorKind, Guests, Host, IfName, Network, NetworkStatus, Result, guard_is_there, tell_guard,
};

use super::common::{columns, open, show_plan, state_dir};
use super::snippets;
use crate::cli::{BackendName, Global, NetworkCommand, NetworkNames, StartArgs, StopArgs};
use crate::input;
use crate::output::Output;

pub(super) fn run(global: &Global, what: &NetworkCommand, output: &mut Output) -> Result<()> {
    match what {
        NetworkCommand::Start(args) => start(global, args, output),
        NetworkCommand::Stop(args) => stop(global, args, output),
        NetworkCommand::Status(args) => status(global, args, output),
        NetworkCommand::Guard { name, seconds } => guard(global, name, *seconds),
    }
}

/// The networks that are named, or all.
fn chosen(args: &NetworkNames, all: bool) -> Result<Vec<Network>> {
    let networks = read(args)?;
    if all {
        return Ok(networks.iter().cloned().collect());
    }
    args.names.iter().map(|name| find(&networks, name, args)).collect()
}

fn read(args: &NetworkNames) -> Result<Networks> {
    let text = input::file(&args.file).map_err(|e| match e.errno() {
        // Nothing is wrong with the system: there is no description, or another file was meant.
        Some(Errno::ENOENT) => Error::new(ErrorKind::Invalid, e.message())
            .with_object(args.file.display().to_string())
            .with_errno(Errno::ENOENT)
            .with_hint("describe networks there (`xennet advise` prints such a text), or name it: --file"),
        _ => e,
    })?;
    networks::parse(&text).map_err(|e| e.in_file(&args.file.display().to_string()))
}

fn find(networks: &Networks, name: &str, args: &NetworkNames) -> Result<Network> {
    networks.named(name).cloned().map_err(|e| e.in_file(&args.file.display().to_string()))
}

fn start(global: &Global, args: &StartArgs, output: &mut Output) -> Result<()> {
    let networks = chosen(&args.which, args.all)?;
    if networks.is_empty() {
        output.note(&format!("there is no network in {}", args.which.file.display()));
    }
    let mut host = open(global)?;
    let before: Vec<Network> = host.started_networks()?.into_iter().map(|s| s.network).collect();
    let mut done = DoneNetworks::default();
    let failures = host.start_networks(&networks, |host, network| {
        let was = before.iter().find(|b| b.name() == network.name());
        let is_new = was.is_none_or(|was| was != network);
        let applied = match args.confirm {
            Some(seconds) => confirmed_start(global, host, network, seconds),
            None => host.start_network(network),
        }?;
        done.add(network.name(), &applied);
        said_of_start(network, (was.is_some(), is_new), args.confirm, &applied, output)
    });
    let failure = first_of(failures, &mut done, output);
    if output.is_json() {
        output.line(&json!(done).to_string())?;
    }
    if global.backend == BackendName::Netlink && !global.sandbox {
        let links: Vec<IfName> = networks.iter().filter_map(|n| n.bridge().map(|b| b.name())).collect();
        for warning in snippets::warnings(&links) {
            output.note(&warning);
        }
    }
    failure.map_or(Ok(()), Err)
}

/// What a start has done to a network that was there before, or not.
fn said_of_start(
    network: &Network,
    (was_there, is_new): (bool, bool),
    confirm: Option<u64>,
    applied: &Applied,
    output: &mut Output,
) -> Result<()> {
    if let (Some(seconds), true) = (confirm, applied.steps > 0 || is_new) {
        output.note(&format!(
            "network {} is taken back in {seconds} s unless you confirm it: xennet confirm {}",
            network.name(),
            network.name()
        ));
    }
    let (what, nothing) = match (was_there, is_new) {
        (true, true) => ("changed", "changed"),
        (true, false) => ("started", "started already"),
        (false, _) => ("started", "started, nothing had to be changed"),
    };
    said(&network.name(), what, nothing, applied, output)
}

/// Adds what failed to the document. The first failure is the answer; the others are told beside it.
fn first_of(failures: Vec<(IfName, Error)>, done: &mut DoneNetworks, output: &mut Output) -> Option<Error> {
    let mut first = None;
    for (network, e) in failures {
        done.add_failed(network, e.clone());
        match first {
            None => first = Some(e),
            Some(_) => output.error(&e),
        }
    }
    first
}

/// What was done; `nothing` where that took no step.
fn said(name: &IfName, what: &str, nothing: &str, applied: &Applied, output: &mut Output) -> Result<()> {
    if output.is_json() {
        return Ok(());
    }
    for note in &applied.notes {
        output.note(note);
    }
    output.line(&match applied.steps {
        0 => format!("network {name}: {nothing}"),
        1 => format!("network {name}: {what}, 1 step, verified"),
        n => format!("network {name}: {what}, {n} steps, verified"),
    })
}

/// Starts a network with a guard that takes it back, if anything comes of it.
fn confirmed_start(global: &Global, host: &mut Host, network: &Network, seconds: u64) -> Result<Applied> {
    let mut guard = Guard::call(global, &network.name(), seconds)?;
    host.start_confirmed(network, |told| guard.say(told))
}

/// The guard, a process of its own.
struct Guard {
    child: Child,
}

impl Guard {
    fn call(global: &Global, name: &IfName, seconds: u64) -> Result<Self> {
        if global.sandbox {
            return Err(Error::new(
                ErrorKind::Unsupported,
                "--confirm has no meaning in the sandbox, which goes when this command ends",
            )
            .with_object("--confirm")
            .with_hint("leave one of --sandbox and --confirm out"));
        }
        let trouble = |e: &std::io::Error| {
            Error::new(ErrorKind::Io, "the guard process that would take the network back cannot be started")
                .with_object(name.as_str())
                .with_errno(Errno::from_io(e))
                .unchanged()
        };
        let program = std::env::current_exe().map_err(|e| trouble(&e))?;
        let backend = if global.backend == BackendName::Fake { "fake" } else { "netlink" };
        let mut command = Command::new(program);
        command.args(["--backend", backend, "--state-dir"]).arg(state_dir(global).path());
        command.args(["network", "guard", name.as_str(), &seconds.to_string()]);
        // Who reads our standard error to its end shall not have to wait for the guard.
        let errors = if std::io::stderr().is_terminal() { Stdio::inherit() } else { Stdio::null() };
        command.current_dir("/").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(errors);
        let child = command.spawn().map_err(|e| trouble(&e))?;
        if let Some(said) = &child.stdout {
            guard_is_there(name, said.as_fd())?;
        }
        Ok(Guard { child })
    }

    /// Tells it the outcome of the start. Whether it is still there.
    fn say(&mut self, told: Told) -> bool {
        self.child.stdin.take().is_some_and(|stdin| tell_guard(stdin.as_fd(), told))
    }
}

/// What the guard process does. Nobody waits for it, and nobody reads what it says but for one line on its standard output.
fn guard(global: &Global, name: &str, seconds: u64) -> Result<()> {
    let (name, patience): (IfName, _) = (name.parse()?, Duration::from_secs(seconds));
    let (input, output) = (std::io::stdin(), std::io::stdout());
    let pipes = (input.as_fd(), output.as_fd());
    if let Verdict::Late | Verdict::Died = Host::guard(&name, &state_dir(global), patience, pipes, || open(global))? {
        let _ = writeln!(std::io::stderr(), "xennet: network {name} was not confirmed, and is taken back");
    }
    Ok(())
}

pub(super) fn confirm(global: &Global, names: &[String], output: &mut Output) -> Result<()> {
    let dir: StateDir = state_dir(global);
    let names: Vec<IfName> = match names {
        [] => dir.awaited()?,
        names => names.iter().map(|n| n.parse()).collect::<Result<_>>()?,
    };
    if names.is_empty() {
        return Err(Error::new(ErrorKind::NothingToUndo, "no network waits for a confirmation")
            .with_hint("`xennet network status` lists the networks"));
    }
    for name in &names {
        dir.confirm(name)?;
    }
    let text = || names.iter().map(|n| format!("network {n}: confirmed\n")).collect::<String>();
    output.answer(text, || Confirmed::of(&names))
}

fn stop(global: &Global, args: &StopArgs, output: &mut Output) -> Result<()> {
    let mut host = open(global)?;
    let before = host.in_order_of_stop()?;
    let names: Option<Vec<IfName>> = match args.all {
        true => None,
        false => Some(args.names.iter().map(|n| n.parse()).collect::<Result<_>>()?),
    };
    check_names(args, &before)?;
    let guests = if args.force { Guests::AreCutOff } else { Guests::MustHaveGone };
    let mut done = DoneNetworks::default();
    let failures = host.stop_networks(names.as_deref(), |host, name| {
        let applied = host.stop_network(name, guests)?;
        let nothing = match before.contains(name) {
            true => "stopped, nothing had to be put back",
            false => "stopped already",
        };
        said(name, "stopped", nothing, &applied, output)?;
        done.add(*name, &applied);
        Ok(())
    })?;
    let failure = first_of(failures, &mut done, output);
    if output.is_json() {
        output.line(&json!(done).to_string())?;
    }
    failure.map_or(Ok(()), Err)
}

/// Refuses a name that is mistyped: one of no network that is started or described.
fn check_names(args: &StopArgs, started: &[IfName]) -> Result<()> {
    let unknown: Vec<&String> = args.names.iter().filter(|n| !started.iter().any(|s| s.as_str() == *n)).collect();
    if unknown.is_empty() {
        return Ok(());
    }
    let which = NetworkNames { names: Vec::new(), file: args.file.clone() };
    let is_default = args.file.as_path() == std::path::Path::new(networks::PATH);
    let described = match read(&which) {
        Err(e) if e.errno() == Some(Errno::ENOENT) && is_default => {
            let message = format!("network {} is not started, and {e}", unknown[0]);
            let why = Error::new(ErrorKind::Invalid, message).with_object(unknown[0].as_str());
            return Err(why.with_hint("`xennet network status` lists the networks; --file names another description"));
        }
        described => described?,
    };
    unknown.into_iter().try_for_each(|name| find(&described, name, &which).map(|_| ()))
}

pub(super) fn plan_start(global: &Global, args: &NetworkNames, output: &mut Output) -> Result<()> {
    let mut host = open(global)?;
    for network in chosen(args, false)? {
        show_plan(&host.plan_start(&network)?, output)?;
    }
    Ok(())
}

pub(super) fn plan_stop(global: &Global, names: &[String], output: &mut Output) -> Result<()> {
    let mut host = open(global)?;
    for name in names {
        let name: IfName = name.parse()?;
        match host.plan_stop(&name, Guests::MustHaveGone)? {
            Some(plan) => show_plan(&plan, output)?,
            None => output.note(&format!("network {name} is not started")),
        }
    }
    Ok(())
}

fn status(global: &Global, args: &NetworkNames, output: &mut Output) -> Result<()> {
    let mut host = open(global)?;
    let started: Vec<Network> = host.started_networks()?.into_iter().map(|s| s.network).collect();
    let described = match read(args) {
        Ok(described) => described,
        // What is started can be told without the file.
        Err(e) if e.errno() == Some(Errno::ENOENT) && args.names.is_empty() && !started.is_empty() => {
            output.note(&e.to_string());
            Networks::default()
        }
        Err(e) => return Err(e),
    };
    let mut all: Vec<Network> = described.iter().cloned().collect();
    for network in started {
        if !all.iter().any(|n| n.name() == network.name()) {
            output.note(&format!("network {} is started, and not described any more", network.name()));
            all.push(network);
        }
    }
    if !args.names.is_empty() {
        for name in &args.names {
            if !all.iter().any(|n| n.name().as_str() == name) {
                find(&described, name, args)?;
            }
        }
        all.retain(|n| args.names.iter().any(|name| *name == n.name().as_str()));
    }
    let mut found = Vec::new();
    for network in &all {
        found.push(host.network_status(network)?);
    }
    output.answer(|| table(&found), || Status::of(&found))
}

/// Networks for reading: in columns, and below them what is new in the file, what is missing, who reaches whom, what is to be done
/// elsewhere, and what is in the way.
pub(crate) fn table(found: &[NetworkStatus]) -> String {
    let rows = found.iter().map(|s| {
        // A column before these stands the uplink.
        let ports = s.ports.iter().filter(|port| Some(**port) != s.outside);
        let ports: Vec<&str> = ports.map(IfName::as_str).collect();
        let outside = s.outside.map_or_else(|| "-".to_owned(), |l| l.to_string());
        [s.network.to_string(), s.mode.clone(), s.state.to_string(), outside, ports.join(" ")]
    });
    let mut text = columns(["NETWORK", "MODE", "STATE", "OUTSIDE", "PORTS"], rows);
    for s in found {
        let (stop, start): (Vec<&String>, Vec<&String>) = s.changed.iter().partition(|key| s.needs_stop.contains(key));
        for (keys, until) in [(start, "it is started once more"), (stop, "it is stopped and started")] {
            if !keys.is_empty() {
                let keys: Vec<&str> = keys.into_iter().map(String::as_str).collect();
                text.push_str(&format!("\n{}: new, and does not hold until {until}: {}", s.network, keys.join(", ")));
            }
        }
        for line in &s.missing {
            text.push_str(&format!("\n{}: not as it was made: {line}", s.network));
        }
        for line in &s.access {
            text.push_str(&format!("\n{}: {line}", s.network));
        }
        for line in &s.elsewhere {
            text.push_str(&format!("\n{}: on the gateway outside: {line}", s.network));
        }
        for line in &s.obstacles {
            text.push_str(&format!("\n{}: {line}", s.network));
        }
    }
    text
}
