//! What stands in a picture, in words: the same in every view.

use ipnetwork::IpNetwork;

use super::model::{About, Counters, Filter, Guest, Hub, HubKind, Picture, Port, Source, Uplink};
use crate::model::vif::Bare;
use crate::text;

/// A number of bytes as people read it: `1.2 GB`, by powers of 1000, rounded down.
pub fn bytes(count: u64) -> String {
    const UNITS: [&str; 6] = ["kB", "MB", "GB", "TB", "PB", "EB"];
    if count < 1000 {
        return format!("{count} B");
    }
    let mut unit = 1_u64;
    let mut name = "B";
    for next in UNITS {
        if count / unit < 1000 {
            break;
        }
        unit = unit.saturating_mul(1000);
        name = next;
    }
    format!("{}.{} {name}", count / unit, count % unit * 10 / unit)
}

/// A text that is no longer than `most` characters: of a longer one the middle is left out.
pub(crate) fn shortened(text: &str, most: usize) -> String {
    let count = text.chars().count();
    if count <= most {
        return text.to_owned();
    }
    let kept = most.saturating_sub(1);
    let begin: String = text.chars().take(kept.div_ceil(2)).collect();
    let end: String = text.chars().skip(count - kept / 2).collect();
    format!("{begin}…{end}")
}

impl About {
    /// The heading.
    pub(super) fn title(&self) -> String {
        let host = if self.host.is_empty() { "a Xen host".to_owned() } else { shortened(&self.host, 64) };
        match self.source {
            Source::Seen => format!("Network of {host}"),
            Source::Described => format!("Network of {host}, as described"),
            Source::Planned => format!("Network of {host}, and what a plan changes"),
        }
    }

    /// When, and by what.
    pub(super) fn origin(&self) -> String {
        let at = (self.at > 0).then(|| text::utc(self.at));
        let by = (!self.xennet.is_empty()).then(|| format!("xennet {}", shortened(&self.xennet, 32)));
        at.into_iter().chain(by).collect::<Vec<_>>().join(" · ")
    }
}

impl Uplink {
    pub(super) fn title(&self) -> String {
        self.link.map_or_else(|| "default route".to_owned(), |link| link.to_string())
    }

    /// What is said of it, a fact a line.
    pub(super) fn facts(&self) -> Vec<String> {
        let state = match (self.link, self.up, self.carrier) {
            (None, ..) => "found at start".to_owned(),
            (_, false, _) => "uplink, down".to_owned(),
            (_, true, Some(false)) => "uplink, no carrier".to_owned(),
            (_, true, _) => "uplink".to_owned(),
        };
        let mut facts = vec![state];
        facts.extend(match (self.vlan, self.lower) {
            (Some(vlan), Some(lower)) => Some(format!("VLAN {vlan} of {lower}")),
            (None, Some(lower)) => Some(format!("on {lower}")),
            (_, None) => None,
        });
        facts.extend(self.addresses.iter().map(ToString::to_string));
        facts.extend(self.mac.map(|mac| mac.to_string()));
        facts.extend(self.counters.map(|c| c.of_uplink()));
        facts
    }
}

impl Counters {
    fn with_dropped(self, text: String) -> String {
        if self.dropped == 0 { text } else { format!("{text}, {} dropped", self.dropped) }
    }

    pub(super) fn of_uplink(self) -> String {
        self.with_dropped(format!("in {}, out {}", bytes(self.rx_bytes), bytes(self.tx_bytes)))
    }

    /// What dom0 receives by a vif its guest has sent.
    pub(super) fn of_guest(self) -> String {
        self.with_dropped(format!("sent {}, got {}", bytes(self.rx_bytes), bytes(self.tx_bytes)))
    }
}

impl HubKind {
    pub(super) const fn word(self) -> &'static str {
        match self {
            HubKind::Bridge => "bridge",
            HubKind::Nat => "NAT",
            HubKind::Routed => "routed",
            HubKind::Nothing => "not connected",
        }
    }
}

impl Hub {
    pub(super) fn title(&self) -> String {
        let network = self.networks.first();
        match (self.kind, self.bridge, network) {
            (HubKind::Bridge, Some(bridge), _) => bridge.to_string(),
            (HubKind::Nothing, ..) => "not connected".to_owned(),
            (_, _, Some(network)) => network.to_string(),
            (HubKind::Nat, ..) => "NAT".to_owned(),
            _ => "routes".to_owned(),
        }
    }

