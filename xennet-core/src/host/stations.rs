//! What is left of the guest that had a guest's MAC or addresses before: tracked connections, neighbours, and behind which port bridges
//! believe it to be. And whether that guest is there still.
//!
//! Nothing is listed. The state directory has a place for each MAC on a bridge, and for each address whose connections are tracked, with
//! the vif that has it: the next vif looks up its own places. Only where the one before has gone and has not left its place the kernel is
//! asked to forget; to do so always would make it walk its whole connection table, which costs ten times as much as the rest of the
//! call.

use std::collections::BTreeSet;

use ipnetwork::IpNetwork;

use super::detach::behind_link;
use super::gone::{has_no_tables, own_links};
use super::records::Records;
use super::{Host, joined};
use crate::backend::BackendError;
use crate::error::{Errno, Error, ErrorKind};
use crate::exec::{self, Entry, Subject};
use crate::gather;
use crate::model::vif::is_single;
use crate::model::{Attach, Attachment, IfName, MacAddr, NetworkMode, Resolved, Started, TypeIf, VifSpec};
use crate::plan::{self, Goal};
use crate::snapshot::{NftKey, NftValue, Part, Scope};
use crate::step::{ForgetStep, NeighStep, NftOp, NftTransaction, Step};
use crate::tables;

/// What a guest has that only one can have.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    /// A MAC on a bridge.
    Mac(IfName, MacAddr),
    /// Addresses whose connections are tracked.
    Addresses(IpNetwork),
    /// A link's name of the guest's own choice. Where another vif has taken it, what our tables have under it is that one's.
    Name(IfName),
}

impl Place {
    /// Its file's name. A link's name has no slash, and the last comma is not part of it.
    fn name(&self) -> String {
        match self {
            Place::Mac(bridge, mac) => format!("{bridge},{mac}"),
            Place::Name(link) => format!("{link},"),
            Place::Addresses(n) if is_single(n) => n.ip().to_string(),
            Place::Addresses(n) => format!("{}_{}", n.network(), n.prefix()),
        }
    }

    /// The addresses of a file's name.
    fn addresses(name: &str) -> Option<IpNetwork> {
        match name.split_once('_') {
            Some((network, prefix)) => IpNetwork::new(network.parse().ok()?, prefix.parse().ok()?).ok(),
            None => name.parse::<std::net::IpAddr>().ok().map(IpNetwork::from),
        }
    }
}

/// A guest as far as the kernel learns of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Known {
    bridge: Option<IfName>,
    mac: Option<MacAddr>,
    /// Its further MACs. What was learned of them is forgotten as well; who had one of them before is not looked for.
    further: Vec<MacAddr>,
    addresses: Vec<IpNetwork>,
    vlans: Vec<crate::model::Vid>,
    /// Where it is of the guest's own choice.
    name: Option<IfName>,
}

impl Known {
    /// Of a guest that is to be attached, or was.
    pub(super) fn of(a: &Attach, mac: Option<MacAddr>) -> Self {
        let name = Some(a.name).filter(|name| *name != a.id.vif_name());
        let declared = || a.guard.iter().flat_map(|g| g.addresses.iter().flatten()).copied();
        match &a.attachment {
            Attachment::Bridge { bridge, vlan, .. } => Known {
                bridge: Some(*bridge),
                mac: mac.or(a.guard.as_ref().map(|g| g.mac)),
                further: a.guard.iter().flat_map(|g| g.further_macs.iter().copied()).collect(),
                addresses: declared().collect(),
                vlans: vlan.iter().flat_map(|v| v.vids().map(|(vid, _)| vid)).collect(),
                name,
            },
            attachment => Known { addresses: attachment.guest().to_vec(), name, ..Known::default() },
        }
    }

