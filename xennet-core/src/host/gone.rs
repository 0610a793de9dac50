//! What is left of guests that have gone: those whose domain ended without a call, those whose record was lost, and those whose
//! address another guest has by now.

use ipnetwork::IpNetwork;

use super::recover::{Outcomes, Recovered};
use super::{Host, joined};
use crate::backend::BackendError;
use crate::error::{Errno, Error};
use crate::exec::{self, Entry, Subject};
use crate::gather;
use crate::model::{Attach, Attachment, Behind, IfName, NetworkMode, Resolved, ResolvedVif, TypeIf, VifId};
use crate::plan::{self, Goal, Plan};
use crate::snapshot::{Part, Route, Scope, Snapshot};
use crate::step::{ForgetStep, Step};

/// The elements in our tables that an earlier guest left on a link, and of which there is no record.
pub(super) struct Leftover {
    link: IfName,
    elements: Scope,
}

impl Host {
    /// Clears away what is left of vifs whose links have gone without a call: libxl gives up after 10 s, and an agent that is
    /// started anew may miss the end of a domain. A listing.
    pub(super) fn clear_gone(&mut self) -> Result<Outcomes, Error> {
        let (mut done, mut first_error) = (Vec::new(), None);
        for subject in self.gone()? {
            let Some((id, type_if)) = subject.vif() else { continue };
            match self.detach_link(id, type_if) {
                Ok(applied) => done.push((subject, Recovered::Cleared { steps: applied.steps })),
                Err(e) => {
                    first_error.get_or_insert(e);
                }
            }
        }
        if let Err(e) = self.empty_places().and_then(|()| self.clear_lost_elements()) {
            first_error.get_or_insert(e);
        }
        Ok((done, first_error))
    }

    /// Whether the link of a vif has gone without a call.
    pub(super) fn is_gone(&mut self, subject: Subject, record: &Entry) -> Result<bool, Error> {
        let Some((id, type_if)) = subject.vif() else { return Ok(false) };
        let made = id.link_name(type_if).map_err(Error::unchanged)?;
        let mut scope = Scope::none().with(Part::Link(made));
        scope.extend(record.link().map(|(index, _)| Part::LinkIndex(index)));
        let seen = self.look(&scope)?;
        Ok(has_gone(record, &seen) && !seen.links.contains_key(&made))
    }

    /// The vifs whose links have gone without a call. A listing.
    pub(super) fn gone(&mut self) -> Result<Vec<Subject>, Error> {
        let records = self.records.all()?;
        if records.is_empty() {
            return Ok(Vec::new());
        }
        let there = self.look(&Scope::none().with(Part::Links))?;
        let as_made =
            |(id, type_if): (VifId, TypeIf)| id.link_name(type_if).is_ok_and(|made| there.links.contains_key(&made));
        let gone = |subject: &Subject, entry: &Entry| {
            subject.vif().is_some_and(|vif| has_gone(entry, &there) && !as_made(vif))
        };
        Ok(records.into_iter().filter(|(subject, entry)| gone(subject, entry)).map(|(subject, _)| subject).collect())
    }

