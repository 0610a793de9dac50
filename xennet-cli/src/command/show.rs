//! `show`: what the networking of this host is.

use std::collections::BTreeMap;
use std::io::IsTerminal as _;
use std::path::Path;

use xennet_core::backend::netlink::Events;
use xennet_core::document::Violations;
use xennet_core::picture::{Filter, Guest, HubKind, Port, bytes};
use xennet_core::{Error, ErrorKind, IfName, NetworkState, Overview, Result, VifId, ViolationCount};

use super::common::open;
use super::record;
use crate::cli::{BackendName, Global};
use crate::output::Output;
use crate::table::{Cell, Paint, Table};
use crate::terminal;

pub(super) fn run(global: &Global, from: Option<&Path>, look: Look, output: &mut Output) -> Result<()> {
    match look {
        Look::Once => {}
        Look::Again => return follow(global, output),
        Look::Counters => return count(global, from, output),
    }
    let overview = match from {
        Some(file) => xennet_core::Host::overview_of(&record::from_file(file)?)?,
        None => record::overview(global)?,
    };
    tell(&overview, output)
}

/// What is shown.
#[derive(Clone, Copy)]
pub(super) enum Look {
    /// All of it.
    Once,
    /// All of it, and again after each change.
    Again,
    /// Dropped packets of guests.
    Counters,
}

/// Shows the dropped packets of guests.
fn count(global: &Global, from: Option<&Path>, output: &mut Output) -> Result<()> {
    let violations = match from {
        Some(file) => record::from_file(file)?.details.violations.into_iter().collect(),
        None => open(global)?.violations()?,
    };
    let coloured = output.is_coloured();
    let text = || match denied(&violations) {
        table if table.is_empty() => "no packet of a guest was dropped\n".to_owned(),
        table => table.render(terminal::width(), coloured),
    };
    output.answer(text, || Violations::of(violations.clone()))
}

/// The dropped packets of guests.
fn denied(violations: &[ViolationCount]) -> Table {
    let mut table = Table::new(["DENIED", "CLASS", "PACKETS", "BYTES"]);
    for counted in violations {
        table.push(vec![
            Cell::new(counted.link.to_string()),
            Cell::new(counted.violation.to_string()).painted(Some(Paint::Warning)),
            Cell::new(counted.packets.to_string()),
            Cell::new(bytes(counted.bytes)),
        ]);
    }
    table
}

/// Shows the host, and again after each change, until somebody ends it.
fn follow(global: &Global, output: &mut Output) -> Result<()> {
    if global.backend == BackendName::Fake {
        return Err(Error::new(ErrorKind::Unsupported, "--backend fake changes by commands only, and tells nobody")
            .with_object("--watch")
            .with_hint("leave --watch out"));
    }
    // Before the first look, so that no change comes between.
    let mut events = Events::listen()?;
    if !events.has_tables() {
        output.note(
            "changes of nft tables are told to root only: a filter that is lost is seen with the next other change",
        );
    }
    loop {
        let overview = record::overview(global)?;
        if output.is_coloured() || std::io::stdout().is_terminal() {
            // To the first line, and the rest of the screen empty.
            output.line("\x1b[H\x1b[J\x1b[3J")?;
        }
        tell(&overview, output)?;
        output.finish()?;
        events.wait()?;
        if !output.is_json() {
            output.line("\n")?;
        }
    }
}

fn tell(overview: &Overview, output: &mut Output) -> Result<()> {
    if !output.is_json() {
        for obstacle in overview.shown.vifs.iter().flat_map(|vif| &vif.obstacles) {
            output.note(obstacle);
        }
    }
    let coloured = output.is_coloured();
    output.answer(|| text(overview, terminal::width(), coloured), || overview)
}

