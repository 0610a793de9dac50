//! Detaching: by what is remembered, and where nothing can be.

use std::net::IpAddr;

use super::attach::{FRAME_TRIES, Present};
use super::gone::{own_links, taken_by};
use super::guests::network_of;
use super::records::Session;
use super::stations::{Connections, Known, has_places};
use super::{Host, mend};
use crate::error::{Error, ErrorKind};
use crate::exec::{self, Applied, Entry, Journal as _, Subject};
use crate::model::{Attachment, Detach, DevId, DomId, FoundVif, IfName, Request, Resolved, ResolvedVif, TypeIf, VifId};
use crate::plan::{Goal, Plan, ROUTE_PROTOCOL};
use crate::snapshot::{NftKey, NftSet, NftTableId, NftValue, Part, Scope};
use crate::step::{NftOp, NftTransaction, Step};
use crate::tables;

/// Elements of a table: sets, with keys of each.
pub(super) type Elements = Vec<(String, Vec<NftKey>)>;

impl Host {
    /// What detaching this vif would do. Changes nothing.
    ///
    /// # Errors
    /// As [`plan`](crate::plan::plan).
    pub fn plan_detach(&mut self, domid: DomId, devid: DevId) -> Result<Plan, Error> {
        let id = VifId::new(domid, devid);
        let record = self.records.record(Subject::Vif(id))?;
        let resolved = self.resolve_detach(id, TypeIf::Vif, record.as_ref())?;
        Ok(self.plan(&resolved)?.asked(Request::Detach { domid, devid }))
    }

    /// Detaches a vif: a port of nothing, down, without addresses and routes, unknown to the guard and the gate. A vif that is gone
    /// already is a success; what these had of it goes all the same.
    ///
    /// # Errors
    /// As [`attach`](Self::attach).
    #[doc(alias("offline", "delif"))]
    pub fn detach(&mut self, domid: DomId, devid: DevId) -> Result<Applied, Error> {
        self.detach_link(VifId::new(domid, devid), TypeIf::Vif)
    }

    /// Detaches the emulated twin of a vif.
    ///
    /// # Errors
    /// As [`attach_tap`](Self::attach_tap).
    pub fn detach_tap(&mut self, domid: DomId, devid: DevId) -> Result<Applied, Error> {
        self.detach_link(VifId::new(domid, devid), TypeIf::Tap)
    }

    /// Detaches one of the two links of a vif.
    pub(crate) fn detach_link(&mut self, id: VifId, type_if: TypeIf) -> Result<Applied, Error> {
        let subject = Subject::of(id, type_if);
        let mut session = self.begin_detach(subject)?;
        let network = session.record().and_then(network_of).filter(|_| type_if == TypeIf::Vif);
        let taken = taken_by(session.record());
        let mut tries = FRAME_TRIES;
        let result = loop {
            match self.detach_held(&mut session, id, type_if) {
                // Netback has taken it away meanwhile, and what else there was of it goes all the same. Or another call has put back
                // what our tables had of it, since its record said that it was attached.
                Err(e) if tries > 0 && (e.kind() == ErrorKind::LinkNotFound || mend::is_of_tables(&e)) => {
                    tries -= 1;
                    if let Session::Held(held) = &mut session {
                        self.recover_held(held, subject)?;
                    }
                }
                result => break result,
            }
        };
        let result = match (result, network) {
            (Ok(done), Some(network)) => self.forget_guest(&network, id).map(|()| done),
            (result, _) => result,
        };
        let mut applied = match result {
            Ok((applied, true)) => {
                // What is remembered of it has no use any more.
                self.forget(session, subject)?;
                applied
            }
            result => {
                self.keep(session, subject);
                result?.0
            }
        };
        applied.notes.extend(self.give_back(&taken));
        Ok(applied)
    }