    /// What our tables have under the names of a vif by another guest's doing: the state was lost, or a guest with a name of its own choice
    /// ended without a call, and the new one would inherit what that one might send. Under a name that the vif has by its record there is
    /// what the record says.
    ///
    /// This asks for one element a table. Only where one is there the tables are listed.
    pub(super) fn left_by_earlier(
        &mut self,
        id: VifId,
        type_if: TypeIf,
        name: Option<IfName>,
        record: Option<&Entry>,
    ) -> Result<Vec<Leftover>, Error> {
        self.opened.check()?;
        let made = id.link_name(type_if).map_err(Error::unchanged)?;
        let own = match record.and_then(Entry::link) {
            Some((index, _)) => {
                let seen = self.look(&Scope::none().with(Part::LinkIndex(index)))?;
                seen.link_by_index(index).map(|(name, _)| *name)
            }
            None => None,
        };
        let is_attached = record.is_some_and(|record| record.owned_link().is_some());
        let mut left = Vec::new();
        for link in [Some(made), name.filter(|name| *name != made)].into_iter().flatten() {
            if is_attached && own == Some(link) {
                continue;
            }
            let seen = match self.backend.observe(&plan::membership(&link)) {
                Ok(seen) => seen,
                // A kernel without nftables has nothing of anybody.
                Err(e) if has_no_tables(&e) => return Ok(left),
                Err(e) => return Err(e.into_observe_error()),
            };
            if seen.nft.values().all(|table| table.sets.values().all(|set| set.elements.is_empty())) {
                continue;
            }
            // Under a name of its own choice another vif may be there, whose elements they are; also under the one that this link was made
            // with, once it is called otherwise.
            let may_be_others = own != Some(link) && (own.is_some() || link != made);
            if may_be_others && self.look(&Scope::none().with(Part::Link(link)))?.links.contains_key(&link) {
                continue;
            }
            let mut elements = Scope::none();
            for (table, found) in self.elements_of(&link, type_if == TypeIf::Vif)? {
                let keys =
                    found.into_iter().flat_map(|(set, keys)| keys.into_iter().map(move |key| (set.clone(), key)));
                elements.extend(keys.map(|(set, key)| Part::NftElement(table.clone(), set.into(), key)));
            }
            left.push(Leftover { link, elements });
        }
        Ok(left)
    }

    /// The plan for a vif, by a look at all rules of our tables, that takes out of them first what is left of earlier guests. It says so.
    pub(super) fn plan_instead(&mut self, resolved: &Resolved, left: &[Leftover]) -> Result<Plan, Error> {
        self.opened.check()?;
        let elements = left.iter().fold(Scope::none(), |all, of| all.union(of.elements.clone()));
        let seen = self.look(&elements)?;
        let mut now = exec::observe_whole(resolved, &mut *self.backend, Snapshot::default())
            .map_err(BackendError::into_observe_error)?;
        now.merge(seen);
        let plan = self.plan_from(resolved, now, &elements)?;
        // Where it is the same guest, all of it may stay.
        let goes = |of: &&Leftover| plan.before().seen(&of.elements).nft != plan.after().seen(&of.elements).nft;
        let note =
            |of: &Leftover| format!("what an earlier guest of {} was allowed is removed: its record was lost", of.link);
        let notes: Vec<String> = left.iter().filter(goes).map(note).collect();
        Ok(plan.with_notes(notes))
    }

    /// Which of these addresses a route of ours leads to another link, with that link. One question an address; `own` are the
    /// names of the vif's own links.
    pub(super) fn led_elsewhere(&mut self, guest: &[IpNetwork], own: &[IfName]) -> Result<Vec<Route>, Error> {
        let scope: Scope = guest.iter().map(|n| Part::Way(n.network())).collect();
        if scope == Scope::none() {
            return Ok(Vec::new());
        }
        let seen = self.look(&scope)?;
        let is_guest = |r: &Route| {
            guest.iter().any(|n| (n.network(), n.prefix()) == (r.destination.network(), r.destination.prefix()))
        };
        let elsewhere = |r: &Route| r.protocol == plan::ROUTE_PROTOCOL && r.link.is_some_and(|l| !own.contains(&l));
        Ok(seen.routes.into_iter().filter(|r| is_guest(r) && elsewhere(r)).collect())
    }

    /// How a vif was connected by routes, without the addresses that another guest has taken over.
    pub(super) fn still_behind(
        &mut self,
        mut behind: Behind,
        id: VifId,
        type_if: TypeIf,
        present: IfName,
    ) -> Result<Behind, Error> {
        let shares = match &behind.attachment {
            Attachment::Nat { egress, .. } => egress.is_some(),
            Attachment::Routed { answer_ndp, .. } => answer_ndp.is_some(),
            Attachment::Bridge { .. } => false,
        };
        if shares {
            let own = own_links(id, type_if, &[behind.link, present]);
            let elsewhere = self.led_elsewhere(behind.attachment.guest(), &own)?;
            behind.others = elsewhere.into_iter().map(|r| r.destination).collect();
        }
        Ok(behind)
    }

