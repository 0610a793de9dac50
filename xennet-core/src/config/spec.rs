//! One vif spec in the strict dialect. This is the path that must be fast: one pass, positions only where one is told.

use super::Parsed;
use super::hint::unknown_item;
use crate::error::Diagnostic;
use crate::model::flaw::{Flaw, decimal, quoted};
use crate::model::vif::read_networks;
use crate::model::{
    BackendDomain, ColoKey, DevId, GuestMac, IfName, IfNameError, Mtu, RateLimit, VifSpec, VifType, VlanSpec, Word,
};

/// Reads a whole spec.
pub(super) fn read(text: &str) -> Result<Parsed<VifSpec>, Box<Flaw>> {
    let mut builder = Builder::new();
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        // Blanks before an item are nobody's mistake; xl skips them, too.
        let start = at + bytes[at..].iter().take_while(|b| **b == b' ').count();
        let mut end = start;
        let mut equals = None;
        while end < bytes.len() && bytes[end] != b',' {
            if bytes[end] == b'=' && equals.is_none() {
                equals = Some(end);
            }
            end += 1;
        }
        let item = &text[start..end];
        match equals {
            Some(equals) => builder.set(&text[start..equals], &text[equals + 1..end], item, start)?,
            None if item.is_empty() && start == at => {}
            None if item.is_empty() => return Err(unknown_item(&text[at..start]).at(at)),
            None => builder.flag(item, start)?,
        }
        at = end + 1;
    }
    let notes = std::mem::take(&mut builder.notes);
    let value = builder.finish()?;
    Ok(Parsed { value, notes: notes.into_iter().map(|flaw| flaw.diagnostic(text)).collect::<Vec<Diagnostic>>() })
}

/// The keys, as bits of [`Builder::seen`].
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Key {
    Mac,
    Bridge,
    Gatewaydev,
    Ip,
    Script,
    Vifname,
    Type,
    Model,
    Backend,
    Rate,
    Mtu,
    Vlan,
    Devid,
    Trusted,
    Isolated,
    Forwarddev,
    Accel,
}

/// Collects the items of one spec.
pub(super) struct Builder {
    spec: VifSpec,
    seen: u32,
    vifname_at: usize,
    pub(super) notes: Vec<Flaw>,
}

impl Builder {
    pub(super) fn new() -> Self {
        Builder { spec: VifSpec::default(), seen: 0, vifname_at: 0, notes: Vec::new() }
    }

    fn once(&mut self, key: Key, item: &str, at: usize) -> Result<(), Box<Flaw>> {
        let bit = 1 << key as u8;
        if self.seen & bit != 0 {
            return Err(Flaw::new(
                at..at + item.len(),
                format!("{} is given a second time", quoted(item)),
                "each key is given once",
            )
            .hint("xl would take the last one; remove the others"));
        }
        self.seen |= bit;
        Ok(())
    }

    /// Takes `key=value`; `at` is where the item starts, and the value is the end of the item.
    pub(super) fn set(&mut self, key: &str, value: &str, item: &str, at: usize) -> Result<(), Box<Flaw>> {
        let value_at = at + item.len() - value.len();
        let known = match key {
            "mac" => Key::Mac,
            "bridge" => Key::Bridge,
            "ip" => Key::Ip,
            "vifname" => Key::Vifname,
            "rate" => Key::Rate,
            "model" => Key::Model,
            "type" => Key::Type,
            "script" => Key::Script,
            "backend" => Key::Backend,
            "mtu" => Key::Mtu,
            "vlan" => Key::Vlan,
            "devid" => Key::Devid,
            "gatewaydev" | "netdev" => Key::Gatewaydev,
            "forwarddev" => Key::Forwarddev,
            "accel" => Key::Accel,
            _ => return self.other(key, value, item, at),
        };
        self.once(known, item, at)?;
        self.value(known, value).map_err(|flaw| closer(key, value, flaw).at(value_at))?;
        match key {
            "vifname" => self.vifname_at = value_at,
            "netdev" => self.note(
                *Flaw::new(at..at + key.len(), "netdev is the older name of gatewaydev", "xl warns of it")
                    .hint("write gatewaydev="),
            ),
            "accel" => self.note(
                *Flaw::new(at..at + item.len(), "accel has no effect", "xl does not support it").hint("remove it"),
            ),
            _ => {}
        }
        Ok(())
    }

    /// Takes a rate that was read by other rules.
    pub(super) fn set_rate(&mut self, rate: RateLimit, item: &str, at: usize) -> Result<(), Box<Flaw>> {
        self.once(Key::Rate, item, at)?;
        self.spec.rate = Some(rate);
        Ok(())
    }

    fn value(&mut self, key: Key, value: &str) -> Result<(), Box<Flaw>> {
        let spec = &mut self.spec;
        match key {
            Key::Mac => spec.mac = Some(GuestMac::read(value)?),
            Key::Bridge => spec.bridge = Some(name(value)?),
            Key::Ip => spec.ip = read_networks(value)?,
            Key::Vifname => spec.vifname = Some(name(value)?),
            Key::Rate => spec.rate = Some(RateLimit::read(value)?),
            Key::Model => spec.model = Some(Word::read(value)?),
            Key::Type => spec.vif_type = Some(VifType::read(value)?),
            Key::Script => spec.script = Some(Word::read(value)?),
            Key::Backend => spec.backend = Some(BackendDomain::read(value)?),
            Key::Mtu => spec.mtu = Some(mtu(value)?),
            Key::Vlan => spec.vlan = Some(VlanSpec::read(value)?),
            Key::Devid => spec.devid = Some(devid(value)?),
            Key::Gatewaydev => spec.gatewaydev = Some(name(value)?),
            Key::Forwarddev => spec.forwarddev = Some(name(value)?),
            Key::Accel | Key::Trusted | Key::Isolated => {}
        }
        Ok(())
    }

