//! Other firewalls on this host, which may drop what guests send where no rule of theirs accepts it.
//!
//! What another table drops, ours cannot let pass: the kernel asks all of them. Which rules of it accept guests' packets is not
//! for us to judge, so it is said that they have to, and where to look. Rules of a network's own there are known (`accept_in`): where they
//! are in place, nothing is said. The tables of iptables-legacy are not seen: to read them can load modules.

use std::collections::{BTreeMap, BTreeSet};

use super::Host;
use crate::error::Error;
use crate::model::{Attach, Attachment, GuestLinks, IfName, Network, NetworkMode, ResolvedNetwork};
use crate::plan::accept::{self, InPlace};
use crate::snapshot::{Family, NftExpr, NftFamily, NftHook, NftPolicy, NftTableId, Part, Scope, Snapshot, SysctlKey};

/// firewalld's table. Its chains end with a rejection, not with a policy.
const FIREWALLD: &str = "firewalld";

impl Host {
    /// What in other firewalls keeps this network's guests from reaching anybody, if no rule there is about them. In the `accepted` chains
    /// there are some: these count where packets come to them.
    pub(super) fn obstacles(&mut self, network: &Network, accepted: Result<Vec<InPlace>, Error>) -> Vec<String> {
        let mut concerned = Concerned::of_network(network);
        let accepted = match accepted {
            Ok(accepted) => accepted,
            Err(e) => return concerned.not_known(&e),
        };
        let tables: Scope = accepted.iter().map(|a| Part::NftFrame(a.table.clone())).collect();
        match self.look(&tables) {
            Ok(seen) => concerned.accepted = accepted.into_iter().map(|a| Accepted::led_to(a, &seen)).collect(),
            Err(e) => return concerned.not_known(&e),
        }
        self.obstacles_of(concerned, &Snapshot::default())
    }

    /// The chains of other firewalls in which the packets of a started network are accepted now.
    pub(super) fn accepted_in(&mut self, started: &ResolvedNetwork) -> Result<Vec<InPlace>, Error> {
        if started.network.accept_in().is_empty() {
            return Ok(Vec::new());
        }
        let now = self.look(&accept::scope(started))?;
        Ok(accept::in_place(started, &now))
    }

    /// The same of the network that a vif is in.
    fn accepted_of_vif(&mut self, vif: &Attach) -> Result<Vec<InPlace>, Error> {
        let Some(name) = vif.network else { return Ok(Vec::new()) };
        match self.records.started(&name)? {
            Some(started) => self.accepted_in(&started.resolved()),
            None => Ok(Vec::new()),
        }
    }

    /// What in other firewalls keeps the guest of this vif from reaching anybody, if no rule there is about it.
    ///
    /// A hotplug call asks this, too. What that costs does not grow with guests: two settings are read, and the chains of one
    /// family (bridge) to three (ip, ip6, inet) are listed, of which others have some tens, and our own table four to seven. Only where
    /// one of these drops, and the vif's network has rules in chains of others, the rules of those chains are read.
    /// What was `seen` of the vif's bridge is not asked again.
    pub(super) fn obstacles_of_vif(&mut self, vif: &Attach, seen: &Snapshot) -> Vec<String> {
        let notes = self.obstacles_of(Concerned::of_vif(vif), seen);
        if notes.is_empty() {
            return notes;
        }
        match self.accepted_of_vif(vif) {
            Ok(accepted) if accepted.is_empty() => notes,
            Ok(accepted) => self.obstacles_of(Concerned::of_vif(vif).accepted_in(accepted), seen),
            Err(e) => Concerned::of_vif(vif).not_known(&e),
        }
    }

