//! `demo`: the main job from beginning to end, every claim checked while it is made.

use std::fmt::Display;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use xennet_core::backend::fake::Fake;
use xennet_core::backend::{Backend, BackendError, Capabilities};
use xennet_core::plan::Plan;
use xennet_core::snapshot::{Scope, Snapshot};
use xennet_core::step::Step;
use xennet_core::{DevId, DomId, Error, ErrorKind, Host, Result, VifId, VifSpec};

use super::host::table;
use crate::cli::{BackendName, Global};
use crate::output::Output;
use crate::sandbox::{Guest, World};

/// How long a ping waits for an answer that must come. It comes within a millisecond; a busy machine may take longer.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long a ping waits for an answer that must not come.
const GLIMPSE: Duration = Duration::from_millis(300);

/// The domains of the demo.
const DOMAINS: [u8; 2] = [1, 2];

pub(super) fn run(global: &Global, output: &mut Output) -> Result<()> {
    let (mut host, mut stage) = Stage::open(global, output)?;
    let mut demo = Demo { output, events: Vec::new(), broken: Vec::new() };
    let place = match stage {
        Stage::Kernel(_) => "this is the real kernel, in namespaces made for it; nothing outside of them is touched",
        Stage::Model(_) => "this is a model of the kernel, in memory; nothing real is touched",
    };
    demo.say(place, json!({ "place": place }))?;
    let before = look(&mut host)?;
    demo.heading("domains 1 and 2 are built, and netback has made vif1.0 and vif2.0:")?;
    for domid in DOMAINS {
        stage.start(domid)?;
    }
    demo.pings(&stage, Expected::Silence)?;
    for domid in DOMAINS {
        demo.attach(&mut host, domid)?;
    }
    demo.show(&mut host)?;
    demo.heading("they are connected:")?;
    demo.pings(&stage, Expected::Answer)?;
    for domid in DOMAINS {
        demo.detach(&mut host, domid)?;
    }
    demo.heading("they are not connected any more:")?;
    demo.pings(&stage, Expected::Silence)?;
    demo.heading("the domains end, and netback takes its vifs away:")?;
    for domid in DOMAINS {
        stage.stop(domid)?;
    }
    demo.nothing_left(&before, &mut host)?;
    demo.end(matches!(stage, Stage::Kernel(_)))
}

/// Where the demo takes place.
enum Stage {
    /// The real kernel, in a world of its own.
    Kernel(World),
    /// A model of the kernel, in memory.
    Model(Arc<Mutex<Fake>>),
}

impl Stage {
    fn open(global: &Global, output: &mut Output) -> Result<(Host, Stage)> {
        if global.backend == BackendName::Netlink {
            match World::enter() {
                Ok(world) => return Ok((Host::netlink()?, Stage::Kernel(world))),
                Err(e) if e.kind() == ErrorKind::Denied => {
                    output.note(&format!(
                        "{e}; a model of the kernel takes the kernel's place, and nobody can be pinged in it"
                    ));
                    if let Some(hint) = e.hint() {
                        output.note(hint);
                    }
                }
                Err(e) => return Err(e),
            }
        }
        let fake = Arc::new(Mutex::new(Fake::example()));
        let host = Host::with_backend(Box::new(Shared(Arc::clone(&fake))));
        Ok((host, Stage::Model(fake)))
    }

    /// A domain is built.
    fn start(&mut self, domid: u8) -> Result<()> {
        match self {
            Stage::Kernel(world) => world.start(domid),
            // Netback makes the vif there when it is first named.
            Stage::Model(_) => Ok(()),
        }
    }

    /// A domain ends.
    fn stop(&mut self, domid: u8) -> Result<()> {
        match self {
            Stage::Kernel(world) => world.stop(domid),
            Stage::Model(fake) => {
                locked(fake).remove_vif(id(domid)?);
                Ok(())
            }
        }
    }
}

/// A fake that the host works on while the demo plays netback in it.
struct Shared(Arc<Mutex<Fake>>);

impl Backend for Shared {
    fn capabilities(&self) -> Capabilities {
        locked(&self.0).capabilities()
    }

    fn observe(&mut self, scope: &Scope) -> Result<Snapshot, BackendError> {
        locked(&self.0).observe(scope)
    }