/// All of it for reading, no line wider than this as far as single facts have room.
pub(super) fn text(overview: &Overview, width: usize, coloured: bool) -> String {
    let tables = [
        networks(overview),
        uplinks(overview),
        bridges(overview),
        vifs(overview),
        counters(overview),
        denied(&overview.violations),
    ];
    let mut parts: Vec<String> =
        tables.iter().filter(|table| !table.is_empty()).map(|table| table.render(width, coloured)).collect();
    parts.extend(paragraph("ROUTES", routes(overview), width, coloured));
    parts.extend(paragraph("FILTERS", filters(overview), width, coloured));
    parts.extend(paragraph("WHO REACHES WHOM", access(overview), width, coloured));
    parts.extend(paragraph("TO DO", to_do(overview), width, coloured));
    let managers = overview.managers.iter().map(|w| w.to_string()).collect();
    parts.extend(paragraph("OTHER MANAGERS", managers, width, coloured));
    let unseen = overview.unseen.iter().map(|unseen| format!("{}: {}", unseen.what, unseen.why)).collect();
    parts.extend(paragraph("NOT LOOKED AT", unseen, width, coloured));
    if parts.is_empty() {
        return "no networks, no bridges and no vifs\n".to_owned();
    }
    parts.join("\n")
}

/// Lines under a heading; nothing where there is none.
fn paragraph(heading: &str, lines: Vec<String>, width: usize, coloured: bool) -> Option<String> {
    if lines.is_empty() {
        return None;
    }
    let mut text = Paint::Heading.on(heading, coloured) + "\n";
    for line in lines {
        let mut row = String::new();
        for word in line.split(' ') {
            let taken = xennet_core::picture::text_columns(&row);
            if !row.trim().is_empty() && taken + 1 + xennet_core::picture::text_columns(word) > width {
                text.push_str(&row);
                text.push('\n');
                row = "  ".to_owned();
            } else if !row.trim().is_empty() {
                row.push(' ');
            }
            row.push_str(word);
        }
        text.push_str(&row);
        text.push('\n');
    }
    Some(text)
}

fn name(name: Option<IfName>) -> String {
    name.map_or_else(|| "-".to_owned(), |name| name.to_string())
}

fn networks(overview: &Overview) -> Table {
    let mut table = Table::new(["NETWORK", "MODE", "STATE", "OUTSIDE", "BRIDGE", "SUBNETS", "GUESTS"]);
    for network in &overview.networks {
        let (state, paint) = match network.state {
            Some(NetworkState::Started) => ("started", Some(Paint::Good)),
            Some(NetworkState::Damaged) => ("damaged", Some(Paint::Bad)),
            Some(NetworkState::Unconfirmed) => ("unconfirmed", Some(Paint::Warning)),
            Some(state) => (state.slug(), Some(Paint::Faint)),
            None => ("not known", Some(Paint::Warning)),
        };
        table.push(vec![
            Cell::new(network.network.to_string()),
            Cell::new(network.mode.clone()),
            Cell::new(state).painted(paint),
            Cell::new(name(network.outside)),
            Cell::new(network.bridge.map_or_else(String::new, |bridge| bridge.to_string())),
            Cell::list(network.subnets.iter().map(ToString::to_string)),
            Cell::new(network.vifs.len().to_string()),
        ]);
    }
    table
}

/// Whether a link works, in a word.
fn works(up: bool, carrier: Option<bool>) -> (&'static str, Option<Paint>) {
    match (up, carrier) {
        (false, _) => ("down", Some(Paint::Warning)),
        (true, Some(false)) => ("no carrier", Some(Paint::Warning)),
        (true, _) => ("up", Some(Paint::Good)),
    }
}

fn uplinks(overview: &Overview) -> Table {
    let mut table = Table::new(["UPLINK", "STATE", "ADDRESSES", "GATEWAY", "MAC", "VLAN"]);
    for uplink in &overview.picture.uplinks {
        let (state, paint) = match uplink.link {
            Some(_) if uplink.mac.is_none() && !uplink.up => ("gone", Some(Paint::Bad)),
            _ => works(uplink.up, uplink.carrier),
        };
        let vlan = match (uplink.vlan, uplink.lower) {
            (Some(vlan), Some(lower)) => format!("{vlan} of {lower}"),
            (None, Some(lower)) => format!("on {lower}"),
            _ => String::new(),
        };
        table.push(vec![
            Cell::new(name(uplink.link)),
            Cell::new(state).painted(paint),
            Cell::list(uplink.addresses.iter().map(ToString::to_string)),
            Cell::list(uplink.gateways.iter().map(ToString::to_string)),
            Cell::new(uplink.mac.map_or_else(String::new, |mac| mac.to_string())),
            Cell::new(vlan),
        ]);
    }
    table
}

