//! nftables over netlink: tables read whole, transactions applied whole.
//!
//! The messages are written and read here, without a library: the crates that know nf_tables lack half of the
//! expressions, and the `nft` tool costs a process for each change.

mod decode;
mod encode;
mod expr;
mod load;
mod statement;
#[cfg(test)]
mod tests;
mod violations;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use rustix::net::sockopt::{set_socket_send_buffer_size, set_socket_send_buffer_size_force};

use super::needs;
use super::nfnetlink::{self, Writer};
use super::refusal::Refusal;
use super::socket::{Protocol, Socket};
use super::wire::Message;
use crate::backend::BackendError;
use crate::error::Errno;
use crate::gather;

use crate::snapshot::{
    NftBase, NftChain, NftElement, NftFamily, NftHook, NftKey, NftRule, NftSet, NftTable, NftTableId,
};
use crate::step::{NftOp, NftTransaction};
use crate::tables::{as_made, is_changed, is_counting, set_of};
use encode::{Known, Needs, Ranges, RuleName, message};

/// How often a transaction or a reading is begun anew when others change the ruleset meanwhile.
const TRIES: u32 = 32;

/// What goes out in one piece without asking for a larger buffer: the kernel's own default is about twice that.
const SMALL: usize = 64 * 1024;

/// A question of nf_tables.
fn question(message: u16, family: u8, attributes: impl FnOnce(&mut Writer)) -> Vec<u8> {
    nfnetlink::question(nfnetlink::kind(message), family, attributes)
}

/// Whether the kernel has nf_tables in memory; where it cannot be told, it is assumed. To ask for a table would load the module
/// (`nfnetlink_rcv_msg`: `request_module("nfnetlink-subsys-10")`, which starts a program), and where it is not loaded there is none.
pub(crate) fn is_loaded() -> bool {
    is_in_memory("nf_tables")
}

/// The same of any module.
pub(super) fn is_in_memory(module: &str) -> bool {
    // A kernel without modules has what it has from the start.
    Path::new("/sys/module").join(module).exists()
        || !Path::new("/proc/modules").exists()
        || is_built_in(module).unwrap_or(true)
}

/// Whether a module is built into this kernel. `None` where there is no `modules.builtin` that says so.
fn is_built_in(module: &str) -> Option<bool> {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").ok()?;
    let modules = fs::read_to_string(format!("/lib/modules/{}/modules.builtin", release.trim_end())).ok()?;
    let file = format!("/{module}.ko");
    Some(modules.lines().any(|line| line.ends_with(&file)))
}

/// Whether the elements of sets are read with a table.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Elements {
    Read,
    Leave,
}

/// The flags of a table, if it is there, and one of its chains, if that is.
pub(crate) type FlagsAndChain = Option<(u32, Option<NftChain>)>;

/// The kernel's nftables, over one socket that is kept open.
///
/// Keeping it open matters: closing a netfilter socket after something was deleted waits for the kernel's clean-up work,
/// 5 to 30 ms (`nft_rcv_nl_event`), where the deletion itself takes 10 µs. A short-lived process pays that once, at its end.
#[derive(Debug)]
pub(crate) struct Nft {
    socket: Socket,
    /// The kernel has answered a question about tables: it has nftables, and lets us.
    answered: bool,
    /// What sets were like when they were last looked at, without their elements. A hint only, as is what those of our own
    /// tables are like: where the kernel's answer does not fit, the set is looked up anew.
    sets: BTreeMap<NftTableId, BTreeMap<String, NftSet>>,
    /// What the kernel has been asked for.
    loaded: BTreeSet<String>,
}

impl Nft {
    /// Opens the socket in the calling thread's network namespace.
    ///
    /// # Errors
    /// The system's refusal; `EPROTONOSUPPORT` where the kernel has no netfilter over netlink.
    pub(crate) fn open() -> Result<Self, BackendError> {
        Socket::open(Protocol::Netfilter)
            .map(|socket| Nft { socket, answered: false, sets: BTreeMap::new(), loaded: BTreeSet::new() })
            .map_err(|e| e.about("nftables"))
    }

    /// Whether the kernel has said over this socket what tables there are.
    pub(crate) fn has_answered(&self) -> bool {
        self.answered
    }

    /// One table with all that is in it; `None` if there is none.
    ///
    /// The cost grows with the table, and with the chains of other tables of the same family: the kernel has no listing of
    /// the chains of one table. All of it is of one generation of the ruleset.
    ///
    /// # Errors
    /// `EPERM` without `CAP_NET_ADMIN`; `EINTR` when the ruleset changed again and again while it was read.
    pub(crate) fn observe(&mut self, id: &NftTableId) -> Result<Option<NftTable>, BackendError> {
        self.read_at_once(id, Elements::Read)
    }

