//! What a vif or a network needs by its record, and what of that is missing.
//!
//! The wish in the record is planned once more: the steps of that plan are what is missing. There is no second list of needs. All
//! rules of the tables are read for it, so a rule that was replaced by another one is seen as well.

use super::checked::Draft;
use super::table::TableWish;
use super::{Plan, Planned, Reason, diff, gate, guard, network, routes, want};
use crate::error::Error;
use crate::model::{
    Attach, Attachment, BridgeSpec, FoundVif, IfName, MacAddr, Network, RecordedVif, Resolved, ResolvedNetwork,
    ResolvedVif,
};
use crate::snapshot::{Link, Part, Scope, Snapshot};
use crate::step::{PortChange, PortStep, Step};
use crate::tables;
use crate::tables::gate::GATE;

/// The wish that an attached vif stands for, where its link is now: all that the wish says is recorded of it.
pub(crate) fn of_vif(a: &Attach, present: IfName, link: &Link) -> ResolvedVif<Attach> {
    let bridge = match &a.attachment {
        Attachment::Bridge { bridge, .. } => Some(*bridge),
        _ => None,
    };
    ResolvedVif {
        // Without one it has taken its bridge's, which follows its ports.
        wish: Attach { mtu: a.mtu.or_else(|| link.mtu.try_into().ok()), ..a.clone() },
        found: FoundVif::named(present),
        recorded: RecordedVif {
            index: Some(link.index),
            bridge,
            guard: a.guarded().map(Box::new),
            routes: a.behind().map(Box::new),
        },
    }
}

/// The link of an attached vif, by its index: under its own name, the name it was made with, or a name it was given by hand. A new
/// link that got the index of a gone one does not count.
pub(crate) fn link_of<'a>(
    a: &Attach,
    index: u32,
    was: &Link,
    made: &IfName,
    now: &'a Snapshot,
) -> Option<(&'a IfName, &'a Link)> {
    now.link_by_index(index).filter(|found| is_link_of(a, was, made, *found, now))
}

/// Whether a link with the index of an attached vif is that vif's.
pub(crate) fn is_link_of(a: &Attach, was: &Link, made: &IfName, found: (&IfName, &Link), now: &Snapshot) -> bool {
    let (name, link) = found;
    if *name == a.name || name == made {
        return true;
    }
    let is_same = link.kind == was.kind && (link.mac == was.mac || link.mac == Some(MacAddr::BACKEND));
    let is_free = |name: &IfName| !now.links.contains_key(name);
    is_same && is_free(&a.name) && is_free(made)
}

/// Whether an attached vif is a guest of this network.
pub(crate) fn is_guest(a: &Attach, network: &Network) -> bool {
    let on = match &a.attachment {
        Attachment::Bridge { bridge, .. } => Some(*bridge),
        _ => None,
    };
    a.network == Some(network.name()) || (on.is_some() && on == network.bridge().map(BridgeSpec::name))
}

/// As [`scope`](super::scope), with all rules of the tables.
pub(crate) fn whole_scope(resolved: &Resolved, seen: &Snapshot) -> Option<Scope> {
    let missing = tables::whole(want::scope(resolved, seen)).without(&seen.scope);
    (missing != Scope::none()).then_some(missing)
}

/// A plan, extended by what another wish needs. `seen` is what was observed for that one.
///
/// # Errors
/// As [`plan`](super::plan).
pub(crate) fn with(plan: Plan, resolved: &Resolved, seen: Snapshot) -> Result<Plan, Error> {
    let mut now = seen.clone();
    now.merge(plan.after().clone());
    let (wanted, _) = want::want(resolved, &now)?;
    let (steps, after) = diff::steps_towards(&wanted, &now)?;
    let after = after.into_owned();
    let mut draft = plan.reopened();
    draft.steps.extend(steps);
    let mut before = seen;
    before.merge(draft.before);
    Draft { before, after, ..draft }.there()
}

