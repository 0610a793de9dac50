//! What is otherwise between two descriptions of one network.

use std::collections::BTreeSet;

use super::render::{Item, keys};
use crate::model::{HostAccess, Network};

/// How a network's description has changed, in the keys of the file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Change {
    /// The keys whose values differ, by the alphabet.
    pub keys: Vec<String>,
    /// Those of them that hold only after a stop and a start: what guests that are attached, or an uplink, have got by the old
    /// description would have to be taken from them.
    pub needs_stop: Vec<String>,
}

/// What differs between a network's description as it `was` and as it `is`.
///
/// A network that is started takes over, when it is started once more: port forwards, DHCP and names, accepts in other firewalls, and subnets
/// in addition to those that it has. Guests keep their links, addresses and routes all the while; whom nobody tells addresses and names any more has to
/// know them by himself.
///
/// ```
/// use xennet_core::config::networks::{changed, parse};
/// let nat = |more: &str| parse(&format!("[network.a]\nmode = \"nat\"\nsubnets = [\"10.0.0.0/24\"]\n{more}\n"));
/// let (was, is) = (nat("")?, nat("dns = true\negress = \"eth1\"")?);
/// let change = changed(was.get("a").unwrap(), is.get("a").unwrap());
/// assert_eq!((change.keys, change.needs_stop), (vec!["dns".into(), "egress".into()], vec!["egress".into()]));
/// # Ok::<(), xennet_core::Error>(())
/// ```
pub fn changed(was: &Network, is: &Network) -> Change {
    if was == is {
        return Change::default();
    }
    let (old, new) = (keys(was), keys(is));
    let differs = |key: &&str| {
        let of = |keys: &[(&str, Item)]| keys.iter().find(|(k, _)| k == key).map(|(_, item)| item.clone());
        of(&old) != of(&new)
    };
    let both: BTreeSet<&str> = old.iter().chain(&new).map(|(key, _)| *key).collect();
    let keys: Vec<String> = both.into_iter().filter(differs).map(str::to_owned).collect();
    let takes_over = |key: &str| match key {
        // Guests with links of their own have what they reach of this domain in the elements of their links.
        "dhcp" | "dns" => was.host() != HostAccess::Services || was.bridge().is_some(),
        "forward" | "range" | "domain" | "accept_in" => true,
        // Without any every address is the network's, and the router another one.
        "subnets" | "gateways" => !was.subnets().is_empty() && was.subnets().iter().all(|s| is.subnets().contains(s)),
        _ => false,
    };
    let needs_stop = keys.iter().filter(|key| !takes_over(key)).cloned().collect();
    Change { keys, needs_stop }
}
