//! cloud-init's network-config. In `/etc/cloud/cloud.cfg.d` it takes precedence over a data source's. The same text can be the
//! `network-config` of a NoCloud seed.

use std::fmt::Write as _;

use super::format::{Texts, joined};
use super::netplan::{self, Routes};
use super::{Format, GuestConfig, GuestFile, Method};
use crate::error::Error;

fn texts_of(name: &str, text: String) -> Texts {
    Texts::of(GuestFile::readable(format!("/etc/cloud/cloud.cfg.d/99-xennet-{name}.cfg"), text))
}

/// Version 2: netplan's form.
pub(super) fn v2(config: &GuestConfig) -> Result<Texts, Error> {
    let link = config.linux_name();
    let name = link.checked_linux(Format::CloudInitV2.name())?;
    let mut texts = texts_of(name, netplan::text(config, name, Routes::Gateways));
    if has_on_link(config) {
        texts.notes.push(
            "on-link: true takes effect where the guest's cloud-init hands the file to netplan; its other renderers drop it".to_owned(),
        );
    }
    if config.dns().is_empty() && !config.search().is_empty() && config.addresses().next().is_none() {
        texts.notes.push(
            "search without an address and a name server takes effect where the guest's cloud-init hands the file to netplan"
                .to_owned(),
        );
    }
    Ok(texts)
}

fn has_on_link(config: &GuestConfig) -> bool {
    [config.ipv4(), config.ipv6()].iter().any(|m| m.gateway().is_some_and(|g| g.on_link))
}

/// Version 1.
pub(super) fn v1(config: &GuestConfig) -> Result<Texts, Error> {
    let format = Format::CloudInitV1;
    if has_on_link(config) {
        let rule = "version 1 has no word for it";
        return Err(format.refuse(
            "a gateway outside of the guest's prefix",
            rule,
            "use cloud-init-v2, or another format",
        ));
    }
    let link = config.linux_name();
    let name = link.checked_linux(format.name())?;
    let mut text = format!(
        "# {}\nnetwork:\n  version: 1\n  config:\n    - type: \"physical\"\n      name: \"{name}\"\n",
        config.head()
    );
    if let Some(mac) = config.matched_mac() {
        let _ = writeln!(text, "      mac_address: \"{}\"", mac.get());
    }
    if let Some(mtu) = config.mtu() {
        let _ = writeln!(text, "      mtu: {mtu}");
    }
    let _ = writeln!(text, "      accept-ra: {}\n      subnets:", config.ipv6().is_auto());
    for (method, auto, fixed) in [(config.ipv4(), "dhcp4", "static"), (config.ipv6(), "ipv6_slaac", "static6")] {
        match method {
            Method::Off => {}
            Method::Auto => {
                let _ = writeln!(text, "        - type: \"{auto}\"");
            }
            Method::Static { addresses, gateway } => {
                for (at, address) in addresses.iter().enumerate() {
                    let _ = writeln!(text, "        - type: \"{fixed}\"\n          address: \"{address}\"");
                    if let Some(gateway) = gateway.filter(|_| at == 0) {
                        let _ = writeln!(text, "          gateway: \"{}\"", gateway.address);
                    }
                }
            }
        }
    }
    if !config.dns().is_empty() || !config.search().is_empty() {
        text.push_str("    - type: \"nameserver\"\n");
        // The key is needed, even without servers.
        let list = |items: String| if items.is_empty() { "[]".to_owned() } else { format!("[\"{items}\"]") };
        let _ = writeln!(text, "      address: {}", list(joined(config.dns(), "\", \"")));
        if !config.search().is_empty() {
            let _ = writeln!(text, "      search: {}", list(joined(config.search(), "\", \"")));
        }
    }
    Ok(texts_of(name, text))
}
