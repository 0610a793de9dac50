//! What a chain does with a packet.
//!
//! A statement may be one that a recording cannot answer: a rate, an expression without words here, a port that the question does not
//! name. Then both ways are followed. If they end alike, the statement does not matter; if not, it is not known what becomes of the
//! packet, and the rule is told that it hangs on.

mod program;
mod read;
mod value;
mod xt;

use std::cell::Cell;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::packet::{ANY, Byte, Gap, Packet, known};
use super::world::World;
use crate::model::IfName;
use crate::snapshot::{
    Family, NftData, NftElement, NftFamily, NftHook, NftNat, NftPolicy, NftTable, NftTableId, NftVerdict,
};
use crate::tables;
use program::{Found, Op};
use value::Registers;

/// Where a packet meets a chain.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) world: &'a World<'a>,
    /// The family under which the packet is filtered: the bridge's, or that of the packet.
    pub(super) family: NftFamily,
    pub(super) hook: NftHook,
    pub(super) iif: Option<IfName>,
    pub(super) oif: Option<IfName>,
}

/// A rule, or a chain's policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RuleAt {
    pub(super) table: NftTableId,
    pub(super) chain: String,
    /// Its place in the chain, from 1; `None` for the policy.
    pub(super) number: Option<usize>,
    pub(super) text: String,
}

/// How it ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum End {
    Accept,
    Drop,
    /// Dropped, and the sender is told.
    Reject,
    /// Not known, and why.
    Unknown {
        gap: Gap,
        what: String,
    },
}

/// An address translation that a rule asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Translation {
    Source {
        address: Option<IpAddr>,
        port: Option<u16>,
    },
    Target {
        address: Option<IpAddr>,
        port: Option<u16>,
    },
    /// The source becomes the address of the link it leaves through.
    Masquerade,
    /// The destination becomes this domain.
    Redirect {
        port: Option<u16>,
    },
}

/// What a base chain did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Outcome {
    pub(super) end: End,
    /// The rule that decided; `None` where a policy lets it pass.
    pub(super) rule: Option<RuleAt>,
    pub(super) packet: Packet,
    pub(super) translation: Option<Translation>,
    pub(super) untracked: bool,
}

impl Outcome {
    /// Whether two ways end alike, by whatever rules.
    fn is_like(&self, other: &Outcome) -> bool {
        self.end == other.end
            && self.packet == other.packet
            && self.translation == other.translation
            && self.untracked == other.untracked
    }
}

/// How many times two ways may be followed in one chain.
const FORKS: u32 = 200;
/// How many rules a packet may meet in one chain: the kernel allows no loops, a recording that was edited may have one.
const RULES: u32 = 200_000;
/// How deep chains may be jumped into (`NFT_JUMP_STACK_SIZE`).
const DEEP: usize = 16;

struct Machine<'a> {
    place: Place<'a>,
    id: &'a NftTableId,
    table: &'a NftTable,
    policy: NftPolicy,
    base: &'a str,
    forks: Cell<u32>,
    rules: Cell<u32>,
}