    /// Of a guest that is attached, by its record.
    fn attached(entry: &Entry) -> Option<(Attach, Self)> {
        let Goal::Resolved(Resolved::Attach(a)) = &entry.goal else { return None };
        let line = entry.text.as_deref().and_then(|text| text.parse::<VifSpec>().ok());
        Some((a.wish.clone(), Known::of(&a.wish, line.and_then(|vif| vif.mac()).map(MacAddr::from))))
    }

    /// Of a guest that is attached or was detached last, by its record.
    pub(super) fn recorded(entry: &Entry) -> Option<Self> {
        match &entry.goal {
            Goal::Resolved(Resolved::Detach(d)) => {
                let guard = d.recorded.guard.as_ref().map(|g| &g.guard);
                let routed = d.recorded.routes.iter().flat_map(|r| r.attachment.guest());
                let declared = guard.iter().flat_map(|g| g.addresses.iter().flatten());
                Some(Known {
                    bridge: d.recorded.bridge,
                    mac: guard.map(|g| g.mac),
                    further: guard.iter().flat_map(|g| g.further_macs.iter().copied()).collect(),
                    addresses: routed.chain(declared).copied().collect(),
                    vlans: Vec::new(),
                    name: Some(d.found.device).filter(|name| *name != d.wish.id.vif_name()),
                })
            }
            _ => Known::attached(entry).map(|(_, known)| known),
        }
    }

    fn places(&self) -> Vec<Place> {
        let mac = self.bridge.zip(self.mac).map(|(bridge, mac)| Place::Mac(bridge, mac));
        let own = mac.into_iter().chain(self.name.map(Place::Name));
        own.chain(self.addresses.iter().copied().map(Place::Addresses)).collect()
    }
}

/// Whether the tracked connections of a guest that leaves its places are to be forgotten. To search for them costs more than all else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Connections {
    /// They may be there.
    Remain,
    /// They were forgotten just now.
    AreForgotten,
}

/// A guest that is to be attached, and what is known of the one before.
pub(super) struct Newcomer<'a> {
    pub(super) subject: Subject,
    pub(super) wish: &'a Attach,
    pub(super) known: Known,
    pub(super) network: Option<&'a Started>,
    pub(super) record: Option<&'a Entry>,
    /// Whether the record's link is this one.
    pub(super) is_same_link: bool,
}

impl Newcomer<'_> {
    /// Whether connections of its addresses are tracked by this domain's doing.
    fn is_tracked(&self) -> bool {
        match self.wish.attachment {
            Attachment::Bridge { .. } => self.network.is_some_and(|s| matches!(s.network.mode(), NetworkMode::Nat(_))),
            _ => true,
        }
    }

    /// The places that it takes.
    fn places(&self) -> Vec<Place> {
        let mut all = self.known.places();
        all.retain(|place| self.is_tracked() || !matches!(place, Place::Addresses(_)));
        all
    }

    /// Whether the record says that it is attached already with the very same MAC and addresses.
    fn is_known(&self) -> bool {
        self.is_same_link && self.record.and_then(Known::attached).is_some_and(|(_, known)| known == self.known)
    }
}

impl Host {
    /// Which of a newcomer's addresses an earlier guest had that nobody has detached, and notes about guests that are there and have the
    /// same MAC. One question to the state directory a place; another one's record only where that one has it.
    pub(super) fn before_newcomer(&mut self, new: &Newcomer<'_>) -> Result<(Vec<IpNetwork>, Vec<String>), Error> {
        let (mut left, mut notes) = (Vec::new(), Vec::new());
        for place in new.places() {
            let Some(former) = self.records.station(&place.name())? else { continue };
            if former == new.subject {
                // Of an attached vif it is its own; of one that is not, a call was killed, or its record was lost.
                let is_attached = new.record.is_some_and(|r| r.owned_link().is_some());
                if let (false, Place::Addresses(n)) = (is_attached, &place) {
                    left.push(*n);
                }
                continue;
            }
            match (self.who_stands_at(former, &place)?, &place) {
                (None, Place::Addresses(n)) => left.push(*n),
                (Some(other), Place::Mac(bridge, mac)) => {
                    let both: Vec<IpNetwork> =
                        new.known.addresses.iter().filter(|n| other.addresses.contains(n)).copied().collect();
                    let and = if both.is_empty() { String::new() } else { format!(" and {}", joined(&both)) };
                    notes.push(format!(
                        "{former} on {bridge} has the MAC {mac}{and}, too: two stations with one MAC get each other's frames, so one of the two \
                         has to go, as in a migration"
                    ));
                }
                _ => {}
            }
        }
        Ok((left, notes))
    }

