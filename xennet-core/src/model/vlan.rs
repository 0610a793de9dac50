//! VLAN membership of a bridge port.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::flaw::{Flaw, decimal, quoted};
use crate::error::{Error, ErrorKind};

/// A VLAN id: 1 to 4094. 0 and 4095 are reserved by IEEE 802.1Q.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(try_from = "u16", into = "u16")]
pub struct Vid(u16);

impl Vid {
    /// VLAN 1, which the kernel puts on every new port of a VLAN-aware bridge.
    pub const ONE: Vid = Vid(1);

    /// Checks the range 1 to 4094; `None` outside of it.
    pub const fn new(id: u16) -> Option<Self> {
        if id >= 1 && id <= 4094 { Some(Vid(id)) } else { None }
    }

    /// The number.
    pub const fn get(self) -> u16 {
        self.0
    }
}

impl TryFrom<u16> for Vid {
    type Error = Error;
    fn try_from(id: u16) -> Result<Self, Error> {
        Vid::new(id).ok_or_else(|| {
            Error::new(ErrorKind::Invalid, format!("VLAN id {id} is out of range: it is 1 to 4094"))
                .with_object(id.to_string())
        })
    }
}

impl From<Vid> for u16 {
    fn from(vid: Vid) -> u16 {
        vid.0
    }
}

impl fmt::Display for Vid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Whether frames of a VLAN leave a port with their tag.
///
/// There are no others: IEEE 802.1Q knows these.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Tagging {
    /// The guest sees the tag.
    Tagged,
    /// The tag is taken off on the way to the guest.
    Untagged,
}

/// The value of `vlan=`: which VLANs a vif belongs to. There is always exactly one PVID, and it is untagged.
///
/// As text it is terms with `/` between them: `ID`, `IDp` (the PVID), `IDu` (untagged), `A-B[u]` (every id from A to B),
/// `ID+STEPxCOUNT[u]` (ID and COUNT further ids, STEP apart). A single plain id is the PVID.
///
/// Source: `xl-network-configuration(5)`, key `vlan`, since Xen 4.19, which says "starting at vlan with count additional entries".
/// Others read COUNT otherwise. The example there lists one id more for `100+10x4` (up to 150). The shell script that was proposed
/// together with the key, and is no part of Xen, makes COUNT ids in all (up to 130), while its own description counts as here. Single
/// ids and ranges are read alike by all, so a call and `xennet attach` [remark on](Self::remark_on) a series.
///
/// ```
/// use xennet_core::VlanSpec;
/// let vlan: VlanSpec = "10p/100+10x4".parse()?;
/// assert_eq!(vlan.pvid().get(), 10);
/// assert_eq!(vlan.vids().map(|(v, _)| v.get()).collect::<Vec<_>>(), [10, 100, 110, 120, 130, 140]);
/// assert_eq!(vlan.to_string(), "10p/100+10x4");
/// # Ok::<(), xennet_core::Error>(())
/// ```
#[doc(alias("vlan", "trunk", "802.1q"))]
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(try_from = "String", into = "String")]
pub struct VlanSpec {
    pub(crate) pvid: Vid,
    pub(crate) vids: BTreeMap<Vid, Tagging>,
}

impl VlanSpec {
    /// One untagged VLAN: an access port.
    pub fn access(pvid: Vid) -> Self {
        VlanSpec { pvid, vids: BTreeMap::from([(pvid, Tagging::Untagged)]) }
    }

    /// The same port with one more VLAN; the PVID stays untagged whatever is asked for it.
    pub fn with(mut self, vid: Vid, tagging: Tagging) -> Self {
        if vid != self.pvid {
            self.vids.insert(vid, tagging);
        }
        self
    }

    /// The VLAN that the guest's untagged frames belong to.
    pub fn pvid(&self) -> Vid {
        self.pvid
    }

