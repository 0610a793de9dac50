//! Commands of Windows, to be run once as Administrator: `netsh interface ipv4` and `ipv6`. What they set outlives a boot.

use std::fmt::Write as _;

use super::config::mask;
use super::format::Texts;
use super::{GuestConfig, GuestFile, Method};

pub(super) fn render(config: &GuestConfig) -> Texts {
    let name = match config.interface() {
        Some(link) => link.to_string(),
        None => match config.devid().get() {
            0 => "Ethernet".to_owned(),
            n => format!("Ethernet {}", u32::from(n) + 1),
        },
    };
    let mut texts = Texts::of(GuestFile { path: None, mode: 0o644, text: String::new() });
    if config.interface().is_none() {
        texts.notes.push(format!("Windows is expected to call this interface \"{name}\"; if it does not, name it"));
    }
    // In a batch file a single % begins a variable.
    let quoted = format!("\"{}\"", name.replace('%', "%%"));
    let mut lines = vec!["@echo off".to_owned(), format!("rem {}", config.head())];
    if let Some(mtu) = config.mtu() {
        for (family, method) in [("ipv4", config.ipv4()), ("ipv6", config.ipv6())] {
            if method != &Method::Off {
                lines.push(format!("netsh interface {family} set subinterface {quoted} mtu={mtu} store=persistent"));
            }
        }
    }
    ipv4(&mut lines, config, &quoted);
    ipv6(&mut lines, config, &quoted);
    servers(&mut lines, config, &quoted);
    if !config.search().is_empty() {
        texts.notes.push(format!(
            "netsh cannot set a search domain; in PowerShell: Set-DnsClientGlobalSetting -SuffixSearchList {}",
            super::format::joined(config.search(), ",")
        ));
    }
    let mut text = String::new();
    for line in lines {
        let _ = write!(text, "{line}\r\n");
    }
    texts.files[0].text = text;
    texts
}

fn ipv4(lines: &mut Vec<String>, config: &GuestConfig, quoted: &str) {
    match config.ipv4() {
        Method::Off => {}
        Method::Auto => lines.push(format!("netsh interface ipv4 set address name={quoted} source=dhcp")),
        Method::Static { addresses, gateway } => {
            for (at, address) in addresses.iter().enumerate() {
                let (verb, source) = if at == 0 { ("set", "source=static ") } else { ("add", "") };
                let router = match gateway {
                    Some(g) if at == 0 && !g.on_link => format!(" gateway={}", g.address),
                    _ => String::new(),
                };
                let (ip, mask) = (address.ip(), mask(address));
                lines.push(format!(
                    "netsh interface ipv4 {verb} address name={quoted} {source}address={ip} mask={mask}{router}"
                ));
            }
            if let Some(gateway) = gateway.filter(|g| g.on_link) {
                let address = gateway.address;
                lines.push(format!("netsh interface ipv4 add route {address}/32 {quoted} store=persistent"));
                lines.push(format!("netsh interface ipv4 add route 0.0.0.0/0 {quoted} {address} store=persistent"));
            }
        }
    }
}

fn ipv6(lines: &mut Vec<String>, config: &GuestConfig, quoted: &str) {
    let discovery = match config.ipv6() {
        Method::Off => return,
        Method::Auto => "enabled",
        Method::Static { .. } => "disabled",
    };
    lines.push(format!("netsh interface ipv6 set interface {quoted} routerdiscovery={discovery} store=persistent"));
    for address in config.ipv6().addresses() {
        lines.push(format!("netsh interface ipv6 add address {quoted} {address} store=persistent"));
    }
    if let Some(gateway) = config.ipv6().gateway() {
        let address = gateway.address;
        if gateway.on_link {
            lines.push(format!("netsh interface ipv6 add route {address}/128 {quoted} store=persistent"));
        }
        lines.push(format!("netsh interface ipv6 add route ::/0 {quoted} {address} store=persistent"));
    }
}

fn servers(lines: &mut Vec<String>, config: &GuestConfig, quoted: &str) {
    for (family, is_ipv4) in [("ipv4", true), ("ipv6", false)] {
        for (at, server) in config.dns().iter().filter(|a| a.is_ipv4() == is_ipv4).enumerate() {
            lines.push(match at {
                0 => format!(
                    "netsh interface {family} set dnsservers name={quoted} source=static address={server} validate=no"
                ),
                _ => format!(
                    "netsh interface {family} add dnsservers name={quoted} address={server} index={} validate=no",
                    at + 1
                ),
            });
        }
    }
}
