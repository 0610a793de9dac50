//! Carrying a call out, from the first node that is read to the last that is written.
//!
//! For what connects: the vif's directory in xenstore is read in one round trip, the vif is attached (planned, verified, or
//! restored), the hooks run, the guest is told the MTU that was read back, and last of all `hotplug-status` becomes
//! `connected`, which netback waits for. If anything fails on the way, the earlier state is put back, and the reason stands in
//! `hotplug-error`, where the toolstack reads it.
//!
//! For what disconnects xenstore is not needed, unless there are hooks, or a failure to report: the record says what there is
//! to undo, and netback has usually taken the link away by then.
//!
//! A call has one [`Budget`], and whatever it waits for ends with it: a lock, the link, an answer of xenstore, a dnsmasq. The last
//! eighth is for the way back and the last word, so that somebody learns why.

use std::time::{Duration, Instant};

use super::call::{Call, Misread, Read, Verb};
use super::hooks::{Hooks, Ran, show};
use super::log::{CallRecord, Outcome, milliseconds, printable};
use super::nodes::{self, Nodes};
use super::settings::Settings;
use crate::budget::Budget;
use crate::error::{self, Errno, Error, ErrorKind};
use crate::exec::{Applied, Subject};
use crate::host::{Host, MacBinding};
use crate::model::{IfName, TypeIf, VifSpec};
use crate::snapshot::Route;
use crate::xenstore::{Store, StoreError, StoreErrorKind};

/// What a call works with. All of it is opened and asked for when it is needed, and not before.
#[non_exhaustive]
pub struct World<'a> {
    /// Opens the connection to xenstore; the argument is how long it may take.
    pub store: &'a mut dyn FnMut(Duration) -> Result<Box<dyn Store>, StoreError>,
    /// Opens the host.
    pub host: &'a mut dyn FnMut() -> Result<Host, Error>,
    /// Whether this is a driver domain ([`is_driver_domain`](super::is_driver_domain)); asked where the call does not say it.
    pub driver_domain: &'a mut dyn FnMut() -> bool,
}

impl<'a> World<'a> {
    /// The store, the host and whether this is a driver domain; each is asked for when it is needed.
    pub const fn new(
        store: &'a mut dyn FnMut(Duration) -> Result<Box<dyn Store>, StoreError>,
        host: &'a mut dyn FnMut() -> Result<Host, Error>,
        driver_domain: &'a mut dyn FnMut() -> bool,
    ) -> Self {
        World { store, host, driver_domain }
    }
}

/// What came of a call.
#[derive(Debug)]
#[non_exhaustive]
pub struct Answer {
    /// What went wrong; `None` for a success. The exit status is 1 or 0, as that of the scripts.
    pub error: Option<Error>,
    /// What the caller should know besides.
    pub notes: Vec<String>,
    /// For the log; `None` for a call that means nothing.
    pub record: Option<CallRecord>,
    /// The host, still open, if it was opened.
    pub host: Option<Host>,
    /// The kernel has taken elements of our nft tables away, and closing the host will wait for its clean-up work
    /// ([`close_in_background`](crate::backend::netlink::close_in_background)).
    pub closes_slowly: bool,
}

/// The record of a call that begins; `None` for one that means nothing. `now` is the time of day.
pub fn begun(script: &str, read: &Result<Read, Misread>, now: Duration) -> Option<CallRecord> {
    let record = |verb: Option<Verb>, path: Option<&String>| {
        let mut record = CallRecord::new(script, verb.map_or("", Verb::name), microseconds(now));
        record.xenbus_path = path.cloned();
        record.outcome = Outcome::Begun;
        record
    };
    match read {
        Ok(Read::Nothing { .. }) => None,
        Err(Misread { verb, path, .. }) => Some(record(*verb, path.as_ref())),
        Ok(Read::Call(call)) => {
            let mut record = record(Some(call.verb), Some(&call.path));
            record.type_if = call.verb.type_if().name().to_owned();
            record.vif = call.id.to_string();
            Some(record)
        }
    }
}

