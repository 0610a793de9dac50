//! One vif spec as xl reads it, and what it swallows on the way.

use std::collections::BTreeMap;

use serde::Serialize;

use super::hint::unknown_item;
use super::number::strtoul;
use super::{Parsed, findings, rate, spec};
use crate::error::Error;
use crate::model::flaw::{Flaw, quoted};
use crate::model::vif::{Trust, read_networks};
use crate::model::{
    BackendDomain, ColoKey, DevId, GuestMac, MacAddr, Mtu, RateLimit, VifParts, VifSpec, VifType, VlanSpec, Word,
};

/// What xl hands to libxl for one vif: every text as it was typed, numbers as C's conversions leave them, nothing checked.
///
/// As a document it has libxl's field names, and like libxl's own JSON leaves out what is unset.
///
/// Source: `tools/libs/light/libxl_types.idl`, `device_nic`; `tools/xl/xl_parse.c`, `parse_nic_config`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct XlNic {
    /// The index in the domain; `None` is libxl's -1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub devid: Option<i32>,
    /// The guest's address; `None` is all zero, of which libxl makes a random one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mac: Option<MacAddr>,
    /// The bridge, unchecked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bridge: Option<String>,
    /// The addresses, unchecked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ip: Option<String>,
    /// The emulated model, unchecked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// The type.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nictype: Option<VifType>,
    /// The name in the backend domain, unchecked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ifname: Option<String>,
    /// The script, unchecked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub script: Option<String>,
    /// The gateway's link, unchecked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gatewaydev: Option<String>,
    /// The backend domain, unchecked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backend_domname: Option<String>,
    /// The MTU; 0 is unset.
    #[serde(skip_serializing_if = "is_zero_i32")]
    pub mtu: i32,
    /// The credit in bytes; 0 is unset, or a credit of nothing.
    #[serde(skip_serializing_if = "is_zero_u64")]
    pub rate_bytes_per_interval: u64,
    /// The interval in microseconds; 0 is no limit.
    #[serde(skip_serializing_if = "is_zero_u32")]
    pub rate_interval_usecs: u32,
    /// Whether the frontend may trust the backend.
    #[cfg_attr(feature = "schema", schemars(with = "Option<Trust>"))]
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "defbool")]
    pub trusted: Option<bool>,
    /// VLANs, unchecked (xl since 4.19).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vlan: Option<String>,
    /// COLO's forwarding link, unchecked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub coloft_forwarddev: Option<String>,
    /// The `colo_*` values.
    #[serde(flatten)]
    pub colo: BTreeMap<ColoKey, String>,
}

fn is_zero_i32(n: &i32) -> bool {
    *n == 0
}

fn is_zero_u64(n: &u64) -> bool {
    *n == 0
}

fn is_zero_u32(n: &u32) -> bool {
    *n == 0
}

fn defbool<S: serde::Serializer>(value: &Option<bool>, out: S) -> Result<S::Ok, S::Error> {
    value.map(|t| if t { Trust::True } else { Trust::False }).serialize(out)
}