/// Where the machine is.
#[derive(Clone)]
struct State<'a> {
    packet: Packet,
    registers: Registers,
    /// The chains, and the next rule of each.
    stack: Vec<(&'a str, usize)>,
    translation: Option<Translation>,
    untracked: bool,
    /// The rule that went to a counting chain of our tables: it is the reason for the drop.
    denied: Option<(&'a str, usize)>,
}

/// What an operation does.
enum Next {
    /// The next operation.
    On,
    /// The next rule.
    Break,
    Verdict(NftVerdict),
    Reject,
    Translated,
    /// Whether the rule goes on is not known.
    Perhaps(Gap, String),
    /// One of these; `None` is the next rule.
    OneOf(Vec<Option<NftElement>>, Gap, String, Option<program::Register>),
    Lost(String),
}

/// Runs a base chain.
pub(super) fn run(place: Place<'_>, id: &NftTableId, table: &NftTable, chain: &str, packet: &Packet) -> Outcome {
    let policy = table.chains.get(chain).and_then(|c| c.base).map_or(NftPolicy::Accept, |b| b.policy);
    let machine = Machine { place, id, table, policy, base: chain, forks: Cell::new(FORKS), rules: Cell::new(RULES) };
    let state = State {
        packet: packet.clone(),
        registers: Registers::new(),
        stack: vec![(chain, 0)],
        translation: None,
        untracked: false,
        denied: None,
    };
    machine.follow(state)
}

impl<'a> Machine<'a> {
    fn rule_at(&self, chain: &str, index: usize) -> RuleAt {
        let rule = self.table.chains.get(chain).and_then(|c| c.rules.get(index));
        let text = rule.map_or_else(String::new, words);
        RuleAt { table: self.id.clone(), chain: chain.to_owned(), number: Some(index + 1), text }
    }

    fn ended(end: End, rule: Option<RuleAt>, state: State<'a>) -> Outcome {
        Outcome { end, rule, packet: state.packet, translation: state.translation, untracked: state.untracked }
    }

    fn unknown(&self, gap: Gap, what: String, rule: RuleAt, state: State<'a>) -> Outcome {
        Machine::ended(End::Unknown { gap, what }, Some(rule), state)
    }

    /// Follows a packet from the rule at the top of the stack to the end.
    fn follow(&self, mut state: State<'a>) -> Outcome {
        loop {
            let Some((chain, index)) = state.stack.last().copied() else {
                let at = RuleAt {
                    table: self.id.clone(),
                    chain: self.base.to_owned(),
                    number: None,
                    text: format!("policy {}", self.policy.name()),
                };
                return match self.policy {
                    NftPolicy::Accept => Machine::ended(End::Accept, None, state),
                    NftPolicy::Drop => Machine::ended(End::Drop, Some(at), state),
                };
            };
            let Some(rule) = self.table.chains.get(chain).and_then(|c| c.rules.get(index)) else {
                state.stack.pop();
                continue;
            };
            if let Some(left) = self.rules.get().checked_sub(1) {
                self.rules.set(left);
            } else {
                let at = self.rule_at(chain, index);
                return self.unknown(Gap::Unseen, "its chains lead back to each other".into(), at, state);
            }
            if let Some(top) = state.stack.last_mut() {
                top.1 += 1;
            }
            let ops = program::program(rule);
            if let Err(outcome) = self.rule(&mut state, &ops, 0, (chain, index)) {
                return *outcome;
            }
        }
    }

    /// Carries out the operations of a rule from one of them on. `Err` is the end of the chain.
    fn rule(&self, state: &mut State<'a>, ops: &[Op], from: usize, at: (&'a str, usize)) -> Result<(), Box<Outcome>> {
        for (place, op) in ops.iter().enumerate().skip(from) {
            match self.op(state, op) {
                Next::On => {}
                Next::Break => return Ok(()),
                Next::Verdict(verdict) => return self.verdict(state, &verdict, at),
                Next::Reject => return Err(self.end(End::Reject, state, at)),
                Next::Translated => return Err(self.end(End::Accept, state, at)),
                Next::Lost(what) => return Err(self.lost(Gap::Unseen, what, state, at)),
                Next::Perhaps(gap, what) => {
                    let met = state.clone();
                    let ways = vec![self.resume(met, ops, place + 1, at), self.follow(state.clone())];
                    return Err(self.joined(ways, gap, what, state, at));
                }
                Next::OneOf(elements, gap, what, to) => {
                    let ways = elements.into_iter().map(|element| {
                        let mut way = state.clone();
                        match element {
                            None => self.follow(way),
                            Some(element) => match apply(&mut way, element.data.as_ref(), to) {
                                Some(verdict) => match self.verdict(&mut way, &verdict, at) {
                                    Ok(()) => self.follow(way),
                                    Err(outcome) => *outcome,
                                },
                                None => self.resume(way, ops, place + 1, at),
                            },
                        }
                    });
                    let ways = ways.collect();
                    return Err(self.joined(ways, gap, what, state, at));
                }
            }
        }
        Ok(())
    }

    fn resume(&self, mut state: State<'a>, ops: &[Op], from: usize, at: (&'a str, usize)) -> Outcome {
        match self.rule(&mut state, ops, from, at) {
            Ok(()) => self.follow(state),
            Err(outcome) => *outcome,
        }
    }

    /// The end of several ways: the same one, or not known.
    fn joined(&self, ways: Vec<Outcome>, gap: Gap, what: String, state: &State<'a>, at: (&str, usize)) -> Box<Outcome> {
        let Some(left) = self.forks.get().checked_sub(1) else { return self.lost(gap, what, state, at) };
        self.forks.set(left);
        let mut ways = ways.into_iter();
        let Some(first) = ways.next() else { return self.lost(gap, what, state, at) };
        for way in ways {
            if !first.is_like(&way) {
                // A way that is not known itself tells more exactly why.
                return match (&first.end, &way.end) {
                    (End::Unknown { .. }, _) => Box::new(first),
                    (_, End::Unknown { .. }) => Box::new(way),
                    _ => self.lost(gap, what, state, at),
                };
            }
        }
        Box::new(first)
    }

    fn lost(&self, gap: Gap, what: String, state: &State<'a>, at: (&str, usize)) -> Box<Outcome> {
        Box::new(self.unknown(gap, what, self.rule_at(at.0, at.1), state.clone()))
    }

    fn end(&self, end: End, state: &State<'a>, at: (&str, usize)) -> Box<Outcome> {
        Box::new(Machine::ended(end, Some(self.rule_at(at.0, at.1)), state.clone()))
    }

    fn verdict(&self, state: &mut State<'a>, verdict: &NftVerdict, at: (&'a str, usize)) -> Result<(), Box<Outcome>> {
        let chain = |name: &String| self.table.chains.get_key_value(name);
        match verdict {
            NftVerdict::Accept => return Err(self.end(End::Accept, state, at)),
            NftVerdict::Drop => return Err(self.end(End::Drop, state, state.denied.unwrap_or(at))),
            NftVerdict::Continue => {}
            NftVerdict::Return => {
                state.stack.pop();
            }
            NftVerdict::Jump(name) | NftVerdict::Goto(name) => {
                let Some((name, led_to)) = chain(name) else {
                    return Err(self.lost(Gap::Unseen, format!("chain {name} is not in the recording"), state, at));
                };
                if matches!(verdict, NftVerdict::Goto(_)) {
                    state.stack.pop();
                    state.denied = tables::counts(self.id, led_to).then_some(at);
                }
                if state.stack.len() > DEEP {
                    return Err(self.lost(Gap::Unseen, "too many chains in each other".into(), state, at));
                }
                state.stack.push((name, 0));
            }
        }
        Ok(())
    }

    fn op(&self, state: &mut State<'a>, op: &Op) -> Next {
        match op {
            Op::Nothing => Next::On,
            Op::Load { source, bytes, to } => {
                match read::load(&self.place, &state.packet, *source, usize::from(*bytes)) {
                    Some(read) => {
                        state.registers.write(*to, &read);
                        Next::On
                    }
                    None => Next::Break,
                }
            }
            Op::LoadUnknown { bytes, to } => {
                state.registers.write(*to, &vec![ANY; usize::from(*bytes)]);
                Next::On
            }
            Op::Absent { present: true, to } => {
                state.registers.write(*to, &[Ok(0)]);
                Next::On
            }
            Op::Absent { .. } => Next::Break,
            Op::Fib { result, flags, to } => {
                match read::fib(&self.place, &state.packet, *result, *flags) {
                    Some(bytes) => state.registers.write(*to, &bytes),
                    None => return Next::Break,
                }
                Next::On
            }
            Op::Immediate { bytes, to } => {
                state.registers.write(*to, &known(bytes));
                Next::On
            }
            Op::Mask { from, to, mask, xor } => {
                let masked: Vec<Byte> = state
                    .registers
                    .read(*from, mask.len())
                    .iter()
                    .zip(mask.iter().zip(xor))
                    .map(|(byte, (mask, xor))| match byte {
                        _ if *mask == 0 => Ok(*xor),
                        Ok(byte) => Ok((byte & mask) ^ xor),
                        Err(Gap::Station) if mask & 1 == 0 || xor & 1 == 1 => ANY,
                        Err(gap) => Err(*gap),
                    })
                    .collect();
                state.registers.write(*to, &masked);
                Next::On
            }
            Op::Swap { from, to, size, bytes } => {
                let read = state.registers.read(*from, usize::from(*bytes)).to_vec();
                // On a machine whose order is the network's there is nothing to swap.
                let swapped: Vec<Byte> = if cfg!(target_endian = "big") || *size < 2 {
                    read
                } else {
                    let whole = read.chunks(usize::from(*size));
                    whole
                        .flat_map(|c| {
                            if c.len() == usize::from(*size) { c.iter().rev().copied().collect() } else { c.to_vec() }
                        })
                        .collect()
                };
                state.registers.write(*to, &swapped);
                Next::On
            }
            Op::Compare { at, op, value } => {
                judged(value::compare(state.registers.read(*at, value.len()), *op, value), "what it compares")
            }
            Op::Range { at, inverted, first, last } => {
                let within = value::within(state.registers.read(*at, first.len()), first, last);
                judged(within.map(|within| within != *inverted), "what it compares")
            }
            Op::Lookup { set, at, result, inverted } => self.lookup(state, set, *at, *result, *inverted),
            Op::Verdict(verdict) => Next::Verdict(verdict.clone()),
            Op::SetMark { from } => {
                state.packet.mark = number(state.registers.read(*from, 4));
                Next::On
            }
            Op::SetConnectionMark { from } => {
                state.packet.tracked.mark = number(state.registers.read(*from, 4));
                Next::On
            }
            Op::SetUnknown(what) => {
                if what.contains("mark") {
                    state.packet.mark = None;
                }
                Next::On
            }
            Op::Write { from, header, offset, bytes } => {
                let read = state.registers.read(*from, usize::from(*bytes)).to_vec();
                read::write(&mut state.packet, *header, *offset, &read)
            }
            Op::Masquerade => translated(state, Translation::Masquerade),
            Op::Redirect { port } => {
                let port = port.map(|at| port_of(state.registers.read(at, 2)));
                match port {
                    Some(Err(gap)) => Next::Perhaps(gap, "the port of a redirection".into()),
                    Some(Ok(port)) => translated(state, Translation::Redirect { port: Some(port) }),
                    None => translated(state, Translation::Redirect { port: None }),
                }
            }
            Op::Nat { side, family, address, port } => self.nat(state, *side, *family, *address, *port),
            Op::Translate { source, address, port } => {
                let length = if state.packet.family() == Family::Ipv4 { 4 } else { 16 };
                let address = address.as_ref().and_then(|bytes| address_of(bytes.get(..length)?));
                let port = *port;
                let translation = match source {
                    true => Translation::Source { address, port },
                    false => Translation::Target { address, port },
                };
                translated(state, translation)
            }
            Op::RedirectTo { port } => translated(state, Translation::Redirect { port: *port }),
            Op::Reject => Next::Reject,
            Op::NoTrack => {
                state.untracked = true;
                Next::On
            }
            Op::Perhaps(what) => Next::Perhaps(Gap::Unseen, what.clone()),
            Op::Ends(what) => Next::Lost(what.clone()),
            Op::Xt(matched) => read::xt_match(&self.place, &state.packet, matched),
        }
    }

    fn nat(
        &self,
        state: &mut State<'a>,
        side: NftNat,
        family: Family,
        address: Option<program::Register>,
        port: Option<program::Register>,
    ) -> Next {
        if state.packet.family() != family {
            return Next::Break;
        }
        let length = if family == Family::Ipv4 { 4 } else { 16 };
        let address = match address.map(|at| value::all_known(state.registers.read(at, length))) {
            None => None,
            Some(Ok(bytes)) => address_of(&bytes),
            Some(Err(gap)) => return Next::Perhaps(gap, "the address of a translation".into()),
        };
        let port = match port.map(|at| port_of(state.registers.read(at, 2))) {
            None => None,
            Some(Ok(port)) => Some(port),
            Some(Err(gap)) => return Next::Perhaps(gap, "the port of a translation".into()),
        };
        translated(
            state,
            match side {
                NftNat::Source => Translation::Source { address, port },
                NftNat::Destination => Translation::Target { address, port },
            },
        )
    }

    fn lookup(&self, state: &mut State<'a>, set: &str, at: u8, result: Found, inverted: bool) -> Next {
        let Some(found) = self.table.sets.get(set) else {
            return Next::Perhaps(Gap::Unseen, format!("set {set} is not in the recording"));
        };
        let key = state.registers.read(at, value::key_width(found)).to_vec();
        let told = value::lookup(found, &key);
        let to = match result {
            Found::At(to) => Some(to),
            _ => None,
        };
        if let Some((_, gap)) = told.perhaps.first() {
            let gap = told.perhaps.iter().map(|(_, gap)| *gap).min().unwrap_or(*gap);
            let what = format!("set {set}");
            if result == Found::Nowhere {
                return Next::Perhaps(gap, what);
            }
            let mut ways: Vec<Option<NftElement>> = vec![told.surely.and_then(|k| found.elements.get(k)).cloned()];
            for (key, _) in &told.perhaps {
                let element = found.elements.get(*key).map(|e| NftElement { data: e.data.clone(), comment: None });
                if !ways.contains(&element) {
                    ways.push(element);
                }
            }
            return Next::OneOf(ways, gap, what, to);
        }
        match (told.surely, result) {
            (key, Found::Nowhere) => {
                if key.is_some() == inverted {
                    Next::Break
                } else {
                    Next::On
                }
            }
            (None, _) => Next::Break,
            (Some(key), _) => {
                let data = found.elements.get(key).and_then(|e| e.data.as_ref());
                apply(state, data, to).map_or(Next::On, Next::Verdict)
            }
        }
    }
}

