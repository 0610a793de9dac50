//! Other programs: link managers, firewalls.

use super::finding::{Finding, sh};
use super::seen::Seen;
use super::table::Code;
use crate::snapshot::{NftChainKind, NftCmp, NftExpr, NftField, NftHook, NftNat, NftRule, NftValue};

pub(super) fn check(seen: &Seen<'_>, out: &mut Vec<Finding>) {
    for warning in &seen.recording.surroundings.managers {
        out.push(
            Finding::new(Code::ManagerTakesLinks, warning.manager.title(), &warning.message)
                .by_command(sh!("xennet snippets {} --dir /", warning.manager.name())),
        );
    }
    for table in &seen.details().legacy {
        let (family, name) = table.split_once(' ').unwrap_or(("ip", table));
        let program = match family {
            "ip6" => "ip6tables-legacy",
            "arp" => "arptables-legacy",
            _ => "iptables-legacy",
        };
        out.push(
            Finding::new(Code::LegacyTables, table, format!("the kernel has the table {name} of {program}")).look(sh!(
                "{} -t {} -L -v -n",
                program,
                name
            )),
        );
    }
    masquerade(seen, out);
}

/// Rules of others that give routed guests another address.
fn masquerade(seen: &Seen<'_>, out: &mut Vec<Finding>) {
    for (id, table) in &seen.details().foreign {
        for (chain, c) in &table.chains {
            let is_source_nat = c.base.is_some_and(|b| b.kind == NftChainKind::Nat && b.hook == NftHook::Postrouting);
            if !is_source_nat {
                continue;
            }
            for (at, rule) in c.rules.iter().enumerate() {
                let network = seen
                    .started()
                    .iter()
                    .find(|s| matches!(s.network.mode(), crate::model::NetworkMode::Routed(_)) && hides(rule, s));
                if let Some(s) = network {
                    let name = s.network.name();
                    out.push(
                        Finding::new(
                            Code::ForeignMasquerade,
                            format!("nft table {id}"),
                            format!("rule {} of chain {chain} gives guests of network {name} another address", at + 1),
                        )
                        .look(sh!("nft -a list chain {} {}", id, chain)),
                    );
                }
            }
        }
    }
}

/// Whether a rule translates the source of what a routed network's guests send out.
fn hides(rule: &NftRule, started: &crate::model::Started) -> bool {
    let mut translates = false;
    for expr in &rule.exprs {
        match expr {
            NftExpr::Match { field: NftField::OifName, mask: None, op: NftCmp::Eq, value: NftValue::Name(name) } => {
                if started.outside != Some(*name) {
                    return false;
                }
            }
            NftExpr::Match { field: NftField::IpSaddr, mask, op: NftCmp::Eq, value: NftValue::Ipv4(first) } => {
                let bits = match mask {
                    Some(NftValue::Ipv4(mask)) => u32::from(*mask),
                    None => u32::MAX,
                    Some(_) => return false,
                };
                let within = |n: ipnetwork::IpNetwork| match n {
                    ipnetwork::IpNetwork::V4(n) => u32::from(n.network()) & bits == u32::from(*first) & bits,
                    ipnetwork::IpNetwork::V6(_) => false,
                };
                if !started.network.subnets().iter().any(|s| within(s.network())) {
                    return false;
                }
            }
            NftExpr::Masquerade | NftExpr::Nat { side: NftNat::Source, .. } => translates = true,
            NftExpr::Counter => {}
            // What else it asks for may leave the guests out.
            _ => return false,
        }
    }
    translates
}
