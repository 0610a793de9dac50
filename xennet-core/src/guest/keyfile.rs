//! `nm-settings-keyfile(5)`: a connection of NetworkManager.
//!
//! A gateway that is in no prefix needs no word of its own: NetworkManager adds the route to it (`nm_l3_config_data_add_dependent_onlink_routes`).

use std::fmt::Write as _;
use std::net::IpAddr;

use super::format::{Texts, joined};
use super::{Format, GuestConfig, GuestFile, Method};
use crate::error::Error;

pub(super) fn render(config: &GuestConfig) -> Result<Texts, Error> {
    let link = config.linux_name();
    let name = link.checked_linux(Format::NetworkManager.name())?;
    let mut text = format!("# {}\n[connection]\nid=xennet-{name}\ntype=ethernet\n", config.head());
    if config.matched_mac().is_none() {
        let _ = writeln!(text, "interface-name={name}");
    }
    text.push_str("\n[ethernet]\n");
    if let Some(mac) = config.matched_mac() {
        let _ = writeln!(text, "mac-address={}", mac.get().to_string().to_ascii_uppercase());
    }
    if let Some(mtu) = config.mtu() {
        let _ = writeln!(text, "mtu={mtu}");
    }
    family(&mut text, config, "ipv4", config.ipv4());
    family(&mut text, config, "ipv6", config.ipv6());
    let path = format!("/etc/NetworkManager/system-connections/xennet-{name}.nmconnection");
    Ok(Texts::of(GuestFile::private(path, text)))
}

fn family(text: &mut String, config: &GuestConfig, section: &str, method: &Method) {
    let word = match method {
        Method::Off => "disabled",
        Method::Auto => "auto",
        Method::Static { .. } => "manual",
    };
    let _ = writeln!(text, "\n[{section}]\nmethod={word}");
    for (at, address) in method.addresses().iter().enumerate() {
        let _ = writeln!(text, "address{}={address}", at + 1);
    }
    if let Some(gateway) = method.gateway() {
        let _ = writeln!(text, "gateway={}", gateway.address);
    }
    if *method == Method::Off {
        return;
    }
    let is_other_off = if section == "ipv4" { config.ipv6() } else { config.ipv4() } == &Method::Off;
    let servers: Vec<&IpAddr> = config.dns().iter().filter(|a| a.is_ipv4() == (section == "ipv4")).collect();
    if !servers.is_empty() {
        let _ = writeln!(text, "dns={};", joined(&servers, ";"));
    }
    // The domains stand once, in the first family that is on.
    if !config.search().is_empty() && (section == "ipv4" || is_other_off) {
        let _ = writeln!(text, "dns-search={};", joined(config.search(), ";"));
    }
}