impl XlNic {
    /// The vif that this describes, if it describes one; otherwise the key and what is wrong with its value.
    pub(super) fn to_spec(&self) -> Result<VifSpec, (&'static str, Box<Flaw>)> {
        fn read<T>(
            key: &'static str,
            text: &Option<String>,
            reader: impl Fn(&str) -> Result<T, Box<Flaw>>,
        ) -> Result<Option<T>, (&'static str, Box<Flaw>)> {
            text.as_deref().map(reader).transpose().map_err(|flaw| (key, flaw))
        }
        let unsigned = |n: i32| u32::try_from(n).ok();
        let mut spec = VifParts::default();
        if let Some(n) = self.devid {
            let devid = unsigned(n).and_then(|n| DevId::new(n).ok());
            spec.devid = Some(devid.ok_or_else(|| {
                ("devid", Flaw::new(0..0, format!("device id {n} is out of range"), "a device id is 0 to 65535"))
            })?);
        }
        if let Some(mac) = self.mac {
            spec.mac = Some(GuestMac::read(&mac.to_string()).map_err(|flaw| ("mac", flaw))?);
        }
        if self.mtu != 0 {
            let mtu = unsigned(self.mtu).and_then(|n| Mtu::new(n).ok());
            spec.mtu = Some(mtu.ok_or_else(|| {
                ("mtu", Flaw::new(0..0, format!("{} is not an MTU", self.mtu), "an MTU is 68 to 65517"))
            })?);
        }
        if self.rate_interval_usecs != 0 {
            let rate = RateLimit::new(self.rate_bytes_per_interval, self.rate_interval_usecs);
            spec.rate = Some(rate.map_err(|_| ("rate", rate::zero_credit("rate")))?);
        }
        spec.bridge = read("bridge", &self.bridge, spec::name)?;
        spec.gatewaydev = read("gatewaydev", &self.gatewaydev, spec::name)?;
        spec.vifname = read("vifname", &self.ifname, spec::name)?;
        spec.forwarddev = read("forwarddev", &self.coloft_forwarddev, spec::name)?;
        spec.ip = read("ip", &self.ip, read_networks)?.unwrap_or_default();
        spec.script = read("script", &self.script, Word::read)?;
        spec.model = read("model", &self.model, Word::read)?;
        spec.backend = read("backend", &self.backend_domname, BackendDomain::read)?;
        spec.vlan = read("vlan", &self.vlan, VlanSpec::read)?;
        spec.vif_type = self.nictype;
        spec.trusted = self.trusted;
        for (key, value) in &self.colo {
            spec.colo.insert(*key, Word::read(value).map_err(|flaw| (key.name(), flaw))?);
        }
        if let (Some(VifType::Ioemu), Some(name)) = (spec.vif_type, &spec.vifname) {
            name.tap().map_err(|_| ("vifname", spec::tap_flaw(name)))?;
        }
        // Every value was read by its own rule, so this finds nothing.
        VifSpec::try_from(spec).map_err(|e| ("vif", Flaw::new(0..0, e.message(), "values that go together")))
    }
}

impl TryFrom<&XlNic> for VifSpec {
    type Error = Error;

    /// # Errors
    /// [`Invalid`](crate::ErrorKind::Invalid) for the first value that no vif can have.
    fn try_from(nic: &XlNic) -> Result<Self, Error> {
        nic.to_spec().map_err(|(key, flaw)| {
            let error = Error::new(crate::ErrorKind::Invalid, format!("{key}: {} ({})", flaw.message, flaw.rule));
            match flaw.hint {
                Some(hint) => error.with_hint(hint),
                None => error,
            }
        })
    }
}

/// Puts a finding about the value of `key` where that key stands last in the spec `text`.
pub(super) fn locate(text: &str, key: &str, flaw: Box<Flaw>) -> Box<Flaw> {
    let mut at = 0;
    let mut value = 0..text.len();
    for item in text.split(',') {
        let start = at + item.len() - item.trim_start_matches(' ').len();
        let found = item.trim_start_matches(' ').split_once('=');
        if let Some((k, v)) = found.filter(|(k, _)| *k == key || (key == "gatewaydev" && *k == "netdev")) {
            value = start + k.len() + 1..start + k.len() + 1 + v.len();
        }
        at += item.len() + 1;
    }
    let mut flaw = flaw;
    // A number's finding has no span of its own, and xl may have read a MAC address that is written otherwise.
    flaw.span = match flaw.span.is_empty() || flaw.span.end > value.len() {
        true => value,
        false => value.start + flaw.span.start..value.start + flaw.span.end,
    };
    flaw
}

/// Reads the items of one spec.
pub(super) fn read(text: &str) -> Result<Parsed<XlNic>, Box<Flaw>> {
    let mut nic = XlNic { devid: Some(0), ..XlNic::default() };
    let mut notes = Vec::new();
    read_items(text, &mut nic, &mut notes)?;
    Ok(Parsed { value: nic, notes: findings(notes, text) })
}

/// Reads the items of one spec into `nic`, as `xl create` does: complaints do not stop it.
pub(super) fn read_items(text: &str, nic: &mut XlNic, notes: &mut Vec<Flaw>) -> Result<(), Box<Flaw>> {
    no_nul(text)?;
    let mut seen = Vec::new();
    let mut at = 0;
    for item in text.split(',') {
        let blanks = item.len() - item.trim_start_matches(' ').len();
        if !item.is_empty() {
            let token = &item[blanks..];
            if let Outcome::Complaint(flaw) = option(nic, token, &mut seen, notes, at + blanks)? {
                notes.push(*flaw.at(at + blanks));
            }
        }
        at += item.len() + 1;
    }
    Ok(())
}

pub(super) fn no_nul(text: &str) -> Result<(), Box<Flaw>> {
    match text.find('\0') {
        None => Ok(()),
        Some(at) => {
            let rule = "C ends a text at a NUL character: what follows would be lost";
            Err(Flaw::new(at..at + 1, "a NUL character in the text", rule).hint("remove it"))
        }
    }
}