    /// Every VLAN of the port, the PVID included, in ascending order.
    pub fn vids(&self) -> impl Iterator<Item = (Vid, Tagging)> + '_ {
        self.vids.iter().map(|(v, t)| (*v, *t))
    }

    /// Whether the port belongs to this VLAN.
    pub fn contains(&self, vid: Vid) -> bool {
        self.vids.contains_key(&vid)
    }

    /// Whether it belongs to more than the VLAN of its untagged frames, so that frames with a tag are its to send.
    pub(crate) fn has_tagged(&self) -> bool {
        self.vids.len() > 1
    }

    /// A remark on a text that was read as this, if it has a term `ID+STEPxCOUNT`, of which others read COUNT otherwise.
    ///
    /// ```
    /// use xennet_core::VlanSpec;
    /// let text = "10p/100+10x4";
    /// let told = text.parse::<VlanSpec>()?.remark_on(text).unwrap();
    /// assert!(told.starts_with("vlan=10p/100+10x4 is VLANs 10, 100, 110, 120, 130, 140: "));
    /// assert_eq!("10p/100-140".parse::<VlanSpec>()?.remark_on("10p/100-140"), None);
    /// # Ok::<(), xennet_core::Error>(())
    /// ```
    pub fn remark_on(&self, text: &str) -> Option<String> {
        if !text.contains('+') {
            return None;
        }
        let ids: Vec<String> = self.vids().map(|(vid, _)| vid.to_string()).collect();
        let all = match ids.as_slice() {
            [.., last] if ids.len() > 12 => format!("{} VLANs up to {last}", ids.len()),
            _ => format!("VLANs {}", ids.join(", ")),
        };
        Some(format!(
            "vlan={text} is {all}: ID+STEPxCOUNT is ID and COUNT further ids, by the text of xl-network-configuration(5); others read \
             COUNT otherwise, so better write the ids with / between them"
        ))
    }

    /// Reads the text: what parsers of larger texts call.
    pub(crate) fn read(text: &str) -> Result<Self, Box<Flaw>> {
        let mut pvid: Option<(Vid, Range<usize>)> = None;
        let mut vids = BTreeMap::new();
        let mut plain_single = None;
        let mut at = 0;
        for term in text.split('/') {
            let whole = at..at + term.len();
            at += term.len() + 1;
            let flaw = |rule: &str| Flaw::new(whole.clone(), format!("{} is no VLAN term", quoted(term)), rule);
            if term.is_empty() {
                let rule = if text.is_empty() { "a VLAN id is needed" } else { "a term between '/' is empty" };
                return Err(flaw(rule).hint("for example 10, or 10p/20/30-35"));
            }
            let (body, mark) = match term.as_bytes() {
                [.., b'p'] => (&term[..term.len() - 1], Mark::Pvid),
                [.., b'u'] => (&term[..term.len() - 1], Mark::Untagged),
                _ => (term, Mark::Plain),
            };
            let id = |digits: &str| {
                decimal(digits.as_bytes())
                    .ok_or_else(|| flaw("ID, IDp, IDu, A-B, A-Bu, ID+STEPxCOUNT or ID+STEPxCOUNTu, all decimal"))
                    .and_then(|n| {
                        u16::try_from(n).ok().and_then(Vid::new).ok_or_else(|| flaw("a VLAN id is 1 to 4094"))
                    })
            };
            let single = !body.contains(['-', '+']);
            let (first, step, last) = if let Some((a, b)) = body.split_once('-') {
                let (a, b) = (id(a)?, id(b)?);
                if a > b {
                    return Err(flaw("a range goes upwards").hint(format!("write {b}-{a}")));
                }
                (a, 1, b)
            } else if let Some((start, steps)) = body.split_once('+') {
                let start = id(start)?;
                let numbers = steps
                    .split_once('x')
                    .and_then(|(step, count)| Some((decimal(step.as_bytes())?, decimal(count.as_bytes())?)));
                let Some((step, count)) = numbers else {
                    return Err(flaw("ID+STEPxCOUNT: decimal numbers").hint("for example 100+10x4"));
                };
                if step == 0 || count == 0 {
                    return Err(flaw("step and count are at least 1"));
                }
                let last = step.checked_mul(count).and_then(|n| n.checked_add(u64::from(start.get())));
                match last.and_then(|n| u16::try_from(n).ok()).and_then(Vid::new) {
                    // `step` is below `last`, which fits.
                    Some(last) => (start, step as usize, last),
                    None => return Err(flaw("the last id of the series would be above 4094")),
                }
            } else {
                let only = id(body)?;
                (only, 1, only)
            };
            if mark == Mark::Pvid {
                if !single {
                    return Err(flaw("only a single id can be the PVID").hint("name the PVID in a term of its own"));
                }
                if let Some((_, earlier)) = &pvid {
                    return Err(flaw("there is exactly one PVID")
                        .hint(format!("{} is the PVID already", &text[earlier.clone()])));
                }
                pvid = Some((first, whole.clone()));
            }
            plain_single = (single && mark == Mark::Plain).then_some(first);
            let tagging = if mark == Mark::Plain { Tagging::Tagged } else { Tagging::Untagged };
            for vid in (first.0..=last.0).step_by(step) {
                if vids.insert(Vid(vid), tagging).is_some() {
                    return Err(flaw("each VLAN is named once").hint(format!("VLAN {vid} is in an earlier term")));
                }
            }
        }
        let pvid = match (pvid, plain_single) {
            (Some((pvid, _)), _) => pvid,
            (None, Some(only)) if vids.len() == 1 => only,
            _ => {
                return Err(Flaw::new(
                    0..text.len(),
                    format!("{} names no PVID", quoted(text)),
                    "there is exactly one PVID",
                )
                .hint("mark the VLAN of the guest's untagged frames with p, for example 10p"));
            }
        };
        vids.insert(pvid, Tagging::Untagged);
        Ok(VlanSpec { pvid, vids })
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mark {
    Plain,
    Pvid,
    Untagged,
}

impl fmt::Display for VlanSpec {
    /// The PVID first, then the others ascending, with ranges and series where three or more ids make one.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.pvid)?;
        if self.vids.len() > 1 {
            f.write_str("p")?;
        }
        let others: Vec<(Vid, Tagging)> = self.vids().filter(|(v, _)| *v != self.pvid).collect();
        let mut rest = &others[..];
        while let [(first, tagging), ..] = *rest {
            let step = match rest {
                [_, (second, t), ..] if *t == tagging => second.0 - first.0,
                _ => 1,
            };
            let same = |pair: &&[(Vid, Tagging)]| pair[1].1 == tagging && pair[1].0.0 - pair[0].0.0 == step;
            let further = rest.windows(2).take_while(same).count();
            let mark = if tagging == Tagging::Untagged { "u" } else { "" };
            let taken = match (further, step) {
                (0 | 1, _) => {
                    write!(f, "/{first}{mark}")?;
                    1
                }
                (n, 1) => {
                    write!(f, "/{first}-{}{mark}", rest[n].0)?;
                    n + 1
                }
                (n, step) => {
                    write!(f, "/{first}+{step}x{n}{mark}")?;
                    n + 1
                }
            };
            rest = &rest[taken..];
        }
        Ok(())
    }
}