    /// What an attached vif needs, without routes to addresses that a newer guest has taken over.
    pub(super) fn without_superseded(
        &mut self,
        subject: Subject,
        mut a: ResolvedVif<Attach>,
    ) -> Result<ResolvedVif<Attach>, Error> {
        a.found.superseded = self.superseding(subject, &a)?.into_iter().map(|r| r.destination).collect();
        Ok(a)
    }

    /// The routes by which a newer guest has addresses of an attached vif's.
    pub(super) fn superseding(&mut self, subject: Subject, a: &ResolvedVif<Attach>) -> Result<Vec<Route>, Error> {
        let Some((id, type_if)) = subject.vif() else { return Ok(Vec::new()) };
        let own = own_links(id, type_if, &[a.found.device, a.wish.name]);
        let mut elsewhere = self.led_elsewhere(a.wish.attachment.guest(), &own)?;
        elsewhere.retain(|r| Some(r.metric) == metric(&a.wish.attachment));
        Ok(elsewhere)
    }

    /// Gives addresses that a guest had taken over, and has no more, to the newest of the guests that are there and have them, too.
    /// Says what was done. A failure is a note: `recover` does the same. Where somebody had taken addresses over, this lists the
    /// attached vifs; the lock of another vif is taken, so none may be held.
    pub(super) fn give_back(&mut self, taken: &[IpNetwork]) -> Vec<String> {
        if taken.is_empty() {
            return Vec::new();
        }
        let mut there = match self.attached() {
            Ok(there) => there,
            Err(e) => return vec![format!("whether another guest has {} as well is not known: {e}", joined(taken))],
        };
        let has = |n: &IpNetwork| taken.iter().any(|t| (t.network(), t.prefix()) == (n.network(), n.prefix()));
        there.retain(|(_, a)| a.wish.attachment.guest().iter().any(has));
        let mut notes = Vec::new();
        for (subject, _) in there.into_iter().rev() {
            match self.mend_vif(subject) {
                Ok(Some(Recovered::Mended { done })) => {
                    notes.push(format!("{subject} has addresses again that this one had: {}", done.join("; ")));
                }
                Ok(Some(Recovered::Left { why })) => notes.push(format!("{subject} is left as it is: {why}")),
                Ok(_) => {}
                Err(e) => notes.push(format!("{subject} may lack addresses that this one had: {e}")),
            }
        }
        notes
    }

    /// Forgets the tracked connections of a guest's addresses, except those that are routed `elsewhere`: another guest has them. A failure
    /// is a note, not an error.
    pub(super) fn forget_connections(&mut self, guest: &[IpNetwork], elsewhere: &[Route]) -> Option<String> {
        let is_elsewhere = |n: &&IpNetwork| elsewhere.iter().any(|r| r.destination.contains(n.ip()));
        let addresses: Vec<IpNetwork> = guest.iter().filter(|n| !is_elsewhere(n)).copied().collect();
        if addresses.is_empty() {
            return None;
        }
        let what = joined(&addresses);
        let forgotten = self.backend.apply(&Step::Forget(ForgetStep::Connections { addresses }));
        forgotten.err().map(|e| format!("tracked connections of {what} may remain: {e}"))
    }

    /// As [`forget_connections`](Self::forget_connections), of a guest on the private bridge of a NAT network; nothing of any other guest.
    pub(super) fn forget_on_bridge(&mut self, a: &Attach) -> Option<String> {
        match self.tracked_on_bridge(a) {
            Ok(guest) => self.forget_connections(&guest, &[]),
            Err(e) => Some(format!("tracked connections of the guest may remain: {e}")),
        }
    }

