//! The fault sweep: every golden plan, every step, every fault. Afterwards the world is the one before or the one after,
//! exactly, or the error lists exactly what differs; and what a crash left open is closed by the next run.

use std::time::Duration;

use xennet_core::backend::Backend as _;
use xennet_core::backend::fake::{Fake, Fault};
use xennet_core::exec::{self, ApplyError, Freshness, Recovery, observe_for};
use xennet_core::plan::{self, Plan};
use xennet_core::snapshot::{Change, LinkKind, NftKey, NftValue, Part, Scope, Snapshot};
use xennet_core::step::{AddrStep, LinkChange, LinkRef, LinkStep, NewLink, NewMaster, Step};
use xennet_core::{Attachment, Errno, Host, IfName, MacAddr, Resolved};
use xennet_tests::{Shared, StateDir};

use crate::worlds::{self, name, new_address, vif5};
use crate::{cases, subject};

/// One case, planned.
struct Trial {
    case: String,
    intent: Resolved,
    plan: Plan,
    before: Fake,
    after: Fake,
}

fn trials() -> Vec<Trial> {
    let mut trials = Vec::new();
    for (case, read) in cases::all() {
        let before = worlds::world(&read.world);
        let mut after = before.clone();
        let now = observe_for(&read.intent, &mut after).unwrap();
        let Ok(plan) = plan::plan(&read.intent, &now) else { continue };
        for planned in plan.steps() {
            after.apply(&planned.step).unwrap();
        }
        // A twin is a link of its own, and all that happens here happens to vif5.0.
        if !plan.is_empty() && case != "nat-twin" {
            trials.push(Trial { case, intent: read.intent, plan, before, after });
        }
    }
    assert!(trials.len() > 20);
    trials
}

fn differs(a: &Fake, b: &Fake) -> Vec<Change> {
    a.world().changes(b.world())
}

/// Carries a plan out with a journal in a directory, which is let go of as when the process ends.
fn carry_out(
    plan: &Plan,
    intent: &Resolved,
    on: &Shared,
    dir: &StateDir,
    freshness: Freshness,
) -> Result<(), ApplyError> {
    let place = exec::StateDir::at(dir.path());
    let mut held = place.hold(subject(intent), Duration::from_secs(5)).unwrap();
    exec::apply(plan, &mut on.clone(), &mut held.journal(None), freshness).map(|_| ())
}

fn host(on: &Shared, dir: &StateDir) -> Host {
    Host::with_backend(Box::new(on.clone())).with_state_dir(exec::StateDir::at(dir.path()))
}

fn is_open(dir: &StateDir) -> bool {
    !exec::StateDir::at(dir.path()).interrupted().unwrap().is_empty()
}

fn recovery(e: &ApplyError) -> Option<&Recovery> {
    match e {
        ApplyError::Failed { recovery, .. } | ApplyError::NotVerified { recovery, .. } => Some(recovery),
        _ => None,
    }
}

/// Everything that goes wrong on our own side of a step.
fn faults(steps: usize) -> Vec<Fault> {
    let errnos =
        [Errno::EPERM, Errno::EBUSY, Errno::ENODEV, Errno::EINVAL, Errno::EEXIST, Errno::EROFS, Errno::ENOBUFS];
    let mut all = Vec::new();
    for step in 0..steps {
        all.extend(errnos.map(|errno| Fault::FailAt { step, errno }));
        all.extend([Fault::HalfApply { step }, Fault::LieOnce { step }]);
    }
    all
}

#[test]
fn before_or_after_whatever_fails() {
    let (mut cases, mut steps, mut runs, mut oks, mut lies) = (0, 0, 0, 0, 0);
    for t in trials() {
        cases += 1;
        steps += t.plan.steps().len();
        for fault in faults(t.plan.steps().len()) {
            runs += 1;
            let dir = StateDir::new();
            let on = Shared::new(t.before.clone().with_faults([fault.clone()]));
            let result = carry_out(&t.plan, &t.intent, &on, &dir, Freshness::JustObserved);
            let what = format!("{}: {fault}", t.case);
            let now = on.fake();
            match &result {
                Ok(()) => {
                    assert_eq!(differs(&t.after, &now), [], "{what}: success");
                    oks += 1;
                }
                Err(e) => {
                    let restored = matches!(recovery(e), Some(Recovery::Restored { .. }));
                    assert!(restored, "{what}: {}", e.clone().into_error("cannot").report());
                    assert_eq!(differs(&t.before, &now), [], "{what}: restored, it said");
                    lies += usize::from(matches!(e, ApplyError::NotVerified { .. }));
                }
            }
            assert!(!is_open(&dir), "{what}: the journal is closed");
        }
    }
    println!(
        "failures: {cases} plans, {steps} steps, {runs} runs; {oks} came through, {lies} were seen at the verification"
    );
    assert!(runs > 400 && lies > 10);
}

