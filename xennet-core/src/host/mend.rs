//! What other programs have removed of what vifs and networks need: finding it, and putting it back.
//!
//! `nft flush ruleset`, a deleted rule, a port that was taken out of its bridge: the kernel tells nobody. What a vif or network needs
//! stands in its record ([`plan::need`]), so a look finds what is missing, and it is put back for all guests that are there.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::attach::FRAME_TRIES;
use super::records::Session;
use super::recover::Recovered;
use super::{Host, Records};
use crate::backend::BackendError;
use crate::error::{Errno, Error, ErrorKind};
use crate::exec::{self, Applied, Entry, Freshness, Subject};
use crate::gather;
use crate::model::{Attach, Attachment, IfName, Network, Resolved, ResolvedNetwork, ResolvedVif, Started};
use crate::plan::{self, Goal, Plan, need};
use crate::services;
use crate::snapshot::{Link, Part, Scope, Snapshot};
use crate::step::Step;
use crate::tables;

/// How long another call is waited for that may be about to remove elements from our tables.
const UNDER_WAY: Duration = Duration::from_millis(500);
const PAUSE: Duration = Duration::from_millis(5);

/// The name that the link of a vif, or of its twin, was made with.
fn made(subject: Subject) -> Option<IfName> {
    let (id, type_if) = subject.vif()?;
    id.link_name(type_if).ok()
}

/// What a record says of an attached vif: the wish, the link's number, and the link as it was.
fn attached_by(entry: &Entry) -> Option<(&Attach, u32, &Link)> {
    let Goal::Resolved(Resolved::Attach(a)) = &entry.goal else { return None };
    let was = entry.before.links.get(&a.found.device)?;
    Some((&a.wish, was.index, was))
}

/// The wish that a record stands for, if the link is among these.
pub(super) fn need_of(subject: Subject, entry: &Entry, now: &Snapshot) -> Option<ResolvedVif<Attach>> {
    let (a, index, was) = attached_by(entry)?;
    let (present, link) = need::link_of(a, index, was, &made(subject)?, now)?;
    Some(need::of_vif(a, *present, link))
}

/// Whether one of our nft tables changed under the operation: it can be tried again.
pub(super) fn is_of_tables(e: &Error) -> bool {
    let words = [Errno::ENOENT, Errno::EEXIST, Errno::EINTR, Errno::ERESTART];
    let refused = e.object().is_some_and(|o| o.starts_with("nft ")) && e.errno().is_some_and(|n| words.contains(&n));
    refused || (e.kind() == ErrorKind::NotVerified && e.message().contains("nft table "))
}

/// How many vifs are looked at together.
const TOGETHER: usize = 64;

/// What is missing of what a vif needs, in words.
fn lacking(resolved: &Resolved, now: &Snapshot) -> Vec<String> {
    match plan::missing(resolved, now) {
        Ok(steps) => need::in_words(&steps),
        // It has gone meanwhile.
        Err(e) if e.kind() == ErrorKind::LinkNotFound => Vec::new(),
        Err(e) => vec![e.to_string()],
    }
}

/// The wishes of guests, each with its subject, and those of networks.
type InTables = (Vec<(Subject, Resolved)>, Vec<Resolved>);

impl Host {
    /// What a vif that is attached needs, where its link is now; `None` if the link has gone.
    pub(super) fn need_now(&mut self, subject: Subject, entry: &Entry) -> Result<Option<ResolvedVif<Attach>>, Error> {
        let (Some((a, index, _)), Some(made)) = (attached_by(entry), made(subject)) else { return Ok(None) };
        let scope = Scope::none().with(Part::LinkIndex(index)).with(Part::Link(a.name)).with(Part::Link(made));
        let now = self.look(&scope)?;
        match need_of(subject, entry, &now) {
            Some(a) => self.without_superseded(subject, a).map(Some),
            None => Ok(None),
        }
    }

    /// Every vif that is attached by our doing and whose link is there, with what it needs. A listing.
    pub(super) fn attached(&mut self) -> Result<Vec<(Subject, ResolvedVif<Attach>)>, Error> {
        let mut records = self.records.all()?;
        records.retain(|_, entry| attached_by(entry).is_some());
        if records.is_empty() {
            return Ok(Vec::new());
        }
        let now = self.look(&Scope::none().with(Part::Links))?;
        let needed = |(subject, entry): (&Subject, &Entry)| Some((*subject, need_of(*subject, entry, &now)?));
        let there: Vec<(Subject, ResolvedVif<Attach>)> = records.iter().filter_map(needed).collect();
        there.into_iter().map(|(subject, a)| Ok((subject, self.without_superseded(subject, a)?))).collect()
    }