    #[cold]
    fn other(&mut self, key: &str, value: &str, item: &str, at: usize) -> Result<(), Box<Flaw>> {
        let Some(colo) = ColoKey::from_name(key) else {
            return Err(unknown_item(item).at(at));
        };
        let word = Word::read(value).map_err(|flaw| closer(key, value, flaw).at(at + item.len() - value.len()))?;
        if self.spec.colo.insert(colo, word).is_some() {
            return Err(Flaw::new(
                at..at + item.len(),
                format!("{} is given a second time", quoted(item)),
                "each key is given once",
            ));
        }
        Ok(())
    }

    /// Takes an item without `=`.
    pub(super) fn flag(&mut self, item: &str, at: usize) -> Result<(), Box<Flaw>> {
        match item {
            "trusted" | "untrusted" => {
                let trusted = item == "trusted";
                if self.spec.trusted == Some(!trusted) {
                    return Err(Flaw::new(
                        at..at + item.len(),
                        "trusted and untrusted contradict each other",
                        "one of the two, once",
                    )
                    .hint("xl would take the last one"));
                }
                self.once(Key::Trusted, item, at)?;
                self.spec.trusted = Some(trusted);
            }
            "isolated" => {
                self.once(Key::Isolated, item, at)?;
                self.spec.isolated = true;
            }
            _ => return Err(unknown_item(item).at(at)),
        }
        Ok(())
    }

    pub(super) fn note(&mut self, flaw: Flaw) {
        self.notes.push(flaw);
    }

    /// Checks what the items say together.
    pub(super) fn finish(self) -> Result<VifSpec, Box<Flaw>> {
        if let (Some(VifType::Ioemu), Some(name)) = (self.spec.vif_type, &self.spec.vifname) {
            name.tap().map_err(|_| tap_flaw(name).at(self.vifname_at))?;
        }
        Ok(self.spec)
    }
}

/// The finding for a name whose tap would not fit.
pub(super) fn tap_flaw(name: &IfName) -> Box<Flaw> {
    Flaw::new(
        0..name.as_str().len(),
        format!("vifname {name} is too long for type=ioemu: the tap would be \"{name}-emu\""),
        "11 bytes at most, as -emu is added and a name has 15",
    )
    .hint("shorten the name, or use type=vif")
}

/// A link's name in a spec.
pub(super) fn name(value: &str) -> Result<IfName, Box<Flaw>> {
    let flaw = |span, rule: String| Err(Flaw::new(span, format!("{} is not a link's name", quoted(value)), rule));
    match IfName::check(value) {
        Ok(name) => match value.bytes().position(|b| matches!(b, b',' | b'"' | b'\'' | b'\\')) {
            None => Ok(name),
            Some(at) => flaw(at..at + 1, "no commas, quotes or backslashes in a name".to_owned()),
        },
        Err(rule @ IfNameError::BadByte { found, at }) => flaw(at..at + found.len_utf8(), rule.to_string()),
        Err(rule) => flaw(0..value.len(), rule.to_string()),
    }
}

pub(super) fn mtu(value: &str) -> Result<Mtu, Box<Flaw>> {
    let rule = "a decimal number from 68 to 65517";
    decimal(value.as_bytes()).and_then(|n| u32::try_from(n).ok()).and_then(|n| Mtu::new(n).ok()).ok_or_else(|| {
        Flaw::new(0..value.len(), format!("{} is not an MTU", quoted(value)), rule)
            .hint("leave mtu= out for the bridge's")
    })
}

pub(super) fn devid(value: &str) -> Result<DevId, Box<Flaw>> {
    decimal(value.as_bytes()).and_then(|n| u32::try_from(n).ok()).and_then(|n| DevId::new(n).ok()).ok_or_else(|| {
        Flaw::new(0..value.len(), format!("{} is not a device id", quoted(value)), "a decimal number from 0 to 65535")
    })
}

/// A better finding than the value's own reader can give, for mistakes that any value can have.
#[cold]
fn closer(key: &str, value: &str, flaw: Box<Flaw>) -> Box<Flaw> {
    let tidy = value.trim();
    if value.is_empty() {
        return Flaw::new(0..0, format!("{key}= has no value"), "a value is needed").hint(format!("leave {key}= out"));
    }
    if tidy.len() != value.len() {
        let lead = value.len() - value.trim_start().len();
        let span = if lead > 0 { 0..lead } else { tidy.len()..value.len() };
        let rule = "blanks around a value become part of it";
        return Flaw::new(span, format!("{key}={} has a blank at its end or start", quoted(value)), rule)
            .hint(format!("write {key}={tidy}"));
    }
    let quote = |c: char| c == '"' || c == '\'';
    if let Some(p) = value.find(quote) {
        let bare: String = value.chars().filter(|c| !quote(*c)).collect();
        return Flaw::new(
            p..p + 1,
            format!("{key}={} has a quote in it", quoted(value)),
            "quotes become part of the value",
        )
        .hint(format!("write {key}={bare}"));
    }
    match key {
        "script" if value.contains(' ') => {
            let at = value.find(' ').unwrap_or(0);
            let (program, _) = value.split_at(at);
            Flaw::new(
                at..value.len(),
                format!("script={} has arguments", quoted(value)),
                "libxl runs the whole text as one path",
            )
            .hint(format!("write script={program} and give the rest as keys of their own"))
        }
        "bridge" if value.contains(':') => {
            flaw.hint("Open vSwitch's NAME.TAG:TRUNK is written bridge=NAME,vlan=TAGp/TRUNK here")
        }
        _ => flaw,
    }
}