    /// Whether another vif has taken a name of this one's own choice since. One question to the state directory.
    pub(super) fn has_lost_name(&self, subject: Subject, name: IfName) -> Result<bool, Error> {
        Ok(self.records.station(&Place::Name(name).name())?.is_some_and(|has| has != subject))
    }

    /// The guest that has a place, if it is attached and its link is there.
    fn who_stands_at(&mut self, subject: Subject, place: &Place) -> Result<Option<Known>, Error> {
        let Some(entry) = self.records.known(subject)? else { return Ok(None) };
        let Some((wish, known)) = Known::attached(&entry).filter(|(_, known)| known.places().contains(place)) else {
            return Ok(None);
        };
        let Some((index, _)) = entry.owned_link() else { return Ok(None) };
        let seen = self.look(&Scope::none().with(Part::LinkIndex(index)))?;
        let made = wish.id.vif_name();
        let is_there = seen.link_by_index(index).is_some_and(|(link, _)| [wish.name, made].contains(link));
        Ok(is_there.then_some(known))
    }

    /// Takes a newcomer's places, after what was left of earlier guests is forgotten. What bridges and neighbour tables have learned of
    /// its MAC and addresses goes: the kernel learns anew where it is. A failure to forget is a note.
    pub(super) fn take_places(&mut self, new: &Newcomer<'_>) -> Result<Vec<String>, Error> {
        let mut notes = Vec::new();
        if let Some(bridge) = new.known.bridge.filter(|_| !new.is_known()) {
            for mac in new.known.mac.iter().chain(&new.known.further).copied() {
                let vlans = new.known.vlans.iter().copied().map(Some);
                for vlan in [None].into_iter().chain(vlans) {
                    let forgotten = ForgetStep::Station { bridge, mac, vlan, except: Some(new.wish.name) };
                    notes.extend(self.forget_learned(forgotten));
                }
            }
            notes.extend(self.forget_neighbours(bridge, &new.known.addresses));
        }
        for place in new.places() {
            let name = place.name();
            if self.records.station(&name)? != Some(new.subject) {
                self.records.take_station(&name, new.subject)?;
            }
        }
        Ok(notes)
    }

    fn forget_neighbours(&mut self, link: IfName, addresses: &[IpNetwork]) -> Option<String> {
        let addresses: Vec<_> = addresses.iter().filter(|n| is_single(n)).map(IpNetwork::ip).collect();
        if addresses.is_empty() {
            return None;
        }
        self.forget_learned(ForgetStep::Neighbours { link, addresses })
    }

    /// Forgets the counts that an earlier guest left under this link name. A failure is a note.
    pub(super) fn forget_violations(&mut self, link: IfName) -> Option<String> {
        self.forget_learned(ForgetStep::Violations { link })
    }

    /// Forgets the counts of a vif's link, unless another vif has the name now. A failure is a note.
    pub(super) fn forget_counted(&mut self, subject: Subject, link: IfName) -> Option<String> {
        match self.has_lost_name(subject, link) {
            Ok(true) => None,
            Ok(false) => self.forget_violations(link),
            Err(e) => Some(format!("the counts of {link} may remain: {e}")),
        }
    }