    /// One table without the elements of its sets; `None` if there is none. Its cost does not grow with them.
    ///
    /// # Errors
    /// As [`observe`](Self::observe).
    pub(crate) fn observe_frame(&mut self, id: &NftTableId) -> Result<Option<NftTable>, BackendError> {
        let frame = match self.read(id, Elements::Leave) {
            // Another process may have removed the table and made it again during the read. The kernel does not mark an empty dump
            // as interrupted.
            Ok(Some(table)) if table.is_hollow() => self.read_at_once(id, Elements::Leave)?,
            Err(refusal) if refusal.errno == Errno::ENOENT => self.read_at_once(id, Elements::Leave)?,
            // While many others change the table, the kernel sometimes lists rules that nobody made, and does not mark the listing as
            // interrupted. So a table that seems to be changed is read once more.
            Ok(Some(table)) if is_changed(id, &table) => self.read_at_once(id, Elements::Leave)?,
            read => read.map_err(|refusal| refusal.about(format!("nft table {id}")))?,
        };
        if let Some(table) = &frame {
            self.sets.entry(id.clone()).or_default().extend(table.sets.clone());
        }
        Ok(frame)
    }

    /// A set with one of its elements, or without any if that one is not there; `None` if there is no such set or table.
    ///
    /// # Errors
    /// As [`observe`](Self::observe).
    pub(crate) fn observe_element(
        &mut self,
        id: &NftTableId,
        name: &str,
        key: &NftKey,
        known: Option<&NftSet>,
        table_is_there: bool,
    ) -> Result<Option<NftSet>, BackendError> {
        let about = |refusal: Refusal| refusal.about(format!("nft set {id} {name}"));
        if let Some(def) = self.sets.get(id).and_then(|sets| sets.get(name)).cloned().or_else(|| set_of(id, name)) {
            match self.element(id, name, key, &def) {
                Ok(Some(element)) => return Ok(Some(NftSet { elements: gather::map([element]), ..def })),
                Ok(None) if table_is_there => return Ok(Some(def)),
                // There is no such table, or the set is another by now.
                _ => {}
            }
        }
        let def = match known {
            Some(set) => Some(set.frame()),
            None => self.set(id, name).map_err(about)?,
        };
        let Some(def) = def else { return Ok(None) };
        let elements = self.element(id, name, key, &def).map_err(about)?.into_iter().collect();
        Ok(Some(NftSet { elements, ..def }))
    }

    /// One element of a set that is like this; `None` if it is not there.
    fn element(
        &mut self,
        id: &NftTableId,
        name: &str,
        key: &NftKey,
        def: &NftSet,
    ) -> Result<Option<(NftKey, NftElement)>, Refusal> {
        let ask = question(message::GET_ELEMENT, id.family.number(), |w| {
            w.text(1, &id.name);
            w.text(2, name);
            w.nest(3, |w| encode::write_key(w, key, None));
        });
        let found = self.find(ask, |m| decode::keyed(def, decode::elements(m, def)))?;
        // The kernel finds the element that holds the key; asked for is the one that is the key.
        Ok(found.and_then(|mut elements| elements.remove_entry(&key.typed(&def.key))))
    }

    /// How often a chain is used; `None` if there is no such chain or table.
    ///
    /// # Errors
    /// As [`observe`](Self::observe).
    pub(crate) fn observe_use(&mut self, id: &NftTableId, chain: &str) -> Result<Option<u32>, BackendError> {
        let ask = question(message::GET_CHAIN, id.family.number(), |w| {
            w.text(1, &id.name);
            w.text(3, chain);
        });
        let found = self.find(ask, decode::chain_use).map_err(|e| e.about(format!("nft chain {id} {chain}")))?;
        Ok(found.flatten())
    }

    /// How often each chain of this table is used. A listing of all chains of its family, as [`observe_others_at`](Self::observe_others_at).
    ///
    /// # Errors
    /// As [`observe`](Self::observe).
    pub(crate) fn observe_uses(&mut self, id: &NftTableId) -> Result<BTreeMap<String, u32>, BackendError> {
        let mut ask = question(message::GET_CHAIN, id.family.number(), |_| {});
        let read = |m: &Message<'_>| Some((decode::chain(m, id)?.0, decode::chain_use(m)?));
        let all = self.socket.dump(&mut ask, read).map_err(|e| e.about(format!("nft chains of {id}")))?;
        Ok(gather::map(all))
    }