    /// Detaches a vif, or its emulated twin, where nothing can be written down: the state directory is full, or cannot be used
    /// at all. When a domain ends its vif has to go all the same.
    ///
    /// What is remembered of the vif is used as far as it can be read. If it cannot, only the link under the name that it was
    /// made with is looked for, which can be no other vif's.
    ///
    /// # Errors
    /// As [`detach`](Self::detach), without those of the state directory.
    pub fn detach_unwritten(&mut self, domid: DomId, devid: DevId, type_if: TypeIf) -> Result<Applied, Error> {
        let id = VifId::new(domid, devid);
        let subject = Subject::of(id, type_if);
        self.release();
        let known = self.records.known(subject);
        let mut session = Session::Memory(known.as_ref().ok().cloned().flatten().map(Box::new));
        let mut applied = match self.detach_held(&mut session, id, type_if) {
            // Gone meanwhile.
            Err(e) if e.kind() == ErrorKind::LinkNotFound => self.detach_held(&mut session, id, type_if)?.0,
            result => result?.0,
        };
        if known.is_err() {
            let made = id.link_name(type_if).map_err(Error::unchanged)?;
            applied.notes.push(format!("what is remembered of {subject} cannot be read: only {made} was looked for"));
            self.forget_in_tables(&made, type_if == TypeIf::Vif, &mut applied)?;
        }
        Ok(applied)
    }

    /// Takes away what our tables have of a link, whatever it is. A listing.
    pub(super) fn forget_in_tables(&mut self, link: &IfName, hides: bool, applied: &mut Applied) -> Result<(), Error> {
        for (table, found) in self.elements_of(link, hides)? {
            let ops = found.into_iter().map(|(set, keys)| NftOp::DelElements { set, keys }).collect();
            let step = Step::Nft(NftTransaction::new(table.clone(), ops));
            self.backend.apply(&step).map_err(|e| {
                exec::refused(&e, &format!("cannot take {link} out of the nft table {table}"), &step)
                    .incomplete("the link is detached")
            })?;
            applied.steps += 1;
            applied.done.push(step.to_string());
            applied.closes_slowly = true;
        }
        Ok(())
    }

    /// What our tables have of a link, whatever it is: of each table that has something the sets and keys. A listing.
    pub(super) fn elements_of(&mut self, link: &IfName, hides: bool) -> Result<Vec<(NftTableId, Elements)>, Error> {
        let name = NftValue::Name(*link);
        let mut all_found = Vec::new();
        for table in tables::all().map(|table| (table.id)()) {
            let seen = self.look(&Scope::none().with(Part::Nft(table.clone())))?;
            let sets: Vec<(&String, &NftSet)> =
                seen.nft.get(&table).into_iter().flat_map(|table| &table.sets).collect();
            let of_link = |key: &&NftKey| key.first.first() == Some(&name);
            let all = sets.iter().flat_map(|(_, set)| set.elements.keys());
            // What hides a guest is known by the egress and the guest's addresses, which are those that it may send from.
            let addresses: Vec<(&[NftValue], Option<&[NftValue]>)> =
                all.filter(of_link).filter_map(behind_link).collect();
            let hidden = |key: &NftKey| behind_link(key).is_some_and(|rest| addresses.contains(&rest));
            let goes = |set: &str, key: &&NftKey| of_link(key) || (hides && tables::gate::hides(set) && hidden(key));
            let keys = |set: &str, s: &NftSet| s.elements.keys().filter(|key| goes(set, key)).cloned().collect();
            let found = sets.iter().map(|(set, s)| ((*set).clone(), keys(set, s)));
            let mut found: Elements = found.filter(|(_, keys): &(String, Vec<NftKey>)| !keys.is_empty()).collect();
            // Of an address that another guest has by now it is that one's.
            for (set, keys) in &mut found {
                if tables::gate::hides(set) {
                    let all = std::mem::take(keys);
                    for key in all {
                        if !self.is_led_elsewhere(&key, link)? {
                            keys.push(key);
                        }
                    }
                }
            }
            found.retain(|(_, keys)| !keys.is_empty());
            if !found.is_empty() {
                all_found.push((table, found));
            }
        }
        Ok(all_found)
    }

    /// Whether a route of ours leads the address of an element to another link than this one.
    fn is_led_elsewhere(&mut self, key: &NftKey, link: &IfName) -> Result<bool, Error> {
        let address: IpAddr = match behind_link(key).and_then(|(rest, _)| rest.first()) {
            Some(NftValue::Ipv4(address)) => (*address).into(),
            Some(NftValue::Ipv6(address)) => (*address).into(),
            _ => return Ok(false),
        };
        let seen = self.look(&Scope::none().with(Part::Way(address)))?;
        Ok(seen.routes.iter().any(|r| r.protocol == ROUTE_PROTOCOL && r.link != Some(*link)))
    }