    fn forget_learned(&mut self, step: ForgetStep) -> Option<String> {
        let step = Step::Forget(step);
        self.backend.apply(&step).err().map(|e| format!("what was learned may remain: {step}: {e}"))
    }

    /// What a changed vif has no more, or one that is detached: forgotten, and its places left. `stays` is what it has by now. Notes say
    /// what could not be done.
    pub(super) fn leave_places(
        &mut self,
        subject: Subject,
        had: &Known,
        stays: Option<&Known>,
        connections: Connections,
    ) -> Vec<String> {
        match self.leave(subject, had, stays, connections) {
            Ok(notes) => notes,
            Err(e) => vec![format!("something that was learned of {subject} may remain: {e}")],
        }
    }

    fn leave(
        &mut self,
        subject: Subject,
        had: &Known,
        stays: Option<&Known>,
        connections: Connections,
    ) -> Result<Vec<String>, Error> {
        let Some((id, type_if)) = subject.vif() else { return Ok(Vec::new()) };
        let mut notes = Vec::new();
        let kept = stays.map(Known::places).unwrap_or_default();
        let (mut own, mut addresses) = (Vec::new(), Vec::new());
        for place in had.places() {
            if !kept.contains(&place) && self.records.station(&place.name())? == Some(subject) {
                if let Place::Addresses(n) = &place {
                    addresses.push(*n);
                }
                own.push(place);
            }
        }
        if let Some(bridge) = had.bridge {
            let gone = |n: &&IpNetwork| stays.is_none_or(|s| s.bridge != had.bridge || !s.addresses.contains(n));
            let gone: Vec<IpNetwork> = had.addresses.iter().filter(gone).copied().collect();
            notes.extend(self.forget_neighbours(bridge, &gone));
        }
        if !addresses.is_empty() && connections == Connections::Remain {
            let made = id.link_name(type_if).map_err(Error::unchanged)?;
            let elsewhere = self.led_elsewhere(&addresses, &own_links(id, type_if, &[made]))?;
            notes.extend(self.forget_connections(&addresses, &elsewhere));
        }
        for place in own {
            self.records.leave_station(&place.name(), subject)?;
        }
        Ok(notes)
    }

    /// Empties places of vifs that are not attached there by their records, as a call leaves them that was killed, after forgetting what
    /// may be left of them. A listing.
    pub(super) fn empty_places(&mut self) -> Result<(), Error> {
        let mut answering = Vec::new();
        for started in self.records.all_started()? {
            if let NetworkMode::Routed(routed) = started.network.mode() {
                answering.extend(started.outside.filter(|_| routed.proxy_ndp));
            }
        }
        for (name, subject) in self.records.stations()? {
            let record = self.records.known(subject)?;
            let known = record.as_ref().and_then(Known::attached);
            if known.is_some_and(|(_, known)| known.places().iter().any(|place| place.name() == name)) {
                continue;
            }
            if let Some(n) = Place::addresses(&name) {
                let elsewhere = self.led_elsewhere(&[n], &[])?;
                let failed = |why: String| Error::new(ErrorKind::Kernel, why).with_object(subject.to_string());
                if let Some(why) = self.forget_connections(&[n], &elsewhere) {
                    return Err(failed(why));
                }
                for link in answering.iter().filter(|_| elsewhere.is_empty() && is_single(&n) && n.is_ipv6()) {
                    let part = Part::Proxy(*link, n.ip());
                    for proxy in self.look(&Scope::none().with(part))?.neighbours {
                        let step = Step::Neigh(NeighStep::Del(proxy));
                        self.backend.apply(&step).map_err(|e| failed(format!("{step}: {e}")))?;
                    }
                }
            }
            self.records.leave_station(&name, subject)?;
        }
        Ok(())
    }