    /// The flags of this table; `None` if there is none.
    ///
    /// # Errors
    /// As [`observe`](Self::observe).
    pub(crate) fn observe_flags(&mut self, id: &NftTableId) -> Result<Option<u32>, BackendError> {
        self.flags(id).map_err(|refusal| refusal.about(format!("nft table {id}")))
    }

    /// The tables that are xennet's own ([`NftTableId::is_own`]), with all that is in them. A listing.
    ///
    /// # Errors
    /// As [`observe`](Self::observe).
    pub(crate) fn observe_own(&mut self) -> Result<BTreeMap<NftTableId, NftTable>, BackendError> {
        self.observe_all(NftTableId::is_own)
    }

    /// The tables that are not xennet's own, with all that is in them. A listing.
    ///
    /// # Errors
    /// As [`observe`](Self::observe).
    pub(crate) fn observe_foreign(&mut self) -> Result<BTreeMap<NftTableId, NftTable>, BackendError> {
        self.observe_all(|id| !id.is_own())
    }

    fn observe_all(
        &mut self,
        which: impl Fn(&NftTableId) -> bool,
    ) -> Result<BTreeMap<NftTableId, NftTable>, BackendError> {
        let mut ask = question(message::GET_TABLE, 0, |_| {});
        let ids = self.socket.dump(&mut ask, decode::table).map_err(|e| e.about("nft tables"))?;
        let mut out = BTreeMap::new();
        for id in ids.into_iter().filter(which) {
            if let Some(table) = self.observe(&id)? {
                out.insert(id, table);
            }
        }
        Ok(out)
    }

    /// The base chains at this hook of tables that are not xennet's own. A listing.
    ///
    /// # Errors
    /// As [`observe`](Self::observe).
    pub(crate) fn observe_others_at(
        &mut self,
        family: NftFamily,
        hook: NftHook,
    ) -> Result<Vec<(NftTableId, String, NftBase)>, BackendError> {
        let mut ask = question(message::GET_CHAIN, family.number(), |_| {});
        let all = self.socket.dump(&mut ask, decode::any_chain).map_err(|e| e.about("nft chains"))?;
        let based = all.into_iter().filter_map(|(id, name, base)| Some((id, name, base?)));
        Ok(based.filter(|(id, _, base)| !id.is_own() && base.hook == hook).collect())
    }

    /// The flags of a table, and one of its chains with its rules. `None` without the table, or without the chain.
    ///
    /// # Errors
    /// As [`observe`](Self::observe).
    pub(crate) fn observe_chain(&mut self, id: &NftTableId, chain: &str) -> Result<FlagsAndChain, BackendError> {
        let about = |refusal: Refusal| refusal.about(format!("nft chain {id} {chain}"));
        let Some(flags) = self.flags(id).map_err(about)? else { return Ok(None) };
        let ask = question(message::GET_CHAIN, id.family.number(), |w| {
            w.text(1, &id.name);
            w.text(3, chain);
        });
        let found = self.find(ask, |m| decode::chain(m, id)).map_err(about)?.flatten();
        let Some((_, base)) = found else { return Ok(Some((flags, None))) };
        match self.rules(id, Some(chain)) {
            Ok(rules) => {
                let rules = rules.into_iter().filter(|(of, _, _)| of == chain).map(|(_, _, rule)| rule).collect();
                Ok(Some((flags, Some(NftChain { base, rules }))))
            }
            // It has gone meanwhile.
            Err(refusal) if refusal.errno == Errno::ENOENT => Ok(Some((flags, None))),
            Err(refusal) => Err(about(refusal)),
        }
    }

