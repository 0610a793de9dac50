//! `plan`, `attach`, `detach`, `show`, `undo`, `recover`: the front door of the library, one command a method.

use std::ffi::OsString;
use std::path::Path;

use xennet_core::config::parse_vif;
use xennet_core::document::{Done, Recovered};
use xennet_core::exec::{Applied, Subject};
use xennet_core::plan::ShownPlan;
use xennet_core::{DevId, DomId, Error, ErrorKind, Host, IfName, PacketLog, Policy, Result, Shown, VifId, VifSpec};

use super::common::{columns, open, show_plan};
use super::network;
use crate::cli::{AttachArgs, BackendName, DetachArgs, Global, PlanWhat};
use crate::input;
use crate::output::Output;
use crate::sandbox::World;

/// Takes this process into a world of its own.
pub(super) fn enter_sandbox(global: &Global, output: &mut Output) -> Result<World> {
    if global.backend == BackendName::Fake {
        return Err(Error::new(
            ErrorKind::Invalid,
            "--sandbox is a world on the real kernel, and --backend fake has none",
        )
        .with_object("--sandbox")
        .with_hint("leave one of them out"));
    }
    if global.state_dir.is_some() {
        output.note("--state-dir has no effect in the sandbox, which has a state directory of its own");
    }
    let mut world = World::enter()?;
    for domid in [1, 2] {
        world.start(domid)?;
    }
    Ok(world)
}

pub(super) fn plan(global: &Global, what: &PlanWhat, output: &mut Output) -> Result<()> {
    let plan = match what {
        PlanWhat::Start(args) => return network::plan_start(global, args, output),
        PlanWhat::Stop { names } => return network::plan_stop(global, names, output),
        PlanWhat::Attach(args) => {
            let (domid, vif) = vif(args, output)?;
            open(global)?.plan_attach(domid, &vif)?
        }
        PlanWhat::Detach(args) => {
            let (domid, devid) = ids(args)?;
            open(global)?.plan_detach(domid, devid)?
        }
        PlanWhat::Undo { what } => {
            let mut host = open(global)?;
            let subject = undone(&host, what.as_deref())?;
            host.plan_undo(subject)?
        }
        PlanWhat::Recover => return plan_recover(global, output),
    };
    show_plan(&plan, output)
}

/// What recovering would do: a plan for each that something is to be done for, and the first error.
fn plan_recover(global: &Global, output: &mut Output) -> Result<()> {
    let plans = open(global)?.plan_recover()?;
    if plans.is_empty() && !output.is_json() {
        return output.line("nothing was interrupted, and nothing is missing");
    }
    let mut first_error = None;
    for (_, plan) in plans {
        match plan {
            Ok(plan) => show_plan(&plan, output)?,
            Err(e) => drop(first_error.get_or_insert(e)),
        }
    }
    first_error.map_or(Ok(()), Err)
}

/// Carries out plans that were kept.
pub(super) fn apply(global: &Global, file: &Path, output: &mut Output) -> Result<()> {
    let text = input::file(file)?;
    let plans = ShownPlan::all_from_json(&text).map_err(|e| e.in_file(&file.display().to_string()))?;
    let mut host = open(global)?;
    let mut first_error = None;
    for plan in plans {
        match host.apply_shown(&plan) {
            Ok(applied) => done(&plan.subject(), "as planned", &applied, output)?,
            // Each plan stands for itself.
            Err(e) if first_error.is_none() => first_error = Some(e),
            Err(e) => output.error(&e),
        }
    }
    first_error.map_or(Ok(()), Err)
}

pub(super) fn attach(global: &Global, args: &AttachArgs, output: &mut Output) -> Result<()> {
    let (domid, vif) = vif(args, output)?;
    let id = VifId::new(domid, vif.devid().unwrap_or(DevId::FIRST));
    let applied = open(global)?.attach(domid, &vif)?;
    done(&Subject::Vif(id), "attached", &applied, output)
}

pub(super) fn detach(global: &Global, args: &DetachArgs, output: &mut Output) -> Result<()> {
    let (domid, devid) = ids(args)?;
    let applied = open(global)?.detach(domid, devid)?;
    done(&Subject::Vif(VifId::new(domid, devid)), "detached", &applied, output)
}

/// What is to be undone: what is named, or the subject of the last operation.
fn undone(host: &Host, what: Option<&str>) -> Result<Subject> {
    match what {
        Some(name) => name.parse(),
        None => host.last()?.ok_or_else(|| {
            Error::new(ErrorKind::NothingToUndo, "there is nothing that could be undone")
                .with_hint("operations are remembered in the state directory: is it the right one (--state-dir)?")
        }),
    }
}

pub(super) fn undo(global: &Global, what: Option<&str>, output: &mut Output) -> Result<()> {
    let mut host = open(global)?;
    let subject = undone(&host, what)?;
    let applied = host.undo(subject)?;
    done(&subject, "as before", &applied, output)
}