    fn apply(&mut self, step: &Step) -> Result<(), BackendError> {
        locked(&self.0).apply(step)
    }
}

fn locked(fake: &Mutex<Fake>) -> MutexGuard<'_, Fake> {
    // A panic elsewhere leaves a world that is still worth looking at.
    fake.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Everything there is, without what changes by itself.
fn look(host: &mut Host) -> Result<Snapshot> {
    let scope = Scope::network();
    host.backend().observe(&scope).map_err(|e| {
        Error::new(ErrorKind::Io, "the network cannot be looked at").with_object(e.object).with_errno(e.errno)
    })
}

/// The vif of a domain of the demo.
fn id(domid: u8) -> Result<VifId> {
    Ok(VifId::new(DomId::new(u32::from(domid))?, DevId::new(0)?))
}

/// What a ping is expected to give.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Expected {
    Answer,
    Silence,
}

/// The demo under way: what it has said, and which of its claims were not true.
struct Demo<'a> {
    output: &'a mut Output,
    events: Vec<Value>,
    broken: Vec<String>,
}

impl Demo<'_> {
    /// Says something: as text now, as part of the document at the end.
    fn say(&mut self, text: &str, event: Value) -> Result<()> {
        self.events.push(event);
        if self.output.is_json() {
            return Ok(());
        }
        let indent = |l: &str| if l.is_empty() { String::new() } else { format!("  {l}") };
        let indented: Vec<String> = text.lines().map(indent).collect();
        self.output.line(&indented.join("\n"))?;
        // The reader follows while it happens.
        self.output.finish()
    }

    /// What happens next, beside the commands.
    fn heading(&mut self, text: &str) -> Result<()> {
        if self.output.is_json() { Ok(()) } else { self.output.line(&format!("\n{text}")) }
    }

    /// The command that does what comes next.
    fn command(&mut self, text: &str) -> Result<()> {
        self.events.push(json!({ "command": text }));
        self.heading(&format!("$ xennet {text}"))
    }

    /// Says what is the case, and remembers it if it should not be.
    fn claim(&mut self, holds: bool, text: &str) -> Result<()> {
        if !holds {
            self.broken.push(text.to_owned());
        }
        let sign = if holds { "ok" } else { "NOT SO" };
        self.say(&format!("{sign}: {text}"), json!({ "claim": text, "holds": holds }))
    }

    fn attach(&mut self, host: &mut Host, domid: u8) -> Result<()> {
        let id = id(domid)?.domid;
        let text = format!("mac={},bridge={}", World::mac_of(domid), World::BRIDGE);
        let vif: VifSpec = text.parse()?;
        self.command(&format!("attach {domid} {text}"))?;
        let plan = host.plan_attach(id, &vif)?;
        self.plan(&plan)?;
        let start = Instant::now();
        let applied = host.attach(id, &vif)?;
        self.applied(applied.steps, plan.steps().len(), start.elapsed())?;
        let again = host.plan_attach(id, &vif)?;
        self.claim(again.is_empty(), "planned again, there is nothing left to do")
    }

    fn detach(&mut self, host: &mut Host, domid: u8) -> Result<()> {
        let id = id(domid)?;
        self.command(&format!("detach {domid}"))?;
        let plan = host.plan_detach(id.domid, id.devid)?;
        self.plan(&plan)?;
        let start = Instant::now();
        let applied = host.detach(id.domid, id.devid)?;
        self.applied(applied.steps, plan.steps().len(), start.elapsed())
    }

    fn show(&mut self, host: &mut Host) -> Result<()> {
        self.command("show")?;
        let shown = host.show()?;
        self.say(&table(&shown), json!({ "shown": shown }))
    }

    fn plan(&mut self, plan: &Plan) -> Result<()> {
        self.say(&plan.to_string(), plan.to_json())
    }

    fn applied(&mut self, steps: usize, planned: usize, time: Duration) -> Result<()> {
        self.claim(steps == planned, &format!("{steps} of {planned} steps applied and read back in {}", shown(time)))
    }

    fn pings(&mut self, stage: &Stage, expected: Expected) -> Result<()> {
        let Stage::Kernel(world) = stage else {
            return self.say("(there is nobody to ping in a model)", json!({ "pings": Value::Null }));
        };
        let (Some(one), Some(two)) = (world.guest(1), world.guest(2)) else {
            return self.claim(false, "both guests are there");
        };
        self.ping(("guest 1", one), ("guest 2", World::address_of(2)), expected)?;
        self.ping(("guest 2", two), ("guest 1", World::address_of(1)), expected)?;
        if expected == Expected::Answer {
            self.ping(("guest 1", one), ("dom0", World::DOM0), expected)?;
            self.ping(("guest 1", one), ("the outside", World::OUTSIDE), expected)?;
        }
        Ok(())
    }

    fn ping(&mut self, from: (&str, &Guest), to: (&str, Ipv4Addr), expected: Expected) -> Result<()> {
        let patience = if expected == Expected::Answer { PATIENCE } else { GLIMPSE };
        let mut answer = from.1.ping(to.1, patience)?;
        if answer.is_some() {
            // The first answer had to wait for ARP; the second tells how fast the way is.
            answer = from.1.ping(to.1, patience)?;
        }
        let what = match answer {
            Some(time) => format!("it answers in {}", shown(time)),
            None => "no answer".to_owned(),
        };
        let holds = answer.is_some() == (expected == Expected::Answer);
        self.claim(holds, &format!("{} pings {} ({}): {what}", from.0, to.0, to.1))
    }

    /// The proof: all that can be observed, before and after.
    fn nothing_left(&mut self, before: &Snapshot, host: &mut Host) -> Result<()> {
        let after = look(host)?;
        let (old, new) = (before.render(), after.render());
        self.say(&new, json!({ "before": old, "after": new }))?;
        let changes: Vec<String> = before.changes(&after).iter().map(ToString::to_string).collect();
        if !changes.is_empty() {
            self.say(&changes.join("\n"), json!({ "changes": changes }))?;
        }
        let facts = old.lines().count();
        self.claim(
            changes.is_empty(),
            &format!("all {facts} facts are as they were before, {} differ", changes.len()),
        )?;
        let vifs = host.show()?.vifs.len();
        self.claim(vifs == 0, &format!("{vifs} vifs are left on record"))
    }

    /// The document, or the last word.
    fn end(self, on_kernel: bool) -> Result<()> {
        let Demo { output, events, broken } = self;
        let last = match broken.len() {
            0 => "everything was as claimed".to_owned(),
            n => format!("{n} claims did not hold"),
        };
        output.answer(|| format!("\n{last}"), || json!({ "kernel": on_kernel, "events": events, "broken": broken }))?;
        if broken.is_empty() {
            return Ok(());
        }
        let message = format!("the demo did not go as claimed: {}", broken.join("; "));
        Err(Error::new(ErrorKind::NotVerified, message).with_object("demo"))
    }
}

