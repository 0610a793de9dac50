//! `interfaces(5)`: Debian's ifupdown, and what Alpine reads, which is busybox's ifup or ifupdown-ng.
//!
//! All three take one stanza a family with `address`, `netmask` and `gateway`. Further addresses and a gateway that is in no prefix are
//! commands after `up`: a second stanza of one family is an error for busybox, and a gateway outside of the prefix is one for all but
//! the newest ifupdown.

use std::fmt::Write as _;

use super::config::mask;
use super::format::{Texts, joined};
use super::{Format, GuestConfig, GuestFile, Method};
use crate::error::Error;
use crate::model::DevId;

const MAIN: &str = "/etc/network/interfaces";

pub(super) fn debian(config: &GuestConfig) -> Result<Texts, Error> {
    let mut texts = render(config, Format::Ifupdown)?;
    if !config.dns().is_empty() || !config.search().is_empty() {
        texts.notes.push(
            "the lines with dns- take effect where the guest has the package resolvconf or openresolv".to_owned(),
        );
    }
    Ok(texts)
}

pub(super) fn alpine(config: &GuestConfig) -> Result<Texts, Error> {
    let texts = render(config, Format::Alpine)?;
    Ok(texts.with_resolv_conf(config))
}

fn render(config: &GuestConfig, format: Format) -> Result<Texts, Error> {
    let link = config.linux_name();
    let name = link.checked_linux(format.name())?;
    let is_first = config.devid() == DevId::FIRST;
    let mut text = format!("# {}\n", config.head());
    if is_first {
        text.push_str("auto lo\niface lo inet loopback\n\n");
    }
    let _ = writeln!(text, "auto {name}");
    let mut writer = Writer { config, format, name, text, has_mtu: false, has_dns: false };
    writer.family("inet", config.ipv4());
    writer.family("inet6", config.ipv6());
    let mut text = writer.text;
    let path = if is_first {
        if format == Format::Ifupdown {
            text.push_str("\nsource /etc/network/interfaces.d/*\n");
        }
        MAIN.to_owned()
    } else {
        format!("/etc/network/interfaces.d/{name}")
    };
    let mut texts = Texts::of(GuestFile::readable(&path, text));
    if !is_first && format == Format::Alpine {
        texts.notes.push(format!("{MAIN} needs the line: source {path}"));
    }
    if config.interface().is_none() {
        texts.notes.push(format!("the guest is expected to call this interface {name}; if it does not, name it"));
    }
    Ok(texts)
}

struct Writer<'a> {
    config: &'a GuestConfig,
    format: Format,
    name: &'a str,
    text: String,
    has_mtu: bool,
    has_dns: bool,
}

impl Writer<'_> {
    fn family(&mut self, family: &str, method: &Method) {
        let name = self.name;
        match method {
            Method::Off => return,
            Method::Auto => {
                let how = if family == "inet" { "dhcp" } else { "auto" };
                let _ = writeln!(self.text, "iface {name} {family} {how}");
            }
            Method::Static { addresses, gateway } => {
                let _ = writeln!(self.text, "iface {name} {family} static");
                let (ip, six) = if family == "inet" { ("ip", "") } else { ("ip -6", " nodad") };
                if let Some(first) = addresses.first() {
                    let _ = writeln!(self.text, "    address {}", first.ip());
                    let _ = match first.is_ipv4() {
                        true => writeln!(self.text, "    netmask {}", mask(first)),
                        false => writeln!(self.text, "    netmask {}", first.prefix()),
                    };
                }
                if let Some(gateway) = gateway.filter(|g| !g.on_link) {
                    let _ = writeln!(self.text, "    gateway {}", gateway.address);
                }
                for address in addresses.iter().skip(1) {
                    let nodad = if self.format == Format::Alpine { "" } else { six };
                    let _ = writeln!(self.text, "    up {ip} addr add {address} dev {name}{nodad}");
                }
                if let Some(gateway) = gateway.filter(|g| g.on_link) {
                    let address = gateway.address;
                    let _ = writeln!(self.text, "    up {ip} route add {address} dev {name}");
                    let _ = writeln!(self.text, "    up {ip} route add default via {address} dev {name}");
                }
            }
        }
        if let Some(mtu) = self.config.mtu().filter(|_| !std::mem::replace(&mut self.has_mtu, true)) {
            // `mtu` is a word of static stanzas only, and in one of IPv6 ifupdown sets IPv6's own limit by it, not the link's.
            let _ = match method {
                Method::Static { .. } if family == "inet" => writeln!(self.text, "    mtu {mtu}"),
                _ => writeln!(self.text, "    pre-up ip link set {name} mtu {mtu}"),
            };
        }
        if self.format == Format::Ifupdown && !std::mem::replace(&mut self.has_dns, true) {
            let (dns, search) = (self.config.dns(), self.config.search());
            if !dns.is_empty() {
                let _ = writeln!(self.text, "    dns-nameservers {}", joined(dns, " "));
            }
            if !search.is_empty() {
                let _ = writeln!(self.text, "    dns-search {}", joined(search, " "));
            }
        }
    }
}