    /// The same for many vifs, in one look. `links` are all links.
    pub(super) fn obstacles_of_vifs(&mut self, vifs: &[&Attach], links: &Snapshot) -> Vec<Vec<String>> {
        if vifs.is_empty() {
            return Vec::new();
        }
        let both = [Family::Ipv4, Family::Ipv6];
        let mut scope = Scope::from_iter(both.into_iter().filter_map(bridged).map(Part::Sysctl));
        scope.extend(NftFamily::ALL.map(|family| Part::NftOthersAt(family, NftHook::Forward)));
        let seen = self.look(&scope).map(|seen| Snapshot { links: links.links.clone(), ..seen });
        // The rules of a network's own, once for all of its vifs.
        let mut accepted: BTreeMap<IfName, Result<Vec<InPlace>, Error>> = BTreeMap::new();
        let mut of_one = |vif: &&Attach| {
            let concerned = Concerned::of_vif(vif);
            let seen = match &seen {
                Ok(seen) => seen,
                Err(e) => return concerned.not_known(e),
            };
            let notes = concerned.obstacles(seen, seen);
            let Some(network) = vif.network.filter(|_| !notes.is_empty()) else { return notes };
            match accepted.entry(network).or_insert_with(|| self.accepted_of_vif(vif)) {
                Ok(accepted) => concerned.accepted_in(accepted.clone()).obstacles(seen, seen),
                Err(e) => concerned.not_known(e),
            }
        };
        vifs.iter().map(&mut of_one).collect()
    }

    fn obstacles_of(&mut self, concerned: Concerned, known: &Snapshot) -> Vec<String> {
        let found = self.settings_of(&concerned, known).and_then(|settings| {
            let chains = self.look(&concerned.chains(&settings))?;
            Ok(concerned.obstacles(&settings, &chains))
        });
        found.unwrap_or_else(|e| concerned.not_known(&e))
    }

    /// What decides which chains matter: whether frames of the bridge go through the chains of routed packets.
    fn settings_of(&mut self, concerned: &Concerned, known: &Snapshot) -> Result<Snapshot, Error> {
        let Place::Bridge(bridge) = &concerned.place else { return Ok(Snapshot::default()) };
        let scope = Scope::from_iter(concerned.families.iter().filter_map(|f| bridged(*f)).map(Part::Sysctl));
        let mut seen = self.look(&scope)?;
        if seen.sysctls.is_empty() {
            return Ok(seen);
        }
        let of_bridge = Scope::none().with(Part::Link(*bridge));
        let is_known = of_bridge.is_within(&known.scope);
        seen.merge(if is_known { known.seen(&of_bridge) } else { self.look(&of_bridge)? });
        Ok(seen)
    }
}

/// Whose packets are asked about.
struct Concerned {
    /// In words: "guests of network lan", "the guest of vif5.0"; and whether that is one guest.
    who: String,
    is_one: bool,
    /// The families of their addresses.
    families: Vec<Family>,
    place: Place,
    /// Where rules of ours accept them.
    accepted: Vec<Accepted>,
}

/// A chain with rules of ours that accept what is asked about.
struct Accepted {
    at: InPlace,
    /// The chains of its table from which packets come to it, with itself; `None` where nobody has looked.
    from: Option<BTreeSet<String>>,
}

impl Accepted {
    /// With the chains that lead to it, by the rules of its table.
    fn led_to(at: InPlace, seen: &Snapshot) -> Self {
        let mut from = BTreeSet::from([at.chain.clone()]);
        let chains = seen.nft.get(&at.table).map(|table| &table.chains);
        let leads = |from: &BTreeSet<String>, expr: &NftExpr| match expr {
            NftExpr::Verdict(v) => v.target().is_some_and(|chain| from.contains(chain)),
            // Where a map leads to is not for us to judge.
            NftExpr::Vmap { .. } => true,
            _ => false,
        };
        loop {
            let more = chains.into_iter().flatten().filter(|(name, chain)| {
                !from.contains(*name) && chain.rules.iter().flat_map(|r| &r.exprs).any(|e| leads(&from, e))
            });
            let more: Vec<String> = more.map(|(name, _)| name.clone()).collect();
            if more.is_empty() {
                return Accepted { at, from: Some(from) };
            }
            from.extend(more);
        }
    }

