//! The parameter `ip=` of the Linux kernel (`Documentation/admin-guide/nfs/nfsroot.rst`, `net/ipv4/ipconfig.c`), which initramfs tools
//! read, too.
//!
//! It says one IPv4 address of one interface. The guest's own system may say more, later.

use super::config::mask;
use super::format::{Texts, joined};
use super::{Format, GuestConfig, GuestFile, Method};
use crate::error::Error;

/// The name servers that `ip=` has places for.
const SERVERS: usize = 2;

pub(super) fn render(config: &GuestConfig) -> Result<Texts, Error> {
    let format = Format::Kernel;
    let link = config.linux_name();
    let name = link.checked_linux(format.name())?;
    let mut left_out: Vec<String> = Vec::new();
    let text = match config.ipv4() {
        Method::Off => {
            return Err(format.refuse(
                "IPv6 alone",
                "ip= is about IPv4",
                "use another format, read by the guest's own system",
            ));
        }
        Method::Auto => format!("ip=:::::{name}:dhcp\n"),
        Method::Static { addresses, gateway } => {
            if gateway.is_some_and(|g| g.on_link) {
                let rule = "the kernel refuses it (ic_setup_routes)";
                return Err(format.refuse("a gateway outside of the guest's prefix", rule, "use another format"));
            }
            let first = addresses.first();
            let (ip, mask) = first.map(|a| (a.ip().to_string(), mask(a).to_string())).unwrap_or_default();
            left_out.extend(addresses.iter().skip(1).map(|a| format!("the address {a}")));
            let servers: Vec<_> = config.dns().iter().filter(|a| a.is_ipv4()).collect();
            let dns: String = servers.iter().take(SERVERS).map(|a| format!(":{a}")).collect();
            let router = gateway.map(|g| g.address.to_string()).unwrap_or_default();
            format!("ip={ip}::{router}:{mask}::{name}:off{dns}\n")
        }
    };
    // With DHCP the name servers come from there, too.
    let said = if config.ipv4().is_auto() { 0 } else { SERVERS };
    let four = config.dns().iter().filter(|a| a.is_ipv4()).skip(said);
    left_out.extend(four.chain(config.dns().iter().filter(|a| a.is_ipv6())).map(|a| format!("the name server {a}")));
    if config.ipv6() != &Method::Off {
        left_out.push("all of IPv6".to_owned());
    }
    if !config.search().is_empty() {
        left_out.push(format!("search {}", joined(config.search(), " ")));
    }
    left_out.extend(config.mtu().map(|mtu| format!("the MTU of {mtu} bytes")));
    let mut texts = Texts::of(GuestFile { path: None, mode: 0o644, text });
    if !left_out.is_empty() {
        texts.notes.push(format!("ip= cannot say: {}; the guest's own system has to", left_out.join(", ")));
    }
    if config.interface().is_none() {
        texts
            .notes
            .push(format!("the guest's kernel is expected to call this interface {name}; if it does not, name it"));
    }
    Ok(texts)
}