    /// What a vif needs now: the guests of a NAT network are hidden where the network leaves, which may be elsewhere since it was
    /// stopped and started. What hides the vif hides its twin.
    pub(super) fn follow(&self, subject: Subject, mut a: ResolvedVif<Attach>) -> Result<ResolvedVif<Attach>, Error> {
        if let (Subject::Vif(_), Some(network)) = (subject, a.wish.network)
            && let Attachment::Nat { egress, open, .. } = &mut a.wish.attachment
            && let Some(started) = self.records.started(&network)?
        {
            *egress = started.outside.or(*egress);
            *open = started.network.is_open();
        }
        Ok(a)
    }

    /// What is missing of what a vif needs, in words; and what stands in the way of putting it back. Rules of our tables that are
    /// `known` are not read again.
    pub(super) fn vif_lacks(
        &mut self,
        subject: Subject,
        a: &ResolvedVif<Attach>,
        known: &mut Snapshot,
    ) -> Result<Vec<String>, Error> {
        let resolved = Resolved::from(self.follow(subject, a.clone())?);
        let now =
            exec::observe_whole(&resolved, &mut *self.backend, known.clone()).map_err(|e| e.into_observe_error())?;
        let frames: Scope = now.scope.parts().filter(|part| tables::is_of_frame(part)).cloned().collect();
        known.merge(now.seen(&frames));
        Ok(lacking(&resolved, &now))
    }

    /// The same of many vifs, of which some are looked at together: the rules of our tables are many more than what a vif has in them.
    pub(super) fn vifs_lack(
        &mut self,
        vifs: Vec<(Subject, ResolvedVif<Attach>)>,
    ) -> Result<BTreeMap<Subject, Vec<String>>, Error> {
        let mut wishes: Vec<(Subject, Resolved)> = Vec::new();
        for (subject, a) in vifs {
            wishes.push((subject, Resolved::from(self.follow(subject, a)?)));
        }
        let (mut lacks, mut known) = (BTreeMap::new(), Snapshot::default());
        for some in wishes.chunks(TOGETHER) {
            let all: Vec<Resolved> = some.iter().map(|(_, resolved)| resolved.clone()).collect();
            let now = exec::observe_all_whole(&all, &mut *self.backend, known).map_err(|e| e.into_observe_error())?;
            for (subject, resolved) in some {
                lacks.insert(*subject, lacking(resolved, &now));
            }
            let frames: Scope = now.scope.parts().filter(|part| tables::is_of_frame(part)).cloned().collect();
            known = now.seen(&frames);
        }
        Ok(lacks)
    }

    /// What is missing of what a started network needs, in words, without its guests.
    pub(super) fn network_lacks(
        &mut self,
        started: &ResolvedNetwork,
        record: Option<&Entry>,
    ) -> Result<Vec<String>, Error> {
        let network = &started.network;
        let mut missing = Vec::new();
        let again = Resolved::Start(Box::new(self.with_lan(started.once_more())?));
        match self.check_bridge(network, record).and_then(|()| self.plan_whole(&again)) {
            Ok(plan) => missing.extend(need::in_words(plan.steps())),
            Err(e) => missing.push(e.to_string()),
        }
        if self.records.started(&network.name())?.is_none_or(|known| known.network != *network) {
            missing.push("hotplug calls go by another description of it".into());
        }
        if let Some(dir) = self.served_in(network) {
            let served = services::status(dir, &network.name())?;
            let gone = served.iter().filter(|d| d.pid.is_none());
            missing.extend(gone.map(|d| format!("dnsmasq does not run ({})", d.part.name())));
            missing.extend(served.iter().filter_map(|d| d.unheard.clone()));
            if served.is_empty() {
                missing.push("dnsmasq does not run".into());
            }
        }
        Ok(missing)
    }

    /// The guests of a network that are there. A listing.
    pub(super) fn guests_of(&mut self, network: &Network) -> Result<Vec<(Subject, ResolvedVif<Attach>)>, Error> {
        let mut guests = self.attached()?;
        guests.retain(|(_, a)| need::is_guest(&a.wish, network));
        Ok(guests)
    }