    /// What it is: `bridge, network lan`.
    pub(super) fn nature(&self) -> String {
        let mut parts: Vec<String> = Vec::new();
        match (self.kind, self.bridge, self.networks.first()) {
            (HubKind::Nothing, ..) => parts.push("vifs without a network".to_owned()),
            (HubKind::Bridge, _, Some(network)) if Some(*network) != self.bridge => {
                parts.push(format!("bridge, network {network}"));
            }
            (HubKind::Bridge, ..) => parts.push("bridge".to_owned()),
            (kind, Some(bridge), _) => parts.push(format!("{}, bridge {bridge}", kind.word())),
            (kind, None, Some(_)) => parts.push(format!("{} network", kind.word())),
            (HubKind::Nat, None, None) => parts.push("guests behind dom0".to_owned()),
            (kind, None, None) => parts.push(kind.word().to_owned()),
        }
        if !self.up {
            parts.push("down".to_owned());
        }
        parts.join(", ")
    }

    /// What else is said of it, a fact a line.
    pub(super) fn facts(&self) -> Vec<String> {
        let mut facts: Vec<String> = Vec::new();
        facts.extend(self.addresses.iter().map(|address| format!("dom0 {}", Bare(address))));
        facts.extend(self.subnets.iter().map(|subnet| format!("subnet {subnet}")));
        if !self.services.is_empty() {
            facts.push(self.services.join(", "));
        }
        facts.extend(self.access.iter().cloned());
        facts.extend(self.forwards.iter().cloned());
        facts
    }

    /// That it is not as it was made.
    pub(super) fn flaw(&self) -> Option<String> {
        flaw(&self.missing)
    }
}

fn flaw(missing: &[String]) -> Option<String> {
    (!missing.is_empty()).then(|| format!("damaged: {} missing", missing.len()))
}

impl Port {
    pub(super) fn title(&self) -> String {
        match (self.count, self.link) {
            (1, Some(link)) => link.to_string(),
            (1, None) => "vif".to_owned(),
            (count, _) => format!("{count} vifs"),
        }
    }

    /// Filter, VLAN, isolation and state, as far as there is something to say.
    pub(super) fn marks(&self) -> Vec<String> {
        let mut marks: Vec<String> = Vec::new();
        match self.filter {
            Filter::None => {}
            Filter::Mac => marks.push("guard (MAC)".to_owned()),
            Filter::Guard => marks.push("guard".to_owned()),
            Filter::Gate => marks.push("gate".to_owned()),
            Filter::Closed => marks.push("closed".to_owned()),
        }
        marks.extend(self.vlan.as_ref().map(|vlan| format!("VLAN {vlan}")));
        if self.isolated {
            marks.push("isolated".to_owned());
        }
        if self.twin.is_some() {
            marks.push("+ emulated".to_owned());
        }
        match (self.up, self.carrier) {
            _ if self.link.is_none() => {}
            (false, _) => marks.push("down".to_owned()),
            (true, Some(false)) => marks.push("no carrier".to_owned()),
            (true, _) => {}
        }
        marks
    }

    pub(super) fn flaw(&self) -> Option<String> {
        flaw(&self.missing)
    }

    /// Whose it is, in one line.
    pub(super) fn owner(&self) -> String {
        match (&self.guest, self.count) {
            (None, _) => "not a guest's".to_owned(),
            (Some(guest), 1) => guest.title(),
            (Some(guest), count) => match &guest.name {
                Some(names) => format!("{count} × guest: {names}"),
                None => format!("{count} × guest, same network"),
            },
        }
    }

    /// The addresses of its guest; of several guests the first and the last one.
    pub(super) fn addresses(&self) -> Vec<String> {
        let all: Vec<&IpNetwork> = self.guest.iter().flat_map(|guest| &guest.addresses).collect();
        match (self.count, &all[..]) {
            (2.., [first, last]) => vec![format!("{} … {}", Bare(first), Bare(last))],
            _ => all.into_iter().map(|address| Bare(address).to_string()).collect(),
        }
    }

    pub(super) fn mac(&self) -> Option<String> {
        Some(self.guest.as_ref()?.mac?.to_string())
    }
}

impl Guest {
    pub(super) fn title(&self) -> String {
        match (&self.name, self.domid()) {
            (Some(name), _) => name.clone(),
            (None, Some(domid)) => format!("domain {domid}"),
            (None, None) => "guest".to_owned(),
        }
    }
}

impl Picture {
    /// All of it in two sentences, for those who do not see it.
    pub(super) fn summary(&self) -> String {
        let networks: Vec<String> =
            self.hubs.iter().map(|hub| format!("{} ({}, {} ports)", hub.title(), hub.nature(), hub.links())).collect();
        let uplinks: Vec<String> = self.uplinks.iter().map(Uplink::title).collect();
        let by = if uplinks.is_empty() { "no uplink".to_owned() } else { format!("uplinks {}", uplinks.join(", ")) };
        let of = if networks.is_empty() { "no bridges or networks".to_owned() } else { networks.join("; ") };
        format!("Outside, {by}, dom0 with {of}; {} vifs of guests.", self.guests())
    }
}

impl Hub {
    fn links(&self) -> usize {
        self.ports.iter().map(|port| port.count).sum()
    }
}