    /// Whether what comes into a base chain comes to it.
    fn is_reached(&self, table: &NftTableId, chain: &str, hook: NftHook) -> bool {
        self.is_of(table, hook) && self.from.as_ref().is_none_or(|from| from.contains(chain))
    }

    fn is_of(&self, table: &NftTableId, hook: NftHook) -> bool {
        self.at.table == *table && self.at.hook == hook
    }
}

/// Where their packets come in.
enum Place {
    /// By ports of a bridge, as frames.
    Bridge(IfName),
    /// By links that this domain routes for, in words. They may have DHCP and names from this domain.
    Routed { links: String, served: bool },
}

impl Concerned {
    fn of_network(network: &Network) -> Self {
        let subnets = network.subnets();
        let has =
            |family: &Family| subnets.is_empty() || subnets.iter().any(|s| Family::of(&s.network().ip()) == *family);
        let served = network.services().is_some_and(|s| s.dhcp || s.dns);
        let place = match network.mode() {
            NetworkMode::Bridge(b) => Place::Bridge(b.bridge.name()),
            NetworkMode::Nat(n) => match &n.guests {
                GuestLinks::Bridge(bridge) => Place::Routed { links: bridge.name().to_string(), served },
                GuestLinks::PerVif => Place::Routed { links: "the vifs".into(), served },
            },
            NetworkMode::Routed(_) => Place::Routed { links: "the vifs".into(), served },
        };
        let families = [Family::Ipv4, Family::Ipv6].into_iter().filter(has).collect();
        let who = format!("guests of network {}", network.name());
        Concerned { who, is_one: false, families, place, accepted: Vec::new() }
    }

    fn of_vif(vif: &Attach) -> Self {
        let (place, addresses) = match &vif.attachment {
            Attachment::Bridge { bridge, .. } => {
                let declared = vif.guard.as_ref().and_then(|guard| guard.addresses.as_ref());
                (Place::Bridge(*bridge), declared.map(|a| a.iter().copied().collect()).unwrap_or_default())
            }
            Attachment::Nat { guest, .. } | Attachment::Routed { guest, .. } => {
                (Place::Routed { links: vif.name.to_string(), served: false }, guest.clone())
            }
        };
        let has = |family: &Family| {
            addresses.is_empty() || addresses.iter().any(|a: &ipnetwork::IpNetwork| Family::of(&a.ip()) == *family)
        };
        let families = [Family::Ipv4, Family::Ipv6].into_iter().filter(has).collect();
        Concerned { who: format!("the guest of {}", vif.id), is_one: true, families, place, accepted: Vec::new() }
    }

    /// The same, where rules of ours in these chains accept the packets.
    fn accepted_in(self, accepted: Vec<InPlace>) -> Self {
        let accepted = accepted.into_iter().map(|at| Accepted { at, from: None }).collect();
        Concerned { accepted, ..self }
    }

    fn not_known(&self, e: &Error) -> Vec<String> {
        let send = if self.is_one { "sends" } else { "send" };
        vec![format!("whether another firewall drops what {} {send} is not known: {e}", self.who)]
    }

    /// The chains that their packets go through.
    fn chains(&self, settings: &Snapshot) -> Scope {
        let mut scope = Scope::none();
        let mut routed = |hook: NftHook, family: Family| {
            scope.insert(Part::NftOthersAt(NftFamily::Inet, hook));
            scope.insert(Part::NftOthersAt(NftFamily::from(family), hook));
        };
        for family in self.families.iter().copied() {
            match &self.place {
                Place::Bridge(bridge) if filtered_by(settings, bridge, family).is_none() => {}
                Place::Bridge(_) => routed(NftHook::Forward, family),
                Place::Routed { served, .. } => {
                    routed(NftHook::Forward, family);
                    if *served {
                        routed(NftHook::Input, family);
                    }
                }
            }
        }
        if let Place::Bridge(_) = &self.place {
            scope.insert(Part::NftOthersAt(NftFamily::Bridge, NftHook::Forward));
        }
        scope
    }