    /// Applies a transaction: all of it, or nothing.
    ///
    /// Where the messages depend on what is there (handles of rules that go, ranges of interval sets, the kind of a set whose
    /// elements go), the kernel is told which generation of the ruleset that was read from; if another came between, all is
    /// read and sent again. Adding elements to a set with several fields and without intervals needs no reading.
    ///
    /// # Errors
    /// `EINVAL` for what [`NftTransaction::check`] refuses; the kernel's refusal of the first operation that it refused,
    /// with its own sentence if it gave one; `ERESTART` if others changed the ruleset each time in between; `EMSGSIZE` for
    /// more than the socket's buffer can be made to hold (some 400 KiB, about 4,000 elements, without `CAP_NET_ADMIN`
    /// in the first user namespace).
    pub(crate) fn apply(&mut self, transaction: &NftTransaction) -> Result<(), BackendError> {
        let id = &transaction.table;
        let about = |refusal: Refusal| refusal.about(format!("nft table {id}"));
        if let Err(fault) = transaction.check() {
            return Err(Refusal::new(Errno::EINVAL).with_message(fault.message).about(object(transaction, fault.op)));
        }
        if transaction.ops.is_empty() {
            return Ok(());
        }
        if id.is_kept() && transaction.makes() {
            self.load(transaction);
        }
        let needs = Needs::of(transaction);
        for _ in 0..TRIES {
            let (known, generation) = if needs.is_empty() {
                (Known::default(), None)
            } else {
                let generation = self.generation().map_err(about)?;
                (self.look(id, &needs).map_err(about)?, Some(generation))
            };
            let Some((mut datagram, origins)) = encode::batch(transaction, known, generation) else {
                return Err(about(Refusal::new(Errno::EMSGSIZE).with_message("a rule has more than 64 KiB")));
            };
            self.room_for(datagram.len());
            let Err(refused) = self.socket.batch(&mut datagram) else { return Ok(()) };
            // The first message is the beginning of the batch: what is refused there is refused as a whole.
            match refused.index {
                0 if refused.refusal.errno == Errno::ERESTART => {}
                0 => return Err(about(refused.refusal)),
                index => {
                    let op = origins.get(index).copied().unwrap_or(0);
                    let refusal = match needs::of_nft(transaction, op, refused.refusal.errno) {
                        Some(feature) => feature.explain(refused.refusal, &needs::release()),
                        None => refused.refusal,
                    };
                    return Err(refusal.about(object(transaction, op)));
                }
            }
        }
        let message =
            format!("others changed the ruleset in between, {TRIES} times in a row; try again when it is calmer");
        Err(about(Refusal::new(Errno::ERESTART).with_message(message)))
    }

    /// Asks the kernel for all that making this table needs, so that each module is loaded at most once.
    pub(crate) fn load(&mut self, making: &NftTransaction) {
        for (name, asking) in load::asking(making) {
            if self.loaded.insert(name) {
                // What the kernel has not, it says again of the table itself, and there it is told.
                let _ = self.apply(&asking);
            }
        }
    }

    /// The number of the current ruleset.
    pub(crate) fn generation(&mut self) -> Result<u32, Refusal> {
        let mut ask = question(message::GET_GENERATION, 0, |_| {});
        let answer = self.socket.get(&mut ask, decode::generation)?;
        answer.ok_or_else(|| Refusal::new(Errno::EIO).with_message("the kernel's answer has no generation"))
    }

    fn flags(&mut self, id: &NftTableId) -> Result<Option<u32>, Refusal> {
        let ask = question(message::GET_TABLE, id.family.number(), |w| w.text(1, &id.name));
        self.find(ask, decode::table_flags)
    }

    /// A set without its elements; `None` if there is none.
    fn set(&mut self, id: &NftTableId, name: &str) -> Result<Option<NftSet>, Refusal> {
        let ask = question(message::GET_SET, id.family.number(), |w| {
            w.text(1, &id.name);
            w.text(2, name);
        });
        let set = self.find(ask, decode::set)?.flatten().map(|(_, set)| as_made(id, name, set));
        if let Some(set) = &set {
            self.sets.entry(id.clone()).or_default().insert(name.to_owned(), set.clone());
        }
        Ok(set)
    }