pub(super) fn recover(global: &Global, output: &mut Output) -> Result<()> {
    let recovered = open(global)?.recover()?;
    let text = || match recovered[..] {
        [] => "nothing was interrupted, and nothing is missing".to_owned(),
        _ => recovered.iter().map(|(subject, how)| format!("{subject}: {how}")).collect::<Vec<_>>().join("\n"),
    };
    output.answer(text, || Recovered::of(&recovered))
}

/// The call of a script, with the command's options: it answers in its own way, and does not come back.
pub(super) fn hotplug(global: &Global, script: &str, arguments: &[OsString]) -> Result<()> {
    if global.backend == BackendName::Fake {
        return Err(Error::new(
            ErrorKind::Unsupported,
            "a hotplug call is about the kernel's links and xenstore's nodes: --backend fake has neither",
        )
        .with_object("--backend")
        .with_hint("leave --backend out; the library can rehearse calls (xennet_core::hotplug)"));
    }
    let state_dir = global.state_dir.clone().filter(|_| !global.sandbox);
    crate::hotplug::main(script, arguments, state_dir)
}

/// What an operation did: one line, or one document. Remarks stand beside it, as those of a plan do.
fn done(subject: &Subject, what: &str, applied: &Applied, output: &mut Output) -> Result<()> {
    if !output.is_json() {
        for note in &applied.notes {
            output.note(note);
        }
    }
    let text = || match applied.steps {
        0 => format!("{subject}: {what} already"),
        1 => format!("{subject}: {what}, 1 step, verified"),
        n => format!("{subject}: {what}, {n} steps, verified"),
    };
    output.answer(text, || Done::to(subject, applied))
}

/// The vif that the command line names. Remarks on its text go to standard error.
fn vif(args: &AttachArgs, output: &mut Output) -> Result<(DomId, VifSpec)> {
    let domid = args.domid.parse()?;
    let text = input::text(&args.spec)?;
    let parsed = parse_vif(&text, args.dialect.name.parse()?)?;
    for note in &parsed.notes {
        output.finding(note);
    }
    let given = text.split(',').find_map(|item| item.trim().strip_prefix("vlan="));
    if let Some(remark) = given.and_then(|given| parsed.value.vlan()?.remark_on(given)) {
        output.note(&remark);
    }
    let mut vif = parsed.value;
    if let Some(policy) = &args.policy {
        vif = vif.with_policy(policy.parse::<Policy>()?);
    }
    if let Some(log) = &args.log {
        vif = vif.with_log(log.parse::<PacketLog>()?);
    }
    Ok((domid, vif))
}

fn ids(args: &DetachArgs) -> Result<(DomId, DevId)> {
    // As `show` and `undo` name it.
    match (VifId::from_vif_name(&args.domid), &args.devid) {
        (Some(id), None) => Ok((id.domid, id.devid)),
        (_, devid) => Ok((args.domid.parse()?, devid.as_deref().unwrap_or("0").parse()?)),
    }
}

/// Vifs and bridges for reading, in columns.
pub(super) fn table(shown: &Shown) -> String {
    let state = |up| if up { "up" } else { "down" }.to_owned();
    let name = |name: Option<IfName>| name.map_or_else(|| "-".to_owned(), |n| n.to_string());
    let vifs = shown.vifs.iter().map(|v| {
        let spec = v.spec.clone().unwrap_or_else(|| "-".to_owned());
        // A link that has gone with its domain is neither up nor down.
        let up = if v.missing.is_empty() { state(v.up) } else { "damaged".into() };
        let (up, mtu) = if v.link.is_some() { (up, v.mtu.to_string()) } else { ("gone".into(), "-".into()) };
        let place = match (v.mode.as_str(), v.network) {
            ("bridge", _) => name(v.bridge),
            (mode, Some(network)) => format!("{network} ({mode})"),
            (mode, None) => format!("({mode})"),
        };
        [v.vif.clone(), name(v.link), place, up, mtu, spec]
    });
    let bridges = shown.bridges.iter().map(|b| {
        let ports: Vec<&str> = b.ports.iter().map(IfName::as_str).collect();
        let mac = b.mac.map_or_else(|| "-".to_owned(), |m| m.to_string());
        [b.bridge.to_string(), state(b.up), b.mtu.to_string(), mac, ports.join(" ")]
    });
    let vifs = columns(["VIF", "LINK", "BRIDGE", "STATE", "MTU", "SPEC"], vifs);
    let bridges = columns(["BRIDGE", "STATE", "MTU", "MAC", "PORTS"], bridges);
    let missing = shown.vifs.iter().flat_map(|v| v.missing.iter().map(|what| (&v.vif, what)));
    let missing: String = missing.map(|(vif, what)| format!("\n{vif}: not as it was made: {what}")).collect();
    format!("{vifs}\n{bridges}{missing}")
}