    /// The guests that a start of this network puts right: its own, and those of no started network that our tables have lost. After
    /// `nft flush ruleset` nothing else names those. A listing.
    fn mended_by(&mut self, network: &Network) -> Result<Vec<(Subject, ResolvedVif<Attach>)>, Error> {
        let started = self.records.all_started()?;
        let is_own = |a: &Attach| need::is_guest(a, network);
        let is_of_none = |a: &Attach| !started.iter().any(|s| need::is_guest(a, &s.network));
        let mut guests = self.attached()?;
        guests.retain(|(_, a)| is_own(&a.wish) || is_of_none(&a.wish));
        let of_none = guests.iter().filter(|(_, a)| !is_own(&a.wish));
        let of_none: Vec<Resolved> = of_none.map(|(_, a)| a.clone().into()).collect();
        let now = self.look(&need::tables_scope(&of_none))?;
        // Where somebody else has a table of that name, mending says so.
        let is_whole =
            |a: &ResolvedVif<Attach>| need::tables_lack(&[a.clone().into()], &now).is_ok_and(|steps| steps.is_empty());
        guests.retain(|(_, a)| is_own(&a.wish) || !is_whole(a));
        Ok(guests)
    }

    /// What is missing of what the guests of a network need, in words, and of what those of no network have lost in our tables.
    pub(super) fn guests_lack(&mut self, network: &Network) -> Result<Vec<String>, Error> {
        let guests = self.mended_by(network)?;
        let order: Vec<Subject> = guests.iter().map(|(subject, _)| *subject).collect();
        let mut lacks = self.vifs_lack(guests)?;
        let of = |subject: Subject| {
            let lacks = lacks.remove(&subject).unwrap_or_default();
            lacks.into_iter().map(move |what| format!("{subject}: {what}"))
        };
        Ok(order.into_iter().flat_map(of).collect())
    }

    /// The plan of a start, followed by what its attached guests lack.
    pub(super) fn plan_with_guests(&mut self, mut plan: Plan, network: &Network) -> Result<Plan, Error> {
        for (subject, a) in self.mended_by(network)? {
            let resolved = Resolved::from(self.follow(subject, a)?);
            let seen = exec::observe_whole(&resolved, &mut *self.backend, Snapshot::default());
            let seen = seen.map_err(|e| e.into_observe_error())?;
            plan = match need::with(plan.clone(), &resolved, seen) {
                Ok(longer) => longer,
                Err(e) => plan.with_notes([format!("{subject} is left as it is: {e}")]),
            };
        }
        Ok(plan)
    }

    /// Puts back what the guests of a network lack that are there, and those of no network that our tables have lost.
    pub(super) fn mend_guests(&mut self, network: &Network, applied: &mut Applied) -> Result<(), Error> {
        let (guests, name) = (self.mended_by(network)?, network.name());
        self.mend_vifs(guests, |subject, mended| {
            match mended {
                Ok(Recovered::Mended { done }) => {
                    applied.steps += done.len();
                    applied.notes.push(format!("{subject} lacked something that it needs; it is put back"));
                    applied.done.extend(done.into_iter().map(|what| format!("{subject}: {what}")));
                }
                Ok(Recovered::Left { why }) => applied.notes.push(format!("{subject} is left as it is: {why}")),
                Ok(_) => {}
                Err(e) => {
                    return Err(e.incomplete(format!("network {name} is started, and {subject} lacks what it needs")));
                }
            }
            Ok(())
        })
    }