/// What xl's reader of one option returns.
pub(super) enum Outcome {
    /// 0.
    Taken,
    /// 1: `xl create` goes on, `xl network-attach` stops.
    Complaint(Box<Flaw>),
}

/// Reads one option; `at` is where it starts in the text that notes are about.
///
/// # Errors
/// What xl exits at once for.
pub(super) fn option<'a>(
    nic: &mut XlNic,
    token: &'a str,
    seen: &mut Vec<&'a str>,
    notes: &mut Vec<Flaw>,
    at: usize,
) -> Result<Outcome, Box<Flaw>> {
    let trust = match token {
        "trusted" => Some(true),
        "untrusted" => Some(false),
        _ => None,
    };
    if let Some(trusted) = trust {
        if nic.trusted == Some(!trusted) {
            notes.push(
                *Flaw::new(
                    at..at + token.len(),
                    "trusted and untrusted contradict each other",
                    "xl takes the last one",
                )
                .hint("remove one"),
            );
        }
        nic.trusted = Some(trusted);
        return Ok(Outcome::Taken);
    }
    let Some((key, value)) = token.split_once('=') else {
        return Ok(Outcome::Complaint(unknown_item(token)));
    };
    let base = key.len() + 1;
    let value_at = at + base;
    let mut note = |flaw: Box<Flaw>| notes.push(*flaw.at(value_at));
    let colo = ColoKey::from_name(key);
    let text = match key {
        "bridge" => Some(&mut nic.bridge),
        "netdev" | "gatewaydev" => Some(&mut nic.gatewaydev),
        "ip" => Some(&mut nic.ip),
        "script" => Some(&mut nic.script),
        "backend" => Some(&mut nic.backend_domname),
        "vifname" => Some(&mut nic.ifname),
        "model" => Some(&mut nic.model),
        "vlan" => Some(&mut nic.vlan),
        "forwarddev" => Some(&mut nic.coloft_forwarddev),
        _ => None,
    };
    match (key, text) {
        (_, Some(text)) => {
            // Whoever reads ip= from xenstore takes no notice of blanks around it.
            let is_ip = key == "ip" && value.trim() != value && !value.trim().is_empty();
            if let Some(flaw) = text_note(value).filter(|_| !is_ip) {
                note(flaw);
            }
            *text = Some(value.to_owned());
            if key == "netdev" {
                let flaw = Flaw::new(0..key.len(), "the netdev parameter is deprecated", "xl takes it for gatewaydev");
                notes.push(*flaw.hint("write gatewaydev=").at(at));
            } else if key == "vlan" {
                let rule = "xl stores it since 4.19, unchecked; before, it does not know the key";
                notes.push(*Flaw::new(0..token.len(), "vlan= does nothing in xl's own scripts", rule).at(at));
            }
        }
        ("type", _) => match VifType::read(value) {
            Ok(kind) => nic.nictype = Some(kind),
            Err(flaw) => return Ok(Outcome::Complaint(flaw.at(base))),
        },
        ("mac", _) => {
            let result = read_mac(value, &mut nic.mac, &mut note);
            if let Err(flaw) = result {
                return Ok(Outcome::Complaint(flaw.at(base)));
            }
        }
        ("rate", _) => {
            let mut found = Vec::new();
            let rate = rate::read_xl(value, &mut found).map_err(|flaw| flaw.at(value_at))?;
            found.into_iter().for_each(|flaw| note(Box::new(flaw)));
            (nic.rate_bytes_per_interval, nic.rate_interval_usecs) = (rate.bytes_per_interval, rate.interval_usecs);
        }
        ("accel", _) => {
            notes.push(
                *Flaw::new(0..token.len(), "accel has no effect", "xl does not support it").hint("remove it").at(at),
            );
        }
        // -1 is libxl's "not given".
        ("devid", _) => {
            nic.devid = Some(read_int(value, &mut note).map_err(|flaw| flaw.at(value_at))?).filter(|n| *n != -1)
        }
        ("mtu", _) => {
            nic.mtu = read_int(value, &mut note).map_err(|flaw| flaw.at(value_at))?;
            if nic.mtu == 0 {
                note(
                    Flaw::new(0..value.len(), "mtu=0 is no limit and no size", "libxl takes it as not given")
                        .hint("leave mtu= out"),
                );
            }
        }
        _ => match colo {
            Some(colo) => {
                nic.colo.insert(colo, value.to_owned());
            }
            None => return Ok(Outcome::Complaint(unknown_item(token))),
        },
    }
    if seen.contains(&key) {
        notes.push(
            *Flaw::new(at..at + token.len(), format!("{key}= is given again"), "xl takes the last one")
                .hint("remove the others"),
        );
    }
    seen.push(key);
    Ok(Outcome::Taken)
}

