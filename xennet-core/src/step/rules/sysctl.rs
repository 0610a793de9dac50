//! Kernel settings (`net/ipv4/devinet.c`, `net/ipv6/addrconf.c`, `net/bridge/br_netfilter_hooks.c`).

use super::World;
use super::addr6::{self, Ends};
use crate::error::Errno;
use crate::model::IfName;
use crate::snapshot::{Family, SysctlKey};
use crate::step::{Implied, SysctlStep};

/// The longest number text (`kernel/sysctl.c`, `TMPBUFLEN`).
const LONGEST: usize = 22;

pub(super) fn step(w: &mut World<'_>, step: &SysctlStep) -> Result<(), Errno> {
    exists(w, &step.key)?;
    let old = w.now.sysctls.get(&step.key).map(str::to_owned);
    let new = number(&step.value).ok_or(Errno::EINVAL)?;
    let own = step.key.as_str().strip_prefix("net/bridge/bridge-nf-");
    if own.is_some() {
        // brnf_sysctl_call_tables: any number but 0 is 1.
        w.now.sysctls.insert(&step.key, u8::from(new != 0).to_string());
        return Ok(());
    }
    if step.key.as_str() == "net/ipv4/ip_forward" {
        return forward4(w, new);
    }
    let Some((family, link, name)) = step.key.as_conf().map(|(f, l, n)| (f, l.to_owned(), n.to_owned())) else {
        w.now.sysctls.insert(&step.key, new.to_string());
        return Ok(());
    };
    match (family, name.as_str(), link.as_str()) {
        (Family::Ipv4, "forwarding", "all") => return forward4(w, new),
        (Family::Ipv6, "forwarding", "all") => spread(w, "forwarding", new),
        (Family::Ipv6, "disable_ipv6", which) => disable6(w, which, new),
        (Family::Ipv6, "addr_gen_mode", which) => {
            let mode = addr6::gen_mode(i64::from(new)).ok_or(Errno::EINVAL)?;
            // addrconf_sysctl_addr_gen_mode: no secret, no stable address.
            if mode == crate::snapshot::AddrGenMode::StablePrivacy {
                return Err(Errno::EINVAL);
            }
            match which {
                "all" => {
                    spread(w, "addr_gen_mode", new);
                    let links: Vec<IfName> =
                        w.now.links.iter().filter(|(_, l)| l.addr_gen_mode.is_some()).map(|(n, _)| *n).collect();
                    for l in links {
                        addr6::write_gen_mode(w, &l, mode);
                    }
                }
                "default" => {}
                which => {
                    if let Ok(l) = IfName::check(which) {
                        addr6::write_gen_mode(w, &l, mode);
                    }
                }
            }
        }
        _ => {}
    }
    if old.as_deref() != Some(new.to_string().as_str()) {
        w.now.sysctls.insert(&step.key, new.to_string());
    }
    Ok(())
}

/// `ENOENT` for a setting that is not there: its folder comes and goes with its link.
fn exists(w: &World<'_>, key: &SysctlKey) -> Result<(), Errno> {
    if w.now.sysctls.contains_key(key) {
        return Ok(());
    }
    if w.now.hidden.whole {
        return Err(Errno::ENOENT);
    }
    match key.as_conf() {
        Some((family, link, _)) if link != "all" && link != "default" => match w.now.links.get(link) {
            Some(l) if family == Family::Ipv6 && l.addr_gen_mode.is_none() => Err(Errno::ENOENT),
            Some(_) => Ok(()),
            None if w.knows_links() => Err(Errno::ENOENT),
            None => Ok(()),
        },
        _ => Ok(()),
    }
}

/// `proc_dointvec`: blanks, a sign, digits (decimal, or with 0x or 0), blanks.
fn number(text: &str) -> Option<i32> {
    let text = text.trim_matches([' ', '\t', '\n']);
    let (minus, digits) = text.strip_prefix('-').map_or((false, text), |d| (true, d));
    if digits.is_empty() || text.len() >= LONGEST || !digits.bytes().all(|b| b.is_ascii_alphanumeric()) {
        return None;
    }
    let value = match digits.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16),
        None if digits.len() > 1 && digits.starts_with('0') => u64::from_str_radix(digits, 8),
        None => digits.parse(),
    }
    .ok()?;
    let value = i64::try_from(value).ok()?;
    i32::try_from(if minus { -value } else { value }).ok()
}