/// Carries out what was read of a call. `script` is the name that it was called by; `now` is the time of day, for the log.
///
/// Never fails by itself: what goes wrong is in the answer, and where somebody waits for it, in xenstore.
pub fn run(
    script: &str,
    read: Result<Read, Misread>,
    settings: Result<Settings, Error>,
    world: World<'_>,
    now: Duration,
) -> Answer {
    let start = Instant::now();
    let nothing = Answer { error: None, notes: Vec::new(), record: None, host: None, closes_slowly: false };
    let Some(record) = begun(script, &read, now) else { return nothing };
    let (work, done) = match read {
        Ok(Read::Nothing { .. }) => return nothing,
        Err(Misread { error, verb, path }) => {
            let mut work = Work::new(start, settings.unwrap_or_default(), world, record);
            if let Some(path) = path.filter(|_| verb.is_some_and(|v| v.connects())) {
                work.tell_failure(&path, &error);
            }
            (work, Err(error))
        }
        Ok(Read::Call(call)) => {
            let (settings, broken) = match settings {
                Ok(settings) => (settings, None),
                Err(e) => (Settings::default(), Some(e)),
            };
            let mut work = Work::new(start, settings, world, record);
            work.record.notes.extend(call.notes.iter().cloned());
            work.connects = call.verb.connects();
            if !work.connects && call.backend_domain().map_or_else(|| (work.world.driver_domain)(), |domid| domid != 0)
            {
                work.hurry();
            }
            let done = match broken {
                // What an administrator has forbidden is not to be allowed by a typing mistake.
                Some(e) if call.verb.connects() => Err(e),
                broken => {
                    // To disconnect, nothing of it is needed.
                    work.record.notes.extend(broken.map(|e| e.to_string()));
                    if call.verb.connects() { work.connect(&call) } else { work.disconnect(&call) }
                }
            };
            if let Err(e) = &done {
                work.tell(&call, e);
            }
            (work, done)
        }
    };
    work.close(done)
}

/// A call under way.
struct Work<'a> {
    start: Instant,
    lap: Instant,
    settings: Settings,
    world: World<'a>,
    store: Option<Box<dyn Store>>,
    opened: Option<Host>,
    record: CallRecord,
    /// This domain's IPv4 address on a vif that is connected by routes.
    own_address: Option<String>,
    connects: bool,
    closes_slowly: bool,
    /// All of it. The time that the hooks take, which have a deadline of their own, comes on top.
    whole: Budget,
    /// How much of it is kept for the way back and the last word.
    reserve: Duration,
    phase: Phase,
    /// Whether the hooks' time counts, as in a driver domain.
    hooks_within: bool,
    /// How often the link was waited for.
    waits: u32,
}

/// What is being done, and so how much of the time it may take.
enum Phase {
    Work,
    WayBack,
    /// What is to be said in the end. With a budget of its own: it must be said, however late it is.
    Word(Budget),
}

/// What is kept of a call's time for the way back and the last word.
fn reserve(deadline: Duration) -> Duration {
    (deadline / 8).min(Duration::from_secs(1))
}

impl<'a> Work<'a> {
    fn new(start: Instant, settings: Settings, world: World<'a>, record: CallRecord) -> Self {
        let deadline = settings.deadline;
        Work {
            start,
            lap: start,
            settings,
            world,
            store: None,
            opened: None,
            record,
            connects: false,
            own_address: None,
            closes_slowly: false,
            whole: Budget::from(start, deadline),
            reserve: reserve(deadline),
            phase: Phase::Work,
            hooks_within: false,
            waits: 0,
        }
    }

    /// In a driver domain dom0 waits for the whole call, hooks included, and not long.
    fn hurry(&mut self) {
        let deadline = self.settings.deadline.min(REMOVAL);
        (self.whole, self.reserve, self.hooks_within) = (Budget::from(self.start, deadline), reserve(deadline), true);
    }

