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
        return output.line(&xennet_core::document::schema("findings")?);
    }
    if args.fix {
        mend(global, args, output)?;
    }
    let recording = recording(global, args)?;
    let all = doctor::examine(&recording);
    let told: Vec<Finding> = match &args.what {
        Some(what) => named(&recording, &all, what)?,
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

/// The findings about what is named. A name that nothing here has is a slip, and no sign of health.
fn named(recording: &Recording, all: &[Finding], what: &str) -> Result<Vec<Finding>> {
    match doctor::about(recording, all, what) {
        Some(found) => Ok(found.into_iter().cloned().collect()),
        None => Err(Error::new(
            ErrorKind::Invalid,
            format!("there is no network, vif, link or domain \"{}\" here", what.escape_debug()),
        )
        .with_object(what)
        .with_hint("name one that `xennet show` lists, or none for the whole host")),
    }
}

fn summary(findings: &[Finding]) -> String {
    let count = |level: Level| findings.iter().filter(|f| f.level() == level).count();
    let many = |n: usize, what: &str| format!("{n} {what}{}", if n == 1 { "" } else { "s" });
    let text = match (count(Level::Error), count(Level::Warning), count(Level::Note)) {
        (0, 0, 0) => "nothing wrong was found".to_owned(),
        (0, 0, notes) => format!("nothing wrong was found; {}", many(notes, "note")),
        (errors, warnings, notes) => {
            format!("{}, {}, {}", many(errors, "error"), many(warnings, "warning"), many(notes, "note"))
        }
    };
    match findings.iter().filter(|f| f.code == Code::NotSeen).count() {
        0 => text,
        n => format!("{text}; {} of this host could not be looked at", many(n, "part")),
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

/// Mends one finding after the other, and looks again after each: what follows from one goes with it. One that cannot be mended is left, with
/// the reason as a remark.
fn mend(global: &Global, args: &DoctorArgs, output: &mut Output) -> Result<()> {
    let mut tried: Vec<Request> = Vec::new();
    for _ in 0..ROUNDS {
        let recording = recording(global, args)?;
        let mut all = doctor::examine(&recording);
        if let Some(what) = &args.what {
            all = named(&recording, &all, what)?;
        }
        let next = all.iter().find_map(|f| {
            let request = f.fix.as_ref()?.request.clone()?;
            (!tried.contains(&request)).then_some((f, request))
        });
        let Some((finding, request)) = next else { return Ok(()) };
        tried.push(request.clone());
        if let Err(e) = mend_one(global, args, finding, &request, output)? {
            output.note(&format!("{} is left as it is: {e}", finding.object));
        }
    }
    Ok(())
}

/// The inner result is that of the mending; the outer one is an error that ends the command.
fn mend_one(
    global: &Global,
    args: &DoctorArgs,
    finding: &Finding,
    request: &Request,
    output: &mut Output,
) -> Result<Result<()>> {
    let mut host = open(global)?;
    let plan = match host.plan_request(request) {
        Ok(plan) if plan.is_empty() => return Ok(Ok(())),
        Ok(plan) => plan,
        Err(e) => return Ok(Err(e)),
    };
    let told = finding.to_string();
    told.lines().take(2).for_each(|line| output.note(line.trim_start()));
    plan.to_string().lines().for_each(|line| output.note(&format!("  {line}")));
    if !args.yes && !agreed(output)? {
        return Ok(Ok(()));
    }
    let applied = match host.apply(&plan) {
        Ok(applied) => applied,
        Err(e) => return Ok(Err(e)),
    };
    output.note(&format!(
        "{}: {} done",
        finding.object,
        if applied.steps == 1 { "1 step".into() } else { format!("{} steps", applied.steps) }
    ));
    // More than was shown: what hangs on the same table is put back with it.
    if applied.steps > plan.steps().len() {
        applied.done.iter().for_each(|what| output.note(&format!("  done: {what}")));
    }
    Ok(Ok(()))
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
