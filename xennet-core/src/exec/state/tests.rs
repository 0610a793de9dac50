//! Tests of the state directory.

use super::*;
use crate::backend::Backend as _;
use crate::backend::fake::Fake;
use crate::model::{Attach, DevId, DomId, Resolved, VifId};
use crate::plan::{self, Goal};

/// A directory of its own for one test, removed at the end.
struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("xennet-state-{}-{name}", std::process::id()));
        Place(path)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn id() -> VifId {
    VifId::new(DomId::new(5).unwrap(), DevId::FIRST)
}

/// A plan that attaches to this bridge, and the way back.
fn plans(mtu: u32) -> (Plan, Plan) {
    let mut fake = Fake::example();
    let bridge = "xenbr0".parse().unwrap();
    let resolved = Resolved::from(Attach { mtu: Some(mtu.try_into().unwrap()), ..Attach::to_bridge(id(), bridge) });
    let seen = crate::exec::observe_for(&resolved, &mut fake).unwrap();
    let there = plan::plan(&resolved, &seen).unwrap();
    for planned in there.steps() {
        fake.apply(&planned.step).unwrap();
    }
    let now = crate::exec::observe_for(&resolved, &mut fake).unwrap();
    (there.clone(), plan::restore(there.before(), &now, &now, crate::model::Guests::MustHaveGone).unwrap())
}