/// A failure on the way back, too: then nothing is claimed that is not so, and the next run puts it right.
#[test]
fn two_failures_are_not_hidden() {
    let (mut runs, mut incomplete) = (0, 0);
    for t in trials() {
        let steps = t.plan.steps().len();
        for first in 0..steps {
            for second in first + 1..first + 4 {
                let faults = [Fault::HalfApply { step: first }, Fault::FailAt { step: second, errno: Errno::ENOMEM }];
                // More refusals exhaust the patience of the way back.
                let more = (second + 1..second + 4).map(|step| Fault::FailAt { step, errno: Errno::ENOMEM });
                runs += 1;
                let dir = StateDir::new();
                let on = Shared::new(t.before.clone().with_faults(faults.into_iter().chain(more)));
                let what = format!("{}: step {first}, then {second}", t.case);
                let Err(e) = carry_out(&t.plan, &t.intent, &on, &dir, Freshness::JustObserved) else {
                    // It was the last step, and all of it had happened.
                    assert_eq!(differs(&t.after, &on.fake()), [], "{what}");
                    continue;
                };
                match recovery(&e) {
                    Some(Recovery::Restored { .. }) => {
                        assert_eq!(differs(&t.before, &on.fake()), [], "{what}");
                        assert!(!is_open(&dir), "{what}");
                    }
                    Some(Recovery::Incomplete { left, errors }) => {
                        incomplete += 1;
                        assert!(!errors.is_empty(), "{what}: it says why");
                        assert_eq!(*left, scoped(&t.plan, &on), "{what}: the difference is listed");
                        assert!(is_open(&dir), "{what}: somebody has to come back to it");
                        on.change(|fake| fake.set_faults([]));
                        host(&on, &dir).recover().unwrap();
                        assert_eq!(differs(&t.before, &on.fake()), [], "{what}: recovered");
                        assert!(!is_open(&dir), "{what}");
                    }
                    Some(Recovery::Refused(e)) => panic!("{what}: nobody else is there\n{}", e.report()),
                    None => panic!("{what}: {e:?}"),
                }
            }
        }
    }
    println!("two failures: {runs} runs, {incomplete} incomplete ways back, all told and recovered");
    assert!(incomplete > 20);
}

/// What differs from before, as far as the plan looked. The bridges of vifs are not theirs: what somebody else does to one, or
/// its ports to its MAC and MTU, is not to be put back.
fn scoped(plan: &Plan, on: &Shared) -> Vec<Change> {
    let mut fake = on.fake();
    fake.set_faults([]);
    let (mut before, mut now) = (plan.before().clone(), fake.observe(plan.scope()).unwrap());
    let bridges: Vec<IfName> =
        before.links.iter().filter(|(_, l)| l.kind == LinkKind::Bridge).map(|(name, _)| *name).collect();
    // Where a small MTU may cost the bridge its addresses, it is put back with them.
    let may_cost = plan.scope().parts().any(|p| matches!(p, Part::Addresses(n) if bridges.contains(n)));
    if bridges.len() < before.links.len() {
        for (name, link) in &mut before.links {
            if link.master.is_some_and(|master| !now.links.contains_key(&master)) {
                (link.master, link.port) = (None, None);
                before.port_vlans.remove(name);
            }
        }
    }
    if bridges.len() < before.links.len() && !may_cost {
        for world in [&mut before, &mut now] {
            world.links.retain(|name, _| !bridges.contains(name));
        }
    }
    if bridges.len() < before.links.len() {
        // What somebody else has removed is not to be made again, and what was on it neither.
        let lost: Vec<IfName> = bridges.into_iter().filter(|b| !now.links.contains_key(b)).collect();
        before.links.retain(|name, _| !lost.contains(name));
        before.addresses.retain(|a| !lost.contains(&a.link));
        before.routes.retain(|r| r.link.is_none_or(|l| !lost.contains(&l)));
    }
    before.changes(&now)
}

