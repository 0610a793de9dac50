//! Other firewalls on this host, which may drop what guests send where no rule of theirs accepts it.
//!
//! What another table drops, ours cannot let pass: the kernel asks all of them. Which rules of it accept guests' packets is not
//! for us to judge, so it is said that they have to, and where to look. The tables of iptables-legacy are not seen: to read them
//! can load modules.

use super::Host;
use crate::error::Error;
use crate::model::{Attach, Attachment, GuestLinks, IfName, Network, NetworkMode};
use crate::snapshot::{Family, NftFamily, NftHook, NftPolicy, NftTableId, Part, Scope, Snapshot, SysctlKey};

/// firewalld's table. Its chains end with a rejection, not with a policy.
const FIREWALLD: &str = "firewalld";

impl Host {
    /// What in other firewalls keeps this network's guests from reaching anybody, if no rule there is about them.
    pub(super) fn obstacles(&mut self, network: &Network) -> Vec<String> {
        self.obstacles_of(&Concerned::of_network(network), &Snapshot::default())
    }

    /// What in other firewalls keeps the guest of this vif from reaching anybody, if no rule there is about it.
    ///
    /// A hotplug call asks this, too. What that costs does not grow with guests: two settings are read, and the chains of one
    /// family (bridge) to three (ip, ip6, inet) are listed, of which others have some tens, and our own table four to seven.
    /// What was `seen` of the vif's bridge is not asked again.
    pub(super) fn obstacles_of_vif(&mut self, vif: &Attach, seen: &Snapshot) -> Vec<String> {
        self.obstacles_of(&Concerned::of_vif(vif), seen)
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
        let of_one = |vif: &&Attach| {
            let concerned = Concerned::of_vif(vif);
            match &seen {
                Ok(seen) => concerned.obstacles(seen, seen),
                Err(e) => concerned.not_known(e),
            }
        };
        vifs.iter().map(of_one).collect()
    }

    fn obstacles_of(&mut self, concerned: &Concerned, known: &Snapshot) -> Vec<String> {
        let found = self.settings_of(concerned, known).and_then(|settings| {
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
        Concerned { who: format!("guests of network {}", network.name()), is_one: false, families, place }
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
        Concerned { who: format!("the guest of {}", vif.id), is_one: true, families, place }
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
                let says = if id.name == FIREWALLD {
                    format!("firewalld (nft list chain {id} {chain}) rejects what no zone or policy of it accepts")
                } else if base.policy == NftPolicy::Drop {
                    format!("another firewall (nft list chain {id} {chain}) drops what no rule of it accepts")
                } else {
                    continue;
                };
                notes.extend(self.cut_off(settings, id, base.hook).map(|what| format!("{says}: {what}")));
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
