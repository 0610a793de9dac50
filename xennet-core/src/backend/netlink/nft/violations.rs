//! What the guard and the gate have dropped and counted: read, and forgotten.

use std::collections::BTreeMap;

use super::encode::message;
use super::{Nft, decode, question};
use crate::backend::BackendError;
use crate::error::Errno;
use crate::model::{IfName, Violation, ViolationCount};
use crate::snapshot::{NftKey, NftTableId, NftValue};
use crate::step::{NftOp, NftTransaction};
use crate::tables::rules::{OFFENDERS, VIOLATIONS};
use crate::tables::set_of;

impl Nft {
    /// What the guard and the gate have dropped and counted, by link and class. A listing.
    ///
    /// # Errors
    /// As [`observe`](Self::observe).
    pub(crate) fn violations(&mut self) -> Result<Vec<ViolationCount>, BackendError> {
        let mut sums: BTreeMap<(IfName, Violation), (u64, u64)> = BTreeMap::new();
        for id in [NftTableId::guard(), NftTableId::gate()] {
            let mut ask = question(message::GET_ELEMENT, id.family.number(), |w| {
                w.text(1, &id.name);
                w.text(2, VIOLATIONS);
            });
            match self.socket.dump(&mut ask, |m| Some(decode::violations(m))) {
                Ok(found) => {
                    for one in found.into_iter().flatten() {
                        let (packets, bytes) = sums.entry((one.link, one.violation)).or_default();
                        *packets = packets.saturating_add(one.packets);
                        *bytes = bytes.saturating_add(one.bytes);
                    }
                }
                Err(refusal) if refusal.errno == Errno::ENOENT => {}
                Err(refusal) => return Err(refusal.about(format!("nft set {id} {VIOLATIONS}"))),
            }
        }
        self.answered = true;
        let one = |((link, class), (packets, bytes))| ViolationCount::new(link, class, packets, bytes);
        Ok(sums.into_iter().map(one).collect())
    }

    /// Removes the counts of a link. Asks each table one question where there are none.
    ///
    /// # Errors
    /// As [`apply`](Self::apply).
    pub(crate) fn forget_violations(&mut self, link: IfName) -> Result<(), BackendError> {
        let name = NftValue::Name(link);
        let offender = NftKey::exact([name.clone()]);
        for id in [NftTableId::guard(), NftTableId::gate()] {
            if !self.has_counted(&id, OFFENDERS, &offender)? {
                continue;
            }
            let mut keys = Vec::new();
            for class in Violation::ALL {
                let key = NftKey::exact([name.clone(), NftValue::U32(class.number())]);
                if self.has_counted(&id, VIOLATIONS, &key)? {
                    keys.push(key);
                }
            }
            let gone = |set: &str, keys| NftOp::DelElements { set: set.into(), keys };
            let mut ops = vec![gone(OFFENDERS, vec![offender.clone()])];
            ops.extend((!keys.is_empty()).then(|| gone(VIOLATIONS, keys)));
            match self.apply(&NftTransaction::new(id, ops)) {
                // Somebody else was quicker.
                Err(e) if e.errno == Errno::ENOENT => {}
                done => done?,
            }
        }
        Ok(())
    }

    /// Whether a set that packets are counted in has this key.
    fn has_counted(&mut self, id: &NftTableId, set: &str, key: &NftKey) -> Result<bool, BackendError> {
        let Some(def) = set_of(id, set) else { return Ok(false) };
        let found = self.element(id, set, key, &def).map_err(|e| e.about(format!("nft set {id} {set}")))?;
        Ok(found.is_some())
    }
}