    /// What is left to detach of a vif that this record is about.
    pub(super) fn plan_detach_of(&mut self, id: VifId, type_if: TypeIf, record: &Entry) -> Result<Plan, Error> {
        let resolved = self.resolve_detach(id, type_if, Some(record))?;
        self.plan(&resolved)
    }

    fn resolve_detach(&mut self, id: VifId, type_if: TypeIf, record: Option<&Entry>) -> Result<Resolved, Error> {
        let Present { name, mut recorded } = self.present_device(id, type_if, record)?;
        // Also where the link has gone: a bridge may have learned of the guest, and a call may be killed before that is forgotten.
        recorded.bridge = recorded.bridge.or_else(|| record.and_then(bridge_of));
        Ok(Resolved::Detach(ResolvedVif { wish: Detach { id }, found: FoundVif::named(name), recorded }))
    }

    /// Detaches; and whether there was no link.
    fn detach_held(&mut self, session: &mut Session, id: VifId, type_if: TypeIf) -> Result<(Applied, bool), Error> {
        let subject = Subject::of(id, type_if);
        // The vif's connections stay with the vif when its twin goes.
        let of_vif = session.record().filter(|_| has_places(type_if));
        let known = of_vif.and_then(Known::recorded);
        let recorded = match session.record().map(|entry| &entry.goal) {
            Some(Goal::Resolved(Resolved::Attach(a))) => Some(a.wish.clone()),
            _ => None,
        };
        let link = recorded.as_ref().map(|a| a.name);
        let attached = recorded.filter(|_| has_places(type_if));
        let resolved = self.resolve_detach(id, type_if, session.record())?;
        let plan = self.plan(&resolved)?;
        self.check_shown(&plan)?;
        let gone = plan.before().links.is_empty();
        let is_attached = session.record().is_some_and(|r| r.owned_link().is_some());
        let mut applied = if plan.is_empty() && (gone || !is_attached) {
            Applied::nothing(plan)
        } else {
            // Even an empty plan is written down: somebody else has detached the vif, and this is the name under which it is found
            // again.
            self.carry_out(session, subject, plan, None, &format!("cannot detach {subject}"))?
        };
        if let Some(link) = link {
            applied.notes.extend(self.forget_counted(subject, link));
        }
        let mut connections = Connections::Remain;
        if let Some(a) = attached {
            connections = Connections::AreForgotten;
            let guest = a.attachment.guest();
            let elsewhere = self.led_elsewhere(guest, &own_links(id, type_if, &[a.name]))?;
            applied.notes.extend(self.forget_connections(guest, &elsewhere));
            applied.notes.extend(self.forget_on_bridge(&a));
        }
        if let Some(known) = known {
            applied.notes.extend(self.leave_places(subject, &known, None, connections));
        }
        Ok((applied, gone))
    }

    /// As [`begin`](Self::begin), to take something away. Where the way back is barred (the bridge that the vif was on is no
    /// more), the way on is not: what shall be attached to nothing needs no earlier state.
    fn begin_detach(&mut self, subject: Subject) -> Result<Session, Error> {
        let mut session = self.hold(subject)?;
        if let Session::Held(held) = &mut session
            && let Err(e) = self.recover_held(held, subject)
        {
            if e.kind() != ErrorKind::Interrupted {
                return Err(e);
            }
            // The one of the two that knows the present name and what the guard may have.
            match held.interrupted().map(|entry| &entry.goal) {
                Some(Goal::Resolved(Resolved::Attach(_))) => held.journal(None).commit()?,
                _ => held.journal(None).abandon()?,
            }
        }
        Ok(session)
    }
}

/// The bridge of a vif that a record is about.
fn bridge_of(record: &Entry) -> Option<IfName> {
    match &record.goal {
        Goal::Resolved(Resolved::Attach(a)) => match a.wish.attachment {
            Attachment::Bridge { bridge, .. } => Some(bridge),
            _ => None,
        },
        Goal::Resolved(Resolved::Detach(d)) => d.recorded.bridge,
        _ => None,
    }
}

/// What stands behind the link in a key that begins with one.
pub(super) fn behind_link(key: &NftKey) -> Option<(&[NftValue], Option<&[NftValue]>)> {
    let (NftValue::Name(_), rest) = key.first.split_first()? else { return None };
    let last = match &key.last {
        Some(last) => Some(last.split_first()?.1),
        None => None,
    };
    (!rest.is_empty()).then_some((rest, last))
}