    /// How long what is being done now may take.
    fn budget(&self) -> Budget {
        match self.phase {
            Phase::Work => self.whole.but(self.reserve),
            Phase::WayBack => self.whole.but(self.reserve / 2),
            Phase::Word(budget) => budget,
        }
    }

    /// From now on only what has to be said is said. `part` of what is left may be used.
    fn last_word(&mut self, part: u32) {
        self.phase = Phase::Word(Budget::of(self.whole.left().max(LAST_WORD) / part));
    }

    /// The work is done, and only has to be told. Where it took long by itself, as on a busy machine, taking it back would take
    /// longer than telling it.
    fn good_word(&mut self) {
        self.phase = Phase::Word(Budget::of(self.whole.but(self.reserve / 2).left().max(LAST_WORD)));
    }

    /// Notes how long something took. What is done again and again is one entry.
    fn lap(&mut self, what: &'static str) {
        let now = Instant::now();
        let took = microseconds(now - self.lap);
        match self.record.timings.last_mut().filter(|(last, _)| last == what) {
            Some((_, time)) => *time = time.saturating_add(took),
            None => self.record.timings.push((what.to_owned(), took)),
        }
        self.lap = now;
    }

    fn note(&mut self, note: String) {
        self.record.notes.push(note);
    }

    fn store(&mut self) -> Result<&mut dyn Store, StoreError> {
        let budget = self.budget();
        let mut store = match self.store.take() {
            Some(store) => store,
            None => (self.world.store)(budget.left())?,
        };
        store.set_budget(budget);
        Ok(&mut **self.store.insert(store))
    }

    fn host(&mut self) -> Result<Host, Error> {
        let binding = if self.settings.bind_mac { MacBinding::Always } else { MacBinding::WhereDeclared };
        let host = (self.world.host)()?.with_locks_kept().with_lock_deadline(self.settings.deadline);
        let mut host = host.with_mac_binding(binding);
        host.set_budget(self.budget());
        Ok(host)
    }

    /// The nodes of the vif's directory.
    fn nodes(&mut self, call: &Call) -> Result<Nodes, Error> {
        let paths = nodes::NAMES.map(|name| format!("{}/{name}", call.path));
        let paths = paths.each_ref().map(String::as_str);
        let values = self.store().and_then(|store| store.read_many(&paths)).map_err(untouched)?;
        let mut nodes = nodes::read(&self.record.script, call, &values)?;
        self.record.notes.append(&mut nodes.notes);
        if nodes.vif.bridge().is_some_and(|bridge| self.settings.isolated.contains(&bridge)) {
            nodes.vif = nodes.vif.with_isolated();
        }
        Ok(nodes)
    }

    fn connect(&mut self, call: &Call) -> Result<(), Error> {
        let mut host = self.host()?;
        let done = self.connect_on(&mut host, call);
        self.opened = Some(host);
        done
    }

    fn connect_on(&mut self, host: &mut Host, call: &Call) -> Result<(), Error> {
        // What is read has to be what the call before this one has left.
        host.lock(Subject::of(call.id, call.verb.type_if()))?;
        let Nodes { mut vif, old_error, .. } = self.nodes(call)?;
        self.lap("read");
        let applied = loop {
            match host.attach_link(call.id, call.verb.type_if(), &vif) {
                Ok(applied) => break applied,
                Err(e) if self.another_way(call, host, &e, &mut vif)? => {}
                Err(e) => return Err(e),
            }
        };
        self.did(&applied);
        self.lap("attach");
        let rest = self.report(call, &vif.ip_text(), &applied, old_error);
        rest.map_err(|e| match applied.steps {
            // It was so before this call.
            0 => e.as_before("the vif is connected as before"),
            _ => self.undo_call(call, host, e),
        })
    }