#[test]
fn a_crash_is_recovered_and_so_is_a_crash_of_the_recovery() {
    let (mut runs, mut befores, mut afters) = (0, 0, 0);
    for t in trials() {
        let steps = t.plan.steps().len();
        // -1: after the journal was written, before the first step.
        for at in -1..steps.cast_signed() {
            for again in 0..4_usize {
                runs += 1;
                let what = format!("{}: killed after step {at}, and again after {again}", t.case);
                let dir = StateDir::new();
                let on = Shared::new(t.before.clone());
                match usize::try_from(at) {
                    Ok(step) => {
                        on.change(|fake| fake.set_faults([Fault::CrashAfter { step }]));
                        carry_out(&t.plan, &t.intent, &on, &dir, Freshness::JustObserved).unwrap_err();
                    }
                    Err(_) => {
                        let place = exec::StateDir::at(dir.path());
                        let mut held = place.hold(subject(&t.intent), Duration::from_secs(5)).unwrap();
                        exec::Journal::begin(&mut held.journal(None), &t.plan).unwrap();
                    }
                }
                assert!(is_open(&dir), "{what}");
                on.change(|fake| fake.set_faults([Fault::CrashAfter { step: again }]));
                if host(&on, &dir).recover().is_err() {
                    on.change(|fake| fake.set_faults([]));
                    host(&on, &dir).recover().unwrap_or_else(|e| panic!("{what}: {}", e.report()));
                }
                assert!(!is_open(&dir), "{what}");
                on.change(|fake| fake.set_faults([]));
                let now = on.fake();
                let (b, a) = (differs(&t.before, &now), differs(&t.after, &now));
                assert!(b.is_empty() || a.is_empty(), "{what}: from before {b:?}\nfrom after {a:?}");
                befores += usize::from(b.is_empty());
                afters += usize::from(a.is_empty());
                assert_eq!(host(&on, &dir).recover().unwrap(), [], "{what}: once is enough");
            }
        }
    }
    println!("crashes: {runs} runs; before {befores}, after {afters}");
    assert!(befores > 50 && afters > 20);
}

#[test]
fn interrupted_listings_are_no_success_and_no_lie() {
    let mut runs = 0;
    for t in trials() {
        for (times, freshness) in (1..8).flat_map(|n| [(n, Freshness::Check), (n, Freshness::JustObserved)]) {
            runs += 1;
            let what = format!("{}: {times} listings, {freshness:?}", t.case);
            let dir = StateDir::new();
            let on = Shared::new(t.before.clone().with_faults([Fault::DumpInterrupted { times }]));
            let e = carry_out(&t.plan, &t.intent, &on, &dir, freshness).unwrap_err();
            match (&e, recovery(&e)) {
                (ApplyError::Observe(_), _) => {
                    assert_eq!(freshness, Freshness::Check, "{what}");
                    assert_eq!(differs(&t.before, &on.fake()), [], "{what}");
                }
                (_, Some(Recovery::Restored { .. })) => assert_eq!(differs(&t.before, &on.fake()), [], "{what}"),
                (_, Some(Recovery::Incomplete { left, errors })) => {
                    // Several tries, and one reason for all of them.
                    assert!(times > 4, "{what}: another try would have been enough: {e:?}");
                    let reasons: Vec<Errno> = errors.iter().map(|e| e.errno).collect();
                    assert_eq!(reasons, [Errno::EINTR], "{what}: {e:?}");
                    let told = e.clone().into_error("cannot").to_string();
                    assert!(!left.is_empty() || told.contains("state: not known"), "{what}: {told}");
                    assert!(left.is_empty() || *left == scoped(&t.plan, &on), "{what}: the difference is listed");
                    on.change(|fake| fake.set_faults([]));
                    assert_eq!(host(&on, &dir).recover().unwrap().len(), 1, "{what}");
                    let now = on.fake();
                    assert!(differs(&t.before, &now).is_empty() || differs(&t.after, &now).is_empty(), "{what}");
                }
                other => panic!("{what}: {other:?}"),
            }
            assert!(!is_open(&dir), "{what}");
        }
    }
    println!("interrupted listings: {runs} runs");
}

