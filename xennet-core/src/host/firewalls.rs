//! Other firewalls on this host, which may drop what guests send where no rule of theirs accepts it.
//!
//! What another table drops, ours cannot let pass: the kernel asks all of them. Which rules of it accept guests' packets is not
//! for us to judge, so it is said that they have to, and where to look.

use super::Host;
use crate::model::{GuestLinks, Network, NetworkMode};
use crate::snapshot::{Family, NftFamily, NftHook, NftPolicy, NftTableId, Part, Scope, Snapshot, SysctlKey};

/// firewalld's table. Its chains end with a rejection, not with a policy.
const FIREWALLD: &str = "firewalld";

impl Host {
    /// What in other firewalls keeps this network's guests from reaching anybody, if no rule there is about them.
    pub(super) fn obstacles(&mut self, network: &Network) -> Vec<String> {
        let mut scope = Scope::none().with(Part::NftOthersAt(NftHook::Forward));
        match &network.mode {
            NetworkMode::Bridge(_) => {
                let keys = [Family::Ipv4, Family::Ipv6].into_iter().filter_map(bridged);
                scope.extend(keys.map(Part::Sysctl));
            }
            _ if network.services().is_some_and(|s| s.dhcp || s.dns) => scope.insert(Part::NftOthersAt(NftHook::Input)),
            _ => {}
        }
        match self.look(&scope) {
            Ok(seen) => obstacles(network, &seen),
            Err(e) => vec![format!(
                "whether another firewall drops what guests of network {} send is not known: {e}",
                network.name
            )],
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

fn obstacles(network: &Network, seen: &Snapshot) -> Vec<String> {
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
            notes.extend(concerned(network, seen, id, base.hook).map(|what| format!("{says}: {what}")));
        }
    }
    notes
}

/// What of a network goes through such a chain.
fn concerned(network: &Network, seen: &Snapshot, id: &NftTableId, hook: NftHook) -> Option<String> {
    let subnets = network.subnets();
    let through = |family: Family| match (family, id.family) {
        (Family::Ipv4, NftFamily::Ip | NftFamily::Inet) | (Family::Ipv6, NftFamily::Ip6 | NftFamily::Inet) => {
            subnets.is_empty() || subnets.iter().any(|s| Family::of(&s.network.ip()) == family)
        }
        _ => false,
    };
    let families = [Family::Ipv4, Family::Ipv6].into_iter().filter(|family| through(*family));
    let name = network.name;
    let links = match &network.mode {
        NetworkMode::Bridge(b) if id.family == NftFamily::Bridge => {
            return Some(format!(
                "guests of network {name} reach nobody unless it accepts what comes from and goes to {}",
                b.bridge.name
            ));
        }
        NetworkMode::Bridge(b) => {
            let is_on = |key: &SysctlKey| seen.sysctls.get(key).is_some_and(|v| v != "0");
            let key = families.filter_map(bridged).find(is_on)?.as_str().replace('/', ".");
            return Some(format!(
                "that goes for frames on {}, too, as {key} is on; guests of network {name} reach nobody unless a rule accepts \
                 them, or: sysctl -w {key}=0",
                b.bridge.name
            ));
        }
        NetworkMode::Nat(n) => match &n.guests {
            GuestLinks::Bridge(bridge) => bridge.name.to_string(),
            GuestLinks::PerVif => "the vifs".into(),
        },
        NetworkMode::Routed(_) => "the vifs".into(),
    };
    families.map(|_| ()).next()?;
    Some(match hook {
        NftHook::Input => format!(
            "guests of network {name} get neither addresses nor names unless it accepts what comes in by {links} for UDP ports 67, \
             547 and 53 and TCP port 53"
        ),
        _ => format!("guests of network {name} reach nobody unless it accepts what comes from and goes to {links}"),
    })
}