impl FromStr for VlanSpec {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self, Error> {
        VlanSpec::read(text).map_err(|flaw| flaw.error(text).with_object(text))
    }
}

impl TryFrom<String> for VlanSpec {
    type Error = Error;
    fn try_from(text: String) -> Result<Self, Error> {
        text.parse()
    }
}

impl From<VlanSpec> for String {
    fn from(vlan: VlanSpec) -> String {
        vlan.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_every_form_and_prints_the_shortest() {
        for (given, printed) in [
            ("10", "10"),
            ("10p", "10"),
            ("10p/20", "10p/20"),
            ("20/10p", "10p/20"),
            ("10p/100+10x4", "10p/100+10x4"),
            ("10p/100/101/102", "10p/100-102"),
            ("10p/100-101", "10p/100/101"),
            ("1p/2u/3u/4u/5", "1p/2-4u/5"),
            ("4094p/1-4093", "4094p/1-4093"),
            ("10p/20+1x1", "10p/20/21"),
        ] {
            let vlan: VlanSpec = given.parse().unwrap_or_else(|e| panic!("{given}: {e}"));
            assert_eq!(vlan.to_string(), printed);
            assert_eq!(printed.parse::<VlanSpec>().unwrap(), vlan);
        }
    }

    #[test]
    fn refuses_with_the_term() {
        for (bad, span) in [
            ("", 0..0),
            ("10u", 0..3),
            ("10/20", 0..5),
            ("10p/20p", 4..7),
            ("0", 0..1),
            ("4095", 0..4),
            ("20-10p", 0..6),
            ("10p/", 4..4),
            ("10p/100+10x400", 4..14),
            ("10p/100+0x4", 4..11),
            ("10p/10", 4..6),
            ("10p/5-20", 4..8),
            ("5-7p", 0..4),
            ("010", 0..3),
            ("10 p", 0..4),
            ("1+65535x65535", 0..13),
            ("1+18446744073709551615x2", 0..24),
            ("10P", 0..3),
            ("-5", 0..2),
        ] {
            assert_eq!(VlanSpec::read(bad).map_err(|f| f.span), Err(span), "{bad}");
        }
    }
}