fn bridges(overview: &Overview) -> Table {
    let mut table = Table::new(["BRIDGE", "STATE", "MTU", "MAC", "ADDRESSES", "MADE BY", "PORTS"]);
    for bridge in &overview.shown.bridges {
        let (state, paint) = works(bridge.up, None);
        let hub = overview.picture.hubs.iter().find(|hub| hub.bridge == Some(bridge.bridge));
        let addresses = hub.map(|hub| hub.addresses.iter().map(ToString::to_string).collect::<Vec<_>>());
        table.push(vec![
            Cell::new(bridge.bridge.to_string()),
            Cell::new(state).painted(paint),
            Cell::new(bridge.mtu.to_string()),
            Cell::new(bridge.mac.map_or_else(|| "-".to_owned(), |mac| mac.to_string())),
            Cell::list(addresses.unwrap_or_default()),
            Cell::new(overview.made_by.get(&bridge.bridge).cloned().unwrap_or_default()),
            Cell::list(ports(&bridge.ports)),
        ]);
    }
    table
}

/// The ports of a bridge. Many vifs, of which each has a line of its own below, are counted.
fn ports(ports: &[IfName]) -> Vec<String> {
    const MOST: usize = 8;
    let is_vif = |port: &&IfName| VifId::from_vif_name(port.as_str()).is_some();
    let (vifs, others): (Vec<&IfName>, Vec<&IfName>) = ports.iter().partition(is_vif);
    let others = others.into_iter().map(ToString::to_string);
    match vifs.len() {
        0..=MOST => ports.iter().map(ToString::to_string).collect(),
        many => others.chain([format!("{many} vifs")]).collect(),
    }
}

/// Where a vif is, and its port.
struct Place<'a> {
    on: String,
    port: &'a Port,
    guest: &'a Guest,
}

fn places(overview: &Overview) -> BTreeMap<VifId, Place<'_>> {
    let mut places = BTreeMap::new();
    for hub in &overview.picture.hubs {
        let on = match (hub.kind, hub.bridge, hub.networks.first()) {
            (HubKind::Bridge, Some(bridge), _) => bridge.to_string(),
            (HubKind::Nothing, ..) => "-".to_owned(),
            (_, _, Some(network)) => network.to_string(),
            (HubKind::Nat, ..) => "(nat)".to_owned(),
            _ => "(routed)".to_owned(),
        };
        for port in &hub.ports {
            let Some((guest, id)) = port.guest.as_ref().and_then(|guest| Some((guest, guest.vif?))) else { continue };
            places.insert(id, Place { on: on.clone(), port, guest });
        }
    }
    places
}