/// What somebody else may do meanwhile.
fn foreign_steps() -> Vec<(&'static str, Step)> {
    let set = |link: &str, change: LinkChange| Step::Link(LinkStep::Set { link: LinkRef::named(name(link)), change });
    let none = LinkChange::default;
    let into = |bridge: &str| Some(NewMaster::Bridge(LinkRef::named(name(bridge))));
    let new = |what: &str| Step::Link(LinkStep::Create { name: name(what), kind: NewLink::Bridge, change: none() });
    let mut all = vec![
        ("another link's MTU", set("eth0", none().with_mtu(1400))),
        ("a bridge of ours goes", Step::Link(LinkStep::Delete { link: LinkRef::named(name("xenbr0")) })),
        ("the other bridge goes", Step::Link(LinkStep::Delete { link: LinkRef::named(name("xenbr1")) })),
        ("the bridge goes down", set("xenbr0", none().with_up(false))),
        ("the bridge's MTU", set("xenbr0", none().with_mtu(1450))),
        ("the bridge's MAC", set("xenbr0", none().with_mac(MacAddr::new([2, 9, 9, 9, 9, 9])))),
        ("the new bridge is there", new("xenbr2")),
        ("the new name is taken", new("web0")),
        ("the old name is taken", new("vif5.0")),
        ("an address for dom0", Step::Addr(AddrStep::Add(new_address("eth0", "203.0.113.78/32")))),
    ];
    for vif in ["vif5.0", "web0"] {
        all.extend([
            ("the vif's MTU", set(vif, none().with_mtu(1300))),
            ("the vif goes up", set(vif, none().with_up(true))),
            ("the vif goes down", set(vif, none().with_up(false))),
            ("the vif goes to xenbr1", set(vif, none().with_master(into("xenbr1")))),
            ("the vif leaves", set(vif, none().with_master(NewMaster::None))),
            ("the vif is renamed", set(vif, none().with_name(name("stolen0")))),
            ("the vif's note", set(vif, none().with_alias("mine".to_owned()))),
            ("the vif gets an address", Step::Addr(AddrStep::Add(new_address(vif, "203.0.113.77/32")))),
            ("the vif gets an IPv6 address", Step::Addr(AddrStep::Add(new_address(vif, "2001:db8:77::7/64")))),
        ]);
    }
    all
}

/// The facts that mention none of these names.
fn without(world: &Snapshot, names: &[&str]) -> String {
    let mut world = world.clone();
    world.sysctls.clear();
    let world = world.normalised();
    // Of our tables, the elements of others. Whose an element is that begins with the egress, nobody can tell.
    let ours = |line: &str| line.contains("bridge xennet-guard ") || line.contains("inet xennet ");
    let frame = |line: &str| {
        line.starts_with("nft ")
            && (ours(&format!("{line} ")) && !line.starts_with("nft add element") || line.contains(" masq"))
    };
    // What follows from others' elements comes with a table that replaces an earlier version's.
    let follows = |line: &str| {
        [" macs-first ", " macs-last ", " tagged ", " hidden ", " open ", " bridged "]
            .iter()
            .any(|set| line.contains(set))
    };
    let frame = |line: &str| frame(line) || follows(line);
    let words = |line: &str| frame(line) || line.split([' ', '/', '"']).any(|w| names.contains(&w));
    world.render().lines().filter(|l| !words(l)).map(|l| format!("{l}\n")).collect()
}