fn judged(holds: Result<bool, Gap>, what: &str) -> Next {
    match holds {
        Ok(true) => Next::On,
        Ok(false) => Next::Break,
        Err(gap) => Next::Perhaps(gap, what.to_owned()),
    }
}

fn translated(state: &mut State<'_>, translation: Translation) -> Next {
    state.translation = Some(translation);
    Next::Translated
}

fn number(bytes: &[Byte]) -> Option<u32> {
    let all = value::all_known(bytes).ok()?;
    all.first_chunk::<4>().copied().map(u32::from_ne_bytes)
}

fn port_of(bytes: &[Byte]) -> Result<u16, Gap> {
    let all = value::all_known(bytes)?;
    all.first_chunk::<2>().copied().map(u16::from_be_bytes).ok_or(Gap::Unseen)
}

fn address_of(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => bytes.first_chunk::<4>().map(|b| IpAddr::V4(Ipv4Addr::from(*b))),
        _ => bytes.first_chunk::<16>().map(|b| IpAddr::V6(Ipv6Addr::from(*b))),
    }
}

/// Puts what a map has into a register, or says the verdict.
fn apply(state: &mut State<'_>, data: Option<&NftData>, to: Option<program::Register>) -> Option<NftVerdict> {
    match (data, to) {
        (Some(NftData::Verdict(verdict)), _) => Some(verdict.clone()),
        (Some(NftData::Value(values)), Some(to)) => {
            state.registers.write(to, &known(&crate::snapshot::concat(values)));
            None
        }
        _ => None,
    }
}

/// A rule in nft's words; expressions that have none here by their names.
fn words(rule: &crate::snapshot::NftRule) -> String {
    let opaque = |e: &crate::snapshot::NftExpr| matches!(e, crate::snapshot::NftExpr::Opaque { .. });
    if !rule.exprs.iter().any(opaque) {
        return rule.to_string();
    }
    program::told(rule)
}