fn vifs(overview: &Overview) -> Table {
    let headings = ["VIF", "LINK", "DOMAIN", "ON", "STATE", "MTU", "ADDRESSES", "MAC", "FILTER"];
    let mut table = Table::new(headings);
    let mut places = places(overview);
    let odd_mtu = overview.shown.vifs.iter().any(|vif| vif.link.is_some() && vif.mtu != 1500);
    let of_port = |place: Option<&Place<'_>>| {
        let addresses = place.map(|p| p.guest.addresses.iter().map(|a| a.to_string()).collect::<Vec<_>>());
        let addresses = addresses.unwrap_or_default().into_iter();
        // A single host needs no prefix.
        let addresses = addresses.map(|a| a.strip_suffix("/32").or(a.strip_suffix("/128")).unwrap_or(&a).to_owned());
        let filter = match place.map(|p| p.port.filter) {
            Some(Filter::Guard) => "guard",
            Some(Filter::Mac) => "guard (MAC)",
            Some(Filter::Gate) => "gate",
            Some(Filter::Closed) => "closed",
            _ => "",
        };
        let more = place.map(|p| {
            let vlan = p.port.vlan.as_ref().map(|vlan| format!("VLAN {vlan}"));
            let isolated = p.port.isolated.then(|| "isolated".to_owned());
            [Some(filter.to_owned()), vlan, isolated]
                .into_iter()
                .flatten()
                .filter(|m| !m.is_empty())
                .collect::<Vec<_>>()
        });
        let mac = place.and_then(|p| p.guest.mac).map_or_else(String::new, |mac| mac.to_string());
        (Cell::list(addresses), Cell::new(mac), Cell::new(more.unwrap_or_default().join(", ")))
    };
    let domain = |id: VifId, place: Option<&Place<'_>>| {
        let name = place.and_then(|p| p.guest.name.clone()).filter(|name| !name.is_empty());
        name.map_or_else(|| id.domid.to_string(), |name| shortened(&name))
    };
    let is_started = |name: IfName| {
        let found = overview.networks.iter().find(|network| network.network == name);
        found.is_some_and(|network| network.state != Some(NetworkState::Stopped))
    };
    for vif in &overview.shown.vifs {
        let id = VifId::new(vif.domid, vif.devid);
        let is_twin = vif.vif.ends_with("-emu");
        let place = if is_twin { None } else { places.remove(&id) };
        let (state, paint) = match vif.link {
            None => ("gone", Some(Paint::Bad)),
            Some(_) if !vif.missing.is_empty() => ("damaged", Some(Paint::Bad)),
            Some(_) => works(vif.up, place.as_ref().and_then(|p| p.port.carrier)),
        };
        let on = match (vif.bridge, vif.network, vif.mode.as_str()) {
            _ if vif.link.is_none() => "-".to_owned(),
            (Some(bridge), ..) => bridge.to_string(),
            (None, Some(network), _) if is_started(network) => network.to_string(),
            (None, Some(network), _) => format!("{network} (stopped)"),
            (None, None, "bridge") => "-".to_owned(),
            (None, None, mode) => format!("({mode})"),
        };
        let link = vif.link.filter(|link| link.as_str() != vif.vif);
        let (addresses, mac, filter) = of_port(place.as_ref());
        table.push(vec![
            Cell::new(vif.vif.clone()),
            Cell::new(link.map_or_else(String::new, |link| link.to_string())),
            Cell::new(domain(id, place.as_ref())),
            Cell::new(on),
            Cell::new(state).painted(paint),
            Cell::new(if odd_mtu && vif.link.is_some() { vif.mtu.to_string() } else { String::new() }),
            addresses,
            mac,
            filter,
        ]);
    }
    // Vifs that another program has connected, or nobody.
    for (id, place) in &places {
        let (state, paint) = works(place.port.up, place.port.carrier);
        let (addresses, mac, filter) = of_port(Some(place));
        let link = place.port.link.filter(|link| *link != id.vif_name());
        table.push(vec![
            Cell::new(id.to_string()),
            Cell::new(link.map_or_else(String::new, |link| link.to_string())),
            Cell::new(domain(*id, Some(place))),
            Cell::new(if place.on == "-" { "-".to_owned() } else { format!("{} (not by xennet)", place.on) }),
            Cell::new(state).painted(paint),
            Cell::new(""),
            addresses,
            mac,
            filter,
        ]);
    }
    table
}

/// A name that leaves room for the rest; all of it is in the document.
fn shortened(name: &str) -> String {
    const MOST: usize = 32;
    let count = name.chars().count();
    if count <= MOST {
        return name.to_owned();
    }
    let begin: String = name.chars().take(MOST / 2).collect();
    let end: String = name.chars().skip(count - (MOST - MOST / 2 - 1)).collect();
    format!("{begin}…{end}")
}