/// Writes a setting of a link if it is known, and tells so if it changed.
fn imply(w: &mut World<'_>, key: &str, value: i32) {
    let Ok(key) = key.parse::<SysctlKey>() else { return };
    let text = value.to_string();
    if w.now.sysctls.change(&key, &text) {
        w.tell(Implied::Sysctl { key, value: text });
    }
}

/// `all` of an IPv6 setting goes to every link, and to those that come later.
fn spread(w: &mut World<'_>, name: &str, value: i32) {
    imply(w, &format!("net/ipv6/conf/default/{name}"), value);
    let links: Vec<IfName> = w.now.links.keys().copied().collect();
    for link in links {
        imply(w, &format!("net/ipv6/conf/{link}/{name}"), value);
    }
}

/// `devinet_sysctl_forward`, `inet_forward_change`: one cell with two names, and every link follows it.
fn forward4(w: &mut World<'_>, new: i32) -> Result<(), Errno> {
    let known = ["net/ipv4/ip_forward", "net/ipv4/conf/all/forwarding"].iter().find_map(|k| w.setting(k));
    for key in ["net/ipv4/ip_forward", "net/ipv4/conf/all/forwarding"] {
        let key: SysctlKey = key.parse().map_err(|_| Errno::EINVAL)?;
        // In a narrow world the step itself makes the setting known.
        if w.now.sysctls.contains_key(&key) || (key.as_str() == "net/ipv4/ip_forward" && !w.now.hidden.whole) {
            w.now.sysctls.insert(&key, new.to_string());
        }
    }
    if known == Some(i64::from(new)) {
        return Ok(());
    }
    imply(w, "net/ipv4/conf/all/accept_redirects", i32::from(new == 0));
    imply(w, "net/ipv4/conf/default/forwarding", new);
    let links: Vec<IfName> = w.now.links.keys().copied().collect();
    for link in links {
        imply(w, &format!("net/ipv4/conf/{link}/forwarding"), new);
    }
    Ok(())
}

/// `addrconf_disable_ipv6`: switching IPv6 off takes the addresses, switching it on is like going up.
fn disable6(w: &mut World<'_>, which: &str, new: i32) {
    let links: Vec<IfName> = match which {
        "default" => return,
        "all" => {
            imply(w, "net/ipv6/conf/default/disable_ipv6", new);
            w.now.links.keys().copied().collect()
        }
        one => IfName::check(one).into_iter().collect(),
    };
    for link in links {
        let before = addr6::disabled(w, &link);
        if which == "all" {
            imply(w, &format!("net/ipv6/conf/{link}/disable_ipv6"), new);
        }
        match (before, new != 0) {
            // addrconf_ifdown: keep_addr_on_down is for links that go down.
            (false, true) => addr6::disable(w, &link, Ends::Off),
            (true, false) => {
                // What IPv6 does when it comes back is asked of the setting: it is written first.
                w.now.sysctls.change(&SysctlKey::conf(Family::Ipv6, &link, "disable_ipv6"), &new.to_string());
                if w.is_up(&link) {
                    addr6::link_up(w, &link);
                }
            }
            _ => {}
        }
    }
}

/// The settings of a link come into being with the values of `default`.
pub(super) fn appear(w: &mut World<'_>, link: &IfName, family: Family) {
    w.now.sysctls.appear(link.as_str(), family);
}

/// The settings of a link that goes, or that a family leaves.
pub(super) fn vanish(w: &mut World<'_>, link: &IfName, only: Option<Family>) {
    for family in [Family::Ipv4, Family::Ipv6] {
        if only.is_none_or(|only| only == family) {
            w.now.sysctls.vanish(link.as_str(), family);
        }
    }
}

/// The settings of a link move with its name.
pub(super) fn rename(w: &mut World<'_>, old: &IfName, new: &IfName) {
    w.now.sysctls.rename(old.as_str(), new.as_str());
}