    /// Whether attaching is to be tried again: when the link has come that was not there, or with another bridge.
    fn another_way(&mut self, call: &Call, host: &mut Host, e: &Error, vif: &mut VifSpec) -> Result<bool, Error> {
        let link = call.link()?;
        match (e.kind(), vif.bridge()) {
            // Whoever makes the link may be slower than its word in xenstore.
            (ErrorKind::LinkNotFound, _) if e.object() == Some(link.as_str()) && self.waits < WAITS => {
                self.waits += 1;
                let left = self.budget().left();
                // Nobody shall have to wait for one that may never come.
                host.release();
                let came = !left.is_zero() && host.await_link(&link, left)?;
                self.lap("wait");
                if came {
                    return Ok(true);
                }
                let waited = show(self.settings.deadline.saturating_sub(self.reserve));
                let message = format!("{link}: there is no such link, and none has come within {waited}");
                let late = Error::new(ErrorKind::LinkNotFound, message).with_object(link.as_str()).unchanged();
                Err(match e.hint() {
                    Some(hint) => late.with_hint(hint),
                    None => late,
                })
            }
            // Bridges were called eth0 in the days of xend.
            (ErrorKind::BridgeNotFound, Some(bridge)) => {
                let old = bridge.as_str().strip_prefix("xenbr").and_then(|n| format!("eth{n}").parse::<IfName>().ok());
                let Some(old) = old else { return Ok(false) };
                let found = host.is_bridge(&old)?;
                if found {
                    self.note(format!("there is no bridge {bridge}; {old} is one, and is taken instead"));
                    *vif = vif.clone().with_bridge(old)?;
                }
                Ok(found)
            }
            _ => Ok(false),
        }
    }

    /// Everything behind the attach: hooks, the guest's MTU, the status.
    fn report(&mut self, call: &Call, ip: &str, applied: &Applied, old_error: bool) -> Result<(), Error> {
        self.hooks(call, ip)?;
        self.good_word();
        if call.verb.type_if() == TypeIf::Tap {
            // The status is that of the vif.
            return Ok(());
        }
        let link = self.record.link.as_deref().unwrap_or_default();
        let mtu = applied.after.links.get(link).map(|l| l.mtu);
        let told = format!("/local/domain/{}/device/vif/{}/mtu", call.id.domid, call.id.devid);
        let (error, status) = (format!("{}/hotplug-error", call.path), format!("{}/hotplug-status", call.path));
        if let Some(mtu) = mtu {
            match self.store().and_then(|store| store.write(&told, mtu.to_string().as_bytes())) {
                Ok(()) => {}
                // A driver domain may have no right to tell a guest anything.
                Err(e) if e.errno() == Errno::EACCES => {
                    self.note(format!("the guest was not told its MTU of {mtu}: {e}"));
                }
                Err(e) => return Err(e.into()),
            }
        }
        if old_error {
            self.store().and_then(|store| store.rm(&error))?;
        }
        self.store().and_then(|store| store.write(&status, b"connected"))?;
        self.lap("report");
        Ok(())
    }

    fn disconnect(&mut self, call: &Call) -> Result<(), Error> {
        let mut host = self.host()?;
        let type_if = call.verb.type_if();
        let detached = match host.detach_link(call.id, type_if) {
            // A domain that ends takes its vif along, whatever can be remembered of it.
            Err(e) if matches!(e.kind(), ErrorKind::StateFull | ErrorKind::StateUnusable) => {
                self.note(format!("this could not be written down: {e}"));
                host.detach_unwritten(call.id.domid, call.id.devid, type_if)
            }
            other => other,
        };
        self.opened = Some(host);
        self.did(&detached?);
        self.lap("detach");
        self.hooks(call, "").map_err(|e| e.incomplete("the vif is detached"))
    }

