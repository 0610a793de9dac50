//! `netplan(5)`, which is also cloud-init's network-config of version 2.

use std::fmt::Write as _;

use super::format::{Texts, joined};
use super::{Format, GuestConfig, GuestFile};
use crate::error::Error;

pub(super) fn render(config: &GuestConfig) -> Result<Texts, Error> {
    let link = config.linux_name();
    let name = link.checked_linux(Format::Netplan.name())?;
    let text = text(config, name, Routes::Listed);
    Ok(Texts::of(GuestFile::private(format!("/etc/netplan/60-xennet-{name}.yaml"), text)))
}

/// How the document says a gateway that is in one of the guest's prefixes, or link-local.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Routes {
    /// As a route, which is netplan's form.
    Listed,
    /// As `gateway4` and `gateway6`: those are for all of cloud-init's renderers, while it reads the route `::/0` as `::/64`
    /// (`network_state._normalize_net_keys`, 22.4).
    Gateways,
}

/// The document. Every text in it is quoted, so that nothing is taken for a number or a word of YAML.
pub(super) fn text(config: &GuestConfig, name: &str, form: Routes) -> String {
    let mut text = format!("# {}\nnetwork:\n  version: 2\n  ethernets:\n    \"{name}\":\n", config.head());
    if let Some(mac) = config.matched_mac() {
        let _ = writeln!(text, "      match:\n        macaddress: \"{}\"", mac.get());
    }
    let _ = writeln!(text, "      dhcp4: {}", config.ipv4().is_auto());
    let auto = config.ipv6().is_auto();
    let _ = writeln!(text, "      dhcp6: {auto}\n      accept-ra: {auto}");
    if config.addresses().next().is_some() {
        text.push_str("      addresses:\n");
        for address in config.addresses() {
            let _ = writeln!(text, "        - \"{address}\"");
        }
    }
    let gateways = [config.ipv4(), config.ipv6()].into_iter().filter_map(|m| m.gateway());
    let (named, listed): (Vec<_>, Vec<_>) = gateways.partition(|g| form == Routes::Gateways && !g.on_link);
    for gateway in named {
        let key = if gateway.address.is_ipv4() { "gateway4" } else { "gateway6" };
        let _ = writeln!(text, "      {key}: \"{}\"", gateway.address);
    }
    if !listed.is_empty() {
        text.push_str("      routes:\n");
    }
    for gateway in listed {
        // `default` is a word of netplan since 0.102 only.
        let all = if gateway.address.is_ipv4() { "0.0.0.0/0" } else { "::/0" };
        let _ = writeln!(text, "        - to: \"{all}\"\n          via: \"{}\"", gateway.address);
        if gateway.on_link {
            text.push_str("          on-link: true\n");
        }
    }
    if !config.dns().is_empty() || !config.search().is_empty() {
        text.push_str("      nameservers:\n");
        for (key, items) in
            [("addresses", joined(config.dns(), "\", \"")), ("search", joined(config.search(), "\", \""))]
        {
            if !items.is_empty() {
                let _ = writeln!(text, "        {key}: [\"{items}\"]");
            }
        }
    }
    if let Some(mtu) = config.mtu() {
        let _ = writeln!(text, "      mtu: {mtu}");
    }
    text
}
