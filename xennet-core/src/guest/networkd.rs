//! `systemd.network(5)`.

use std::fmt::Write as _;

use super::format::{Texts, joined};
use super::{Format, GuestConfig, GuestFile};
use crate::error::Error;

pub(super) fn render(config: &GuestConfig) -> Result<Texts, Error> {
    let link = config.linux_name();
    let name = link.checked_linux(Format::Networkd.name())?;
    let mut text = format!("# {}\n[Match]\n", config.head());
    let _ = match config.matched_mac() {
        Some(mac) => writeln!(text, "MACAddress={}", mac.get()),
        None => writeln!(text, "Name={name}"),
    };
    if let Some(mtu) = config.mtu() {
        let _ = writeln!(text, "\n[Link]\nMTUBytes={mtu}");
    }
    let dhcp = if config.ipv4().is_auto() { "ipv4" } else { "no" };
    // Whether DHCPv6 is asked is what the router advertisement says.
    let ra = if config.ipv6().is_auto() { "yes" } else { "no" };
    let _ = writeln!(text, "\n[Network]\nDHCP={dhcp}\nIPv6AcceptRA={ra}");
    for address in config.addresses() {
        let _ = writeln!(text, "Address={address}");
    }
    for server in config.dns() {
        let _ = writeln!(text, "DNS={server}");
    }
    if !config.search().is_empty() {
        let _ = writeln!(text, "Domains={}", joined(config.search(), " "));
    }
    for gateway in [config.ipv4(), config.ipv6()].into_iter().filter_map(|m| m.gateway()) {
        let _ = writeln!(text, "\n[Route]\nGateway={}", gateway.address);
        if gateway.on_link {
            text.push_str("GatewayOnLink=yes\n");
        }
    }
    Ok(Texts::of(GuestFile::readable(format!("/etc/systemd/network/10-xennet-{name}.network"), text)))
}