    /// Asks about one thing; `None` if it, or its table, is not there.
    fn find<T>(&mut self, mut ask: Vec<u8>, read: impl FnMut(&Message<'_>) -> T) -> Result<Option<T>, Refusal> {
        let found = match self.socket.get(&mut ask, read) {
            Ok(found) => Some(found),
            Err(refusal) if refusal.errno == Errno::ENOENT => None,
            Err(refusal) => return Err(refusal),
        };
        self.answered = true;
        Ok(found)
    }

    /// One table, all of it of one generation of the ruleset.
    fn read_at_once(&mut self, id: &NftTableId, elements: Elements) -> Result<Option<NftTable>, BackendError> {
        let about = |refusal: Refusal| refusal.about(format!("nft table {id}"));
        for _ in 0..TRIES {
            let before = self.generation().map_err(about)?;
            let read = self.read(id, elements);
            if self.generation().map_err(about)? == before {
                return read.map_err(about);
            }
        }
        Err(about(Refusal::new(Errno::EINTR).with_message("others changed the ruleset each time while it was read")))
    }

    fn read(&mut self, id: &NftTableId, elements: Elements) -> Result<Option<NftTable>, Refusal> {
        let family = id.family.number();
        let Some(flags) = self.flags(id)? else { return Ok(None) };
        let mut table = NftTable { flags, ..NftTable::default() };
        let mut ask = question(message::GET_CHAIN, family, |w| w.text(1, &id.name));
        for (name, base) in self.socket.dump(&mut ask, |m| decode::chain(m, id))? {
            table.chains.insert(name, NftChain { base, rules: Vec::new() });
        }
        for (chain, _, rule) in self.rules(id, None)? {
            if let Some(chain) = table.chains.get_mut(&chain) {
                chain.rules.push(rule);
            }
        }
        let mut ask = question(message::GET_SET, family, |w| w.text(1, &id.name));
        for (name, set) in self.socket.dump(&mut ask, decode::set)? {
            let mut set = as_made(id, &name, set);
            if elements == Elements::Read && !is_counting(id, &name) {
                set.elements = self.elements(id, &name, &set)?;
            }
            table.sets.insert(name, set);
        }
        Ok(Some(table))
    }

    /// The rules of a table or of one of its chains, with chains and handles.
    fn rules(&mut self, id: &NftTableId, chain: Option<&str>) -> Result<Vec<(String, u64, NftRule)>, Refusal> {
        let mut ask = question(message::GET_RULE, id.family.number(), |w| {
            w.text(1, &id.name);
            if let Some(chain) = chain {
                w.text(2, chain);
            }
        });
        self.socket.dump(&mut ask, decode::rule)
    }

    fn elements(&mut self, id: &NftTableId, name: &str, set: &NftSet) -> Result<BTreeMap<NftKey, NftElement>, Refusal> {
        let mut ask = question(message::GET_ELEMENT, id.family.number(), |w| {
            w.text(1, &id.name);
            w.text(2, name);
        });
        let raw = self.socket.dump(&mut ask, |m| Some(decode::elements(m, set)))?;
        Ok(decode::keyed(set, raw.into_iter().flatten().collect()))
    }

    /// Reads what the messages of a transaction depend on. What is not there is left out: the kernel will say so itself.
    fn look(&mut self, id: &NftTableId, needs: &Needs) -> Result<Known, Refusal> {
        let absent = |refusal: &Refusal| refusal.errno == Errno::ENOENT;
        let mut known = Known::default();
        for set in &needs.sets {
            if let Some(mut def) = self.set(id, set)?.filter(|def| def.interval) {
                def.elements = self.elements(id, set, &def)?;
                if def.key.len() == 1 {
                    known.ranges.insert(set.clone(), Ranges::of(def.elements.keys()));
                } else {
                    known.wide.insert(set.clone(), def);
                }
            }
        }
        for chain in &needs.chains {
            let rules = match self.rules(id, Some(chain)) {
                Ok(rules) => rules.into_iter().filter(|(of, _, _)| of == chain).collect(),
                Err(refusal) if absent(&refusal) => Vec::new(),
                Err(refusal) => return Err(refusal),
            };
            let named = rules.into_iter().map(|(_, handle, rule)| (rule, RuleName::Handle(handle)));
            known.rules.insert(chain.clone(), named.collect());
        }
        Ok(known)
    }

    /// Makes the send buffer large enough for a datagram. The kernel counts its own overhead against it; what it does not
    /// grant shows when the datagram is sent.
    fn room_for(&self, bytes: usize) {
        if bytes > SMALL {
            let wanted = bytes.saturating_mul(2);
            if set_socket_send_buffer_size_force(&self.socket, wanted).is_err() {
                let _ = set_socket_send_buffer_size(&self.socket, wanted);
            }
        }
    }
}

/// What an operation is about, for messages.
fn object(transaction: &NftTransaction, op: usize) -> String {
    let id = &transaction.table;
    match transaction.ops.get(op) {
        Some(NftOp::AddChain { chain, .. } | NftOp::DelChain { chain } | NftOp::FlushChain { chain }) => {
            format!("nft chain {id} {chain}")
        }
        Some(NftOp::AddRule { chain, rule } | NftOp::InsertRule { chain, rule } | NftOp::DelRule { chain, rule }) => {
            format!("nft rule {id} {chain} \"{rule}\"")
        }
        Some(
            NftOp::AddSet { set, .. }
            | NftOp::DelSet { set }
            | NftOp::AddElements { set, .. }
            | NftOp::DelElements { set, .. },
        ) => format!("nft set {id} {set}"),
        Some(NftOp::AddTable | NftOp::SetFlags { .. } | NftOp::DelTable) | None => format!("nft table {id}"),
    }
}