fn mtu(entry: Option<&Entry>) -> Option<u32> {
    match &entry?.goal {
        Goal::Resolved(Resolved::Attach(a)) => a.wish.mtu.map(|m| m.get()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_counts_survives_every_cut_of_the_file() {
    let place = Place::new("cuts");
    let dir = StateDir::at(&place.0);
    let subject = Subject::Vif(id());
    let hold = || dir.hold(subject, Duration::from_secs(5)).unwrap();
    let (first, _) = plans(1400);
    let (second, undo) = plans(1300);
    // attach, attach otherwise, an undo that is itself undone, an undo, an attach that is undone.
    let operations: [(&Plan, bool, Option<u32>); 5] = [
        (&first, true, Some(1400)),
        (&second, true, Some(1300)),
        (&undo, false, Some(1300)),
        (&undo, true, Some(1400)),
        (&second, false, Some(1400)),
    ];
    let mut known = vec![(0, None, false)];
    for (plan, done, after) in operations {
        let before = mtu(hold().record());
        let mut held = hold();
        let mut journal = held.journal(None);
        journal.begin(plan).unwrap();
        known.push((fs::metadata(dir.file(subject)).unwrap().len(), before, true));
        if done {
            journal.commit().unwrap()
        } else {
            journal.abandon().unwrap()
        }
        assert_eq!(mtu(held.record()), after, "in memory");
        drop(held);
        assert_eq!(mtu(hold().record()), after, "read again");
        known.push((fs::metadata(dir.file(subject)).unwrap().len(), after, false));
    }
    let whole = fs::read(dir.file(subject)).unwrap();
    // Every cut around the ends of lines, and some in their middles.
    let near = |cut: &usize| known.iter().any(|(length, ..)| (*length as usize).abs_diff(*cut) < 5);
    for cut in (0..=whole.len()).filter(|cut| near(cut) || cut % 509 == 0) {
        fs::write(dir.file(subject), &whole[..cut]).unwrap();
        let (_, record, open) = known.iter().rev().find(|(length, ..)| *length <= cut as u64).unwrap();
        let held = hold();
        assert_eq!((mtu(held.record()), held.interrupted().is_some()), (*record, *open), "cut at {cut}");
        assert_eq!(mtu(dir.record(subject).unwrap().as_ref()), *record, "without the lock, cut at {cut}");
    }
}

#[test]
fn an_earlier_line_is_written_again_as_it_stands() {
    let place = Place::new("again");
    let dir = StateDir::at(&place.0);
    let subject = Subject::Vif(id());
    let (first, undo) = plans(1400);
    let (second, _) = plans(1300);
    // The third has one before that has one before; what is undone does not count.
    for (plan, done) in
        [(&first, true), (&second, true), (&second, false), (&first, true), (&undo, true), (&second, true)]
    {
        // Read again each time, as a call does.
        let mut held = dir.hold(subject, Duration::ZERO).unwrap();
        held.journal(Some("a \"line\"".into())).begin(plan).unwrap();
        let expected = serde_json::to_string(held.interrupted().unwrap()).unwrap();
        let text = fs::read_to_string(dir.file(subject)).unwrap();
        assert_eq!(text.lines().last(), Some(&*expected));
        if done {
            held.journal(None).commit().unwrap()
        } else {
            held.journal(None).abandon().unwrap()
        }
        // And of what is known since.
        held.journal(None).begin(&second).unwrap();
        let expected = serde_json::to_string(held.interrupted().unwrap()).unwrap();
        let text = fs::read_to_string(dir.file(subject)).unwrap();
        assert_eq!(text.lines().last(), Some(&*expected));
        held.journal(None).abandon().unwrap();
    }
}

#[test]
fn a_long_file_is_shortened_and_its_lock_still_holds() {
    let place = Place::new("long");
    let dir = StateDir::at(&place.0);
    let subject = Subject::Vif(id());
    let (plan, _) = plans(1400);
    let mut longest = 0;
    for _ in 0..100 {
        let mut held = dir.hold(subject, Duration::ZERO).unwrap();
        let mut journal = held.journal(None);
        journal.begin(&plan).unwrap();
        assert_eq!(dir.hold(subject, Duration::ZERO).unwrap_err().kind(), ErrorKind::Busy);
        held.journal(None).commit().unwrap();
        longest = longest.max(fs::metadata(dir.file(subject)).unwrap().len());
    }
    assert!(longest > LONG && longest < LONG + 8192, "{longest}");
    assert_eq!(mtu(dir.record(subject).unwrap().as_ref()), Some(1400));
    dir.hold(subject, Duration::ZERO).unwrap().forget().unwrap();
    drop(dir.hold(subject, Duration::ZERO).unwrap());
    assert_eq!(dir.recorded().unwrap(), []);
    assert_eq!(fs::read_dir(&place.0).unwrap().count(), 0, "nothing is left behind");
}

#[test]
fn a_path_that_cannot_be_one_is_refused_wherever_it_is_used() {
    let subject = Subject::Vif(id());
    for (path, what) in [("", "is empty"), ("/run/xen\0net", "NUL byte")] {
        let dir = StateDir::at(path);
        let refusals = [
            StateDir::checked(path).map(drop),
            dir.hold(subject, Duration::ZERO).map(drop),
            dir.record(subject).map(drop),
            dir.recorded().map(drop),
            dir.interrupted().map(drop),
            dir.latest().map(drop),
            dir.hold_networks_unless(Duration::ZERO, &|| false).map(drop),
            dir.all_started().map(drop),
            dir.started(&"lan".parse().unwrap()).map(drop),
            dir.awaited().map(drop),
            dir.await_confirmation(&"lan".parse().unwrap()).map(drop),
        ];
        for refusal in refusals {
            let e = refusal.unwrap_err();
            assert_eq!(e.kind(), ErrorKind::Invalid);
            assert!(e.message().contains(what) && e.hint().is_some(), "{e:?}");
        }
    }
    assert_eq!(StateDir::checked("state").unwrap(), StateDir::at("state"));
}

#[test]
fn too_many_open_files_are_not_the_directory_s_fault() {
    let e = unusable(Path::new("/run/xennet"), "cannot be opened", &io::Error::from_raw_os_error(24));
    assert!(!e.hint().unwrap().contains("directory"), "{e:?}");
}

#[test]
fn a_file_of_somebody_else_is_named_and_left_alone() {
    let place = Place::new("foreign");
    let dir = StateDir::at(&place.0);
    let subject = Subject::Vif(id());
    fs::create_dir_all(&place.0).unwrap();
    for text in ["hello\n", "ok\n", "{\"xennet\":2}\n", "\n", "[]\nok\n"] {
        fs::write(dir.file(subject), text).unwrap();
        for e in [dir.hold(subject, Duration::ZERO).unwrap_err(), dir.record(subject).unwrap_err()] {
            assert_eq!(e.kind(), ErrorKind::StateUnusable, "{text:?}");
            assert!(e.hint().is_some() && e.object().is_some());
        }
        assert_eq!(fs::read_to_string(dir.file(subject)).unwrap(), text);
    }
}