    /// Notes for the log what was done, and to what.
    fn did(&mut self, applied: &Applied) {
        self.record.plan.extend(applied.done.iter().cloned());
        self.record.notes.extend(applied.notes.iter().cloned());
        self.closes_slowly |= applied.closes_slowly;
        let port = applied.after.links.iter().find(|(_, l)| l.bridge.is_none());
        if let Some((name, link)) = port {
            let source = |r: &Route| r.source.filter(|s| s.is_ipv4() && r.link == Some(*name));
            self.own_address = applied.after.routes.iter().find_map(source).map(|s| s.to_string());
            self.record.link = Some(name.to_string());
            self.record.bridge = link.master.map(|m| m.to_string());
            self.record.mtu = Some(link.mtu);
        }
    }

    fn hooks(&mut self, call: &Call, ip: &str) -> Result<(), Error> {
        let Some(dir) = self.settings.hooks.clone() else { return Ok(()) };
        let made = call.id.to_string();
        let mut deadline = self.settings.hook_deadline;
        if self.hooks_within {
            deadline = deadline.min(self.budget().left());
        }
        let mut hooks = Hooks { dir: &dir, verb: call.verb.name(), environment: &[], deadline };
        let found = hooks.find()?;
        if found.is_empty() {
            return Ok(());
        }
        // What a script that disconnects does not need, its hooks may: they were told so.
        let (mut ip, mut bridge) = (ip.to_owned(), self.record.bridge.clone().unwrap_or_default());
        if !call.verb.connects()
            && let Ok(nodes) = self.nodes(call)
        {
            ip = nodes.vif.ip_text();
            bridge = nodes.vif.bridge().map_or(bridge, |b| b.to_string());
        }
        let netdev = call.netdev.clone().unwrap_or_default();
        let link = self.record.link.as_deref().unwrap_or(&made);
        let (domid, devid) = (call.id.domid.to_string(), call.id.devid.to_string());
        let environment = [
            ("command", call.verb.name()),
            ("type_if", call.verb.type_if().name()),
            ("XENBUS_PATH", call.path.as_str()),
            ("vif", made.as_str()),
            ("dev", link),
            ("vifname", if *link == made { "" } else { link }),
            ("domid", domid.as_str()),
            ("devid", devid.as_str()),
            ("bridge", bridge.as_str()),
            ("ip", ip.as_str()),
            ("netdev", netdev.as_str()),
            ("main_ip", self.own_address.as_deref().unwrap_or_default()),
        ];
        hooks.environment = &environment;
        let mut ran: Vec<Ran> = Vec::new();
        let begin = Instant::now();
        let result = hooks.run_found(&found, &mut ran);
        if !self.hooks_within {
            self.whole = self.whole.and(begin.elapsed());
        }
        for Ran { name, took, output, .. } in &ran {
            let took = milliseconds(microseconds(*took));
            self.note(format!("the hook {} took {took}", printable(name)));
            for line in output.lines().rev().take(HOOK_LINES).collect::<Vec<_>>().into_iter().rev() {
                self.note(format!("{}: {}", printable(name), printable(line)));
            }
        }
        self.lap("hooks");
        result
    }

    /// Puts back what this call has done.
    fn undo_call(&mut self, call: &Call, host: &mut Host, e: Error) -> Error {
        self.phase = Phase::WayBack;
        host.set_budget(self.budget());
        let subject = Subject::of(call.id, call.verb.type_if());
        let (outcome, state) = match host.undo(subject) {
            Ok(undone) => {
                self.closes_slowly |= undone.closes_slowly;
                (error::Outcome::Restored, format!("restored, {} undone", steps(undone.steps)))
            }
            Err(undo) => {
                // The link has gone, perhaps; then this takes away what is left of it.
                match host.detach_link(call.id, call.verb.type_if()) {
                    Ok(applied) => {
                        self.closes_slowly |= applied.closes_slowly;
                        (
                            error::Outcome::Incomplete,
                            format!("detached; as it was before it could not be put back: {undo}"),
                        )
                    }
                    Err(other) => (error::Outcome::Incomplete, format!("not restored: {undo}; {other}")),
                }
            }
        };
        self.lap("restore");
        e.with_outcome(outcome, state)
    }