    /// The addresses of a guest on the private bridge of a NAT network, whose connections are tracked. An address that another
    /// attached guest on that bridge has, too, is that one's, as in a migration: for a guest of such a network this lists the attached
    /// vifs.
    fn tracked_on_bridge(&mut self, a: &Attach) -> Result<Vec<IpNetwork>, Error> {
        let (Attachment::Bridge { bridge, .. }, Some(network), Some(guard)) = (&a.attachment, a.network, &a.guard)
        else {
            return Ok(Vec::new());
        };
        // A network that was stopped meanwhile may have hidden it.
        let started = self.records.started(&network)?;
        if started.is_some_and(|s| !matches!(s.network.mode(), NetworkMode::Nat(_))) {
            return Ok(Vec::new());
        }
        let mut own: Vec<IpNetwork> = guard.addresses.iter().flatten().copied().collect();
        if own.is_empty() {
            return Ok(own);
        }
        for (_, other) in self.attached()? {
            let shares = matches!(other.wish.attachment, Attachment::Bridge { bridge: b, .. } if b == *bridge);
            if let Some(guard) = other.wish.guard.filter(|_| shares && other.wish.id != a.id) {
                let shares = |n: &IpNetwork| {
                    let overlap = |theirs: &IpNetwork| theirs.contains(n.network()) || n.contains(theirs.network());
                    guard.addresses.iter().flatten().any(overlap)
                };
                own.retain(|n| !shares(n));
            }
        }
        Ok(own)
    }

    /// The routes of ours to this guest's addresses that lead to another link, as far as they have the place that the vif's own
    /// shall have. A listing of the routes.
    pub(super) fn in_its_place(&mut self, resolved: &Resolved) -> Result<Vec<Route>, Error> {
        let Resolved::Attach(a) = resolved else { return Ok(Vec::new()) };
        let scope: Scope = a.wish.attachment.guest().iter().map(|n| Part::Route(*n)).collect();
        let seen = self.look(&scope)?;
        let elsewhere = |r: &Route| r.link.is_some_and(|l| ![a.found.device, a.wish.name].contains(&l));
        let is_ours = |r: &Route| r.protocol == plan::ROUTE_PROTOCOL && Some(r.metric) == metric(&a.wish.attachment);
        Ok(seen.routes.into_iter().filter(|r| is_ours(r) && elsewhere(r)).collect())
    }
}

/// The addresses that the guest which a record is about has taken over from another one.
pub(super) fn taken_by(record: Option<&Entry>) -> Vec<IpNetwork> {
    match record.map(|entry| &entry.goal) {
        Some(Goal::Resolved(Resolved::Attach(a))) => a.found.takes_over.clone(),
        _ => Vec::new(),
    }
}

/// The metric of a guest's routes.
pub(super) fn metric(attachment: &Attachment) -> Option<u32> {
    match attachment {
        Attachment::Nat { metric, .. } | Attachment::Routed { metric, .. } => Some(*metric),
        Attachment::Bridge { .. } => None,
    }
}

/// The names that a vif's own links may have. Of an emulated twin the vif's is another's: what they share stays with the vif.
pub(super) fn own_links(id: VifId, type_if: TypeIf, names: &[IfName]) -> Vec<IfName> {
    let mut own = names.to_vec();
    own.extend(id.link_name(type_if));
    if type_if == TypeIf::Vif {
        let twins: Vec<IfName> = own.iter().filter_map(|name| name.tap().ok()).collect();
        own.extend(twins);
    }
    own
}

/// The note about addresses that were routed to another guest until now.
pub(super) fn taken_over(routes: &[Route]) -> Option<String> {
    let told = |r: &Route| format!("{} from {}", r.destination, r.link.map_or("elsewhere".into(), |l| l.to_string()));
    let all: Vec<String> = gather::set(routes.iter().map(told)).into_iter().collect();
    (!all.is_empty()).then(|| format!("takes over addresses that led to another guest until now: {}", joined(&all)))
}

/// Whether the link that a record is about is no more. A detach that was killed after it had found no link has left its record.
fn has_gone(entry: &Entry, there: &Snapshot) -> bool {
    match entry.link() {
        Some((index, _)) => there.link_by_index(index).is_none(),
        None => matches!(entry.goal, Goal::Resolved(Resolved::Detach(_))),
    }
}

pub(super) fn has_no_tables(e: &BackendError) -> bool {
    [Errno::EOPNOTSUPP, Errno::EAFNOSUPPORT, Errno::EPROTONOSUPPORT].contains(&e.errno)
}
