//! What other programs do to a host.

use xennet_core::backend::Backend;
use xennet_core::snapshot::{
    NftElement, NftExpr, NftKey, NftRule, NftTable, NftTableId, NftVerdict, Part, Route, Scope,
};
use xennet_core::step::{LinkChange, LinkRef, NewMaster, NftOp, NftTransaction, PortChange, PortStep, RouteStep, Step};
use xennet_tests::steps::{name, set};

use super::Dice;

fn nft(on: &mut dyn Backend, table: &NftTableId, ops: Vec<NftOp>) {
    // What is not there cannot be damaged.
    let _ = on.apply(&Step::Nft(NftTransaction::new(table.clone(), ops)));
}

fn table(on: &mut dyn Backend, id: &NftTableId) -> Option<NftTable> {
    on.observe(&Scope::none().with(Part::Nft(id.clone()))).unwrap().nft.remove(id)
}

/// Somebody flushes, or takes something out of our tables; in words.
pub(crate) fn flush(on: &mut dyn Backend, dice: &mut Dice) -> String {
    let tables = [NftTableId::guard(), NftTableId::gate()];
    let of = dice.pick(&tables).clone();
    match dice.below(7) {
        0 | 1 => {
            for id in &tables {
                nft(on, id, vec![NftOp::DelTable]);
            }
            "everything flushed".into()
        }
        2 => {
            nft(on, &of, vec![NftOp::DelTable]);
            format!("table {of} deleted")
        }
        3 => {
            let Some(found) = table(on, &of) else { return format!("nothing: no table {of}") };
            let all: Vec<(&String, &NftKey, &NftElement)> =
                found.sets.iter().flat_map(|(set, s)| s.elements.iter().map(move |(k, e)| (set, k, e))).collect();
            if all.is_empty() {
                return "nothing: no element".into();
            }
            let (set, key, _) = *dice.pick(&all);
            nft(on, &of, vec![NftOp::DelElements { set: set.clone(), keys: vec![key.clone()] }]);
            format!("an element of {of} {set} deleted")
        }
        4 => {
            let Some(found) = table(on, &of) else { return format!("nothing: no table {of}") };
            let chains: Vec<(&String, &NftRule)> =
                found.chains.iter().flat_map(|(chain, c)| c.rules.iter().map(move |r| (chain, r))).collect();
            if chains.is_empty() {
                return "nothing: no rule".into();
            }
            let (chain, rule) = *dice.pick(&chains);
            nft(on, &of, vec![NftOp::DelRule { chain: chain.clone(), rule: rule.clone() }]);
            format!("a rule of {of} {chain} deleted: {rule}")
        }
        5 => {
            let Some(found) = table(on, &of) else { return format!("nothing: no table {of}") };
            let drop = [NftExpr::Verdict(NftVerdict::Drop)];
            for (chain, c) in &found.chains {
                let Some(rule) = c.rules.last().filter(|rule| rule.exprs == drop) else { continue };
                let accept = NftRule::new(vec![NftExpr::Verdict(NftVerdict::Accept)]);
                let del = NftOp::DelRule { chain: chain.clone(), rule: rule.clone() };
                nft(on, &of, vec![del, NftOp::AddRule { chain: chain.clone(), rule: accept }]);
            }
            format!("the last drops of {of} accept")
        }
        _ => {
            if table(on, &of).is_some() {
                nft(on, &of, vec![NftOp::SetFlags { flags: NftTable::DORMANT }]);
            }
            format!("table {of} dormant")
        }
    }
}

/// Somebody changes a guest's link by hand; in words.
pub(crate) fn damage(on: &mut dyn Backend, dice: &mut Dice, link: &str) -> String {
    let seen = on.observe(&Scope::network()).unwrap();
    let Some(found) = seen.links.get(&name(link)) else { return format!("nothing: no {link}") };
    let down = LinkChange::default().with_up(false);
    match dice.below(5) {
        0 => {
            set(on, link, down);
            format!("{link} put down")
        }
        1 if found.master.is_some() => {
            set(on, link, LinkChange::default().with_master(NewMaster::None));
            format!("{link} taken out of its bridge")
        }
        2 => {
            set(on, link, down);
            let other = format!("r{link}");
            set(on, link, LinkChange::default().with_name(name(&other)).with_up(true));
            format!("{link} renamed to {other}")
        }
        3 if found.port.is_some() => {
            let change = PortChange::default().with_isolated(true).with_learning(false);
            let port = LinkRef::named(name(link));
            on.apply(&Step::Port(PortStep::Set { port, change, up: None })).unwrap();
            format!("the port settings of {link} changed")
        }
        _ => {
            let own = |r: &&Route| r.link == Some(name(link)) && r.protocol == xennet_core::plan::ROUTE_PROTOCOL;
            let routes: Vec<Route> = seen.routes.iter().filter(own).cloned().collect();
            for route in &routes {
                on.apply(&Step::Route(RouteStep::Del(route.clone()))).unwrap();
            }
            format!("{} routes of {link} deleted", routes.len())
        }
    }
}
