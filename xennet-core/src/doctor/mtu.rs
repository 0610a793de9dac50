//! The chain of MTUs: uplink, VLAN, bond, bridge, port, frontend.

use super::finding::{Finding, sh};
use super::seen::Seen;
use super::table::Code;
use super::uplinks::is_uplink;
use crate::snapshot::LinkKind;

pub(super) fn check(seen: &Seen<'_>, out: &mut Vec<Finding>) {
    for bridge in seen.bridges() {
        let Some(link) = seen.link(&bridge) else { continue };
        // Of the ways out, and not of what else is on the bridge.
        let declared: Vec<_> = seen.uplinks().filter(|(_, b, _)| *b == bridge).map(|(_, _, uplink)| uplink).collect();
        let leads_out = |(name, link): &(&crate::model::IfName, &crate::snapshot::Link)| {
            declared.contains(name) || (declared.is_empty() && is_uplink(link))
        };
        let smallest = seen.outer_ports(bridge).into_iter().filter(leads_out).min_by_key(|(_, l)| l.mtu);
        for (name, port) in seen.snapshot().ports(&bridge) {
            if port.mtu < link.mtu {
                out.push(
                    Finding::new(
                        Code::MtuOfPort,
                        name,
                        format!("{name} has an MTU of {}, and its bridge {bridge} one of {}", port.mtu, link.mtu),
                    )
                    .by_command(sh!("ip link set {} mtu {}", name, link.mtu)),
                );
            }
            if let Some((uplink, outer)) = smallest
                && seen.is_of_guest(name)
                && port.mtu > outer.mtu
            {
                out.push(Finding::new(
                    Code::MtuOfUplink,
                    name,
                    format!(
                        "{name} has an MTU of {}, and {uplink}, by which it leaves, one of {}",
                        port.mtu, outer.mtu
                    ),
                ));
            }
        }
    }
    for (name, link) in &seen.snapshot().links {
        let lower = seen.details_of(name).and_then(|d| d.lower).and_then(|lower| Some((lower, seen.link(&lower)?)));
        if let Some((lower, below)) = lower
            && below.mtu < link.mtu
        {
            out.push(
                Finding::new(
                    Code::MtuOfLower,
                    name,
                    format!("{name} has an MTU of {}, and {lower}, on which it sits, one of {}", link.mtu, below.mtu),
                )
                .by_command(sh!("ip link set {} mtu {}", lower, link.mtu)),
            );
        }
        let is_bond =
            |l: &crate::snapshot::Link| matches!(&l.kind, LinkKind::Other(kind) if kind == "bond" || kind == "team");
        if let Some((master, bond)) = link.master.and_then(|m| Some((m, seen.link(&m).filter(|l| is_bond(l))?)))
            && link.mtu < bond.mtu
        {
            out.push(
                Finding::new(
                    Code::MtuOfLower,
                    master,
                    format!("{master} has an MTU of {}, and its link {name} one of {}", bond.mtu, link.mtu),
                )
                .by_command(sh!("ip link set {} mtu {}", name, bond.mtu)),
            );
        }
    }
    for vif in &seen.vifs {
        let (Some((name, link)), Some(node)) = (vif.link, &vif.node) else { continue };
        let told = node.frontend.get("mtu").and_then(|mtu| mtu.trim().parse::<u32>().ok());
        // The guest can write what it likes there.
        let told = told.filter(|told| (68..=65_535).contains(told));
        if let Some(told) = told.filter(|told| *told != link.mtu && link.master.is_some()) {
            out.push(Finding::new(
                Code::MtuOfFrontend,
                vif.id,
                format!("{} was told an MTU of {told}, and {name} has {}", vif.who(), link.mtu),
            ));
        }
    }
}