/// What is odd about a value that xl stores as it is.
fn text_note(value: &str) -> Option<Box<Flaw>> {
    let tidy = value.trim();
    if value.is_empty() {
        Some(Flaw::new(0..0, "an empty value", "xl hands the empty text on").hint("leave the key out"))
    } else if tidy.len() != value.len() {
        let lead = value.len() - value.trim_start().len();
        let span = if lead > 0 { 0..lead } else { tidy.len()..value.len() };
        Some(
            Flaw::new(
                span,
                format!("{} has blanks at its end or start", quoted(value)),
                "they become part of the value",
            )
            .hint("remove them"),
        )
    } else {
        let at = value.find(['"', '\''])?;
        Some(
            Flaw::new(at..at + 1, format!("{} has a quote in it", quoted(value)), "quotes become part of the value")
                .hint("remove it"),
        )
    }
}

/// `parse_ulong`, and the conversion of its result to C's `int`.
fn read_int(value: &str, note: &mut impl FnMut(Box<Flaw>)) -> Result<i32, Box<Flaw>> {
    let number = strtoul(value.as_bytes(), 10);
    if number.len == 0 || number.value == u64::MAX {
        let flaw =
            Flaw::new(0..value.len(), format!("{} is not a number", quoted(value)), "xl stops here: failed to convert");
        return Err(flaw.hint("write a decimal number"));
    }
    // What C does on every platform that Xen runs on: the low 32 bits.
    let int = number.value as u32 as i32;
    if i64::from(int) != number.value as i64
        || number.len != value.len()
        || !value.starts_with(|c: char| c.is_ascii_digit())
    {
        note(
            Flaw::new(
                0..value.len(),
                format!("{} is read as {int}", quoted(value)),
                "xl takes the number at the start, modulo 2^32",
            )
            .hint(format!("write {int}")),
        );
    }
    Ok(int)
}

/// Six times a hexadecimal number and one character. What was read before a mistake stays, as in xl.
fn read_mac(value: &str, mac: &mut Option<MacAddr>, note: &mut impl FnMut(Box<Flaw>)) -> Result<(), Box<Flaw>> {
    let bytes = value.as_bytes();
    let mut octets = mac.map_or([0; 6], MacAddr::octets);
    let mut at = 0;
    let mut result = Ok(());
    for (i, octet) in octets.iter_mut().enumerate() {
        let rest = bytes.get(at..).unwrap_or_default();
        let number = strtoul(rest, 16);
        // C keeps the low 32 bits before it compares.
        let low = number.value as u32;
        match u8::try_from(low) {
            Ok(n) if number.len > 0 => *octet = n,
            _ => {
                let message = format!("{} is not a MAC address", quoted(value));
                // Beyond the end xl reads on in memory, and may find hexadecimal digits there: that is not imitated.
                let rule = match at > bytes.len() {
                    true => {
                        format!("xl needs six groups; after {i} it reads on behind the value, in whatever is there")
                    }
                    false => "xl takes six hexadecimal numbers up to ff, and keeps those before a bad one".to_owned(),
                };
                let from = at.min(bytes.len());
                result = Err(Flaw::new(from..bytes.len(), message, rule).hint("for example 00:16:3e:01:02:03"));
                break;
            }
        }
        at += number.len + 1;
    }
    let read = MacAddr::new(octets);
    *mac = Some(read).filter(|m| !m.is_zero());
    result?;
    if let Err(flaw) = GuestMac::read(value) {
        let message = match read.is_zero() {
            true => "an address of zeros: libxl makes a random one".to_owned(),
            false => format!("xl reads {} as {read}", quoted(value)),
        };
        note(Flaw { message, ..*flaw }.into());
    }
    Ok(())
}

/// The value of `mac=` alone.
pub(super) fn mac(text: &str) -> Result<Parsed<MacAddr>, Error> {
    let (mut mac, mut notes) = (None, Vec::new());
    no_nul(text)
        .and_then(|()| read_mac(text, &mut mac, &mut |flaw| notes.push(*flaw)))
        .map_err(|flaw| flaw.error(text))?;
    let notes = findings(notes, text);
    Ok(Parsed { value: mac.unwrap_or(MacAddr::ZERO), notes })
}
