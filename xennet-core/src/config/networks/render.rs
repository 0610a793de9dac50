//! Networks as the text of the file.

use std::fmt::Write as _;

use crate::model::{BridgeSpec, Egress, GuestLinks, Mtu, Network, NetworkMode, RoutedNetwork, Services, Subnet};

/// The text that [`parse`](super::parse) reads as these networks: only what differs from what is taken where a key is left
/// out. They must not contradict each other, which is not checked here.
pub fn render<'a>(networks: impl IntoIterator<Item = &'a Network>) -> String {
    let mut out = String::new();
    for network in networks {
        if !out.is_empty() {
            out.push('\n');
        }
        one(&mut out, network);
    }
    out
}

struct Keys<'a>(&'a mut String);

impl Keys<'_> {
    fn text(&mut self, key: &str, value: impl std::fmt::Display) {
        let _ = writeln!(self.0, "{key} = {}", quote(&value.to_string()));
    }

    fn plain(&mut self, key: &str, value: impl std::fmt::Display) {
        let _ = writeln!(self.0, "{key} = {value}");
    }

    fn flag(&mut self, key: &str, on: bool) {
        if on {
            self.plain(key, true);
        }
    }

    fn list(&mut self, key: &str, values: &[String]) {
        if !values.is_empty() {
            let quoted: Vec<_> = values.iter().map(|v| quote(v)).collect();
            self.plain(key, format_args!("[{}]", quoted.join(", ")));
        }
    }

    fn mtu(&mut self, mtu: Option<Mtu>) {
        if let Some(mtu) = mtu {
            self.plain("mtu", mtu);
        }
    }

    fn outside(&mut self, key: &str, outside: &Egress) {
        if let Egress::Link(link) = outside {
            self.text(key, link);
        }
    }

    fn subnets(&mut self, subnets: &[Subnet]) {
        self.list("subnets", &subnets.iter().map(|s| s.network.to_string()).collect::<Vec<_>>());
        let chosen = subnets.iter().filter(|s| s.gateway != Subnet::default_gateway(s.network));
        self.list("gateways", &chosen.map(|s| s.gateway.to_string()).collect::<Vec<_>>());
    }

    fn services(&mut self, services: &Services) {
        self.flag("dhcp", services.dhcp);
        self.flag("dns", services.dns);
        self.list("range", &services.range.iter().map(|(a, b)| format!("{a}-{b}")).collect::<Vec<_>>());
        if let Some(domain) = &services.domain {
            self.text("domain", domain);
        }
    }

    fn bridge(&mut self, bridge: &BridgeSpec) {
        self.flag("stp", bridge.stp);
        let delay = bridge.forward_delay.as_secs();
        if delay != if bridge.stp { 15 } else { 0 } {
            self.plain("forward_delay", delay);
        }
        if let Some(mac) = bridge.mac {
            self.text("mac", mac);
        }
        self.mtu(bridge.mtu);
        if let Some(on) = bridge.vlan_filtering {
            self.plain("vlan_filtering", on);
        }
    }
}

fn one(out: &mut String, network: &Network) {
    let name = network.name.as_str();
    let bare = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    let _ = match bare {
        true => writeln!(out, "[network.{name}]"),
        false => writeln!(out, "[network.{}]", quote(name)),
    };
    let mut keys = Keys(out);
    keys.text("mode", network.mode_name());
    match &network.mode {
        NetworkMode::Bridge(b) => {
            if b.bridge.name != network.name {
                keys.text("bridge", b.bridge.name);
            }
            if let Some(uplink) = b.uplink {
                keys.text("uplink", uplink);
            }
            if let Some(name) = b.uplink_name {
                keys.text("uplink_name", name);
            }
            keys.bridge(&b.bridge);
        }
        NetworkMode::Nat(n) => {
            keys.subnets(&n.subnets);
            keys.outside("egress", &n.egress);
            if let GuestLinks::Bridge(bridge) = &n.guests {
                keys.text("bridge", bridge.name);
            }
            keys.services(&n.services);
            keys.mtu(n.mtu);
            if !n.forwards.is_empty() {
                let list: Vec<_> = n
                    .forwards
                    .iter()
                    .map(|f| {
                        let ports = if f.ports.0 == f.ports.1 {
                            f.ports.0.to_string()
                        } else {
                            format!("{}-{}", f.ports.0, f.ports.1)
                        };
                        format!(
                            "  {{ protocol = \"{}\", ports = \"{ports}\", to = \"{}\", to_port = {} }},\n",
                            f.protocol.name(),
                            f.to,
                            f.to_port
                        )
                    })
                    .collect();
                keys.plain("forward", format_args!("[\n{}]", list.concat()));
            }
        }
        NetworkMode::Routed(r) => {
            keys.subnets(&r.subnets);
            keys.outside("uplink", &r.uplink);
            keys.list("source", &r.source.iter().map(ToString::to_string).collect::<Vec<_>>());
            keys.flag("proxy_arp", r.proxy_arp);
            keys.flag("proxy_ndp", r.proxy_ndp);
            if r.metric != RoutedNetwork::METRIC {
                keys.plain("metric", r.metric);
            }
            keys.services(&r.services);
            keys.mtu(r.mtu);
        }
    }
}

/// A basic TOML string.
fn quote(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}