    /// Puts back what these vifs lack, and tells of each that lacked something, until that is an error.
    pub(super) fn mend_vifs(
        &mut self,
        vifs: Vec<(Subject, ResolvedVif<Attach>)>,
        mut tell: impl FnMut(Subject, Result<Recovered, Error>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut known = Snapshot::default();
        for (subject, a) in vifs {
            if self.vif_lacks(subject, &a, &mut known)?.is_empty() {
                continue;
            }
            // What is put back now may be rules.
            known = Snapshot::default();
            if let Some(mended) = self.mend_vif(subject).transpose() {
                tell(subject, mended)?;
            }
        }
        Ok(())
    }

    /// Puts back what a started network lacks, without its guests. `None` where nothing is missing.
    pub(super) fn mend_network(&mut self, started: &Started) -> Result<Option<Recovered>, Error> {
        let name = started.network.name();
        let record = self.records.record(Subject::Network(name))?;
        let Some(there) = record.as_ref().and_then(Entry::started).cloned() else { return Ok(None) };
        let missing = self.network_lacks(&there, record.as_ref())?;
        if missing.is_empty() {
            return Ok(None);
        }
        match self.start_alone(&there.network, false) {
            Ok(applied) if applied.done.is_empty() => Ok(Some(Recovered::Mended { done: missing })),
            Ok(applied) => Ok(Some(Recovered::Mended { done: applied.done })),
            // An administrator has changed it on purpose: it is left alone.
            Err(e) if is_others(&e) => Ok(Some(Recovered::Left { why: e.to_string() })),
            Err(e) => Err(e),
        }
    }

    /// Puts back what an attached vif lacks. `None` where nothing is missing, or the vif is not attached, or not there.
    ///
    /// Nothing is written down where it leads to what the record says.
    pub(super) fn mend_vif(&mut self, subject: Subject) -> Result<Option<Recovered>, Error> {
        let mut session = self.begin(subject)?;
        let result = self.mend_held(&mut session, subject);
        self.keep(session, subject);
        result
    }

    fn mend_held(&mut self, session: &mut Session, subject: Subject) -> Result<Option<Recovered>, Error> {
        let Some(entry) = session.record().cloned() else { return Ok(None) };
        let mut done = Vec::new();
        for tries_left in (0..FRAME_TRIES).rev() {
            let Some(recorded) = self.need_now(subject, &entry)? else { break };
            let a = self.follow(subject, recorded.clone())?;
            let plan = match self.plan_whole(&a.clone().into()) {
                Ok(plan) => plan,
                Err(e) if e.kind() == ErrorKind::LinkNotFound => break,
                Err(e) if is_others(&e) => {
                    if e.kind() == ErrorKind::Conflict {
                        self.close_reserved(&a)?;
                    }
                    return Ok(Some(Recovered::Left { why: e.to_string() }));
                }
                Err(e) => return Err(e),
            };
            if plan.is_empty() {
                break;
            }
            if plan.steps().iter().any(|p| tables::mends_table(&p.step)) {
                let others = self.mend_tables(subject)?;
                if !others.is_empty() {
                    done.extend(others);
                    continue;
                }
            }
            let what = format!("cannot put back what {subject} lacks");
            let applied = if a.wish.attachment == recorded.wish.attachment {
                exec::apply(&plan, &mut *self.backend, &mut exec::Unwritten, Freshness::JustObserved)
                    .map_err(|e| e.into_error(&what))
            } else {
                self.carry_out(session, subject, plan, entry.text.clone(), &what)
            };
            match applied {
                Ok(applied) => {
                    done.extend(applied.done);
                    break;
                }
                Err(e) => {
                    if tries_left == 0 || !is_of_tables(&e) {
                        return Err(e);
                    }
                }
            }
        }
        Ok((!done.is_empty()).then_some(Recovered::Mended { done }))
    }

    /// Adds a note to a plan that makes a table whole: the other vifs in it get back their elements, too.
    pub(super) fn told_of_others(&mut self, plan: Plan, own: Subject) -> Result<Plan, Error> {
        if !plan.steps().iter().any(|p| tables::mends_table(&p.step)) {
            return Ok(plan);
        }
        let others: Vec<String> = self.in_tables(own)?.0.iter().map(|(subject, _)| subject.to_string()).collect();
        let note = format!("missing elements of others in that nft table are put back at once: {}", others.join(", "));
        Ok(plan.with_notes((!others.is_empty()).then_some(note)))
    }

    /// Everything that is in our tables: the guests that are there, but one, and the started networks.
    fn in_tables(&mut self, but: Subject) -> Result<InTables, Error> {
        let mut vifs: Vec<(Subject, Resolved)> =
            self.attached()?.into_iter().map(|(subject, a)| (subject, a.into())).collect();
        vifs.retain(|(subject, resolved)| *subject != but && need::is_in_tables(resolved));
        let networks = self.records.all_started()?;
        let mut networks: Vec<Resolved> = networks.iter().map(|s| Resolved::Start(Box::new(s.resolved()))).collect();
        networks.retain(need::is_in_tables);
        Ok((vifs, networks))
    }

    /// Makes our tables whole again, with the elements of all guests that are there, in one transaction for each table. Returns what was
    /// done, in words. If only `own` has elements, nothing is done: its own operation adds them.
    ///
    /// It takes no locks. Of several calls at once, each does what is left to do. A guest that leaves meanwhile is removed again.
    pub(super) fn mend_tables(&mut self, own: Subject) -> Result<Vec<String>, Error> {
        let mut done = Vec::new();
        for tries_left in (0..FRAME_TRIES).rev() {
            let (vifs, networks) = self.in_tables(own)?;
            let all: Vec<Resolved> = vifs.iter().map(|(_, resolved)| resolved).chain(&networks).cloned().collect();
            if all.is_empty() {
                break;
            }
            let steps = self.tables_lack(&all)?;
            let refused = match self.apply_all(&steps, &mut done) {
                None => None,
                // An element of one may be in the way of another's: then everybody else has his.
                Some(_) if tries_left == 0 => {
                    let mut refused = None;
                    for resolved in &all {
                        let steps = self.tables_lack(std::slice::from_ref(resolved))?;
                        refused = self.apply_all(&steps, &mut done).or(refused);
                    }
                    refused
                }
                Some(_) => continue,
            };
            let gone: Vec<Subject> = vifs.iter().map(|(subject, _)| *subject).collect();
            self.forget_gone(&gone, &vifs, own)?;
            return match refused {
                None => Ok(done),
                Some((e, step)) => Err(exec::refused(&e, "cannot put back what an nft table had of others", &step)),
            };
        }
        Ok(done)
    }

    /// The steps that our tables lack of all these. The kernel lists rules bit by bit: what is missing must be seen twice.
    fn tables_lack(&mut self, all: &[Resolved]) -> Result<Vec<Step>, Error> {
        let scope = need::tables_scope(all);
        let mut steps = need::tables_lack(all, &self.look(&scope)?)?;
        for _ in 0..FRAME_TRIES {
            if !steps.iter().any(tables::mends_table) {
                break;
            }
            let again = need::tables_lack(all, &self.look(&scope)?)?;
            if again == steps {
                break;
            }
            steps = again;
        }
        Ok(steps)
    }

    /// Carries out steps until one is refused.
    fn apply_all(&mut self, steps: &[Step], done: &mut Vec<String>) -> Option<(BackendError, Step)> {
        for step in steps {
            match self.backend.apply(step) {
                Ok(()) => done.push(step.to_string()),
                Err(e) => return Some((e, step.clone())),
            }
        }
        None
    }

    /// Removes from our tables the guests that were put back and have left meanwhile.
    fn forget_gone(&mut self, subjects: &[Subject], were: &[(Subject, Resolved)], own: Subject) -> Result<(), Error> {
        if let Records::Dir(dir) = &self.records {
            // A call that removes a guest may have looked before its elements were put back.
            let mut waited = Duration::ZERO;
            while waited < UNDER_WAY.min(self.budget.left())
                && dir.interrupted()?.iter().any(|s| *s != own && subjects.contains(s))
            {
                std::thread::sleep(PAUSE);
                waited += PAUSE;
            }
        }
        let (vifs, networks) = self.in_tables(own)?;
        let there: BTreeSet<Subject> = gather::set(vifs.iter().map(|(subject, _)| *subject));
        let gone = were.iter().filter(|(subject, _)| !there.contains(subject));
        let gone: Vec<Resolved> = gone.map(|(_, resolved)| resolved.clone()).collect();
        if gone.is_empty() {
            return Ok(());
        }
        let stay: Vec<Resolved> = vifs.into_iter().map(|(_, resolved)| resolved).chain(networks).collect();
        let now = self.look(&need::tables_scope(&gone))?;
        for step in need::tables_left(&gone, &stay, &now) {
            match self.backend.apply(&step) {
                Err(e) if e.errno != Errno::ENOENT => {
                    return Err(exec::refused(&e, "cannot take a vif that has gone out of an nft table", &step));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// The guard cannot be put back: no port of a guarded vif passes on reserved addresses any more.
    pub(super) fn close_all_reserved(&mut self) -> Result<(), Error> {
        for (_, a) in self.attached()? {
            self.close_reserved(&a)?;
        }
        Ok(())
    }

    fn close_reserved(&mut self, a: &ResolvedVif<Attach>) -> Result<(), Error> {
        if a.wish.guard.is_none() {
            return Ok(());
        }
        let now = self.look(&Scope::none().with(Part::Link(a.found.device)))?;
        let Some(step) = need::closes_reserved(a, &now) else { return Ok(()) };
        self.backend
            .apply(&step)
            .map_err(|e| exec::refused(&e, &format!("cannot close {} to reserved addresses", a.found.device), &step))
    }

    /// Whether something is missing of what a network has for its guests, which no call for a guest touches.
    pub(super) fn guests_are_exposed(&mut self, started: &Started) -> Result<bool, Error> {
        let (resolved, mut seen) = (started.resolved(), Snapshot::default());
        while let Some(scope) = need::guests_scope(&resolved, &seen) {
            seen.merge(self.look(&scope)?);
        }
        need::guests_lack(&resolved, &seen)
    }
}

/// Whether it is somebody else's doing that stands in the way, and nothing to be put right by force.
pub(super) fn is_others(e: &Error) -> bool {
    use ErrorKind::{BridgeNotFound, Conflict, Invalid, NameTaken, NotABridge, PortOfOther, Unsupported, WouldCutOff};
    matches!(
        e.kind(),
        BridgeNotFound | Conflict | Invalid | NameTaken | NotABridge | PortOfOther | Unsupported | WouldCutOff
    )
}
