//! `doctor`: what is wrong with the network of a host, and what mends it.

use std::io::{BufRead as _, IsTerminal as _, Write as _};
use std::path::Path;

use xennet_core::doctor::{self, Code, Finding, Level};
use xennet_core::recording::Recording;
use xennet_core::{Error, ErrorKind, Request, Result};

use super::common::open;
use super::record;
use crate::cli::{DoctorArgs, Global};
use crate::output::Output;

/// More rounds of mending than there can be kinds of findings that follow from each other.
const ROUNDS: usize = 64;

pub(super) fn run(global: &Global, args: &DoctorArgs, output: &mut Output) -> Result<()> {
    if args.codes {
        return codes(output);
    }
    if args.schema {
        return output.line(&doctor::schema());
    }
    if args.fix {
        mend(global, args, output)?;
    }
    let recording = recording(global, args)?;
    let all = doctor::examine(&recording);
    let told: Vec<Finding> = match &args.what {
        Some(what) => {
            check_known(&recording, &all, what)?;
            doctor::about(&all, what).into_iter().cloned().collect()
        }
        None => all,
    };
    output.answers_with(match doctor::worst(&told) {
        Some(Level::Error) => 2,
        Some(Level::Warning) => 1,
        _ => 0,
    });
    if output.is_json() {
        return output.line(&doctor::document(&told));
    }
    let text: Vec<String> = told.iter().map(ToString::to_string).chain([summary(&told)]).collect();
    output.line(&text.join("\n\n"))
}

fn recording(global: &Global, args: &DoctorArgs) -> Result<Recording> {
    match &args.from {
        Some(file) => record::from_file(file),
        None => record::whole(global, &args.file),
    }
}

/// A name that nothing here has is a slip, and no sign of health.
fn check_known(recording: &Recording, findings: &[Finding], what: &str) -> Result<()> {
    let is_domain = recording.store.iter().any(|(path, name)| path.as_str().ends_with("/name") && name == what);
    let is_network = recording.networks.iter().any(|s| s.network.name().as_str() == what);
    let is_subject = recording.records.iter().any(|entry| entry.subject.to_string() == what);
    let is_link = recording.snapshot.links.keys().any(|name| name.as_str() == what);
    let is_told = !doctor::about(findings, what).is_empty();
    if is_domain || is_network || is_subject || is_link || is_told {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::Invalid,
        format!("there is no network, vif, link or domain \"{}\" here", what.escape_debug()),
    )
    .with_object(what)
    .with_hint("name one that `xennet show` lists, or none for the whole host"))
}

fn summary(findings: &[Finding]) -> String {
    let count = |level: Level| findings.iter().filter(|f| f.level() == level).count();
    let many = |n: usize, what: &str| format!("{n} {what}{}", if n == 1 { "" } else { "s" });
    match (count(Level::Error), count(Level::Warning), count(Level::Note)) {
        (0, 0, 0) => "nothing wrong was found".to_owned(),
        (0, 0, notes) => format!("nothing wrong was found; {}", many(notes, "note")),
        (errors, warnings, notes) => {
            format!("{}, {}, {}", many(errors, "error"), many(warnings, "warning"), many(notes, "note"))
        }
    }
}

/// The table of all kinds.
fn codes(output: &mut Output) -> Result<()> {
    if output.is_json() {
        return output.line(&Code::document());
    }
    let one = |code: &Code| format!("{code} {}  {}\n    {}", code.level(), code.title(), code.meaning());
    output.line(&Code::ALL.iter().map(one).collect::<Vec<_>>().join("\n\n"))
}

/// Mends one finding after the other, and looks again after each: what follows from one goes with it.
fn mend(global: &Global, args: &DoctorArgs, output: &mut Output) -> Result<()> {
    let mut tried: Vec<Request> = Vec::new();
    for _ in 0..ROUNDS {
        let recording = recording(global, args)?;
        let all = doctor::examine(&recording);
        let is_asked = |f: &Finding| match &args.what {
            Some(what) => doctor::about(std::slice::from_ref(f), what).len() == 1,
            None => true,
        };
        let next = all.iter().filter(|f| is_asked(f)).find_map(|f| {
            let request = f.fix.as_ref()?.request.clone()?;
            (!tried.contains(&request)).then_some((f, request))
        });
        let Some((finding, request)) = next else { return Ok(()) };
        tried.push(request.clone());
        let mut host = open(global)?;
        let plan = host.plan_request(&request)?;
        if plan.is_empty() && plan.notes().is_empty() {
            continue;
        }
        output.note(&format!("{} {}: {}", finding.code, finding.object, finding.cause));
        let text = plan.to_string();
        text.lines().for_each(|line| output.note(&format!("  {line}")));
        if !args.yes && !agreed(output)? {
            continue;
        }
        let applied = host.apply(&plan)?;
        output.note(&format!("{}: {} steps done", finding.object, applied.steps));
        // More than was shown: what hangs on the same table is put back with it.
        if applied.steps > plan.steps().len() {
            applied.done.iter().for_each(|what| output.note(&format!("  done: {what}")));
        }
        // What one plan mends can be asked for again by another finding.
        tried.retain(|r| *r == request);
    }
    Ok(())
}

/// Whether somebody at the terminal agrees.
fn agreed(output: &mut Output) -> Result<bool> {
    let stdin = std::io::stdin();
    if !stdin.is_terminal() {
        return Err(Error::new(ErrorKind::Invalid, "--fix asks before each plan, and standard input is no terminal")
            .with_object("--fix")
            .as_before("unchanged")
            .with_hint("add --yes to carry the plans out without a question"));
    }
    output.finish()?;
    let mut stderr = std::io::stderr();
    // Where the question cannot be shown, there is nobody to answer it.
    if write!(stderr, "carry it out? [y/N] ").and_then(|()| stderr.flush()).is_err() {
        return Ok(false);
    }
    let mut line = String::new();
    stdin
        .lock()
        .read_line(&mut line)
        .map_err(|e| crate::files::failed(Path::new("standard input"), "cannot be read", &e))?;
    Ok(matches!(line.trim(), "y" | "Y" | "yes"))
}