#[test]
fn somebody_elses_interference_is_seen_and_told() {
    let (mut runs, mut ok, mut restored, mut told) = (0, 0, 0, 0);
    for t in trials() {
        for at in 0..t.plan.steps().len() {
            for (deed, does) in foreign_steps() {
                let what = format!("{}: before step {at}: {deed}", t.case);
                let fault = Fault::Intruder { before: at, does: Box::new(does.clone()) };
                let dir = StateDir::new();
                let on = Shared::new(t.before.clone().with_faults([fault]));
                let result = carry_out(&t.plan, &t.intent, &on, &dir, Freshness::JustObserved);
                runs += 1;
                // A name that was free is somebody else's now: that is not ours to remove.
                if let Step::Link(LinkStep::Create { name: new, .. }) = &does
                    && alone_has(&t.before, &does)
                {
                    assert!(on.fake().world().links.contains_key(new), "{what}: it is still there");
                }
                let strange = |c: &Change| match (&does, c) {
                    (Step::Link(LinkStep::Create { name: new, .. }), Change::Added(fact)) => {
                        fact.contains(new.as_str())
                    }
                    _ => false,
                };
                let differences = || scoped(&t.plan, &on).into_iter().filter(|c| !strange(c)).collect::<Vec<_>>();
                // What is neither the vif nor a bridge is as the intruder left it.
                let mut alone = t.before.clone();
                let _ = alone.apply(&does);
                let mut ours = vec!["vif5.0", "web0", "stolen0", "xenbr0", "xenbr1", "xenbr2", "2001:db8:5::5"];
                if let Resolved::Start(_) = t.intent {
                    ours.extend(["eth0", "peth0", "natbr0", "xennet"]);
                }
                assert_eq!(without(on.fake().world(), &ours), without(alone.world(), &ours), "{what}: foreign objects");
                match result {
                    Ok(()) => {
                        ok += 1;
                        let mut wish = t.intent.clone().fulfilled();
                        if let Resolved::Attach(a) = &mut wish
                            && let Attachment::Bridge { .. } = a.wish.attachment
                        {
                            // Its bridge's is that of the moment when it was planned.
                            a.wish.mtu = a.wish.mtu.or(t.plan.after().links[&a.wish.name].mtu.try_into().ok());
                        }
                        let now = observe_for(&wish, &mut on.clone()).unwrap();
                        let again = plan::plan(&wish, &now).unwrap();
                        assert!(again.is_empty(), "{what}: success, it said\n{again}");
                    }
                    Err(e) => match recovery(&e) {
                        Some(Recovery::Restored { .. }) => {
                            restored += 1;
                            assert_eq!(differences(), [], "{what}: restored, it said");
                        }
                        Some(Recovery::Incomplete { left, .. }) => {
                            told += 1;
                            assert_eq!(*left, differences(), "{what}: the difference is listed");
                            assert!(!left.is_empty(), "{what}");
                            assert!(is_open(&dir), "{what}");
                        }
                        Some(Recovery::Refused(e)) => {
                            told += 1;
                            assert!(e.hint().is_some(), "{what}: a way out");
                            assert!(!differences().is_empty() && is_open(&dir), "{what}");
                        }
                        None => panic!("{what}: {e:?}"),
                    },
                }
            }
        }
    }
    println!("interference: {runs} runs; {ok} reached the wish, {restored} were restored, {told} told what is left");
    assert!(ok > 100 && restored > 100);
}

/// Whether a step succeeds in this world.
fn alone_has(world: &Fake, does: &Step) -> bool {
    world.clone().apply(does).is_ok()
}

/// The domain ends while its vif is attached: nothing can bring the vif back, and nothing stays open because of it.
#[test]
fn a_vif_that_goes_meanwhile_blocks_nothing() {
    let mut runs = 0;
    for t in trials().into_iter().filter(|t| !matches!(t.intent, Resolved::Bridge(_) | Resolved::Start(_))) {
        let links: Vec<IfName> = t.after.world().links.keys().copied().collect();
        let present = if links.contains(&name("web0")) { "web0" } else { "vif5.0" };
        for at in 0..t.plan.steps().len() {
            runs += 1;
            let what = format!("{}: gone before step {at}", t.case);
            let dir = StateDir::new();
            let on = Shared::new(t.before.clone()).with_event(at, |fake| {
                fake.remove_hardware(&name("vif5.0"));
                fake.remove_hardware(&name("web0"));
            });
            let mut gone = t.before.clone();
            gone.remove_hardware(&name("vif5.0"));
            gone.remove_hardware(&name("web0"));
            match carry_out(&t.plan, &t.intent, &on, &dir, Freshness::JustObserved) {
                // Detached is detached.
                Ok(()) => assert!(matches!(t.intent, Resolved::Detach(_)), "{what}"),
                Err(e) => {
                    let e = e.into_error("cannot");
                    assert_eq!(e.kind(), xennet_core::ErrorKind::LinkNotFound, "{what}: {}", e.report());
                    assert!(e.hint().is_some(), "{what}");
                }
            }
            let mut host = host(&on, &dir);
            let domid = vif5().domid;
            host.detach(domid, vif5().devid).unwrap_or_else(|e| panic!("{what}: {}", e.report()));
            assert!(!is_open(&dir), "{what}");
            let mut seen = on.fake().observe(&Scope::network()).unwrap();
            let mut expected = gone.observe(&Scope::network()).unwrap();
            if !matches!(t.intent, Resolved::Detach(_)) {
                // What the interrupted operation knew of has gone with the vif, also what it had found.
                let mut left = seen.nft.values().flat_map(|table| &table.sets).flat_map(|(_, set)| set.elements.keys());
                let of_vif = |key: &NftKey| {
                    ["vif5.0", "web0"].iter().any(|link| key.first.first() == Some(&NftValue::Name(name(link))))
                };
                assert!(!left.any(of_vif), "{what}: {:?}", seen.nft);
            }
            // Of a detach nobody has recorded here what the guard had of the vif.
            seen.nft.clear();
            expected.nft.clear();
            assert_eq!(expected.changes(&seen), [], "{what}: {present}");
        }
    }
    println!("vanishing vifs: {runs} runs");
}
