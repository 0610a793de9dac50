//! One vif spec in the strict dialect. This is the path that must be fast: one pass, positions only where one is told.

use super::hint::unknown_item;
use super::{Parsed, findings};
use crate::model::flaw::{Flaw, decimal, quoted};
use crate::model::vif::{read_macs, read_networks, read_prefixes};
use crate::model::{
    BackendDomain, ColoKey, DevId, GuestMac, IfName, IfNameError, Mtu, PacketLog, Policy, RateLimit, VifParts, VifSpec,
    VifType, VlanSpec, Word,
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
    Ok(Parsed { value, notes: findings(notes, text) })
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
    Prefix,
    Macs,
    Policy,
    Log,
}

/// Collects the items of one spec.
pub(super) struct Builder {
    spec: VifParts,
    seen: u32,
    vifname_at: usize,
    pub(super) notes: Vec<Flaw>,
}

impl Builder {
    pub(super) fn new() -> Self {
        Builder { spec: VifParts::default(), seen: 0, vifname_at: 0, notes: Vec::new() }
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
        let known = match key.as_bytes() {
            b"mac" => Key::Mac,
            b"bridge" => Key::Bridge,
            b"ip" => Key::Ip,
            b"vifname" => Key::Vifname,
            b"rate" => Key::Rate,
            b"model" => Key::Model,
            b"type" => Key::Type,
            b"script" => Key::Script,
            b"backend" => Key::Backend,
            b"mtu" => Key::Mtu,
            b"vlan" => Key::Vlan,
            b"devid" => Key::Devid,
            b"gatewaydev" | b"netdev" => Key::Gatewaydev,
            b"forwarddev" => Key::Forwarddev,
            b"accel" => Key::Accel,
            b"policy" => Key::Policy,
            b"log" => Key::Log,
            b"macs" => Key::Macs,
            b"prefix" => Key::Prefix,
            _ => return self.other(key, value, item, at),
        };
        self.once(known, item, at)?;
        self.value(known, value).map_err(|flaw| closer(key, value, flaw).at(value_at))?;
        match known {
            Key::Vifname => self.vifname_at = value_at,
            Key::Gatewaydev if key == "netdev" => self.note(
                *Flaw::new(at..at + key.len(), "netdev is the older name of gatewaydev", "xl warns of it")
                    .hint("write gatewaydev="),
            ),
            Key::Accel => self.note(
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
            Key::Prefix => spec.prefix = read_prefixes(value)?,
            Key::Macs => spec.macs = read_macs(value)?,
            Key::Policy => spec.policy = Some(Policy::read(value)?),
            Key::Log => spec.log = Some(PacketLog::read(value)?),
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
        // Every value was read by its own rule, so this finds nothing.
        VifSpec::try_from(self.spec).map_err(|e| Flaw::new(0..0, e.message(), "values that go together"))
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
    // Blanks around lists do not count.
    if tidy.len() != value.len() && !matches!(key, "ip" | "prefix" | "macs") {
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

#[cfg(test)]
mod tests {
    use crate::config::{Dialect, parse_vif};

    #[test]
    fn a_refusal_shows_the_place_the_rule_and_the_way_out() {
        let error = parse_vif("mac=00:16:3e:01:02,bridge=xenbr0", Dialect::Strict).unwrap_err();
        assert_eq!(
            error.report(),
            "error: \"00:16:3e:01:02\" is not a MAC address\n    |\n  1 | mac=00:16:3e:01:02,bridge=xenbr0\n    \
             |     ^^^^^^^^^^^^^^ six groups of two hexadecimal digits with ':' between them\n\
             hint: for example 00:16:3e:01:02:03; without mac= one is generated"
        );
    }

    #[test]
    fn every_refusal_marks_what_is_wrong() {
        for (text, marked, hint) in [
            ("bridge=br0 ,ip=10.0.0.1", " ", "write bridge=br0"),
            ("bridge=\"br0\"", "\"", "write bridge=br0"),
            ("bridge=", "", "leave bridge= out"),
            ("bridge=br0, ", " ", "remove the comma or the blanks"),
            ("ip=10.0.0.1,10.0.0.2", "10.0.0.2", "several addresses are separated by blanks: ip=10.0.0.1 10.0.0.2"),
            ("ip=10.0.0.1/255.255.255.0", "255.255.255.0", "write bits, not a mask"),
            ("ip=guest.example.org", "guest.example.org", "a host name is not looked up: write its address"),
            (
                "ip=10.0.0.1 10.0.0.300",
                "10.0.0.300",
                "four numbers from 0 to 255 with dots between them, without leading zeros",
            ),
            (
                "script=vif-bridge bridge=br9",
                " bridge=br9",
                "write script=vif-bridge and give the rest as keys of their own",
            ),
            ("bridge=ovs0.10:20", ":", "Open vSwitch's NAME.TAG:TRUNK is written bridge=NAME,vlan=TAGp/TRUNK here"),
            ("bridge=a,bridge=b", "bridge=b", "xl would take the last one; remove the others"),
            ("trusted,untrusted", "untrusted", "xl would take the last one"),
            ("type=ioemu,vifname=aaaaaaaaaaaa", "aaaaaaaaaaaa", "shorten the name, or use type=vif"),
            ("type=netfront", "netfront", "write type=vif"),
            ("rate=10Mb/s@50", "50", "write @50us, @50ms or @50s: the manual says microseconds, xl takes seconds"),
            ("mac=00-16-3e-01-02-03", "-", "write 00:16:3e:01:02:03"),
            ("mac=01:00:5e:00:00:01", "01:00:5e:00:00:01", "clear that bit"),
            ("mtu=66", "66", "leave mtu= out for the bridge's"),
            ("vlan=10p/20p", "20p", "10p is the PVID already"),
            ("policy=none", "none", "write policy=off"),
            ("policy=Strict", "Strict", "leave policy= out for the usual: strict with ip=, and off without"),
            ("policy=", "", "leave policy= out"),
            ("log=no", "no", "write log=off"),
            ("log=syslog", "syslog", "write log=kernel for the kernel's log, log=nflog for ulogd or tcpdump"),
            ("policy=off,policy=mac", "policy=mac", "xl would take the last one; remove the others"),
            (
                "prefix=192.0.2.5/24",
                "192.0.2.5/24",
                "write prefix=192.0.2.0/24 for all of it, or ip=192.0.2.5/24 for the one address",
            ),
            ("macs=00:16:3e:00:00:01 00-16-3e-00-00-02", "-", "write 00:16:3e:00:00:02"),
            (
                "macs=00:16:3e:00:00:01,00:16:3e:00:00:02",
                "00:16:3e:00:00:02",
                "several MACs are separated by blanks: macs=00:16:3e:00:00:01 00:16:3e:00:00:02",
            ),
        ] {
            let error = parse_vif(text, Dialect::Strict).unwrap_err();
            let found = error.diagnostic().unwrap();
            assert_eq!(&text[found.span.clone()], marked, "{}", error.report());
            assert_eq!(error.hint(), Some(hint), "{text}");
        }
    }
}