    /// Tells the toolstack why the call failed, if it is one that somebody waits for.
    fn tell(&mut self, call: &Call, e: &Error) {
        self.last_word(2);
        // The directory of a vif that is being removed may be gone, and is not to be made again.
        let there = call.verb.connects()
            || self.store().and_then(|store| store.read(&call.path)).is_ok_and(|node| node.is_some());
        if there {
            self.tell_failure(&call.path, e);
        }
    }

    fn tell_failure(&mut self, path: &str, e: &Error) {
        let reason = reason(e);
        // One that hangs must leave time for another one.
        self.last_word(2);
        let mut told = self.store().and_then(|store| write_failure(store, path, &reason));
        if told.as_ref().is_err_and(|e| !matches!(e.kind(), StoreErrorKind::Refused | StoreErrorKind::NoServer)) {
            // One conversation that broke off says nothing about the next one.
            self.store = None;
            self.last_word(1);
            told = self.store().and_then(|store| write_failure(store, path, &reason));
        }
        if let Err(e) = told {
            self.note(format!("the reason could not be written to xenstore: {e}"));
        }
        self.lap("tell");
    }

    fn close(mut self, done: Result<(), Error>) -> Answer {
        match &done {
            Err(e) => self.record.fail(e),
            Ok(()) if self.connects => self.record.outcome = Outcome::Connected,
            Ok(()) => self.record.outcome = Outcome::Detached,
        }
        // Everything is said, and whoever comes next may change it.
        if let Some(host) = &mut self.opened {
            host.release();
        }
        self.record.total_us = microseconds(self.start.elapsed());
        Answer {
            error: done.err(),
            notes: self.record.notes.clone(),
            record: Some(self.record),
            host: self.opened,
            closes_slowly: self.closes_slowly,
        }
    }
}

/// Tells a toolstack that a call has failed: the reason, and the status behind it, in the vif's directory at `path`.
///
/// # Errors
/// As [`Store::write_all`].
pub fn write_failure(store: &mut dyn Store, path: &str, reason: &str) -> Result<(), StoreError> {
    let (error, status) = (format!("{path}/hotplug-error"), format!("{path}/hotplug-status"));
    store.write_all(&[(&error, reason.as_bytes()), (&status, b"error")])
}

/// Of what a hook prints, the last lines that are kept in the log.
const HOOK_LINES: usize = 20;

/// How long the last word may take where the call's own time is over, as when the kernel held it.
const LAST_WORD: Duration = Duration::from_millis(400);

/// How long all of a call that disconnects may take in a driver domain, hooks included. dom0 waits 10 s for the vif's directory
/// to go, from when netback has closed; the agent that makes the call has its own work before and behind it, and makes two calls
/// one behind the other for a vif with an emulated twin.
///
/// Source: `tools/libs/light/libxl_device.c`, `LIBXL_DESTROY_TIMEOUT`.
const REMOVAL: Duration = Duration::from_secs(4);

/// How often a link may come and be gone again until the call gives up.
const WAITS: u32 = 20;

fn microseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// Before anything was touched.
fn untouched(e: StoreError) -> Error {
    Error::from(e).unchanged()
}

fn steps(n: usize) -> String {
    if n == 1 { "1 step".to_owned() } else { format!("{n} steps") }
}

/// The longest text that is written as the reason.
const LONGEST: usize = 1000;

/// An error as one line for `hotplug-error`: kind and number, what, at which step, the state, the way out.
pub fn reason(e: &Error) -> String {
    let mut out = format!("{} ({}): {e}", e.kind().slug(), e.kind().number());
    if let Some(step) = e.step() {
        out.push_str(&format!("; at {step}"));
    }
    if let Some(hint) = e.hint() {
        out.push_str(&format!("; hint: {hint}"));
    }
    let mut out: String = out.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    if out.len() > LONGEST {
        let mut end = LONGEST;
        while !out.is_char_boundary(end) {
            end -= 1;
        }
        out.truncate(end);
        out.push_str("...");
    }
    out
}