/// A time for people: microseconds below one millisecond, else milliseconds.
fn shown(time: Duration) -> impl Display {
    match time.as_micros() {
        us @ 0..1000 => format!("{us} us"),
        us => format!("{}.{} ms", us / 1000, us % 1000 / 100),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn demo(output: &mut Output) -> Demo<'_> {
        Demo { output, events: Vec::new(), broken: Vec::new() }
    }

    #[test]
    fn a_claim_that_does_not_hold_is_an_error_at_the_end() {
        let mut output = Output::new(true);
        let mut fine = demo(&mut output);
        fine.claim(true, "water is wet").unwrap();
        assert_eq!(fine.end(false), Ok(()));

        let mut broken = demo(&mut output);
        broken.claim(false, "water is dry").unwrap();
        broken.claim(true, "water is wet").unwrap();
        let error = broken.end(false).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotVerified);
        assert!(error.message().contains("water is dry") && !error.message().contains("wet"), "{error}");
    }

    #[test]
    fn what_is_left_behind_is_a_claim_that_does_not_hold() {
        let mut host = Host::fake();
        let before = look(&mut host).unwrap();
        let vif: VifSpec = "bridge=xenbr0".parse().unwrap();
        host.attach(id(1).unwrap().domid, &vif).unwrap();
        let mut output = Output::new(true);
        let mut demo = demo(&mut output);
        demo.nothing_left(&before, &mut host).unwrap();
        assert_eq!(demo.broken.len(), 2, "{:?}", demo.broken);
    }
}
