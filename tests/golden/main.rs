//! Plans as a reviewer reads them, and what becomes of each when something goes wrong at any of its steps.
//!
//! A case is a directory in `cases`: `case.json` (a world from `worlds.rs` and a wish), `before.txt`, `plan.txt` and
//! `after.txt`, or `error.txt` where the wish is refused. `XENNET_BLESS=1` writes the texts anew.

#![allow(clippy::unwrap_used, reason = "all of this is tests")]

mod cases;
mod sweep;
mod worlds;

use xennet_core::backend::Backend as _;
use xennet_core::backend::fake::Fake;
use xennet_core::exec::{self, Freshness, MemoryJournal, Subject, observe_for};
use xennet_core::plan;
use xennet_core::snapshot::{LinkKind, Scope, Snapshot};
use xennet_core::{ErrorKind, Guests, IfName, Resolved};

pub(crate) fn subject(intent: &Resolved) -> Subject {
    match intent {
        Resolved::Attach(a) => Subject::Vif(a.wish.id),
        Resolved::Detach(d) => Subject::Vif(d.wish.id),
        Resolved::Bridge(b) => Subject::Bridge(b.name()),
        Resolved::Start(s) => Subject::Network(s.network.name()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn plans_are_as_written_down() {
    let mut wrong = Vec::new();
    for (case, read) in cases::all() {
        let mut fake = worlds::world(&read.world);
        let before = fake.clone();
        cases::compare(&case, "before.txt", Some(&cases::text(&fake)), &mut wrong);
        let now = observe_for(&read.intent, &mut fake).unwrap();
        let plan = match plan::plan(&read.intent, &now) {
            Ok(plan) => plan,
            Err(e) => {
                cases::compare(&case, "error.txt", Some(&format!("{}\n", e.report())), &mut wrong);
                cases::compare(&case, "plan.txt", None, &mut wrong);
                cases::compare(&case, "after.txt", None, &mut wrong);
                let whole = e.object().is_some() && e.state() == Some("unchanged, nothing was applied");
                if !whole || !(e.hint().is_some() || host_adds_hint(e.kind())) {
                    wrong.push(format!("{case}: object, state and way out belong to a refusal: {e:?}"));
                }
                assert_eq!(fake.world(), before.world(), "{case}: planning changes nothing");
                xennet_tests::documents::check_text("error", &e.to_json());
                continue;
            }
        };
        xennet_tests::documents::check_text("plan", &plan.to_json());
        let mut text = format!("{plan}\n");
        for note in plan.notes() {
            text.push_str(&format!("note: {note}\n"));
        }
        cases::compare(&case, "plan.txt", Some(&text), &mut wrong);
        cases::compare(&case, "error.txt", None, &mut wrong);

        let mut journal = MemoryJournal::new(subject(&read.intent), None, None);
        let applied = exec::apply(&plan, &mut fake, &mut journal, Freshness::Check)
            .unwrap_or_else(|e| panic!("{case}: {}", e.into_error("cannot").report()));
        assert_eq!(applied.steps, plan.steps().len());
        cases::compare(&case, "after.txt", Some(&cases::text(&fake)), &mut wrong);
        // The plan knew where it would lead: more is predicted than asked for.
        if !matches!(&read.intent, Resolved::Attach(a) if a.wish.name != a.found.device) {
            let mut predicted = Fake::with_world(plan.after().clone()).observe(plan.scope()).unwrap();
            let mut seen = fake.observe(plan.scope()).unwrap();
            // What MTU a bridge takes when a port leaves depends on ports that nobody looked at.
            let left = plan.before().links.values().filter(|l| l.kind != LinkKind::Bridge).find_map(|l| l.master);
            if let Some(bridge) = left {
                predicted.links.remove(&bridge);
                seen.links.remove(&bridge);
            }
            let differs = predicted.changes(&seen);
            if !differs.is_empty() {
                wrong.push(format!("{case}: the prediction differs from the world by {differs:?}"));
            }
        }

        // Reached is reached.
        let wish = read.intent.clone().fulfilled();
        let now = observe_for(&wish, &mut fake).unwrap();
        let again = plan::plan(&wish, &now).unwrap();
        assert!(again.is_empty(), "{case}: a second plan\n{again}");

        // And there is a way back.
        let now = fake.observe(plan.scope()).unwrap();
        let back = plan::restore(plan.before(), &now, &network(&fake), Guests::MustHaveGone).unwrap();
        for planned in back.steps() {
            fake.apply(&planned.step).unwrap_or_else(|e| panic!("{case}: {}: {e}\n{back}", planned.step));
        }
        let left = network(&before).changes(&network(&fake));
        if !left.is_empty() {
            wrong.push(format!("{case}: the way back leaves {left:?}\n{back}"));
        }
        // What an administrator sets by hand stays set by hand: the kernel has no way back from that.
        if !matches!(read.intent, Resolved::Bridge(_)) && following(&before) != following(&fake) {
            wrong.push(format!("{case}: after the way back a bridge follows its ports no more, or again\n{back}"));
        }
    }
    assert!(wrong.is_empty(), "{}\n\nXENNET_BLESS=1 writes them anew", wrong.join("\n\n"));
}

fn network(fake: &Fake) -> Snapshot {
    fake.clone().observe(&Scope::network()).unwrap()
}

/// Which bridges take MAC and MTU from their ports.
fn following(fake: &Fake) -> Vec<(IfName, Option<bool>, Option<bool>)> {
    let bridges = fake.world().links.iter().filter_map(|(n, l)| Some((*n, l.bridge.as_ref()?)));
    bridges.map(|(n, b)| (n, b.mac_fixed, b.mtu_fixed)).collect()
}

/// `Host` adds the list of bridges as the hint.
fn host_adds_hint(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::BridgeNotFound | ErrorKind::NotABridge)
}