    fn obstacles(&self, settings: &Snapshot, seen: &Snapshot) -> Vec<String> {
        let mut notes = Vec::new();
        for (id, table) in &seen.nft {
            for (chain, base) in table.chains.iter().filter_map(|(name, c)| Some((name, c.base?))) {
                if self.accepted.iter().any(|a| a.is_reached(id, chain, base.hook)) {
                    continue;
                }
                let says = if id.name == FIREWALLD {
                    format!("firewalld (nft list chain {id} {chain}) rejects what no zone or policy of it accepts")
                } else if base.policy == NftPolicy::Drop {
                    format!("another firewall (nft list chain {id} {chain}) drops what no rule of it accepts")
                } else {
                    continue;
                };
                // Rules of ours in a chain that no packet comes to.
                let apart = self.accepted.iter().find(|a| a.is_of(id, base.hook));
                let apart =
                    apart.map(|a| format!("; no rule of {chain} leads to {}, where rules of ours are", a.at.chain));
                let apart = apart.unwrap_or_default();
                notes.extend(self.cut_off(settings, id, base.hook).map(|what| format!("{says}: {what}{apart}")));
            }
        }
        notes
    }

    /// What such a chain keeps from them.
    fn cut_off(&self, settings: &Snapshot, id: &NftTableId, hook: NftHook) -> Option<String> {
        let mut families = self.families.iter().copied().filter(|family| match id.family {
            NftFamily::Inet => true,
            NftFamily::Ip => *family == Family::Ipv4,
            NftFamily::Ip6 => *family == Family::Ipv6,
            NftFamily::Bridge => false,
        });
        let (who, reach) = (&self.who, if self.is_one { "reaches nobody" } else { "reach nobody" });
        match &self.place {
            Place::Bridge(bridge) if id.family == NftFamily::Bridge => {
                Some(format!("{who} {reach} unless it accepts what comes from and goes to {bridge}"))
            }
            Place::Bridge(bridge) => {
                let Filtered { name, off } = families.find_map(|family| filtered_by(settings, bridge, family))?;
                let them = if self.is_one { "it" } else { "them" };
                Some(format!(
                    "that goes for frames on {bridge}, too, as {name} is on; {who} {reach} unless a rule accepts {them}, or: {off}"
                ))
            }
            Place::Routed { links, .. } => {
                families.next()?;
                Some(match hook {
                    NftHook::Input => format!(
                        "{who} get neither addresses nor names unless it accepts what comes in by {links} for UDP ports 67, \
                         547 and 53 and TCP port 53"
                    ),
                    _ => format!("{who} {reach} unless it accepts what comes from and goes to {links}"),
                })
            }
        }
    }
}

/// The setting by which bridged packets of a family go through the chains of routed ones.
fn bridged(family: Family) -> Option<SysctlKey> {
    let name = match family {
        Family::Ipv4 => "iptables",
        Family::Ipv6 => "ip6tables",
    };
    format!("net/bridge/bridge-nf-call-{name}").parse().ok()
}

/// What sends frames of a bridge through the chains of routed packets, and the command that ends that.
struct Filtered {
    name: String,
    off: String,
}

/// Either the setting of all bridges or that of this one is enough (`br_nf_pre_routing`).
fn filtered_by(settings: &Snapshot, bridge: &IfName, family: Family) -> Option<Filtered> {
    let key = bridged(family)?;
    // Without the module br_netfilter there is no such setting, and what a bridge's own says has no effect.
    let value = settings.sysctls.get(&key)?;
    if value != "0" {
        let key = key.as_str().replace('/', ".");
        return Some(Filtered { off: format!("sysctl -w {key}=0"), name: key });
    }
    let own = settings.links.get(bridge)?.bridge.as_ref()?;
    let (is_on, name) = match family {
        Family::Ipv4 => (own.filters_ipv4, "nf_call_iptables"),
        Family::Ipv6 => (own.filters_ipv6, "nf_call_ip6tables"),
    };
    is_on.then(|| Filtered {
        name: format!("{name} of {bridge}"),
        off: format!("ip link set {bridge} type bridge {name} 0"),
    })
}