/// What our tables have to have of a wish.
fn tables(resolved: &Resolved) -> Vec<TableWish> {
    match resolved {
        Resolved::Attach(a) => {
            [guard::instead(a.wish.guarded().as_ref(), None)].into_iter().chain(routes::tables(a)).collect()
        }
        Resolved::Start(started) => network::tables(started).into_iter().collect(),
        Resolved::Detach(_) | Resolved::Bridge(_) => Vec::new(),
    }
}

const LOST: Reason = Reason::fixed("somebody has taken it away");

fn wishes(of: &[Resolved]) -> Vec<TableWish> {
    TableWish::together(of.iter().flat_map(tables), &LOST)
}

/// What has to be looked at to see what our tables lack of all these: the tables with all that is in them.
pub(crate) fn tables_scope(of: &[Resolved]) -> Scope {
    let ids = wishes(of).into_iter().map(|wish| (wish.table.id)());
    ids.flat_map(|id| [Part::NftFrame(id.clone()), Part::Nft(id)]).collect()
}

/// What our tables lack of all these, one transaction a table, so that nothing is let through in between.
///
/// # Errors
/// [`ErrorKind::Conflict`](crate::ErrorKind::Conflict) as for a plan.
pub(crate) fn tables_lack(of: &[Resolved], now: &Snapshot) -> Result<Vec<Step>, Error> {
    let mut steps = Vec::new();
    for wish in wishes(of) {
        steps.extend(wish.first(now)?.map(Step::Nft));
    }
    Ok(steps)
}

/// The surplus in our tables: elements of wishes that are gone, unless another one needs them.
pub(crate) fn tables_left(gone: &[Resolved], there: &[Resolved], now: &Snapshot) -> Vec<Step> {
    let mut all: Vec<TableWish> = there.iter().flat_map(tables).collect();
    let absent = |wish: TableWish| TableWish { absent: wish.present, present: Vec::new(), ..wish };
    all.extend(gone.iter().flat_map(tables).map(absent));
    TableWish::together(all, &LOST).iter().filter_map(|wish| wish.last(now)).map(Step::Nft).collect()
}

/// Whether our tables have to have something of it.
pub(crate) fn is_in_tables(resolved: &Resolved) -> bool {
    tables(resolved).iter().any(|wish| !wish.present.is_empty())
}

/// What has to be observed to see that a network has what it has for its guests, which belongs to the network and not to a vif. Its size
/// does not depend on the network's forwards. Whether the gate is whole is seen of a guest's own vif, if that has something in it.
pub(crate) fn guests_scope(started: &ResolvedNetwork, seen: &Snapshot) -> Option<Scope> {
    let items = gate::of_guests(started);
    let mut scope = GATE.scope(&items);
    if started.network.bridge().is_some() && !items.is_empty() {
        scope = scope.union(GATE.frame_scope(&items, seen));
    }
    let scope = scope.without(&seen.scope);
    (scope != Scope::none()).then_some(scope)
}

/// Whether some of that is not there.
pub(crate) fn guests_lack(started: &ResolvedNetwork, now: &Snapshot) -> Result<bool, Error> {
    let wish = TableWish::new(&GATE, gate::of_guests(started), Vec::new(), LOST);
    if started.network.bridge().is_none() {
        return Ok(!wish.difference(now).0.is_empty());
    }
    Ok(!wish.present.is_empty() && wish.first(now)?.is_some())
}

/// The step after which a port of a vif passes on no reserved addresses any more: they are open because the guard filters what is
/// sent to them. `None` where they are closed.
pub(crate) fn closes_reserved(a: &ResolvedVif<Attach>, now: &Snapshot) -> Option<Step> {
    a.wish.guard.as_ref()?;
    let link = now.links.get(&a.found.device)?;
    link.port.as_ref().filter(|port| port.group_forward != 0)?;
    let port = crate::step::LinkRef { name: a.found.device, index: Some(link.index) };
    let change = PortChange { group_forward: Some(0), ..PortChange::default() };
    Some(Step::Port(PortStep::Set { port, change, up: None }))
}

/// What is missing, in words.
pub(crate) fn in_words(steps: &[Planned]) -> Vec<String> {
    steps.iter().map(|p| p.step.to_string()).collect()
}