/// What went through links, where something did.
fn counters(overview: &Overview) -> Table {
    let mut table = Table::new(["TRAFFIC", "OF", "IN", "OUT", "DROPPED"]);
    let mut add = |link: String, of: String, counters: Option<xennet_core::picture::Counters>| {
        let Some(c) = counters.filter(|c| c.rx_bytes > 0 || c.tx_bytes > 0 || c.dropped > 0) else { return };
        let dropped = Cell::new(c.dropped.to_string()).painted((c.dropped > 0).then_some(Paint::Warning));
        table.push(vec![
            Cell::new(link),
            Cell::new(of),
            Cell::new(bytes(c.rx_bytes)),
            Cell::new(bytes(c.tx_bytes)),
            dropped,
        ]);
    };
    for uplink in &overview.picture.uplinks {
        add(name(uplink.link), "uplink".to_owned(), uplink.counters);
    }
    for port in overview.picture.hubs.iter().flat_map(|hub| &hub.ports) {
        let of = port.guest.as_ref().and_then(|guest| guest.name.clone()).map(|name| shortened(&name));
        add(name(port.link), of.unwrap_or_default(), port.counters);
    }
    table
}

fn routes(overview: &Overview) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for route in &overview.routes {
        let to = if route.destination.prefix() == 0 {
            format!("default{}", if route.destination.is_ipv6() { " (IPv6)" } else { "" })
        } else {
            route.destination.to_string()
        };
        lines.push(format!("{to} {}, by {}", route.ways.join(" and "), route.by));
    }
    if overview.guest_routes > 0 {
        let many = if overview.guest_routes == 1 { "route" } else { "routes" };
        lines.push(format!("and {} {many} to guests, by xennet", overview.guest_routes));
    }
    lines
}

fn filters(overview: &Overview) -> Vec<String> {
    let of = |filter: &xennet_core::ShownFilter| {
        let whose = if filter.own { "xennet's" } else { "another program's" };
        let rules = filter.rules.map_or_else(|| "rules not looked at".to_owned(), |n| format!("{n} rules"));
        let drops = match &filter.drops[..] {
            [] => String::new(),
            hooks => format!(", drops what none of them accepts at {}", hooks.join(" and ")),
        };
        format!("{}: {whose}, {rules}{drops}", filter.table)
    };
    let mut lines: Vec<String> = overview.filters.iter().map(of).collect();
    let count = |which: &[Filter]| {
        let ports = overview.picture.hubs.iter().flat_map(|hub| &hub.ports);
        ports.filter(|port| which.contains(&port.filter)).count()
    };
    let (guarded, gated) = (count(&[Filter::Guard, Filter::Mac]), count(&[Filter::Gate]));
    let (all, bare) = (overview.picture.guests(), overview.picture.guests() - guarded - gated);
    if all > 0 {
        let vifs = if all == 1 { "vif" } else { "vifs" };
        lines.push(format!("{all} {vifs}: {guarded} filtered by the guard, {gated} by the gate, {bare} not at all"));
    }
    lines
}

/// Who reaches whom, where networks say something about it.
fn access(overview: &Overview) -> Vec<String> {
    let mut lines = Vec::new();
    for network in &overview.networks {
        lines.extend(network.access.iter().map(|what| format!("{}: {what}", network.network)));
    }
    lines
}

/// What is not as it was made, and what is to be done elsewhere.
fn to_do(overview: &Overview) -> Vec<String> {
    let mut lines = Vec::new();
    for network in &overview.networks {
        lines.extend(network.missing.iter().map(|what| format!("{}: not as it was made: {what}", network.network)));
        lines.extend(
            network.elsewhere.iter().map(|what| format!("{}: on the gateway outside: {what}", network.network)),
        );
    }
    for vif in &overview.shown.vifs {
        lines.extend(vif.missing.iter().map(|what| format!("{}: not as it was made: {what}", vif.vif)));
    }
    if lines.iter().any(|line| line.contains("not as it was made")) {
        lines.push("xennet recover puts back what is missing".to_owned());
    }
    lines
}
