//! `rc.conf(5)` of FreeBSD, as `/etc/rc.conf.local`: an installed system does not have this file yet, and reads it last.

use std::fmt::Write as _;

use super::config::{gateway, mask};
use super::format::Texts;
use super::{Format, GuestConfig, GuestFile, GuestLink, Method};
use crate::error::Error;
use crate::model::DevId;

pub(super) fn render(config: &GuestConfig) -> Result<Texts, Error> {
    let link = match config.interface() {
        Some(link) => link.clone(),
        // Netfront's driver there is xn(4).
        None => format!("xn{}", config.devid()).parse::<GuestLink>()?,
    };
    let name = link.checked_freebsd(Format::FreeBsd.name())?;
    let mut text = format!("# {}\n", config.head());
    let mtu = config.mtu().map(|mtu| format!(" mtu {mtu}")).unwrap_or_default();
    let four = match config.ipv4() {
        Method::Off => format!("up{mtu}"),
        Method::Auto => format!("SYNCDHCP{mtu}"),
        Method::Static { addresses, .. } => {
            let first = addresses.first().map(|a| format!("inet {} netmask {}", a.ip(), mask(a)));
            first.unwrap_or_default() + &mtu
        }
    };
    let _ = writeln!(text, "ifconfig_{name}=\"{four}\"");
    let mut alias = 0;
    for address in config.ipv4().addresses().iter().skip(1) {
        let _ = writeln!(text, "ifconfig_{name}_alias{alias}=\"inet {} netmask {}\"", address.ip(), mask(address));
        alias += 1;
    }
    match config.ipv6() {
        Method::Off => {}
        Method::Auto => {
            let _ = writeln!(text, "ifconfig_{name}_ipv6=\"inet6 accept_rtadv\"");
        }
        Method::Static { addresses, .. } => {
            for (at, address) in addresses.iter().enumerate() {
                let value = format!("inet6 {} prefixlen {}", address.ip(), address.prefix());
                if at == 0 {
                    let _ = writeln!(text, "ifconfig_{name}_ipv6=\"{value}\"");
                } else {
                    let _ = writeln!(text, "ifconfig_{name}_alias{alias}=\"{value}\"");
                    alias += 1;
                }
            }
        }
    }
    routes(&mut text, config, name);
    let mut texts = Texts::of(GuestFile::readable("/etc/rc.conf.local", text)).with_resolv_conf(config);
    if config.devid() != DevId::FIRST {
        texts.notes.push("/etc/rc.conf.local is one file for all interfaces: add these lines to it".to_owned());
    }
    if config.ipv6().is_auto() {
        texts.notes.push(
            "FreeBSD has no DHCPv6 of its own: the guest takes its IPv6 address from router advertisements".to_owned(),
        );
    }
    Ok(texts)
}

fn routes(text: &mut String, config: &GuestConfig, name: &str) {
    for (method, prefix) in [(config.ipv4(), ""), (config.ipv6(), "ipv6_")] {
        let Some(router) = method.gateway() else { continue };
        debug_assert_eq!(router, gateway(router.address, method.addresses()));
        let address = router.address;
        if router.on_link {
            // The variables of IPv6 have the word in their names, too.
            let _ = writeln!(text, "{prefix}static_routes=\"xennetgw xennetall\"");
            let _ = writeln!(text, "{prefix}route_xennetgw=\"-host {address} -interface {name}\"");
            let _ = writeln!(text, "{prefix}route_xennetall=\"default {address}\"");
            continue;
        }
        let zone = match address {
            std::net::IpAddr::V6(a) if a.is_unicast_link_local() => format!("%{name}"),
            _ => String::new(),
        };
        let _ = writeln!(text, "{prefix}defaultrouter=\"{address}{zone}\"");
    }
}