    /// Takes out of our tables what no record and no network has there, under names that no link has, and what hides addresses: their records
    /// were lost. A listing.
    pub(super) fn clear_lost_elements(&mut self) -> Result<(), Error> {
        // One element each says whether the tables are there, and loads no module.
        let seen = match self.backend.observe(&plan::membership(&IfName::literal("lo"))) {
            Ok(seen) => seen,
            // Without tables there is nothing in them.
            Err(e) if has_no_tables(&e) => return Ok(()),
            // Who may not read them can change nothing in them either.
            Err(e) if [Errno::EPERM, Errno::EACCES].contains(&e.errno) => return Ok(()),
            Err(e) => return Err(e.into_observe_error()),
        };
        if seen.nft.is_empty() {
            return Ok(());
        }
        let seen = self.look(&seen.nft.into_keys().map(Part::Nft).collect())?;
        // A call writes down what it does before it adds elements, so what was seen is in what is read now.
        let mut entries: Vec<Entry> = self.records.all()?.into_values().collect();
        let mut kept = Scope::none();
        if let Records::Dir(dir) = &self.records {
            for subject in dir.interrupted()? {
                if let Some(open) = dir.open(subject)? {
                    kept = kept.union(open.before.scope.clone());
                    entries.push(open);
                }
            }
        }
        for started in self.records.all_started()? {
            kept = kept.union(plan::scope_of_network(&started.resolved()));
        }
        let links: BTreeSet<IfName> = self.look(&Scope::none().with(Part::Links))?.links.into_keys().collect();
        for entry in &entries {
            if let Goal::Resolved(Resolved::Attach(a)) = &entry.goal {
                kept = kept.union(plan::scope_of_vif(&a.wish));
            }
        }
        // What hides a guest is known by the egress and the guest's addresses, which are those that its link may send from.
        let all = seen.nft.values().flat_map(|table| &table.sets);
        let of_guests = all.filter(|(set, _)| !tables::gate::hides(set)).flat_map(|(_, set)| set.elements.keys());
        let is_there = |key: &&NftKey| matches!(key.first.first(), Some(NftValue::Name(link)) if links.contains(link));
        let sources: BTreeSet<_> = of_guests.filter(is_there).filter_map(behind_link).collect();
        for (id, table) in &seen.nft {
            let is_lost = |set: &str, key: &NftKey| match key.first.first() {
                Some(NftValue::Name(_))
                    if kept.contains(&Part::NftElement(id.clone(), set.to_owned().into(), key.clone())) =>
                {
                    false
                }
                Some(NftValue::Name(_)) if tables::gate::hides(set) => {
                    behind_link(key).is_some_and(|address| !sources.contains(&address))
                }
                Some(NftValue::Name(link)) => !links.contains(link),
                _ => false,
            };
            for (set, s) in &table.sets {
                let keys: Vec<NftKey> = s.elements.keys().filter(|key| is_lost(set, key)).cloned().collect();
                if keys.is_empty() {
                    continue;
                }
                let step =
                    Step::Nft(NftTransaction::new(id.clone(), vec![NftOp::DelElements { set: set.clone(), keys }]));
                match self.backend.apply(&step) {
                    // Another call was quicker.
                    Err(e) if e.errno == Errno::ENOENT => {}
                    done => {
                        done.map_err(|e| exec::refused(&e, "cannot clear away what a lost record has left", &step))?
                    }
                }
            }
        }
        let counted = self.backend.violations().map_err(BackendError::into_observe_error)?;
        for link in gather::set(counted.into_iter().map(|counted| counted.link)) {
            if !links.contains(&link) {
                let step = Step::Forget(ForgetStep::Violations { link });
                let done = self.backend.apply(&step);
                done.map_err(|e| exec::refused(&e, "cannot clear away what a lost record has left", &step))?;
            }
        }
        Ok(())
    }
}

/// The vifs of which places are kept: of an emulated twin they are its vif's.
pub(super) const fn has_places(type_if: TypeIf) -> bool {
    matches!(type_if, TypeIf::Vif)
}
